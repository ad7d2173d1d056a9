"""Fan-out: which frame each viewer is owed, against a naive server that asks each in turn; and reports of conduct.

Sockets are played by the test: it says how much each one takes.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.kernels.due_frames import begin_sweep, choose_offers, patrol_dues, settle_offers, sweep_rest
from server.kernels.encode import encode_tick
from server.kernels.layout import OFFER, Phase, Reason, Source
from server.protocol.blocks import apply_blocks
from server.protocol.messages import Throttled, decode_server_message
from support.deltas import check_frame, read_delta, touched_since
from support.naive import Timetable
from support.stages import new_broadcast, new_canvas, new_loop, new_records, paint, picture

WIDTH, HEIGHT, TILES = 70, 45, (3, 2)
NOW_NS = 50_000_000_000
SECOND = 1_000_000_000


def watch(loop, slot, tiles=(0, 0, *TILES), interval_ns=0):
    """A viewer who has just had a SNAPSHOT of an empty canvas at tick 0."""
    row = loop.connections[slot]
    row["phase"], row["subscribed"], row["opened_ns"] = Phase.FAST, 1, NOW_NS
    row["tile_x0"], row["tile_y0"], row["tile_x1"], row["tile_y1"] = tiles
    row["interval_ns"] = interval_ns
    loop.queues[0]["slot_end"] = max(slot + 1, int(loop.queues[0]["slot_end"]))
    return row


class Tower:
    """A canvas that ticks, and one loop's viewers with sockets that take what the test says."""

    def __init__(self, watchers):
        self.canvas = new_canvas(WIDTH, HEIGHT)
        self.loop = new_loop(self.canvas, slots=len(watchers))
        self.broadcast = new_broadcast(self.canvas)
        self.offers = new_records(3, OFFER)
        self.now_ns = NOW_NS
        self.watchers = [(watch(self.loop, slot, *some), some[0]) for slot, some in enumerate(watchers)]
        self.seen = [np.zeros((HEIGHT, WIDTH), np.uint8) for _ in watchers]
        self.timetables = [Timetable(int(row["interval_ns"])) for row, _ in self.watchers]
        self.last = [(-(10**15), 0)] * len(watchers)

    def tick(self, gap_ns):
        """Finish a tick, as far after the one before as the next will be, and begin its sweep."""
        rules = self.canvas.rules[0]
        self.now_ns += gap_ns
        encode_tick(self.canvas, self.broadcast, int(rules["tick_next"]))
        rules["tick_next"] += 1
        self.gap_ns = gap_ns
        begin_sweep(self.loop, gap_ns)

    def sweep(self, appetites):
        """One whole sweep; `appetites[slot]` is what that socket takes: all (1), nothing (0) or a part."""
        owed = self.who_is_owed()
        offered = []
        while sweep_rest(self.loop) > 0:
            count = choose_offers(self.loop, self.canvas, self.broadcast, self.now_ns, self.offers)
            for offer in self.offers[:count]:
                offer["taken"] = self.offer(offer, appetites[int(offer["slot"])])
                offered.append(int(offer["slot"]))
            settle_offers(self.loop, self.broadcast, self.offers, count, self.now_ns)
        assert sorted(offered) == owed

    def who_is_owed(self):
        """The naive server: all whose time has come, whose socket owes nothing, and for whom something changed."""
        newest = int(self.broadcast.head[0]["tick"])
        return [
            slot
            for slot, (row, tiles) in enumerate(self.watchers)
            if row["cursor"] < newest
            and self.timetables[slot].may_leave(self.now_ns, self.gap_ns)
            and row["outbox_end"] == 0
            and touched_since(self.canvas, tiles, int(row["cursor"]))
        ]

    def offer(self, offer, appetite):
        """Check the frame, and take it as far as the appetite goes; once begun it is finished."""
        slot, start, end = (int(offer[name]) for name in ("slot", "start", "end"))
        row, tiles = self.watchers[slot]
        source = {
            Source.SHARED: self.broadcast.bytes,
            Source.CONFLATED: self.loop.conflated,
            Source.OWN: self.loop.scratch,
        }[Source(int(offer["source"]))]
        cursor, newest = int(row["cursor"]), int(self.broadcast.head[0]["tick"])
        check_frame(self.canvas, tiles, cursor, newest, source, (start, end, int(offer["pixel_count"])))
        taken = int((end - start) * appetite)
        if taken > 0:
            last_ns, last_gap_ns = self.last[slot]
            assert self.now_ns - last_ns >= row["interval_ns"] - max(self.gap_ns, last_gap_ns)
            self.last[slot] = self.now_ns, self.gap_ns
            self.timetables[slot].leave(self.now_ns, self.gap_ns)
            apply_blocks(self.seen[slot], read_delta(source[start:end].tobytes()).blocks)
            row["outbox_end"] = end - start - taken
        return taken


