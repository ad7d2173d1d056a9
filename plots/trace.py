"""From samples to points of a line: blocks of time, gaps, times that saw nothing, dashes. No matplotlib here.

Samples come faster than ticks, and a line that jumps with every tick is not read: a point stands for a block of time.
Invariant: blocks and dashes are fixed in time, not in the picture, so a trace glides to the left without flickering.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POINTS = 120
"""Blocks that a span is divided into: drawing an hour costs no more than drawing a minute."""
_STEP_NS = 100_000_000
_BLOCK_NS_LEAST = 200_000_000
_GAP_NS_LEAST = 2_500_000_000

Times = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bucketing:
    """Blocks of time, and what is measured in them."""

    block_ns: int
    """A point sums up the samples of this time."""

    @classmethod
    def for_span(cls, span_ns: int) -> "Bucketing":
        """The grain of a plot that shows so much time."""
        return cls(max(-(-span_ns // (POINTS * _STEP_NS)) * _STEP_NS, _BLOCK_NS_LEAST))

    @property
    def gap_ns(self) -> int:
        """Points further apart are not joined. Longer than any tick of a slow server, which is seen as one line."""
        return max(_GAP_NS_LEAST, 5 * self.block_ns // 2)

    @property
    def dash_ns(self) -> int:
        """Length of a dash, whole blocks."""
        return 3 * self.block_ns

    @property
    def dash_period_ns(self) -> int:
        """From one dash to the next; fixed in time, so that dashes travel with their line."""
        return 5 * self.block_ns


def block_times(times_ns: Times, grain: Bucketing) -> Times:
    """When each block ends; the last, unfinished one at the newest sample. `times_ns`: shape (n,), ascending."""
    if len(times_ns) == 0:
        return times_ns
    ends = (times_ns[block_starts(times_ns, grain)] // grain.block_ns + 1) * grain.block_ns
    ends[-1] = times_ns[-1]
    return ends


def block_values(times_ns: Times, values: Values, grain: Bucketing, *, peak: bool) -> Values:
    """The mean, or the `peak`, of what each block saw; NaN where it saw nothing. Both shape (n,).

    The last value looks back a whole block, however young its own is: the end of the line does not jump.
    """
    if len(times_ns) == 0:
        return values
    blocks = _reduced(values, block_starts(times_ns, grain), peak=peak)
    recent = values[times_ns > times_ns[-1] - grain.block_ns]
    blocks[-1] = _reduced(recent, np.zeros(1, np.int64), peak=peak)[0]
    return blocks


def block_starts(times_ns: Times, grain: Bucketing) -> NDArray[np.int64]:
    """The index of the first sample of each block."""
    return np.flatnonzero(np.diff(times_ns // grain.block_ns, prepend=-1))


def _reduced(values: Values, starts: NDArray[np.int64], *, peak: bool) -> Values:
    if peak:
        peaks: Values = np.fmax.reduceat(values, starts)
        return peaks
    seen = np.isfinite(values)
    counts = np.add.reduceat(seen.astype(np.float64), starts)
    sums = np.add.reduceat(np.where(seen, values, 0.0), starts)
    means: Values = np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0)
    return means


def broken_at_gaps(times_ns: Times, values: Values, grain: Bucketing) -> tuple[Times, Values]:
    """The points of one line that were seen, with a NaN where the line breaks. Shapes (n,) in, (m,) out.

    A point before a gap is held for one block, so that a lonely one is seen too.
    """
    seen = np.isfinite(values)
    times, values = times_ns[seen], values[seen]
    ends = np.flatnonzero(np.diff(times) > grain.gap_ns)
    held = times[ends] + grain.block_ns
    times = np.insert(times, np.repeat(ends + 1, 2), np.repeat(held, 2))
    fill = np.column_stack([values[ends], np.full(len(ends), np.nan)]).ravel()
    return times, np.insert(values, np.repeat(ends + 1, 2), fill)


def fallen_at_gaps(times_ns: Times, rows: Values, grain: Bucketing) -> tuple[Times, Values]:
    """The layers of a stack, at zero for the length of every gap. `rows`: shape (layers, n) in, (layers, m) out."""
    ends = np.flatnonzero(np.diff(times_ns) > grain.gap_ns)
    where = np.repeat(ends + 1, 2)
    edges = np.column_stack([times_ns[ends] + grain.block_ns, times_ns[ends + 1]]).ravel()
    return np.insert(times_ns, where, edges), np.insert(rows, where, 0.0, axis=1)


def dashes(times_ns: Times, values: Values, grain: Bucketing) -> Values:
    """The same line with the spaces between its dashes cut out."""
    return np.where(times_ns % grain.dash_period_ns <= grain.dash_ns, values, np.nan)
