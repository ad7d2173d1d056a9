"""The engine without sockets or clock: ticks and their rows, regions, snapshots, compression, a tick that stretches."""

import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.config import Brake, Brakes
from server.engine.engine import COMPRESS_BYTES_MIN, COMPRESS_PAUSE_TICKS, use_slot
from server.kernels.due_frames import sweep_rest
from server.kernels.layout import TICK_ROWS, Kind, Stage
from server.protocol.blocks import apply_blocks
from server.protocol.messages import Hello
from server.wire import CANCEL
from support.engine_bench import MS, START_NS, Bench


@pytest.fixture
def bench():
    return Bench()


class TestTick:
    def test_a_quiet_tick_counts_but_sends_nothing(self, bench):
        assert bench.tick()
        assert bench.engine.tick_number == bench.telemetry["server"][0]["tick"] == 1
        row = bench.row()
        assert (row["tick"], row["pixel_count"], row["tile_count"], row["frame_bytes"]) == (1, 0, 0, 0)

    def test_a_row_has_what_was_broadcast(self, bench):
        bench.paint(1, 1, 5)
        bench.paint(1, 1, 6)
        bench.paint(69, 44, 7)
        bench.tick(encode_ns=1234)
        row = bench.row()
        assert (row["tick"], row["pixel_count"], row["tile_count"], row["encode_ns"]) == (1, 2, 2, 1234)
        assert (row["start_ns"], row["lateness_ns"], row["interval_ns"]) == (START_NS + 100 * MS, 0, 100 * MS)
        head = bench.engine.broadcast.head[0]
        assert row["frame_bytes"] == head["frame_end"] - head["frame_start"]
        server = bench.telemetry["server"][0]
        assert (server["merged_count"], server["encoded_bytes"]) == (2, row["frame_bytes"])
        bench.tick()
        assert bench.row()["pixel_count"] == 0
        assert server["merged_count"] == 2

    def test_lateness_is_recorded_and_the_next_tick_keeps_its_time(self, bench):
        late_ns = bench.engine.next_tick_ns + 30 * MS
        assert bench.engine.tick(late_ns)
        bench.engine.publish(late_ns, 0)
        assert bench.row()["lateness_ns"] == 30 * MS
        assert bench.engine.next_tick_ns == START_NS + 200 * MS

    def test_a_tick_that_comes_much_too_late_does_not_hurry_the_next(self, bench):
        late_ns = bench.engine.next_tick_ns + 950 * MS
        bench.engine.tick(late_ns)
        bench.engine.publish(late_ns, 0)
        assert bench.engine.next_tick_ns == late_ns + 50 * MS

    def test_rows_are_a_ring(self, bench):
        for _ in range(TICK_ROWS + 1):
            bench.tick()
        assert bench.telemetry["ticks"][1]["tick"] == TICK_ROWS + 1
        assert bench.telemetry["ticks"][2]["tick"] == 2

    def test_depth_peaks_are_since_the_tick_before(self, bench):
        bench.telemetry["stages"][0, Stage.ADMIT]["depth_peak"] = 9
        bench.tick()
        assert bench.row()["depth_peak"][Stage.ADMIT] == 9
        bench.tick()
        assert bench.row()["depth_peak"][Stage.ADMIT] == 0

    def test_in_flight_is_what_waits_in_the_queues(self, bench):
        """Requests wait too, but are no placements."""
        loop, queues = bench.loop, bench.loop.queues[0]
        for name, count in (("received", 100), ("admitted", 60), ("throttled", 25), ("shed", 5), ("out_of_bounds", 7)):
            loop.counts[0][f"{name}_count"] = count
        loop.counts[0]["applied_count"] = 58
        loop.messages["kind"][4:9] = (Kind.PLACE, Kind.REQUEST, Kind.PLACE, Kind.REQUEST, Kind.PLACE)
        queues["message_head"], queues["message_end"] = 4, 9
        loop.placements["kind"][1:4] = (Kind.PLACE, Kind.PLACE, Kind.REQUEST)
        queues["placement_head"], queues["placement_end"] = 1, 4
        assert bench.engine.balance() == (5, 0)
        bench.tick()
        assert (bench.row()["in_flight_count"], bench.row()["admitted_count"]) == (5, 60)
        assert bench.telemetry["server"][0]["ledger_gap"] == 0

    @pytest.mark.parametrize("lost", ["received_count", "throttled_count", "applied_count"])
    def test_a_placement_that_is_nowhere_is_a_gap_in_the_ledger(self, bench, lost):
        counts = bench.loop.counts[0]
        counts["received_count"] = counts["admitted_count"] = counts["applied_count"] = 10
        assert bench.engine.balance() == (0, 0)
        counts[lost] += 3
        bench.tick()
        assert bench.telemetry["server"][0]["ledger_gap"] == 3


