"""The canvas in its box: the visible part, through one of the layers, as square pixels.

Only the visible part is read and scaled, on an 8-bit surface, so that a large canvas costs no more than a small one. It
is drawn again only when the tick, the array, the box, the layer or the visible part changed. The letterbox fills the
rest of the box.
"""

from collections.abc import Collection

import numpy as np

from workbench.window.canvas.layers import Layer, Readings, all_layers
from workbench.window.canvas.viewport import Viewport
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.view import Drawable

# Up to this scale, overlays sample every other column and row: their cost is memory access.
COARSE_SCALE = 0.5
# The tick of a paused canvas.
HELD = -1

_UNPLACED = pygame.Rect(0, 0, 1, 1)


class CanvasView(Drawable):
    """Draws the canvas in its box, and maps points to pixels."""

    def __init__(self) -> None:
        self._all_layers = self.layers = all_layers()
        self.layer: Layer = self.layers[0]
        self.readings = Readings()
        self.viewport = Viewport((1, 1), _UNPLACED)
        self._box = _UNPLACED
        self._surface: pygame.Surface | None = None
        self._surface_for: object = None
        self.forget()

    def place(self, box: pygame.Rect, pen: Painter) -> None:
        # The same box comes again when only the theme changes: the zoom must stay then.
        if box != self._box:
            self.viewport = self.viewport.resized(box)
        self._box, self._pen = box.copy(), pen
        self.forget()

    @property
    def area(self) -> pygame.Rect:
        """The canvas itself, in window pixels."""
        return self.viewport.area

    def forget(self) -> None:
        self._drawn: tuple[object, ...] | None = None
        self._drawn_where: tuple[object, ...] | None = None

    def begin(self, names: Collection[str] | None) -> None:
        """Start with another session, which has only these layers; None: all."""
        self.readings = Readings()
        self.layers = tuple(layer for layer in self._all_layers if names is None or layer.name in names)
        if self.layer not in self.layers:
            self.choose(self.layers[0].name)

    def choose(self, name: str) -> None:
        """Show this layer from now on."""
        self.layer = next(layer for layer in self.layers if layer.name == name)
        self.forget()

    def step_layer(self, step: int) -> None:
        """Show the next layer (1) or the previous (-1)."""
        names = [layer.name for layer in self.layers]
        self.choose(names[(names.index(self.layer.name) + step) % len(names)])

    def pixel_at(self, position: tuple[int, int]) -> tuple[int, int] | None:
        """The canvas pixel (x, y) at a point of the window; None outside the canvas."""
        return self.viewport.pixel_at(position)

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        self._take_shape(scene)
        is_read = self.readings.read(scene)
        # The address of the pixels tells another array (another session, a paused copy) of the same shape.
        memory = (int(scene.pixels.__array_interface__["data"][0]), scene.pixels.shape)
        tick = HELD if scene.paused else scene.view.reading.tick
        drawn, where = (memory, tick, self.layer.name), self.viewport.state
        moved = where != self._drawn_where
        # A reading changes overlays, but never the pixels themselves.
        if drawn == self._drawn and not moved and not (is_read and self.layer.colors is not self.layers[0].colors):
            return []
        if drawn != self._drawn or is_read:
            self.layer.renew(self.readings, scene)
        self._drawn, self._drawn_where = drawn, where
        if moved:
            target.fill(self._pen.theme.letterbox, self._box)
            if self.area.width < self._box.width or self.area.height < self._box.height:
                pygame.draw.rect(target, self._pen.theme.line, self.area.inflate(2, 2).clip(self._box), width=1)
        self._draw_layer(target, scene)
        return [self._box if moved else self.area]

    def _take_shape(self, scene: Scene) -> None:
        """Show all of the canvas if its shape has changed."""
        height, width = scene.pixels.shape
        if self.viewport.size != (width, height):
            self.viewport = Viewport((width, height), self._box)
            self.readings = Readings()
            self.forget()

    def _draw_layer(self, target: pygame.Surface, scene: Scene) -> None:
        columns, rows = self.viewport.samplings()
        if self.viewport.scale <= COARSE_SCALE and self.layer is not self.layers[0]:
            columns, rows = columns.halved, rows.halved
        levels = self.layer.levels(self.readings, scene, columns, rows)
        surface = self._indexed_surface()
        # A view of the surface's memory, rows first: numpy writes into it without a copy of the picture.
        shown = pygame.surfarray.pixels2d(surface).T
        # Columns first, on the few sampled rows; rows are then repeated as a whole.
        np.take(levels.take(columns.shown, axis=1), rows.shown, axis=0, out=shown, mode="clip")
        del shown  # It keeps the surface locked, which `blit` refuses.
        target.blit(surface, self.area)

    def _indexed_surface(self) -> pygame.Surface:
        """An 8-bit surface of the area's size in the layer's colours."""
        # The palette belongs to the surface: blitting looks colours up, so no pixel is converted in Python.
        wanted = (self.area.size, id(self.layer.colors))
        if self._surface is None or wanted != self._surface_for:
            if self._surface is None or self._surface.size != self.area.size:
                self._surface = pygame.Surface(self.area.size, depth=8)
            self._surface.set_palette(self.layer.colors)
            self._surface_for = wanted
        return self._surface
