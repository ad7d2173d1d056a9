"""What the window shows, drawn in memory and checked in the picture."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plots import style as plots_style
from server import palette
from server.ipc.control import BrokerState, Progress
from support.window_stage import (
    FAR_NS,
    FLEET_FAILED,
    READING,
    RUNNING,
    STARTING,
    FakeSession,
    Written,
    boxes,
    canvas_area,
    canvas_room,
    headless,
    heat_map,
    noise,
    part_of,
    rgb,
    words,
)
from workbench.scenarios.catalog import Pick, all_picks
from workbench.telemetry.view import Part, Reading
from workbench.window.shell.window import FIGURES_INTERVAL_NS
from workbench.window.toolkit import arrangement, theme
from workbench.window.toolkit import display as toolkit
from workbench.window.toolkit import painter as pen
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import Action
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.wording import UNKNOWN

BOXES = ("header", "banner", "bottleneck", "pipeline", "canvas", "panels", "panel_bar", "knobs", "status", "hints")
SIZES = ((1280, 720), (1600, 1000), (1920, 1080), (3840, 2160))


# --- Layout and text --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ours", "theirs"), [(theme.DARK, plots_style.DARK), (theme.LIGHT, plots_style.LIGHT)])
def test_panels_and_window_share_their_background_colours(ours: theme.Theme, theirs: plots_style.Theme) -> None:
    shared = {"background": "page", "surface": "plot", "line": "edge", "dim": "text_muted", "faint": "text_faint"}
    same = ("text", "orange", "sky", "green", "vermilion", "purple", "silver")
    for name, other in (shared | {name: name for name in same}).items():
        assert "#{:02x}{:02x}{:02x}".format(*getattr(ours, name)) == getattr(theirs, other), name


@given(
    st.tuples(st.integers(1, 5000), st.integers(1, 3000)),
    st.tuples(st.integers(1, 8192), st.integers(1, 8192)),
    st.integers(0, 9),
    st.booleans(),
)
@settings(deadline=None)
def test_boxes_are_inside_the_window_and_do_not_overlap(
    size: tuple[int, int], canvas: tuple[int, int], failures: int, knobs_shown: bool
) -> None:
    placed = arrangement.arrange(size, canvas, failures, knobs_shown)
    rows = [getattr(placed, name) for name in BOXES]
    window = pygame.Rect((0, 0), placed.size)
    for index, box in enumerate(rows):
        assert window.contains(box)
        assert box.height > 0 or (box is placed.banner and failures == 0)
        assert box.collidelist(rows[:index] + rows[index + 1 :]) == -1
    assert placed.panels.width >= placed.canvas.width * 0.9


def test_folded_knobs_leave_their_room_to_the_others() -> None:
    for size in SIZES:
        shown, folded = (arrangement.arrange(size, (256, 256), 0, is_shown) for is_shown in (True, False))
        assert folded.knobs.width < shown.knobs.width / 4
        assert folded.panels.width > shown.panels.width and folded.canvas.width >= shown.canvas.width


def test_text_doubles_with_the_window() -> None:
    assert [arrangement.scale_of(size) for size in SIZES] == [1, 1, 1, 2]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("canvas", [(256, 256), (80, 64), (64, 512)])
def test_no_text_is_cut_or_outside_its_box(
    size: tuple[int, int], canvas: tuple[int, int], written: list[Written]
) -> None:
    full = replace(
        READING,
        offered_per_s=1_019_000.0,
        admitted_per_s=1_010_000.0,
        latency_ms_p99=88_800.0,
        tick=999_999,
        tick_ms=888.0,
        connection_count=17_000,
        connection_target=17_000,
    )
    session = FakeSession(heat_map(*canvas), reading=full, run_seconds=35_999.0)
    window = headless(session, size)
    session.change(parts=STARTING, run_seconds=0.0)
    window.draw()
    session.change(parts=FLEET_FAILED, run_seconds=1.0)
    window.press(Action.PAUSE, 0)
    window.press(Action.HELP, 0)
    window.draw()
    screen = pygame.Rect((0, 0), size)
    assert len(written) > 60
    for entry in written:
        assert entry.whole, entry
        assert screen.contains(entry.box), entry
        assert entry.box.left <= entry.letters.left and entry.letters.right <= entry.box.right, entry
        assert screen.contains(entry.letters), entry


def test_texts_of_the_status_line_do_not_touch(written: list[Written]) -> None:
    session = FakeSession(heat_map(256, 256))
    headless(session, (1280, 720))
    row = boxes(session, (1280, 720)).status
    letters = sorted((entry.letters for entry in written if row.contains(entry.letters)), key=lambda rect: rect.left)
    assert len(letters) == 18
    assert all(left.right < right.left for left, right in pairwise(letters))


def test_a_text_too_long_ends_in_an_ellipsis() -> None:
    writer = Painter(1)
    for width in (0, 5, 40, 200):
        shown = writer.elided("a sentence that is much too long for where it is to stand", width, theme.BODY)
        assert writer.width(shown, theme.BODY) <= width
        assert shown == "" or shown.endswith("…")
    assert writer.elided("short", 200, theme.BODY) == "short"


def test_a_sentence_is_wrapped_between_words() -> None:
    writer = Painter(1)
    sentence = "a sentence that is much too long for where it is to stand"
    rows = writer.wrapped(sentence, 200, theme.BODY, rows_max=9)
    assert " ".join(rows) == sentence and len(rows) > 1
    assert all(writer.width(row, theme.BODY) <= 200 for row in rows)
    assert len(writer.wrapped(sentence, 200, theme.BODY, rows_max=2)) == 2
    assert writer.wrapped("", 200, theme.BODY, rows_max=2) == []


def test_the_text_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pen, "TEXTS_KEPT_MAX", 8)
    writer, target = Painter(1), toolkit.offscreen((200, 20))
    for number in range(30):
        writer.write(target, str(number), target.get_rect(), theme.BODY)
    assert len(writer._texts) == 8


# --- The canvas -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("canvas", [(256, 256), (80, 64), (3, 2), (400, 1000)])
def test_every_pixel_has_its_place_and_colour(size: tuple[int, int], canvas: tuple[int, int]) -> None:
    width, height = canvas
    pixels = np.random.default_rng(7).integers(0, 256, (height, width), dtype=np.uint8)
    session = FakeSession(pixels)
    area = canvas_area(session, size)
    shown = part_of(rgb(headless(session, size).draw()), area)
    if area.width >= width:  # Every pixel covers at least one of the window's: look at its middle.
        rows = ((np.arange(height) + 0.5) * area.height / height).astype(int)
        columns = ((np.arange(width) + 0.5) * area.width / width).astype(int)
        assert np.array_equal(shown[np.ix_(rows, columns)], palette.PALETTE[pixels])
    if area.width % width == 0 and area.width < 64 * width:  # Beyond this factor an edge may be a column off.
        factor = area.width // width
        assert np.array_equal(shown, palette.PALETTE[pixels].repeat(factor, 0).repeat(factor, 1))


def test_a_canvas_larger_than_the_window_fits() -> None:
    pixels = np.full((3000, 3000), palette.WHITE, np.uint8)
    pixels[:, 1500:] = palette.HEAT_FIRST
    session = FakeSession(pixels)
    shown = part_of(rgb(headless(session).draw()), canvas_area(session, (1600, 1000)))
    assert (shown[:, : shown.shape[1] // 2 - 1] == 255).all()
    assert (shown[:, shown.shape[1] // 2 + 1 :] == palette.PALETTE[palette.HEAT_FIRST]).all()


def test_the_letterbox_surrounds_the_canvas() -> None:
    session = FakeSession(np.full((64, 80), palette.WHITE, np.uint8))
    picture = rgb(headless(session).draw())
    box, area = boxes(session).canvas, canvas_area(session, (1600, 1000))
    above = picture[box.top : area.top - 1, box.left : box.right]
    assert above.size and (above == theme.DARK.letterbox).all()
    assert (picture[area.top : area.bottom, area.left : area.right] == 255).all()


def test_the_canvas_is_redrawn_only_when_the_tick_changes() -> None:
    pixels = np.zeros((64, 64), np.uint8)
    session = FakeSession(pixels.view())
    window = headless(session)
    centre = canvas_area(session, (1600, 1000)).center
    pixels[:] = palette.WHITE
    assert window.step(1).get_at(centre)[:3] == tuple(palette.PALETTE[0])
    session.change(reading=replace(READING, tick=READING.tick + 1))
    assert window.step(2).get_at(centre)[:3] == (255, 255, 255)


def test_a_canvas_of_another_shape_is_shown_at_once() -> None:
    session = FakeSession(heat_map(64, 64))
    window = headless(session)
    session.change(pixels=np.full((32, 128), palette.WHITE, np.uint8))
    assert window.draw().get_at(canvas_area(session, (1600, 1000)).center)[:3] == (255, 255, 255)


# --- The panels -------------------------------------------------------------------------------------------------------


def test_a_panels_picture_of_the_right_size_is_shown_unscaled() -> None:
    session = FakeSession(heat_map(64, 64))
    window = headless(session)
    box = boxes(session).panels
    assert session.resized == [(box.width, box.height, 1.0)]
    for _ in range(2):
        picture = noise(box.size)
        session.finish_picture(picture)
        assert np.array_equal(part_of(rgb(window.draw()), box), picture)


def test_a_panels_picture_of_another_size_is_scaled_and_centred() -> None:
    session = FakeSession(heat_map(64, 64))
    window = headless(session)
    box = boxes(session).panels
    session.finish_picture(np.full((50, 200, 3), 200, np.uint8))
    shown = part_of(rgb(window.draw()), box)
    lit = np.flatnonzero((shown == 200).all(axis=(1, 2)))
    assert len(lit) == round(box.width / 4)
    assert abs(lit[0] - (box.height - 1 - lit[-1])) <= 1
    assert (shown[: lit[0]] == theme.DARK.background).all()


def test_the_panels_show_their_state_before_the_first_picture(written: list[Written]) -> None:
    headless(FakeSession(heat_map(64, 64), parts=STARTING))
    assert "panels starting" in words(written)


def test_text_of_the_panels_doubles_with_the_window() -> None:
    session = FakeSession(heat_map(64, 64))
    headless(session, (3840, 2160))
    assert session.resized[0][2] == 2.0


# --- State of the run -------------------------------------------------------------------------------------------------


def test_the_header_names_the_scenario_and_its_figures(written: list[Written]) -> None:
    headless(FakeSession(heat_map(64, 64)))
    said = words(written).split("\n")
    assert "A thousand devices paint one picture together, and a few greedy ones hit the rate limit." in " ".join(said)
    for text in ("1,000", "61.2 k/s", "58.3 k/s", "2.79 k/s", "17.4 k/s", "118 ms", "100 ms", "live", "02:14"):
        assert text in said


@pytest.mark.parametrize("pick", all_picks(), ids=lambda pick: pick.name)
def test_the_smallest_header_fits_every_title_and_a_million(pick: Pick, written: list[Written]) -> None:
    large = replace(READING, connection_count=1_000_000, offered_per_s=88.8e6, delivered_per_s=888e6)
    session = FakeSession(heat_map(64, 64), scenario_name=pick.name, scenario_title=pick.text, reading=large)
    headless(session, arrangement.SIZE_MIN)
    header = boxes(session, arrangement.SIZE_MIN).header
    inside = [entry for entry in written if header.contains(entry.box)]
    assert [entry.text for entry in inside if not entry.whole] == []
    assert " ".join(pick.text.split()) in " ".join(words(inside).split())
    assert "1,000,000" in words(inside)


def test_unknown_values_are_dashes(written: list[Written]) -> None:
    headless(FakeSession(heat_map(64, 64), reading=Reading()))
    assert [entry.text for entry in written].count(UNKNOWN) == 14


def test_the_status_line_shows_each_process(written: list[Written]) -> None:
    headless(FakeSession(heat_map(64, 64), reading=replace(READING, lost_count=3)))
    said = words(written)
    for text in ("server\n0.31 core", "fleet\n0.42 core", "panels\n0.12 core", "tick\n1,234", "utilisation\n28 %"):
        assert text in said
    assert "connections\n1,000 of 1,000, 3 lost" in said
    assert "ledger\nbalanced" in said and "merge\n3.4 : 1" in said
    assert "join at ws://127.0.0.1:43121/canvas" in said


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"is_connected": True}, "mosquitto"),
        ({"is_connected": True, "is_held": True}, "mosquitto held still"),
        ({"is_connected": False, "is_held": True, "attempt_count": 4}, "mosquitto held still"),
        ({"is_connected": False, "attempt_count": 4}, "mosquitto gone for 3 s, 4 attempts"),
    ],
)
def test_the_status_line_shows_the_broker(written: list[Written], state: dict[str, Any], text: str) -> None:
    broker = BrokerState("mosquitto", since_ns=0, **state)
    headless(FakeSession(heat_map(64, 64), broker=broker, now_ns=3_000_000_000))
    assert f"broker\n{text}\n" in words(written)


def test_a_late_tick_and_the_loops_connections_are_shown(written: list[Written]) -> None:
    crowded = replace(READING, tick_ms=310.0, tick_ms_configured=220.0, loop_connection_counts=(501, 499))
    headless(FakeSession(heat_map(64, 64), reading=crowded))
    assert "broadcast\nbehind: target 220 ms" in words(written)
    assert "on loops\n501 499" in words(written)
    written.clear()
    headless(FakeSession(heat_map(64, 64), reading=replace(crowded, tick_ms=220.0, loop_connection_counts=(1_000,))))
    assert "broadcast\non time" in words(written) and "on loops" not in words(written)


def test_an_unbalanced_ledger_is_red() -> None:
    session = FakeSession(heat_map(64, 64))
    window = headless(session)
    row = boxes(session).status

    def red_pixels() -> int:
        picture = pygame.surfarray.array3d(window.draw())[row.left : row.right, row.top : row.bottom]
        return int((picture == theme.DARK.vermilion).all(axis=2).sum())

    assert red_pixels() == 0
    session.change(reading=replace(READING, ledger_gap=12))
    assert red_pixels() > 20


def test_figures_change_four_times_per_second(written: list[Written]) -> None:
    session = FakeSession(heat_map(64, 64))
    window = headless(session)
    window.step(FAR_NS)
    written.clear()
    session.change(reading=replace(READING, admitted_per_s=59_900.0))
    window.step(FAR_NS + FIGURES_INTERVAL_NS - 1)
    assert words(written) == ""
    window.step(FAR_NS + FIGURES_INTERVAL_NS)
    assert words(written) == "admitted\n59.9 k/s"


def test_the_loading_card_shows_each_process(written: list[Written]) -> None:
    session = FakeSession(heat_map(64, 64), parts=STARTING, run_seconds=0.0, url="", reading=Reading())
    window = headless(session)
    assert "server:\ncompiling kernels 7 of 19, once per machine\nfleet:\nstarting" in words(written)
    done = _lit_columns(window.draw(), session, theme.DARK.sky)
    session.change(parts=(replace(STARTING[0], progress=Progress("admit", 14, 19)), *STARTING[1:]))
    assert _lit_columns(window.draw(), session, theme.DARK.sky) == pytest.approx(2 * done, abs=6)
    written.clear()
    connecting = replace(READING, connection_count=640)
    session.change(parts=(RUNNING[0], Part("fleet", "connecting"), STARTING[2]), reading=connecting)
    window.draw()
    assert "connecting 640 of 1,000" in words(written)
    dialing = Part("fleet", "connecting", progress=Progress("connecting", 1640, 2000))
    session.change(parts=(RUNNING[0], dialing, STARTING[2]))
    window.draw()
    assert "\nconnecting 1,640 of 2,000\n" in words(written)
    session.change(parts=RUNNING, run_seconds=0.1)
    assert _lit_columns(window.draw(), session, theme.DARK.sky) == 0


def _lit_columns(surface: pygame.Surface, session: FakeSession, color: tuple[int, int, int]) -> int:
    """Length of the longest bar of this colour in the canvas's box."""
    shown = part_of(rgb(surface), canvas_room(session))
    return int((shown == color).all(axis=2).sum(axis=1).max())


def test_a_failure_is_shown_and_the_rest_continues(written: list[Written]) -> None:
    session = FakeSession(heat_map(64, 64))
    window = headless(session)
    before = boxes(session)
    written.clear()
    session.change(parts=FLEET_FAILED, reading=replace(READING, tick=2_000))
    picture = rgb(window.draw())
    placed = boxes(session)
    assert before.banner.height == 0 < placed.banner.height
    assert "fleet failed\nkilled by signal 9" in words(written)
    assert "tick\n2,000" in words(written)
    assert tuple(picture[placed.banner.centery, placed.banner.right - 30]) == theme.DARK.alarm_surface
    assert tuple(picture[placed.banner.top, placed.banner.centerx]) == theme.DARK.vermilion
    window.step(FAR_NS)
    assert session.resized[-1][:2] == placed.panels.size


def test_more_failures_than_rows_are_counted(written: list[Written]) -> None:
    parts = tuple(Part(f"fleet {number}", "failed", failure="ended") for number in range(5))
    headless(FakeSession(heat_map(64, 64), parts=parts))
    assert "fleet 2 failed\nended\n  (and 2 more)" in words(written)
