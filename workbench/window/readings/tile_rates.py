"""What happened in each tile lately: differences of readings of counters that only grow.

It reads two pages and draws nothing. Invariant: a rate is a true count over a true span; before there are two readings
far enough apart it is not known, which is NaN and never 0.
"""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

READ_INTERVAL_NS = 250_000_000
RATE_SPAN_NS = 1_000_000_000
DELAY_SPAN_NS = 5_000_000_000
"""Probes are few: a tile's delay is that of the last five seconds."""

TILE_COUNTS = ("applied_count", "merged_count", "throttled_count")
"""What is read of TILE."""

Counts = dict[str, NDArray[np.int64]]


class TileRates:
    """Keeps readings of a canvas's tiles, four a second. Arrays have the shape (tiles down, tiles across)."""

    def __init__(self) -> None:
        self._readings: deque[tuple[int, Counts]] = deque()

    def read(self, tiles: NDArray[Any], tile_latency: NDArray[Any], now_ns: int) -> bool:
        """Take a reading if one is due. `tiles`: TILE by place; `tile_latency`: TILE_LATENCY, at least as many.

        The same canvas each time: another one has readings of its own.
        """
        if self._readings and now_ns - self._readings[-1][0] < READ_INTERVAL_NS:
            return False
        counts = {name: tiles[name].copy() for name in TILE_COUNTS}
        latency = tile_latency[: tiles.size]
        counts |= {name: latency[name].reshape(tiles.shape).copy() for name in ("sum_us", "count")}
        self._readings.append((now_ns, counts))
        while len(self._readings) > 2 and now_ns - self._readings[1][0] >= DELAY_SPAN_NS:
            self._readings.popleft()
        return True

    def per_second(self, name: str) -> NDArray[np.float64] | None:
        """How fast one of TILE_COUNTS grows in each tile, a second, over the last second; None when not yet known."""
        pair = self._pair(RATE_SPAN_NS)
        if pair is None:
            return None
        (first_ns, first), (last_ns, last) = pair
        rates: NDArray[np.float64] = (last[name] - first[name]).astype(np.float64) * (1e9 / (last_ns - first_ns))
        return rates

    def overwritten_per_s(self) -> NDArray[np.float64] | None:
        """Placements applied that no tick broadcast, because a newer one took their pixel first; a second."""
        applied, merged = self.per_second("applied_count"), self.per_second("merged_count")
        return None if applied is None or merged is None else np.maximum(applied - merged, 0.0)

    def delay_ms(self) -> NDArray[np.float64] | None:
        """Mean placement-to-view latency by tile over the last seconds; NaN where nothing was probed."""
        pair = self._pair(DELAY_SPAN_NS)
        if pair is None:
            return None
        (_, first), (_, last) = pair
        count = last["count"] - first["count"]
        sum_us = last["sum_us"] - first["sum_us"]
        return np.where(count > 0, sum_us / np.maximum(count, 1) / 1000, np.nan)

    def _pair(self, span_ns: int) -> tuple[tuple[int, Counts], tuple[int, Counts]] | None:
        """The newest reading and the newest of those at least `span_ns` older, or else the oldest."""
        if len(self._readings) < 2:
            return None
        last = self._readings[-1]
        old = [reading for reading in self._readings if last[0] - reading[0] >= span_ns]
        return (old[-1] if old else self._readings[0]), last
