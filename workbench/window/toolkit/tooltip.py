"""The tooltip: what there is to know about what the mouse rests on, on a small card beside it."""

from workbench.window.toolkit import theme
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.toolkit import pygame

_WIDTH_MAX, _ROWS_MAX, _PAD, _OFFSET = 340, 12, 9, 18


class Tooltip:
    """A card with the lines of a tip. A line that is too long is broken between words."""

    def __init__(self) -> None:
        self._tip: tuple[str, tuple[int, int]] | None = None

    def show(self, tip: tuple[str, tuple[int, int]] | None) -> None:
        """Say this beside that place from now on; None: nothing."""
        self._tip = tip

    def content(self, scene: Scene) -> object:
        """The text and its place; see `Overlay`."""
        return self._tip

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """Below the mouse, or on the other side where there is no room."""
        assert self._tip is not None
        rows, (x, y) = self._rows(pen), self._tip[1]
        pad, offset = pen.px(_PAD), pen.px(_OFFSET)
        width = max(pen.width(row, theme.NOTE) for row in rows) + 2 * pad
        box = pygame.Rect(x + offset // 2, y + offset, width, len(rows) * pen.line_height(theme.NOTE) + 2 * pad)
        if box.bottom > screen.bottom:
            box.bottom = y - offset // 2
        return box.clamp(screen)

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        """Draw all of it."""
        pen.card(target, box, theme.RAISED, theme.FAINT, radius=4)
        height = pen.line_height(theme.NOTE)
        row = pygame.Rect(box.left + pen.px(_PAD), box.top + pen.px(_PAD), box.width - 2 * pen.px(_PAD), height)
        for index, text in enumerate(self._rows(pen)):
            pen.write(target, text, row.move(0, index * height), theme.BODY if index == 0 else theme.NOTE)

    def _rows(self, pen: Painter) -> list[str]:
        assert self._tip is not None
        rows: list[str] = []
        for line in self._tip[0].splitlines():
            rows += pen.wrapped(line, pen.px(_WIDTH_MAX), theme.NOTE, _ROWS_MAX)
        return rows[:_ROWS_MAX]
