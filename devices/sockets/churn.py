"""Who comes and goes: the devices that stay connected for a while, leave in order, and dial anew.

How long they stay is exponential, so that time already spent says nothing about what is left: at a change of the
settings it may simply be drawn anew. Time is an argument. Invariant: a device has one departure at most.
"""

import heapq

import numpy as np

from devices.config import FleetConfig
from devices.fleet.workload import spread


class Churn:
    """The departures that lie ahead."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._heap: list[tuple[int, int]] = []
        self._due_ns: dict[int, int] = {}
        self._chosen = np.zeros(0, np.bool_)
        self._mean_ns = 0.0

    def adjust(self, config: FleetConfig, open_devices: list[int], now_ns: int) -> None:
        """Go by these settings; the departures of the devices that are open are drawn anew."""
        count = config.connections
        self._chosen = spread(round(config.churn_ratio * count), count)
        self._mean_ns = config.churn_s * 1e9
        self.clear()
        for d in open_devices:
            self.opened(d, now_ns)

    def opened(self, d: int, now_ns: int) -> None:
        """Device `d` has joined: if it is one that comes and goes, draw how long it stays."""
        if d < len(self._chosen) and self._chosen[d]:
            due_ns = now_ns + int(self._random.exponential(self._mean_ns))
            self._due_ns[d] = due_ns
            heapq.heappush(self._heap, (due_ns, d))

    def cancel(self, d: int) -> None:
        """Device `d` is gone already."""
        self._due_ns.pop(d, None)

    def clear(self) -> None:
        """Nobody leaves any more."""
        self._heap.clear()
        self._due_ns.clear()

    def take(self, now_ns: int) -> list[int]:
        """The devices that are to leave now."""
        taken: list[int] = []
        while self._heap and self._heap[0][0] <= now_ns:
            due_ns, d = heapq.heappop(self._heap)
            if self._due_ns.get(d) == due_ns:
                del self._due_ns[d]
                taken.append(d)
        return taken
