"""The interval of a SUBSCRIBE in virtual time: how often viewers are sent a delta, at ticks that come early and late.

Both servers are held to one timetable: the engine with the compiled sweep, and the mailbox canvas.
"""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.config import ServerConfig
from server.engine.engine import use_slot
from server.kernels.due_frames import begin_sweep, choose_offers, next_due, note_delta, settle_offers, sweep_rest
from server.kernels.layout import OFFER
from server.mailbox.client import MailboxClient, limits_of
from support.engine_bench import START_NS, Bench
from support.mailbox_parts import WHOLE, Room, open_connection
from support.naive import Timetable
from support.stages import new_broadcast, new_canvas, new_loop

MS = 1_000_000
SECOND = 1000 * MS
TICKS_MS = (20, 50, 100)
INTERVALS_MS = (0, 20, 50, 100, 200, 250)
PHASES = 3
"""Viewers of each interval, which subscribe at different times."""
SECTION_NS = 20 * SECOND
BROADCASTS = (0.1, 1.7, 0.1)
"""How long a broadcast takes in each section, in ticks: one that does not fit makes the tick longer."""


class Arrivals:
    """When each viewer was sent a delta, and how far apart ticks were then."""

    def __init__(self):
        self.tick_times = []
        self.times = defaultdict(list)
        self.spacings = defaultdict(list)

    def note(self, viewer, now_ns, tick_ns):
        self.times[viewer].append(now_ns)
        self.spacings[viewer].append(tick_ns)

    def check(self, viewer, interval_ns):
        """The rate in each section is that asked for, or that of the ticks; no two are too close."""
        times, spacings = np.array(self.times[viewer]), np.array(self.spacings[viewer])
        assert (np.diff(times) >= interval_ns - np.maximum(spacings[1:], spacings[:-1])).all()
        ticks = np.array(self.tick_times)
        for section in range(len(BROADCASTS)):
            begin_ns = START_NS + section * SECTION_NS + SECOND
            end_ns = begin_ns + SECTION_NS - SECOND
            tick_count = int(((ticks >= begin_ns) & (ticks < end_ns)).sum())
            wanted = min(tick_count, (end_ns - begin_ns) / interval_ns) if interval_ns else tick_count
            assert abs(int(((times >= begin_ns) & (times < end_ns)).sum()) - wanted) <= 1 + 0.06 * wanted


def viewers():
    """(interval_ns, when it subscribes after the start) of each viewer."""
    return [(interval * MS, phase * 37 * MS) for interval in INTERVALS_MS for phase in range(PHASES)]


