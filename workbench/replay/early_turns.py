"""The turns of a recording of format 1 or 2, read from the words of its markers: more of them was not recorded.

Values are as exact as the words, and of a drawn load curve nothing is known. Invariant: words that say something else
than a turn are passed over.
"""

from collections.abc import Iterable
from typing import Any

from workbench.controls.controls import BRAKES_RELEASED, LOAD_CURVE, RESET, replaced
from workbench.controls.knob import Knob, knobs_of
from workbench.scenarios.change import changes_between
from workbench.scenarios.scenario import Scenario
from workbench.telemetry.view import Marker, Turn

_CURVE_CLEARED = "load curve cleared"
_UNDONE, _DONE_AGAIN = "last step undone", "last step done again"
"""What an undo or redo of several knobs at once was called."""


def early_turns(first: Scenario, markers: Iterable[Marker]) -> tuple[Turn, ...]:
    """The turns that markers, oldest first, tell of a run that began as `first`."""
    knobs = knobs_of(first)
    turns: list[Turn] = []
    now = first
    # Steps are undone in reverse order: the one that "last step" means is the last here that was not undone.
    past: list[tuple[Scenario, Scenario]] = []
    future: list[tuple[Scenario, Scenario]] = []
    for marker in markers:
        before = now
        if marker.kind not in ("knob", "brake"):
            continue
        if marker.text in (RESET, BRAKES_RELEASED):
            now = first if marker.text == RESET else _released(now, knobs)
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


def _released(scenario: Scenario, knobs: Iterable[Knob]) -> Scenario:
    for knob in knobs:
        scenario = replaced(scenario, knob.key, 0.0) if knob.is_brake else scenario
    return scenario


def _turned(scenario: Scenario, text: str, knobs: Iterable[Knob]) -> Scenario:
    if text == _CURVE_CLEARED:
        return replaced(scenario, LOAD_CURVE, ())
    for knob in knobs:
        value = value_told(knob, text)
        if value is not None:
            return replaced(scenario, knob.key, value)
    return scenario


def value_told(knob: Knob, change: str) -> Any:
    """What a turn came to, from the words of `change_text`; None when they are of another knob, or of no turn."""
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
