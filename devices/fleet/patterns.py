"""What the fleet paints from: skylines of the picture, and generations of Conway's life.

Both follow from the size and the seed. `kernels.patterns` makes colours of them, one placement at a time.
"""

import numpy as np
from numpy.typing import NDArray

from devices.kernels.layout import RIDGES
from devices.kernels.patterns import color_ages, next_generation
from devices.kernels.scene import HORIZON

_REPAINTS_PER_GENERATION = 1.5
_GENERATION_NS_LEAST = 120_000_000
_GENERATION_NS_MOST = 4_000_000_000
_SPARK_EVERY = 16


def _fractal(random: np.random.Generator, width: int, waves: int, roughness: float) -> NDArray[np.float64]:
    """A fractal line of `width` points around 0, about -1 to 1: octaves of joined random points."""
    line = np.zeros(width)
    amplitude, total = 1.0, 0.0
    while waves <= max(width, 2):
        points = random.uniform(-1, 1, waves + 2)
        line += amplitude * np.interp(np.linspace(0, waves + 1, width), np.arange(waves + 2), points)
        total += amplitude
        amplitude *= roughness
        waves *= 2
    return line / max(total, 1e-9) * 1.8


def _firs(random: np.random.Generator, width: int) -> NDArray[np.float64]:
    """Heights of a row of firs along the shore: clusters left and right, the middle open to the water."""
    along = np.arange(width) / width
    heights = np.zeros(width)
    for _ in range(90):
        side = random.beta(0.55, 0.55)
        openness = abs(side - 0.46) * 2
        tall = (0.05 + 0.22 * openness**2) * random.uniform(0.55, 1.0)
        spread = tall * 0.16 + 0.002
        distance = np.abs(along - side) / spread
        tiers = 1 - distance + 0.16 * np.sin(distance * 19.0)
        heights = np.maximum(heights, tall * np.clip(np.where(distance < 1, tiers, 0), 0, 1))
    return heights


def draw_ridges(width: int) -> NDArray[np.float32]:
    """Skylines of the picture, shape (RIDGES, width), float32, 0 top to 1 bottom: always the same mountains."""
    # A fixed seed: every run shows the same landscape.
    random = np.random.default_rng(1889)
    along = np.linspace(0, 1, width)
    ridges = np.empty((RIDGES, width))
    peaks = 0.20 * np.exp(-(((along - 0.30) / 0.13) ** 2)) + 0.14 * np.exp(-(((along - 0.68) / 0.10) ** 2))
    ridges[0] = HORIZON - 0.11 - peaks - 0.085 * _fractal(random, width, 4, 0.58)
    ridges[1] = HORIZON - 0.075 - 0.10 * (along - 0.45) ** 2 - 0.055 * _fractal(random, width, 3, 0.52)
    ridges[2] = HORIZON - 0.020 - 0.20 * (along - 0.52) ** 2 - 0.020 * _fractal(random, width, 5, 0.55)
    ridges[:3] = np.minimum(ridges[:3], HORIZON)
    shore = 0.985 - 0.16 * np.abs(along - 0.46) ** 1.5 - 0.012 * _fractal(random, width, 6, 0.5)
    ridges[3] = shore - _firs(random, width)
    return ridges.astype(np.float32)


class Life:
    """Conway's life on a torus, advanced by time. The devices paint from `board`."""

    def __init__(self, width: int, height: int, seed: int, placements_per_s: float, begun_ns: int = 0) -> None:
        self.board = np.zeros((height, width), np.uint8)
        self._random = np.random.default_rng(seed)
        alive = self._random.random((height, width)) < 0.28
        self._ages = np.where(alive, 1, -1000).astype(np.int16)
        self._following = np.empty_like(self._ages)
        self.generation_ns = 0
        self.generation = 0
        self._next_ns = begun_ns
        self.set_pace(placements_per_s)
        color_ages(self._ages, self.board)

    def set_pace(self, placements_per_s: float) -> None:
        """Let a generation last until the devices have painted nearly all of it, or none would be seen whole."""
        repaint_ns = _REPAINTS_PER_GENERATION * self.board.size / max(placements_per_s, 1e-3) * 1e9
        before_ns = self.generation_ns
        self.generation_ns = int(min(max(repaint_ns, _GENERATION_NS_LEAST), _GENERATION_NS_MOST))
        # The generation under way gets the new duration, from the moment at which it began.
        self._next_ns += self.generation_ns - before_ns

    def advance(self, elapsed_ns: int) -> None:
        """Compute the next generation if it is due; at most one per call, the rest in the next calls."""
        if elapsed_ns < self._next_ns:
            return
        self._next_ns += self.generation_ns
        next_generation(self._ages, self._following)
        self._ages, self._following = self._following, self._ages
        self.generation += 1
        if self.generation % _SPARK_EVERY == 0:
            self._spark()
        color_ages(self._ages, self.board)

    def _spark(self) -> None:
        """Set an R-pentomino at a random place, because a small torus settles and a still picture shows nothing."""
        height, width = self._ages.shape
        x, y = int(self._random.integers(width)), int(self._random.integers(height))
        for dx, dy in ((1, 0), (2, 0), (0, 1), (1, 1), (1, 2)):
            self._ages[(y + dy) % height, (x + dx) % width] = 1
