"""What stands in the column of knobs: which widgets, in which rows, for the controls of a session.

It draws nothing. Widgets are kept while the controls are the same, so that one that is held or half typed stays so when
rows come and go. Invariant: every knob and every fault of the controls can be reached, brakes by their stage.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.controls.controls import Controls
from workbench.controls.knob import Knob
from workbench.window.knobs.load_curve_view import LoadCurveView
from workbench.window.knobs.slider import Slider
from workbench.window.knobs.widget import Button, Caption, Choice, Widget
from workbench.window.toolkit.wording import TERMS

BRAKES_LISTED_MAX = 3
_ROOM = 6  # What a button has beside its letters, in letters.
BRAKES_CAPTION = "brakes"

Row = Sequence[tuple[Widget, int]]
"""Widgets beside each other, each with its share of the width."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the column has done by others. Each is told the time."""

    copy: Callable[[int], None]
    restart: Callable[[int], None]
    fold: Callable[[int], None]
    complain: Callable[[str, int], None]
    """Say why something could not be done."""


class KnobsColumn:
    """The rows of the column: a head that stays, a body that scrolls, a foot that stays."""

    def __init__(self, controls: Controls, deeds: Callbacks) -> None:
        self.controls, self._deeds = controls, deeds
        brakes = [knob for knob in controls.knobs if knob.is_brake]
        self.stages = tuple(dict.fromkeys(knob.label for knob in brakes))
        """Stages that have a brake, in their order."""
        self.stage = self.stages[0] if self.stages else ""
        self._sliders = {knob.key: Slider(controls, knob) for knob in controls.knobs if not knob.choices}
        self._choices = {knob.key: _choice(controls, knob) for knob in controls.knobs if knob.choices}
        self._curve = LoadCurveView(controls)
        self._faults = [self._fault_button(index) for index in range(len(controls.faults))]
        self._picker = Choice(
            "brake stage",
            "stage",
            "The stage whose brakes are set here; a click on its card chooses it too.",
            self.stages,
            lambda: self.stage,
            self._pick,
        )
        self._head = self._make_head()

    @property
    def shape(self) -> tuple[object, ...]:
        """What decides which rows there are."""
        controls = self.controls
        texts = tuple((knob.key, controls.text(knob.key)) for knob in controls.brakes_on)
        return self.stage, texts, controls.restart_wanted, bool(controls.load_curve)

    def head(self) -> list[Row]:
        """The title and what takes turns back."""
        return [self._head]

    def body(self) -> list[Row]:
        """Knobs by their groups, the load curve, the brakes of the chosen stage, the faults."""
        rows: list[Row] = []
        group = ""
        if self.controls.locked:
            rows.append([(Caption(self.controls.locked), 1)])
        for knob in self.controls.knobs:
            if knob.is_brake:
                continue
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
        """Brakes that are on, with a click to release; what to do with the settings."""
        controls = self.controls
        on = controls.brakes_on
        rows: list[Row] = [[(self._release_button(knob), 1)] for knob in on[:BRAKES_LISTED_MAX]]
        if controls.restart_wanted:
            meaning = "Ends this run and begins one with the present settings: some need that."
            rows.append([(Button("restart", "start anew with these", meaning, self._deeds.restart, mark=" !"), 1)])
        meaning = (
            "The present settings and the faults clicked so far as a TOML file, which reproduces the run: "
            "on the clipboard, and in a file."
        )
        copy = Button("copy", "copy as scenario", meaning, self._deeds.copy)
        if len(on) < 2:
            return [*rows, [(copy, 1)]]
        release = Button("release all", f"release all {len(on)}", "Turn every brake off.", controls.release_brakes)
        return [*rows, [(release, 4), (copy, 5)]]

    def _make_head(self) -> Row:
        controls = self.controls
        return [
            (Caption("Knobs", "Everything that can be turned while the session runs. Keys: Tab, arrows, digits."), 6),
            (self._plain("undo", "Take the last turn back.", controls.undo, lambda: controls.can_undo), 5),
            (self._plain("redo", "Do again what was taken back.", controls.redo, lambda: controls.can_redo), 5),
            (self._plain("reset", "Everything as at the start.", controls.reset, lambda: bool(controls.changed)), 5),
            (Button("fold", "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}", "Fold the column.", self._deeds.fold), 2),
        ]

    @staticmethod
    def _plain(word: str, meaning: str, act: Callable[[int], None], can: Callable[[], bool]) -> Button:
        return Button(word, word, meaning, act, unavailable=lambda: "" if can() else "nothing was turned")

    def _curve_rows(self) -> list[Row]:
        clear = self._plain(
            "clear",
            "Offered load as the knob says, all the time.",
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
        rows: list[Row] = [[(button, len(button.label) + _ROOM) for button in pair] for pair in pairs]
        return [[(Caption("faults", TERMS["fault"]), 1)], *rows]

    def _fault_button(self, index: int) -> Button:
        button = self.controls.faults[index]

        def inflict(now_ns: int) -> None:
            reason = self.controls.fault(button.kind, now_ns)
            if reason:
                self._deeds.complain(f"no fault: {reason}", now_ns)

        return Button(
            f"fault {button.kind}", button.label, button.meaning, inflict, unavailable=lambda: button.unavailable
        )

    def _release_button(self, knob: Knob) -> Button:
        text = f"{knob.label} + {self.controls.text(knob.key)}"
        return Button(
            f"release {knob.key}",
            text,
            "This brake is on. Click: release it.",
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
