"""A fleet whose devices speak MQTT: a few connections to a broker carry them all, each device under its own id.

It has what `dialer` has (see `transport`), so that a run need not know which it drives. `attendance` says who has
joined, `publisher` what goes out; here is what comes back, and the fleet's life. When the broker goes, its devices are
lost as those of a socket are: what they intended is abandoned, and they begin anew when it is back. Invariant: what
was offered is what the broker's socket took, what is owed, and what was abandoned.
"""

import asyncio
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.config import FleetConfig
from devices.fleet.fleet import Fleet
from devices.kernels.layout import Probe
from devices.kernels.viewer import end_probe
from devices.limits import FleetFailed
from devices.mqtt.gateway import Gateway
from devices.mqtt.membership import Membership
from devices.mqtt.publications import publication_bytes
from devices.mqtt.publisher import Publisher
from devices.mqtt.view_probes import ViewProbes
from server.mqtt.address import BrokerAddress
from server.mqtt.client import explain, is_lasting, tls_context
from server.mqtt.link import Publication
from server.mqtt.topics import Topics
from server.protocol.messages import Hello, decode_server_message
from server.protocol.websocket import ProtocolViolation
from server.system import clock

GATEWAYS_MAX = 4
"""Connections that carry the devices. More only take turns in one thread."""
PATIENCE_NS = 10_000_000_000
"""How long a broker may be out of reach, or the canvas unknown to it, before a fleet gives up that never began."""
END_S = 2.0
_NO_LINKS = "behind a broker devices have no links of their own: pause the broker instead"


class MqttLink:
    """All devices of `fleet`, joined to the canvas of `topics` at this broker; `fetch` blocks for a SNAPSHOT of it.

    Raises FleetFailed for a CA file that cannot be used.
    """

    def __init__(self, fleet: Fleet, address: BrokerAddress, topics: Topics, fetch: Callable[[], bytes]) -> None:
        self.fleet = fleet
        self.reason = ""
        self.tick_ms = 0
        self._address, self._topics = address, topics
        try:
            broker = (address, tls_context(address))
        except ValueError as fault:
            raise FleetFailed(str(fault)) from None
        self._begun_ns = clock.now_ns()
        viewer_count, count = fleet.config.viewer_count, min(GATEWAYS_MAX, max(fleet.config.connections, 1))
        self._gateways = [
            Gateway(number, broker, topics, self, fetch if number < viewer_count else None) for number in range(count)
        ]
        self._sightings = [ViewProbes() for _ in self._gateways]
        self._attendance = Membership(fleet, self._gateways, topics, self._forget_probe, self._begun_ns)
        self._publisher = Publisher(fleet, self._gateways, self._attendance, self._expect)
        self._counters = fleet.arrays.counters[0]
        self._is_proven = self._is_ending = False
        self._failure = ""
        self._loop = asyncio.new_event_loop()
        self._tasks = [self._loop.create_task(gateway.link.live()) for gateway in self._gateways]

    # Who is there.

    @property
    def is_complete(self) -> bool:
        """Every device has joined, and every gateway sees what it is to see."""
        return not self.is_dialing and self.tick_ms > 0 and all(gateway.is_ready for gateway in self._gateways)

    @property
    def is_dialing(self) -> bool:
        """There are more devices to join, or to leave, at the pace of `connect_per_s`."""
        return not self._attendance.is_settled

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
        self._attendance.pace(now_ns)

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

    # The load, knobs and faults.

    def start(self, now_ns: int) -> None:
        """Let the load begin."""
        self.fleet.start(now_ns)

    def drive(self, until_ns: int) -> None:
        """Publish what is due and see what comes, until `until_ns`."""
        self._loop.run_until_complete(self._publisher.publish_until(until_ns))

    def watch_deadlines(self, now_ns: int) -> None:
        """The links watch theirs."""

    def settle(self) -> None:
        """Nobody is held still any more."""
        self._attendance.settle()

    def count_unanswered(self) -> int:
        """Publications that no socket has taken: MQTT has no answer to what was placed."""
        return self._publisher.owed_count

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
        self._attendance.stall(share, now_ns + int(seconds * 1e9))
        return ""

    def cut(self, share: float, now_ns: int) -> str:
        """There is no link to cut. Returns that."""
        return _NO_LINKS

    # Ending.

    def close(self, now_ns: int) -> None:
        """Say good-bye to the broker; `abandon` waits for that."""
        self._is_ending = True
        self._attendance.end()
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
        await asyncio.wait(self._tasks, timeout=END_S)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    # Probes.

    def _expect(self, d: int, place: np.void) -> None:
        """Look for the probed batch's last placement in what its gateway sees."""
        gateway = self._attendance.gateway_of(d)
        seen = self.fleet.viewers.canvas(gateway.number)
        pixel = int(place["y"]) * self.fleet.width + int(place["x"])
        if (
            seen is None
            or gateway.tick < 0
            or not self._sightings[gateway.number].expect(d, pixel, int(place["color"]), seen)
        ):
            self.fleet.arrays.devices["probe"][d] = Probe.NONE

    def _forget_probe(self, d: int) -> None:
        self._sightings[self._attendance.gateway_of(d).number].drop(d)
        self.fleet.arrays.devices["probe"][d] = Probe.NONE

    # What the gateways tell.

    def on_open(self, number: int) -> None:
        """Its devices are back, if they were there before."""
        self._attendance.bring_back(number, clock.now_ns())

    def on_gone(self, number: int, fault: BaseException, left: list[Publication], *, was_open: bool) -> None:
        """Its devices are lost, or none comes; what they had not published is abandoned."""
        self.reason = explain(self._address, fault)
        if not was_open:
            self._counters["refused_count"] += not self._is_proven
            if is_lasting(fault) and not self._is_proven:
                self._failure = f"broker {self._address.shown} lets nobody in: {self.reason}"
            return
        self._publisher.abandon(left)
        self._stop_seeing(number)
        if not self._is_ending:
            self._attendance.lose(number, clock.now_ns())

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
            elif (d := self._attendance.device_told(topic)) >= 0:
                self._forget_probe(d)
                self.fleet.receive(d, payload, clock.now_ns())
        except ProtocolViolation as violation:
            self._counters["protocol_error_count"] += 1
            self.reason = violation.reason

    def on_published(self, publication: Publication) -> None:
        """The broker's socket took a batch."""
        self._publisher.note(publication)

    def on_failure(self, reason: str) -> None:
        """The server cannot be asked for its canvas."""
        self._failure = reason
