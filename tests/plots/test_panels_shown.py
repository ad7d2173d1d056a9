"""What each panel shows of a run: tails and modes, markers, shares, fairness, the ledger, cost."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from plots.heat import cell_counts
from plots.history import LATENCY_BAND_EDGES_MS, LATENCY_BANDS, MarkerKind
from plots.legend import heat_colors
from plots.marks import stack_rows
from plots.panels import Panels
from plots.series import PANELS
from plots.style import DARK
from plots.timeline import Bucketing
from server.kernels import layout
from support.panel_samples import (
    HEIGHT,
    START_NS,
    WIDTH,
    band_of,
    drawn,
    end_of,
    ledger_rows,
    lone,
    markers,
    part,
    plot,
    samples,
    where,
)

SECOND_NS = 1_000_000_000


# --- The heat map


def test_a_mode_is_drawn_only_at_its_height():
    rows = samples(offered_per_s=10.0)
    rows["latency_counts"][:, band_of(100.0)] = 1000
    panels = lone("heat")
    area = part(drawn(rows, panels), panels.panels[0].boxes.plot)
    hottest = where(area, heat_colors(DARK)[-1, :3] / 255, 30)
    lines = np.flatnonzero(hottest.mean(axis=1) > 0.9)
    low, high = (panels.panels[0].axis.height(LATENCY_BAND_EDGES_MS[band_of(100.0) + side]) for side in (0, 1))
    assert lines.min() == pytest.approx((1 - high) * area.shape[0], abs=2)
    assert lines.max() == pytest.approx((1 - low) * area.shape[0], abs=2)
    assert low <= panels.panels[0].axis.height(100.0) < high


def test_the_last_band_counts_everything_above_it():
    rows = samples(offered_per_s=10.0, latency_ms_p50=15_000.0)
    rows["latency_counts"][:, -1] = 1000
    area = plot(rows, "heat")
    hottest = where(area, heat_colors(DARK)[-1, :3] / 255, 30)
    assert hottest[2, 10:].all()
    assert not hottest[area.shape[0] // 2].any()


def test_two_modes_and_one_outlier_have_their_own_shades():
    rows = samples(offered_per_s=10.0)
    rows["latency_counts"][:, band_of(50.0)] = 5000
    rows["latency_counts"][:, band_of(700.0)] = 30
    rows["latency_counts"][300, band_of(3000.0)] = 1
    panels = lone("heat")
    area = part(drawn(rows, panels), panels.panels[0].boxes.plot).astype(float)

    def shade_at(latency_ms, column):
        edges = LATENCY_BAND_EDGES_MS[band_of(latency_ms)], LATENCY_BAND_EDGES_MS[band_of(latency_ms) + 1]
        middle = panels.panels[0].axis.height(math.sqrt(edges[0] * edges[1]))
        return area[round((1 - middle) * area.shape[0]), column].sum()

    middle = area.shape[1] // 2
    ground = 3 * 255 * np.mean(to_rgb(DARK.plot))
    straggler = max(shade_at(3000.0, column) for column in range(middle - 8, middle + 8))
    assert shade_at(50.0, middle) > shade_at(700.0, middle) > straggler > ground
    assert shade_at(3000.0, area.shape[1] // 4) == pytest.approx(ground)


@given(st.integers(0, 100), st.integers(1, 300))
@settings(deadline=None, max_examples=30)
def test_no_placement_is_lost_between_cells(first, count):
    rows = samples(400)[first : first + count]
    rows["latency_counts"][:, 7] = np.arange(len(rows)) % 5
    grain = Bucketing.for_span(60 * SECOND_NS)
    cells = cell_counts(rows, START_NS // grain.block_ns, 90, grain)
    assert cells.shape == (LATENCY_BANDS, 90)
    last = len(rows) - np.sum(rows["time_ns"] // grain.block_ns == end_of(rows) // grain.block_ns)
    recent = rows["latency_counts"][rows["time_ns"] > end_of(rows) - grain.block_ns, 7]
    assert cells.sum() == rows["latency_counts"][:last, 7].sum() + recent.sum()


def test_cells_move_with_time_and_do_not_change():
    rows = samples(700, offered_per_s=10.0)
    rows["latency_counts"][200:205, band_of(100.0)] = 1000
    first = plot(rows[:600], "heat")
    then = plot(rows, "heat")
    columns = [np.flatnonzero(where(area, heat_colors(DARK)[-1, :3] / 255, 30).any(axis=0)) for area in (first, then)]
    assert columns[0].mean() - columns[1].mean() == pytest.approx(first.shape[1] / 6, abs=1)


# --- Marks


@pytest.mark.parametrize("kind", MarkerKind)
def test_a_mark_is_at_its_time_in_the_colour_of_its_kind(kind):
    color = {"KNOB": DARK.orange, "FAULT": DARK.vermilion, "BRAKE": DARK.purple, "NOTE": DARK.silver}[kind.name]
    rows = samples(601)
    panels = Panels(WIDTH, HEIGHT)
    picture = drawn(rows, panels, marks=markers((45, "limit 60 > 30"), kind=kind))
    for panel in panels.panels:
        area = part(picture, panel.boxes.plot)
        lower = where(area[area.shape[0] // 2 :], color, 60)
        assert np.flatnonzero(lower.sum(axis=0) > 10).mean() == pytest.approx(0.75 * area.shape[1], abs=1)


def test_marks_outside_of_the_span_are_not_shown():
    rows = samples(1200)
    shown = drawn(rows, marks=markers((10, "long ago"), (500, "to come")))
    np.testing.assert_array_equal(shown, drawn(rows))


def test_a_label_is_beside_its_line_and_inside_the_plot():
    rows = samples(601)
    for seconds in (30, 60):
        area = plot(rows, "throughput", marks=markers((seconds, "limit 60 > 30")))
        without = plot(rows, "throughput", marks=markers((seconds, "")))
        columns = np.flatnonzero((area != without).any(axis=(0, 2)))
        assert len(columns) > 40
        if seconds == 30:
            assert columns.min() == pytest.approx(area.shape[1] / 2, abs=8)
        else:
            assert columns.max() == pytest.approx(area.shape[1], abs=8)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(1, 300)), max_size=40), st.integers(1, 4))
@settings(deadline=None)
def test_labels_in_a_row_overlap_only_when_the_stack_is_full(steps, row_count):
    lefts = np.cumsum([step for step, _ in steps])
    widths = np.array([width for _, width in steps])
    rows = stack_rows(lefts, widths, row_count)
    assert all(0 <= row < row_count for row in rows)
    for later, row in enumerate(rows):
        ends = dict.fromkeys(range(row_count), -math.inf)
        for earlier in range(later):
            ends[rows[earlier]] = lefts[earlier] + widths[earlier]
        assert ends[row] <= lefts[later] or all(end > lefts[later] for end in ends.values())
    assert stack_rows(lefts[:-1], widths[:-1], row_count) == rows[:-1]


# --- Shares, fairness, the ledger, cost


def test_stages_and_idle_time_add_up_to_the_whole():
    rows = samples(offered_per_s=10.0)
    rows["utilisation_ratio"][:, layout.Stage.READ] = 0.5
    rows["utilisation_ratio"][:, layout.Stage.FANOUT] = 0.25
    area = plot(rows, "stages")
    column = area[:, area.shape[1] // 2 - 3 : area.shape[1] // 2 - 1]
    shares = [where(column, color, 60).all(axis=1).mean() for color in (DARK.green, DARK.vermilion)]
    assert shares == pytest.approx([0.5, 0.25], abs=0.02)
    assert where(column[: area.shape[0] // 4 - 3], DARK.grid, 8).all()
    spec = PANELS["stages"]
    assert sum(spec.present(rows)) == pytest.approx(1.0)


def test_waiting_times_are_drawn_at_their_heights():
    rows = samples(offered_per_s=10.0)
    rows["waiting_ms"][:, layout.Stage.FANOUT] = 1.0
    area = plot(rows, "waiting")
    lines = np.flatnonzero(where(area, DARK.vermilion).mean(axis=1) > 0.5)
    assert lines.mean() == pytest.approx(area.shape[0] / 2, abs=2)


def test_service_times_are_drawn_where_known():
    rows = samples(offered_per_s=10.0)
    rows["service_us"] = np.nan
    rows["service_us"][:, layout.Stage.APPLY] = 1.0
    rows["service_us"][:, layout.Stage.ACCEPT] = 10.0
    area = plot(rows, "service")
    lines = np.flatnonzero(where(area, DARK.orange).mean(axis=1) > 0.5)
    others = np.flatnonzero(where(area, DARK.vermilion).mean(axis=1) > 0.1)
    top = np.flatnonzero(where(area, DARK.silver).mean(axis=1) > 0.5)
    assert lines.size and top.size and not others.size
    assert top.mean() < lines.mean()


def test_fairness_is_a_band_and_an_index():
    rows = samples(offered_per_s=10.0, share_p5_per_s=2.0, share_p50_per_s=6.0, share_p95_per_s=8.0, fairness_index=0.5)
    area = plot(rows, "fairness")
    height = area.shape[0]
    orange = np.flatnonzero(where(area, DARK.orange).mean(axis=1) > 0.5)
    assert orange.mean() == pytest.approx(0.4 * height, abs=2)
    green = np.flatnonzero(where(area, DARK.green).mean(axis=1) > 0.3)
    assert green.mean() == pytest.approx(0.5 * height, abs=2)
    column = area[:, area.shape[1] // 2 - 3].astype(int)
    bluer = column[:, 2] - column[:, 0] > 30
    assert [bluer[round(height * at)] for at in (0.1, 0.3, 0.7, 0.9)] == [False, True, True, False]


def test_the_ledgers_layers_reach_up_to_what_was_sent():
    area = plot(ledger_rows(), "ledger")
    column = area[:, area.shape[1] // 2 - 3 : area.shape[1] // 2 - 1]
    found = [where(column, color, 60).all(axis=1).mean() for color in (DARK.green, DARK.purple, DARK.sky)]
    assert np.array(found) * 10_000 == pytest.approx([3000, 1000, 1000], abs=100)


def test_the_ledger_legend_shows_rates_and_the_number_in_flight():
    names = [line.name for line in PANELS["ledger"].series]
    present = dict(zip(names, PANELS["ledger"].present(ledger_rows()), strict=True))
    assert present["in flight"] == pytest.approx(1000 * 59.45)
    assert [present[name] for name in ("sent", "admitted", "rate")] == pytest.approx([5000, 3000, 1000])


def test_cost_stacks_the_cores_of_all_processes():
    rows = samples(offered_per_s=1.0, server_cpu_cores=0.4, fleet_cpu_cores=0.3, window_cpu_cores=np.nan)
    area = plot(rows, "cost")
    column = area[:, area.shape[1] // 2 - 3 : area.shape[1] // 2 - 1]
    found = [where(column, color, 60).all(axis=1).mean() for color in (DARK.sky, DARK.green, DARK.orange)]
    assert found == pytest.approx([0.4, 0.3, 0.0], abs=0.02)
