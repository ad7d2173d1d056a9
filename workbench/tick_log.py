"""Collects the server's ticks from their ring before it comes round, and tells how long their intervals were.

Invariant: a tick is collected once, and only after the server has named it finished.
"""

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.kernels.layout import TICK_ROWS
from server.page import Page

_UNSAFE_ROWS = 8
"""The oldest rows of a full ring may be written over while we copy; so many are left out."""


class TickLog:
    """Follows the tick ring of a telemetry page."""

    def __init__(self, telemetry: Page) -> None:
        self._server = telemetry["server"]
        self._rows = telemetry["ticks"]
        self._collected = 0  # The last tick that we have.
        self._starts_ns = array("q")
        self._intervals_ns = array("q")

    def collect(self) -> NDArray[Any]:
        """The ticks finished since the last call, oldest first, dtype TICK; at most what the ring still holds."""
        tick = int(self._server[0]["tick"])
        first = max(self._collected + 1, tick - TICK_ROWS + 1 + _UNSAFE_ROWS)
        rows = self._rows[np.arange(first, tick + 1) % TICK_ROWS]
        self._collected = max(tick, self._collected)
        self._starts_ns.extend(rows["start_ns"].tolist())
        self._intervals_ns.extend(rows["interval_ns"].tolist())
        return rows

    def intervals_ns(self, from_ns: int, until_ns: int) -> NDArray[np.int64]:
        """Tick intervals of the ticks that started in [from_ns, until_ns)."""
        starts = np.array(self._starts_ns, np.int64)
        intervals = np.array(self._intervals_ns, np.int64)
        return intervals[(starts >= from_ns) & (starts < until_ns) & (intervals > 0)]
