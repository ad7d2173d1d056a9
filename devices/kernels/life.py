"""Conway's life on a torus, as the fleet computes it; colours tell how long a cell has lived or been dead.

ages: (height, width) i2; n > 0 has lived n generations, n < 0 has been dead -n generations, both stop at 30,000.
"""

import numpy as np

from server.kernels.kernel import kernel
from server.palette import HEAT_COUNT, HEAT_FIRST

_AGE_MAX = 30_000
_TRAIL = 14
"""Generations for which a dead cell still glows."""


@kernel
def next_generation(ages, following):
    """Write the generation after `ages` to `following`, both (height, width) i2 and not the same array.

    Returns how many cells live. Cost: nine reads a cell. Neighbours are taken modulo the size.
    """
    height, width = ages.shape
    living = 0
    for y in range(height):
        above, below = (y - 1) % height, (y + 1) % height
        for x in range(width):
            left, right = (x - 1) % width, (x + 1) % width
            around = 0
            around += (ages[above, left] > 0) + (ages[above, x] > 0) + (ages[above, right] > 0)
            around += (ages[y, left] > 0) + (ages[y, right] > 0)
            around += (ages[below, left] > 0) + (ages[below, x] > 0) + (ages[below, right] > 0)
            age = ages[y, x]
            if around == 3 or (around == 2 and age > 0):
                following[y, x] = min(age + 1, _AGE_MAX) if age > 0 else 1
                living += 1
            else:
                following[y, x] = max(age - 1, -_AGE_MAX) if age < 0 else -1
    return living


@kernel
def color_ages(ages, board):
    """Write each cell's palette index to `board`, (height, width) u1: newborn pale, old ones red, the dead fade."""
    for y in range(ages.shape[0]):
        for x in range(ages.shape[1]):
            age = np.int64(ages[y, x])
            heat = 0
            if age > 0:
                heat = max(HEAT_COUNT - 1 - 3 * (age - 1), 30)
            elif -age < _TRAIL:
                heat = 22 * (_TRAIL + age) // _TRAIL
            board[y, x] = HEAT_FIRST + heat
