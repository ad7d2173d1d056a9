"""The mouse on the canvas: zoom, pan, painting by hand, and brushing tiles. It draws nothing.

A left drag pans, or paints in paint mode; with Shift it brushes whole tiles; with Alt a click picks the colour of a
pixel. A middle or right drag always pans. The meaning of a drag is decided when the button is pressed.
"""

from typing import Literal

from server.wire import TILE_SIDE
from workbench.telemetry.view import TileBox
from workbench.window.canvas.canvas_marks import cross_of
from workbench.window.canvas.canvas_view import CanvasView
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene

DOUBLE_CLICK_NS = 350_000_000
# A pinch by this share of the window zooms by one step.
PINCH_STEP = 0.06
# The initial colour, a palette index: it stands out on most canvases.
COLOR_FIRST = 4

Drag = Literal["none", "pan", "paint", "brush"]


class CanvasMouse:
    """Handles the mouse on a canvas view."""

    def __init__(self, canvas: CanvasView) -> None:
        self._canvas = canvas
        self.is_looking_only = False
        """In a replay nothing can be painted or brushed."""
        self.painting = False
        """Paint mode."""
        self.color = COLOR_FIRST
        self.brushed: TileBox | None = None
        """The region that the panels count."""
        self.drawn: TileBox | None = None
        """The tiles that the current drag covers."""
        self._dragging: Drag = "none"
        self._last = (0, 0)
        self._first_pixel = self._last_pixel = (0, 0)
        self._clicked: tuple[int, tuple[int, int]] | None = None
        self._pinched = 0.0

    @property
    def state(self) -> tuple[object, ...]:
        """Changes when the marks on the canvas change."""
        return self.brushed, self.drawn

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int, pen: Painter) -> bool:
        """Handle a mouse or touch event; see `Handler`."""
        match event.type:
            case pygame.MOUSEWHEEL:
                return self._canvas.viewport.zoom(1 if event.y > 0 else -1, event.pos) or True
            case pygame.MULTIGESTURE:
                return self._pinch(event.pinched)
            case pygame.MOUSEBUTTONDOWN:
                return self._press(event, scene, now_ns, pen)
            case pygame.MOUSEMOTION if self._dragging != "none":
                self._drag(event.pos, scene)
                return True
            case pygame.MOUSEBUTTONUP if self._dragging != "none":
                self._release(scene)
                return True
        return False

    def clear_brush(self, scene: Scene) -> bool:
        """Have the panels count the whole canvas again. False if they do."""
        if self.brushed is None:
            return False
        self.brushed = None
        scene.session.brush(None)
        return True

    def _press(self, event: pygame.event.Event, scene: Scene, now_ns: int, pen: Painter) -> bool:
        viewport, position = self._canvas.viewport, event.pos
        if self.brushed and event.button == 1 and cross_of(self.brushed, viewport, pen).collidepoint(position):
            return self.clear_brush(scene)
        if not viewport.room.collidepoint(position):
            return False
        self._last = position
        self._first_pixel = self._last_pixel = viewport.nearest_pixel(position)
        # A headless window has no keyboard, and pygame raises without a display.
        held = pygame.key.get_mods() if pygame.display.get_init() else 0
        on_canvas = viewport.pixel_at(position) is not None
        # Any button pans a canvas that cannot be painted.
        if event.button != 1 or self.is_looking_only:
            self._dragging = "pan"
            if event.button == 1:
                self._click(position, now_ns)
        elif held & pygame.KMOD_SHIFT and on_canvas:
            self._dragging, self.drawn = "brush", _tiles_between(self._first_pixel, self._first_pixel)
        elif held & pygame.KMOD_ALT and on_canvas:
            x, y = self._first_pixel
            self.color, self.painting = int(scene.pixels[y, x]), True
        elif self.painting:
            self._dragging = "paint"
            if on_canvas:
                scene.session.paint(*self._first_pixel, self.color)
        else:
            self._dragging = "pan"
            self._click(position, now_ns)
        return True

    def _click(self, position: tuple[int, int], now_ns: int) -> None:
        """A second click at the same place fits the canvas into its box again."""
        if self._clicked and now_ns - self._clicked[0] < DOUBLE_CLICK_NS and _near(self._clicked[1], position):
            self._canvas.viewport.fit()
            self._clicked = None
        else:
            self._clicked = (now_ns, position)

    def _drag(self, position: tuple[int, int], scene: Scene) -> None:
        pixel = self._canvas.viewport.nearest_pixel(position)
        if self._dragging == "pan":
            self._canvas.viewport.pan(self._last[0] - position[0], self._last[1] - position[1])
        elif self._dragging == "brush":
            self.drawn = _tiles_between(self._first_pixel, pixel)
        elif self._dragging == "paint":
            # Every pixel between two events: a fast stroke has no gaps.
            for x, y in line_between(self._last_pixel, pixel):
                scene.session.paint(x, y, self.color)
        self._last, self._last_pixel = position, pixel

    def _release(self, scene: Scene) -> None:
        if self._dragging == "brush":
            # Only at the release: an order for every move would be too many for the fleet.
            self.brushed, self.drawn = self.drawn, None
            scene.session.brush(self.brushed)
        self._dragging = "none"

    def _pinch(self, amount: float) -> bool:
        """Zoom by the steps that the pinches so far add up to."""
        self._pinched += amount
        # The rest is kept for the next event, so that a slow pinch zooms, too.
        steps = int(self._pinched / PINCH_STEP)
        self._pinched -= steps * PINCH_STEP
        return bool(steps and self._canvas.viewport.zoom(steps, self._last)) or True


def line_between(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """The pixels of a line from `start` (excluded) to `end`, by Bresenham's algorithm: each touches the one before."""
    (x, y), (x1, y1) = start, end
    across, down = abs(x1 - x), -abs(y1 - y)
    step_x, step_y = (1 if x1 > x else -1), (1 if y1 > y else -1)
    error, points = across + down, []
    while (x, y) != (x1, y1):
        doubled = 2 * error
        if doubled >= down:
            error, x = error + down, x + step_x
        if doubled <= across:
            error, y = error + across, y + step_y
        points.append((x, y))
    return points


def _tiles_between(first: tuple[int, int], last: tuple[int, int]) -> TileBox:
    """The whole tiles that the rectangle between two pixels touches."""
    (xa, ya), (xb, yb) = first, last
    return TileBox(
        min(xa, xb) // TILE_SIDE, min(ya, yb) // TILE_SIDE, max(xa, xb) // TILE_SIDE + 1, max(ya, yb) // TILE_SIDE + 1
    )


def _near(first: tuple[int, int], second: tuple[int, int]) -> bool:
    return abs(first[0] - second[0]) < 5 and abs(first[1] - second[1]) < 5
