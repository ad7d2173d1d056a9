"""Whom a fault hits, and who is held still until when.

Time is an argument; the shell does to the sockets what is said here. Invariant: a device is held still by one stall,
the one that ends last.
"""

import numpy as np


def draw_share(random: np.random.Generator, devices: list[int], share: float) -> list[int]:
    """So many of the devices, at random, in their order; one at least of any, where the share is not 0."""
    count = min(max(round(share * len(devices)), 1 if share > 0 else 0), len(devices))
    return sorted(int(d) for d in random.choice(np.array(devices, np.int64), count, replace=False))


class Stalls:
    """The devices that are held still."""

    def __init__(self) -> None:
        self._until_ns: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._until_ns)

    def hold(self, devices: list[int], until_ns: int) -> None:
        """Hold them until then, or longer where they are held longer already."""
        for d in devices:
            self._until_ns[d] = max(until_ns, self._until_ns.get(d, 0))

    def cancel(self, d: int) -> None:
        """Device `d` is gone."""
        self._until_ns.pop(d, None)

    def take(self, now_ns: int) -> list[int]:
        """Those that are to go on now."""
        over = [d for d, until_ns in self._until_ns.items() if until_ns <= now_ns]
        for d in over:
            del self._until_ns[d]
        return over
