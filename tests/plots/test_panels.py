"""The panels: how their axes move, how samples become lines, and what the pictures show."""

import itertools
import math

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plots import series
from plots.axis import DepthAxis, LinearAxis, LogAxis, next_limit, step_at_least
from plots.history import SAMPLE_INTERVAL_NS
from plots.ipc import SIDE_MIN
from plots.number import count_digits, measure_digits, three_digits, with_prefix
from plots.panels import Panels
from plots.series import PANELS
from plots.style import DARK
from plots.timeline import Bucketing, TimeSpan, block_times, block_values, broken_at_gaps, dashes, fallen_at_gaps
from server.kernels import layout
from support.panel_samples import HEIGHT, START_NS, WIDTH, drawn, end_of, part, samples, where

NAMES = ("throughput", "queues", "latency", "drops")
THROUGHPUT, QUEUES, LATENCY, DROPS = range(4)
GRAIN = Bucketing.for_span(60_000_000_000)
BLOCK_NS = GRAIN.block_ns


def four(width=WIDTH, height=HEIGHT, scale=1.0):
    return Panels(width, height, scale, NAMES)


def plot(rows, index):
    """The plot of one of the four, drawn."""
    panels = four()
    return part(drawn(rows, panels), panels.panels[index].boxes.plot)


# --- Axes


@given(st.floats(1e-3, 1e12))
@settings(deadline=None)
def test_a_step_is_the_least_of_one_two_or_five_that_fits(value):
    step = step_at_least(value)
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - wanted) for wanted in (1, 2, 5)) < 1e-6
    assert value * (1 - 1e-9) <= step < value * 2.5 * (1 + 1e-9)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=40))
@settings(deadline=None)
def test_a_limit_is_a_step_and_covers_the_peak(peaks):
    limit = 100.0
    for peak in peaks:
        limit = next_limit(limit, peak, 100.0)
        assert limit >= max(peak, 100.0)
        assert limit == pytest.approx(step_at_least(limit))


def test_a_limit_rises_at_once_and_falls_only_with_room_to_spare():
    assert next_limit(1000.0, 1900.0, 100.0) == 2000.0
    assert next_limit(2000.0, 900.0, 100.0) == 2000.0
    assert next_limit(2000.0, 700.0, 100.0) == 1000.0
    assert next_limit(5000.0, 0.0, 100.0) == 100.0


@given(st.floats(1, 1e9), st.lists(st.floats(0.95, 1.05), max_size=60))
@settings(deadline=None)
def test_a_fluctuating_peak_moves_the_limit_at_most_twice(center, factors):
    limits = [100.0]
    for factor in factors:
        limits.append(next_limit(limits[-1], center * factor, 100.0))
    assert sum(before != after for before, after in itertools.pairwise(limits)) <= 2


@pytest.mark.parametrize("axis", [LinearAxis(100.0), DepthAxis(100.0), LogAxis(low=1.0, floor=100.0)])
@given(values=st.lists(st.floats(0.1, 1e9), min_size=1))
@settings(deadline=None)
def test_an_axis_maps_values_it_follows_in_order(axis, values):
    values = np.sort(np.array(values))
    axis.follow(values[0], values[-1])
    heights = axis.unit(values)
    assert heights.min() >= 0
    assert heights.max() <= 1
    assert np.all(np.diff(heights) >= 0)
    places = [at for at, _ in axis.ticks()]
    assert places == sorted(places)
    assert min(places) >= 0
    assert max(places) <= 1 + 1e-9
    assert math.isnan(axis.unit(np.array([np.nan]))[0])


def test_tick_labels():
    linear = LinearAxis(2e6)
    assert [text for _, text in linear.ticks()] == ["0", "500 k", "1 M", "1.5 M", "2 M"]
    depth = DepthAxis(100.0)
    depth.follow(0.0, 40_000.0)
    assert [text for _, text in depth.ticks()] == ["0", "10", "100", "1 k", "10 k"]
    log = LogAxis(low=1.0, floor=100.0)
    log.follow(0.4, 3000.0)
    assert [text for _, text in log.ticks() if text] == ["0.1", "1", "10", "100", "1000"]


