"""Two cards in the middle of the window: the help, and the address of the web page with its QR code.

The help is made from the tables that bind the keys and show the figures, so it cannot differ from them.
"""

import functools

import segno

from workbench.window.overview.header import FIGURES
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import BINDINGS, REPLAY_BINDINGS
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.view import Overlay

# A title, and rows of a name and its meaning.
Section = tuple[str, tuple[tuple[str, str], ...]]

MARKS = (
    ("disc", "A stage that keeps up"),
    ("triangle", "A busy stage: its waiting time begins to rise steeply"),
    ("square", "The bottleneck"),
    ("bar", "The queue before a stage; at the line on top it is full"),
    ("grey bar", "Batch queue, drained every tick: being full is normal"),
    ("line in it", "Its high-water mark within the last second"),
    ("brake", "A brake is on: service time is added on purpose"),
)
COLUMNS: tuple[tuple[Section, ...], ...] = (
    (("Keys", tuple((binding.keys, binding.meaning) for binding in BINDINGS)),),
    (("Figures", tuple((figure.label, figure.meaning) for figure in FIGURES)), ("Pipeline symbols", MARKS)),
)
REPLAY: Section = (
    "Replay keys (these take precedence)",
    tuple((binding.keys, binding.meaning) for binding in REPLAY_BINDINGS),
)


def columns_of(scene: Scene) -> tuple[tuple[Section, ...], ...]:
    """The help's columns for this session."""
    keys, marks = COLUMNS
    return (keys, marks) if scene.session.replay is None else (keys, (REPLAY, *marks))


class HelpCard(Overlay):
    """Keys at the left; figures and pipeline symbols at the right."""

    _WIDTH, _ROW, _TITLE_ROW, _MARGIN, _FIRST_COLUMN, _GAP, _BETWEEN = 1180, 21, 28, 24, 104, 30, 16

    def __init__(self) -> None:
        self.shown = False

    def content(self, scene: Scene) -> object:
        return True if self.shown else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        height = 2 * self._MARGIN + max(self._height(column) for column in columns_of(scene))
        box = pygame.Rect(0, 0, pen.px(self._WIDTH), pen.px(height))
        box.center = screen.center
        return box

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        pen.card(target, box, pen.theme.raised, pen.theme.faint, radius=10)
        inner = box.inflate(-2 * pen.px(self._MARGIN), -2 * pen.px(self._MARGIN))
        columns = columns_of(scene)
        width = (inner.width - pen.px(self._GAP)) // len(columns)
        for index, column in enumerate(columns):
            left, top = inner.left + index * (width + pen.px(self._GAP)), inner.top
            for title, rows in column:
                pen.write(target, title, pygame.Rect(left, top, width, pen.px(self._TITLE_ROW - 8)), theme.TITLE)
                top += pen.px(self._TITLE_ROW)
                for name, meaning in rows:
                    self._draw_row(target, pygame.Rect(left, top, width, pen.px(self._ROW)), name, meaning, pen)
                    top += pen.px(self._ROW)
                top += pen.px(self._BETWEEN)

    def _draw_row(self, target: pygame.Surface, row: pygame.Rect, name: str, meaning: str, pen: Painter) -> None:
        first = pen.px(self._FIRST_COLUMN)
        pen.write(target, name, pygame.Rect(row.left, row.top, first - pen.px(8), row.height), theme.KEY)
        lettering = pen.lettering_that_fits(meaning, row.width - first, (theme.NOTE, theme.LABEL, theme.SMALL))
        pen.write(target, meaning, pygame.Rect(row.left + first, row.top, row.width - first, row.height), lettering)

    def _height(self, column: tuple[Section, ...]) -> int:
        """Of a column, in units."""
        rows = sum(self._TITLE_ROW + len(rows) * self._ROW for _, rows in column)
        return rows + (len(column) - 1) * self._BETWEEN


