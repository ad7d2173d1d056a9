"""What becomes of the placements in a brushed region: rates of its tiles, and latency of what was placed there.

It reads the canvas page's counts by tile and the fleet's histogram of the brushed tiles. Which loop received what, and
what was offered, is not told by tile. Invariant: a rate is between two looks at the same region.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.ipc.page import Page
from server.kernels.layout import HISTOGRAM_BUCKETS
from workbench.telemetry.quantile import maximum_ms, quantile_ms
from workbench.telemetry.view import TileBox

_SPAN_NS = 1_000_000_000
_FIELDS = ("applied_count", "merged_count", "throttled_count")


@dataclass(frozen=True, slots=True)
class _Look:
    time_ns: int
    counts: tuple[int, ...]
    """As _FIELDS, summed over the tiles."""
    latency: NDArray[Any]


@dataclass(frozen=True, slots=True)
class BrushedReading:
    """One region over the last second. Rates and latencies are None while they cannot be told."""

    applied_per_s: float | None
    merged_per_s: float | None
    throttled_per_s: float | None
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    latency_ms_max: float | None
    latency: NDArray[Any]
    """Seen since the look before, shape (HISTOGRAM_BUCKETS,)."""


class Brushed:
    """Follows one region of the canvas."""

    def __init__(self, box: TileBox, canvas: Page, fleet: Page) -> None:
        self.box = box
        self._tiles = canvas["tiles"][box.y0 : box.y1, box.x0 : box.x1]
        self._latency = fleet["brushed_latency"]
        self._latency_max_us = fleet["brushed_latency_max_us"]
        self._looks: deque[_Look] = deque()

    def look(self, now_ns: int) -> BrushedReading:
        """Take a look, and tell what the last second held."""
        counts = tuple(int(self._tiles[field].sum()) for field in _FIELDS)
        now = _Look(now_ns, counts, self._latency.copy())
        before = self._looks[-1] if self._looks else now
        self._looks.append(now)
        while len(self._looks) > 2 and now_ns - self._looks[1].time_ns >= _SPAN_NS:
            self._looks.popleft()
        first, max_us = self._looks[0], int(self._latency_max_us[0])
        seen = _since(first, now)
        applied, merged, throttled = _rates(first, now)
        return BrushedReading(
            applied_per_s=applied,
            merged_per_s=merged,
            throttled_per_s=throttled,
            latency_ms_p50=quantile_ms(seen, max_us, 0.5),
            latency_ms_p99=quantile_ms(seen, max_us, 0.99),
            latency_ms_max=maximum_ms(seen, max_us),
            latency=_since(before, now),
        )


def _since(first: _Look, last: _Look) -> NDArray[Any]:
    """What was seen between two looks; nothing when the fleet began its histogram anew between them."""
    seen = last.latency - first.latency
    return np.zeros(HISTOGRAM_BUCKETS, seen.dtype) if (seen < 0).any() else seen


def _rates(first: _Look, last: _Look) -> list[float | None]:
    seconds = (last.time_ns - first.time_ns) / 1e9
    if seconds <= 0:
        return [None] * len(_FIELDS)
    return [(after - before) / seconds for before, after in zip(first.counts, last.counts, strict=True)]
