"""The canvas area: zoom, pan, paint, selection and layers, by pygame events and in the picture."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from server import palette
from server.kernels.layout import Phase
from support.person import SECOND_NS, Person, fill_connections
from support.window_stage import READING, FakeSession, Written, headless, heat_map, part_of, words
from workbench.telemetry.view import TileBox
from workbench.window.canvas.canvas_marks import map_box
from workbench.window.canvas.canvas_mouse import DOUBLE_CLICK_NS, PINCH_STEP, line_between
from workbench.window.canvas.layers import TileLayer
from workbench.window.toolkit import ramp, theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import ENTER
from workbench.window.toolkit.painter import Painter


@pytest.fixture
def person() -> Iterator[Person]:
    with Person(FakeSession(heat_map(128, 128))) as someone:
        yield someone


# --- Zoom and pan -----------------------------------------------------------------------------------------------------


def test_the_wheel_zooms_around_the_mouse(person: Person) -> None:
    before = person.canvas_area.canvas.viewport.scale
    person.wheel(2)
    at = person.place_of(60, 70)
    person.point(at)
    for _ in range(4):
        picture = person.wheel(1)
    viewport = person.canvas_area.canvas.viewport
    assert viewport.scale > 2 * before and viewport.pixel_at(at) == (60, 70)
    assert np.array_equal(picture[at[1], at[0]], palette.PALETTE[person.session.shown.pixels[70, 60]])
    for _ in range(12):
        person.wheel(-1)
    assert not person.canvas_area.canvas.viewport.zoomed


def test_a_drag_and_arrows_pan(person: Person) -> None:
    person.key(pygame.K_PLUS)
    person.key(pygame.K_PLUS)
    viewport = person.canvas_area.canvas.viewport
    centre, scale = viewport.room.center, viewport.scale
    left = viewport.seen[0]
    person.drag(centre, (centre[0] - 30, centre[1]))
    assert viewport.seen[0] == pytest.approx(left + 30 / scale)
    person.drag((centre[0] - 30, centre[1]), centre, button=2)
    assert viewport.seen[0] == pytest.approx(left)
    person.key(pygame.K_RIGHT)
    assert viewport.seen[0] > left
    person.key(pygame.K_0)
    assert not viewport.zoomed


def test_a_double_click_fits_the_canvas_and_two_slow_clicks_do_not(person: Person) -> None:
    centre = person.canvas_area.room.center
    person.key(pygame.K_PLUS)
    person.drag(centre)
    person.see(passed_ns=DOUBLE_CLICK_NS)
    person.drag(centre)
    assert person.canvas_area.canvas.viewport.zoomed
    person.drag(centre)
    assert not person.canvas_area.canvas.viewport.zoomed


def test_a_pinch_zooms(person: Person) -> None:
    person.point(person.place_of(40, 70))
    fingers = pygame.event.Event(pygame.MULTIGESTURE, pinched=PINCH_STEP * 0.6, x=0.2, y=0.5, num_fingers=2, rotated=0)
    person.see(fingers)
    assert not person.canvas_area.canvas.viewport.zoomed
    person.see(fingers)
    assert person.canvas_area.canvas.viewport.zoomed


def test_a_click_on_the_map_of_a_zoomed_canvas_pans(person: Person) -> None:
    for _ in range(5):
        person.key(pygame.K_PLUS)
    person.see()
    viewport = person.canvas_area.canvas.viewport
    box = map_box(viewport, person.canvas_area.canvas._pen)
    person.drag((box.left + 4, box.bottom - 4))
    left, top, _, height = viewport.seen
    assert left == 0 and top + height == pytest.approx(128)


# --- Paint ------------------------------------------------------------------------------------------------------------


def test_a_drag_in_paint_mode_leaves_no_gap(person: Person) -> None:
    person.drag(person.place_of(10, 10), person.place_of(20, 10))
    assert person.asked("paint") == []
    person.key(pygame.K_p)
    person.drag(person.place_of(10, 10), person.place_of(20, 14), person.place_of(20, 10))
    painted = [(x, y) for x, y, _ in person.asked("paint")]
    assert painted[0] == (10, 10) and painted[-1] == (20, 10) and (20, 14) in painted
    assert all(max(abs(a - c), abs(b - d)) == 1 for (a, b), (c, d) in pairwise(painted))
    assert {color for *_, color in person.asked("paint")} == {person.canvas_area.mouse.color}


def test_a_colour_is_picked_from_the_bar_or_the_canvas(person: Person) -> None:
    person.press_button("paint")
    assert person.canvas_area.mouse.painting
    swatch = person.canvas_area._bar._swatches[palette.WHITE]
    person.drag(swatch.center)
    person.drag(person.place_of(3, 4))
    assert person.asked("paint") == [(3, 4, palette.WHITE)]
    person.drag(person.place_of(50, 60), mod=pygame.KMOD_LALT)
    person.drag(person.place_of(3, 4))
    assert person.asked("paint")[1:] == [(3, 4, int(person.session.shown.pixels[60, 50]))]


def test_every_swatch_fits_into_the_bar_at_every_size() -> None:
    for size in ((1280, 720), (1920, 1080), (3840, 2160)):
        canvas_area = headless(FakeSession(heat_map(64, 64)), size)._layout.canvas_area
        boxes = list(canvas_area._bar._swatches.values())
        assert len(boxes) == 49
        assert all(canvas_area._bar._box.contains(box) and box.width >= 8 for box in boxes)
        assert all(box.collidelist(boxes[:index]) == -1 for index, box in enumerate(boxes))


def test_a_line_is_connected() -> None:
    assert line_between((0, 0), (0, 0)) == []
    assert line_between((0, 0), (3, 0)) == [(1, 0), (2, 0), (3, 0)]
    for end in ((7, 3), (-7, 3), (2, -9), (-5, -5)):
        line = [(0, 0), *line_between((0, 0), end)]
        assert line[-1] == end and len(line) == max(abs(end[0]), abs(end[1])) + 1


# --- Selection --------------------------------------------------------------------------------------------------------


def test_a_shift_drag_selects_whole_tiles(person: Person) -> None:
    picture = person.drag(person.place_of(40, 10), person.place_of(100, 50), mod=pygame.KMOD_LSHIFT)
    assert person.asked("brush") == [(TileBox(1, 0, 4, 2),)]
    frame = person.canvas_area.canvas.viewport.rect_of(32, 0, 128, 64)
    assert tuple(picture[frame.bottom - 1, frame.centerx]) == theme.DARK.sky
    assert tuple(picture[frame.centery, frame.left]) == theme.DARK.sky


def test_another_button_does_not_disturb_a_drag(person: Person) -> None:
    first, last = person.place_of(40, 40), person.place_of(70, 40)
    pygame.key.set_mods(pygame.KMOD_LSHIFT)
    person.see(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=first, button=1))
    person.drag(first, button=3)
    person.point(last)
    person.see(pygame.event.Event(pygame.MOUSEBUTTONUP, pos=last, button=1))
    assert person.canvas_area.mouse.brushed == TileBox(1, 1, 3, 2) and person.canvas_area.mouse.drawn is None


def test_escape_and_the_cross_clear_the_selection(person: Person) -> None:
    clean = person.see()
    frame = person.canvas_area.canvas.viewport.rect_of(32, 32, 64, 64)
    for clear in (lambda: person.key(pygame.K_ESCAPE), lambda: person.drag((frame.right - 6, frame.top + 6))):
        person.drag(person.place_of(40, 40), mod=pygame.KMOD_LSHIFT)
        picture = clear()
        assert person.asked("brush")[-1] == (None,)
        area = person.canvas_area.canvas.area
        assert np.array_equal(part_of(picture, area), part_of(clean, area))


def test_another_session_starts_without_selection_and_card(person: Person) -> None:
    fill_connections(person.session, 3)
    person.drag(person.place_of(40, 40), mod=pygame.KMOD_LSHIFT)
    person.key(pygame.K_j)
    assert person.canvas_area.opened == "journeys"
    person.window._session = FakeSession(heat_map(128, 128))
    person.window.draw()
    assert (
        person.canvas_area.mouse.brushed is None
        and person.canvas_area.opened == "none"
        and person.canvas_area.followed is None
    )


def test_another_session_has_its_own_counters(person: Person) -> None:
    person.press_button("drops")
    person.session.canvas_page["tiles"]["throttled_count"] = 1_000
    person.see(passed_ns=SECOND_NS)
    person.session = person.window._session = FakeSession(heat_map(128, 128), now_ns=person.session.shown.now_ns)
    for _ in range(2):
        person.see(passed_ns=SECOND_NS)
    layer = person.canvas_area.canvas.layer
    assert isinstance(layer, TileLayer) and layer.values.size and (layer.values == 0).all()


@pytest.mark.parametrize("key", ENTER)
def test_every_enter_key_presses_the_focused_item(person: Person, key: int) -> None:
    line = person.window._layout.line
    person.window._router.focus(line)
    line.step_focus(1)
    person.key(key)
    assert person.window._layout.explanation.shown


# --- Layers -----------------------------------------------------------------------------------------------------------


def test_keys_and_buttons_choose_a_layer_with_its_legend(person: Person, written: list[Written]) -> None:
    person.press_button("age")
    assert person.canvas_area.canvas.layer.name == "age" and "age: ticks since a change" in words(written)
    person.key(pygame.K_o)
    assert person.canvas_area.canvas.layer.name == "delay"
    person.key(pygame.K_o, pygame.KMOD_SHIFT)
    assert person.canvas_area.canvas.layer.name == "age"


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (3840, 2160)])
def test_every_layer_fits_at_every_size(size: tuple[int, int], written: list[Written]) -> None:
    window = headless(FakeSession(heat_map(64, 64)), size)
    canvas_area = window._layout.canvas_area
    for layer in canvas_area.canvas.layers:
        written.clear()
        canvas_area.canvas.choose(layer.name)
        window.draw()
        legend = layer.legend()
        assert legend is None or legend.title in words(written)
        inside = [entry for entry in written if canvas_area.room.colliderect(entry.box)]
        assert all(entry.whole and canvas_area.room.contains(entry.letters) for entry in inside)


def test_a_layer_has_the_colours_of_its_legend(person: Person) -> None:
    person.session.canvas_page["pixel_tick"][:] = 0
    person.session.canvas_page["pixel_tick"][64:, :] = READING.tick
    picture = person.press_button("age")
    for y, level in ((10, ramp.LEVEL_NONE), (70, ramp.LEVEL_MOST)):
        x, row = person.place_of(100, y)
        assert tuple(picture[row, x]) == ramp.AMOUNT_COLORS[level]


def test_the_hover_card_names_the_connection_that_painted_the_pixel(person: Person, written: list[Written]) -> None:
    row = fill_connections(person.session, 9)[7:8]
    row["received_count"], row["admitted_count"], row["throttled_count"] = 50, 40, 10
    limit = person.session.controls.scenario.server
    row["full_ns"] = person.session.shown.now_ns + SECOND_NS
    person.session.canvas_page["pixel_painter"][5, 3] = 108
    person.session.canvas_page["pixel_tick"][5, 3] = READING.tick - 12
    person.point(person.place_of(3, 5))
    said = words(written)
    assert "changed 12 ticks ago" in said and "by connection 107: J traces it" in said
    assert "received 50  admitted 40" in said
    assert f"throttled 10  bucket {limit.burst - limit.rate_per_s:.0f} of {limit.burst}" in said
    hover, pen = person.window._layout.hover, Painter(1)
    scene = person.window._scene(person.session.shown, person.now_ns)
    assert hover.content(scene) is not None
    row["phase"] = Phase.FREE
    written.clear()
    hover.draw(person.picture, hover.box(scene, person.picture.get_rect(), pen), scene, pen)
    assert "received 50  admitted 40" in words(written), "what was found is drawn, though it has changed since"
    person.point(person.place_of(4, 5))
    person.point(person.place_of(3, 5))
    assert "by connection 107, now closed" in words(written)