class TestStretch:
    def test_a_broadcast_that_is_under_way_puts_the_tick_off(self, bench):
        """The interval grows to its limit and not beyond; then the tick comes all the same."""
        assert bench.tick()
        bench.loop.queues[0]["slot_end"] = 3
        assert sweep_rest(bench.loop) == 3
        put_off = 0
        while not bench.tick():
            put_off += 1
            assert bench.engine.interval_ns <= 400 * MS
            assert bench.now_ns < bench.engine.next_tick_ns
        assert put_off > 0
        assert bench.telemetry["server"][0]["tick_stretch_count"] == put_off
        assert 400 * MS <= bench.row()["interval_ns"] < 500 * MS
        assert bench.engine.tick_number == 2

    def test_a_new_connection_puts_no_tick_off(self, bench):
        """A connection that came since the last tick is owed nothing of it."""
        for slot in (0, 2, 1):
            assert bench.tick()
            bench.loop.queues[0]["fanout_position"] = bench.loop.queues[0]["slot_end"]  # The sweep is done.
            use_slot(bench.loop, slot)
            assert sweep_rest(bench.loop) == 0
        assert bench.loop.queues[0]["slot_end"] == 3
        assert bench.tick()
        assert bench.telemetry["server"][0]["tick_stretch_count"] == 0

    def test_a_new_connection_ends_no_sweep(self, bench):
        bench.tick()
        bench.loop.queues[0]["slot_end"], bench.loop.queues[0]["fanout_position"] = 3, 2
        use_slot(bench.loop, 3)
        assert sweep_rest(bench.loop) == 2

    def test_it_shrinks_back_once_broadcasts_fit(self, bench):
        bench.tick()
        bench.loop.queues[0]["slot_end"] = 3
        while not bench.tick():
            pass
        stretched_ns = bench.engine.interval_ns
        assert stretched_ns > 100 * MS
        for _ in range(40):
            bench.loop.queues[0]["fanout_position"] = 3
            assert bench.tick()
        assert bench.engine.interval_ns == 100 * MS


class TestAdjust:
    def test_rules_tick_and_hello_follow(self):
        bench = Bench()
        changed = {"rate_per_s": 10, "burst": 20, "tick_ms": 30, "stall_s": 2.0, "evict_after_s": 3.0}
        bench.engine.adjust(msgspec.structs.replace(bench.config, **changed), START_NS + 5 * MS)
        rules = bench.engine.canvas.arrays.rules[0]
        assert [int(rules[name]) for name in ("token_ns", "burst_ns", "stall_ns", "evict_ns")] == [
            100 * MS,
            2000 * MS,
            2000 * MS,
            3000 * MS,
        ]
        assert (bench.engine.next_tick_ns, bench.engine.interval_ns) == (START_NS + 35 * MS, 30 * MS)
        hello = bench.engine.hello()
        assert (hello.tick_ms, hello.rate_per_s, hello.burst) == (30, 10, 20)


class TestEncodeBrake:
    def test_a_braked_encoder_puts_the_tick_off_and_nothing_else(self):
        """What changes while it is at work is in the same tick; its time counts as service time."""
        bench = Bench(brakes=Brakes(encode=Brake(item_us=500.0, batch_ms=30.0)))
        bench.paint(1, 1, 1)
        bench.paint(69, 44, 1)
        assert not bench.tick()
        assert bench.engine.next_tick_ns == START_NS + 131 * MS
        bench.paint(2, 2, 2)
        assert bench.tick(encode_ns=7)
        assert (bench.row()["pixel_count"], bench.row()["encode_ns"]) == (3, 31 * MS + 7)
        assert bench.row()["lateness_ns"] == 31 * MS
        assert bench.engine.next_tick_ns == START_NS + 200 * MS
        assert bench.telemetry["stages"][0, Stage.ENCODE]["busy_ns"] == 31 * MS + 7

    def test_an_encoder_whose_brake_is_released_is_done_at_once(self):
        bench = Bench(brakes=Brakes(encode=Brake(batch_ms=300.0)))
        assert not bench.tick()
        bench.engine.adjust(msgspec.structs.replace(bench.config, brakes=Brakes()), bench.now_ns)
        assert bench.engine.next_tick_ns == START_NS + 100 * MS
        assert bench.tick()

    def test_an_encoder_that_cannot_keep_up_takes_no_pause(self):
        bench = Bench(brakes=Brakes(encode=Brake(batch_ms=250.0)))
        for _ in range(4):
            assert not bench.tick()
            assert bench.tick()
        assert bench.now_ns == START_NS + 100 * MS + 4 * 250 * MS

    def test_the_last_tick_waits_for_no_brake(self):
        bench = Bench(brakes=Brakes(encode=Brake(batch_ms=300.0)))
        assert bench.engine.tick(START_NS + MS, is_last=True)


