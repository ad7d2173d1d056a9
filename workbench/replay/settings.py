"""The settings of a recorded run at any moment: the scenario that it began with, and its turns up to then.

Recordings of format 1 and 2 have no turns: these are read from the texts of their markers. Such values are as precise
as the texts, and drawn load curves are unknown.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from workbench.controls.controls import BRAKES_RELEASED, LOAD_CURVE, RESET, released, replaced
from workbench.controls.knob import Knob, knobs_of
from workbench.scenarios.scenario import Scenario, changes_between, with_changes
from workbench.telemetry.view import Marker, Turn


class RecordedKnobs:
    """The settings of one recording. `label` begins the error of an impossible turn."""

    def __init__(self, scenario: Scenario, turns: Sequence[Turn], label: str = "turns") -> None:
        """`turns`: oldest first."""
        self._first = self._scenario = scenario
        self._turns, self._label = list(turns), label
        self._times_ns = [turn.time_ns for turn in turns]
        self._count = 0

    def at(self, time_ns: int) -> Scenario:
        """The settings at this time: a whole, valid scenario. Raises UserError for an impossible turn."""
        count = bisect_right(self._times_ns, time_ns)
        if count != self._count:
            changes: dict[str, Any] = {}
            for turn in self._turns[:count]:
                changes |= turn.changes
            self._scenario = with_changes(self._first, changes, self._label)
            self._count = count
        return self._scenario


_CURVE_CLEARED = "load curve cleared"
# The markers of an undo or redo of several knobs at once.
_UNDONE, _DONE_AGAIN = "last step undone", "last step done again"


def early_turns(first: Scenario, markers: Iterable[Marker]) -> tuple[Turn, ...]:
    """The turns of a run that began as `first`, from its markers, oldest first. Other markers are ignored."""
    knobs = knobs_of(first)
    turns: list[Turn] = []
    now = first
    # Steps are undone in reverse order: "last step" means the last one here that was not undone.
    past: list[tuple[Scenario, Scenario]] = []
    future: list[tuple[Scenario, Scenario]] = []
    for marker in markers:
        before = now
        if marker.kind not in ("knob", "brake"):
            continue
        if marker.text in (RESET, BRAKES_RELEASED):
            now = first if marker.text == RESET else released(now)
            past.append((before, now))
        elif marker.text == _UNDONE and past:
            future.append(past.pop())
            now = future[-1][0]
        elif marker.text == _DONE_AGAIN and future:
            past.append(future.pop())
            now = past[-1][1]
        else:
            now = _turned(now, marker.text, knobs)
        turns.append(Turn(marker.time_ns, changes_between(before, now)))
    return tuple(turns)


def _turned(scenario: Scenario, text: str, knobs: Iterable[Knob]) -> Scenario:
    if text == _CURVE_CLEARED:
        return replaced(scenario, LOAD_CURVE, ())
    for knob in knobs:
        value = value_in(knob, text)
        if value is not None:
            return replaced(scenario, knob.key, value)
    return scenario


def value_in(knob: Knob, change: str) -> Any:
    """The new value in a text of `Knob.change_text`; None for a text of another knob, or of no turn."""
    name, arrow, after = change.partition(" > ")
    label = f"{knob.label} brake" if knob.is_brake else knob.label
    words = name.removeprefix(f"{label} ")
    if not arrow or words == name:
        return None
    if knob.choices:
        return after if after in knob.choices and words in knob.choices else None
    digits = after.removesuffix(f" {knob.unit}") if knob.unit else after
    if digits == after and knob.unit:
        return None
    try:
        float(words.removesuffix(" %").replace(",", ""))
        value = float(digits.replace(",", ""))
    except ValueError:
        return None
    value = value / 100 if knob.unit == "%" else value
    return round(value) if knob.is_whole else value
