"""The visible part of the canvas: zoom, pan, and which pixel is where."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.window.canvas.viewport import LADDER, Viewport
from workbench.window.toolkit.arrangement import fit
from workbench.window.toolkit.display import pygame

ROOM = pygame.Rect(40, 30, 600, 500)
SIZES = st.tuples(st.integers(1, 8192), st.integers(1, 8192))
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("zoom"), st.integers(-3, 3), st.tuples(st.integers(0, 700), st.integers(0, 600))),
        st.tuples(st.just("pan"), st.integers(-900, 900), st.integers(-900, 900)),
    ),
    max_size=12,
)


def moved(size: tuple[int, int], moves: list[tuple]) -> Viewport:
    viewport = Viewport(size, ROOM)
    for kind, *values in moves:
        getattr(viewport, kind)(*values)
    return viewport


def test_at_first_the_whole_canvas_is_visible() -> None:
    viewport = Viewport((256, 128), ROOM)
    assert not viewport.zoomed
    assert viewport.area.size == fit((256, 128), ROOM.size) and viewport.area.center == ROOM.center
    assert viewport.seen == (0, 0, 256, 128)
    assert viewport.pixel_at(viewport.area.topleft) == (0, 0)
    assert viewport.pixel_at((viewport.area.right - 1, viewport.area.bottom - 1)) == (255, 127)
    assert viewport.pixel_at((viewport.area.right, viewport.area.top)) is None


@given(SIZES, MOVES)
@settings(deadline=None)
def test_the_visible_part_is_in_the_canvas_and_the_area_in_the_room(size: tuple[int, int], moves: list[tuple]) -> None:
    viewport = moved(size, moves)
    left, top, width, height = viewport.seen
    assert ROOM.contains(viewport.area)
    assert left >= 0 and top >= 0
    assert left + width <= size[0] + 1 / viewport.scale and top + height <= size[1] + 1 / viewport.scale


@given(SIZES, MOVES)
@settings(deadline=None, max_examples=60)
def test_samplings_show_the_pixel_that_the_mouse_finds_there(size: tuple[int, int], moves: list[tuple]) -> None:
    viewport = moved(size, moves)
    columns, rows = viewport.samplings()
    area = viewport.area
    assert len(columns.shown) == area.width and len(rows.shown) == area.height
    for column in {0, area.width // 3, area.width - 1}:
        x, _ = viewport.pixel_at((area.left + column, area.top)) or (-1, -1)
        assert columns.places[columns.shown[column]] == x
    for row in {0, area.height // 3, area.height - 1}:
        _, y = viewport.pixel_at((area.left, area.top + row)) or (-1, -1)
        assert rows.places[rows.shown[row]] == y


@given(st.tuples(st.integers(100, 3000), st.integers(100, 3000)), st.integers(1, 20))
@settings(deadline=None)
def test_zoom_keeps_what_is_under_the_mouse(size: tuple[int, int], steps: int) -> None:
    viewport = Viewport(size, ROOM)
    area = viewport.area
    point = (area.left + area.width // 3, area.top + area.height // 4)
    before = viewport.pixel_at(point)
    viewport.zoom(steps, point)
    after = viewport.pixel_at(point)
    assert before and after
    left, top, width, height = viewport.seen
    for axis, (start, extent) in enumerate(((left, width), (top, height))):
        # Where the canvas's edge comes into sight it has to move; elsewhere only by what one window pixel covered.
        if 0 < start < size[axis] - extent:
            assert abs(before[axis] - after[axis]) <= 1 + size[axis] / area.size[axis]


def test_zoom_goes_to_64_pixels_a_pixel_and_back_to_the_fit() -> None:
    viewport = Viewport((256, 256), ROOM)
    fitted = viewport.scale
    scales = [viewport.scale]
    while viewport.zoom(1):
        scales.append(viewport.scale)
    assert scales[1:] == [scale for scale in LADDER if scale > fitted * 1.01] and scales[-1] == 64
    while viewport.zoom(-1):
        pass
    assert viewport.scale == fitted and viewport.seen == (0, 0, 256, 256)
    viewport.zoom(5)
    assert viewport.fit() and not viewport.zoomed and not viewport.fit()


def test_a_large_canvas_has_steps_below_one_to_one() -> None:
    viewport = Viewport((8192, 8192), ROOM)
    assert viewport.scale < LADDER[0]
    viewport.zoom(1)
    assert viewport.scale == LADDER[0]


def test_pan_stops_at_the_edge() -> None:
    viewport = Viewport((1024, 1024), ROOM)
    assert not viewport.pan(100, 100)
    viewport.zoom(4)
    assert viewport.pan(-100_000, 0)
    assert viewport.seen[0] == 0
    assert not viewport.pan(-1, 0)
    viewport.pan(100_000, 100_000)
    left, top, width, height = viewport.seen
    assert left + width == pytest.approx(1024) and top + height == pytest.approx(1024)


def test_another_room_shows_the_same_part() -> None:
    viewport = Viewport((1024, 1024), ROOM)
    viewport.zoom(4)
    viewport.centre_on(700, 300)
    other = viewport.resized(pygame.Rect(0, 0, 900, 900))
    left, top, width, height = other.seen
    assert other.scale == viewport.scale
    assert left + width / 2 == pytest.approx(700, abs=1) and top + height / 2 == pytest.approx(300, abs=1)


def test_half_a_sampling_shows_each_of_its_pixels_twice() -> None:
    columns, _ = Viewport((8192, 4), ROOM).samplings()
    shown, coarse = columns.places[columns.shown], columns.halved.places[columns.halved.shown]
    assert np.array_equal(coarse[::2], shown[::2]) and np.array_equal(coarse[1::2], shown[::2])
    all_of_it, _ = Viewport((64, 64), ROOM).samplings()
    assert all_of_it.halved is all_of_it


def test_pixels_are_where_they_are_drawn() -> None:
    viewport = Viewport((64, 64), ROOM)
    viewport.zoom(2)
    viewport.centre_on(20, 30)
    box = viewport.rect_of(20, 30, 21, 31)
    assert box.size == (int(viewport.scale), int(viewport.scale))
    assert viewport.pixel_at(box.center) == (20, 30)
    assert np.all(viewport.samplings()[0].shown >= 0)
