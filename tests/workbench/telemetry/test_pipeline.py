"""Figures of the stages, compared with plain sums of the counters; and the readings made from them."""

import numpy as np
import pytest

from server.config import Brake, Brakes, ServerConfig
from server.kernels import layout
from server.kernels.layout import Stage
from workbench.telemetry.counters import Counters, Span, read_counters
from workbench.telemetry.pages import SessionPages
from workbench.telemetry.pipeline import StageFigures, brake_text, stage_figures, stage_readings
from workbench.telemetry.view import StageReading

SECOND = 1_000_000_000
FIELDS = ("busy_ns", "batch_count", "item_count", "depth_sum", "drop_count")


@pytest.fixture
def pages() -> SessionPages:
    pages = SessionPages.create(ServerConfig(width=4, height=4, loops=2))
    pages.telemetry["server"][0]["heartbeat_ns"] = 1
    pages.fleet["fleet"][0]["heartbeat_ns"] = 1
    return pages


def figures_of(recent: list[Counters]) -> StageFigures:
    figures = stage_figures(recent, np.zeros(layout.STAGE_COUNT))
    assert figures is not None
    return figures


def readings_of(recent: list[Counters], **settings: Brakes) -> dict[str, StageReading]:
    peak = np.arange(layout.STAGE_COUNT)
    readings = stage_readings(figures_of(recent), recent, peak, ServerConfig(**settings), 0, 0)
    return {reading.name: reading for reading in readings}


