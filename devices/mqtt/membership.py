"""Which devices of a fleet behind a broker take part, and under which names. They join and leave at the fleet's pace.

A device has no connection of its own; it may publish while the gateway that carries it is open, and is lost and returns
with that. Devices below `joined_count` take part, and their phase is FAST while their gateway is open.
"""

from collections.abc import Callable, Sequence

import numpy as np

from devices.due_queue import DueQueue, draw_share
from devices.fleet.fleet import Fleet
from devices.kernels.layout import NEVER_NS, Phase
from devices.kernels.schedule import arm
from devices.mqtt.gateway import Gateway
from server.mqtt.topics import Topics


class Membership:
    """The devices of `fleet`: gateway d modulo their number carries device d. `forget` ends the probe of a device."""

    def __init__(
        self, fleet: Fleet, gateways: Sequence[Gateway], topics: Topics, forget: Callable[[int], None], now_ns: int
    ) -> None:
        self.joined_count = 0
        # By device: the topic to which it publishes.
        self.place_topics: list[str] = []
        self._fleet, self._gateways, self._topics, self._forget = fleet, gateways, topics, forget
        self._device_of: dict[str, int] = {}
        self._counters = fleet.arrays.counters[0]
        self._random, self._stalls = np.random.default_rng(fleet.seed & (2**64 - 1)), DueQueue()
        self._budget, self._paced_ns = 1.0, now_ns

    @property
    def is_settled(self) -> bool:
        """Whether as many take part as are set."""
        return self.joined_count == self._fleet.config.connections

    def gateway_of(self, d: int) -> Gateway:
        """The gateway that carries device `d`."""
        return self._gateways[d % len(self._gateways)]

    def device_of(self, topic: str) -> int:
        """The device whose THROTTLED is published to this topic; -1: none of ours."""
        return self._device_of.get(topic, -1)

    def pace(self, now_ns: int) -> None:
        """Let devices join or leave at the pace of `connect_per_s`, and end stalls that are over."""
        config = self._fleet.config
        self._budget = min(self._budget + (now_ns - self._paced_ns) * config.connect_per_s / 1e9, config.connect_per_s)
        self._paced_ns = now_ns
        # In order of their numbers, so that the devices that take part are always the first ones.
        while self.joined_count < config.connections and self._budget >= 1 and self._is_next_carried:
            self._budget -= 1
            self.joined_count += 1
            self._name(self.joined_count - 1)
            self._enter(self.joined_count - 1, now_ns)
        while self.joined_count > config.connections and self._budget >= 1:
            self._budget -= 1
            self.joined_count -= 1
            self._leave(self.joined_count, now_ns)
        self._release(self._stalls.take(now_ns))

    def bring_back(self, number: int, now_ns: int) -> None:
        """This gateway is open: its devices take part again, if they did before."""
        for d in self._carried_by(number):
            self._counters["reconnected_count"] += 1
            self._enter(d, now_ns)

    def lose(self, number: int, now_ns: int) -> None:
        """This gateway is closed: its devices are lost."""
        for d in self._carried_by(number):
            self._counters["lost_count"] += 1
            self._leave(d, now_ns)

    def stall(self, share: float, until_ns: int) -> None:
        """Stall a share of the devices until `until_ns`; what they intend meanwhile is published late."""
        open_devices = np.flatnonzero(self._fleet.arrays.devices["phase"] == Phase.FAST).tolist()
        chosen = draw_share(self._random, open_devices, share)
        self._stalls.extend(chosen, until_ns)
        self._set_stalled(chosen, is_stalled=True)

    def settle(self) -> None:
        """End all stalls."""
        self._release(self._stalls.take(NEVER_NS))

    def end(self) -> None:
        """No device publishes from now on."""
        self.settle()
        self._fleet.arrays.devices["phase"] = Phase.GONE
        self._counters["connection_count"] = self._counters["subscriber_count"] = 0

    # One device.

    @property
    def _is_next_carried(self) -> bool:
        return self.gateway_of(self.joined_count).link.is_open

    def _carried_by(self, number: int) -> range:
        return range(number, self.joined_count, len(self._gateways))

    def _name(self, d: int) -> None:
        if d == len(self.place_topics):
            name = f"d{d:05}"
            self.place_topics.append(self._topics.place(name))
            self._device_of[self._topics.throttled(name)] = d

    def _enter(self, d: int, now_ns: int) -> None:
        """Let device `d` publish from now on."""
        gateway, devices = self.gateway_of(d), self._fleet.arrays.devices
        devices["viewer"][d] = gateway.watches
        devices["seen"][d] = gateway.watches and gateway.tick >= 0
        self._counters["connection_count"] += 1
        self._fleet.set_phase(d, Phase.FAST)
        self._fleet.begin(d, now_ns)

    def _leave(self, d: int, now_ns: int) -> None:
        """Let device `d` publish no longer. It was connected if its gateway is."""
        devices = self._fleet.arrays.devices
        if devices["phase"][d] == Phase.FAST:
            self._counters["connection_count"] -= 1
        self._stalls.cancel(d)
        devices["stalled"][d] = 0
        self._forget(d)
        self._fleet.end(d, now_ns)
        self._fleet.set_phase(d, Phase.GONE)

    def _release(self, devices: list[int]) -> None:
        if devices:
            self._set_stalled(devices, is_stalled=False)

    def _set_stalled(self, devices: list[int], *, is_stalled: bool) -> None:
        self._fleet.arrays.devices["stalled"][devices] = is_stalled
        for d in devices:
            arm(self._fleet.arrays, d)
        self._counters["stalled_count"] = len(self._stalls)
