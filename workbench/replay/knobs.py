"""What the knobs stood at at any moment of a recording: the scenario it began with, and its turns up to then.

It turns nothing. Invariant: what is told is a whole, valid scenario.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from workbench.scenarios.change import with_changes
from workbench.scenarios.scenario import Scenario
from workbench.telemetry.view import Turn


class RecordedKnobs:
    """Follows the turns of one recording. `label` begins what is said of a turn that cannot be."""

    def __init__(self, scenario: Scenario, turns: Sequence[Turn], label: str = "turns") -> None:
        """`turns`: oldest first."""
        self._first = self._scenario = scenario
        self._turns, self._label = list(turns), label
        self._times_ns = [turn.time_ns for turn in turns]
        self._count = 0

    def at(self, time_ns: int) -> Scenario:
        """The settings at this time. Raises UserError where they are none."""
        count = bisect_right(self._times_ns, time_ns)
        if count != self._count:
            changes: dict[str, Any] = {}
            for turn in self._turns[:count]:
                changes |= turn.changes
            self._scenario = with_changes(self._first, changes, self._label)
            self._count = count
        return self._scenario
