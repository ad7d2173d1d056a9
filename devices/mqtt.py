"""A fleet whose devices speak MQTT: a few connections to a broker carry them all, each device under its own id.

What is due comes as over a memory link, in blocks of batches; a batch is one publication at QoS 0. It has what
`dialer` has (see `transport`), so that a run need not know which it drives. When the broker goes, its devices are
lost as those of a socket are: what they intended is abandoned, and they begin anew when it is back. Invariant: what
was offered is what the broker's socket took, what is owed, and what was abandoned.
"""

import asyncio
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.config import FleetConfig
from devices.faults import Stalls, draw_share
from devices.fleet import Fleet
from devices.gateway import Gateway
from devices.kernels import layout
from devices.kernels.arrivals import arm
from devices.kernels.layout import NEVER_NS, Phase, Probe
from devices.kernels.probe import end_probe
from devices.kernels.ring import fill_block
from devices.limits import FleetFailed
from devices.publications import batches, publication_bytes, unmask
from devices.sighting import Sightings
from server import clock
from server.broker_address import BrokerAddress
from server.broker_client import explain, is_lasting, tls_context
from server.broker_link import Publication
from server.kernels.layout import SEGMENT
from server.protocol.messages import PLACE, Hello, decode_server_message
from server.protocol.websocket import ProtocolViolation
from server.topics import Topics

GATEWAYS_MAX = 4
"""Connections that carry the devices. More only take turns in one thread."""
OWED_MAX = 256
"""Publications that wait for the broker's socket at most, 15 ms of work: what is due beyond that is late."""
STEP_NS = 1_000_000
"""Least time between two looks at all devices,"""
STEP_NS_A_DEVICE = 10
"""and this for each."""
IDLE_NS = 20_000_000
PATIENCE_NS = 10_000_000_000
"""How long a broker may be out of reach, or the canvas unknown to it, before a fleet gives up that never began."""
END_S = 2.0
_NO_LINKS = "behind a broker devices have no links of their own: pause the broker instead"


