"""What a panel is told to show: its lines and layers, and where in samples their values are. No matplotlib here.

Not how it is drawn (see `panel`), nor which panels there are (see `series`). A legend shows the present value: over the
last second, because a number that changes ten times a second is not read, and the newest sample alone flickers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plots.axis import Axis, count_digits
from plots.trace import Bucketing, Times, Values, block_values

PRESENT_NS = 1_000_000_000
"""The span that a legend's number sums up."""

Samples = NDArray[Any]
"""Shape (n,), dtype SAMPLE, ascending in time."""
Read = Callable[[Samples], Values]
"""Values out of samples, shape (n,); NaN where nothing was seen."""
Digits = Callable[[float], tuple[str, str]]
"""How a legend writes a number: its digits and its suffix."""


def field(name: str, column: int | None = None) -> Read:
    """The values of one field of the samples, or of one column of a field that has one for each stage."""

    def read(samples: Samples) -> Values:
        values = samples[name]
        return (values if column is None else values[:, column]).astype(np.float64)

    return read


def growth_per_s(read: Read) -> Read:
    """How fast a count grows, over the second before each sample; NaN for the first, which has none before it."""

    def read_growth(samples: Samples) -> Values:
        counts, times_ns = read(samples), samples["time_ns"]
        before = np.searchsorted(times_ns, times_ns - PRESENT_NS)
        elapsed_s = (times_ns - times_ns[before]) * 1e-9
        rates: Values = np.divide(
            counts - counts[before], elapsed_s, out=np.full(len(counts), np.nan), where=elapsed_s > 0
        )
        return rates

    return read_growth


class Shape(Enum):
    """What is drawn of a series."""

    LINE = "line"
    LAYER = "layer"
    """A part of a whole, on top of the layers before it."""
    BAND = "band"
    """A line, and the ground between it and the first series of its panel."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one layer of a stack."""

    name: str
    read: Read
    color: str
    """Its name in `style.Theme`."""
    shape: Shape = Shape.LINE
    width: float = 1.6
    """Of the line, in pixels. Wide lines are drawn below narrow ones, so that lines that coincide are all seen."""
    dashed: bool = False
    opacity: float = 1.0
    peak: bool = False
    """Samples are summed up by their largest value, not by their mean."""
    whole: float = 0.0
    """Drawn against a scale of its own, from 0 to this at the top; 0: against the panel's axis."""
    says: Read | None = None
    """What the legend's number sums up, when it is not what is drawn."""
    digits: Digits | None = None
    """How the legend writes it, when not as the panel's others."""

    def present(self, recent: Samples) -> float:
        """The one number that stands for these samples; NaN where none was seen."""
        values = (self.says or self.read)(recent)
        seen = values[np.isfinite(values)]
        if len(seen) == 0:
            return float("nan")
        return float(seen.max() if self.peak else seen.mean())


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a panel of bars."""

    name: str
    values: tuple[float, ...]
    """One for each series of the panel."""
    notes: tuple[str, ...]
    """What is said beside each."""


@dataclass(frozen=True, slots=True)
class PanelSpec:
    """One panel: what it is called, what it shows and on which kind of axis."""

    title: str
    unit: str
    series: tuple[Series, ...]
    meaning: str
    """A sentence on what is seen in it, for whoever chooses panels."""
    new_axis: Callable[[], Axis]
    legend_columns: int
    """At most, where the panel is wide enough."""
    short_title: str = ""
    """Where the title leaves no room for what stands beside it; "": it has no shorter form."""
    heat: bool = False
    """Beneath its lines lies the heat map of `latency_counts`, on the same axis."""
    rows: Callable[[Samples], tuple[Row, ...]] | None = None
    """It has a bar a row instead of a plot over time: the rows at the last of the samples. See `bars`."""
    brushed: bool = False
    """It counts only what was placed in the brushed tiles, when there are any."""
    digits: Digits = count_digits
    digits_widest: str = "88.8"
    """The legend keeps room for these."""
    empty_notice: str = ""
    """Said when the load runs and this panel has nothing to show; "" when zero is a sight of its own."""

    def table(self, samples: Samples, grain: Bucketing) -> Values:
        """The values of all series, shape (series, n), one for each of `trace.block_times`; layers are piled up."""
        times_ns: Times = samples["time_ns"]
        rows = np.stack([block_values(times_ns, line.read(samples), grain, peak=line.peak) for line in self.series])
        layers = [index for index, line in enumerate(self.series) if line.shape is Shape.LAYER]
        rows[layers] = np.cumsum(np.nan_to_num(rows[layers]), axis=0)
        return rows

    def present(self, samples: Samples) -> list[float]:
        """The present value of each series, NaN where the last second saw none."""
        if len(samples) == 0:
            return [float("nan")] * len(self.series)
        recent = samples[samples["time_ns"] > samples["time_ns"][-1] - PRESENT_NS]
        return [line.present(recent) for line in self.series]
