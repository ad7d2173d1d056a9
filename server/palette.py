"""The 256 colours that a pixel can have. Index 0 is the empty canvas.

FIRST   COUNT   MEANING
    0      16   paint: the colours a person paints with
   16      64   heat: a ramp from cold (dark violet) to hot (pale yellow), even in lightness
   80     175   cube: 5 reds x 7 greens x 5 blues, for pictures; index 80 + (red * 7 + green) * 5 + blue
  255       1   white
"""

import numpy as np
from numpy.typing import NDArray

PAINT_FIRST, PAINT_COUNT = 0, 16
HEAT_FIRST, HEAT_COUNT = 16, 64
CUBE_FIRST, CUBE_LEVELS = 80, (5, 7, 5)
WHITE = 255

assert PAINT_FIRST + PAINT_COUNT == HEAT_FIRST
assert HEAT_FIRST + HEAT_COUNT == CUBE_FIRST
assert CUBE_FIRST + CUBE_LEVELS[0] * CUBE_LEVELS[1] * CUBE_LEVELS[2] == WHITE

_PAINT = (
    "0b0d12 e8e6e3 9aa0a6 4a4f57 d55e00 e69f00 f0e442 009e73 56b4e9 0072b2 cc79a7 8c2d04 1b7837 542788 f4a582 35978f"
)
# Anchors of a ramp that grows evenly in lightness, so that it also reads in grey.
_HEAT = "05030f 1b0c41 3b0f70 641a80 8c2981 b73779 de4968 f66e5c fe9f6d fecf92 fcfdbf"


def _rgb(text: str) -> NDArray[np.float64]:
    return np.array([[int(word[i : i + 2], 16) for i in (0, 2, 4)] for word in text.split()], np.float64)


def _build() -> NDArray[np.uint8]:
    colors = np.zeros((256, 3), np.float64)
    colors[PAINT_FIRST : PAINT_FIRST + PAINT_COUNT] = _rgb(_PAINT)
    anchors = _rgb(_HEAT)
    position = np.linspace(0, len(anchors) - 1, HEAT_COUNT)
    for channel in range(3):
        ramp = np.interp(position, np.arange(len(anchors)), anchors[:, channel])
        colors[HEAT_FIRST : HEAT_FIRST + HEAT_COUNT, channel] = ramp
    red, green, blue = np.meshgrid(*(np.linspace(0, 255, n) for n in CUBE_LEVELS), indexing="ij")
    colors[CUBE_FIRST:WHITE] = np.stack([red.ravel(), green.ravel(), blue.ravel()], axis=1)
    colors[WHITE] = 255
    table = np.rint(colors).astype(np.uint8)
    table.setflags(write=False)
    return table


PALETTE: NDArray[np.uint8] = _build()
"""Shape (256, 3), dtype uint8: red, green, blue of each index."""


def hex_colors() -> list[str]:
    """The palette as 256 `"#rrggbb"` strings, as /palette.json serves it."""
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in PALETTE.tolist()]