class TestCompression:
    def test_it_is_taken_when_it_is_shorter(self, bench):
        bench.fill(np.arange(45)[:, None].repeat(70, 1))
        bench.tick()
        encoding, delta = bench.broadcast()
        assert encoding == 1
        pixels = np.zeros((45, 70), np.uint8)
        apply_blocks(pixels, delta.blocks)
        assert (pixels == bench.canvas_page["pixels"]).all()

    def test_a_short_broadcast_goes_as_it_is(self, bench):
        for x in range(COMPRESS_BYTES_MIN // 4):
            bench.paint(x % 70, x // 70, 1)
        bench.tick()
        assert bench.broadcast()[0] == 0

    def test_noise_goes_as_it_is_and_is_left_alone_for_a_while(self, monkeypatch):
        bench = Bench(width=64, height=64)
        calls = []
        compress = zlib.compress
        monkeypatch.setattr(zlib, "compress", lambda data, level: calls.append(level) or compress(data, level))
        lots = np.random.default_rng(1)
        for _ in range(COMPRESS_PAUSE_TICKS + 1):
            bench.fill(lots.integers(0, 256, (64, 64)))
            bench.tick()
            encoding, delta = bench.broadcast()
            assert encoding == 0
            assert len(delta.blocks) == 4
        assert len(calls) == 2


class TestSubscribe:
    def test_hello_has_the_settings_and_numbers_connections(self, bench):
        assert bench.engine.hello() == Hello(70, 45, 32, 100, 60, 120, 1)
        assert bench.engine.hello().connection == 2

    def test_the_row_has_the_region_in_tiles_and_the_time(self, bench):
        bench.paint(40, 33, 9)
        bench.tick()
        snapshot = bench.subscribe(31, 20, 10, 20, interval_ms=250)
        assert (snapshot.tick, snapshot.x, snapshot.y, snapshot.width, snapshot.height) == (1, 31, 20, 10, 20)
        assert snapshot.pixels[13 * 10 + 9] == 9
        row = bench.loop.connections[1]
        assert [row[name] for name in ("tile_x0", "tile_y0", "tile_x1", "tile_y1")] == [0, 0, 2, 2]
        assert (row["interval_ns"], row["due_ns"]) == (250 * MS, bench.now_ns + 250 * MS)
        assert (row["subscribed"], row["cursor"]) == (1, 1)
        assert bench.loop.counts[0]["subscriber_count"] == 1

    def test_cancel_has_no_answer(self, bench):
        bench.subscribe()
        assert bench.subscribe(flags=CANCEL) is None
        assert bench.loop.connections[1]["subscribed"] == 0
        assert bench.loop.counts[0]["subscriber_count"] == 0

    def test_a_new_one_replaces_the_old(self, bench):
        bench.subscribe()
        bench.subscribe(64, 32, 6, 13)
        assert bench.loop.connections[1]["tile_x0"] == 2
        assert bench.loop.counts[0]["subscriber_count"] == 1

    @given(*[st.one_of(st.integers(0, 100), st.integers(0, 65535)) for _ in range(4)])
    @settings(deadline=None)
    def test_a_region_is_the_part_that_is_on_the_canvas(self, x, y, width, height):
        canvas = Bench().engine.canvas
        region = canvas.clip(x, y, width, height)
        asked = {(i, j) for i in range(x, min(x + width, 70)) for j in range(y, min(y + height, 45))}
        if width == height == 0:
            asked = {(i, j) for i in range(70) for j in range(45)}
        left, top, across, down = region
        assert {(i, j) for i in range(left, left + across) for j in range(top, top + down)} == asked
        x0, y0, x1, y1 = canvas.tiles_of(region)
        assert {(i, j) for i in range(x0, x1) for j in range(y0, y1)} == {(i // 32, j // 32) for i, j in asked}
