"""The bottleneck, named in a line with its evidence, and the card that opens at "why?" with the steps of the rule.

It says what `View.diagnosis` holds and judges nothing. Invariant: a sentence that is too long for the line is whole in
the tip and in the card.
"""

from collections.abc import Callable

from workbench.telemetry.view import Diagnosis
from workbench.window.toolkit import theme
from workbench.window.toolkit.glossary import explain
from workbench.window.toolkit.keys import ENTER
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.theme import Lettering
from workbench.window.toolkit.toolkit import pygame

WHY = "why?"
_PAD, _GAP = 14, 16
_CARD_WIDTH, _CARD_ROWS_MAX, _CARD_LINE_ROWS = 760, 40, 4


def headline(diagnosis: Diagnosis) -> str:
    """What limits the run, in two words."""
    if not diagnosis.bottleneck:
        return "Bottleneck"
    return "No bottleneck" if diagnosis.bottleneck == "none" else f"Bottleneck: {diagnosis.bottleneck}"


def sentence(diagnosis: Diagnosis) -> str:
    """The evidence, or that there is none yet."""
    return diagnosis.sentence if diagnosis.bottleneck else "none can be told yet: the load has to run for a moment"


class DiagnosisLine:
    """Draws the line; "why?" is pressed by click, enter or key."""

    def __init__(self, on_why: Callable[[], None]) -> None:
        self._on_why = on_why
        self._focused = False

    def place(self, box: pygame.Rect, pen: Painter) -> None:
        """Take this box; see `Drawable`."""
        self._box, self._pen = box, pen
        width = pen.width(WHY, theme.LINK) + 2 * pen.px(_PAD)
        self._why = pygame.Rect(box.right - width, box.top, width, box.height)
        self.forget()

    def forget(self) -> None:
        """Draw all of it next time."""
        self._drawn: tuple[object, ...] | None = None
        self._reading: object = None

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        """Draw what changed, with the figures. Returns the rectangles that did."""
        if scene.reading is not self._reading:
            self._reading, self._diagnosis = scene.reading, scene.view.diagnosis
        wanted = (self._diagnosis.bottleneck, self._diagnosis.sentence, self._diagnosis.runner_up, self._focused)
        if wanted == self._drawn:
            return []
        self._drawn = wanted
        self._draw_line(target, self._diagnosis)
        return [self._box]

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """A click anywhere on the line, or enter, opens and closes the card."""
        pressed = event.type == pygame.MOUSEBUTTONDOWN and event.button == 1
        entered = event.type == pygame.KEYDOWN and self._focused and event.key in ENTER
        if pressed or entered:
            self._on_why()
        return pressed or entered

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        """What a bottleneck is, and the whole sentence."""
        diagnosis = scene.view.diagnosis
        return f"{explain('bottleneck')}\n{sentence(diagnosis)}" + (
            f"\nNext: {diagnosis.runner_up}" if diagnosis.runner_up else ""
        )

    def step_focus(self, step: int) -> bool:
        """The line has one item: "why?"."""
        self._focused = not self._focused
        return self._focused

    def drop_focus(self) -> None:
        """It has the focus no more."""
        self._focused = False

    def _draw_line(self, target: pygame.Surface, diagnosis: Diagnosis) -> None:
        pen, box = self._pen, self._box
        is_told, is_none = bool(diagnosis.bottleneck), diagnosis.bottleneck == "none"
        edge = theme.LINE if not is_told else theme.GREEN if is_none else theme.ORANGE
        target.fill(theme.BACKGROUND, box)
        pen.card(target, box, theme.SURFACE, edge)
        lettering = theme.BODY if not is_told else theme.GOOD_NAME if is_none else theme.WARNING_NAME
        left = box.left + pen.px(_PAD)
        name = pen.write(
            target, headline(diagnosis), pygame.Rect(left, box.top, self._why.left - left, box.height), lettering
        )
        left = name.right + pen.px(_GAP)
        rest = pygame.Rect(left, box.top, self._why.left - left, box.height)
        self._draw_sentence(target, diagnosis, rest)
        pen.write(target, WHY, self._why, theme.LINK, "center")
        if self._focused:
            pen.ring(target, self._why.inflate(-pen.px(8), -pen.px(8)))

    def _draw_sentence(self, target: pygame.Surface, diagnosis: Diagnosis, room: pygame.Rect) -> None:
        """With what would be next where there is room for both, in smaller letters where the sentence needs it."""
        pen, text = self._pen, sentence(diagnosis)
        runner_up = f"Next: {diagnosis.runner_up}" if diagnosis.runner_up else ""
        small = theme.SMALL_TEXT if diagnosis.bottleneck else theme.SMALL
        lettering: Lettering = theme.BODY if diagnosis.bottleneck else theme.NOTE
        if pen.width(text, lettering) > room.width:
            lettering = small
        written = pen.write(target, text, room, lettering)
        left = written.right + pen.px(_GAP)
        rest = pygame.Rect(left, room.top, max(0, room.right - left), room.height)
        if pen.width(runner_up, theme.NOTE) <= rest.width:
            pen.write(target, runner_up, rest, theme.NOTE)


class Explanation:
    """The card under the line: the sentence, what would be next, and the steps of the rule as they came out."""

    def __init__(self) -> None:
        self.shown = False
        self.above = pygame.Rect(0, 0, 0, 0)
        """What the card hangs under: it must not hide the stages that it speaks of."""

    def content(self, scene: Scene) -> object:
        """The diagnosis; see `Overlay`."""
        return scene.view.diagnosis if self.shown else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """Under the pipeline, at its right end."""
        height = len(self._rows(scene, pen)) * pen.line_height(theme.BODY) + 2 * pen.px(_PAD)
        box = pygame.Rect(0, 0, pen.px(_CARD_WIDTH), height)
        box.topright = (self.above.right, self.above.bottom + pen.px(4))
        return box.clip(screen)

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        """Draw all of it."""
        pen.card(target, box, theme.RAISED, theme.FAINT)
        height = pen.line_height(theme.BODY)
        row = pygame.Rect(box.left + pen.px(_PAD), box.top + pen.px(_PAD), box.width - 2 * pen.px(_PAD), height)
        for index, (text, is_head) in enumerate(self._rows(scene, pen)):
            pen.write(target, text, row.move(0, index * height), theme.TITLE if is_head else theme.NOTE)

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """A click closes it."""
        if event.type != pygame.MOUSEBUTTONDOWN:
            return False
        self.shown = False
        return True

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        """Nothing: it says all itself."""
        return ""

    def step_focus(self, step: int) -> bool:
        """There is nothing in it to press; it closes by a key."""
        return False

    def drop_focus(self) -> None:
        """It never has the focus."""

    @staticmethod
    def _rows(scene: Scene, pen: Painter) -> list[tuple[str, bool]]:
        diagnosis = scene.view.diagnosis
        lines = [
            sentence(diagnosis),
            *([f"Next: {diagnosis.runner_up}"] if diagnosis.runner_up else []),
            *diagnosis.explanation,
        ]
        width = pen.px(_CARD_WIDTH - 2 * _PAD)
        rows = [(row, False) for line in lines for row in pen.wrapped(line, width, theme.NOTE, _CARD_LINE_ROWS)]
        return [(headline(diagnosis), True), *rows][:_CARD_ROWS_MAX]
