"""The help: what keys, figures and marks mean, from the very tables that bind the keys and show the figures."""

from workbench.window.overview.header import FIGURES
from workbench.window.toolkit import theme
from workbench.window.toolkit.keys import BINDINGS
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.replay_keys import REPLAY_BINDINGS
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.toolkit import pygame

_WIDTH, _ROW, _TITLE_ROW, _MARGIN, _FIRST_COLUMN, _GAP, _BETWEEN = 1180, 21, 28, 24, 104, 30, 16

Section = tuple[str, tuple[tuple[str, str], ...]]

MARKS = (
    ("disc", "A stage that keeps up"),
    ("triangle", "A busy stage: its waiting time begins to rise steeply"),
    ("square", "The bottleneck"),
    ("bar", "The queue before a stage; at the line on top it is full"),
    ("grey bar", "A queue that collects until the tick: full is no fault there"),
    ("line in it", "Its high-water mark within the last second"),
    ("shoe", "A brake is on: service time is added on purpose"),
)
COLUMNS: tuple[tuple[Section, ...], ...] = (
    (("Keys", tuple((binding.keys, binding.meaning) for binding in BINDINGS)),),
    (("Figures", tuple((figure.label, figure.meaning) for figure in FIGURES)), ("Marks of the pipeline", MARKS)),
)
REPLAY: Section = (
    "Keys of the replay, before all others",
    tuple((each.keys, each.meaning) for each in REPLAY_BINDINGS),
)


def columns_of(scene: Scene) -> tuple[tuple[Section, ...], ...]:
    """What is told in this session."""
    keys, marks = COLUMNS
    return (keys, marks) if scene.session.replay is None else (keys, (REPLAY, *marks))


class Help:
    """A card in the middle of the window: keys at the left, figures and marks at the right."""

    def __init__(self) -> None:
        self.shown = False

    def content(self, scene: Scene) -> object:
        """Whether it is shown; see `Overlay`."""
        return True if self.shown else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """In the middle."""
        height = 2 * _MARGIN + max(_height(column) for column in columns_of(scene))
        box = pygame.Rect(0, 0, pen.px(_WIDTH), pen.px(height))
        box.center = screen.center
        return box

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        """Draw all of it."""
        pen.card(target, box, theme.RAISED, theme.FAINT, radius=10)
        inner = box.inflate(-2 * pen.px(_MARGIN), -2 * pen.px(_MARGIN))
        columns = columns_of(scene)
        width = (inner.width - pen.px(_GAP)) // len(columns)
        for index, column in enumerate(columns):
            left, top = inner.left + index * (width + pen.px(_GAP)), inner.top
            for title, rows in column:
                pen.write(target, title, pygame.Rect(left, top, width, pen.px(_TITLE_ROW - 8)), theme.TITLE)
                top += pen.px(_TITLE_ROW)
                for name, meaning in rows:
                    self._draw_row(target, pygame.Rect(left, top, width, pen.px(_ROW)), name, meaning, pen)
                    top += pen.px(_ROW)
                top += pen.px(_BETWEEN)

    @staticmethod
    def _draw_row(target: pygame.Surface, row: pygame.Rect, name: str, meaning: str, pen: Painter) -> None:
        first = pen.px(_FIRST_COLUMN)
        pen.write(target, name, pygame.Rect(row.left, row.top, first - pen.px(8), row.height), theme.KEY)
        lettering = pen.lettering_that_fits(meaning, row.width - first, (theme.NOTE, theme.LABEL, theme.SMALL))
        pen.write(target, meaning, pygame.Rect(row.left + first, row.top, row.width - first, row.height), lettering)


def _height(column: tuple[Section, ...]) -> int:
    """In units."""
    return sum(_TITLE_ROW + len(rows) * _ROW for _, rows in column) + (len(column) - 1) * _BETWEEN
