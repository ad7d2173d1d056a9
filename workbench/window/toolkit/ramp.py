"""Colour maps: a ramp for amounts, a set of distinct colours for names, and a scale whose top rarely changes.

A level is a palette index of an 8-bit surface: 0 is "unknown", 1 to 64 grow from least to most. The ramp grows evenly
in lightness, so it can be read without seeing colour.
"""

import colorsys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.palette import HEAT_COUNT, HEAT_FIRST, PALETTE
from workbench.window.toolkit.theme import Color

LEVEL_NONE, LEVEL_LEAST, LEVEL_MOST = 0, 1, HEAT_COUNT
# No item at this place; drawn as background, not as an amount.
LEVEL_NOBODY = 255
# Number of colours for names: levels 1 to 250 of a surface that shows names.
NAME_COUNT = 250

_NOTHING: Color = (40, 44, 52)
_GOLDEN = 0.61803398875
_DARKEST = 9


def _amount_colors() -> list[Color]:
    """The heat ramp without its darkest end, which would look like the background."""
    heat, places = PALETTE[HEAT_FIRST : HEAT_FIRST + HEAT_COUNT], np.linspace(_DARKEST, HEAT_COUNT - 1, HEAT_COUNT)
    channels = [np.interp(places, np.arange(HEAT_COUNT), heat[:, channel]).round().astype(int) for channel in range(3)]
    colors = [_NOTHING, *zip(*(channel.tolist() for channel in channels), strict=True)]
    # Levels above the top look like the top; only the last one has a meaning of its own.
    colors += [colors[-1]] * (LEVEL_NOBODY - len(colors))
    return [*colors, (1, 2, 3)]  # A unique colour, so that it can be made transparent.


def _name_colors() -> list[Color]:
    """Consecutive numbers get distant hues, in three lightnesses."""
    colors = [_NOTHING]
    for index in range(NAME_COUNT):
        # Steps of the golden ratio never repeat a hue; three lightnesses separate those that come close.
        lightness = (0.45, 0.62, 0.78)[index % 3]
        red, green, blue = colorsys.hls_to_rgb(index * _GOLDEN % 1.0, lightness, 0.62)
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colors + [colors[-1]] * (256 - len(colors))


AMOUNT_COLORS: list[Color] = _amount_colors()
NAME_COLORS: list[Color] = _name_colors()
CANVAS_COLORS: list[Color] = [tuple(color) for color in PALETTE.tolist()]


def levels_of(values: NDArray[Any], most: float, *, is_log: bool = False) -> NDArray[np.uint8]:
    """Levels of amounts from 0 to `most`, same shape. NaN and negative values: unknown. Larger values: the top level.

    The logarithmic scale, linear in log(1 + value), makes small amounts distinguishable.
    """
    # float32: 64 levels need no more digits.
    ratio = np.asarray(values, np.float32) / np.float32(max(most, 1e-9))
    if is_log:
        ratio = np.log1p(np.maximum(values, -0.5)) / np.log1p(max(most, 1e-9))
    # A comparison with NaN is False: NaN counts as unknown without a check of its own.
    known = np.asarray(values) >= 0
    steps = np.clip(np.nan_to_num(ratio, nan=0.0) * (LEVEL_MOST - LEVEL_LEAST), 0, LEVEL_MOST - LEVEL_LEAST)
    return np.where(known, LEVEL_LEAST + np.rint(steps), LEVEL_NONE).astype(np.uint8)


def name_levels(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    """Levels of names: number n + 1 gets colour n % NAME_COUNT; 0 means no name."""
    return np.where(numbers > 0, 1 + (numbers - 1) % NAME_COUNT, 0).astype(np.uint8)


class Top:
    """The top of a scale: 1, 2 or 5 times a power of ten, stable while the values fit it well enough."""

    def __init__(self, least: float) -> None:
        self._least = least
        self.value = least

    def cover(self, most: float) -> float:
        """Cover values up to `most`. It grows at once, and shrinks only when `most` is below a fifth of it."""
        # Without this hysteresis the colours would change meaning with every small change of the maximum.
        if most > self.value or most < self.value / 5:
            self.value = max(self._least, nice_above(most))
        return self.value


def nice_above(value: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is at least `value`; 0 if `value` is not positive and finite."""
    if value <= 0 or not np.isfinite(value):
        return 0.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(power * step for step in (1, 2, 5, 10) if power * step >= value * (1 - 1e-9)))
