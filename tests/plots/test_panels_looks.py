"""How the panels look: which there are, themes, notes, spans of time, files for reports."""

import itertools
import xml.etree.ElementTree as ElementTree
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from plots.legend import heat_colors
from plots.panels import Panels, draw_svg, whole_span
from plots.series import DEFAULT_NAMES, PANELS
from plots.style import DARK, LIGHT, THEMES, rgb
from plots.timeline import POINTS, TimeSpan, clock_offset
from support.panel_samples import (
    HEIGHT,
    START_NS,
    WIDTH,
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


# --- Which panels, where, in which colours


def test_chosen_panels_are_at_their_places():
    rows = samples(offered_per_s=1.0, received_per_s=1.0)
    names = ("cost", "heat", "drops", "throughput")
    panels, usual = Panels(WIDTH, HEIGHT, names=names), Panels(WIDTH, HEIGHT)
    assert [panel.spec for panel in panels.panels] == [PANELS[name] for name in names]
    boxes = [panel.boxes.plot for panel in panels.panels]
    assert boxes[0].right < boxes[1].left
    assert boxes[0].bottom < boxes[2].top
    assert boxes[2].right < boxes[3].left
    assert (boxes[0].top, boxes[2].top) == (boxes[1].top, boxes[3].top)
    here, there = panels.panels[3].boxes.title, usual.panels[0].boxes.title
    title, other = part(drawn(rows, panels), here), part(drawn(rows, usual), there)
    np.testing.assert_array_equal(title, other)


def test_every_panel_of_the_requirements_exists():
    assert set(DEFAULT_NAMES) < set(PANELS)
    assert set(PANELS) == {
        *("throughput", "queues", "latency", "drops", "heat"),
        *("stages", "waiting", "service", "fairness", "ledger", "cost", "hostile"),
    }


@pytest.mark.parametrize("name", PANELS)
@pytest.mark.parametrize("size", [(480, 500, 1.0), (900, 780, 1.0), (1900, 1560, 2.0)])
def test_no_legend_is_cut_off_at_any_usual_size(name, size):
    panels = Panels(*size, names=(name, name, name, name))
    picture = drawn(ledger_rows(), panels)
    for panel in panels.panels:
        box = panel.boxes.legend
        rim = picture[box.top : box.bottom, box.right - 1]
        assert where(rim[None], DARK.page, 8).all()
        assert panel.boxes.plot.height > 100


def luminance(color):
    channels = np.array(to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(first, second):
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _letter_colors(theme):
    return (
        theme.text,
        theme.text_muted,
        theme.orange,
        theme.vermilion,
        theme.green_text,
        theme.purple_text,
        theme.silver,
    )


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_letters_and_lines_have_enough_contrast(theme):
    for ground in (theme.page, theme.plot):
        assert min(contrast(color, ground) for color in _letter_colors(theme)) >= 4.5
        accents = ("orange", "sky", "green", "yellow", "vermilion", "purple", "silver", "blue")
        assert min(contrast(getattr(theme, name), ground) for name in accents) >= 3.0


def test_every_colour_has_its_numbers():
    for theme in THEMES.values():
        colors = [value for value in astuple(theme) if str(value).startswith("#")]
        assert len(colors) > 15
        assert [rgb(color) for color in colors] == [
            tuple(round(255 * part) for part in to_rgb(color)) for color in colors
        ]


def test_the_light_theme_is_light_and_the_dark_one_dark():
    rows = samples(received_per_s=400.0)
    light, dark = (drawn(rows, Panels(WIDTH, HEIGHT, theme=theme)) for theme in (LIGHT, DARK))
    assert np.median(light) > 235
    assert np.median(dark) < 35


def test_a_note_is_shown_only_beside_titles_of_brushed_panels():
    rows, note = samples(), "brushed: tiles 3,4 to 6,7"
    for name, spec in PANELS.items():
        panels = lone(name, note=note)
        title = part(drawn(rows, panels), panels.panels[0].boxes.title)
        assert where(title, DARK.orange).any() == spec.brushed
    assert {name for name, spec in PANELS.items() if spec.brushed} == {"throughput", "latency", "heat", "drops"}


def test_a_narrow_panel_shows_its_note():
    panels = Panels(460, 500, names=DEFAULT_NAMES, note="brushed: tiles 3,4 to 6,7")
    picture = drawn(samples(), panels)
    for panel in panels.panels:
        found = where(part(picture, panel.boxes.title), DARK.orange)
        assert found.any() == panel.spec.brushed
        assert not found[:, -1].any()


# --- Spans


def test_a_fixed_span_shows_its_own_time():
    rows = samples(1200, offered_per_s=1.0, admitted_per_s=400.0)
    rows["admitted_per_s"][900:] = 900.0
    then = TimeSpan.still_at(START_NS + 80 * SECOND_NS, 60.0, end_of(rows))
    lines = np.flatnonzero(where(plot(rows, "throughput", then), DARK.green).any(axis=1))
    area = plot(rows, "throughput", then)
    assert lines.mean() == pytest.approx(0.6 * area.shape[0], abs=2)
    assert then.tick_labels() == (
        "\N{MINUS SIGN}1:40",
        "\N{MINUS SIGN}1:20",
        "\N{MINUS SIGN}1:00",
        "\N{MINUS SIGN}0:40",
    )


@pytest.mark.parametrize(
    ("span_s", "labels"),
    [
        (15.0, ("-15 s", "-10", "-5", "now")),
        (60.0, ("-60 s", "-40", "-20", "now")),
        (300.0, ("-5:00", "-3:20", "-1:40", "now")),
        (600.0, ("-10:00", "-6:40", "-3:20", "now")),
    ],
)
def test_a_live_axis_counts_back_from_now(span_s, labels):
    found = TimeSpan.live_at(START_NS, span_s).tick_labels()
    assert tuple(label.replace("\N{MINUS SIGN}", "-") for label in found) == labels


@given(st.integers(-100_000, 100_000))
def test_a_clock_offset_is_minutes_and_seconds(seconds):
    text = clock_offset(seconds).replace("\N{MINUS SIGN}", "-")
    minutes, rest = text.lstrip("-").split(":")
    assert (int(minutes) * 60 + int(rest)) * (-1 if text.startswith("-") else 1) == seconds
    assert len(rest) == 2


@given(st.floats(5, 3600))
@settings(deadline=None)
def test_a_span_has_no_more_points_than_it_can_draw(span_s):
    span = TimeSpan.live_at(START_NS * 10, span_s)
    assert span.span_ns / span.bucketing.block_ns <= POINTS
    assert span.bucketing.gap_ns > 2 * span.bucketing.block_ns


@pytest.mark.parametrize("span_s", [15.0, 600.0])
def test_a_rise_is_drawn_at_its_time_in_any_span(span_s):
    rows = samples(6000, offered_per_s=1.0, admitted_per_s=200.0)
    rows["admitted_per_s"][-round(span_s * 5) :] = 800.0
    found = where(plot(rows, "throughput", TimeSpan.live_at(end_of(rows), span_s)), DARK.green)
    high = np.flatnonzero(found[: found.shape[0] // 2 - 20].any(axis=0))
    assert high.min() == pytest.approx(found.shape[1] / 2, abs=found.shape[1] / 60)


# --- Files


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_is_an_svg_of_the_same_bytes_each_time(name):
    rows = samples(offered_per_s=10.0, latency_ms_p50=40.0)
    rows["latency_counts"][:, 20] = 9
    marks = markers((30, "limit 60 > 30"))
    text = draw_svg(name, rows, marks, (640, 320), LIGHT)
    assert text == draw_svg(name, rows, marks, (640, 320), LIGHT)
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    assert float(root.attrib["width"].removesuffix("pt")) * 4 / 3 == pytest.approx(640, rel=0.05)
    assert text.count("<image") == (2 if name == "heat" else 0)
    assert LIGHT.orange in text
    assert DARK.page not in text


def test_an_hour_is_drawn_with_no_more_points_than_a_minute():
    sizes = [
        len(draw_svg("throughput", samples(count, received_per_s=np.arange(count) % 97, offered_per_s=1.0)))
        for count in (600, 36_000)
    ]
    assert sizes[1] < 1.1 * sizes[0]


def test_the_axis_of_a_report_counts_from_the_first_sample():
    assert whole_span(samples(36_001)).tick_labels() == ("0:00", "20:00", "40:00", "60:00")


def test_heat_shades_change_monotonically():
    for theme in THEMES.values():
        levels = [luminance(color[:3] / 255) for color in heat_colors(theme)[1::15]]
        steps = [later - earlier for earlier, later in itertools.pairwise(levels)]
        assert all(step > 0 for step in steps) or all(step < 0 for step in steps)
