"""Runs compared with the first of them: which metrics differ by more than noise, and conditions that fail a build.

There is no verdict between runs from different machines, nor from series too short to estimate their noise.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any

from plots.figures import Better
from plots.number import with_unit
from workbench.comparison.metric import METRICS, METRICS_BY_KEY, MeasuredRun, Metric
from workbench.comparison.statistics import CONFIDENCE, Estimate, Interval, difference, ratio
from workbench.errors import RunError, UserError

# Limits that a run either stays within or cannot start with: they slow nothing, so runs across them are compared.
_BOUNDS = ("open_files",)
_NOT_RECORDED = "not recorded"
# Longer values, such as a load curve, are truncated.
_VALUE_LETTERS = 60


class DifferenceVerdict(Enum):
    """The result for one metric, in the words of tables and JSON."""

    MORE = "more"
    LESS = "less"
    NOISE = "within the noise"
    UNLIKE = "not comparable"
    SHORT = "too short to tell"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class MetricOutcome:
    """One metric of one run, compared with the first run's."""

    metric: Metric
    estimate: Estimate | None
    ratio: float | None
    """To the first run's value; None where that is 0 or unknown."""
    ratio_interval: Interval | None
    verdict: DifferenceVerdict

    @property
    def is_better(self) -> bool | None:
        """Whether the difference is an improvement; None when there is none, or neither direction is better."""
        if self.verdict not in (DifferenceVerdict.MORE, DifferenceVerdict.LESS) or self.metric.better is Better.NEITHER:
            return None
        return (self.verdict is DifferenceVerdict.MORE) == (self.metric.better is Better.MORE)


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact or setting in which runs differ: its name, and its value in each run."""

    name: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} ({' / '.join(self.values)})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two or more runs; the first is the baseline."""

    runs: tuple[MeasuredRun, ...]
    machines: tuple[Difference, ...]
    """Differences of machine, limits, Python and packages, which rule out a verdict."""
    bounds: tuple[Difference, ...]
    """Differences of limits that do not affect speed."""
    settings: tuple[Difference, ...]
    """Differences of the scenarios."""

    def outcome(self, metric: Metric, run: MeasuredRun) -> MetricOutcome:
        """A metric of one of the runs, compared with the first."""
        first, own = self.runs[0].estimates[metric.key], run.estimates[metric.key]
        # The interval of the ratio is drawn from both runs' resamples: dividing two intervals would be too wide.
        share = own.value / first.value if first and own and first.value else None
        interval = ratio(first, own) if first and own else None
        return MetricOutcome(metric, own, share, interval, self._verdict(run, first, own))

    def _verdict(self, run: MeasuredRun, first: Estimate | None, own: Estimate | None) -> DifferenceVerdict:
        if first is None or own is None:
            return DifferenceVerdict.UNKNOWN
        if is_other_machine(self.runs[0], run):
            return DifferenceVerdict.UNLIKE
        between = difference(first, own)
        if between is None:
            return DifferenceVerdict.SHORT
        if between.contains(0.0):
            return DifferenceVerdict.NOISE
        return DifferenceVerdict.MORE if between.low > 0 else DifferenceVerdict.LESS


def compare(runs: Sequence[MeasuredRun]) -> Comparison:
    """Compare at least two runs with the first."""
    assert len(runs) >= 2
    machines = _machine_differences(runs)
    return Comparison(
        tuple(runs),
        tuple(one for one in machines if one.name not in _BOUNDS),
        tuple(one for one in machines if one.name in _BOUNDS),
        # These name a scenario and say nothing about its load.
        _differences([run.scenario for run in runs], ignored=("name", "title", "seconds")),
    )


def is_other_machine(one: MeasuredRun, other: MeasuredRun) -> bool:
    """Whether two runs are from machines that cannot be compared."""
    return any(difference.name not in _BOUNDS for difference in _machine_differences([one, other]))


def machine_facts(run: MeasuredRun) -> dict[str, Any]:
    """What a run's metrics depend on besides its scenario: machine, limits, Python, packages."""
    versions = {name: version for name, version in run.versions.items() if name not in run.machine}
    return {**run.machine, **versions}


def known_metrics(runs: Sequence[MeasuredRun]) -> tuple[Metric, ...]:
    """The metrics that are known and not 0 in at least one of the runs."""
    return tuple(
        metric for metric in METRICS if any((value := run.estimates[metric.key]) and value.value for run in runs)
    )


def _machine_differences(runs: Sequence[MeasuredRun]) -> tuple[Difference, ...]:
    """Differences of machines. A fact that a run did not record, as earlier versions, is not a difference."""
    return _differences([machine_facts(run) for run in runs], _NOT_RECORDED, is_absence_one=False)


