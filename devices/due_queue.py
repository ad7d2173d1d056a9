"""Devices that wait for a time, each for at most one: departures, reconnects and stalls.

Time is an argument; what happens to a device that is due is up to the caller.
"""

import heapq

import numpy as np


class DueQueue:
    """Devices in the order of their due times."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._due_ns: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._due_ns)

    def put(self, d: int, due_ns: int) -> None:
        """Let device `d` be due at this time, in place of any earlier arrangement."""
        self._due_ns[d] = due_ns
        heapq.heappush(self._heap, (due_ns, d))

    def extend(self, devices: list[int], due_ns: int) -> None:
        """Let these devices be due at this time, or later where they already are."""
        for d in devices:
            self.put(d, max(due_ns, self._due_ns.get(d, 0)))

    def cancel(self, d: int) -> None:
        """Device `d` waits no longer."""
        self._due_ns.pop(d, None)

    def clear(self) -> None:
        """No device waits any longer."""
        self._heap.clear()
        self._due_ns.clear()

    def take(self, now_ns: int, most: int | None = None) -> list[int]:
        """Remove and return the devices that are due, the earliest first, at most this many."""
        taken: list[int] = []
        while self._heap and self._heap[0][0] <= now_ns and (most is None or len(taken) < most):
            due_ns, d = heapq.heappop(self._heap)
            # The heap still holds replaced and cancelled times; only the dictionary's counts.
            if self._due_ns.get(d) == due_ns:
                del self._due_ns[d]
                taken.append(d)
        assert len(self._due_ns) <= len(self._heap), "a device waits without an entry"
        return taken


def draw_share(random: np.random.Generator, devices: list[int], share: float) -> list[int]:
    """A random share of the devices, in their order: at least one of any unless the share is 0."""
    count = min(max(round(share * len(devices)), 1 if share > 0 else 0), len(devices))
    return sorted(int(d) for d in random.choice(np.array(devices, np.int64), count, replace=False))
