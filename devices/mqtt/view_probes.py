"""Latency probes without an answer: how a device that speaks MQTT knows that a DELTA shows what it placed.

MQTT has no PING behind a placement. So a probed placement is looked for in what its device sees: it is seen with the
first DELTA that turns its pixel to its colour. One that would turn nothing is not probed; and when the pixel turns to
another colour first, somebody else painted there, and the probe tells nothing. Invariant: a probe is told once.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class ViewProbes:
    """The probes of devices that see one canvas."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[int, int, int]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, device: int, pixel: int, color: int, seen: NDArray[np.uint8]) -> bool:
        """Look for this placement from now on; `seen`: (height, width) u1, what its device sees.

        `pixel` is y * width + x. False when it shows already, and so cannot be told.
        """
        now = int(seen.flat[pixel])
        if now != color:
            self._waiting[device] = (pixel, now, color)
        return now != color

    def look(self, seen: NDArray[np.uint8]) -> Iterator[tuple[int, bool]]:
        """Each device whose probe ends with what is seen now, and whether it was its own colour that came."""
        if not self._waiting:
            return
        devices = np.fromiter(self._waiting, np.int64)
        waiting = np.array(list(self._waiting.values()), np.int64)
        now = seen.reshape(-1)[waiting[:, 0]]
        for i in np.flatnonzero(now != waiting[:, 1]).tolist():
            device = int(devices[i])
            del self._waiting[device]
            yield device, bool(now[i] == waiting[i, 2])

    def drop(self, device: int) -> bool:
        """Look for this device's placement no longer. Whether it was looked for."""
        return self._waiting.pop(device, None) is not None

    def clear(self) -> list[int]:
        """Look for none any more. The devices whose placements were looked for."""
        devices = list(self._waiting)
        self._waiting.clear()
        return devices
