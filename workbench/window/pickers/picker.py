"""The scenario picker: everything that can be run, a card each, over the whole window.

A card has the picture of a real run and a sentence on what it teaches. Invariant: every pick has its card, whole, at
any size of the window.
"""

from collections.abc import Callable

from workbench.scenarios.catalog import Pick
from workbench.scenarios.scenario import PORTRAIT_SIZE, Scenario
from workbench.window.pickers.card_grid import NUMBERED, CardGrid
from workbench.window.toolkit import theme
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.toolkit import pygame

COLUMNS = 3
_MARGIN, _GAP, _HEAD, _FOOT, _PAD = 24, 10, 50, 26, 9
_FOOT_TEXT = (
    "arrows and enter, or a click: end this run and begin that one   1 to 9: at once   Esc: go on with this one"
)
_TEXT_ROWS_MAX = 6
_LARGE, _LARGE_SIZE = 130, 15
"""A card so high has letters so large."""


class Picker:
    """A page of cards; while it is open, mouse and keys are its own."""

    def __init__(self, on_pick: Callable[[Scenario], None], on_refuse: Callable[[str, int], None]) -> None:
        self.deck = CardGrid(on_pick, on_refuse)
        self._screen, self._pen = pygame.Rect(0, 0, 0, 0), Painter(1)

    @property
    def shown(self) -> bool:
        """Whether it is open."""
        return self.deck.shown

    def open(self, scene: Scene) -> None:
        """Show the cards, with the cursor on what runs now."""
        self.deck.open(scene)

    def close(self) -> None:
        """Go on with what runs."""
        self.deck.shown = False

    def content(self, scene: Scene) -> object:
        """The card of the cursor, or None; see `Overlay`."""
        return (self.deck.cursor, self.deck.running, theme.name) if self.shown else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """All of the window."""
        self._screen, self._pen = screen.copy(), pen
        return screen.copy()

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        """Draw all of it."""
        target.fill(theme.BACKGROUND, box)
        head = pygame.Rect(box.left + pen.px(_MARGIN), box.top, box.width - pen.px(2 * _MARGIN), pen.px(_HEAD))
        letters = pen.write(target, "What would you like to see?", head, theme.PRODUCT)
        note = pygame.Rect(letters.right + pen.px(16), head.top, head.right - letters.right - pen.px(16), head.height)
        pen.write(target, "Real runs, a picture each: the canvas, and the plot that tells most", note, theme.NOTE)
        for index, pick in enumerate(self.deck.picks):
            self._draw_card(target, index, pick, self.card(index))
        foot = pygame.Rect(head.left, box.bottom - pen.px(_FOOT + 4), head.width, pen.px(_FOOT))
        pen.write(target, _FOOT_TEXT, foot, theme.STATUS_DIM)

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """Pick by mouse or keys. While it is open it takes all of the mouse, and every key it knows."""
        if event.type == pygame.KEYDOWN:
            return self.deck.press_key(event.key, COLUMNS, now_ns)
        if event.type in (pygame.MOUSEMOTION, pygame.MOUSEBUTTONDOWN):
            self.deck.point(event, self.card, now_ns)
        return True

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        """Nothing: it says all itself."""
        return ""

    def card(self, index: int) -> pygame.Rect:
        """Where the card of a pick is."""
        pen, screen = self._pen, self._screen
        rows = -(-len(self.deck.picks) // COLUMNS)
        gap, left, top = pen.px(_GAP), screen.left + pen.px(_MARGIN), screen.top + pen.px(_HEAD)
        width = (screen.right - pen.px(_MARGIN) - left - (COLUMNS - 1) * gap) // COLUMNS
        height = (screen.bottom - pen.px(_FOOT + _GAP) - top - (rows - 1) * gap) // rows
        row, column = divmod(index, COLUMNS)
        return pygame.Rect(left + column * (width + gap), top + row * (height + gap), width, height)

    def _draw_card(self, target: pygame.Surface, index: int, pick: Pick, box: pygame.Rect) -> None:
        pen, is_under = self._pen, index == self.deck.cursor
        pen.card(target, box, theme.RAISED if is_under else theme.SURFACE, theme.SKY if is_under else theme.LINE)
        if is_under:
            pygame.draw.rect(target, theme.SKY, box, width=pen.px(2), border_radius=pen.px(6))
        inner = box.inflate(-2 * pen.px(_PAD), -2 * pen.px(_PAD))
        height = min(inner.height, inner.width // 2 * PORTRAIT_SIZE[1] // PORTRAIT_SIZE[0])
        size = (height * PORTRAIT_SIZE[0] // PORTRAIT_SIZE[1], height)
        picture = target.blit(self.deck.picture(index, size), inner.topleft)
        left = picture.right + pen.px(12)
        text = pygame.Rect(left, inner.top, inner.right - left, inner.height)
        self._draw_text(target, index, pick, text)

    def _draw_text(self, target: pygame.Surface, index: int, pick: Pick, room: pygame.Rect) -> None:
        """The name, the sentence, and at last whether it runs now or cannot."""
        pen = self._pen
        is_large = room.height >= pen.px(_LARGE)
        height, name = (pen.px(24), theme.TITLE) if is_large else (pen.px(18), theme.CARD)
        number = f"{index + 1}  " if index < NUMBERED else ""
        note, note_lettering = self._note(index, pick)
        pen.write(target, f"{number}{pick.label}", pygame.Rect(room.topleft, (room.width, height)), name)
        foot = pen.line_height(note_lettering) if note else 0
        for lettering in (theme.Lettering(_LARGE_SIZE, theme.DIM), theme.NOTE, theme.LABEL, theme.SMALL)[
            not is_large :
        ]:
            rows, line = pen.wrapped(pick.text, room.width, lettering, _TEXT_ROWS_MAX), pen.line_height(lettering)
            if height + len(rows) * line + foot <= room.height and pen.width(rows[-1], lettering) <= room.width:
                break
        for number_of_row, row in enumerate(rows):
            top = room.top + height + number_of_row * line
            pen.write(target, row, pygame.Rect(room.left, top, room.width, line), lettering)
        if note:
            pen.write(target, note, pygame.Rect(room.left, room.bottom - foot, room.width, foot), note_lettering)

    def _note(self, index: int, pick: Pick) -> tuple[str, theme.Lettering]:
        refusal = pick.refusal()
        if refusal:
            return refusal, theme.WARNING
        return ("runs now", theme.LINK) if index == self.deck.running else ("", theme.SMALL)
