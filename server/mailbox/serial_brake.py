"""A stage's brake in the mailbox server, where nothing is a batch: every letter pays for itself, batch time included.

Whoever hands letters to a braked stage waits until a worker who serves one after the other would be done with them.
Very short waits are saved up, for to sleep costs more than they do. Invariant: letters that are waited for are let go
in the order in which they came, or all at once when the brake is released.
"""

import asyncio
import contextlib

from server.config import Brake
from server.system import clock

SAVED_NS = 1_000_000
"""Service time that is saved up before anybody sleeps for it."""
CATCH_UP_NS = 20_000_000
"""So much of a late awakening is made up for."""


class SerialBrake:
    """One stage's brake. `waiting` is the number of letters that wait in front of it."""

    def __init__(self) -> None:
        self.waiting = 0
        self._free_ns = 0
        self._released = asyncio.Event()

    async def pay(self, brake: Brake, letters: int) -> int:
        """Wait for the service time of so many letters. Returns it, in nanoseconds."""
        cost_ns = round(letters * (brake.item_us * 1e3 + brake.batch_ms * 1e6))
        if cost_ns == 0:
            return 0
        now_ns = clock.now_ns()
        self._free_ns = max(self._free_ns, now_ns - CATCH_UP_NS) + cost_ns
        if self._free_ns - now_ns > SAVED_NS:
            self.waiting += letters
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout((self._free_ns - now_ns) * 1e-9):
                    await self._released.wait()
            self.waiting -= letters
        return cost_ns

    def release(self) -> None:
        """Let everybody go on who waits."""
        self._free_ns = 0
        self._released.set()
        self._released = asyncio.Event()
