"""What the four panels show: a table of panels, their lines, and where in a sample each line's values are.

Not how it is drawn (see `panel`). A legend shows the present value: over the last second, because a number that changes
ten times a second is not read, and the newest sample alone flickers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plots import style
from plots.axis import Axis, DepthAxis, LinearAxis, LogAxis, count_digits, measure_digits
from plots.trace import block_values
from server.kernels import layout
from server.kernels.layout import Stage

PRESENT_NS = 1_000_000_000
"""The span that a legend's number sums up."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one layer of a stack."""

    name: str
    field: str
    color: str
    stage: Stage | None = None
    """Which column of a field that has one for each stage."""
    width: float = 1.6
    """Of the line, in pixels. Wide lines are drawn below narrow ones, so that lines that coincide are all seen."""
    dashed: bool = False
    opacity: float = 1.0
    peak: bool = False
    """Samples are summed up by their largest value, not by their mean."""

    def values(self, samples: NDArray[Any]) -> NDArray[np.float64]:
        """This line's values, shape (n,); NaN where nothing was seen. `samples`: shape (n,), dtype SAMPLE."""
        column = samples[self.field]
        return (column if self.stage is None else column[:, self.stage]).astype(np.float64)

    def summed_up(self, values: NDArray[np.float64]) -> float:
        """The one number that stands for these values; NaN where none was seen."""
        seen = values[np.isfinite(values)]
        if len(seen) == 0:
            return float("nan")
        return float(seen.max() if self.peak else seen.mean())


@dataclass(frozen=True, slots=True)
class PanelSpec:
    """One panel: what it is called, what it shows and on which kind of axis."""

    title: str
    unit: str
    series: tuple[Series, ...]
    new_axis: Callable[[], Axis]
    legend_columns: int
    stacked: bool = False
    digits: Callable[[float], tuple[str, str]] = count_digits
    """How the legend writes a number: its digits and its suffix."""
    digits_widest: str = "88.8"
    """The legend keeps room for these."""
    empty_notice: str = ""
    """Said when the load runs and this panel has nothing to show; "" when zero is a sight of its own."""

    def table(self, samples: NDArray[Any]) -> NDArray[np.float64]:
        """The values of all series, shape (series, n), one for each of `trace.block_times`."""
        times_ns = samples["time_ns"]
        return np.stack([block_values(times_ns, line.values(samples), peak=line.peak) for line in self.series])

    def present(self, samples: NDArray[Any]) -> list[float]:
        """The present value of each series, NaN where the last second saw none."""
        if len(samples) == 0:
            return [float("nan")] * len(self.series)
        recent = samples[samples["time_ns"] > samples["time_ns"][-1] - PRESENT_NS]
        return [line.summed_up(line.values(recent)) for line in self.series]


def load_runs(samples: NDArray[Any]) -> bool:
    """Whether anything was offered or received in these samples."""
    return bool(np.any(samples["offered_per_s"] > 0) or np.any(samples["received_per_s"] > 0))


WAITING_NOTICE = "waiting for the load"

_STAGE_NAMES = layout.stage_names()
_STAGE_COLORS = {
    Stage.READ: style.GREEN,
    Stage.DECODE: style.SKY,
    Stage.ADMIT: style.YELLOW,
    Stage.APPLY: style.ORANGE,
    Stage.ENCODE: style.PURPLE,
    Stage.FANOUT: style.VERMILION,
}

THROUGHPUT = PanelSpec(
    title="Throughput",
    unit="placements per second",
    series=(
        Series("offered", "offered_per_s", style.SILVER, width=1.1, dashed=True),
        Series("received", "received_per_s", style.SKY, width=4.0, opacity=0.6),
        Series("admitted", "admitted_per_s", style.GREEN, width=1.8),
        Series("broadcast", "broadcast_per_s", style.ORANGE),
    ),
    new_axis=lambda: LinearAxis(floor=1000.0),
    legend_columns=2,
)
QUEUES = PanelSpec(
    title="Queue depth",
    unit="items (decode: bytes), log scale",
    series=tuple(
        Series(_STAGE_NAMES[stage], "depth_peak", color, stage=stage, width=1.4, peak=True)
        for stage, color in _STAGE_COLORS.items()
    ),
    new_axis=lambda: DepthAxis(floor=100.0),
    legend_columns=3,
)
LATENCY = PanelSpec(
    title="Placement-to-view latency",
    unit="ms, log scale",
    series=(
        Series("p50", "latency_ms_p50", style.SKY, width=1.8),
        Series("p99", "latency_ms_p99", style.ORANGE),
        Series("max", "latency_ms_max", style.VERMILION, width=1.1, opacity=0.9, peak=True),
    ),
    new_axis=lambda: LogAxis(low=1.0, floor=100.0),
    legend_columns=3,
    digits=measure_digits,
    digits_widest="8888",
    empty_notice="no placement seen by its device yet",
)
DROPS = PanelSpec(
    title="Drops by reason",
    unit="placements per second",
    series=(
        Series("rate", "throttled_per_s", style.PURPLE, width=1.0),
        Series("overload", "shed_per_s", style.VERMILION, width=1.0),
        Series("out of bounds", "out_of_bounds_per_s", style.YELLOW, width=1.0),
    ),
    new_axis=lambda: LinearAxis(floor=100.0),
    legend_columns=3,
    stacked=True,
    empty_notice="no drops",
)

GRID = ((THROUGHPUT, QUEUES), (LATENCY, DROPS))
"""The panels as they stand, rows from the top. Panels of a row have plots of one height."""
