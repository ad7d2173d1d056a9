"""The 256 colours: their parts where the table says, a ramp even in lightness, a cube that finds the nearest."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from server.palette import (
    CUBE_FIRST,
    CUBE_LEVELS,
    HEAT_COUNT,
    HEAT_FIRST,
    PAINT_COUNT,
    PAINT_FIRST,
    PALETTE,
    WHITE,
    hex_colors,
    nearest_cube_index,
)


def lightness(colors):
    """CIE L*, 0 to 100, of 8-bit sRGB."""
    linear = np.where(colors / 255 <= 0.04045, colors / 255 / 12.92, ((colors / 255 + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_it_has_256_colours_that_cannot_be_changed():
    assert (PALETTE.shape, PALETTE.dtype) == ((256, 3), np.uint8)
    assert not PALETTE.flags.writeable


def test_index_0_is_the_empty_canvas_and_the_last_is_white():
    assert lightness(PALETTE[:1])[0] < 5
    assert PALETTE[WHITE].tolist() == [255, 255, 255]


def test_paint_colours_differ():
    assert len({tuple(color) for color in PALETTE[PAINT_FIRST : PAINT_FIRST + PAINT_COUNT].tolist()}) == PAINT_COUNT


def test_heat_grows_evenly_in_lightness():
    steps = np.diff(lightness(PALETTE[HEAT_FIRST : HEAT_FIRST + HEAT_COUNT].astype(float)))
    assert (steps > 0).all()
    assert steps.max() < 3 * np.median(steps)


def test_cube_is_where_the_table_says():
    reds, greens, blues = CUBE_LEVELS
    for red in range(reds):
        for green in range(greens):
            for blue in range(blues):
                found = PALETTE[CUBE_FIRST + (red * greens + green) * blues + blue].astype(int)
                exact = np.array([red / (reds - 1), green / (greens - 1), blue / (blues - 1)]) * 255
                assert np.abs(found - exact).max() <= 0.5


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=20))
def test_nearest_is_the_nearest(colors):
    found = nearest_cube_index(np.array(colors, np.float64))
    assert found.dtype == np.uint8
    cube = PALETTE[CUBE_FIRST:WHITE].astype(int)
    for color, index in zip(colors, found.tolist(), strict=True):
        distance = np.abs(cube - color).sum(axis=1)
        # The levels are rounded to whole numbers, so two may be equally near within one a channel.
        assert distance[index - CUBE_FIRST] <= distance.min() + 3


def test_colours_outside_the_range_are_taken_to_its_ends():
    assert nearest_cube_index(np.array([[-50.0, -1.0, -9.0], [999.0, 300.0, 256.0]])).tolist() == [
        CUBE_FIRST,
        WHITE - 1,
    ]


def test_hex_is_how_browsers_write_it():
    colors = hex_colors()
    assert len(colors) == 256
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in colors)
    assert [int(colors[WHITE][i : i + 2], 16) for i in (1, 3, 5)] == PALETTE[WHITE].tolist()