@given(st.floats(0, 9.9e11))
@settings(deadline=None)
def test_a_legend_number_is_correct_in_at_most_four_characters(value):
    sizes = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
    for digits_of, tolerance in ((count_digits, 0.5), (measure_digits, 0.005)):
        digits, suffix = digits_of(value)
        assert len(digits) <= 4
        assert float(digits) * sizes[suffix] == pytest.approx(value, rel=0.006, abs=tolerance + 1e-9)


def test_legend_numbers_by_example():
    assert [count_digits(value) for value in (0, 9, 999.4, 999.6, 99_999, 1_234_567)] == [
        ("0", ""),
        ("9", ""),
        ("999", ""),
        ("1.00", "k"),
        ("100", "k"),
        ("1.23", "M"),
    ]
    assert [measure_digits(value) for value in (0.42, 61.14, 205.0, 2644.0, 12_345.0)] == [
        ("0.42", ""),
        ("61.1", ""),
        ("205", ""),
        ("2644", ""),
        ("12.3", "k"),
    ]
    assert count_digits(float("nan"))[0] == measure_digits(float("nan"))[0]


@given(st.floats(1, 9.9e11))
@settings(deadline=None)
def test_a_prefix_leaves_one_to_three_digits_before_the_point(value):
    scaled, prefix = with_prefix(value)
    assert scaled * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[prefix] == pytest.approx(value)
    assert len(three_digits(scaled)) <= 4
    assert with_prefix(-value) == (-scaled, prefix)
    assert three_digits(12_345.0, grouped=True) == "12,345"


# --- Lines


