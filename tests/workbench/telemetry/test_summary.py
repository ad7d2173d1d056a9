"""The summary and the sampler: counts over time, null for the unknown, quantiles of the right buckets, sample times."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from devices.config import FleetConfig
from plots.history import SAMPLE_INTERVAL_NS, SAMPLE_ROWS
from server.config import ServerConfig
from server.ipc.control import Progress
from server.kernels import layout
from server.kernels.histogram import bucket_index
from support.interrupted import interrupted
from workbench.cli.serve import serving_summary
from workbench.run.live_table import line_of, table_of
from workbench.scenarios.scenario import Scenario
from workbench.telemetry import tick_log
from workbench.telemetry.counters import Counters, Span, read_counters
from workbench.telemetry.histogram import bounds_us, maximum_ms, quantile_ms
from workbench.telemetry.pages import SessionPages
from workbench.telemetry.sampler import Sampler
from workbench.telemetry.summary import Measured, summarise
from workbench.telemetry.tick_log import TickLog
from workbench.telemetry.view import Part, Reading, RecordingState, View

SECOND = 1_000_000_000
SCENARIO = Scenario(server=ServerConfig(width=4, height=4, loops=2), fleet=FleetConfig(connections=7))
FIXED = [
    "seconds",
    "connections",
    "offered_per_s",
    "received_per_s",
    "admitted_per_s",
    "throttled_per_s",
    "merged_per_s",
    "delivered_per_s",
    "broadcast_deltas_per_s",
    "broadcast_bytes_per_s",
    "tick_ms_p50",
    "tick_ms_p99",
    "placement_to_view_ms_p50",
    "placement_to_view_ms_p99",
    "placement_to_view_ms_max",
    "server_cpu_cores",
    "fleet_cpu_cores",
    "window_fps",
    "connections_lost",
    "protocol_errors",
    "canvas_checksum",
    "machine",
]


@pytest.fixture
def pages() -> SessionPages:
    return SessionPages.create(ServerConfig(width=4, height=4, loops=2))


def work(pages: SessionPages, now_ns: int) -> None:
    """Add a little to every counter that the summary divides, as server and fleet would."""
    server, fleet = pages.telemetry["server"][0], pages.fleet["fleet"][0]
    for loop in pages.telemetry["loops"]:
        for number, field in enumerate(layout.LOOP.names or ()):
            loop[field] += number + 1
    for number, field in enumerate(("merged_count", "cpu_ns", "tick")):
        server[field] += 10 * (number + 1)
    for number, field in enumerate(("offered_count", "sent_count", "delta_count", "delta_pixel_count", "write_count")):
        fleet[field] += 100 * (number + 1)
    server["heartbeat_ns"] = fleet["heartbeat_ns"] = now_ns


def measured(first: Counters | None, last: Counters | None, drained: Counters) -> Measured:
    intervals = np.array([100, 100, 100, 200], np.int64) * 1_000_000
    return Measured(7, first, last, drained, intervals if first else None, 42, 1.5)


class TestSummary:
    def test_fixed_keys_come_first_and_always(self, pages: SessionPages) -> None:
        empty = read_counters(pages, 0, SECOND)
        summary = summarise(measured(None, None, empty))
        assert list(summary)[: len(FIXED)] == FIXED
        assert set(summary["machine"]) == {"cpu", "cores", "python", "os"}

    def test_what_is_unknown_is_null(self, pages: SessionPages) -> None:
        summary = summarise(measured(None, None, read_counters(pages, 0, SECOND)))
        known = {"connections", "canvas_checksum", "machine", "setup_seconds", "failures"}
        assert {key for key, value in summary.items() if value is not None} == known

    def test_rates_are_counts_over_time(self, pages: SessionPages) -> None:
        work(pages, SECOND)
        first = read_counters(pages, 10, SECOND)
        work(pages, 3 * SECOND)
        last = read_counters(pages, 70, 3 * SECOND)
        work(pages, 4 * SECOND)
        summary = summarise(measured(first, last, read_counters(pages, 80, 4 * SECOND)))
        received = 2 * ((layout.LOOP.names or ()).index("received_count") + 1)
        assert summary["seconds"] == 2
        assert summary["received_per_s"] == received / 2, "both loops, over two seconds"
        assert summary["offered_per_s"] == 50 and summary["delivered_per_s"] == 200
        held = 2 * ((layout.LOOP.names or ()).index("connection_count") + 1)
        assert sum(summary["connections_per_loop"]) == held * 2 and len(summary["connections_per_loop"]) == 2
        assert summary["merged_per_s"] == 5 and summary["window_fps"] == 30
        assert summary["frames_per_write"] == pytest.approx(0.4)
        assert (summary["tick_ms_p50"], summary["tick_count"]) == (100, 30)
        assert 100 < summary["tick_ms_p99"] <= 200

    def test_latency_includes_what_was_under_way(self, pages: SessionPages) -> None:
        pages.fleet["latency"][10] += 5  # Before the steady state: not counted.
        work(pages, SECOND)
        first = read_counters(pages, 0, SECOND)
        work(pages, 2 * SECOND)
        last = read_counters(pages, 0, 2 * SECOND)
        pages.fleet["latency"][20] += 1
        pages.fleet["latency_max_us"][0] = 20
        summary = summarise(measured(first, last, read_counters(pages, 0, 3 * SECOND)))
        assert summary["placement_to_view_ms_p50"] == summary["placement_to_view_ms_max"] == 0.02

    def test_a_fleet_that_never_wrote_is_unknown(self, pages: SessionPages) -> None:
        work(pages, SECOND)
        pages.fleet["fleet"][0]["heartbeat_ns"] = 0
        first = read_counters(pages, 0, SECOND)
        last = read_counters(pages, 0, 2 * SECOND)
        summary = summarise(measured(first, last, last))
        fleet_side = ("offered_per_s", "delivered_per_s", "fleet_cpu_cores", "connections_lost")
        assert [summary[key] for key in fleet_side] == [None] * 4
        assert summary["received_per_s"] == 0

    def test_without_fleet_and_server_viewers_are_unknown(self, pages: SessionPages) -> None:
        first, last = (read_counters(pages, 0, second * SECOND) for second in (1, 2))
        summary = summarise(measured(first, last, last))
        assert summary["viewers"] is summary["connections_per_loop"] is summary["tick_count"] is None

    def test_processor_time_is_divided_by_the_time_between_heartbeats(self, pages: SessionPages) -> None:
        server = pages.telemetry["server"][0]
        server["heartbeat_ns"], server["cpu_ns"] = SECOND, 0
        first = read_counters(pages, 0, SECOND + 90_000_000)
        server["heartbeat_ns"], server["cpu_ns"] = 2 * SECOND, SECOND // 2
        span = Span(first, read_counters(pages, 0, 2 * SECOND + 10_000_000))
        assert span.server_cores() == 0.5


class TestServing:
    def test_the_drain_counts_for_totals_only(self, pages: SessionPages) -> None:
        readings = []
        for second in (1, 3, 9):
            work(pages, second * SECOND)
            readings.append(read_counters(pages, 0, second * SECOND))
        summary = serving_summary(pages, *readings[:2])
        received = pages.telemetry["loops"]["received_count"]
        assert summary["seconds"] == 2 and summary["received_per_s"] == received.sum() / 3 / 2
        assert summary["ledger"]["received"] == received.sum()


class TestQuantile:
    def test_buckets_are_those_that_are_written(self) -> None:
        for bucket in range(layout.HISTOGRAM_BUCKETS):
            assert [bucket_index(bound) for bound in bounds_us(bucket)] == [bucket, bucket]

    @given(st.lists(st.integers(0, 10**7), min_size=1, max_size=50), st.floats(0.01, 1))
    @settings(deadline=None, max_examples=60)
    def test_agrees_with_sorting(self, values: list[int], quantile: float) -> None:
        counts = np.zeros(layout.HISTOGRAM_BUCKETS, np.uint64)
        for value in values:
            counts[bucket_index(value)] += np.uint64(1)
        exact = sorted(values)[max(1, math.ceil(quantile * len(values))) - 1]
        found = quantile_ms(counts, max(values), quantile)
        assert found is not None and abs(found * 1000 - exact) <= exact / 32 + 1
        assert maximum_ms(counts, max(values)) == max(values) / 1000

    def test_an_empty_histogram_is_unknown(self) -> None:
        empty = np.zeros(layout.HISTOGRAM_BUCKETS, np.uint64)
        assert quantile_ms(empty, 5, 0.5) is None and maximum_ms(empty, 5) is None


class TestTickLog:
    def write(self, pages: SessionPages, ticks: range) -> None:
        for tick in ticks:
            row = pages.telemetry["ticks"][tick % layout.TICK_ROWS]
            row["tick"], row["start_ns"], row["interval_ns"] = tick, tick * 100, tick
            pages.telemetry["server"][0]["tick"] = tick

    def test_each_tick_is_collected_once(self, pages: SessionPages) -> None:
        log = TickLog(pages.telemetry)
        self.write(pages, range(1, 4))
        assert log.collect()["tick"].tolist() == [1, 2, 3]
        assert len(log.collect()) == 0
        self.write(pages, range(4, 6))
        assert log.collect()["tick"].tolist() == [4, 5]
        assert log.intervals_ns(200, 500).tolist() == [2, 3, 4]

    def test_a_row_that_is_overwritten_while_it_is_read_is_left_out(self, pages: SessionPages) -> None:
        self.write(pages, range(1, layout.TICK_ROWS + 1))

        def go_on() -> None:
            self.write(pages, range(layout.TICK_ROWS + 1, layout.TICK_ROWS + 4))
            pages.telemetry["ticks"][4]["tick"] = layout.TICK_ROWS + 4  # Of the next, only this is written.

        rows = interrupted(pages.telemetry["ticks"], None, go_on)
        log = TickLog({"server": pages.telemetry["server"], "ticks": rows})
        assert log.collect()["tick"].tolist() == list(range(5, layout.TICK_ROWS + 1))
        assert log.collect()["tick"].tolist() == list(range(layout.TICK_ROWS + 1, layout.TICK_ROWS + 4))

    def test_a_missing_tick_lengthens_the_interval(self, pages: SessionPages) -> None:
        log, recent = TickLog(pages.telemetry), tick_log.RecentTicks(SECOND)
        recent.add(0, log.collect())
        assert recent.interval_ms(SECOND) is None
        for tick in (1, 2, 3):
            row = pages.telemetry["ticks"][tick]
            row["tick"], row["start_ns"], row["interval_ns"] = tick, SECOND + tick * SECOND // 10, SECOND // 10
        pages.telemetry["server"][0]["tick"] = 3
        recent.add(2 * SECOND, log.collect())
        assert recent.interval_ms(SECOND + 350_000_000) == 100
        assert recent.interval_ms(SECOND + 700_000_000) == 400
        recent.add(4 * SECOND, log.collect())
        assert recent.interval_ms(4 * SECOND) == 2700

    def test_of_very_many_only_some_are_kept(self, pages: SessionPages, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tick_log, "KEPT_MAX", 100)
        log = TickLog(pages.telemetry)
        for first in range(1, 3001, 50):
            self.write(pages, range(first, first + 50))
            assert log.collect()["tick"].tolist() == list(range(first, first + 50)), "each is collected once"
        kept = log.intervals_ns(0, 10**9)
        assert 50 <= len(kept) <= 100
        assert np.percentile(kept, [10, 50, 90]) == pytest.approx([300, 1500, 2700], abs=90)

    def test_ticks_that_the_ring_lost_are_left_out(self, pages: SessionPages) -> None:
        log = TickLog(pages.telemetry)
        self.write(pages, range(1, layout.TICK_ROWS + 101))
        rows = log.collect()
        assert rows["tick"].tolist() == list(range(rows["tick"][0], layout.TICK_ROWS + 101))
        assert 101 <= rows["tick"][0] <= 120


class TestSampler:
    def test_rates_are_over_the_last_second(self, pages: SessionPages) -> None:
        sampler = Sampler(pages, SCENARIO)
        fleet = pages.fleet["fleet"][0]
        for step in range(30):
            fleet["heartbeat_ns"] = step + 1
            fleet["offered_count"] = 10 * min(step, 10)  # A second of 100 a second, then none.
            assert sampler.poll(SECOND + step * SAMPLE_INTERVAL_NS)
            if step == 10:
                assert sampler.reading.offered_per_s == 100
        assert sampler.reading.offered_per_s == 0
        assert sampler.reading.received_per_s is None

    def test_a_server_that_publishes_nothing_for_seconds_is_not_idle(self, pages: SessionPages) -> None:
        mailbox = ServerConfig(width=4, height=4, loop="mailbox")
        sampler = Sampler(pages, Scenario(server=mailbox, fleet=FleetConfig(connections=7)))
        stage = pages.telemetry["stages"][0, layout.Stage.APPLY]
        shown = []
        for step in range(80):
            now_ns = SECOND + step * SAMPLE_INTERVAL_NS
            if step <= 20 or step == 50 or step > 60:  # Busy half of the time, and silent twice.
                stage["busy_ns"] = (now_ns - SECOND) // 2
                stage["batch_count"] = stage["item_count"] = step
                pages.telemetry["server"][0]["heartbeat_ns"] = now_ns
            sampler.poll(now_ns)
            shown.append(sampler.reading.utilisation_ratio)
        assert shown[1:] == pytest.approx([0.5] * 79, abs=0.01)
        assert {reading.name: reading for reading in sampler.stages}["apply"].throughput_per_s == pytest.approx(10)

    def test_a_sample_is_due_every_interval(self, pages: SessionPages) -> None:
        sampler = Sampler(pages, SCENARIO)
        assert sampler.poll(SECOND)
        assert not sampler.poll(SECOND + SAMPLE_INTERVAL_NS - 1)
        assert sampler.poll(SECOND + SAMPLE_INTERVAL_NS + 5)
        assert sampler.due_ns() == SECOND + 2 * SAMPLE_INTERVAL_NS, "a late poll does not shift the rest"

    def test_the_history_equals_the_reading(self, pages: SessionPages) -> None:
        sampler = Sampler(pages, SCENARIO)
        work(pages, SECOND)
        sampler.poll(SECOND)
        work(pages, 2 * SECOND)
        TestTickLog().write(pages, range(61, 63))
        pages.telemetry["ticks"][61]["depth_peak"][layout.Stage.APPLY] = 9
        sampler.poll(2 * SECOND)
        assert int(pages.history["head"][0]) == 2
        row = pages.history["samples"][1]
        assert row["time_ns"] == 2 * SECOND and row["offered_per_s"] == 100
        assert math.isnan(row["latency_ms_p50"])
        assert row["depth_peak"][layout.Stage.APPLY] == 9

    def test_a_page_that_was_never_written_is_unknown(self, pages: SessionPages) -> None:
        sampler = Sampler(pages, SCENARIO)
        for second in (1, 2):
            sampler.poll(second * SECOND)
        row = pages.history["samples"][1]
        for name in ("offered_per_s", "admitted_per_s", "utilisation_ratio", "depth_peak", "server_cpu_cores"):
            assert np.isnan(row[name]).all(), name
        assert sampler.reading.connection_count is sampler.reading.lost_count is None

    def test_the_ring_wraps_around(self, pages: SessionPages) -> None:
        sampler = Sampler(pages, SCENARIO)
        pages.history["head"][0] = pages.history["begun"][0] = SAMPLE_ROWS
        sampler.poll(SECOND)
        assert pages.history["samples"][0]["time_ns"] == SECOND


class TestTable:
    def view(self, reading: Reading, run_seconds: float, *parts: Part) -> View:
        pixels = np.zeros((2, 2), np.uint8)
        return View(0, "first [red]light", "T.", "ws://h:1/canvas", parts, reading, pixels, run_seconds)

    def test_what_is_not_known_is_a_dash(self) -> None:
        assert line_of(self.view(Reading(), 1)).count("- ") == 15

    def test_the_size_of_a_recording_says_that_its_log_is_in_it(self) -> None:
        view = replace(self.view(Reading(), 1), recording=RecordingState("a.pxr", 2.0, 5_100_000))
        assert "recording 5.1 MB on disk with its log" in line_of(view)

    def test_a_line_has_figures_with_units_and_dashes(self) -> None:
        reading = Reading(offered_per_s=300_000, admitted_per_s=812, tick_ms=180, connection_count=5000)
        line = line_of(self.view(reading, 2.5))
        assert "2.5 s  connections 5,000  offered 300 k/s" in line
        assert "admitted 812 /s" in line and "throttled -" in line and "tick 180 ms" in line

    def test_before_the_load_it_shows_the_state_of_the_processes(self) -> None:
        server = Part("server", "compiling", Progress("compiling decode", 3, 19))
        line = line_of(self.view(Reading(), 0, server, Part("fleet", "starting")))
        assert line == "server compiling decode 3 of 19, fleet starting"

    def test_a_table_shows_text_as_it_is(self) -> None:
        console = Console(width=90, record=True, file=io.StringIO())
        console.print(table_of(self.view(Reading(), 3, Part("fleet", "failed", failure="lost [b]all"))))
        shown = console.export_text()
        assert "first [red]light" in shown and "failed: lost [b]all" in shown
