"""The figures that runs are compared by, as a table: name, unit, where in a recording they are, which way is better.

Keys are those of a run's summary where it has them. Invariant: a figure is a quantile of one series over the steady
state, so that each has a noise that can be told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plots.history import SAMPLE_INTERVAL_NS
from server.kernels import layout
from workbench.comparison.noise import SEED, Estimate, estimate

SAMPLE_S = SAMPLE_INTERVAL_NS / 1e9
Series = NDArray[np.float64]


class Better(Enum):
    """Which way a figure is wanted to go."""

    MORE = 1
    LESS = -1
    NEITHER = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a run."""

    key: str
    name: str
    """As people read it."""
    unit: str
    better: Better
    samples: Callable[[NDArray[Any]], Series] | None = None
    """Its series, out of samples of dtype SAMPLE; None when it is of the tick log."""
    quantile: float = 0.5
    """Of the tick log's intervals. Of samples it is always their median."""

    def measure(self, samples: NDArray[Any], ticks: NDArray[Any], seed: int = SEED) -> Estimate | None:
        """What it came to over these samples (dtype SAMPLE) and ticks (dtype TICK); None where nothing is known."""
        if self.samples is not None:
            return estimate(self.samples(samples), SAMPLE_S, seed=seed)
        intervals_ms = ticks["interval_ns"].astype(np.float64) / 1e6
        if not len(intervals_ms):
            return None
        step_s = max(float(np.median(intervals_ms)) / 1e3, 1e-6)
        return estimate(intervals_ms, step_s, self.quantile, seed)


def _field(name: str, stage: int | None = None) -> Callable[[NDArray[Any]], Series]:
    def read(samples: NDArray[Any]) -> Series:
        values = samples[name] if stage is None else samples[name][:, stage]
        series: Series = values.astype(np.float64)
        return series

    return read


def _rate(key: str, name: str, better: Better = Better.NEITHER, *, field: str = "") -> Figure:
    return Figure(key, name, "/s", better, _field(field or key))


def _view(which: str) -> Figure:
    return Figure(
        f"placement_to_view_ms_{which}", f"view {which}", "ms", Better.LESS, _field(f"latency_ms_{which}")
    )  # fmt: skip


def _cores(process: str) -> Figure:
    return Figure(f"{process}_cpu_cores", process, "cores", Better.LESS, _field(f"{process}_cpu_cores"))


def _busy(stage: int, name: str) -> Figure:
    key = f"utilisation_ratio_{name.replace('-', '_')}"
    return Figure(key, f"{name} busy", "%", Better.LESS, _field("utilisation_ratio", stage))


FIGURES: tuple[Figure, ...] = (
    _rate("offered_per_s", "offered"),
    _rate("received_per_s", "received"),
    _rate("admitted_per_s", "admitted", Better.MORE),
    _rate("throttled_per_s", "throttled"),
    _rate("shed_per_s", "shed", Better.LESS),
    _rate("merged_per_s", "merged", field="broadcast_per_s"),
    _rate("delivered_per_s", "delivered", Better.MORE),
    *(_view(which) for which in ("p50", "p99", "max")),
    Figure("tick_ms_p50", "tick p50", "ms", Better.LESS, quantile=0.5),
    Figure("tick_ms_p99", "tick p99", "ms", Better.LESS, quantile=0.99),
    *(_cores(process) for process in ("server", "fleet", "window", "panels")),
    *(_busy(stage, name) for stage, name in enumerate(layout.stage_names())),
)
BY_KEY = {figure.key: figure for figure in FIGURES}


def format_value(value: float, unit: str) -> str:
    """A value of a figure in at most six characters, its letter and its unit: "1.02 M/s", "41.2 ms", "93 %"."""
    if unit == "%":
        return f"{100 * value:.{2 if value < 0.00995 else 1 if value < 0.0995 else 0}f} %"
    if unit == "/s":
        divisor, letter = next((step for step in _STEPS if abs(value) >= step[0] * 0.9995), (1.0, ""))
        return f"{_three_digits(value / divisor)} {letter}{unit}" if letter else f"{_three_digits(value)}/s"
    return f"{_three_digits(value)} {unit}"


_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def _three_digits(value: float) -> str:
    size = abs(value)
    if size >= 99.95 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"
