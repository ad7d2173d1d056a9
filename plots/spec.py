"""What a panel shows: its lines and layers, and where their values are in samples. No matplotlib here.

A legend shows the present value: over the last second, because a number that changes ten times per second cannot be
read, and the newest sample alone flickers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plots.axis import Axis
from plots.number import count_digits
from plots.timeline import Bucketing, Times, Values, block_values

# The time that a legend's number covers.
PRESENT_NS = 1_000_000_000

# Shape (n,), dtype history.SAMPLE, ascending in time.
Samples = NDArray[Any]
# Values from samples, shape (n,); NaN where nothing was seen.
Read = Callable[[Samples], Values]
# How a legend writes a number: its digits and its suffix.
Digits = Callable[[float], tuple[str, str]]


def field(name: str, column: int | None = None) -> Read:
    """The values of one field of the samples, or of one column of a field that has one per stage."""

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
    """How a series is drawn."""

    LINE = "line"
    LAYER = "layer"
    """A part of a whole, stacked on the layers before it."""
    BAND = "band"
    """A line, and the area between it and the first series of its panel."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one layer of a stack."""

    name: str
    read: Read
    color: str
    """Its name in `style.Theme`."""
    shape: Shape = Shape.LINE
    width: float = 1.6
    """Of the line, in pixels. Wide lines are drawn below narrow ones, so that coinciding lines are all visible."""
    dashed: bool = False
    opacity: float = 1.0
    peak: bool = False
    """Samples are reduced to their largest value, not to their mean."""
    whole: float = 0.0
    """Drawn on a scale of its own, from 0 to this at the top; 0: on the panel's axis."""
    legend_read: Read | None = None
    """What the legend's number summarises, when it is not what is drawn."""
    digits: Digits | None = None
    """How the legend writes it, when different from the panel's other series."""

    def present(self, recent: Samples) -> float:
        """The one number for these samples; NaN when no value is known."""
        values = (self.legend_read or self.read)(recent)
        seen = values[np.isfinite(values)]
        if len(seen) == 0:
            return float("nan")
        return float(seen.max() if self.peak else seen.mean())


@dataclass(frozen=True, slots=True)
class BarRow:
    """A row of a panel of bars."""

    name: str
    values: tuple[float, ...]
    """One for each series of the panel."""
    notes: tuple[str, ...]
    """A text beside each value."""


@dataclass(frozen=True, slots=True)
class PanelSpec:
    """One panel: its title, what it shows and on which kind of axis."""

    title: str
    unit: str
    series: tuple[Series, ...]
    meaning: str
    """One sentence, for the list from which panels are chosen."""
    new_axis: Callable[[], Axis]
    legend_columns: int
    """At most, where the panel is wide enough."""
    short_title: str = ""
    """Used where the title leaves no room for the texts beside it; "": there is no shorter form."""
    heat: bool = False
    """The heat map of `latency_counts` lies beneath its lines, on the same axis."""
    rows: Callable[[Samples], tuple[BarRow, ...]] | None = None
    """Bars instead of a plot over time: the rows at the last of the samples. See `bars`."""
    brushed: bool = False
    """It counts only what was placed in the selected tiles, when there are any."""
    digits: Digits = count_digits
    digits_widest: str = "88.8"
    """The legend reserves room for this."""
    empty_notice: str = ""
    """Shown when the load runs and this panel has nothing to show; "" when zero is worth seeing by itself."""

    def table(self, samples: Samples, bucketing: Bucketing) -> Values:
        """The values of all series, shape (series, n), one for each of `timeline.block_times`; layers are stacked."""
        times_ns: Times = samples["time_ns"]
        rows = np.stack([block_values(times_ns, line.read(samples), bucketing, peak=line.peak) for line in self.series])
        layers = [index for index, line in enumerate(self.series) if line.shape is Shape.LAYER]
        # An unknown layer counts as 0, or every layer above it would be unknown too.
        rows[layers] = np.cumsum(np.nan_to_num(rows[layers]), axis=0)
        return rows

    def present(self, samples: Samples) -> list[float]:
        """The present value of each series, NaN when the last second has none."""
        if len(samples) == 0:
            return [float("nan")] * len(self.series)
        recent = samples[samples["time_ns"] > samples["time_ns"][-1] - PRESENT_NS]
        return [line.present(recent) for line in self.series]