@given(st.integers(1, 60), st.integers(1, 60), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_new_samples_do_not_change_finished_blocks(first, more, random):
    times = START_NS + np.arange(first + more) * SAMPLE_INTERVAL_NS
    values = np.array([random.choice([np.nan, random.uniform(0, 100)]) for _ in times])
    for peak in (True, False):
        before = block_values(times[:first], values[:first], GRAIN, peak=peak)[:-1]
        after = block_values(times, values, GRAIN, peak=peak)[: len(before)]
        np.testing.assert_array_equal(before, after)
    assert np.array_equal(block_times(times[:first], GRAIN)[:-1], block_times(times, GRAIN)[: len(before)])


def test_a_block_is_the_mean_or_the_peak_of_its_known_values():
    times = START_NS + np.arange(10) * SAMPLE_INTERVAL_NS
    values = np.array([1.0, np.nan, 3.0, np.nan, np.nan, 10.0, 20.0, 30.0, 40.0, 50.0])
    assert block_values(times, values, GRAIN, peak=False).tolist() == [2.0, 30.0]
    assert block_values(times, values, GRAIN, peak=True).tolist() == [3.0, 50.0]
    assert block_times(times, GRAIN).tolist() == [START_NS + BLOCK_NS, times[-1]]
    assert len(block_times(times[:0], GRAIN)) == len(block_values(times[:0], values[:0], GRAIN, peak=True)) == 0


def test_a_line_breaks_only_at_long_gaps():
    times = START_NS + np.arange(20) * BLOCK_NS
    values = np.ones(20)
    values[3] = np.nan
    values[8:16] = np.nan
    points, heights = broken_at_gaps(times, values, GRAIN)
    assert np.isnan(heights).sum() == 1
    assert points[np.isnan(heights)][0] == times[7] + BLOCK_NS
    assert np.all(np.diff(points) >= 0)


def test_a_stack_falls_to_zero_in_a_gap():
    times = np.array([0, 1, 40, 41]) * BLOCK_NS
    points, rows = fallen_at_gaps(times, np.ones((2, 4)), GRAIN)
    assert (points // BLOCK_NS).tolist() == [0, 1, 2, 40, 40, 41]
    assert rows.tolist() == [[1, 1, 0, 0, 1, 1]] * 2


def test_dashes_move_with_their_line():
    times = START_NS + np.arange(100) * BLOCK_NS
    whole = np.isnan(dashes(times, np.ones(100), GRAIN))
    assert 0 < whole.sum() < 50
    np.testing.assert_array_equal(whole[7:], np.isnan(dashes(times[7:], np.ones(93), GRAIN)))


# --- Pictures


def test_a_constant_is_drawn_at_its_height():
    rows = samples(offered_per_s=1.0, admitted_per_s=500.0)
    found = where(plot(rows, THROUGHPUT), DARK.green)
    height = found.shape[0]
    lines = np.flatnonzero(found.any(axis=1))
    assert found.any(axis=0).mean() > 0.95
    assert abs(lines.mean() - height / 2) <= 2
    assert np.ptp(lines) <= 3


def test_a_rising_series_rises_from_left_to_right():
    rows = samples(admitted_per_s=np.linspace(0, 900, 600), received_per_s=1.0)
    found = where(plot(rows, THROUGHPUT), DARK.green)
    thirds = [np.flatnonzero(third.any(axis=1)).mean() for third in np.array_split(found, 3, axis=1)]
    assert thirds[0] > thirds[1] + 20 > thirds[2] + 40


@pytest.mark.parametrize("index", range(len(series.QUEUES.series)))
def test_each_queue_is_drawn_in_its_colour(index):
    rows, line = samples(offered_per_s=10.0), series.QUEUES.series[index]
    stage = layout.stage_names().index(line.name)
    rows["depth_peak"][:, stage] = 40.0
    area = plot(rows, QUEUES)
    found = where(area, getattr(DARK, line.color))
    top = math.log1p(40) / math.log1p(100)
    lines = np.flatnonzero(found[: -area.shape[0] // 4].any(axis=1))
    assert abs(lines.mean() - area.shape[0] * (1 - top)) <= 2


def test_latency_known_at_every_third_sample_is_one_line():
    values = np.full(600, np.nan)
    values[::3] = 10.0
    area = plot(samples(offered_per_s=10.0, latency_ms_p50=values), LATENCY)
    assert where(area, DARK.sky).any(axis=0).mean() > 0.95


def test_drops_are_stacked_in_the_order_of_their_reasons():
    rows = samples(received_per_s=100.0)
    rows["throttled_per_s"][300:] = 40.0
    rows["shed_per_s"][300:] = 30.0
    area = plot(rows, DROPS)
    height, width = area.shape[:2]
    purple, vermilion = DARK.purple, DARK.vermilion
    column = area[:, 3 * width // 4 - 2 : 3 * width // 4]
    rate = np.flatnonzero(where(column, purple, 60).all(axis=1))
    overload = np.flatnonzero(where(column, vermilion, 60).all(axis=1))
    assert len(rate) == pytest.approx(0.4 * height, abs=4)
    assert len(overload) == pytest.approx(0.3 * height, abs=4)
    assert overload.max() <= rate.min() + 2
    assert not where(area[:, : width // 4], purple, 60).any()


def test_without_drops_the_plot_is_empty():
    area = plot(samples(received_per_s=100.0), DROPS)
    assert not any(where(area, getattr(DARK, line.color)).any() for line in series.DROPS.series)
    assert where(area, DARK.text_muted).any()


def test_samples_outside_the_span_are_not_shown():
    rows = samples(1200, received_per_s=1.0)
    # Samples up to two blocks and a second before the left edge count as shown: lines enter there.
    rows["admitted_per_s"][:565] = 900_000.0
    rows["admitted_per_s"][565:1190] = 400.0
    rows["admitted_per_s"][1190:] = 900_000.0
    panels = four()
    panels.draw(rows, TimeSpan.live_at(int(rows["time_ns"][1199 - 10])))
    assert panels.panels[THROUGHPUT].axis.high == 1000.0


@pytest.mark.parametrize("name", PANELS)
def test_without_samples_a_panel_shows_only_its_notice(name):
    panels = Panels(WIDTH, HEIGHT, names=(name,))
    nothing, idle = (part(drawn(samples(count), panels), panels.panels[0].boxes.plot) for count in (0, 600))
    middle = nothing[nothing.shape[0] // 2 - 20 : nothing.shape[0] // 2 + 20]
    assert where(middle, DARK.text_muted).any()
    assert not any(
        where(nothing, getattr(DARK, line.color)).any() for line in PANELS[name].series if line.name != "idle"
    )
    if name != "stages":  # An idle server shows its idle time.
        np.testing.assert_array_equal(middle, idle[nothing.shape[0] // 2 - 20 : nothing.shape[0] // 2 + 20])


def test_the_waiting_notice_ends_with_the_load():
    assert not where(plot(samples(received_per_s=9.0), THROUGHPUT), DARK.text_muted, 4).any()


def test_the_legend_does_not_move_between_9_and_99999():
    panels = four()
    pictures = [drawn(samples(received_per_s=value, admitted_per_s=value), panels) for value in (9, 99_999)]
    for panel in panels.panels:
        np.testing.assert_array_equal(*(part(picture, panel.boxes.title) for picture in pictures))
        if panel.spec is not series.THROUGHPUT:
            np.testing.assert_array_equal(*(part(picture, panel.boxes.legend) for picture in pictures))
    changed = np.any(
        np.diff([part(picture, panels.panels[THROUGHPUT].boxes.legend) for picture in pictures], axis=0), 0
    )
    columns = np.flatnonzero(changed.any(axis=(0, 2)))
    assert len(columns) > 0
    runs = np.split(columns, np.flatnonzero(np.diff(columns) > 20) + 1)
    assert [bool(np.ptp(run) < 45) for run in runs] == [True, True]  # Only the numbers of the two columns.


def test_the_background_is_redrawn_only_when_a_limit_moves(monkeypatch):
    panels = four()
    backgrounds = []
    draw_background = panels._draw_background
    monkeypatch.setattr(panels, "_draw_background", lambda: backgrounds.append(1) or draw_background())
    rows = samples(600, received_per_s=np.geomspace(1, 90_000, 600))
    limits = []
    for count in range(5, 600, 5):
        panels.draw(rows[:count], TimeSpan.live_at(end_of(rows[:count])))
        limits.append(panels.panels[THROUGHPUT].axis.high)
    assert list(dict.fromkeys(limits)) == [1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5]
    assert len(backgrounds) == 7


def test_a_picture_does_not_depend_on_earlier_ones():
    calm, busy = samples(received_per_s=400.0), samples(received_per_s=700.0, throttled_per_s=60.0, shed_per_s=20.0)
    busy["time_ns"] += 3 * SAMPLE_INTERVAL_NS * 600
    panels = four()
    first = drawn(calm, panels)
    assert not np.array_equal(first, drawn(busy, panels))
    np.testing.assert_array_equal(first, drawn(calm, panels))


@pytest.mark.parametrize("size", [(900, 800), (1901, 1503), (333, 217), (SIDE_MIN, SIDE_MIN)])
@pytest.mark.parametrize("scale", [1.0, 1.25, 2.0])
def test_a_picture_of_any_size_is_complete_and_opaque(size, scale):
    width, height = size
    rows = samples(received_per_s=400.0, throttled_per_s=60.0)
    picture = Panels(width, height, scale).draw(rows, TimeSpan.live_at(end_of(rows)))
    assert picture.shape == (height, width, 4)
    assert picture.dtype == np.uint8
    assert (picture[..., 3] == 255).all()


def test_scale_two_doubles_letters():
    def letter_rows(scale):
        panels = four(round(WIDTH * scale), round(HEIGHT * scale), scale)
        title = part(drawn(samples(0), panels), panels.panels[THROUGHPUT].boxes.title)
        return np.ptp(np.flatnonzero(where(title, DARK.text, 60).any(axis=1))) + 1

    assert letter_rows(2.0) == pytest.approx(2 * letter_rows(1.0), abs=2)


def test_a_users_matplotlibrc_changes_nothing():
    rows = samples(received_per_s=400.0, latency_ms_p50=40.0)
    usual = drawn(rows)
    with mpl.rc_context({"axes.facecolor": "white", "font.size": 30, "axes.spines.left": False, "lines.linewidth": 9}):
        np.testing.assert_array_equal(usual, drawn(rows))
