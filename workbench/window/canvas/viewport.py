"""Which part of the canvas is seen, and how large: zoom, pan, and what is where. It draws nothing.

At the lowest zoom the whole canvas fits into the room; above that, a pixel of the canvas covers a whole number of the
window's, or a whole number of the canvas's share one of them.
Invariant: what is seen lies inside the canvas, and a point of the window belongs to one pixel, the one drawn there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.window.toolkit.arrangement import fit
from workbench.window.toolkit.display import pygame

LADDER = (1 / 8, 1 / 4, 1 / 2, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Window pixels a canvas pixel, above the fit."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """One axis of the picture: which canvas columns (or rows) are looked at, and which of these each window one shows.

    `taken` is a slice or an array of canvas indices without repeats next to each other; `shown` has an index into
    what was taken for each window column.
    """

    taken: slice | NDArray[np.int64]
    shown: NDArray[np.int64]

    @property
    def places(self) -> NDArray[np.int64]:
        """The canvas index of everything taken."""
        return np.arange(self.taken.start, self.taken.stop) if isinstance(self.taken, slice) else self.taken

    @property
    def halved(self) -> "Sampling":
        """Half as much looked at, each shown twice; one that looks at all between its ends stays as it is."""
        return self if isinstance(self.taken, slice) else Sampling(self.taken[::2], self.shown // 2)


class Viewport:
    """The seen part of a canvas of `size` (width, height) in a room of the window."""

    def __init__(self, size: tuple[int, int], room: pygame.Rect) -> None:
        self.size, self.room = size, room.copy()
        self._fitted = fit(size, (max(1, room.width), max(1, room.height)))
        self._step = 0
        self._left = self._top = 0.0  # Canvas coordinates of the upper left corner of the area.
        fitted_scale = self._fitted[0] / size[0]
        self._scales = (fitted_scale, *(scale for scale in LADDER if scale > fitted_scale * 1.01))

    @property
    def scale(self) -> float:
        """Window pixels a canvas pixel."""
        return self._scales[self._step]

    @property
    def zoomed(self) -> bool:
        """Whether less than the whole canvas may be seen."""
        return self._step > 0

    @property
    def state(self) -> tuple[object, ...]:
        """Changes whenever something else is seen, or elsewhere."""
        return self.size, tuple(self.room), self._step, self._left, self._top

    @property
    def area(self) -> pygame.Rect:
        """Where the canvas is in the window: within the room, centred along an axis that it does not fill."""
        if not self.zoomed:
            area = pygame.Rect((0, 0), self._fitted)
        else:
            area = pygame.Rect(0, 0, *(self._extent(axis) for axis in (0, 1)))
        area.center = self.room.center
        return area

    @property
    def seen(self) -> tuple[float, float, float, float]:
        """The seen part in canvas pixels: left, top, width, height."""
        if not self.zoomed:
            return 0.0, 0.0, float(self.size[0]), float(self.size[1])
        area = self.area
        return self._left, self._top, area.width / self.scale, area.height / self.scale

    def samplings(self) -> tuple[Sampling, Sampling]:
        """How the area's columns and rows are taken from the canvas."""
        area = self.area
        return self._sampling(0, area.width), self._sampling(1, area.height)

    def pixel_at(self, position: tuple[int, int]) -> tuple[int, int] | None:
        """The canvas pixel (x, y) under a point of the window; None beside the canvas."""
        area = self.area
        if not area.collidepoint(position):
            return None
        return self.nearest_pixel(position)

    def nearest_pixel(self, position: tuple[int, int]) -> tuple[int, int]:
        """The canvas pixel (x, y) under a point, or the seen one nearest to it."""
        area = self.area
        column = min(max(position[0] - area.left, 0), area.width - 1)
        row = min(max(position[1] - area.top, 0), area.height - 1)
        x, y = self._canvas_index(0, np.array([column])), self._canvas_index(1, np.array([row]))
        return int(x[0]), int(y[0])

    def rect_of(self, x0: int, y0: int, x1: int, y1: int) -> pygame.Rect:
        """Where the canvas pixels from (x0, y0) up to, not including, (x1, y1) are in the window, seen or not."""
        area, (left, top, width, height) = self.area, self.seen
        across, down = area.width / width, area.height / height
        corner = (area.left + round((x0 - left) * across), area.top + round((y0 - top) * down))
        other = (area.left + round((x1 - left) * across), area.top + round((y1 - top) * down))
        return pygame.Rect(corner, (other[0] - corner[0], other[1] - corner[1]))

    def zoom(self, steps: int, around: tuple[int, int] | None = None) -> bool:
        """Go so many steps nearer, or farther when negative; what is at `around` stays there. False: no step left."""
        step = min(max(self._step + steps, 0), len(self._scales) - 1)
        if step == self._step:
            return False
        area, (left, top, width, height) = self.area, self.seen
        point = around if around is not None and area.collidepoint(around) else area.center
        fixed = (
            left + (point[0] - area.left) * width / area.width,
            top + (point[1] - area.top) * height / area.height,
        )
        self._step = step
        area = self.area
        self._left = fixed[0] - (point[0] - area.left) / self.scale
        self._top = fixed[1] - (point[1] - area.top) / self.scale
        self._hold_inside()
        return True

    def pan(self, right: float, down: float) -> bool:
        """Look so many window pixels further to the right and down. False: the canvas ends there."""
        before = self.state
        if self.zoomed:
            self._left += right / self.scale
            self._top += down / self.scale
            self._hold_inside()
        return self.state != before

    def centre_on(self, x: float, y: float) -> None:
        """Have this canvas point in the middle, as far as the canvas reaches."""
        _, _, width, height = self.seen
        self._left, self._top = x - width / 2, y - height / 2
        self._hold_inside()

    def fit(self) -> bool:
        """See all of it. False: it is so already."""
        was, self._step = self._step, 0
        self._hold_inside()
        return was != 0

    def resized(self, room: pygame.Rect) -> "Viewport":
        """The same part, as nearly as it can be, in another room."""
        other = Viewport(self.size, room)
        if self.zoomed:
            left, top, width, height = self.seen
            nearest = min(range(len(other._scales)), key=lambda step: abs(other._scales[step] - self.scale))
            other._step = max(1, nearest) if len(other._scales) > 1 else 0
            other.centre_on(left + width / 2, top + height / 2)
        return other

    def _extent(self, axis: int) -> int:
        """Window pixels of the area along an axis when zoomed."""
        room = (self.room.width, self.room.height)[axis]
        return max(1, min(room, round(self.size[axis] * self.scale)))

    def _hold_inside(self) -> None:
        if not self.zoomed:
            self._left = self._top = 0.0
            return
        self._left = min(max(self._left, 0.0), max(0.0, self.size[0] - self._extent(0) / self.scale))
        self._top = min(max(self._top, 0.0), max(0.0, self.size[1] - self._extent(1) / self.scale))

    def _canvas_index(self, axis: int, window_index: NDArray[Any]) -> NDArray[np.int64]:
        """The canvas index at the middle of window columns (axis 0) or rows (axis 1) of the area."""
        count = self.size[axis]
        if not self.zoomed:
            return (2 * window_index.astype(np.int64) + 1) * count // (2 * self._fitted[axis])
        origin = (self._left, self._top)[axis]
        index = np.floor(origin + (window_index + 0.5) / self.scale).astype(np.int64)
        return np.clip(index, 0, count - 1)

    def _sampling(self, axis: int, extent: int) -> Sampling:
        index = self._canvas_index(axis, np.arange(extent))
        first, last = int(index[0]), int(index[-1])
        if last - first < extent:  # As many or fewer than are shown: take all between, without a gather.
            return Sampling(slice(first, last + 1), index - first)
        return Sampling(index, np.arange(extent))