tiles_watched = st.sampled_from([(0, 0, 3, 2), (0, 0, 3, 2), (1, 0, 2, 1), (0, 1, 3, 2), (2, 1, 3, 2), (0, 0, 0, 0)])
watchers = st.lists(st.tuples(tiles_watched, st.sampled_from([0, 0, 25, 60])), min_size=1, max_size=6)
appetites = st.lists(st.sampled_from([1, 1, 1, 0, 0.5]), min_size=6, max_size=6)
pixels = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(0, 255))
steps = st.lists(st.tuples(st.lists(pixels, max_size=12), st.integers(1, 40), appetites, st.booleans()), max_size=10)


@given(watchers, steps)
@settings(deadline=None)
def test_each_viewer_is_offered_what_a_naive_server_would(some, course):
    """Regions, intervals, sockets that take nothing or a part; in the end everybody holds the canvas."""
    tower = Tower([(tiles, interval * 1_000_000) for tiles, interval in some])
    for painted, gap, hunger, are_drained in course:
        for x, y, color in painted:
            paint(tower.canvas, x, y, color)
        tower.tick(gap * 1_000_000)
        if are_drained:
            for row, _ in tower.watchers:
                row["outbox_end"] = 0
        tower.sweep(hunger)
    for row, _ in tower.watchers:
        row["outbox_end"] = 0
    tower.tick(SECOND)
    tower.sweep([1] * 6)
    for seen, (row, (x0, y0, x1, y1)) in zip(tower.seen, tower.watchers, strict=True):
        area = np.s_[32 * y0 : 32 * y1, 32 * x0 : 32 * x1]
        assert (seen[area] == picture(tower.canvas)[area]).all()
        assert row["cursor"] == tower.broadcast.head[0]["tick"]


def test_those_who_keep_up_share_the_bytes():
    tower = Tower([((0, 0, 3, 2), 0)] * 3)
    paint(tower.canvas, 1, 1, 1)
    tower.tick(1)
    assert choose_offers(tower.loop, tower.canvas, tower.broadcast, tower.now_ns, tower.offers) == 3
    assert set(tower.offers["source"]) == {Source.SHARED}
    assert tower.loop.counts[0]["conflated_count"] == 0


