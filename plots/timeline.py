"""Time in panels: the span that is shown, its labels, and how samples become the points of a line. No matplotlib here.

Samples come faster than ticks, and a line that jumps at every tick is hard to read, so a point stands for a block of
time. Blocks, gaps and dashes are fixed in time, not in the picture: a line glides to the left without flickering.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The default length of a span.
SPAN_S = 60.0
SPAN_S_LEAST, SPAN_S_MOST = 5.0, 3600.0 * 24
# Where the time axis has labels: thirds give 20 s of a minute, 5 s of 15 s, 200 s of ten minutes.
TICK_PLACES = (0.0, 1 / 3, 2 / 3, 1.0)
MINUS = "\N{MINUS SIGN}"
# Rates are computed from counts this far back, so the samples before the left edge are needed too.
LEAD_IN_NS = 1_000_000_000
# Labels of a live span up to this length are in seconds, of a longer one in minutes and seconds.
_SECONDS_MAX = 90

# Blocks that a span is divided into: drawing an hour costs no more than drawing a minute.
POINTS = 120
_STEP_NS = 100_000_000
_BLOCK_NS_LEAST = 200_000_000
_GAP_NS_LEAST = 2_500_000_000

Times = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bucketing:
    """The length of the blocks of time that samples are grouped into."""

    block_ns: int

    @classmethod
    def for_span(cls, span_ns: int) -> "Bucketing":
        """For a plot of this length."""
        return cls(max(-(-span_ns // (POINTS * _STEP_NS)) * _STEP_NS, _BLOCK_NS_LEAST))

    @property
    def gap_ns(self) -> int:
        """Points further apart are not joined. Longer than any tick of a slow server, which is drawn as one line."""
        return max(_GAP_NS_LEAST, 5 * self.block_ns // 2)

    @property
    def dash_ns(self) -> int:
        """Length of a dash, in whole blocks."""
        return 3 * self.block_ns

    @property
    def dash_period_ns(self) -> int:
        """From the start of one dash to the next; fixed in time, so that dashes move with their line."""
        return 5 * self.block_ns


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """`span_ns` up to `end_ns`, the right edge. Labels count from `origin_ns`.

    A live span ends at the newest sample, not at the clock's present: otherwise the picture trembles between samples.
    """

    end_ns: int
    span_ns: int
    origin_ns: int
    live: bool

    @classmethod
    def live_at(cls, now_ns: int, span_s: float = SPAN_S) -> "TimeSpan":
        """The time up to now."""
        return cls(now_ns, _nanoseconds(span_s), now_ns, live=True)

    @classmethod
    def still_at(cls, end_ns: int, span_s: float, origin_ns: int) -> "TimeSpan":
        """A fixed time up to `end_ns`, labelled with the offset from `origin_ns`."""
        return cls(end_ns, _nanoseconds(span_s), origin_ns, live=False)

    @property
    def start_ns(self) -> int:
        """The left edge."""
        return self.end_ns - self.span_ns

    @property
    def bucketing(self) -> Bucketing:
        """The blocks that its samples are grouped into."""
        return Bucketing.for_span(self.span_ns)

    @property
    def first_ns(self) -> int:
        """Samples from here on are needed, so that lines enter at the left edge at their true height."""
        # Whole blocks: a part of a block would have another mean, and the left end would tremble.
        block_ns = self.bucketing.block_ns
        return (self.start_ns // block_ns - 1) * block_ns - LEAD_IN_NS

    def across(self, times_ns: Times) -> Values:
        """The horizontal position of these times: 0 at the left edge, 1 at the right."""
        places: Values = 1.0 + (times_ns - self.end_ns) / self.span_ns
        return places

    def tick_labels(self) -> tuple[str, ...]:
        """The labels at `TICK_PLACES`."""
        offsets = [round((self.start_ns + place * self.span_ns - self.origin_ns) * 1e-9) for place in TICK_PLACES]
        if not self.live:
            return tuple(clock_offset(offset) for offset in offsets)
        if self.span_ns > _SECONDS_MAX * 1_000_000_000:
            return (*(clock_offset(offset) for offset in offsets[:-1]), "now")
        first, *others = (f"{MINUS}{-offset}" for offset in offsets[:-1])
        return (f"{first} s", *others, "now")


def clock_offset(seconds: int) -> str:
    """An offset in minutes and seconds: `clock_offset(-320)` is 5:20 with a minus sign."""
    minutes, rest = divmod(abs(seconds), 60)
    return f"{MINUS if seconds < 0 else ''}{minutes}:{rest:02}"


def _nanoseconds(span_s: float) -> int:
    return round(min(max(span_s, SPAN_S_LEAST), SPAN_S_MOST) * 1e9)


# --- Points of a line -----------------------------------------------------------------------------------------------


def block_times(times_ns: Times, bucketing: Bucketing) -> Times:
    """The end of each block; the last, unfinished one ends at the newest sample. `times_ns`: shape (n,), ascending."""
    if len(times_ns) == 0:
        return times_ns
    ends = (times_ns[block_starts(times_ns, bucketing)] // bucketing.block_ns + 1) * bucketing.block_ns
    # The last block is still filling: drawn at its end, the line would run ahead of its samples.
    ends[-1] = times_ns[-1]
    return ends


def block_values(times_ns: Times, values: Values, bucketing: Bucketing, *, peak: bool) -> Values:
    """The mean, or the `peak`, of the values in each block; NaN where there is none. Both shape (n,).

    The last value covers the whole block length before the newest sample, however young the last block is, so the end
    of the line does not jump.
    """
    if len(times_ns) == 0:
        return values
    blocks = _reduced(values, block_starts(times_ns, bucketing), peak=peak)
    recent = values[times_ns > times_ns[-1] - bucketing.block_ns]
    blocks[-1] = _reduced(recent, np.zeros(1, np.int64), peak=peak)[0]
    return blocks


def block_starts(times_ns: Times, bucketing: Bucketing) -> NDArray[np.int64]:
    """The index of the first sample of each block."""
    return np.flatnonzero(np.diff(times_ns // bucketing.block_ns, prepend=-1))


def _reduced(values: Values, starts: NDArray[np.int64], *, peak: bool) -> Values:
    if peak:
        peaks: Values = np.fmax.reduceat(values, starts)
        return peaks
    # nanmean over ragged blocks: reduceat knows no NaN, so sums and counts are taken apart.
    seen = np.isfinite(values)
    counts = np.add.reduceat(seen.astype(np.float64), starts)
    sums = np.add.reduceat(np.where(seen, values, 0.0), starts)
    means: Values = np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0)
    return means


def broken_at_gaps(times_ns: Times, values: Values, bucketing: Bucketing) -> tuple[Times, Values]:
    """The known points of one line, with a NaN where the line breaks. Shapes (n,) in, (m,) out.

    A point before a gap is extended for one block, so that a single point is visible too.
    """
    seen = np.isfinite(values)
    times, values = times_ns[seen], values[seen]
    ends = np.flatnonzero(np.diff(times) > bucketing.gap_ns)
    held = times[ends] + bucketing.block_ns
    times = np.insert(times, np.repeat(ends + 1, 2), np.repeat(held, 2))
    fill = np.column_stack([values[ends], np.full(len(ends), np.nan)]).ravel()
    return times, np.insert(values, np.repeat(ends + 1, 2), fill)


def fallen_at_gaps(times_ns: Times, rows: Values, bucketing: Bucketing) -> tuple[Times, Values]:
    """The layers of a stack, with zeros over the length of every gap. `rows`: shape (layers, n) in, (layers, m) out."""
    ends = np.flatnonzero(np.diff(times_ns) > bucketing.gap_ns)
    where = np.repeat(ends + 1, 2)
    edges = np.column_stack([times_ns[ends] + bucketing.block_ns, times_ns[ends + 1]]).ravel()
    return np.insert(times_ns, where, edges), np.insert(rows, where, 0.0, axis=1)


def dashes(times_ns: Times, values: Values, bucketing: Bucketing) -> Values:
    """The same line with NaN in the spaces between its dashes."""
    return np.where(times_ns % bucketing.dash_period_ns <= bucketing.dash_ns, values, np.nan)
