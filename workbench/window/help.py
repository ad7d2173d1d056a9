"""The help: what the keys do and what the figures mean, from the very tables that bind and show them."""

from workbench.window import theme
from workbench.window.header import FIGURES
from workbench.window.keys import BINDINGS
from workbench.window.pen import Pen
from workbench.window.scene import Scene
from workbench.window.toolkit import pygame

_WIDTH, _ROW, _TITLE_ROW, _MARGIN, _FIRST_COLUMN, _GAP = 1180, 22, 30, 26, 104, 30

SECTIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("Keys", tuple((binding.keys, binding.meaning) for binding in BINDINGS)),
    ("Figures", tuple((figure.label, figure.meaning) for figure in FIGURES)),
)


class Help:
    """A card in the middle of the window: keys at the left, figures at the right."""

    def __init__(self) -> None:
        self.shown = False

    def content(self, scene: Scene) -> object:
        """Whether it is shown; see `Overlay`."""
        return True if self.shown else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Pen) -> pygame.Rect:
        """In the middle."""
        height = 2 * _MARGIN + _TITLE_ROW + max(len(rows) for _, rows in SECTIONS) * _ROW
        box = pygame.Rect(0, 0, pen.px(_WIDTH), pen.px(height))
        box.center = screen.center
        return box

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Pen) -> None:
        """Draw all of it."""
        pen.card(target, box, theme.RAISED, theme.FAINT, radius=10)
        inner = box.inflate(-2 * pen.px(_MARGIN), -2 * pen.px(_MARGIN))
        width = (inner.width - pen.px(_GAP)) // len(SECTIONS)
        for index, (title, rows) in enumerate(SECTIONS):
            left = inner.left + index * (width + pen.px(_GAP))
            pen.write(target, title, pygame.Rect(left, inner.top, width, pen.px(_TITLE_ROW - 8)), theme.TITLE)
            for row, (name, meaning) in enumerate(rows):
                top = inner.top + pen.px(_TITLE_ROW + row * _ROW)
                self._draw_row(target, pygame.Rect(left, top, width, pen.px(_ROW)), name, meaning, pen)

    @staticmethod
    def _draw_row(target: pygame.Surface, row: pygame.Rect, name: str, meaning: str, pen: Pen) -> None:
        first = pen.px(_FIRST_COLUMN)
        pen.write(target, name, pygame.Rect(row.left, row.top, first - pen.px(8), row.height), theme.KEY)
        lettering = pen.lettering_that_fits(meaning, row.width - first, (theme.NOTE, theme.LABEL, theme.SMALL))
        pen.write(target, meaning, pygame.Rect(row.left + first, row.top, row.width - first, row.height), lettering)
