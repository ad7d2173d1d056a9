"""The scenario pickers: cards of everything that can be run, over the whole window or, at the start, over a part of it.

A card has a picture of a real run; only the full picker has room for a sentence on each. Every scenario has
its card, entirely visible at any window size; what is picked can run on this machine, otherwise the reason is shown.
"""

from collections.abc import Callable

from workbench.scenarios.catalog import Pick, all_picks
from workbench.scenarios.scenario import PORTRAIT_SIZE, Scenario
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.view import Handler, Overlay

_PICKING = (pygame.K_RETURN, pygame.K_KP_ENTER)
_CLOSING = (pygame.K_ESCAPE, pygame.K_q, pygame.K_l)
# Number of cards with a digit key of their own.
NUMBERED = 9
_TITLE = "What would you like to see?"


class CardGrid(Overlay, Handler):
    """Cards with a cursor, worked by mouse and keys. A subclass says where the cards are and draws them.

    `on_pick` gets the picked scenario; `on_refuse` gets the reason why one cannot run, and the time. With
    `keep_running`, picking the running scenario just closes the picker; without, the scenario is restarted.
    """

    columns = 1

    def __init__(
        self, on_pick: Callable[[Scenario], None], on_refuse: Callable[[str, int], None], *, keep_running: bool = False
    ) -> None:
        self._on_pick, self._on_refuse, self._keep_running = on_pick, on_refuse, keep_running
        self.shown = False
        self.picks: tuple[Pick, ...] = ()
        self.cursor = 0
        self.running: int | None = None
        """Index of the running scenario; None: it is not among the picks."""
        self._pictures: list[pygame.Surface] = []
        self._scaled: dict[tuple[int, int, int], pygame.Surface] = {}
        self._box, self._pen = pygame.Rect(0, 0, 0, 0), Painter(1)

    def open(self, scene: Scene) -> None:
        """Show the cards, with the cursor on the running scenario. Raises UserError or OSError for a missing file."""
        if not self.picks:  # Reading the pictures takes a moment, so it waits for the first use.
            picks = all_picks()
            self._pictures = [pygame.image.load(pick.picture) for pick in picks]
            self.picks = picks  # Last, so that a failure leaves no cards without pictures.
        self.shown = True
        scenario = scene.session.controls.scenario
        # By name and kind of server: a run with changed settings is still its pick.
        self.running = next((i for i, pick in enumerate(self.picks) if pick.is_of(scenario)), None)
        self.cursor = self.running or 0

    def close(self) -> None:
        """Hide the cards and leave the running scenario alone."""
        self.shown = False

    def card(self, index: int) -> pygame.Rect:
        """The box of a card."""
        raise NotImplementedError

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        if event.type == pygame.KEYDOWN:
            return self._press_key(event.key, now_ns)
        if event.type in (pygame.MOUSEMOTION, pygame.MOUSEBUTTONDOWN):
            under = next((i for i in range(len(self.picks)) if self.card(i).collidepoint(event.pos)), None)
            if under is not None:
                self.cursor = under
                if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
                    self.pick(now_ns)
        # The cards are modal for the mouse, so that a missed click starts or changes nothing.
        return True  # Nothing under the cards may get the mouse.

    def pick(self, now_ns: int) -> None:
        """Run the scenario at the cursor, if this machine can."""
        pick = self.picks[self.cursor]
        # At the start, picking the running scenario means to keep watching it.
        if self._keep_running and self.cursor == self.running:
            self.close()
            return
        # Checked at the pick, not at the start: a broker may have been installed meanwhile.
        reason = pick.refusal()
        if reason:
            self._on_refuse(f"{pick.label} {reason}", now_ns)
            return
        self.close()
        self._on_pick(pick.scenario)

    def _press_key(self, key: int, now_ns: int) -> bool:
        steps = {
            pygame.K_LEFT: -1,
            pygame.K_RIGHT: 1,
            pygame.K_TAB: 1,
            pygame.K_UP: -self.columns,
            pygame.K_DOWN: self.columns,
        }
        number = key - pygame.K_1
        if key in steps:
            self.cursor = min(max(self.cursor + steps[key], 0), len(self.picks) - 1)
        elif 0 <= number < min(NUMBERED, len(self.picks)):
            self.cursor = number
            self.pick(now_ns)
        elif key in _PICKING:
            self.pick(now_ns)
        elif key in _CLOSING:
            self.close()
        else:
            return False
        return True

    def _picture(self, index: int, size: tuple[int, int]) -> pygame.Surface:
        """A card's picture at this size in pixels. Only one size is kept."""
        key = (index, *size)
        if key not in self._scaled:
            # After a resize, pictures of the old size are dropped as new ones are made.
            self._scaled = {kept: surface for kept, surface in self._scaled.items() if kept[1:] == size}
            self._scaled[key] = pygame.transform.smoothscale(self._pictures[index].convert(32), size)
        return self._scaled[key]

    def _draw_background(self, target: pygame.Surface, index: int, box: pygame.Rect, raised: theme.Color) -> None:
        """The background of a card: `raised` and ringed at the cursor."""
        pen, colors, is_under = self._pen, self._pen.theme, index == self.cursor
        pen.card(target, box, raised if is_under else colors.surface, colors.sky if is_under else colors.line)
        if is_under:
            pygame.draw.rect(target, colors.sky, box, width=pen.px(2), border_radius=pen.px(6))

    @staticmethod
    def _number(index: int) -> str:
        return f"{index + 1}  " if index < NUMBERED else ""


