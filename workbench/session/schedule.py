"""The director: what a scenario wants done as its run goes on, told by the seconds since the load began.

It sends nothing and reads no clock. Invariant: each turn of a fault is given out once, and the load factor changes at
most four times a second, so that a curve of any shape costs few orders.
"""

from collections.abc import Sequence

from workbench.scenarios.fault import Fault
from workbench.scenarios.load_curve import factor_at
from workbench.scenarios.scenario import Scenario

FACTOR_INTERVAL_S = 0.25
_FACTOR_DIGITS = 3
"""A factor that differs less is the same to whoever looks at the load."""


class Director:
    """Follows one run of a scenario whose load curve may be drawn anew meanwhile."""

    def __init__(self, scenario: Scenario) -> None:
        self._curve = scenario.load_curve
        self._faults = scenario.faults
        self._next_s: list[float | None] = [fault.at_s for fault in scenario.faults]
        self._factor = self._factor_at(0)
        self._changed_s = -FACTOR_INTERVAL_S

    @property
    def load_factor(self) -> float:
        """By what the offered load is to be multiplied now."""
        return self._factor

    def adopt(self, scenario: Scenario) -> None:
        """Go by this scenario's load curve from now on."""
        self._curve = scenario.load_curve

    def due(self, run_seconds: float) -> Sequence[Fault]:
        """The faults whose time has come since the last call; the load factor is then that of this moment.

        A fault that came due more than once since then is given out once: what was missed is not made up for.
        """
        factor = self._factor_at(run_seconds)
        if factor != self._factor and run_seconds - self._changed_s >= FACTOR_INTERVAL_S:
            self._factor, self._changed_s = factor, run_seconds
        return [fault for index, fault in enumerate(self._faults) if self._comes_due(index, fault, run_seconds)]

    def _factor_at(self, seconds: float) -> float:
        return round(factor_at(self._curve, seconds), _FACTOR_DIGITS)

    def _comes_due(self, index: int, fault: Fault, run_seconds: float) -> bool:
        next_s = self._next_s[index]
        if next_s is None or run_seconds < next_s:
            return False
        turns = int((run_seconds - fault.at_s) / fault.every_s) + 1 if fault.every_s else 0
        self._next_s[index] = fault.at_s + turns * fault.every_s if turns else None
        return True
