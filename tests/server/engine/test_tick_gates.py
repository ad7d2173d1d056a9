"""Nothing is shown before it is on disk: an engine whose journal commits at any time, and what clients see of it.

Everything is in one thread and without a clock: hypothesis chooses what happens next.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.config import Brake
from server.engine.engine import HALT_NS, Engine
from server.ipc.page import Page, canvas_sections, telemetry_sections
from server.journal.fault import DiskError, JournalState
from server.kernels.due_frames import choose_offers, settle_offers
from server.kernels.layout import OFFER, Phase, Source, Stage
from server.protocol.blocks import changed_cells
from server.protocol.messages import decode_server_message, read_body
from server.protocol.websocket import parse_head
from support.engine_bench import MS, Bench

WIDTH, HEIGHT = 70, 45
SLOTS = 4


class HeldJournal:
    """A journal that commits when a test says so, and knows the canvas after each commit."""

    gates = True
    depth_max = 1
    recovered = None
    bug = None

    def __init__(self, *, snapshot_ticks=3):
        self.disk_error = DiskError.NONE
        self.committed_tick = 0
        self.committed_ns = 0
        self.busy_ns = self.batch_count = self.item_count = self.drop_count = 0
        self.brake = Brake()
        self.pixels = np.zeros(WIDTH * HEIGHT, np.uint8)
        self.on_disk = {0: self.pixels.copy()}
        self.waiting = None
        self.is_last_asked = False
        self._snapshot_ticks = snapshot_ticks

    @property
    def waiting_count(self):
        return int(self.waiting is not None)

    def is_free(self, tick):
        return self.waiting is None

    def wants_snapshot(self, tick):
        return tick % self._snapshot_ticks == 0

    def submit(self, entry):
        assert self.waiting is None
        self.waiting = entry

    def set_brake(self, brake):
        self.brake = brake

    def wait_committed(self, tick, timeout_s):
        self.is_last_asked = True
        if self.disk_error == DiskError.NONE:
            self.commit()
        return self.committed_tick >= tick

    def commit(self):
        entry, self.waiting = self.waiting, None
        if entry is None:
            return
        blocks = read_body("a row", entry.encoding, entry.blocks, 1 << 20)
        where, colors = changed_cells(blocks, entry.tile_count, WIDTH, HEIGHT)
        self.pixels[where] = colors
        if entry.pixels is not None:
            assert entry.pixels == self.pixels.tobytes(), "a snapshot is not what the ticks come to"
        self.on_disk[entry.tick] = self.pixels.copy()
        self.committed_tick = entry.tick

    def canvas_at(self, tick):
        """The canvas after a tick, by what is on disk."""
        newest = max(known for known in self.on_disk if known <= tick)
        return self.on_disk[newest].reshape(HEIGHT, WIDTH)


class GatedBench(Bench):
    """An engine behind a held journal, with viewers whose frames come from the kernels that loops use."""

    def __init__(self, **settings):
        super().__init__(**{"width": WIDTH, "height": HEIGHT} | settings)
        self.journal = HeldJournal()
        self.telemetry = Page.create(telemetry_sections(1))
        self.canvas_page = Page.create(canvas_sections(WIDTH, HEIGHT))
        self.engine = Engine(self.config, self.telemetry, self.canvas_page, journal=self.journal)
        self.loop = self.engine.new_loop(SLOTS, 64)
        self.loop.connections["phase"] = Phase.FAST
        self.loop.queues[0]["slot_end"] = self.loop.queues[0]["fanout_position"] = SLOTS
        self.engine.start(self.now_ns)
        self.views = {}

    def meet(self):
        """While no loop runs: show what was committed, and finish the tick when it is due."""
        self.now_ns = max(self.now_ns + MS, self.engine.next_tick_ns)
        self.engine.look_at_journal(self.now_ns)
        if self.engine.tick(self.now_ns):
            self.engine.publish(self.now_ns, 0)

    def watch(self, slot, region):
        snapshot = self.subscribe(*region, slot=slot)
        assert snapshot.tick == self.engine.shown.tick
        view = np.zeros((HEIGHT, WIDTH), np.uint8)
        area = np.s_[snapshot.y : snapshot.y + snapshot.height, snapshot.x : snapshot.x + snapshot.width]
        view[area] = np.frombuffer(snapshot.pixels, np.uint8).reshape(snapshot.height, snapshot.width)
        self.views[slot] = (area, view)
        self.check(slot, snapshot.tick)

    def check(self, slot, tick):
        area, view = self.views[slot]
        assert tick <= max(self.journal.committed_tick, self.engine.shown.tick)
        assert (view[area] == self.journal.canvas_at(tick)[area]).all(), f"slot {slot} saw what is not on disk"

    def sweep(self, takers):
        """One batch of the fan-out; slots that are not in `takers` have full sockets."""
        offers = np.zeros(SLOTS, OFFER)
        count = choose_offers(self.loop, self.engine.canvas.arrays, self.engine.broadcast, self.now_ns, offers)
        sources = {
            Source.SHARED: self.engine.broadcast.bytes,
            Source.CONFLATED: self.loop.conflated,
            Source.OWN: self.loop.scratch,
        }
        for offer in offers[:count]:
            if int(offer["slot"]) in takers:
                frame = sources[offer["source"]][offer["start"] : offer["end"]].tobytes()
                delta = decode_server_message(frame[parse_head(frame, 0).head_bytes :])
                delta.apply_to(self.views[int(offer["slot"])][1])
                self.check(int(offer["slot"]), delta.tick)
                offer["taken"] = offer["end"] - offer["start"]
        settle_offers(self.loop, self.engine.broadcast, offers, count, self.now_ns)


REGIONS = [(0, 0, 0, 0), (0, 0, 32, 32), (40, 20, 30, 25), (33, 0, 5, 45)]
STEPS = st.one_of(
    st.tuples(st.just("paint"), st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(0, 255)),
    st.tuples(st.just("fill"), st.integers(0, 255)),
    st.just(("meet",)),
    st.just(("meet",)),
    st.just(("commit",)),
    st.tuples(st.just("watch"), st.integers(0, SLOTS - 1), st.sampled_from(REGIONS)),
    st.tuples(st.just("sweep"), st.sets(st.integers(0, SLOTS - 1))),
)


class TestNothingIsShownBeforeItIsOnDisk:
    @given(st.lists(STEPS, max_size=60))
    @settings(deadline=None, max_examples=150)
    def test_whenever_the_journal_commits(self, steps):
        bench = GatedBench()
        for name, *values in steps:
            if name == "fill":
                bench.fill(np.full((HEIGHT, WIDTH), values[0]))
            elif name == "commit":
                bench.journal.commit()
            else:
                getattr(bench, name)(*values)
            assert (bench.engine.shown.pixels == bench.journal.canvas_at(bench.engine.shown.tick)).all()
        for _ in range(4):
            bench.journal.commit()
            bench.meet()
            for _ in range(2 * SLOTS):
                bench.sweep(set(range(SLOTS)))
        assert (bench.engine.shown.pixels == bench.canvas_page["pixels"]).all()
        for area, view in bench.views.values():
            assert (view[area] == bench.canvas_page["pixels"][area]).all()


@pytest.fixture
def bench():
    return GatedBench()


class TestGate:
    def test_a_tick_waits_for_the_one_before_it(self, bench):
        bench.paint(1, 1, 5)
        bench.meet()
        assert (bench.engine.tick_number, bench.engine.shown.tick) == (1, 0)
        bench.paint(2, 2, 5)
        for _ in range(3):
            bench.meet()
        assert (bench.engine.tick_number, bench.engine.shown.tick) == (1, 0)
        server = bench.telemetry["server"][0]
        assert server["journal_state"] == JournalState.WAITING
        bench.journal.commit()
        bench.meet()
        assert (bench.engine.tick_number, bench.engine.shown.tick) == (1, 1)
        bench.sweep(set())
        bench.meet()
        assert bench.engine.tick_number == 2

    def test_a_quiet_tick_waits_for_nothing(self, bench):
        for _ in range(3):
            bench.sweep(set())
            bench.meet()
        assert bench.engine.shown.tick == bench.engine.tick_number == 3
        assert bench.journal.waiting is None

    def test_a_failing_disk_stops_apply_until_it_takes_the_tick(self, bench):
        brakes = bench.engine.canvas.arrays.brakes
        bench.paint(1, 1, 5)
        bench.meet()
        bench.journal.disk_error = DiskError.FULL
        assert bench.engine.look_at_journal(bench.now_ns)
        assert brakes[Stage.APPLY]["batch_ns"] == HALT_NS
        assert bench.telemetry["server"][0]["journal_state"] == JournalState.FAILED
        bench.engine.adjust(bench.config, bench.now_ns)
        assert brakes[Stage.APPLY]["batch_ns"] == HALT_NS
        bench.journal.disk_error = DiskError.NONE
        bench.journal.commit()
        assert bench.engine.look_at_journal(bench.now_ns)
        assert brakes[Stage.APPLY]["batch_ns"] == 0
        assert bench.engine.shown.tick == 1

    def test_a_disk_that_takes_too_long_is_as_bad(self, bench):
        bench.paint(1, 1, 5)
        bench.meet()
        late_ns = bench.now_ns + bench.config.tick_ms_max * MS
        assert not bench.engine.look_at_journal(late_ns)
        assert bench.engine.look_at_journal(late_ns + 1)

    def test_the_last_tick_is_on_disk_and_shown(self, bench):
        bench.paint(1, 1, 5)
        bench.meet()
        bench.paint(2, 2, 6)
        assert bench.engine.tick(bench.now_ns, is_last=True)
        assert bench.engine.shown.tick == bench.journal.committed_tick == 2
        assert bench.engine.shown.pixels[2, 2] == 6

    def test_without_a_disk_the_end_shows_no_more(self, bench):
        bench.paint(1, 1, 5)
        bench.meet()
        bench.journal.disk_error = DiskError.FULL
        assert not bench.engine.tick(bench.now_ns, is_last=True)
        assert bench.journal.is_last_asked
        assert bench.engine.shown.tick == 0