def _differences(
    facts: Sequence[Mapping[str, Any]], absent: str = "-", *, is_absence_one: bool = True, ignored: Sequence[str] = ()
) -> tuple[Difference, ...]:
    """Names whose values differ. `absent`: the text of no value; `is_absence_one`: whether it is a difference."""
    found = []
    for name in dict.fromkeys(name for one in facts for name in one if name not in ignored):
        values = [one.get(name) for one in facts]
        compared = [value for value in values if is_absence_one or value is not None]
        if any(value != compared[0] for value in compared):
            found.append(Difference(name, tuple(absent if value is None else _text(value) for value in values)))
    return tuple(found)


def _text(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _VALUE_LETTERS else f"{text[: _VALUE_LETTERS - 3]}..."


# In a condition such as `admitted_per_s < 0.95x`, a number with an x is a multiple of the first run's value, a plain
# number is in the metric's unit. It must hold for the whole interval, so that noise fails no build; a condition that
# cannot be decided is an error.
_FORM = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(x?)\s*")
_EXAMPLE = "for example --fail-if 'admitted_per_s < 0.95x'"
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A metric, an operator and a limit."""

    text: str
    metric: Metric
    operator: str
    limit: float
    relative: bool
    """The limit is a multiple of the first run's value."""

    def broken_by(self, comparison: Comparison) -> list[str]:
        """A line for each run but the first for which it holds. Raises RunError where that cannot be decided."""
        lines = []
        for run in comparison.runs[1:]:
            interval = self._interval(comparison, run)
            # The end of the interval that is least likely to satisfy the condition.
            nearest = interval.high if self.operator in ("<", "<=") else interval.low
            if _OPERATORS[self.operator](nearest, self.limit):
                lines.append(f"{self.text} holds for {run.path}: {self._words(comparison, run, interval)}")
        return lines

    def _interval(self, comparison: Comparison, run: MeasuredRun) -> Interval:
        outcome = comparison.outcome(self.metric, run)
        if outcome.estimate is None or (self.relative and outcome.verdict is DifferenceVerdict.UNKNOWN):
            raise self._undecided(run, f"{self.metric.key} is not known")
        if self.relative and outcome.verdict is DifferenceVerdict.UNLIKE:
            facts = ", ".join(map(str, comparison.machines))
            raise self._undecided(run, f"it is from a different machine: {facts}")
        interval = outcome.ratio_interval if self.relative else outcome.estimate.interval
        if interval is None and self.relative and outcome.verdict is not DifferenceVerdict.SHORT:
            raise self._undecided(
                run, f"{self.metric.key} of {comparison.runs[0].path} is 0 or close to it; give a number"
            )
        if interval is None:
            raise self._undecided(run, f"a steady state of {run.steady_s:.0f} s is too short; record longer")
        return interval

    def _undecided(self, run: MeasuredRun, why: str) -> RunError:
        return RunError(f"--fail-if {self.text!r} cannot be decided for {run.path}: {why}")

    def _words(self, comparison: Comparison, run: MeasuredRun, interval: Interval) -> str:
        outcome = comparison.outcome(self.metric, run)
        assert outcome.estimate is not None
        confidence = f"{CONFIDENCE:.0%} confidence"
        if self.relative:
            ends = f"{interval.low:.3f} to {interval.high:.3f}"
            return f"{outcome.ratio:.3f}x of {comparison.runs[0].path} ({ends}, {confidence})"
        ends = " to ".join(with_unit(end, self.metric.unit) for end in (interval.low, interval.high))
        return f"{with_unit(outcome.estimate.value, self.metric.unit)} ({ends}, {confidence})"


def parse_condition(text: str) -> Condition:
    """Read a condition. Raises UserError with the fault and the remedy."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise UserError(
            f"--fail-if {text!r}: expected METRIC < NUMBER, or METRIC < NUMBERx of the first run; {_EXAMPLE}"
        )
    key, sign, number, relative = found.groups()
    if key not in METRICS_BY_KEY:
        close = get_close_matches(key, METRICS_BY_KEY, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(metric.key for metric in METRICS)}"
        raise UserError(f"--fail-if {text!r}: there is no metric {key!r}; {hint}")
    limit = float(number)
    if not math.isfinite(limit) or (relative and limit <= 0):
        raise UserError(f"--fail-if {text!r}: {number}{relative} is not a limit that a metric can pass; {_EXAMPLE}")
    return Condition(" ".join(text.split()), METRICS_BY_KEY[key], sign, limit, bool(relative))