# The light margin that a reader needs around a QR code, in modules (ISO/IEC 18004).
QUIET_MODULES = 4
# In both themes: not every reader accepts a light code on a dark background.
LIGHT, DARK = (255, 255, 255), (0, 0, 0)
TITLE = "Paint along in a browser"
NOT_YET = "The server is not listening yet."
ONLY_HERE = "Only this machine can open it. To accept phones and other machines: --set server.host=0.0.0.0"
OPEN_TO_ALL = "Open to the network: anyone who can reach this address can view and paint."


class AddressCard(Overlay):
    """The web page's address as text and as a QR code for phones. It opens no connection."""

    _WIDTH, _MARGIN, _GAP, _CODE, _ROWS_MAX = 460, 24, 14, 300, 3

    def __init__(self) -> None:
        self.shown = False

    def content(self, scene: Scene) -> object:
        return (scene.view.page_url, scene.view.is_open_to_network) if self.shown else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        lines = len(self._note(scene, pen)) * pen.line_height(theme.NOTE)
        height = 2 * pen.px(self._MARGIN) + pen.line_height(theme.PRODUCT) + pen.px(self._GAP) + lines
        if scene.view.page_url:
            height += pen.px(self._CODE) + 2 * pen.px(self._GAP) + pen.line_height(theme.FIGURE)
        box = pygame.Rect(0, 0, pen.px(self._WIDTH), height)
        box.center = screen.center
        return box

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        url, gap = scene.view.page_url, pen.px(self._GAP)
        edge = pen.theme.orange if scene.view.is_open_to_network else pen.theme.faint
        pen.card(target, box, pen.theme.raised, edge, radius=10)
        row = box.inflate(-2 * pen.px(self._MARGIN), -2 * pen.px(self._MARGIN))
        row.height = pen.line_height(theme.PRODUCT)
        pen.write(target, TITLE, row, theme.PRODUCT, "center")
        row.top = row.bottom + gap
        if url:
            code = pygame.Rect(0, row.top, pen.px(self._CODE), pen.px(self._CODE))
            code.centerx = box.centerx
            draw_code(target, code, url)
            row.top, row.height = code.bottom + gap, pen.line_height(theme.FIGURE)
            lettering = pen.lettering_that_fits(url, row.width, (theme.FIGURE, theme.TITLE, theme.BODY, theme.LABEL))
            pen.write(target, url, row, lettering, "center")
            row.top = row.bottom + gap
        pen.write_rows(target, self._note(scene, pen), row, theme.NOTE, "center")

    def _note(self, scene: Scene, pen: Painter) -> list[str]:
        view = scene.view
        text = NOT_YET if not view.page_url else OPEN_TO_ALL if view.is_open_to_network else ONLY_HERE
        return pen.wrapped(text, pen.px(self._WIDTH - 2 * self._MARGIN), theme.NOTE, self._ROWS_MAX)


def draw_code(target: pygame.Surface, box: pygame.Rect, text: str) -> None:
    """Draw `text` as a QR code into a box. A module is a whole number of pixels wide, so that all are equal."""
    modules = _modules(text)
    side = len(modules) + 2 * QUIET_MODULES
    # At least a pixel per module; a code that is too large for its box overlaps it, but can be read.
    size = max(1, min(box.size) // side)
    left, top = box.centerx - side * size // 2, box.centery - side * size // 2
    pygame.draw.rect(target, LIGHT, (left, top, side * size, side * size))
    for y, line in enumerate(modules):
        for x, is_dark in enumerate(line):
            if is_dark:
                at = (left + (x + QUIET_MODULES) * size, top + (y + QUIET_MODULES) * size, size, size)
                pygame.draw.rect(target, DARK, at)


@functools.lru_cache(maxsize=4)
def _modules(text: str) -> tuple[bytes, ...]:
    """The rows of the QR code, one byte per module, 1 where it is dark."""
    # Not micro: few phones read micro codes. Level M corrects 15 % of the code, such as glare.
    return tuple(bytes(row) for row in segno.make(text, error="m", micro=False).matrix)
