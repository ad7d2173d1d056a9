"""When devices reconnect after their connection failed, and when those that come and go leave.

Time is an argument, and random numbers come from a seeded generator.
"""

import numpy as np

from devices.config import FleetConfig, Reconnect
from devices.due_queue import DueQueue
from devices.fleet.workload import spread

# Back-off after the first failure; it doubles with each further one.
PAUSE_NS_LEAST = 500_000_000
PAUSE_NS_MOST = 8_000_000_000
# Pause after a refusal under the policy `at_once`: without one, a device would do nothing but dial.
REFUSED_NS = 100_000_000


class Reconnects(DueQueue):
    """Devices that wait for their next dial."""

    def __init__(self, random: np.random.Generator) -> None:
        super().__init__()
        self._random = random
        self._failures: dict[int, int] = {}

    def after_failure(self, d: int, policy: Reconnect, now_ns: int, *, was_refused: bool) -> None:
        """Schedule device `d` as the policy says: its connection failed or, `was_refused`, was never open."""
        failures = self._failures.get(d, 0)
        self._failures[d] = failures + 1
        if policy == "backoff":
            pause_ns = min(PAUSE_NS_LEAST << min(failures, 32), PAUSE_NS_MOST)
            # Half of the pause is random, or devices that failed together would dial together for ever.
            self.put(d, now_ns + int(pause_ns * self._random.uniform(0.5, 1.0)))
        elif policy == "at_once":
            self.put(d, now_ns + (REFUSED_NS if was_refused else 0))

    def opened(self, d: int) -> None:
        """Device `d` is connected: its next failure counts as its first."""
        self._failures.pop(d, None)

    def cancel(self, d: int) -> None:
        super().cancel(d)
        self._failures.pop(d, None)


class Departures(DueQueue):
    """Devices that stay connected for a while, and then close and reconnect."""

    def __init__(self, random: np.random.Generator) -> None:
        super().__init__()
        self._random = random
        self._chosen = np.zeros(0, np.bool_)
        self._mean_ns = 0.0

    def adjust(self, config: FleetConfig, open_devices: list[int], now_ns: int) -> None:
        """Apply these settings, and draw the departures of open devices again.

        An exponential stay has no memory: the time already spent does not change what is left of it.
        """
        count = config.connections
        self._chosen = spread(round(config.churn_ratio * count), count)
        self._mean_ns = config.churn_s * 1e9
        self.clear()
        for d in open_devices:
            self.opened(d, now_ns)

    def opened(self, d: int, now_ns: int) -> None:
        """Device `d` is connected: draw how long it stays, if it is one that comes and goes."""
        if d < len(self._chosen) and self._chosen[d]:
            self.put(d, now_ns + int(self._random.exponential(self._mean_ns)))
