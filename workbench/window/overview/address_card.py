"""The card that brings others in: the address of the web page, large, and as a code that a phone's camera reads.

It connects to nothing. Invariant: the code and the line under it say the same address.
"""

import functools

import segno

from workbench.window.toolkit import theme
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.toolkit import pygame

QUIET_MODULES = 4
"""The light margin that a reader needs around the code, in modules (ISO/IEC 18004)."""
LIGHT, DARK = (255, 255, 255), (0, 0, 0)
"""Whatever the theme: not every reader takes a light code on a dark ground."""
TITLE = "Paint along in a browser"
_WIDTH, _MARGIN, _GAP, _CODE = 460, 24, 14, 300
_ROWS_MAX = 3

NOT_YET = "The server does not listen yet."
ONLY_HERE = "Only this machine can open it. To let phones and others in: --set server.host=0.0.0.0"
OPEN_TO_ALL = "Open to the network: whoever reaches this address can look on and paint."


class AddressCard:
    """A card in the middle of the window, while it is wanted."""

    def __init__(self) -> None:
        self.shown = False

    def content(self, scene: Scene) -> object:
        """The address, or None while it is not shown; see `Overlay`."""
        return (scene.view.page_url, scene.view.is_open_to_network, theme.name) if self.shown else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """In the middle, as high as its lines and the code need."""
        lines = len(self._note(scene, pen)) * pen.line_height(theme.NOTE)
        height = 2 * pen.px(_MARGIN) + pen.line_height(theme.PRODUCT) + pen.px(_GAP) + lines
        if scene.view.page_url:
            height += pen.px(_CODE) + 2 * pen.px(_GAP) + pen.line_height(theme.FIGURE)
        box = pygame.Rect(0, 0, pen.px(_WIDTH), height)
        box.center = screen.center
        return box

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        """Draw all of it."""
        url = scene.view.page_url
        pen.card(target, box, theme.RAISED, theme.ORANGE if scene.view.is_open_to_network else theme.FAINT, radius=10)
        row = box.inflate(-2 * pen.px(_MARGIN), -2 * pen.px(_MARGIN))
        row.height = pen.line_height(theme.PRODUCT)
        pen.write(target, TITLE, row, theme.PRODUCT, "center")
        row.top = row.bottom + pen.px(_GAP)
        if url:
            code = pygame.Rect(0, row.top, pen.px(_CODE), pen.px(_CODE))
            code.centerx = box.centerx
            draw_code(target, code, url)
            row.top, row.height = code.bottom + pen.px(_GAP), pen.line_height(theme.FIGURE)
            lettering = pen.lettering_that_fits(url, row.width, (theme.FIGURE, theme.TITLE, theme.BODY, theme.LABEL))
            pen.write(target, url, row, lettering, "center")
            row.top = row.bottom + pen.px(_GAP)
        row.height = pen.line_height(theme.NOTE)
        for text in self._note(scene, pen):
            pen.write(target, text, row, theme.NOTE, "center")
            row.top = row.bottom

    @staticmethod
    def _note(scene: Scene, pen: Painter) -> list[str]:
        view = scene.view
        text = NOT_YET if not view.page_url else OPEN_TO_ALL if view.is_open_to_network else ONLY_HERE
        return pen.wrapped(text, pen.px(_WIDTH - 2 * _MARGIN), theme.NOTE, _ROWS_MAX)


def draw_code(target: pygame.Surface, box: pygame.Rect, text: str) -> None:
    """Draw `text` as a QR code into a box: whole pixels a module, so that every module is as large as each other."""
    modules = _modules(text)
    side = len(modules) + 2 * QUIET_MODULES
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
    """The code's rows, a byte a module, 1 where it is dark."""
    return tuple(bytes(row) for row in segno.make(text, error="m", micro=False).matrix)
