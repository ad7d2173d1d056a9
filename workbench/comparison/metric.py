"""The metrics that runs are compared by, and a recorded run measured by them.

They are the figures of `plots.figures` that have a label, the tick interval, and how busy each stage is. A metric is a
quantile of one series over the steady state, so that its noise can be estimated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from plots.figures import FIGURES, Better
from plots.history import SAMPLE_INTERVAL_NS
from plots.spec import Read, field
from server.kernels import layout
from workbench.comparison.statistics import SEED, Estimate, SteadyState, estimate, load_span, steady_state
from workbench.errors import shown
from workbench.recording.reader import Recording

SAMPLE_S = SAMPLE_INTERVAL_NS / 1e9


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a run."""

    key: str
    name: str
    """As tables show it."""
    unit: str
    better: Better
    samples: Read | None = None
    """Its series, from samples of dtype SAMPLE; None for a metric of the tick log."""
    quantile: float = 0.5
    """Of the tick log's intervals. For samples it is always the median."""

    def measure(self, samples: NDArray[Any], ticks: NDArray[Any], seed: int = SEED) -> Estimate | None:
        """Its estimate over these samples (dtype SAMPLE) and ticks (dtype TICK); None when nothing is known."""
        if self.samples is not None:
            return estimate(self.samples(samples), SAMPLE_S, seed=seed)
        intervals_ms = ticks["interval_ns"].astype(np.float64) / 1e6
        if not len(intervals_ms):
            return None
        # Ticks have no fixed interval: a stretched tick is longer. The median stands for the spacing of all.
        step_s = max(float(np.median(intervals_ms)) / 1e3, 1e-6)
        return estimate(intervals_ms, step_s, self.quantile, seed)


def _busy(stage: int, name: str) -> Metric:
    key = f"utilisation_ratio_{name.replace('-', '_')}"
    return Metric(key, f"{name} busy", "%", Better.LESS, field("utilisation_ratio", stage))


METRICS: tuple[Metric, ...] = (
    *(Metric(one.key, one.label, one.unit, one.better, field(one.column)) for one in FIGURES if one.label),
    Metric("tick_ms_p50", "tick p50", "ms", Better.LESS, quantile=0.5),
    Metric("tick_ms_p99", "tick p99", "ms", Better.LESS, quantile=0.99),
    *(_busy(stage, name) for stage, name in enumerate(layout.stage_names())),
)
METRICS_BY_KEY = {metric.key: metric for metric in METRICS}


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredRun:
    """A recorded run, measured. Metrics cover its steady state; `samples` the whole run."""

    label: str
    """Its letter: "A" is the baseline."""
    path: Path
    samples: NDArray[Any]
    """Of the whole run, shape (n,), dtype SAMPLE."""
    load: tuple[int, int]
    """The range of them, [start, stop), during which the load was fully on."""
    steady: SteadyState
    estimates: Mapping[str, Estimate | None]
    """By key; None for a metric that is not known."""
    machine: Mapping[str, Any]
    versions: Mapping[str, Any]
    scenario: Mapping[str, Any]
    """Its settings, by dotted name."""

    @property
    def title(self) -> str:
        """Its name in pictures and tables: "A  crowd.pxr"."""
        return f"{self.label}  {shown(self.path.name)}"

    @property
    def steady_s(self) -> float:
        """Length of the steady state."""
        return (self.steady.stop - self.steady.start) * SAMPLE_S

    @property
    def cut_s(self) -> float:
        """Length of the warm-up that was cut off."""
        return (self.steady.start - self.load[0]) * SAMPLE_S

    @property
    def load_samples(self) -> NDArray[Any]:
        """The samples of the load, or all where there was none."""
        return self.samples[slice(*self.load)] if self.load[1] else self.samples

    @property
    def steady_samples(self) -> NDArray[Any]:
        """The samples of the steady state."""
        return self.samples[self.steady.start : self.steady.stop]


def measure(recording: Recording, index: int = 0) -> MeasuredRun:
    """Measure a run. `index`: its position among the compared runs. Raises UserError where the file is damaged."""
    samples = recording.samples()
    steady = steady_state(samples)
    inside = samples[steady.start : steady.stop]
    if len(inside):
        ticks = recording.tick_log(int(inside["time_ns"][0]), int(inside["time_ns"][-1]))
    else:
        ticks = recording.tick_log(0, 0)  # No rows, of the right dtype.
    # Bootstrap draws of two runs must be independent, and the same for the same files.
    seed = index + 1
    return MeasuredRun(
        label=label_of(index),
        path=recording.path,
        samples=samples,
        load=load_span(samples),
        steady=steady,
        estimates={metric.key: metric.measure(inside, ticks, seed) for metric in METRICS},
        machine=recording.machine,
        versions=recording.versions,
        scenario=flat(msgspec.to_builtins(recording.scenario)),
    )


def label_of(index: int) -> str:
    """ "A" to "Z", then by number."""
    return chr(ord("A") + index) if index < 26 else f"run {index + 1}"


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of settings as dotted names; lists stay as they are."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        leaves |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return leaves


def load_seconds(run: MeasuredRun) -> NDArray[np.float64]:
    """The time of each sample in seconds since the load was fully on: the common time axis of runs."""
    if not len(run.samples):
        return np.zeros(0)
    # Processes of one run start faster than those of another: only the loads are comparable in time.
    origin_ns = int(run.samples["time_ns"][min(run.load[0], len(run.samples) - 1)])
    seconds: NDArray[np.float64] = (run.samples["time_ns"] - origin_ns) / 1e9
    return seconds
