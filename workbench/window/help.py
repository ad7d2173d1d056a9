"""The help: what the keys do and what the figures mean, from the very tables that bind and show them."""

from workbench.window import theme
from workbench.window.header import FIGURES
from workbench.window.keys import BINDINGS
from workbench.window.pen import Pen
from workbench.window.scene import Scene
from workbench.window.toolkit import pygame

_WIDTH, _ROW, _TITLE_ROW, _MARGIN, _FIRST_COLUMN, _GAP = 640, 26, 34, 26, 120, 14

SECTIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("Keys", tuple((binding.keys, binding.meaning) for binding in BINDINGS)),
    ("Figures", tuple((figure.label, figure.meaning) for figure in FIGURES)),
)


class Help:
    """A card in the middle of the window."""

    def __init__(self) -> None:
        self.shown = False

    def content(self, scene: Scene) -> object:
        """Whether it is shown; see `Overlay`."""
        return True if self.shown else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Pen) -> pygame.Rect:
        """In the middle."""
        rows = sum(len(rows) for _, rows in SECTIONS)
        height = 2 * _MARGIN + len(SECTIONS) * _TITLE_ROW + rows * _ROW + (len(SECTIONS) - 1) * _GAP
        box = pygame.Rect(0, 0, pen.px(_WIDTH), pen.px(height))
        box.center = screen.center
        return box

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Pen) -> None:
        """Draw all of it."""
        pen.card(target, box, theme.RAISED, theme.FAINT, radius=10)
        inner = box.inflate(-2 * pen.px(_MARGIN), -2 * pen.px(_MARGIN))
        top = inner.top
        for title, rows in SECTIONS:
            pen.write(target, title, pygame.Rect(inner.left, top, inner.width, pen.px(_TITLE_ROW - 8)), theme.TITLE)
            top += pen.px(_TITLE_ROW)
            for name, meaning in rows:
                self._draw_row(target, pygame.Rect(inner.left, top, inner.width, pen.px(_ROW)), name, meaning, pen)
                top += pen.px(_ROW)
            top += pen.px(_GAP)

    @staticmethod
    def _draw_row(target: pygame.Surface, row: pygame.Rect, name: str, meaning: str, pen: Pen) -> None:
        first = pen.px(_FIRST_COLUMN)
        pen.write(target, name, pygame.Rect(row.left, row.top, first - pen.px(8), row.height), theme.KEY)
        pen.write(target, meaning, pygame.Rect(row.left + first, row.top, row.width - first, row.height), theme.NOTE)
