"""Runs held against the first of them: which figures differ by more than noise, and whether they may be ranked at all.

It prints and draws nothing. Invariant: no verdict is given between runs from unlike machines, nor from series too short
to tell their noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from workbench.comparison.figure import FIGURES, Better, Figure
from workbench.comparison.measured import Measured
from workbench.comparison.noise import Estimate, Interval, difference, ratio

_BOUNDS = ("open_files",)
"""Limits that a run either keeps within or does not begin: they slow nothing, so runs are ranked across them."""
_NOT_RECORDED = "not recorded"
_VALUE_LETTERS = 60
"""A load curve or a list of faults is told by its beginning."""


class Verdict(Enum):
    """What can be said of a difference, as tables say it."""

    MORE = "more"
    LESS = "less"
    NOISE = "within the noise"
    UNLIKE = "not comparable"
    SHORT = "too short to tell"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One figure of one run, against the first run's."""

    figure: Figure
    estimate: Estimate | None
    ratio: float | None
    """To the first run's; None where that is 0 or not known."""
    ratio_interval: Interval | None
    verdict: Verdict

    @property
    def is_better(self) -> bool | None:
        """Whether the difference is a gain; None when there is none, or when neither way is wanted."""
        if self.verdict not in (Verdict.MORE, Verdict.LESS) or self.figure.better is Better.NEITHER:
            return None
        return (self.verdict is Verdict.MORE) == (self.figure.better is Better.MORE)


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact or a setting in which runs differ: its name, and its value in each of them."""

    name: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} ({' / '.join(self.values)})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs or more."""

    runs: tuple[Measured, ...]
    machines: tuple[Difference, ...]
    """In what their machines, limits, Python and packages differ, so that they are not ranked."""
    bounds: tuple[Difference, ...]
    """In what limits they differ that slow nothing."""
    settings: tuple[Difference, ...]
    """In what their scenarios differ."""

    def outcome(self, figure: Figure, run: Measured) -> Outcome:
        """A figure of one of the runs, against the first."""
        first, own = self.runs[0].figures[figure.key], run.figures[figure.key]
        share = own.value / first.value if first and own and first.value else None
        interval = ratio(first, own) if first and own else None
        return Outcome(figure, own, share, interval, self._verdict(run, first, own))

    def _verdict(self, run: Measured, first: Estimate | None, own: Estimate | None) -> Verdict:
        if first is None or own is None:
            return Verdict.UNKNOWN
        if unlike(self.runs[0], run):
            return Verdict.UNLIKE
        between = difference(first, own)
        if between is None:
            return Verdict.SHORT
        if between.holds(0.0):
            return Verdict.NOISE
        return Verdict.MORE if between.low > 0 else Verdict.LESS


def compare(runs: Sequence[Measured]) -> Comparison:
    """Hold runs, at least two, against the first."""
    assert len(runs) >= 2
    facts = [machine_facts(run) for run in runs]
    return Comparison(
        tuple(runs),
        tuple(one for one in _machine_differences(facts) if one.name not in _BOUNDS),
        tuple(one for one in _machine_differences(facts) if one.name in _BOUNDS),
        _differences([run.scenario for run in runs], ignored=("name", "title", "seconds")),
    )


def unlike(one: Measured, other: Measured) -> bool:
    """Whether two runs were on machines whose figures say nothing about each other.

    A fact that one of them did not record, as an earlier version of the workbench, is no difference by itself.
    """
    facts = [machine_facts(one), machine_facts(other)]
    return any(difference.name not in _BOUNDS for difference in _machine_differences(facts))


def machine_facts(run: Measured) -> dict[str, Any]:
    """What a run's figures depend on beside its scenario: machine, limits, Python, packages."""
    versions = {name: version for name, version in run.versions.items() if name not in run.machine}
    return {**run.machine, **versions}


def known_figures(runs: Sequence[Measured]) -> tuple[Figure, ...]:
    """The figures that any of the runs knows, and that are not 0 in all of them."""
    return tuple(
        figure for figure in FIGURES if any((value := run.figures[figure.key]) and value.value for run in runs)
    )


def _machine_differences(facts: Sequence[Mapping[str, Any]]) -> tuple[Difference, ...]:
    """Facts that two runs recorded, and not alike."""
    found = []
    for name in dict.fromkeys(name for one in facts for name in one):
        values = [one.get(name) for one in facts]
        recorded = [value for value in values if value is not None]
        if any(value != recorded[0] for value in recorded):
            told = (_NOT_RECORDED if value is None else _told(value) for value in values)
            found.append(Difference(name, tuple(told)))
    return tuple(found)


def _differences(facts: Sequence[Mapping[str, Any]], ignored: Sequence[str] = ()) -> tuple[Difference, ...]:
    names = [name for name in dict.fromkeys(name for one in facts for name in one) if name not in ignored]
    rows = ((name, [one.get(name) for one in facts]) for name in names)
    return tuple(
        Difference(name, tuple("-" if value is None else _told(value) for value in values))
        for name, values in rows
        if any(value != values[0] for value in values)
    )


def _told(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _VALUE_LETTERS else f"{text[: _VALUE_LETTERS - 3]}..."
