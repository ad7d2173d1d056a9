"""The widgets of the column of knobs and their rows, for the controls of one session. It draws nothing.

Widgets are created once per session, so that one that is being dragged or typed into survives when rows are added or
removed. Every knob and every fault of the controls has a widget; brakes are selected by stage.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.controls.controls import Controls
from workbench.controls.knob import Knob
from workbench.window.knobs.load_curve_view import LoadCurveView
from workbench.window.knobs.widget import Button, Caption, Choice, Slider, Widget
from workbench.window.toolkit.wording import TERMS

BRAKES_LISTED_MAX = 3
# Width of a button around its text, in letters.
_ROOM = 6
BRAKES_CAPTION = "brakes"

# Widgets side by side, each with its share of the width.
Row = Sequence[tuple[Widget, int]]


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Actions outside the column. Each takes the time."""

    copy: Callable[[int], None]
    restart: Callable[[int], None]
    fold: Callable[[int], None]
    complain: Callable[[str, int], None]
    """Show a message."""


class KnobsColumn:
    """The rows of the column: a fixed head, a scrolling body and a fixed foot."""

    def __init__(self, controls: Controls, callbacks: Callbacks) -> None:
        self.controls, self._callbacks = controls, callbacks
        brakes = [knob for knob in controls.knobs if knob.is_brake]
        self.stages = tuple(dict.fromkeys(knob.label for knob in brakes))
        """Stages that have a brake, in pipeline order."""
        self.stage = self.stages[0] if self.stages else ""
        # Created once: a slider keeps what is half typed, and the time of the last press.
        self._sliders = {knob.key: Slider(controls, knob) for knob in controls.knobs if not knob.choices}
        self._choices = {knob.key: _choice(controls, knob) for knob in controls.knobs if knob.choices}
        self._curve = LoadCurveView(controls)
        self._faults = [self._fault_button(index) for index in range(len(controls.faults))]
        self._picker = Choice(
            "brake stage",
            "stage",
            "The stage whose brakes are set here; a click on its card selects it, too.",
            self.stages,
            lambda: self.stage,
            self._pick,
        )
        self._head = self._make_head()

    @property
    def shape(self) -> tuple[object, ...]:
        """Changes when the rows change."""
        controls = self.controls
        texts = tuple((knob.key, controls.text(knob.key)) for knob in controls.brakes_on)
        return self.stage, texts, controls.restart_wanted, bool(controls.load_curve)

    def head(self) -> list[Row]:
        """The title, and undo, redo and reset."""
        return [self._head]

    def body(self) -> list[Row]:
        """Knobs by group, the load curve, the brakes of the selected stage, the faults."""
        rows: list[Row] = []
        group = ""
        if self.controls.locked:
            rows.append([(Caption(self.controls.locked), 1)])
        for knob in self.controls.knobs:
            if knob.is_brake:
                continue
            # Knobs come in groups; the load curve follows the load's own knobs.
            if knob.group != group:
                if group == "load":
                    rows += self._curve_rows()
                group = knob.group
                rows.append([(Caption(group), 1)])
            rows.append([(self._choices[knob.key] if knob.choices else self._sliders[knob.key], 1)])
        if group == "load":
            rows += self._curve_rows()
        return [*rows, *self._brake_rows(), *self._fault_rows()]

    def foot(self) -> list[Row]:
        """Active brakes, each with a button to release it; restart and copy."""
        controls = self.controls
        on = controls.brakes_on
        # A forgotten brake would falsify every later figure, so active ones are always visible.
        rows: list[Row] = [[(self._release_button(knob), 1)] for knob in on[:BRAKES_LISTED_MAX]]
        if controls.restart_wanted:
            meaning = "Restart the run; some settings only take effect at start."
            rows.append(
                [(Button("restart", "restart with these settings", meaning, self._callbacks.restart, mark=" !"), 1)]
            )
        meaning = (
            "Copy the current settings and the faults injected so far as a scenario (TOML) that reproduces the run: "
            "to the clipboard and to a file."
        )
        copy = Button("copy", "copy as scenario", meaning, self._callbacks.copy)
        if len(on) < 2:
            return [*rows, [(copy, 1)]]
        release = Button("release all", f"release all {len(on)}", "Turn all brakes off.", controls.release_brakes)
        return [*rows, [(release, 4), (copy, 5)]]

    def _make_head(self) -> Row:
        controls, plain = self.controls, self._plain
        fold = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
        initial = "Reset all settings to the values at the start."
        return [
            (Caption("Knobs", "Settings that can be changed while it runs. Keys: Tab, arrows, digits."), 6),
            (plain("undo", "Undo the last change.", controls.undo, lambda: controls.can_undo), 5),
            (plain("redo", "Redo what was undone.", controls.redo, lambda: controls.can_redo), 5),
            (plain("reset", initial, controls.reset, lambda: bool(controls.changed)), 5),
            (Button("fold", fold, "Collapse the column.", self._callbacks.fold), 2),
        ]

    @staticmethod
    def _plain(word: str, meaning: str, act: Callable[[int], None], can: Callable[[], bool]) -> Button:
        return Button(word, word, meaning, act, unavailable=lambda: "" if can() else "nothing was changed")

    def _curve_rows(self) -> list[Row]:
        clear = self._plain(
            "clear",
            "Remove the curve: the load is constant.",
            lambda now_ns: self.controls.set_load_curve((), now_ns),
            lambda: bool(self.controls.load_curve),
        )
        return [[(Caption("load curve", TERMS["load curve"]), 3), (clear, 1)], [(self._curve, 1)]]

    def _brake_rows(self) -> list[Row]:
        if not self.stages:
            return []
        brakes = [knob for knob in self.controls.knobs if knob.is_brake and knob.label == self.stage]
        sliders: list[Row] = [[(self._sliders[knob.key], 1)] for knob in brakes]
        return [[(Caption(BRAKES_CAPTION, TERMS["brake"]), 1)], [(self._picker, 1)], *sliders]

    def _fault_rows(self) -> list[Row]:
        pairs = [self._faults[index : index + 2] for index in range(0, len(self._faults), 2)]
        # Shares by the length of the labels: two faults per row, none of them cut.
        rows: list[Row] = [[(button, len(button.label) + _ROOM) for button in pair] for pair in pairs]
        return [[(Caption("faults", TERMS["fault"]), 1)], *rows]

    def _fault_button(self, index: int) -> Button:
        button = self.controls.faults[index]

        def inject(now_ns: int) -> None:
            # Availability may change between the draw and the click, so the result is checked, too.
            reason = self.controls.fault(button.kind, now_ns)
            if reason:
                self._callbacks.complain(f"no fault: {reason}", now_ns)

        return Button(
            f"fault {button.kind}", button.label, button.meaning, inject, unavailable=lambda: button.unavailable
        )

    def _release_button(self, knob: Knob) -> Button:
        text = f"{knob.label} + {self.controls.text(knob.key)}"
        return Button(
            f"release {knob.key}",
            text,
            "This brake is active. Click to release it.",
            lambda now_ns: self.controls.set(knob.key, 0.0, now_ns),
            mark=" \N{MULTIPLICATION SIGN}",
        )

    def _pick(self, stage: str, now_ns: int) -> None:
        self.stage = stage


def _choice(controls: Controls, knob: Knob) -> Choice:
    return Choice(
        knob.key,
        knob.label,
        knob.meaning,
        knob.choices,
        lambda: str(controls.value(knob.key)),
        lambda value, now_ns: controls.set(knob.key, value, now_ns),
        note="restart" if knob.needs_restart else "",
    )
