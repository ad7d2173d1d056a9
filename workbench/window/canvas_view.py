"""The canvas: palette indices of the server's own memory, shown as square pixels with no copy before the scaling.

It is drawn again only when the tick, the array or the box changed. Between the canvas and its box is the letterbox.
"""

from typing import Any

from numpy.typing import NDArray

from server.palette import PALETTE
from workbench.window import theme
from workbench.window.arrangement import fit
from workbench.window.pen import Pen
from workbench.window.scene import Scene
from workbench.window.toolkit import pygame

HELD = -1
"""Stands for the tick of a canvas that is held still."""

_COLORS = [tuple(color) for color in PALETTE.tolist()]


class CanvasView:
    """Draws the canvas in its box, and knows which pixel is where."""

    def place(self, box: pygame.Rect, pen: Pen) -> None:
        """Take this box; see `Drawable`."""
        self._box, self._pen = box, pen
        self._area = pygame.Rect(box.topleft, (0, 0))
        self._scaled: pygame.Surface | None = None
        self._source: pygame.Surface | None = None
        self._pixels: NDArray[Any] | None = None
        self._memory: tuple[int, tuple[int, ...]] | None = None
        self.forget()

    @property
    def area(self) -> pygame.Rect:
        """Where the canvas itself is, in pixels of the window; without extent before it is first drawn."""
        return self._area

    def forget(self) -> None:
        """Draw all of it next time."""
        self._drawn_tick: int | None = None
        self._whole = True

    def pixel_at(self, position: tuple[int, int]) -> tuple[int, int] | None:
        """The canvas pixel (x, y) under a point of the window, or None beside the canvas."""
        if self._pixels is None or not self._area.collidepoint(position):
            return None
        height, width = self._pixels.shape
        x = (position[0] - self._area.left) * width // self._area.width
        y = (position[1] - self._area.top) * height // self._area.height
        return x, y

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        """Draw what changed. Returns the rectangles that did."""
        memory = (int(scene.pixels.__array_interface__["data"][0]), scene.pixels.shape)
        whole = self._whole or memory != self._memory
        tick = HELD if scene.paused else scene.view.reading.tick
        if not whole and tick == self._drawn_tick:
            return []
        if whole:
            self._take(scene.pixels)
            target.fill(theme.LETTERBOX, self._box)
            if self._area.width < self._box.width or self._area.height < self._box.height:
                pygame.draw.rect(target, theme.LINE, self._area.inflate(2, 2).clip(self._box), width=1)
        assert self._source is not None and self._scaled is not None
        pygame.transform.scale(self._source, self._area.size, self._scaled)
        target.blit(self._scaled, self._area)
        self._whole, self._memory, self._drawn_tick = False, memory, tick
        return [self._box if whole else self._area]

    def _take(self, pixels: NDArray[Any]) -> None:
        """Look at this array from now on: the surface is a view of its memory."""
        height, width = pixels.shape
        assert pixels.dtype == "u1" and pixels.flags.c_contiguous
        self._pixels = pixels
        self._area = pygame.Rect((0, 0), fit((width, height), self._box.size))
        self._area.center = self._box.center
        self._source = pygame.image.frombuffer(pixels.data, (width, height), "P")
        self._scaled = pygame.Surface(self._area.size, depth=8)
        for surface in (self._source, self._scaled):
            surface.set_palette(_COLORS)