class Engine(Bench):
    """The engine and one loop's viewers, whose sockets take everything."""

    def __init__(self, tick_ms):
        super().__init__(slots=len(viewers()), tick_ms=tick_ms, tick_ms_max=2000)
        self.offers = np.zeros(4, OFFER)
        self.arrivals = Arrivals()
        for slot, (interval_ns, after_ns) in enumerate(viewers()):
            use_slot(self.loop, slot)
            self.now_ns = START_NS + after_ns
            self.subscribe(interval_ms=interval_ns // MS, slot=slot)
        self.now_ns = START_NS

    def run(self, random, tick_ms):
        sweep_ns = 0
        while self.now_ns < START_NS + len(BROADCASTS) * SECTION_NS:
            tick_at_ns = self.engine.next_tick_ns + int(random.exponential(0.02) * tick_ms * MS)
            if sweep_rest(self.loop) and sweep_ns < tick_at_ns:
                self.now_ns = sweep_ns
                self.sweep()
                continue
            self.now_ns = max(self.now_ns, tick_at_ns)
            self.paint(1, 1, int(random.integers(256)))
            if self.engine.tick(self.now_ns):
                self.engine.publish(self.now_ns, 0)
                self.arrivals.tick_times.append(self.now_ns)
                section = min((self.now_ns - START_NS) // SECTION_NS, len(BROADCASTS) - 1)
                cost = BROADCASTS[section] * random.uniform(0.9, 1.1)
                sweep_ns = self.now_ns + int(cost * tick_ms * MS)

    def sweep(self):
        broadcast, canvas = self.engine.broadcast, self.engine.canvas.arrays
        while count := choose_offers(self.loop, canvas, broadcast, self.now_ns, self.offers):
            for offer in self.offers[:count]:
                offer["taken"] = offer["end"] - offer["start"]
                self.arrivals.note(int(offer["slot"]), self.now_ns, int(self.loop.queues[0]["tick_ns"]))
            settle_offers(self.loop, broadcast, self.offers, count, self.now_ns)


@pytest.mark.parametrize("tick_ms", TICKS_MS)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_engine_keeps_the_rate_that_was_asked_for(tick_ms, seed):
    bench = Engine(tick_ms)
    bench.run(np.random.default_rng(seed), tick_ms)
    assert bench.telemetry["server"][0]["tick_stretch_count"] > 0
    for slot, (interval_ns, _) in enumerate(viewers()):
        bench.arrivals.check(slot, interval_ns)


@pytest.mark.parametrize("tick_ms", TICKS_MS)
@pytest.mark.parametrize("seed", [1, 2])
def test_so_does_the_mailbox_server(tick_ms, seed):
    """An event loop that is late makes its ticks longer too."""
    room, random, arrivals = Room(tick_ms=tick_ms), np.random.default_rng(seed), Arrivals()
    for interval_ns, after_ns in viewers():
        client = room.client()
        client.tiles, client.interval_ns, client.due_ns = WHOLE, interval_ns, START_NS + after_ns + interval_ns
    last_ns = now_ns = due_ns = START_NS
    while now_ns < START_NS + len(BROADCASTS) * SECTION_NS:
        section = min((now_ns - START_NS) // SECTION_NS, len(BROADCASTS) - 1)
        due_ns += int(max(1.0, BROADCASTS[section]) * tick_ms * MS)
        now_ns = max(now_ns, due_ns + int(random.exponential(0.02) * tick_ms * MS))
        arrivals.tick_times.append(now_ns)
        tick = room.canvas.tick + 1
        room.page["pixels"][1, 1], room.page["pixel_tick"][1, 1], room.page["tile_tick"][0, 0] = tick & 255, tick, tick
        room.canvas.finish_tick(now_ns)
        for viewer, client in enumerate(room.clients):
            if room.deltas(client):
                arrivals.note(viewer, now_ns, max(tick_ms * MS, now_ns - last_ns))
        last_ns = now_ns
    for viewer, (interval_ns, _) in enumerate(viewers()):
        arrivals.check(viewer, interval_ns)


looks = st.lists(
    st.tuples(
        st.integers(0, 300 * MS),  # Since the look before.
        st.sampled_from([0, 20 * MS, 50 * MS + 1, 100 * MS]),  # How far apart ticks are.
        st.booleans(),  # Whether something changed, and the socket took it.
    ),
    max_size=40,
)


@given(st.sampled_from(INTERVALS_MS), looks)
@settings(deadline=None)
def test_compiled_plain_and_naive_send_at_the_same_looks(interval_ms, course):
    canvas = new_canvas()
    loop, broadcast = new_loop(canvas, slots=1), new_broadcast(canvas)
    row, client = loop.connections[0], MailboxClient(None, None, open_connection(), limits_of(ServerConfig()))
    client.tiles, client.interval_ns = WHOLE, interval_ms * MS
    row["subscribed"], row["interval_ns"], loop.queues[0]["slot_end"] = 1, interval_ms * MS, 1
    naive, now_ns = Timetable(interval_ms * MS), 0
    for tick, (gap_ns, tick_ns, is_taken) in enumerate(course, 1):
        now_ns += gap_ns
        broadcast.head[0]["tick"] = tick
        begin_sweep(loop, tick_ns)
        is_owed = naive.may_leave(now_ns, tick_ns)
        assert (next_due(loop, broadcast, now_ns) == 0) == client.is_owed_delta(tick, now_ns, tick_ns) == is_owed
        if is_owed and is_taken:
            note_delta(loop, row, 1, 1, now_ns)
            client.wait_interval(now_ns, tick_ns)
            naive.leave(now_ns, tick_ns)
        assert row["due_ns"] == client.due_ns == naive.next_ns
