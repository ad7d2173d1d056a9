"""The panel of hostile clients: a row per kind with numbers and bars, at any size and in both themes."""

import numpy as np
import pytest

from devices.hostile.config import KINDS as HOSTILE_KINDS
from devices.hostile.counters import CODES, HOSTILE_OTHER, HOSTILE_RESET, hostile_sample, hostile_sections
from plots.bars import BarsPanel
from plots.panels import Panels
from plots.series import PANELS
from plots.style import DARK, LIGHT, THEMES
from plots.timeline import TimeSpan
from server.ipc.page import Page
from support.panel_samples import drawn, end_of, lone, part, plot, samples, where


def rows_of(**kinds):
    """A minute of samples. Each kind: (open connections, ended connections, codes, bytes sent)."""
    rows = samples(offered_per_s=9.0)
    for name, (count, ended, codes, sent) in kinds.items():
        kind = rows["hostile"][:, HOSTILE_KINDS.index(name)]
        kind["connection_count"], kind["ended_count"], kind["sent_bytes"] = count, ended, sent
        kind["opened_count"], kind["codes"] = count + ended, codes
    return rows


def crowd():
    return rows_of(**{name: (20, 100 * index, (1002, 1009), 10**index) for index, name in enumerate(HOSTILE_KINDS)})


def bars(area, color):
    """The lengths in pixels of the bars of this colour, from the top."""
    found = where(area, color, 4)
    lengths = found.sum(axis=1)
    # A bar's own rows are the longest of the colour there; what letters smooth away is shorter than a digit.
    starts = np.flatnonzero((lengths[1:] >= 3) & (lengths[:-1] < 3)) + 1
    return [int(lengths[start : start + 3].max()) for start in starts]


def test_a_kind_that_is_not_present_has_no_row():
    rows = rows_of(stall=(20, 0, (0, 0), 900), wrong_lengths=(5, 12_345, (1002, 1009), 4_000_000))
    said = PANELS["hostile"].rows(rows)
    assert [(row.name, row.values, row.notes) for row in said] == [
        ("stall", (20, 0, 900), ("", "", "")),
        ("wrong lengths", (5, 12_345, 4_000_000), ("", "1002 1009", "")),
    ]
    assert PANELS["hostile"].rows(samples()) == PANELS["hostile"].rows(samples(0)) == ()


def test_resets_and_uncounted_codes_have_names():
    (row,) = PANELS["hostile"].rows(rows_of(read_nothing=(1, 9, (HOSTILE_RESET, HOSTILE_OTHER), 5)))
    assert row.notes[1] == "reset other"


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_the_length_of_a_bar_is_proportional_to_its_value(theme):
    rows = rows_of(stall=(20, 0, (0, 0), 900), churn=(10, 0, (0, 0), 450), over_limit=(5, 300, (1008, 0), 1800))
    area = plot(rows, "hostile", theme=theme)
    full, half, quarter = bars(area, theme.sky)
    assert half / full == pytest.approx(0.5, abs=0.02) and quarter / full == pytest.approx(0.25, abs=0.02)
    assert len(bars(area, theme.orange)) == 1


def test_the_legend_shows_the_sum_over_all_kinds():
    assert PANELS["hostile"].present(crowd()) == [240, 6600, float(sum(10**index for index in range(12)))]


def test_a_span_in_the_past_shows_the_bars_of_that_time():
    rows = crowd()
    rows["hostile"]["connection_count"][300:] = 5
    then, now = (
        plot(rows, "hostile", span)
        for span in (
            TimeSpan.still_at(int(rows["time_ns"][200]), 15.0, origin_ns=end_of(rows)),
            TimeSpan.live_at(end_of(rows)),
        )
    )
    assert not np.array_equal(then, now)
    np.testing.assert_array_equal(then, plot(rows[:201], "hostile"))


def test_an_empty_panel_shows_its_notice():
    panels = lone("hostile")
    picture = drawn(samples(offered_per_s=9.0), panels)
    body = part(picture, panels.panels[0].boxes.plot)
    said = np.flatnonzero(where(body, DARK.text_muted).any(axis=1))
    assert body.shape[0] * 0.4 < said.min() <= said.max() < body.shape[0] * 0.6
    assert not where(body, DARK.sky).any()
    assert PANELS["hostile"].empty_notice == "no hostile clients in this run"


@pytest.mark.parametrize("size", [(480, 500, 1.0), (900, 780, 1.0), (1900, 1560, 2.0)])
def test_all_twelve_kinds_fit_at_any_usual_size(size):
    panels = Panels(*size, names=("throughput", "hostile", "heat", "drops"), theme=LIGHT)
    body = part(drawn(crowd(), panels), panels.panels[1].boxes.plot)
    assert len(bars(body, LIGHT.sky)) == len(HOSTILE_KINDS)
    assert where(body[:-8, -1:], LIGHT.plot, 8).all()


def test_a_low_panel_says_how_many_rows_are_left_out():
    panels = Panels(700, 180, names=("hostile",))
    panel = panels.panels[0]
    assert isinstance(panel, BarsPanel)
    drawn(crowd(), panels)
    words = [text.get_text() for text in panel._texts]
    assert any(word.startswith("and ") and word.endswith(" more") for word in words)
    shown = sum(name.replace("_", " ") in words for name in HOSTILE_KINDS)
    assert f"and {len(HOSTILE_KINDS) - shown} more" in words


def test_earlier_rows_leave_no_pixels_behind():
    panels = lone("hostile")
    later = crowd()
    later["time_ns"] += 1_000_000_000
    drawn(crowd(), panels)
    fewer = later.copy()
    fewer["hostile"][:, 6:] = 0
    np.testing.assert_array_equal(drawn(fewer, panels), drawn(fewer, lone("hostile")))


def test_a_sample_holds_the_two_most_frequent_codes():
    page = Page.create(hostile_sections())
    counters = page["hostile"]
    counters["code_count"][8, CODES.index(1002)] = 6
    counters["code_count"][8, CODES.index(1009)] = 7
    counters["code_count"][8, -1] = 2
    counters["dropped_count"][1] = 3
    counters["opened_count"][:] = 20
    counters["sent_bytes"][1] = 4096
    sample = hostile_sample(counters)
    assert sample["codes"][8].tolist() == [1009, 1002]
    assert sample["codes"][1].tolist() == [HOSTILE_RESET, 0]
    assert sample["codes"][0].tolist() == [0, 0]
    assert sample["ended_count"].tolist() == [0, 3, *[0] * 6, 15, *[0] * 3]
    assert sample["sent_bytes"][1] == 4096
    page.close()
