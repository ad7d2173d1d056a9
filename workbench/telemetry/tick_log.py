"""Collects the server's ticks from their ring before it wraps around, and knows their intervals.

A tick is collected once, after the server has finished it. The memory used is bounded, however long the run is.
"""

from array import array
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.ipc.page import Page
from server.kernels.layout import STAGE_COUNT, TICK_ROWS

# Ticks whose times are kept: three hours of ten per second. With more, every second one is dropped, and so on.
KEPT_MAX = 1 << 17


class TickLog:
    """Follows the tick ring of a telemetry page."""

    def __init__(self, telemetry: Page) -> None:
        self._server = telemetry["server"]
        self._rows = telemetry["ticks"]
        self._collected = 0  # The last collected tick.
        self._starts_ns = array("q")
        self._intervals_ns = array("q")
        self._step = 1

    def collect(self) -> NDArray[Any]:
        """The ticks finished since the last call, oldest first, dtype TICK, if the ring still has them."""
        tick = int(self._server[0]["tick"])
        numbers = np.arange(max(self._collected + 1, tick - TICK_ROWS + 1), tick + 1)
        rows: NDArray[Any] = self._rows[numbers % TICK_ROWS]
        # The server writes a row's new number first: a row that still has the old number was whole when it was read.
        rows = rows[self._rows["tick"][numbers % TICK_ROWS] == numbers]
        self._collected = max(tick, self._collected)
        kept = rows[rows["tick"] % self._step == 0]
        self._starts_ns.extend(kept["start_ns"].tolist())
        self._intervals_ns.extend(kept["interval_ns"].tolist())
        # Evenly thinned, the kept intervals have the same distribution as all.
        if len(self._starts_ns) > KEPT_MAX:
            self._step *= 2
            self._starts_ns, self._intervals_ns = self._starts_ns[::2], self._intervals_ns[::2]
        return rows

    def intervals_ns(self, from_ns: int, until_ns: int) -> NDArray[np.int64]:
        """Intervals of the ticks that started in [from_ns, until_ns), or of evenly chosen ones of very many."""
        starts = np.array(self._starts_ns, np.int64)
        intervals = np.array(self._intervals_ns, np.int64)
        return intervals[(starts >= from_ns) & (starts < until_ns) & (intervals > 0)]


class RecentTicks:
    """The ticks of the last `span_ns`: their peaks and intervals."""

    def __init__(self, span_ns: int) -> None:
        self._span_ns = span_ns
        self._blocks: deque[tuple[int, NDArray[Any]]] = deque()
        self.newest_depth_peak = np.zeros(STAGE_COUNT, np.int64)
        """The most that waited before each stage in the ticks that were added last, shape (STAGE_COUNT,)."""
        self._last_start_ns = 0
        self.changed_tick = 0
        """The last tick that changed a pixel; a viewer that has it lacks nothing."""

    def add(self, now_ns: int, rows: NDArray[Any]) -> None:
        """Add ticks, dtype TICK, and drop those that are too old."""
        self._blocks.append((now_ns, rows))
        while now_ns - self._blocks[0][0] >= self._span_ns:
            self._blocks.popleft()
        if len(rows):
            self._last_start_ns = int(rows["start_ns"][-1])
            self.newest_depth_peak = rows["depth_peak"].max(axis=0).astype(np.int64)
        changed = rows["tick"][rows["pixel_count"] > 0]
        if len(changed):
            self.changed_tick = int(changed[-1])

    @property
    def depth_peak(self) -> NDArray[np.int64]:
        """The most that waited before each stage, shape (STAGE_COUNT,)."""
        peak = np.zeros(STAGE_COUNT, np.int64)
        for _, rows in self._blocks:
            if len(rows):
                np.maximum(peak, rows["depth_peak"].max(axis=0), out=peak)
        return peak

    def interval_ms(self, now_ns: int) -> float | None:
        """Mean time between their starts, or since the last one if that is longer; None before the first."""
        if not self._last_start_ns:
            return None
        intervals = [rows["interval_ns"] for _, rows in self._blocks if len(rows)]
        mean_ns = float(np.concatenate(intervals).mean()) if intervals else 0.0
        return max(mean_ns, now_ns - self._last_start_ns) / 1e6
