"""The pixel under the mouse: its place and its colour. It goes away when the mouse rests or leaves."""

from server.palette import hex_colors
from workbench.window import theme
from workbench.window.canvas_view import CanvasView
from workbench.window.pen import Pen
from workbench.window.scene import Scene
from workbench.window.toolkit import pygame

_HEX = hex_colors()
_WIDTH, _HEIGHT, _OFFSET = 200, 50, 16


class Hover:
    """A small card beside the mouse, over the canvas only."""

    SHOWN_NS = 5_000_000_000
    """A mouse that rests no longer asks."""

    def __init__(self, canvas: CanvasView) -> None:
        self._canvas = canvas
        self._position: tuple[int, int] | None = None
        self._until_ns = 0

    def move(self, position: tuple[int, int] | None, now_ns: int) -> None:
        """The mouse is here now, or None: it left the window."""
        self._position, self._until_ns = position, now_ns + self.SHOWN_NS

    def advance(self, now_ns: int) -> None:
        """Go away when the time has come."""
        if now_ns >= self._until_ns:
            self._position = None

    def content(self, scene: Scene) -> tuple[tuple[int, int], int, int, int] | None:
        """Position, x, y and palette index; None beside the canvas. See `Overlay`."""
        if self._position is None or scene.loading:
            return None
        pixel = self._canvas.pixel_at(self._position)
        if pixel is None:
            return None
        x, y = pixel
        return self._position, x, y, int(scene.pixels[y, x])

    def box(self, scene: Scene, screen: pygame.Rect, pen: Pen) -> pygame.Rect:
        """Right below the mouse, or on the other side where there is no room."""
        assert self._position is not None
        box = pygame.Rect(0, 0, pen.px(_WIDTH), pen.px(_HEIGHT))
        offset = pen.px(_OFFSET)
        box.topleft = (self._position[0] + offset, self._position[1] + offset)
        if box.right > screen.right:
            box.right = self._position[0] - offset
        if box.bottom > screen.bottom:
            box.bottom = self._position[1] - offset
        return box

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Pen) -> None:
        """Draw all of it."""
        content = self.content(scene)
        assert content is not None
        _, x, y, index = content
        pen.card(target, box, theme.RAISED, theme.LINE)
        swatch = pygame.Rect(box.left + pen.px(10), box.top + pen.px(10), pen.px(30), pen.px(30))
        pygame.draw.rect(target, pygame.Color(_HEX[index]), swatch, border_radius=pen.px(3))
        pygame.draw.rect(target, theme.FAINT, swatch, width=pen.scale, border_radius=pen.px(3))
        left = swatch.right + pen.px(10)
        row = pygame.Rect(left, box.top + pen.px(6), box.right - left - pen.px(6), pen.px(19))
        pen.write(target, f"x {x}  y {y}", row, theme.BODY)
        pen.write(target, f"colour {index}  {_HEX[index]}", row.move(0, pen.px(19)), theme.LABEL)