def samples(pages: SessionPages, count: int, seed: int) -> list[Counters]:
    """Samples a tenth of a second apart, with work of every stage of both loops between them."""
    lots = np.random.default_rng(seed)
    stages = pages.telemetry["stages"]
    recent = [read_counters(pages, 0, SECOND)]
    for step in range(1, count):
        for field in FIELDS:
            stages[field] += lots.integers(0, 10**6 if field == "busy_ns" else 50, stages.shape)
        recent.append(read_counters(pages, 0, SECOND + step * SECOND // 10))
    return recent


class TestFigures:
    @pytest.mark.parametrize("seed", range(5))
    def test_figures_equal_the_plain_sums(self, pages: SessionPages, seed: int) -> None:
        recent = samples(pages, 11, seed)
        figures = figures_of(recent)
        first, last = recent[0].stages, recent[-1].stages

        def grown(loop: int, stage: int, field: str) -> int:
            return int(last[loop][stage][field] - first[loop][stage][field])

        encode = grown(0, Stage.ENCODE, "busy_ns")
        totals = [encode + sum(grown(i, s, "busy_ns") for s in Stage if s != Stage.ENCODE) for i in range(2)]
        busiest = totals.index(max(totals))
        for stage in Stage:
            items = sum(grown(i, stage, "item_count") for i in range(2))
            busy = sum(grown(i, stage, "busy_ns") for i in range(2))
            own = encode if stage == Stage.ENCODE else grown(busiest, stage, "busy_ns")
            depth = sum(grown(i, stage, "depth_sum") / max(1, grown(i, stage, "batch_count")) for i in range(2))
            assert figures.throughput_per_s[stage] == items
            assert figures.utilisation_ratio[stage] == pytest.approx(own / SECOND)
            assert figures.service_us[stage] == pytest.approx(busy / items / 1000)
            assert figures.depth[stage] == pytest.approx(depth)
            waits = depth * own / SECOND if stage in (Stage.ENCODE, Stage.FANOUT) else depth
            assert figures.waiting_ms[stage] == pytest.approx(1000 * waits / items)

    def test_the_shares_of_the_busiest_loop_add_up(self, pages: SessionPages) -> None:
        recent = samples(pages, 11, 7)
        total = figures_of(recent).utilisation_ratio.sum()
        assert total == pytest.approx(Span(recent[0], recent[-1]).busiest_loop_ratio())

    def test_what_was_not_served_has_no_service_time(self, pages: SessionPages) -> None:
        recent = [read_counters(pages, 0, SECOND), read_counters(pages, 0, 2 * SECOND)]
        figures = figures_of(recent)
        assert np.isnan(figures.service_us).all() and np.isnan(figures.waiting_ms).all()
        assert (figures.depth == 0).all() and (figures.throughput_per_s == 0).all()
        assert readings_of(recent)["apply"].service_us is None

    def test_the_last_depth_of_a_blocked_stage_still_waits(self, pages: SessionPages) -> None:
        pages.telemetry["stages"][0, Stage.ADMIT]["depth"] = pages.telemetry["stages"][0, Stage.READ]["depth"] = 70
        recent = [read_counters(pages, 0, SECOND), read_counters(pages, 0, 2 * SECOND)]
        peak = np.zeros(layout.STAGE_COUNT)
        peak[Stage.ADMIT] = 90
        figures = stage_figures(recent, peak)
        assert figures is not None
        assert figures.depth[Stage.ADMIT] == 70
        assert figures.depth[Stage.READ] == 0, "nothing waited in the last second: it is idle, and its depth is old"

    def test_growth_is_that_of_the_mean_depth(self, pages: SessionPages) -> None:
        row = pages.telemetry["stages"][0, Stage.APPLY]
        recent = [read_counters(pages, 0, SECOND)]
        for step in range(1, 11):
            row["batch_count"] += 2
            row["depth_sum"] += 2 * (300 + 40 * step)  # 400 more a second.
            recent.append(read_counters(pages, 0, SECOND + step * SECOND // 10))
        assert figures_of(recent).growth_per_s[Stage.APPLY] == pytest.approx(400)
        assert figures_of(recent).growth_per_s[Stage.READ] == 0

    def test_without_a_server_or_with_one_sample_nothing_is_known(self, pages: SessionPages) -> None:
        peak = np.zeros(layout.STAGE_COUNT)
        assert stage_figures([read_counters(pages, 0, SECOND)], peak) is None
        pages.telemetry["server"][0]["heartbeat_ns"] = 0
        recent = [read_counters(pages, 0, SECOND), read_counters(pages, 0, 2 * SECOND)]
        assert stage_figures(recent, peak) is None
        assert stage_readings(None, recent, np.zeros(8), ServerConfig(), 0, 0) == ()


class TestReadings:
    def test_stages_are_in_order_and_the_journal_is_optional(self, pages: SessionPages) -> None:
        recent = [read_counters(pages, 0, SECOND), read_counters(pages, 0, 2 * SECOND)]
        plain = ["accept", "read", "decode", "admit", "apply", "encode", "fan-out", "viewers"]
        assert list(readings_of(recent)) == plain
        pages.telemetry["stages"][0, Stage.JOURNAL]["batch_count"] = 1
        recent.append(read_counters(pages, 0, 3 * SECOND))
        assert list(readings_of(recent)) == [*plain[:5], "journal", *plain[5:]]

    def test_peaks_and_limits_are_those_of_the_stage(self, pages: SessionPages) -> None:
        pages.telemetry["stages"][:, Stage.ADMIT]["depth_max"] = 100
        readings = readings_of([read_counters(pages, 0, SECOND), read_counters(pages, 0, 2 * SECOND)])
        assert (readings["admit"].depth_max, readings["admit"].depth_peak) == (200, Stage.ADMIT)
        assert readings["viewers"].depth_max == 0

    def test_drops_are_counted_once_at_their_stage(self, pages: SessionPages) -> None:
        first = read_counters(pages, 0, SECOND)
        loop = pages.telemetry["loops"][0]
        loop["throttled_count"], loop["out_of_bounds_count"], loop["conflated_count"] = 30, 2, 7
        loop["shed_count"] = 12
        pages.telemetry["stages"][0, Stage.APPLY]["drop_count"] = 5  # Of those 12.
        readings = readings_of([first, read_counters(pages, 0, 2 * SECOND)])
        assert readings["admit"].drops_per_s == (("rate", 30), ("out of bounds", 2), ("overload", 7))
        assert readings["apply"].drops_per_s == (("overload", 5),)
        assert readings["fan-out"].drops_per_s == (("conflated", 7),)
        assert readings["read"].drops_per_s == ()

    def test_brakes_are_shown(self, pages: SessionPages) -> None:
        recent = [read_counters(pages, 0, SECOND), read_counters(pages, 0, 2 * SECOND)]
        readings = readings_of(recent, brakes=Brakes(apply=Brake(item_us=20), encode=Brake(item_us=1, batch_ms=5)))
        assert readings["apply"].brake == "+ 20 us an item"
        assert readings["encode"].brake == "+ 1 us an item, 5 ms a batch"
        assert readings["read"].brake == brake_text(Brake()) == ""

    def test_viewers_are_measured_by_what_they_receive_and_lack(self, pages: SessionPages) -> None:
        first = read_counters(pages, 0, SECOND)
        pages.fleet["fleet"][0]["delta_count"] = 400
        recent = [first, read_counters(pages, 0, 2 * SECOND)]
        viewers = stage_readings(figures_of(recent), recent, np.zeros(8), ServerConfig(), 250.0, 100)[-1]
        assert (viewers.name, viewers.throughput_per_s, viewers.depth) == ("viewers", 400, 100)
        assert (viewers.waiting_ms, viewers.service_us) == (250, 250)
        assert viewers.utilisation_ratio == pytest.approx(0.1) and viewers.brake == "+ 250 us a delta"
