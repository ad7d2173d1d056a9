"""A look at all connections, twice a second: how evenly they are served, who is over the limit, who lags behind.

It reads the connections page, whose rows the loops write while we look: a row may be half of one moment and half of
the next, which a difference over a second does not show. Invariant: a connection counts only when it was there at both
ends of that second, under the same number.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.kernels.layout import Phase

INTERVAL_NS = 500_000_000
"""Least time between two looks: rows of 20,000 connections are several megabytes."""
SPAN_NS = 1_000_000_000
"""Rates are over so long."""
ROWS_MAX = 32_768
"""Most rows looked at. Of more, every second, third and so on is, and stands for the others."""
LAG_TICKS = 3
"""A viewer that lacks more broadcasts than these lags behind: one is under way, one may have met a full socket."""
_BLOCK = 1024
_SERVED = ("admitted_count", "throttled_count")


@dataclass(frozen=True, slots=True)
class Census:
    """What the connections are like. None where it cannot be told yet."""

    fairness_index: float | None = None
    """Jain's index of what each had admitted a second: from 1/n, when one has all, to 1, when all have the same."""
    shares_per_s: tuple[float, float, float] | None = None
    """Placements admitted a second that 5 %, 50 % and 95 % of those that send did not exceed."""
    over_limit_count: int | None = None
    """Connections that were refused something for rate."""
    watching_count: int = 0
    """Connections that watch, whoever's they are."""
    lagging_count: int = 0
    """Viewers that lack more than LAG_TICKS broadcasts beside what they asked to wait."""
    lacked_count: int = 0
    """Deltas that all viewers together lack."""


@dataclass(frozen=True, slots=True)
class _Look:
    time_ns: int
    number: NDArray[Any]
    admitted: NDArray[Any]
    throttled: NDArray[Any]


class CensusTaker:
    """Looks at `connections`: shape (loops, slots), dtype CONNECTION."""

    def __init__(self, connections: NDArray[Any]) -> None:
        self._rows = connections
        self._end, self._step = 0, 1
        self._looks: deque[_Look] = deque()
        self.census = Census()

    def poll(self, now_ns: int, newest_tick: int, tick_ns: int) -> Census:
        """The newest census, taken now if the last is old enough.

        `newest_tick`: the last that changed anything; `tick_ns`: the present tick interval.
        """
        if not self._looks or now_ns - self._looks[-1].time_ns >= INTERVAL_NS:
            self.census = self._take(now_ns, newest_tick, tick_ns)
        return self.census

    def _take(self, now_ns: int, newest_tick: int, tick_ns: int) -> Census:
        self._end = self._used_end()
        step = max(1, -(-self._end * len(self._rows) // ROWS_MAX))
        if step != self._step:
            self._step = step
            self._looks.clear()  # They were of other rows.
        rows = self._rows[:, : self._end : step]
        is_open = (rows["phase"] == Phase.SLOW) | (rows["phase"] == Phase.FAST)
        sends = is_open & (rows["received_count"] > 0)
        number = rows["number"].copy()
        served = [rows[name].copy() for name in _SERVED]
        is_same = rows["number"] == number  # Else the slot was another connection's before its counts were read.
        look = _Look(now_ns, np.where(sends & is_same, number, -1), *served)
        self._looks.append(look)
        while len(self._looks) > 2 and now_ns - self._looks[1].time_ns >= SPAN_NS:
            self._looks.popleft()
        watches = is_open & (rows["subscribed"] > 0)
        lack = np.where(watches, np.maximum(newest_tick - rows["cursor"], 0), 0)
        lagging = (lack - LAG_TICKS) * tick_ns > rows["interval_ns"]
        index, shares, over = _served(self._looks[0], look)
        return Census(
            fairness_index=index,
            shares_per_s=shares,
            over_limit_count=None if over is None else over * step,
            watching_count=int(watches.sum()) * step,
            lagging_count=int(lagging.sum()) * step,
            lacked_count=int(lack.sum()) * step,
        )

    def _used_end(self) -> int:
        """One past the slots in use, or a little more. Loops fill slots from the lowest, so memory behind the end was
        never touched, and need not be."""
        end, slots = self._end, int(self._rows.shape[1])
        while end < slots and (self._rows["phase"][:, end : end + _BLOCK] != Phase.FREE).any():
            end += _BLOCK
        return min(end, slots)


def _served(first: _Look, last: _Look) -> tuple[float | None, tuple[float, float, float] | None, int | None]:
    """Fairness index, shares and the number over the limit, between two looks."""
    seconds = (last.time_ns - first.time_ns) / 1e9
    width = min(first.number.shape[1], last.number.shape[1])
    same = (last.number[:, :width] == first.number[:, :width]) & (last.number[:, :width] >= 0)
    if seconds <= 0 or not same.any():
        return None, None, None
    admitted = (last.admitted[:, :width] - first.admitted[:, :width])[same] / seconds
    throttled = (last.throttled[:, :width] - first.throttled[:, :width])[same]
    p5, p50, p95 = (float(share) for share in np.percentile(admitted, (5, 50, 95)))
    return jain_index(admitted), (p5, p50, p95), int((throttled > 0).sum())


def jain_index(shares: NDArray[np.float64]) -> float | None:
    """Jain's fairness index: the square of the sum over n times the sum of squares. None when nobody has anything."""
    squares = float((shares**2).sum())
    return float(shares.sum()) ** 2 / (len(shares) * squares) if squares > 0 else None
