"""From samples to points of a line: blocks of time, gaps, times that saw nothing, dashes. No matplotlib here.

Samples come faster than ticks, and a line that jumps with every tick is not read: a point stands for a block of time.
Invariant: blocks and dashes are fixed in time, not in the picture, so a trace glides to the left without flickering.
"""

import numpy as np
from numpy.typing import NDArray

BLOCK_NS = 500_000_000
"""A point sums up the samples of this time."""
GAP_NS = 2_500_000_000
"""Points further apart are not joined. Wide enough for the longest tick of a slow server: it is seen as one line."""
DASH_NS, DASH_PERIOD_NS = 3 * BLOCK_NS, 5 * BLOCK_NS
"""A dash and its repetition, whole blocks, fixed in time so that dashes travel with their line."""

Times = NDArray[np.int64]
Values = NDArray[np.float64]


def block_times(times_ns: Times) -> Times:
    """When each block ends; the last, unfinished one at the newest sample. `times_ns`: shape (n,), ascending."""
    if len(times_ns) == 0:
        return times_ns
    ends = (times_ns[_block_starts(times_ns)] // BLOCK_NS + 1) * BLOCK_NS
    ends[-1] = times_ns[-1]
    return ends


def block_values(times_ns: Times, values: Values, *, peak: bool) -> Values:
    """The mean, or the `peak`, of what each block saw; NaN where it saw nothing. Both shape (n,).

    The last value looks back a whole block, however young its own is: the end of the line does not jump.
    """
    if len(times_ns) == 0:
        return values
    blocks = _reduced(values, _block_starts(times_ns), peak=peak)
    recent = values[times_ns > times_ns[-1] - BLOCK_NS]
    blocks[-1] = _reduced(recent, np.zeros(1, np.int64), peak=peak)[0]
    return blocks


def _block_starts(times_ns: Times) -> NDArray[np.int64]:
    """The index of the first sample of each block."""
    return np.flatnonzero(np.diff(times_ns // BLOCK_NS, prepend=-1))


def _reduced(values: Values, starts: NDArray[np.int64], *, peak: bool) -> Values:
    if peak:
        peaks: Values = np.fmax.reduceat(values, starts)
        return peaks
    seen = np.isfinite(values)
    counts = np.add.reduceat(seen.astype(np.float64), starts)
    sums = np.add.reduceat(np.where(seen, values, 0.0), starts)
    means: Values = np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0)
    return means


def broken_at_gaps(times_ns: Times, values: Values) -> tuple[Times, Values]:
    """The points of one line that were seen, with a NaN where the line breaks. Shapes (n,) in, (m,) out.

    A point before a gap is held for one block, so that a lonely one is seen too.
    """
    seen = np.isfinite(values)
    times, values = times_ns[seen], values[seen]
    ends = np.flatnonzero(np.diff(times) > GAP_NS)
    held = times[ends] + BLOCK_NS
    times = np.insert(times, np.repeat(ends + 1, 2), np.repeat(held, 2))
    fill = np.column_stack([values[ends], np.full(len(ends), np.nan)]).ravel()
    return times, np.insert(values, np.repeat(ends + 1, 2), fill)


def fallen_at_gaps(times_ns: Times, rows: Values) -> tuple[Times, Values]:
    """The layers of a stack, at zero for the length of every gap. `rows`: shape (layers, n) in, (layers, m) out."""
    ends = np.flatnonzero(np.diff(times_ns) > GAP_NS)
    where = np.repeat(ends + 1, 2)
    edges = np.column_stack([times_ns[ends] + BLOCK_NS, times_ns[ends + 1]]).ravel()
    return np.insert(times_ns, where, edges), np.insert(rows, where, 0.0, axis=1)


def dashes(times_ns: Times, values: Values) -> Values:
    """The same line with the spaces between its dashes cut out."""
    return np.where(times_ns % DASH_PERIOD_NS <= DASH_NS, values, np.nan)