@pytest.mark.parametrize(("interval_ms", "appetite", "count"), [(300, 1, 0), (0, 1, 0), (0, 0, 3), (100, 0, 3)])
def test_what_an_interval_holds_back_does_not_count_as_lag(interval_ms, appetite, count):
    tower = Tower([((0, 0, 3, 2), interval_ms * 1_000_000)])
    for color in range(1, 5):
        paint(tower.canvas, 1, 1, color)
        tower.tick(SECOND // 10)
        tower.sweep([appetite])
    assert tower.loop.counts[0]["conflated_count"] == count


def test_no_slot_is_always_first():
    tower = Tower([((0, 0, 3, 2), 0)] * 5)
    firsts = set()
    for _ in range(10):
        paint(tower.canvas, 1, 1, 1)
        tower.tick(1)
        choose_offers(tower.loop, tower.canvas, tower.broadcast, tower.now_ns, tower.offers)
        firsts.add(int(tower.offers[0]["slot"]))
    assert firsts == set(range(5))


@pytest.mark.parametrize("slot_count", [1, 2, 3, 5, 1000, 4096, 7919, 2 * 7919, 17_000, 65_536])
def test_each_slot_of_any_number_is_first_once_in_a_round(slot_count):
    loop = new_loop(new_canvas(WIDTH, HEIGHT), slots=1)
    loop.queues[0]["slot_end"] = slot_count
    firsts = np.zeros(slot_count, np.int64)
    for _ in range(slot_count):
        begin_sweep(loop, 0)
        firsts[int(loop.queues[0]["fanout_first"])] += 1
    assert (firsts == 1).all()


class TestPatrol:
    @pytest.fixture
    def tower(self):
        return Tower([((0, 0, 3, 2), 0)] * 2)

    def reports(self, tower, now_ns):
        """(slot, THROTTLED) of one patrol."""
        count = patrol_dues(tower.loop, tower.canvas, now_ns, tower.offers)
        found = []
        for offer in tower.offers[:count]:
            frame = tower.loop.scratch[int(offer["start"]) : int(offer["end"])].tobytes()
            assert frame[:2] == b"\x82\x08"
            found.append((int(offer["slot"]), decode_server_message(frame[2:])))
        return found

    def handed_over(self, tower):
        queues = tower.loop.queues[0]
        found = [
            (int(entry["slot"]), int(entry["reason"]))
            for entry in tower.loop.handovers[: int(queues["handover_count"])]
        ]
        queues["handover_count"] = 0
        return found

    def test_nothing_dropped_is_nothing_told(self, tower):
        assert self.reports(tower, NOW_NS) == []

    def test_drops_are_told_at_most_once_a_second_and_all_in_the_end(self, tower):
        row = tower.loop.connections[1]
        sent = []
        for step in range(30):
            if step < 21:
                row["throttled_count"] += 3
                row["over_ns"] = NOW_NS + step * SECOND // 10
            sent += [(step, *report) for report in self.reports(tower, NOW_NS + step * SECOND // 10)]
        assert [(step, slot, report.dropped) for step, slot, report in sent] == [(0, 1, 3), (10, 1, 33), (20, 1, 63)]
        assert all(report.reason == 1 for _, _, report in sent)

    def test_reason_is_of_the_latest(self, tower):
        row = tower.loop.connections[0]
        row["out_of_bounds_count"] = 2
        assert self.reports(tower, NOW_NS) == [(0, Throttled(3, 0, 2))]
        row["shed_count"] = 1
        assert self.reports(tower, NOW_NS + SECOND) == [(0, Throttled(2, 0, 3))]
        row["throttled_count"], row["over_ns"] = 4, NOW_NS + 2 * SECOND - 5
        row["full_ns"] = NOW_NS + 2 * SECOND + int(tower.canvas.rules[0]["burst_ns"])
        retry_ms = -(-int(tower.canvas.rules[0]["token_ns"]) // 1_000_000)
        assert self.reports(tower, NOW_NS + 2 * SECOND) == [(0, Throttled(1, retry_ms, 7))]

    def test_a_report_waits_for_its_turn_behind_other_bytes(self, tower):
        row = tower.loop.connections[0]
        row["throttled_count"], row["outbox_end"] = 5, 9
        assert self.reports(tower, NOW_NS) == []
        row["outbox_end"] = 0
        assert [report.dropped for _, report in self.reports(tower, NOW_NS + 1)] == [5]

    def test_more_reports_than_room_come_with_the_next_patrol(self):
        tower = Tower([((0, 0, 3, 2), 0)] * 5)
        for row in tower.loop.connections:
            row["throttled_count"] = 1
        first, second = self.reports(tower, NOW_NS), self.reports(tower, NOW_NS + 1)
        assert [slot for slot, _ in first + second] == [0, 1, 2, 3, 4]

    def test_one_that_takes_no_bytes_is_handed_over_after_stall_s(self, tower):
        stall_ns = int(tower.canvas.rules[0]["stall_ns"])
        row = tower.loop.connections[1]
        self.reports(tower, NOW_NS)
        row["blocked"] = 1
        self.reports(tower, NOW_NS + stall_ns)
        assert self.handed_over(tower) == []
        self.reports(tower, NOW_NS + stall_ns + 1)
        assert self.handed_over(tower) == [(1, Reason.STALLED)]
        row["blocked"], row["outbox_end"] = 0, 7
        self.reports(tower, NOW_NS + stall_ns + 2)
        assert self.handed_over(tower) == [(1, Reason.STALLED)]

    def test_one_that_owes_nothing_never_stalls(self, tower):
        self.reports(tower, NOW_NS + 1000 * SECOND)
        assert self.handed_over(tower) == []

    def test_one_that_stays_over_its_limit_is_handed_over(self, tower):
        tower.canvas.rules[0]["evict_ns"] = 3 * SECOND
        row = tower.loop.connections[0]
        row["over_since_ns"] = NOW_NS
        for step in range(31):
            row["over_ns"] = NOW_NS + step * SECOND // 10
            self.reports(tower, NOW_NS + step * SECOND // 10)
            assert self.handed_over(tower) == []
        self.reports(tower, NOW_NS + 3 * SECOND + 1)
        assert self.handed_over(tower) == [(0, Reason.OVER_LIMIT)]

    def test_one_that_stalls_above_its_limit_is_handed_over_once(self, tower):
        """There is room for one end of each connection a patrol."""
        stall_ns = tower.canvas.rules[0]["evict_ns"] = int(tower.canvas.rules[0]["stall_ns"])
        row = tower.loop.connections[1]
        self.reports(tower, NOW_NS)
        row["blocked"], row["over_since_ns"], row["over_ns"] = 1, NOW_NS, NOW_NS + stall_ns
        self.reports(tower, NOW_NS + stall_ns + 1)
        assert self.handed_over(tower) == [(1, Reason.STALLED)]

    def test_a_pause_of_more_than_a_second_is_forgiven(self, tower):
        tower.canvas.rules[0]["evict_ns"] = 3 * SECOND
        row = tower.loop.connections[0]
        row["over_since_ns"] = row["over_ns"] = NOW_NS
        self.reports(tower, NOW_NS + SECOND + 1)
        assert row["over_since_ns"] == 0
        row["over_since_ns"] = row["over_ns"] = NOW_NS + 4 * SECOND
        self.reports(tower, NOW_NS + 4 * SECOND + 1)
        assert self.handed_over(tower) == []

    def test_without_evict_after_s_nobody_is(self, tower):
        row = tower.loop.connections[0]
        row["over_since_ns"], row["over_ns"] = NOW_NS, NOW_NS + 900 * SECOND
        self.reports(tower, NOW_NS + 900 * SECOND)
        assert self.handed_over(tower) == []
