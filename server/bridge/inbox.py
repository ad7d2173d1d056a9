"""What came from the broker and waits for the bridge's loop: bounded, since MQTT has no way to slow a device down.

What finds no room is shed, and counted for its device. Invariant: each placement that comes in is either taken or
told by `take_shed`, once.
"""

import threading
from collections import deque

from server.mqtt.topics import count_places

INBOX_PLACES_MAX = 1 << 18
"""Placements that may wait, 1.5 MB: some seconds of what a broker delivers, so that a pause of the loop sheds none."""
SHED_DEVICES_MAX = 4096
"""Devices whose shed placements are told apart between two looks of the loop."""


class Inbox:
    """One thread puts, another takes. `arrived` is set when there may be something to take."""

    def __init__(self, places_max: int = INBOX_PLACES_MAX) -> None:
        self.arrived = threading.Event()
        self._places_max = places_max
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, bytes, int]] = deque()
        self._places = 0
        self._shed: dict[str, int] = {}
        self._fault_count = self._ignored_count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, device: str, payload: bytes) -> None:
        """Take in what a device published; `device` is "" when it may not."""
        count = count_places(payload) if device else 0
        with self._lock:
            if count == 0:
                self._fault_count += 1
            elif self._places + count <= self._places_max:
                self._waiting.append((device, payload, count))
                self._places += count
            elif device in self._shed or len(self._shed) < SHED_DEVICES_MAX:
                self._shed[device] = self._shed.get(device, 0) + count
            else:
                self._fault_count += 1
        self.arrived.set()

    def ignore(self) -> None:
        """Count a publication that no device made now: it is nobody's fault and has no effect."""
        with self._lock:
            self._ignored_count += 1

    def take(self, payloads_max: int, places_max: int) -> list[tuple[str, bytes, int]]:
        """The oldest (device, payload, placements): so many payloads, and placements in all, at most."""
        taken: list[tuple[str, bytes, int]] = []
        left = places_max
        with self._lock:
            while self._waiting and len(taken) < payloads_max and self._waiting[0][2] <= left:
                taken.append(self._waiting.popleft())
                left -= taken[-1][2]
            self._places -= places_max - left
        return taken

    def take_shed(self) -> dict[str, int]:
        """Placements by device that found no room since the last call."""
        with self._lock:
            shed, self._shed = self._shed, {}
        return shed

    def take_fault_count(self) -> int:
        """Publications since the last call that were not what protocol.md says, or of devices beyond all bounds."""
        with self._lock:
            count, self._fault_count = self._fault_count, 0
        return count

    def take_ignored_count(self) -> int:
        """Publications since the last call that were ignored."""
        with self._lock:
            count, self._ignored_count = self._ignored_count, 0
        return count
