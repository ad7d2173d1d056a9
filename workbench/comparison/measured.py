"""A recorded run, measured to be compared: the figures of its steady state, and what it ran on.

It compares nothing. Invariant: what is measured is of the steady state only; what is shown over time is of the whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from workbench.comparison.figure import FIGURES, SAMPLE_S
from workbench.comparison.noise import Estimate
from workbench.comparison.steady import Steady, load_span, steady_state
from workbench.recording.reader import Recording


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One run."""

    label: str
    """Its letter: "A" is what the others are compared with."""
    path: Path
    samples: NDArray[Any]
    """All of the run, shape (n,), dtype SAMPLE."""
    load: tuple[int, int]
    """Which of them see the whole load: [start, stop)."""
    steady: Steady
    figures: Mapping[str, Estimate | None]
    """By key; None for what is not known."""
    machine: Mapping[str, Any]
    versions: Mapping[str, Any]
    scenario: Mapping[str, Any]
    """Its settings, by dotted name."""

    @property
    def title(self) -> str:
        """How pictures and tables call it: "A  crowd.pxr"."""
        return f"{self.label}  {self.path.name}"

    @property
    def steady_s(self) -> float:
        """How long the steady state is."""
        return (self.steady.stop - self.steady.start) * SAMPLE_S

    @property
    def cut_s(self) -> float:
        """How much warm-up was cut off."""
        return (self.steady.start - self.load[0]) * SAMPLE_S

    @property
    def load_samples(self) -> NDArray[Any]:
        """The samples of the load, and all where there was none."""
        return self.samples[slice(*self.load)] if self.load[1] else self.samples

    @property
    def steady_samples(self) -> NDArray[Any]:
        """The samples of the steady state."""
        return self.samples[self.steady.start : self.steady.stop]


def measure(recording: Recording, index: int = 0) -> Measured:
    """Measure a run. `index`: its place among those that are compared. Raises UserError where the file is damaged."""
    samples = recording.samples()
    steady = steady_state(samples)
    inside = samples[steady.start : steady.stop]
    if len(inside):
        ticks = recording.tick_log(int(inside["time_ns"][0]), int(inside["time_ns"][-1]))
    else:
        ticks = recording.tick_log(0, 0)
    seed = index + 1  # Lots of one run's noise are not those of another's.
    return Measured(
        label=label_of(index),
        path=recording.path,
        samples=samples,
        load=load_span(samples),
        steady=steady,
        figures={figure.key: figure.measure(inside, ticks, seed) for figure in FIGURES},
        machine=recording.machine,
        versions=recording.versions,
        scenario=flat(msgspec.to_builtins(recording.scenario)),
    )


def label_of(index: int) -> str:
    """ "A" to "Z", then by number."""
    return chr(ord("A") + index) if index < 26 else f"run {index + 1}"


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of settings by dotted names; lists stay as they are."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        leaves |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return leaves


def load_seconds(run: Measured) -> NDArray[np.float64]:
    """The time of each sample, in seconds since the load ran in full: the axis that runs have in common."""
    if not len(run.samples):
        return np.zeros(0)
    origin_ns = int(run.samples["time_ns"][min(run.load[0], len(run.samples) - 1)])
    seconds: NDArray[np.float64] = (run.samples["time_ns"] - origin_ns) / 1e9
    return seconds
