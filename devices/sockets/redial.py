"""Who dials again and when, after a connection was cut or lost, or a dial refused.

Time is an argument and pauses come from a seeded source. Invariant: a device waits at most once at a time.
"""

import heapq

import numpy as np

from devices.config import Reconnect

PAUSE_NS_LEAST = 500_000_000
"""Back-off after the first failure; it doubles with each further one."""
PAUSE_NS_MOST = 8_000_000_000
REFUSED_NS = 100_000_000
"""Who dials at once pauses so long after a refusal: otherwise it would do nothing else."""


class Redials:
    """The devices that wait for their next dial."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._heap: list[tuple[int, int]] = []
        self._due_ns: dict[int, int] = {}
        self._failures: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._due_ns)

    def after_failure(self, d: int, policy: Reconnect, now_ns: int, *, was_refused: bool) -> None:
        """Let device `d` wait as the policy says: its link failed or, `was_refused`, it was not let in."""
        failures = self._failures.get(d, 0)
        self._failures[d] = failures + 1
        if policy == "backoff":
            pause_ns = min(PAUSE_NS_LEAST << min(failures, 32), PAUSE_NS_MOST)
            self.at(d, now_ns + int(pause_ns * self._random.uniform(0.5, 1.0)))
        elif policy == "at_once":
            self.at(d, now_ns + (REFUSED_NS if was_refused else 0))

    def at(self, d: int, due_ns: int) -> None:
        """Let device `d` dial at this time; an earlier appointment of its lapses."""
        self._due_ns[d] = due_ns
        heapq.heappush(self._heap, (due_ns, d))

    def opened(self, d: int) -> None:
        """Device `d` was let in: its next failure is its first."""
        self._failures.pop(d, None)

    def cancel(self, d: int) -> None:
        """Device `d` is not to dial any more."""
        self._due_ns.pop(d, None)
        self._failures.pop(d, None)

    def clear(self) -> None:
        """Nobody is to dial any more."""
        self._due_ns.clear()
        self._heap.clear()

    def take(self, now_ns: int, most: int) -> list[int]:
        """The devices whose time has come, `most` of them, in its order. They wait no longer."""
        taken: list[int] = []
        while len(taken) < most and self._heap and self._heap[0][0] <= now_ns:
            due_ns, d = heapq.heappop(self._heap)
            if self._due_ns.get(d) == due_ns:
                del self._due_ns[d]
                taken.append(d)
        return taken