class Picker(CardGrid):
    """The full picker, over the whole window."""

    columns = 3
    _MARGIN, _GAP, _HEAD, _FOOT, _PAD = 24, 10, 50, 26, 9
    _NOTE = "Snapshots of real runs: the canvas and the most telling chart"
    _KEYS = (
        "arrows and enter, or click: start that scenario (stops this one)   1 to 9: directly   Esc: continue this one"
    )
    _TEXT_ROWS_MAX = 6
    # From this height on, a card has text of this size.
    _LARGE_HEIGHT_MIN, _LARGE_SIZE = 130, 15

    def content(self, scene: Scene) -> object:
        return (self.cursor, self.running) if self.shown else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        self._box, self._pen = screen.copy(), pen
        return screen.copy()

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        target.fill(pen.theme.background, box)
        margin = pen.px(self._MARGIN)
        head = pygame.Rect(box.left + margin, box.top, box.width - 2 * margin, pen.px(self._HEAD))
        letters = pen.write(target, _TITLE, head, theme.PRODUCT)
        note = pygame.Rect(letters.right + pen.px(16), head.top, head.right - letters.right - pen.px(16), head.height)
        pen.write(target, self._NOTE, note, theme.NOTE)
        for index, pick in enumerate(self.picks):
            self._draw_card(target, index, pick, self.card(index))
        foot = pygame.Rect(head.left, box.bottom - pen.px(self._FOOT + 4), head.width, pen.px(self._FOOT))
        pen.write(target, self._KEYS, foot, theme.STATUS_DIM)

    def card(self, index: int) -> pygame.Rect:
        pen, screen = self._pen, self._box
        rows = -(-len(self.picks) // self.columns)
        gap, left, top = pen.px(self._GAP), screen.left + pen.px(self._MARGIN), screen.top + pen.px(self._HEAD)
        width = (screen.right - pen.px(self._MARGIN) - left - (self.columns - 1) * gap) // self.columns
        height = (screen.bottom - pen.px(self._FOOT + self._GAP) - top - (rows - 1) * gap) // rows
        row, column = divmod(index, self.columns)
        return pygame.Rect(left + column * (width + gap), top + row * (height + gap), width, height)

    def _draw_card(self, target: pygame.Surface, index: int, pick: Pick, box: pygame.Rect) -> None:
        pen = self._pen
        self._draw_background(target, index, box, pen.theme.raised)
        inner = box.inflate(-2 * pen.px(self._PAD), -2 * pen.px(self._PAD))
        # A picture takes at most half of the card's width: the sentence needs the rest.
        height = min(inner.height, inner.width // 2 * PORTRAIT_SIZE[1] // PORTRAIT_SIZE[0])
        size = (height * PORTRAIT_SIZE[0] // PORTRAIT_SIZE[1], height)
        picture = target.blit(self._picture(index, size), inner.topleft)
        left = picture.right + pen.px(12)
        self._draw_text(target, index, pick, pygame.Rect(left, inner.top, inner.right - left, inner.height))

    def _draw_text(self, target: pygame.Surface, index: int, pick: Pick, room: pygame.Rect) -> None:
        """The name, the sentence, and last whether it is running or cannot run."""
        pen = self._pen
        is_large = room.height >= pen.px(self._LARGE_HEIGHT_MIN)
        height, name = (pen.px(24), theme.TITLE) if is_large else (pen.px(18), theme.CARD)
        note, note_lettering = self._note(index, pick)
        pen.write(target, f"{self._number(index)}{pick.label}", pygame.Rect(room.topleft, (room.width, height)), name)
        foot = pen.line_height(note_lettering) if note else 0
        letterings = (theme.Lettering(self._LARGE_SIZE, "dim"), theme.NOTE, theme.LABEL, theme.SMALL)[not is_large :]
        # If none fits, the smallest is used, and the last row ends in an ellipsis.
        for lettering in letterings:  # The largest in which the sentence fits.
            rows, line = pen.wrapped(pick.text, room.width, lettering, self._TEXT_ROWS_MAX), pen.line_height(lettering)
            if height + len(rows) * line + foot <= room.height and pen.width(rows[-1], lettering) <= room.width:
                break
        pen.write_rows(target, rows, room.move(0, height), lettering)
        if note:
            pen.write(target, note, pygame.Rect(room.left, room.bottom - foot, room.width, foot), note_lettering)

    def _note(self, index: int, pick: Pick) -> tuple[str, theme.Lettering]:
        refusal = pick.refusal()
        if refusal:
            return refusal, theme.WARNING
        return ("running", theme.LINK) if index == self.running else ("", theme.SMALL)


class StartPicker(CardGrid):
    """The picker at the start: small cards over the lower panels and knobs, while the run beside them is visible.

    A click outside closes it. Only the card at the cursor has its sentence shown.
    """

    _PAD, _GAP, _HEAD, _FOOT, _NAME, _INNER = 12, 6, 26, 32, 18, 4
    # In a low window it takes more than half of its room; otherwise pictures would be too small to recognise.
    _HEIGHT_MIN = 290
    _SENTENCE_ROWS = 2
    _KEYS = (
        "arrows and enter, or click: start another   Esc: continue with this scenario",
        "enter: start another   Esc: continue",
    )

    def __init__(self, on_pick: Callable[[Scenario], None], on_refuse: Callable[[str, int], None]) -> None:
        super().__init__(on_pick, on_refuse, keep_running=True)
        self.room = pygame.Rect(0, 0, 0, 0)
        """The box of panels and knobs: the picker covers its lower half."""

    def content(self, scene: Scene) -> object:
        return (self.cursor, self.running, scene.loading, self.room.topleft) if self.shown else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        # The upper half stays visible, with the first panels of the run.
        top = min(self.room.centery, self.room.bottom - pen.px(self._HEIGHT_MIN))
        box = pygame.Rect(self.room.left, top, self.room.width, self.room.bottom - top).clip(screen)
        self._box, self._pen = box, pen
        self.columns = self._best_columns()
        return box.copy()

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        pen.card(target, box, pen.theme.raised, pen.theme.sky, radius=8)
        inner = box.inflate(-2 * pen.px(self._PAD), 0)
        head = pygame.Rect(inner.left, box.top + pen.px(4), inner.width, pen.px(self._HEAD))
        title = pen.write(target, _TITLE, head, theme.TITLE)
        left = title.right + pen.px(30)
        pen.dot(target, (left - pen.px(11), head.centery), pen.theme.green)
        rest = pygame.Rect(left, head.top, head.right - left, head.height)
        running = f"{scene.view.scenario_name} is {'starting' if scene.loading else 'running'}"
        note = pen.write(target, running, rest, theme.GOOD_NAME)
        rest.width, rest.left = rest.right - note.right - pen.px(14), note.right + pen.px(14)
        keys = pen.first_that_fits(self._KEYS, rest.width, theme.LABEL)
        pen.write(target, keys, rest, theme.LABEL, "right")
        for index, pick in enumerate(self.picks):
            self._draw_card(target, index, pick, self.card(index))
        foot = pygame.Rect(inner.left, box.bottom - pen.px(self._FOOT + 4), inner.width, pen.px(self._FOOT))
        self._draw_sentence(target, foot)

    def leave(self, position: tuple[int, int]) -> bool:
        """Close the picker if a press at `position` is outside of it. True then."""
        if not self.shown or self._box.collidepoint(position):
            return False
        self.close()
        return True

    def card(self, index: int) -> pygame.Rect:
        row, column = divmod(index, self.columns)
        (width, height), gap = self._card_size(self.columns), self._pen.px(self._GAP)
        area = self._area()
        return pygame.Rect(area.left + column * (width + gap), area.top + row * (height + gap), width, height)

    def _area(self) -> pygame.Rect:
        """The space for cards."""
        pen, box = self._pen, self._box
        top = box.top + pen.px(self._HEAD + 8)
        bottom = box.bottom - pen.px(self._FOOT + 8)
        return pygame.Rect(box.left + pen.px(self._PAD), top, box.width - 2 * pen.px(self._PAD), max(1, bottom - top))

    def _card_size(self, columns: int) -> tuple[int, int]:
        area, gap = self._area(), self._pen.px(self._GAP)
        rows = -(-len(self.picks) // columns)
        return (area.width - (columns - 1) * gap) // columns, (area.height - (rows - 1) * gap) // rows

    def _picture_size(self, columns: int) -> tuple[int, int]:
        """The largest size of a picture above its name."""
        width, height = self._card_size(columns)
        edge = 2 * self._pen.px(self._INNER)
        high = min(height - edge - self._pen.px(self._NAME), (width - edge) * PORTRAIT_SIZE[1] // PORTRAIT_SIZE[0])
        high = max(1, high)
        return high * PORTRAIT_SIZE[0] // PORTRAIT_SIZE[1], high

    def _best_columns(self) -> int:
        """The number of columns with the largest pictures, among those that leave room for all names."""
        pen, counts = self._pen, range(1, len(self.picks) + 1)
        widest = max(pen.width(_short(pick), theme.SMALL_TEXT) for pick in self.picks) + pen.px(2 * self._INNER)
        # Two conditions against each other: few columns have room for names, many columns make rows low enough for
        # pictures.
        roomy = [count for count in counts if self._card_size(count)[0] >= widest]
        return max(roomy or counts[:1], key=self._picture_size)

    def _draw_card(self, target: pygame.Surface, index: int, pick: Pick, box: pygame.Rect) -> None:
        pen = self._pen
        self._draw_background(target, index, box, pen.theme.background)
        size = self._picture_size(self.columns)
        place, inset = pygame.Rect((0, 0), size), pen.px(self._INNER)
        place.midtop = (box.centerx, box.top + inset)
        target.blit(self._picture(index, size), place)
        if index == self.running:
            corner = (box.right - pen.px(9), box.top + pen.px(9))
            pen.dot(target, corner, pen.theme.background, 6)
            pen.dot(target, corner, pen.theme.green)
        name = pygame.Rect(box.left + inset, place.bottom, box.width - 2 * inset, box.bottom - place.bottom)
        self._draw_name(target, index, pick, name)

    def _draw_name(self, target: pygame.Surface, index: int, pick: Pick, room: pygame.Rect) -> None:
        pen, number = self._pen, self._number(index)
        texts = (f"{number}{pick.label}", f"{number}{_short(pick)}", _short(pick))
        for lettering in (theme.VALUE, theme.SMALL_TEXT):
            text = pen.first_that_fits(texts, room.width, lettering)
            if pen.width(text, lettering) <= room.width:
                break
        pen.write(target, text, room, lettering, "center")

    def _draw_sentence(self, target: pygame.Surface, room: pygame.Rect) -> None:
        """What the scenario at the cursor shows, or why it cannot run here."""
        pen, pick = self._pen, self.picks[self.cursor]
        name = pen.write(target, pick.label, room, theme.CARD)
        rest = pygame.Rect(name.right + pen.px(10), room.top, room.right - name.right - pen.px(10), room.height)
        refusal = pick.refusal()
        text, lettering = (refusal, theme.WARNING) if refusal else (pick.text, theme.NOTE)
        if pen.width(text, lettering) > rest.width and not refusal:
            lettering = theme.LABEL
        rows, line = pen.wrapped(text, rest.width, lettering, self._SENTENCE_ROWS), pen.line_height(lettering)
        rest.top = rest.centery - len(rows) * line // 2
        pen.write_rows(target, rows, rest, lettering)


def _short(pick: Pick) -> str:
    """The name where there is little room."""
    return f"{pick.name}, {pick.variant}" if pick.variant else pick.name
