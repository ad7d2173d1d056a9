"""The visible part of the canvas: zoom, pan, and which pixel is where. It draws nothing.

At the lowest zoom the whole canvas fits into the box. Above that, one canvas pixel covers a whole number of window
pixels, or a whole number of canvas pixels share one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.window.toolkit.arrangement import fit
from workbench.window.toolkit.display import pygame

# Window pixels per canvas pixel, above the fit.
LADDER = (1 / 8, 1 / 4, 1 / 2, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


@dataclass(frozen=True, slots=True)
class Sampling:
    """One axis of the picture: which canvas columns (or rows) are read, and which of them each window column shows.

    `taken`: a slice or an array of canvas indices. `shown`: for each window column, an index into `taken`.
    """

    taken: slice | NDArray[np.int64]
    shown: NDArray[np.int64]

    @property
    def places(self) -> NDArray[np.int64]:
        """The canvas indices that are read."""
        return np.arange(self.taken.start, self.taken.stop) if isinstance(self.taken, slice) else self.taken

    @property
    def halved(self) -> "Sampling":
        """Every other index, each shown twice; a slice stays as it is."""
        return self if isinstance(self.taken, slice) else Sampling(self.taken[::2], self.shown // 2)


class Viewport:
    """The visible part of a canvas of `size` (width, height) in `room`, a box of the window."""

    def __init__(self, size: tuple[int, int], room: pygame.Rect) -> None:
        self.size, self.room = size, room.copy()
        self._fitted = fit(size, (max(1, room.width), max(1, room.height)))
        self._step = 0
        self._left = self._top = 0.0  # Canvas coordinates of the upper left corner of the area.
        fitted_scale = self._fitted[0] / size[0]
        # Steps that hardly differ from the fit are left out: a step must be visible.
        self._scales = (fitted_scale, *(scale for scale in LADDER if scale > fitted_scale * 1.01))

    @property
    def scale(self) -> float:
        """Window pixels per canvas pixel."""
        return self._scales[self._step]

    @property
    def zoomed(self) -> bool:
        """Whether it is above the lowest zoom, at which all of the canvas is visible."""
        return self._step > 0

    @property
    def state(self) -> tuple[object, ...]:
        """Changes whenever another part is visible, or elsewhere."""
        return self.size, tuple(self.room), self._step, self._left, self._top

    @property
    def area(self) -> pygame.Rect:
        """The canvas in the window, centred along an axis that it does not fill."""
        if not self.zoomed:
            area = pygame.Rect((0, 0), self._fitted)
        else:
            area = pygame.Rect(0, 0, *(self._extent(axis) for axis in (0, 1)))
        # Zoomed in, the area fills the room, except along an axis where the whole canvas fits.
        area.center = self.room.center
        return area

    @property
    def seen(self) -> tuple[float, float, float, float]:
        """The visible part in canvas pixels: left, top, width, height."""
        if not self.zoomed:
            return 0.0, 0.0, float(self.size[0]), float(self.size[1])
        area = self.area
        return self._left, self._top, area.width / self.scale, area.height / self.scale

    def samplings(self) -> tuple[Sampling, Sampling]:
        """How the area's columns and rows are taken from the canvas."""
        area = self.area
        return self._sampling(0, area.width), self._sampling(1, area.height)

    def pixel_at(self, position: tuple[int, int]) -> tuple[int, int] | None:
        """The canvas pixel (x, y) at a point of the window; None outside the canvas."""
        area = self.area
        if not area.collidepoint(position):
            return None
        return self.nearest_pixel(position)

    def nearest_pixel(self, position: tuple[int, int]) -> tuple[int, int]:
        """The visible canvas pixel (x, y) nearest to a point."""
        area = self.area
        # Clamped: a drag that leaves the canvas goes on along its edge.
        column = min(max(position[0] - area.left, 0), area.width - 1)
        row = min(max(position[1] - area.top, 0), area.height - 1)
        x, y = self._canvas_index(0, np.array([column])), self._canvas_index(1, np.array([row]))
        return int(x[0]), int(y[0])

    def rect_of(self, x0: int, y0: int, x1: int, y1: int) -> pygame.Rect:
        """The canvas pixels from (x0, y0) to (x1, y1), excluded, in the window; visible or not."""
        area, (left, top, width, height) = self.area, self.seen
        across, down = area.width / width, area.height / height
        corner = (area.left + round((x0 - left) * across), area.top + round((y0 - top) * down))
        other = (area.left + round((x1 - left) * across), area.top + round((y1 - top) * down))
        return pygame.Rect(corner, (other[0] - corner[0], other[1] - corner[1]))

    def zoom(self, steps: int, around: tuple[int, int] | None = None) -> bool:
        """Zoom in by steps, or out if negative; the point `around` stays in place. False at the last step."""
        step = min(max(self._step + steps, 0), len(self._scales) - 1)
        if step == self._step:
            return False
        area, (left, top, width, height) = self.area, self.seen
        # A point in the letterbox has no canvas pixel: the centre stays in place then.
        point = around if around is not None and area.collidepoint(around) else area.center
        fixed = (
            left + (point[0] - area.left) * width / area.width,
            top + (point[1] - area.top) * height / area.height,
        )
        self._step = step
        area = self.area
        self._left = fixed[0] - (point[0] - area.left) / self.scale
        self._top = fixed[1] - (point[1] - area.top) / self.scale
        self._clamp()
        return True

    def pan(self, right: float, down: float) -> bool:
        """Move the visible part by window pixels. False at the edge of the canvas."""
        before = self.state
        if self.zoomed:
            self._left += right / self.scale
            self._top += down / self.scale
            self._clamp()
        return self.state != before

    def centre_on(self, x: float, y: float) -> None:
        """Bring this canvas point to the middle, as far as the edges allow."""
        _, _, width, height = self.seen
        self._left, self._top = x - width / 2, y - height / 2
        self._clamp()

    def fit(self) -> bool:
        """Show all of the canvas. False if it already does."""
        was, self._step = self._step, 0
        self._clamp()
        return was != 0

    def resized(self, room: pygame.Rect) -> "Viewport":
        """The same part, as closely as possible, in another box."""
        other = Viewport(self.size, room)
        if self.zoomed:
            left, top, width, height = self.seen
            # The nearest scale: the steps of another box differ, since its fit does.
            nearest = min(range(len(other._scales)), key=lambda step: abs(other._scales[step] - self.scale))
            other._step = max(1, nearest) if len(other._scales) > 1 else 0
            other.centre_on(left + width / 2, top + height / 2)
        return other

    def _extent(self, axis: int) -> int:
        """Window pixels of the area along an axis when zoomed."""
        room = (self.room.width, self.room.height)[axis]
        return max(1, min(room, round(self.size[axis] * self.scale)))

    def _clamp(self) -> None:
        if not self.zoomed:
            self._left = self._top = 0.0
            return
        self._left = min(max(self._left, 0.0), max(0.0, self.size[0] - self._extent(0) / self.scale))
        self._top = min(max(self._top, 0.0), max(0.0, self.size[1] - self._extent(1) / self.scale))
        assert self._left <= self.size[0] and self._top <= self.size[1], "the visible part lies inside the canvas"

    def _canvas_index(self, axis: int, window_index: NDArray[Any]) -> NDArray[np.int64]:
        """The canvas index at the centre of window columns (axis 0) or rows (axis 1) of the area."""
        count = self.size[axis]
        if not self.zoomed:  # In whole numbers: a pixel's centre may not round into its neighbour.
            return (2 * window_index.astype(np.int64) + 1) * count // (2 * self._fitted[axis])
        origin = (self._left, self._top)[axis]
        index = np.floor(origin + (window_index + 0.5) / self.scale).astype(np.int64)
        return np.clip(index, 0, count - 1)

    def _sampling(self, axis: int, extent: int) -> Sampling:
        index = self._canvas_index(axis, np.arange(extent))
        first, last = int(index[0]), int(index[-1])
        if last - first < extent:  # Not more than are shown: a slice needs no gather.
            return Sampling(slice(first, last + 1), index - first)
        return Sampling(index, np.arange(extent))
