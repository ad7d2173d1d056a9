"""The line that names the bottleneck with its evidence, and the card behind "why?" with the steps of the rule.

It only shows `View.diagnosis`. A sentence that is too long for the line is complete in the tooltip and in the card.
"""

from collections.abc import Callable

from workbench.telemetry.view import Diagnosis
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import ENTER
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.theme import Lettering
from workbench.window.toolkit.view import Drawable, Focusable, Overlay
from workbench.window.toolkit.wording import explain

WHY = "why?"
_PAD, _GAP = 14, 16
_CARD_WIDTH, _CARD_ROWS_MAX, _CARD_LINE_ROWS = 760, 40, 4


def headline(diagnosis: Diagnosis) -> str:
    """The bottleneck in two words."""
    if not diagnosis.bottleneck:
        return "Bottleneck"
    return "No bottleneck" if diagnosis.bottleneck == "none" else f"Bottleneck: {diagnosis.bottleneck}"


def sentence(diagnosis: Diagnosis) -> str:
    """The evidence, or that there is not enough yet."""
    return diagnosis.sentence if diagnosis.bottleneck else "Not enough data yet; waiting for the load to start"


class DiagnosisLine(Drawable, Focusable):
    """The line. A click anywhere on it, or enter on "why?", opens and closes the card."""

    def __init__(self, on_why: Callable[[], None]) -> None:
        self._on_why = on_why

    def _lay_out(self) -> None:
        box, pen = self._box, self._pen
        width = pen.width(WHY, theme.LINK) + 2 * pen.px(_PAD)
        self._why = pygame.Rect(box.right - width, box.top, width, box.height)

    def forget(self) -> None:
        super().forget()
        self._reading: object = None

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        """Draw what changed, with the figures. Returns the rectangles that did."""
        # The sentence holds figures, so it changes as often as the header's, not at every redraw.
        if scene.reading is not self._reading:
            self._reading, self._diagnosis = scene.reading, scene.view.diagnosis
        wanted = (self._diagnosis.bottleneck, self._diagnosis.sentence, self._diagnosis.runner_up, self._focused)
        if not self._changed(wanted):
            return []
        self._draw_line(target, self._diagnosis)
        return [self._box]

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        pressed = event.type == pygame.MOUSEBUTTONDOWN and event.button == 1
        entered = event.type == pygame.KEYDOWN and self._focused and event.key in ENTER
        if pressed or entered:
            self._on_why()
        return pressed or entered

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        diagnosis = scene.view.diagnosis
        return f"{explain('bottleneck')}\n{sentence(diagnosis)}" + (
            f"\nNext: {diagnosis.runner_up}" if diagnosis.runner_up else ""
        )

    def _draw_line(self, target: pygame.Surface, diagnosis: Diagnosis) -> None:
        pen, box = self._pen, self._box
        is_known, is_none = bool(diagnosis.bottleneck), diagnosis.bottleneck == "none"
        edge = pen.theme.line if not is_known else pen.theme.green if is_none else pen.theme.orange
        target.fill(pen.theme.background, box)
        pen.card(target, box, pen.theme.surface, edge)
        lettering = theme.BODY if not is_known else theme.GOOD_NAME if is_none else theme.WARNING_NAME
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
        """The sentence, in a smaller lettering if needed, and the runner-up if there is room for both."""
        pen, text = self._pen, sentence(diagnosis)
        runner_up = f"Next: {diagnosis.runner_up}" if diagnosis.runner_up else ""
        small = theme.SMALL_TEXT if diagnosis.bottleneck else theme.SMALL
        lettering: Lettering = theme.BODY if diagnosis.bottleneck else theme.NOTE
        # Still too long, it ends in an ellipsis; tooltip and card have all of it.
        if pen.width(text, lettering) > room.width:
            lettering = small
        written = pen.write(target, text, room, lettering)
        left = written.right + pen.px(_GAP)
        rest = pygame.Rect(left, room.top, max(0, room.right - left), room.height)
        if pen.width(runner_up, theme.NOTE) <= rest.width:
            pen.write(target, runner_up, rest, theme.NOTE)


class Explanation(Overlay, Focusable):
    """The card under the pipeline: the sentence, the runner-up, and the result of each step of the rule."""

    def __init__(self) -> None:
        self.shown = False
        self.above = pygame.Rect(0, 0, 0, 0)
        """The box of the pipeline: the card is below it, so that it does not cover the stages it is about."""

    def content(self, scene: Scene) -> object:
        return scene.view.diagnosis if self.shown else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        height = len(self._rows(scene, pen)) * pen.line_height(theme.BODY) + 2 * pen.px(_PAD)
        box = pygame.Rect(0, 0, pen.px(_CARD_WIDTH), height)
        box.topright = (self.above.right, self.above.bottom + pen.px(4))
        return box.clip(screen)

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        pen.card(target, box, pen.theme.raised, pen.theme.faint)
        height = pen.line_height(theme.BODY)
        row = pygame.Rect(box.left + pen.px(_PAD), box.top + pen.px(_PAD), box.width - 2 * pen.px(_PAD), height)
        for index, (text, is_head) in enumerate(self._rows(scene, pen)):
            pen.write(target, text, row.move(0, index * height), theme.TITLE if is_head else theme.NOTE)

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        if event.type != pygame.MOUSEBUTTONDOWN:
            return False
        self.shown = False
        return True

    def step_focus(self, step: int) -> bool:
        return False  # There is nothing to press; a key closes the card.

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
        # `content`, `box` and `draw` compute the rows separately: they depend on the scene and the pen alone.
        return [(headline(diagnosis), True), *rows][:_CARD_ROWS_MAX]
