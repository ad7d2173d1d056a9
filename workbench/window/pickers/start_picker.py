"""The picker at the start: small cards of all that can be run, beside what runs already.

It lies on the lower panels and knobs, so that canvas, pipeline, figures and the upper panels are seen living on. Not
the full picker, which is opened later and has a sentence on each card: here only the card of the cursor has. Invariant:
every pick has its card, whole, at any size of the window; who picks nothing goes on with what runs.
"""

from collections.abc import Callable

from workbench.scenarios.catalog import Pick
from workbench.scenarios.scenario import PORTRAIT_SIZE, Scenario
from workbench.window.pickers.card_grid import NUMBERED, CardGrid
from workbench.window.toolkit import theme
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.toolkit import pygame

_PAD, _GAP, _HEAD, _FOOT, _NAME, _INNER = 12, 6, 26, 32, 18, 4
_HEIGHT_MIN = 290
"""In a low window it takes more than half of its room, or pictures would be too small to tell apart."""
_SENTENCE_ROWS = 2
_TITLE = "What would you like to see?"
_KEYS = "arrows and enter, or a click, begin another   Esc: go on with this"
_KEYS_SHORT = "enter begins another   Esc: go on"


class StartPicker:
    """Cards over a part of the window; while they are there, keys are theirs, and a click beside them is the end."""

    def __init__(self, on_pick: Callable[[Scenario], None], on_refuse: Callable[[str, int], None]) -> None:
        self.deck = CardGrid(on_pick, on_refuse, goes_on=True)
        self.room = pygame.Rect(0, 0, 0, 0)
        """Where panels and knobs are: it takes the lower half."""
        self._box, self._pen, self._columns = self.room, Painter(1), 1

    @property
    def shown(self) -> bool:
        """Whether it is there."""
        return self.deck.shown

    def open(self, scene: Scene) -> None:
        """Ask, with the cursor on what runs already."""
        self.deck.open(scene)

    def close(self) -> None:
        """Go on with what runs."""
        self.deck.shown = False

    def content(self, scene: Scene) -> object:
        """The card of the cursor and the place, or None; see `Overlay`."""
        state = (self.deck.cursor, self.deck.running, scene.loading, theme.name, self.room.topleft)
        return state if self.shown else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """The lower half of its room."""
        top = min(self.room.centery, self.room.bottom - pen.px(_HEIGHT_MIN))
        box = pygame.Rect(self.room.left, top, self.room.width, self.room.bottom - top).clip(screen)
        self._box, self._pen = box, pen
        self._columns = self._best_columns()
        return box.copy()

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        """Draw all of it."""
        pen.card(target, box, theme.RAISED, theme.SKY, radius=8)
        inner = box.inflate(-2 * pen.px(_PAD), 0)
        head = pygame.Rect(inner.left, box.top + pen.px(4), inner.width, pen.px(_HEAD))
        title = pen.write(target, _TITLE, head, theme.TITLE)
        left = title.right + pen.px(30)
        pen.dot(target, (left - pen.px(11), head.centery), theme.GREEN)
        rest = pygame.Rect(left, head.top, head.right - left, head.height)
        running = f"{scene.view.scenario_name} {'is starting' if scene.loading else 'runs already'}"
        note = pen.write(target, running, rest, theme.GOOD_NAME)
        rest.width, rest.left = rest.right - note.right - pen.px(14), note.right + pen.px(14)
        keys = pen.first_that_fits((_KEYS, _KEYS_SHORT), rest.width, theme.LABEL)
        pen.write(target, keys, rest, theme.LABEL, "right")
        for index, pick in enumerate(self.deck.picks):
            self._draw_card(target, index, pick, self.card(index))
        foot = pygame.Rect(inner.left, box.bottom - pen.px(_FOOT + 4), inner.width, pen.px(_FOOT))
        self._draw_sentence(target, foot)

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """Pick by mouse or keys. It takes all that the mouse does over it, and every key it knows."""
        if event.type == pygame.KEYDOWN:
            return self.deck.press_key(event.key, self._columns, now_ns)
        if event.type in (pygame.MOUSEMOTION, pygame.MOUSEBUTTONDOWN):
            self.deck.point(event, self.card, now_ns)
        return True

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        """Nothing: the sentence under the cards says it."""
        return ""

    def leave(self, position: tuple[int, int]) -> bool:
        """Somebody pressed there. True when that was beside it, and it is gone."""
        if not self.shown or self._box.collidepoint(position):
            return False
        self.close()
        return True

    def card(self, index: int) -> pygame.Rect:
        """Where the card of a pick is."""
        row, column = divmod(index, self._columns)
        (width, height), gap = self._card_size(self._columns), self._pen.px(_GAP)
        area = self._area()
        return pygame.Rect(area.left + column * (width + gap), area.top + row * (height + gap), width, height)

    def _area(self) -> pygame.Rect:
        """What is left for cards."""
        pen, box = self._pen, self._box
        top = box.top + pen.px(_HEAD + 8)
        bottom = box.bottom - pen.px(_FOOT + 8)
        return pygame.Rect(box.left + pen.px(_PAD), top, box.width - 2 * pen.px(_PAD), max(1, bottom - top))

    def _card_size(self, columns: int) -> tuple[int, int]:
        area, gap = self._area(), self._pen.px(_GAP)
        rows = -(-len(self.deck.picks) // columns)
        return (area.width - (columns - 1) * gap) // columns, (area.height - (rows - 1) * gap) // rows

    def _picture_size(self, columns: int) -> tuple[int, int]:
        """As large as a picture can be over its name, in whole pixels."""
        width, height = self._card_size(columns)
        edge = 2 * self._pen.px(_INNER)
        high = min(height - edge - self._pen.px(_NAME), (width - edge) * PORTRAIT_SIZE[1] // PORTRAIT_SIZE[0])
        high = max(1, high)
        return high * PORTRAIT_SIZE[0] // PORTRAIT_SIZE[1], high

    def _best_columns(self) -> int:
        """So many that the pictures are largest, of those that leave room for all names."""
        pen, counts = self._pen, range(1, len(self.deck.picks) + 1)
        widest = max(pen.width(_short(pick), theme.SMALL_TEXT) for pick in self.deck.picks) + pen.px(2 * _INNER)
        roomy = [count for count in counts if self._card_size(count)[0] >= widest]
        return max(roomy or counts[:1], key=self._picture_size)

    def _draw_card(self, target: pygame.Surface, index: int, pick: Pick, box: pygame.Rect) -> None:
        pen, is_under = self._pen, index == self.deck.cursor
        pen.card(target, box, theme.BACKGROUND if is_under else theme.SURFACE, theme.SKY if is_under else theme.LINE)
        if is_under:
            pygame.draw.rect(target, theme.SKY, box, width=pen.px(2), border_radius=pen.px(6))
        size = self._picture_size(self._columns)
        place = pygame.Rect((0, 0), size)
        place.midtop = (box.centerx, box.top + pen.px(_INNER))
        target.blit(self.deck.picture(index, size), place)
        inset = pen.px(_INNER)
        if index == self.deck.running:
            corner = (box.right - pen.px(9), box.top + pen.px(9))
            pen.dot(target, corner, theme.BACKGROUND, 6)
            pen.dot(target, corner, theme.GREEN)
        name = pygame.Rect(box.left + inset, place.bottom, box.width - 2 * inset, box.bottom - place.bottom)
        self._draw_name(target, index, pick, name)

    def _draw_name(self, target: pygame.Surface, index: int, pick: Pick, room: pygame.Rect) -> None:
        pen = self._pen
        number = f"{index + 1}  " if index < NUMBERED else ""
        texts = (f"{number}{pick.label}", f"{number}{_short(pick)}", _short(pick))
        for lettering in (theme.VALUE, theme.SMALL_TEXT):
            text = pen.first_that_fits(texts, room.width, lettering)
            if pen.width(text, lettering) <= room.width:
                break
        pen.write(target, text, room, lettering, "center")

    def _draw_sentence(self, target: pygame.Surface, room: pygame.Rect) -> None:
        """What the card of the cursor teaches, or why it cannot run here."""
        pen, pick = self._pen, self.deck.picks[self.deck.cursor]
        name = pen.write(target, pick.label, room, theme.CARD)
        rest = pygame.Rect(name.right + pen.px(10), room.top, room.right - name.right - pen.px(10), room.height)
        refusal = pick.refusal()
        text, lettering = (refusal, theme.WARNING) if refusal else (pick.text, theme.NOTE)
        if pen.width(text, lettering) > rest.width and not refusal:
            lettering = theme.LABEL
        rows, line = pen.wrapped(text, rest.width, lettering, _SENTENCE_ROWS), pen.line_height(lettering)
        top = rest.centery - len(rows) * line // 2
        for index, row in enumerate(rows):
            pen.write(target, row, pygame.Rect(rest.left, top + index * line, rest.width, line), lettering)


def _short(pick: Pick) -> str:
    """What it is called where there is little room."""
    return f"{pick.name}, {pick.variant}" if pick.variant else pick.name
