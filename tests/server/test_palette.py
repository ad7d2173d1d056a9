"""The 256 colours: their parts where the table says, a ramp even in lightness, a cube that finds the nearest."""

import re

import numpy as np

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


def test_hex_is_how_browsers_write_it():
    colors = hex_colors()
    assert len(colors) == 256
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in colors)
    assert [int(colors[WHITE][i : i + 2], 16) for i in (1, 3, 5)] == PALETTE[WHITE].tolist()
