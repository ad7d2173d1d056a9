"""The time that panels show: where a time lies across a plot, what the time axis says. No matplotlib here.

The plots' grid stands still, at thirds of the span, and only what the axis says changes. A live span ends at the newest
sample and not at the clock's present: the picture would tremble between samples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plots.trace import Bucketing

SPAN_S = 60.0
"""What the panels look back on, unless told otherwise."""
SPAN_S_LEAST, SPAN_S_MOST = 5.0, 3600.0 * 24
TICK_PLACES = (0.0, 1 / 3, 2 / 3, 1.0)
"""Thirds: 20 s of a minute, 5 s of 15 s, 200 s of ten minutes."""
MINUS = "\N{MINUS SIGN}"
LEAD_IN_NS = 1_000_000_000
"""Rates of what is counted look back so far."""
_SECONDS_MAX = 90
"""A live span up to this is told in seconds, a longer one in minutes and seconds."""


@dataclass(frozen=True, slots=True)
class Span:
    """`span_ns` up to `end_ns`, the right edge. Offsets on the axis count from `origin_ns`."""

    end_ns: int
    span_ns: int
    origin_ns: int
    live: bool

    @classmethod
    def live_at(cls, now_ns: int, span_s: float = SPAN_S) -> "Span":
        """The time up to now."""
        return cls(now_ns, _nanoseconds(span_s), now_ns, live=True)

    @classmethod
    def still_at(cls, end_ns: int, span_s: float, origin_ns: int) -> "Span":
        """The time up to `end_ns`, told as how long it is from `origin_ns`."""
        return cls(end_ns, _nanoseconds(span_s), origin_ns, live=False)

    @property
    def start_ns(self) -> int:
        """The left edge."""
        return self.end_ns - self.span_ns

    @property
    def grain(self) -> Bucketing:
        """The blocks of time that a point stands for."""
        return Bucketing.for_span(self.span_ns)

    @property
    def first_ns(self) -> int:
        """Samples from here on are needed, so that lines come in from the left edge at their true height."""
        block_ns = self.grain.block_ns
        return (self.start_ns // block_ns - 1) * block_ns - LEAD_IN_NS

    def across(self, times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Where these times lie: 0 at the left edge, 1 at the right."""
        places: NDArray[np.float64] = 1.0 + (times_ns - self.end_ns) / self.span_ns
        return places

    def tick_labels(self) -> tuple[str, ...]:
        """What the axis says at `TICK_PLACES`."""
        offsets = [round((self.start_ns + place * self.span_ns - self.origin_ns) * 1e-9) for place in TICK_PLACES]
        if not self.live:
            return tuple(clock_offset(offset) for offset in offsets)
        if self.span_ns > _SECONDS_MAX * 1_000_000_000:
            return (*(clock_offset(offset) for offset in offsets[:-1]), "now")
        first, *others = (f"{MINUS}{-offset}" for offset in offsets[:-1])
        return (f"{first} s", *others, "now")


def clock_offset(seconds: int) -> str:
    """How long before or after, in minutes and seconds: `clock_offset(-320)` is 5:20 with a minus sign."""
    minutes, rest = divmod(abs(seconds), 60)
    return f"{MINUS if seconds < 0 else ''}{minutes}:{rest:02}"


def _nanoseconds(span_s: float) -> int:
    return round(min(max(span_s, SPAN_S_LEAST), SPAN_S_MOST) * 1e9)
