"""The history for the panels: samples with all fields, bands of latency, markers, and a brushed region."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.config import FleetConfig
from plots.history import LATENCY_BAND_LEAST_US, LATENCY_BANDS, MARKER_ROWS, MarkerKind
from server.config import ServerConfig
from server.kernels import layout
from server.kernels.histogram import bucket_index
from workbench.scenarios.scenario import Scenario
from workbench.telemetry.histogram import latency_bands
from workbench.telemetry.history import MARKERS_SHOWN, History
from workbench.telemetry.pages import SessionPages
from workbench.telemetry.sampler import Sampler
from workbench.telemetry.view import TileBox

SECOND = 1_000_000_000
SCENARIO = Scenario(server=ServerConfig(width=128, height=96, connections_max=50), fleet=FleetConfig(connections=7))


@pytest.fixture
def pages() -> SessionPages:
    pages = SessionPages.create(SCENARIO.server)
    pages.telemetry["server"][0]["heartbeat_ns"] = 1
    pages.fleet["fleet"][0]["heartbeat_ns"] = 1
    return pages


class TestBands:
    @given(st.lists(st.integers(0, 10**8), max_size=60))
    @settings(deadline=None)
    def test_each_value_is_in_the_band_of_its_octave_third(self, values: list[int]) -> None:
        counts = np.zeros(layout.HISTOGRAM_BUCKETS, np.uint64)
        for value in values:
            counts[bucket_index(value)] += np.uint64(1)
        bands = latency_bands(counts)
        assert bands.sum() == len(values) and bands.dtype == np.uint32 and bands.shape == (LATENCY_BANDS,)
        # A bucket is 3 % wide, so the nearest band's edge may be missed by so much.
        for value in values:
            exact = 3 * math.log2(max(value, 1) / LATENCY_BAND_LEAST_US)
            near = {int(np.clip(math.floor(exact + off), 0, LATENCY_BANDS - 1)) for off in (-0.15, 0, 0.15)}
            assert bands[list(near)].any()

    def test_all_bands_are_used(self) -> None:
        assert (latency_bands(np.ones(layout.HISTOGRAM_BUCKETS, np.uint64)) > 0).all()


class TestMarkers:
    def test_a_marker_is_written_and_listed(self, pages: SessionPages) -> None:
        history = History(pages.history)
        history.mark(5, "knob", "rate limit 60 > 30")
        row = pages.history["markers"][0]
        assert (row["time_ns"], row["kind"], row["text"]) == (5, MarkerKind.KNOB, b"rate limit 60 > 30")
        assert int(pages.history["marker_head"][0]) == 1
        assert [(m.time_ns, m.kind, m.text) for m in history.markers] == [(5, "knob", "rate limit 60 > 30")]

    def test_the_ring_wraps_around_and_the_newest_are_listed(self, pages: SessionPages) -> None:
        history = History(pages.history)
        for number in range(MARKER_ROWS + 1):
            history.mark(number, "fault", str(number))
        assert pages.history["markers"][0]["text"] == str(MARKER_ROWS).encode()
        assert len(history.markers) == MARKERS_SHOWN and history.markers[-1].text == str(MARKER_ROWS)

    @pytest.mark.parametrize("text", ["x" * 100, "é" * 60, "ab" + "漢" * 30])
    def test_a_long_text_is_cut_between_characters(self, pages: SessionPages, text: str) -> None:
        History(pages.history).mark(1, "note", text)
        written = bytes(pages.history["markers"][0]["text"]).decode()
        assert text.startswith(written) and 70 <= len(written.encode()) <= 72

    def test_an_unknown_kind_is_a_bug(self, pages: SessionPages) -> None:
        with pytest.raises(KeyError):
            History(pages.history).mark(1, "whim", "x")


def newest(pages: SessionPages) -> np.void:
    return pages.history["samples"][int(pages.history["head"][0]) - 1]


class TestSamples:
    def test_the_ledger_adds_up(self, pages: SessionPages) -> None:
        pages.fleet["fleet"][0]["sent_count"] = 1000
        loop = pages.telemetry["loops"][0]
        loop["admitted_count"], loop["throttled_count"], loop["shed_count"], loop["out_of_bounds_count"] = 700, 90, 6, 4
        Sampler(pages, SCENARIO).take(SECOND)
        row = newest(pages)
        sides = ("admitted_count", "throttled_count", "shed_count", "out_of_bounds_count", "in_flight_count")
        assert row["sent_count"] == sum(row[side] for side in sides) == 1000
        assert row["in_flight_count"] == 200

    def test_placements_of_other_clients_do_not_hide_what_is_in_flight(self, pages: SessionPages) -> None:
        fleet, loop, sampler = pages.fleet["fleet"][0], pages.telemetry["loops"][0], Sampler(pages, SCENARIO)
        loop["received_count"] = loop["admitted_count"] = 50_000
        sampler.take(SECOND)
        assert newest(pages)["in_flight_count"] == 0
        # A braked stage: of the fleet's, 5,000 are admitted, 2,000 wait in queues and 13,000 in sockets.
        fleet["sent_count"] = 20_000
        loop["received_count"] += 7_000
        loop["admitted_count"] += 5_000
        sampler.take(2 * SECOND)
        assert newest(pages)["in_flight_count"] == 15_000

    def test_what_waits_in_queues_is_in_flight_whoever_sent_it(self, pages: SessionPages) -> None:
        pages.fleet["fleet"][0]["sent_count"] = 500
        pages.telemetry["loops"][0]["received_count"] = 900
        pages.telemetry["loops"][0]["admitted_count"] = 600
        Sampler(pages, SCENARIO).take(SECOND)
        assert newest(pages)["in_flight_count"] == 300

    def test_what_is_unknown_is_nan(self, pages: SessionPages) -> None:
        pages.fleet["fleet"][0]["heartbeat_ns"] = 0
        Sampler(pages, SCENARIO).take(SECOND)
        row = newest(pages)
        for field in ("sent_count", "in_flight_count", "fairness_index", "share_p5_per_s", "fleet_cpu_cores"):
            assert math.isnan(row[field]), field
        assert np.isnan(row["service_us"]).all() and row["latency_counts"].sum() == 0

    def test_latency_is_that_since_the_sample_before(self, pages: SessionPages) -> None:
        sampler = Sampler(pages, SCENARIO)
        for step, seen in enumerate((3, 0, 5)):
            pages.fleet["latency"][bucket_index(50_000)] += seen
            sampler.take(SECOND + step * SECOND // 10)
        assert pages.history["samples"]["latency_counts"][:3].sum(axis=1).tolist() == [0, 0, 5]

    def test_stages_cores_and_shares_are_filled(self, pages: SessionPages) -> None:
        sampler = Sampler(pages, SCENARIO)
        rows = pages.connections["connections"][0]
        rows["phase"][:4], rows["received_count"][:4] = layout.Phase.FAST, 1
        sampler.take(SECOND)
        rows["admitted_count"][:4] = 60
        pages.telemetry["stages"][0, layout.Stage.APPLY]["item_count"] = 1000
        pages.telemetry["stages"][0, layout.Stage.APPLY]["busy_ns"] = 2_000_000
        for page in (pages.telemetry["server"][0], pages.fleet["fleet"][0]):
            page["heartbeat_ns"], page["cpu_ns"] = SECOND, SECOND // 4
        sampler.take(2 * SECOND)
        row = newest(pages)
        assert row["service_us"][layout.Stage.APPLY] == 2
        assert row["fairness_index"] == 1 and row["share_p50_per_s"] == 60
        assert row["server_cpu_cores"] == pytest.approx(0.25) and row["fleet_cpu_cores"] == pytest.approx(0.25)


class TestBrush:
    def test_only_placements_of_the_region_count(self, pages: SessionPages) -> None:
        sampler = Sampler(pages, SCENARIO)
        sampler.brush = TileBox(1, 0, 3, 2)
        sampler.take(SECOND)
        tiles = pages.canvas["tiles"]
        tiles["applied_count"][:] += 10
        tiles["merged_count"][0, 0] += 99  # Outside.
        tiles["throttled_count"][1, 2] += 6
        pages.fleet["brushed_latency"][bucket_index(20_000)] += 9
        pages.fleet["brushed_latency_max_us"][0] = 21_000
        pages.telemetry["loops"][0]["admitted_count"] += 500
        sampler.take(2 * SECOND)
        row = newest(pages)
        assert (row["admitted_per_s"], row["broadcast_per_s"], row["throttled_per_s"]) == (40, 0, 6)
        assert row["latency_ms_p50"] == pytest.approx(20, rel=0.02) and row["latency_counts"].sum() == 9
        for field in ("offered_per_s", "received_per_s", "delivered_per_s", "shed_per_s"):
            assert math.isnan(row[field]), field
        assert sampler.reading.admitted_per_s == 500, "a reading is of all"
        sampler.brush = None
        sampler.take(2 * SECOND + SECOND // 10)
        assert newest(pages)["admitted_per_s"] == pytest.approx(500 / 1.1)

    def test_another_region_starts_from_zero(self, pages: SessionPages) -> None:
        sampler = Sampler(pages, SCENARIO)
        pages.canvas["tiles"]["applied_count"] = 1000
        for step in range(3):
            sampler.brush = TileBox(step, 0, step + 1, 1)
            pages.fleet["brushed_latency"][:] = 0
            sampler.take((1 + step) * SECOND)
            assert math.isnan(newest(pages)["admitted_per_s"])
