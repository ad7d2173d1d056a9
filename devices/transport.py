"""What a run asks of whatever joins its fleet to a server: sockets (`dialer`), memory (`memory`) or a broker (`mqtt`).

It does nothing. Invariant: no method waits longer than it is told to.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from devices.config import FleetConfig
from devices.fleet.fleet import Fleet


class Transport(Protocol):
    """All connections of one fleet. Times are nanoseconds of CLOCK_MONOTONIC."""

    fleet: Fleet
    reason: str
    """Why the last connection ended that was to stay, one line; "" while none has."""
    tick_ms: int
    """The server's tick interval; 0 before it is known."""

    @property
    def is_complete(self) -> bool:
        """Every device is connected, and every viewer that reads sees the canvas."""

    @property
    def is_dialing(self) -> bool:
        """There are more devices to join, or to leave."""

    @property
    def open_count(self) -> int:
        """Devices connected now."""

    def is_empty(self, now_ns: int) -> bool:
        """There is no connection of those that there should be, and none to come."""

    def dial(self, now_ns: int) -> None:
        """Open and close what the pace allows. Many times a second. Raises FleetFailed."""

    def start(self, now_ns: int) -> None:
        """Let the load begin."""

    def drive(self, until_ns: int) -> None:
        """Send what is due and see what comes, until `until_ns`."""

    def watch_deadlines(self, now_ns: int) -> None:
        """Give up on who takes too long. A few times a second."""

    def settle(self) -> None:
        """The load ends: from now on nobody comes, goes or is held still."""

    def count_unanswered(self) -> int:
        """Devices, or what they sent, of which it is not known yet that it went out; the load has ended."""

    def check_viewers(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        """How many viewers hold a canvas, and how many of them one that differs from `pixels`, (height, width) u1."""

    def adjust(self, config: FleetConfig, rate_factor: float, now_ns: int) -> str:
        """Go by these settings from now on. Returns what could not be done, for a person; "" mostly."""

    def stall(self, share: float, seconds: float, now_ns: int) -> str:
        """Hold a share of the devices still for so long. Returns as `adjust` does."""

    def cut(self, share: float, now_ns: int) -> str:
        """Reset the links of a share of the devices. Returns as `adjust` does."""

    def close(self, now_ns: int) -> None:
        """Begin to close every connection in order."""

    def abandon(self) -> None:
        """Close all that is left, at once."""
