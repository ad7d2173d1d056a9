"""What limited a run over time: how long each bottleneck lasted, and what was said of it when.

Invariant: the times of all add up to the time that is told of.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.recording.reader import Diagnosed

LINES_MAX = 40
"""A run that swings between two bottlenecks has hundreds of changes: those that lasted longest are told."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time with one diagnosis."""

    start_ns: int
    duration_s: float
    bottleneck: str
    sentence: str


def stretches_of(diagnoses: Sequence[Diagnosed], end_ns: int) -> list[Stretch]:
    """The time from each change of the bottleneck to the next, oldest first; new words for one are no change."""
    changes: list[Diagnosed] = []
    for diagnosis in diagnoses:
        if diagnosis.bottleneck and (not changes or changes[-1].bottleneck != diagnosis.bottleneck):
            changes.append(diagnosis)
    ends = [*(change.time_ns for change in changes), end_ns][1:]
    return [
        Stretch(change.time_ns, max(end - change.time_ns, 0) / 1e9, change.bottleneck, change.sentence)
        for change, end in zip(changes, ends, strict=True)
    ]


def shares_of(stretches: Sequence[Stretch]) -> list[tuple[str, float]]:
    """Each bottleneck and how many seconds it lasted in all, the longest first."""
    seconds: dict[str, float] = {}
    for stretch in stretches:
        seconds[stretch.bottleneck] = seconds.get(stretch.bottleneck, 0.0) + stretch.duration_s
    return sorted(seconds.items(), key=lambda item: -item[1])


def longest(stretches: Sequence[Stretch]) -> list[Stretch]:
    """The `LINES_MAX` that lasted longest, in their order in time."""
    kept = sorted(stretches, key=lambda stretch: -stretch.duration_s)[:LINES_MAX]
    return sorted(kept, key=lambda stretch: stretch.start_ns)