class MqttLink:
    """All devices of `fleet`, joined to the canvas of `topics` at this broker; `fetch` blocks for a SNAPSHOT of it."""

    def __init__(self, fleet: Fleet, address: BrokerAddress, topics: Topics, fetch: Callable[[], bytes]) -> None:
        self.fleet = fleet
        self.reason = ""
        self.tick_ms = 0
        self._address, self._topics = address, topics
        self._loop = asyncio.new_event_loop()
        config, count = fleet.config, min(GATEWAYS_MAX, max(fleet.config.connections, 1))
        try:
            broker = (address, tls_context(address))
        except ValueError as fault:
            raise FleetFailed(str(fault)) from None
        self._gateways = [
            Gateway(number, broker, topics, self, fetch if number < config.viewer_count else None)
            for number in range(count)
        ]
        self._sightings = [Sightings() for _ in self._gateways]
        self._tasks = [self._loop.create_task(gateway.link.live()) for gateway in self._gateways]
        self._counters = fleet.arrays.counters[0]
        self._names: list[str] = []
        self._device_of: dict[str, int] = {}
        self._fills = np.zeros(1, layout.FILL)
        self._segments = np.zeros(OWED_MAX, SEGMENT)
        self._words = np.zeros(OWED_MAX * 64 * layout.PLACE_FRAME_BYTES // 4, np.uint32)
        self._called = asyncio.Event()
        self._random, self._stalls = np.random.default_rng(fleet.seed & (2**64 - 1)), Stalls()
        self._joined = 0  # Devices below it have joined, and publish while their gateway is open.
        self._budget = 1.0
        self._paced_ns = self._begun_ns = clock.now_ns()
        self._resume_ns = 0
        self._is_proven = self._is_full = self._is_ending = False
        self._failure = ""

    # Who is there.

    @property
    def is_complete(self) -> bool:
        """Every device has joined, and every gateway sees what it is to see."""
        return not self.is_dialing and self.tick_ms > 0 and all(gateway.is_ready for gateway in self._gateways)

    @property
    def is_dialing(self) -> bool:
        """There are more devices to join, or to leave, at the pace of `connect_per_s`."""
        return self._joined != self.fleet.config.connections

    @property
    def open_count(self) -> int:
        """Devices whose gateway is connected."""
        return int(self._counters["connection_count"])

    def is_empty(self, now_ns: int) -> bool:
        """Never: a broker that is gone is dialled until it is back."""
        return False

    def dial(self, now_ns: int) -> None:
        """Let devices join or leave at the pace that is set. Raises FleetFailed when there is no way to begin."""
        self._look_for_failures(now_ns)
        config = self.fleet.config
        self._budget = min(self._budget + (now_ns - self._paced_ns) * config.connect_per_s / 1e9, config.connect_per_s)
        self._paced_ns = now_ns
        while self._joined < config.connections and self._budget >= 1 and self._gateway(self._joined).link.is_open:
            self._budget -= 1
            self._joined += 1
            self._name(self._joined - 1)
            self._enter(self._joined - 1, now_ns)
        while self._joined > config.connections and self._budget >= 1:
            self._budget -= 1
            self._joined -= 1
            self._leave(self._joined, now_ns)
        self._release_stalled(self._stalls.take(now_ns))

    def _look_for_failures(self, now_ns: int) -> None:
        for task in self._tasks:
            if task.done() and not self._is_ending:
                task.result()  # Only a bug ends it.
        if not self.is_complete and not self._is_proven and now_ns - self._begun_ns > PATIENCE_NS:
            missing = f"broker {self._address.shown} is not there"
            if all(gateway.link.is_open for gateway in self._gateways):
                missing = f"broker {self._address.shown} has no canvas at {self._topics.info}"
            self._failure = f"{missing}: {self.reason or 'nothing came in time'}"
        if self._failure:
            raise FleetFailed(self._failure)
        self._is_proven = self._is_proven or self.is_complete

    def _gateway(self, d: int) -> Gateway:
        return self._gateways[d % len(self._gateways)]

    def _name(self, d: int) -> None:
        if d == len(self._names):
            name = f"d{d:05}"
            self._names.append(self._topics.place(name))
            self._device_of[self._topics.throttled(name)] = d

    def _enter(self, d: int, now_ns: int) -> None:
        """Let device `d` publish, from now on."""
        gateway, devices = self._gateway(d), self.fleet.arrays.devices
        devices["viewer"][d] = gateway.watches
        devices["seen"][d] = gateway.watches and gateway.tick >= 0
        self._counters["connection_count"] += 1
        self.fleet.set_phase(d, Phase.FAST)
        self.fleet.begin(d, now_ns)

    def _leave(self, d: int, now_ns: int) -> None:
        """Let device `d` publish nothing more; it was connected if its gateway is."""
        if self.fleet.arrays.devices["phase"][d] == Phase.FAST:
            self._counters["connection_count"] -= 1
        self._stalls.cancel(d)
        self.fleet.arrays.devices["stalled"][d] = 0
        self._forget_probe(d)
        self.fleet.end(d, now_ns)
        self.fleet.set_phase(d, Phase.GONE)

    # The load, knobs and faults.

    def start(self, now_ns: int) -> None:
        """Let the load begin."""
        self.fleet.start(now_ns)

    def drive(self, until_ns: int) -> None:
        """Publish what is due and see what comes, until `until_ns`."""
        self._loop.run_until_complete(self._drive(until_ns))

    def watch_deadlines(self, now_ns: int) -> None:
        """The links watch theirs."""

    def settle(self) -> None:
        """Nobody is held still any more."""
        self._release_stalled(self._stalls.take(NEVER_NS))

    def count_unanswered(self) -> int:
        """Publications that no socket has taken: MQTT has no answer to what was placed."""
        return self._owed_count

    def check_viewers(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        """As `ViewerTable.check`; the viewers are the gateways that watch."""
        return self.fleet.viewers.check(pixels)

    def adjust(self, config: FleetConfig, rate_factor: float, now_ns: int) -> str:
        """Go by these settings from now on. Who watches stays as it is; returns that, where it was asked for."""
        before = self.fleet.config
        fixed = "" if config.viewers == before.viewers else "behind a broker, viewers stay as they were"
        self.fleet.adjust(msgspec.structs.replace(config, viewers=before.viewers), rate_factor, now_ns)
        return fixed

    def stall(self, share: float, seconds: float, now_ns: int) -> str:
        """Hold a share of the devices still for so long; what they intend meanwhile is published late."""
        open_devices = np.flatnonzero(self.fleet.arrays.devices["phase"] == Phase.FAST).tolist()
        chosen = draw_share(self._random, open_devices, share)
        self._stalls.hold(chosen, now_ns + int(seconds * 1e9))
        self._set_stalled(chosen, is_stalled=True)
        return ""

    def cut(self, share: float, now_ns: int) -> str:
        """There is no link to cut. Returns that."""
        return _NO_LINKS

    def _release_stalled(self, devices: list[int]) -> None:
        if devices:
            self._set_stalled(devices, is_stalled=False)

    def _set_stalled(self, devices: list[int], *, is_stalled: bool) -> None:
        self.fleet.arrays.devices["stalled"][devices] = is_stalled
        for d in devices:
            arm(self.fleet.arrays, d)
        self._counters["stalled_count"] = len(self._stalls)

    # Ending.

    def close(self, now_ns: int) -> None:
        """Say good-bye to the broker; `abandon` waits for that."""
        self._is_ending = True
        self.settle()
        self.fleet.arrays.devices["phase"] = Phase.GONE
        self._counters["connection_count"] = self._counters["subscriber_count"] = 0
        for gateway in self._gateways:
            gateway.link.end()

    def abandon(self) -> None:
        """End every connection that is left, in order if it takes no longer than END_S."""
        self._is_ending = True
        self._loop.run_until_complete(self._end_tasks())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _end_tasks(self) -> None:
        for gateway in self._gateways:
            gateway.link.end()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=END_S)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    # Publishing.

    @property
    def _owed_count(self) -> int:
        return sum(gateway.link.owed_count for gateway in self._gateways)

    async def _drive(self, until_ns: int) -> None:
        while (now_ns := clock.now_ns()) < until_ns:
            room = OWED_MAX - self._owed_count
            is_due = now_ns >= self._resume_ns
            if room > 0 and is_due:
                self._fill(room, now_ns)
                await asyncio.sleep(0)  # The links publish now, as far as their sockets take it at once.
                continue
            self._counters["blocked_count"] += room <= 0 and is_due
            self._is_full = room <= 0
            await self._rest((min(until_ns, self._resume_ns) if room > 0 else until_ns) - now_ns)

    async def _rest(self, for_ns: int) -> None:
        """Wait so long, or until there is room again."""
        self._called.clear()
        try:
            await asyncio.wait_for(self._called.wait(), for_ns * 1e-9)
        except TimeoutError:
            return

    def _fill(self, room: int, now_ns: int) -> None:
        """Hand the links what is due, so many publications at most."""
        fill, arrays = self._fills[0], self.fleet.arrays
        is_full = fill_block(arrays, self._fills, self._words, self._segments[:room], now_ns)
        least_ns = now_ns + STEP_NS + STEP_NS_A_DEVICE * self.fleet.config.connections
        self._resume_ns = now_ns if is_full else max(least_ns, min(int(fill["next_ns"]), now_ns + IDLE_NS))
        count, probed = int(fill["segment_count"]), int(fill["probe"])
        if not count:
            return
        rows = unmask(self._words, int(fill["size"]))
        for batch in batches(rows, self._segments[:count]):
            self._gateway(batch.device).publish(self._names[batch.device], batch.payload)
        if probed >= 0:
            ends = self._segments["end"][:count][self._segments["slot"][:count] == probed]
            self._expect(probed, rows[int(ends[0]) // layout.PLACE_FRAME_BYTES - 1])

    def _expect(self, d: int, place: np.void) -> None:
        """Look for the probed batch's last placement in what its gateway sees."""
        number = d % len(self._gateways)
        seen = self.fleet.viewers.canvas(number)
        pixel = int(place["y"]) * self.fleet.width + int(place["x"])
        if (
            seen is None
            or self._gateways[number].tick < 0
            or not self._sightings[number].expect(d, pixel, int(place["color"]), seen)
        ):
            self.fleet.arrays.devices["probe"][d] = Probe.NONE

    def _forget_probe(self, d: int) -> None:
        self._sightings[d % len(self._gateways)].drop(d)
        self.fleet.arrays.devices["probe"][d] = Probe.NONE

    # What the gateways tell.

    def on_open(self, number: int) -> None:
        """Its devices are back, if they were there before."""
        now_ns = clock.now_ns()
        for d in range(number, self._joined, len(self._gateways)):
            self._counters["reconnected_count"] += 1
            self._enter(d, now_ns)

    def on_gone(self, number: int, fault: BaseException, left: list[Publication], *, was_open: bool) -> None:
        """Its devices are lost, or none comes; what they had not published is abandoned."""
        now_ns = clock.now_ns()
        self.reason = explain(self._address, fault)
        if not was_open:
            self._counters["refused_count"] += not self._is_proven
            if is_lasting(fault) and not self._is_proven:
                self._failure = f"broker {self._address.shown} lets nobody in: {self.reason}"
            return
        self._counters["abandoned_count"] += sum(len(each.payload) for each in left) // PLACE.size
        self._stop_seeing(number)
        if self._is_ending:
            return
        for d in range(number, self._joined, len(self._gateways)):
            self._counters["lost_count"] += 1
            self._leave(d, now_ns)

    def _stop_seeing(self, number: int) -> None:
        devices, step = self.fleet.arrays.devices, len(self._gateways)
        self._counters["subscriber_count"] -= int(devices["seen"][number]) if not self._is_ending else 0
        devices["seen"][number::step] = 0
        for d in self._sightings[number].clear():
            devices["probe"][d] = Probe.NONE

    def on_canvas(self, number: int, message: bytes) -> None:
        """Its first device receives for all that it carries; probes end whose placement is seen."""
        now_ns, fleet = clock.now_ns(), self.fleet
        self._counters["received_bytes"] += publication_bytes(self._topics.delta, message)
        fleet.arrays.devices["viewer"][number] = 1
        try:
            fleet.receive(number, message, now_ns)
        except ProtocolViolation as violation:
            self._counters["protocol_error_count"] += 1
            self.reason = violation.reason
            return
        fleet.arrays.devices["seen"][number :: len(self._gateways)] = 1
        seen = fleet.viewers.canvas(number)
        if seen is None:
            return
        for d, is_own in self._sightings[number].look(seen):
            if is_own:
                end_probe(fleet.arrays, d, self._gateways[number].tick, now_ns)
            fleet.arrays.devices["probe"][d] = Probe.NONE

    def on_told(self, topic: str, payload: bytes) -> None:
        """The server's HELLO, or how many placements of a device were dropped, which then is not looked for."""
        self._counters["received_bytes"] += publication_bytes(topic, payload)
        try:
            if topic == self._topics.info:
                hello = decode_server_message(payload)
                self.tick_ms = hello.tick_ms if isinstance(hello, Hello) else self.tick_ms
            elif (d := self._device_of.get(topic, -1)) >= 0:
                self._forget_probe(d)
                self.fleet.receive(d, payload, clock.now_ns())
        except ProtocolViolation as violation:
            self._counters["protocol_error_count"] += 1
            self.reason = violation.reason

    def on_published(self, publication: Publication) -> None:
        """The broker's socket took a batch."""
        self._counters["sent_count"] += len(publication.payload) // PLACE.size
        self._counters["sent_bytes"] += publication_bytes(publication.topic, publication.payload)
        self._counters["write_count"] += 1
        if self._is_full and self._owed_count <= OWED_MAX // 2:
            self._is_full = False
            self._called.set()

    def on_failure(self, reason: str) -> None:
        """The server cannot be asked for its canvas."""
        self._failure = reason
