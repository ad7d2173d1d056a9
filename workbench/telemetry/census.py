"""A census of all connections, twice per second: how evenly they are served, how many exceed the rate limit or lag.

It reads the connections page while the loops write it: a row may be half of one moment and half of the next, which a
difference over a second does not show. A connection counts only if it was there at both ends of that second.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.kernels.layout import Phase

# Least time between two censuses: rows of 20,000 connections are several megabytes.
INTERVAL_NS = 500_000_000
# The time that rates cover.
SPAN_NS = 1_000_000_000
# Most rows read. Of more, only every second, third and so on is read, and counts for its neighbours too.
ROWS_MAX = 32_768
# A viewer lags if it lacks more broadcasts than these: one is under way, one may have met a full socket.
LAG_TICKS = 3
_BLOCK = 1024
_SERVED = ("admitted_count", "throttled_count")


@dataclass(frozen=True, slots=True)
class Census:
    """Figures of the connections, by their names in `plots.figures`. None where nothing is known yet."""

    fairness_index: float | None = None
    """Jain's index of the rates admitted: from 1/n, when one connection has all, to 1, when all have the same."""
    share_p5_per_s: float | None = None
    """Placements admitted per second that 5 % of the connections that send do not exceed; then 50 % and 95 %."""
    share_p50_per_s: float | None = None
    share_p95_per_s: float | None = None
    over_limit_count: int | None = None
    """Connections of which placements were throttled."""
    watching_count: int = 0
    """Connections that watch, of any client."""
    lagging_count: int = 0
    """Viewers that lack more than LAG_TICKS broadcasts beside those that they asked not to get yet."""
    lacked_count: int = 0
    """Deltas that all viewers together lack."""


@dataclass(frozen=True, slots=True)
class _Look:
    time_ns: int
    number: NDArray[Any]
    admitted: NDArray[Any]
    throttled: NDArray[Any]


class CensusTaker:
    """Takes the census of `connections`: shape (loops, slots), dtype CONNECTION."""

    def __init__(self, connections: NDArray[Any]) -> None:
        self._rows = connections
        self._end, self._step = 0, 1
        self._looks: deque[_Look] = deque()
        self.census = Census()

    def poll(self, now_ns: int, newest_tick: int, tick_ns: int) -> Census:
        """The newest census. `newest_tick`: the last that changed anything; `tick_ns`: the present tick interval."""
        if not self._looks or now_ns - self._looks[-1].time_ns >= INTERVAL_NS:
            self.census = self._take(now_ns, newest_tick, tick_ns)
        return self.census

    def _take(self, now_ns: int, newest_tick: int, tick_ns: int) -> Census:
        self._end = self._used_end()
        step = max(1, -(-self._end * len(self._rows) // ROWS_MAX))
        if step != self._step:
            self._step = step
            self._looks.clear()  # Rows of another choice cannot be compared.
        rows = self._rows[:, : self._end : step]
        is_open = (rows["phase"] == Phase.SLOW) | (rows["phase"] == Phase.FAST)
        sends = is_open & (rows["received_count"] > 0)
        number = rows["number"].copy()
        served = [rows[name].copy() for name in _SERVED]
        # Where the number changed, the slot went to another connection while its counts were read.
        is_same = rows["number"] == number
        look = _Look(now_ns, np.where(sends & is_same, number, -1), *served)
        self._looks.append(look)
        while len(self._looks) > 2 and now_ns - self._looks[1].time_ns >= SPAN_NS:
            self._looks.popleft()
        watches = is_open & (rows["subscribed"] > 0)
        lack = np.where(watches, np.maximum(newest_tick - rows["cursor"], 0), 0)
        lagging = (lack - LAG_TICKS) * tick_ns > rows["interval_ns"]
        return Census(
            **_served(self._looks[0], look, step),
            watching_count=int(watches.sum()) * step,
            lagging_count=int(lagging.sum()) * step,
            lacked_count=int(lack.sum()) * step,
        )

    def _used_end(self) -> int:
        """One past the slots in use, or a little more."""
        # Loops fill slots from the lowest: memory behind the end was never touched, and reading it would allocate it.
        end, slots = self._end, int(self._rows.shape[1])
        while end < slots and (self._rows["phase"][:, end : end + _BLOCK] != Phase.FREE).any():
            end += _BLOCK
        return min(end, slots)


def _served(first: _Look, last: _Look, step: int) -> dict[str, Any]:
    """The figures that are rates between two looks; none where they cannot be known. `step`: see ROWS_MAX."""
    seconds = (last.time_ns - first.time_ns) / 1e9
    width = min(first.number.shape[1], last.number.shape[1])
    same = (last.number[:, :width] == first.number[:, :width]) & (last.number[:, :width] >= 0)
    if seconds <= 0 or not same.any():
        return {}
    admitted = (last.admitted[:, :width] - first.admitted[:, :width])[same] / seconds
    throttled = (last.throttled[:, :width] - first.throttled[:, :width])[same]
    names = ("share_p5_per_s", "share_p50_per_s", "share_p95_per_s")
    shares = dict(zip(names, np.percentile(admitted, (5, 50, 95)).tolist(), strict=True))
    over = int((throttled > 0).sum()) * step
    return {"fairness_index": jain_index(admitted), **shares, "over_limit_count": over}


def jain_index(shares: NDArray[np.float64]) -> float | None:
    """Jain's fairness index: the square of the sum over n times the sum of squares. None when all are 0."""
    squares = float((shares**2).sum())
    return float(shares.sum()) ** 2 / (len(shares) * squares) if squares > 0 else None
