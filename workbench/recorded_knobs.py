"""What the knobs stood at at any moment of a recording: the scenario it began with, and the turns its markers tell.

It turns nothing. Invariant: what is told is a whole scenario; a marker that says something else than a turn is passed
over.
"""

from collections.abc import Iterable

from workbench.controls import BRAKES_RELEASED, RESET, replaced
from workbench.knob import Knob, knobs_of
from workbench.scenario import Scenario
from workbench.view import Marker


class RecordedKnobs:
    """Follows the turns of one recording."""

    def __init__(self, scenario: Scenario, markers: Iterable[Marker]) -> None:
        """`markers`: oldest first."""
        knobs = knobs_of(scenario)
        self._settings: list[tuple[int, Scenario]] = [(-(2**63), scenario)]
        for marker in markers:
            turned = scenario if _is_reset(marker) else _turned(self._settings[-1][1], marker, knobs)
            if turned is not None:
                self._settings.append((marker.time_ns, turned))

    def at(self, time_ns: int) -> Scenario:
        """The settings at this time. The same object while nothing is turned."""
        return next(scenario for since_ns, scenario in reversed(self._settings) if since_ns <= time_ns)


def _is_reset(marker: Marker) -> bool:
    return marker.kind == "knob" and marker.text == RESET


def _turned(scenario: Scenario, marker: Marker, knobs: Iterable[Knob]) -> Scenario | None:
    """The settings after a marker; None when it tells of no turn."""
    if marker.kind not in ("knob", "brake"):
        return None
    if marker.text == BRAKES_RELEASED:
        for knob in knobs:
            scenario = replaced(scenario, knob.key, 0.0) if knob.is_brake else scenario
        return scenario
    for knob in knobs:
        value = knob.value_told(marker.text)
        if value is not None:
            return replaced(scenario, knob.key, value)
    return None
