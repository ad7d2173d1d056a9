"""Which device of the bridge has which slot. A device is known by its id and has no connection that could end.

Bounded: a device that was not heard for a while gives its slot to a new one. Invariant: a slot has one device at a
time, and a device that was forgotten had a full bucket and nothing in the queues.
"""

import numpy as np

from server.engine.engine import Engine, use_slot
from server.kernels.arrays import LoopArrays
from server.kernels.layout import CONNECTION, Phase

DEVICES_MAX = 20_000
IDLE_NS = 60_000_000_000
"""Who was silent for so long may be forgotten. Longer than any bucket of a sensible rate takes to fill."""
LOOK_NS = 1_000_000_000
"""How often slots are looked for while there is none, for that costs O(devices)."""


class Roster:
    """The devices of one loop, in its connections."""

    def __init__(self, engine: Engine, arrays: LoopArrays) -> None:
        self.device_of: dict[int, str] = {}
        """By slot."""
        self._engine, self._arrays = engine, arrays
        self._slot_of: dict[str, int] = {}
        self._free = list(range(len(arrays.connections) - 1, -1, -1))
        self._looked_ns = 0

    def __len__(self) -> int:
        return len(self._slot_of)

    def slot(self, device: str, now_ns: int) -> int:
        """The slot of a device, which gets one when it is new; -1 when there is none left."""
        slot = self._slot_of.get(device, -1)
        if slot < 0:
            if not self._free and now_ns - self._looked_ns >= LOOK_NS:
                self._looked_ns = now_ns
                self._forget_idle(now_ns)
            if not self._free:
                return -1
            slot = self._enter(device, now_ns)
        self._arrays.connections[slot]["due_ns"] = now_ns  # No delta is ever due to it, so this is when it was heard.
        return slot

    def _enter(self, device: str, now_ns: int) -> int:
        slot = self._free.pop()
        self._slot_of[device], self.device_of[slot] = slot, device
        row = self._arrays.connections[slot]
        row["fd"], row["phase"] = -1, Phase.FAST
        row["number"] = self._engine.take_numbers(1)
        row["opened_ns"] = row["progress_ns"] = now_ns
        self._arrays.counts[0]["connection_count"] += 1
        use_slot(self._arrays, slot)
        return slot

    def _forget_idle(self, now_ns: int) -> None:
        """Free the slots of devices that are silent, owe their bucket nothing and wait in no queue."""
        arrays, queues = self._arrays, self._arrays.queues[0]
        rows = arrays.connections
        is_idle = (rows["phase"] == Phase.FAST) & (now_ns - rows["due_ns"] > IDLE_NS) & (rows["full_ns"] <= now_ns)
        is_idle[arrays.messages["slot"][queues["message_head"] : queues["message_end"]]] = False
        is_idle[arrays.placements["slot"][queues["placement_head"] : queues["placement_end"]]] = False
        for slot in np.flatnonzero(is_idle).tolist():
            del self._slot_of[self.device_of.pop(slot)]
            rows[slot] = np.zeros((), CONNECTION)
            self._free.append(slot)
            arrays.counts[0]["connection_count"] -= 1
