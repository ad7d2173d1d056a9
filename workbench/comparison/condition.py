"""Conditions under which a comparison fails: `admitted_per_s < 0.95x`, as a build's check writes them.

A number with an x is a multiple of the first run's figure, a plain one is in the figure's own unit. Invariant: a
condition holds only when all of the interval does. Noise fails no build, and what cannot be told is not taken as good.
"""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from workbench.comparison.comparison import Comparison, Verdict
from workbench.comparison.figure import BY_KEY, FIGURES, Figure, format_value
from workbench.comparison.measured import Measured
from workbench.comparison.noise import CONFIDENCE, Interval
from workbench.errors import RunError, UserError

_FORM = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(x?)\s*")
_EXAMPLE = "write for example --fail-if 'admitted_per_s < 0.95x'"
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A figure, an operator and a limit."""

    text: str
    figure: Figure
    operator: str
    limit: float
    relative: bool
    """The limit is a multiple of the first run's figure."""

    def broken_by(self, comparison: Comparison) -> list[str]:
        """A line for each run but the first for which it holds. Raises RunError where that cannot be told."""
        lines = []
        for run in comparison.runs[1:]:
            interval = self._interval(comparison, run)
            # The end of the interval that is nearest to the limit from the good side.
            doubtful = interval.high if self.operator in ("<", "<=") else interval.low
            if _OPERATORS[self.operator](doubtful, self.limit):
                lines.append(f"{self.text} holds for {run.path}: {self._words(comparison, run, interval)}")
        return lines

    def _interval(self, comparison: Comparison, run: Measured) -> Interval:
        outcome = comparison.outcome(self.figure, run)
        if outcome.estimate is None or (self.relative and outcome.verdict is Verdict.UNKNOWN):
            raise self._untold(run, f"{self.figure.key} is not known")
        if self.relative and outcome.verdict is Verdict.UNLIKE:
            facts = ", ".join(map(str, comparison.machines))
            raise self._untold(run, f"it is from an unlike machine: {facts}")
        interval = outcome.ratio_interval if self.relative else outcome.estimate.interval
        if interval is None and self.relative and outcome.verdict is not Verdict.SHORT:
            raise self._untold(run, f"{self.figure.key} of {comparison.runs[0].path} is 0, or near it; give a number")
        if interval is None:
            raise self._untold(run, f"a steady state of {run.steady_s:.0f} s is too short; record longer")
        return interval

    def _untold(self, run: Measured, why: str) -> RunError:
        return RunError(f"--fail-if {self.text!r} cannot be told for {run.path}: {why}")

    def _words(self, comparison: Comparison, run: Measured, interval: Interval) -> str:
        outcome = comparison.outcome(self.figure, run)
        assert outcome.estimate is not None
        sure = f"{CONFIDENCE:.0%} sure"
        if self.relative:
            return (
                f"{outcome.ratio:.3f}x of {comparison.runs[0].path} ({interval.low:.3f} to {interval.high:.3f}, {sure})"
            )
        ends = " to ".join(format_value(end, self.figure.unit) for end in (interval.low, interval.high))
        return f"{format_value(outcome.estimate.value, self.figure.unit)} ({ends}, {sure})"


def parse_condition(text: str) -> Condition:
    """Read a condition. Raises UserError with the fault and the remedy."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise UserError(
            f"--fail-if {text!r} is no condition (FIGURE < NUMBER, or NUMBERx of the first run); {_EXAMPLE}"
        )
    key, sign, number, relative = found.groups()
    if key not in BY_KEY:
        close = get_close_matches(key, BY_KEY, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(figure.key for figure in FIGURES)}"
        raise UserError(f"--fail-if {text!r}: there is no figure {key!r}; {hint}")
    limit = float(number)
    if not math.isfinite(limit) or (relative and limit <= 0):
        raise UserError(f"--fail-if {text!r}: {number}{relative} is no limit that a figure could pass; {_EXAMPLE}")
    return Condition(" ".join(text.split()), BY_KEY[key], sign, limit, bool(relative))
