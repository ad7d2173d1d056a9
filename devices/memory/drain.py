"""The end of a load, step by step: all that was intended is sent, applied, and seen by every viewer.

Invariant: it is quiet only when every open connection has answered a PING behind its last placement, and after that
no viewer has received anything for longer than the server lets its viewers wait.
"""

from collections import deque

from devices.kernels.layout import Probe
from devices.transport import Transport

_QUIET_NS_LEAST = 300_000_000
_TICKS = 3
_GAPS = 16


class Drain:
    """Watches a fleet that has stopped intending, and says when it is quiet."""

    def __init__(self, dialer: Transport) -> None:
        self._dialer = dialer
        self._received = -1
        self._changed_ns = 0
        self._gaps_ns: deque[int] = deque([0], maxlen=_GAPS)

    def is_quiet(self, now_ns: int) -> bool:
        """Do what the drain needs now; True once all is seen. To be called several times a tick."""
        fleet = self._dialer.fleet
        counters = fleet.arrays.counters[0]
        received = int(counters["delta_count"]) + int(counters["snapshot_count"])
        if received != self._received:
            if self._received >= 0:
                self._gaps_ns.append(now_ns - self._changed_ns)
            self._received, self._changed_ns = received, now_ns
        unanswered = self._dialer.count_unanswered()
        is_still = now_ns - self._changed_ns >= self._patience_ns()
        if is_still:
            # A placement that changed nothing is shown by no delta: its probe has nothing to wait for.
            devices = fleet.arrays.devices
            devices["probe"][devices["probe"] == Probe.ANSWERED] = Probe.NONE
        return is_still and unanswered == 0 and fleet.backlog_count(now_ns) == 0

    def _patience_ns(self) -> int:
        """Longer than any viewer waits for the next delta while there are changes."""
        asked_ns = (_TICKS * self._dialer.tick_ms + self._dialer.fleet.config.interval_ms) * 1_000_000
        return max(_QUIET_NS_LEAST, asked_ns, 2 * max(self._gaps_ns))
