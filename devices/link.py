"""What a run asks of the link between its fleet and a server, and the drain that follows every load.

There are three links: sockets (`sockets.dialer`), memory (`memory_link`) and a broker (`mqtt.mqtt`). No method waits
longer than asked; times are nanoseconds of CLOCK_MONOTONIC.
"""

from abc import ABC, abstractmethod
from collections import deque

import numpy as np
from numpy.typing import NDArray

from devices.config import FleetConfig
from devices.fleet.fleet import Fleet
from devices.kernels.probes import forget_answered

_QUIET_NS_LEAST = 300_000_000
_TICKS = 3
_GAPS = 16


class FleetLink(ABC):
    """All connections of one fleet. Where devices have none of their own, some of it has nothing to do."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        # Why the last connection ended that should have stayed open, one line; "" while none has.
        self.reason = ""
        # The server's tick interval; 0 before it is known.
        self.tick_ms = 0
        self._counters = fleet.arrays.counters[0]

    @property
    @abstractmethod
    def is_complete(self) -> bool:
        """Every device is connected, and every viewer that reads has a canvas."""

    @property
    def is_dialing(self) -> bool:
        """There are more devices to connect, or to disconnect, at the pace of `connect_per_s`."""
        return False

    @property
    def open_count(self) -> int:
        """Devices connected now."""
        return int(self._counters["connection_count"])

    def is_empty(self, now_ns: int) -> bool:
        """No connection is left of those that should be open, and none will be opened."""
        return False

    @abstractmethod
    def dial(self, now_ns: int) -> None:
        """Open and close what the pace allows. Many times a second. Raises FleetFailed."""

    def start(self, now_ns: int) -> None:
        """Begin the load."""
        self.fleet.start(now_ns)

    @abstractmethod
    def drive(self, until_ns: int) -> None:
        """Send what is due and receive, until `until_ns`."""

    def watch_deadlines(self, now_ns: int) -> None:
        """End handshakes and closings that take too long. A few times a second."""
        return  # Only sockets have deadlines here; the links to a broker watch their own.

    def settle(self) -> None:
        """The load ends: from now on no device comes, goes or is stalled."""
        return  # Over memory none does.

    @abstractmethod
    def count_unanswered(self) -> int:
        """After the load: devices, or messages of theirs, that are not known yet to have reached the server."""

    def check_viewers(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        """How many viewers hold a canvas, and how many of them one that differs from `pixels`, (height, width) u1."""
        return self.fleet.viewers.check(pixels)

    @abstractmethod
    def adjust(self, config: FleetConfig, rate_factor: float, now_ns: int) -> str:
        """Apply these settings from now on. Returns what could not be applied, for the user; mostly ""."""

    @abstractmethod
    def stall(self, share: float, seconds: float, now_ns: int) -> str:
        """Stall a share of the devices: they neither read nor send for this long. Returns as `adjust` does."""

    @abstractmethod
    def cut(self, share: float, now_ns: int) -> str:
        """Reset the connections of a share of the devices. Returns as `adjust` does."""

    @abstractmethod
    def close(self, now_ns: int) -> None:
        """Begin to close every connection."""

    def abandon(self) -> None:
        """Close at once all that is left."""
        return  # Memory needs no closing.


class Drain:
    """Watches a link after the load, and says when everything was sent, applied and seen by every viewer.

    That is when every open connection has answered a PING behind its last placement, and after that no viewer has
    received anything for longer than the server lets its viewers wait.
    """

    def __init__(self, link: FleetLink) -> None:
        self._link = link
        self._received = -1
        self._changed_ns = 0
        self._gaps_ns: deque[int] = deque([0], maxlen=_GAPS)

    def is_quiet(self, now_ns: int) -> bool:
        """Advance the drain; True once everything was seen. To be called several times per tick."""
        fleet = self._link.fleet
        counters = fleet.arrays.counters[0]
        received = int(counters["delta_count"]) + int(counters["snapshot_count"])
        if received != self._received:
            if self._received >= 0:
                self._gaps_ns.append(now_ns - self._changed_ns)
            self._received, self._changed_ns = received, now_ns
        unanswered = self._link.count_unanswered()
        is_still = now_ns - self._changed_ns >= self._patience_ns()
        if is_still:
            # A placement that changed nothing is in no delta: its probe waits for nothing.
            forget_answered(fleet.arrays)
        is_quiet = is_still and unanswered == 0 and fleet.backlog_count(now_ns) == 0
        if is_quiet:
            done = counters["sent_count"] + counters["abandoned_count"] + fleet.owed_count()
            assert counters["offered_count"] == done, "placements that were offered are neither sent nor abandoned"
        return is_quiet

    def _patience_ns(self) -> int:
        """Longer than any viewer waits for the next delta while there are changes."""
        asked_ns = (_TICKS * self._link.tick_ms + self._link.fleet.config.interval_ms) * 1_000_000
        # An overloaded server stretches its ticks, so the gaps that were seen count too.
        return max(_QUIET_NS_LEAST, asked_ns, 2 * max(self._gaps_ns))
