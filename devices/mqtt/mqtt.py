"""A fleet whose devices speak MQTT: a few connections to a broker carry them all, each device under its own id.

`membership` decides which devices take part, `publisher` what is sent; here is what is received, and the life of the
fleet. When a broker goes away, its devices are lost as those of a socket are: what they intended is abandoned, and they
begin again when it is back. What was offered is what the broker's socket took, what is owed, and what was abandoned.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.config import FleetConfig
from devices.fleet.fleet import Fleet
from devices.kernels.probes import drop_probe, end_probe
from devices.limits import BROKER_CONNECTIONS, FleetFailed
from devices.link import FleetLink
from devices.mqtt.gateway import Gateway, GatewayOwner
from devices.mqtt.membership import Membership
from devices.mqtt.publisher import Publisher, publication_bytes
from server.mqtt.address import BrokerAddress
from server.mqtt.link import Publication, explain, is_lasting, tls_context
from server.mqtt.topics import Topics
from server.protocol.messages import Hello, decode_server_message
from server.protocol.websocket import ProtocolViolation
from server.system import clock

# Connections that carry the devices. More would only take turns in one thread.
GATEWAYS_MAX = BROKER_CONNECTIONS // 2
# How long a fleet that never began waits for the broker, or for the canvas behind it, before it gives up.
PATIENCE_NS = 10_000_000_000
END_S = 2.0
_NO_LINKS = "behind a broker devices have no links of their own: pause the broker instead"


class ViewProbes:
    """Latency probes without an answer, of devices that see one canvas.

    MQTT has no PING behind a placement. So a probed placement is looked for in what its device sees: it is seen with
    the first DELTA that sets its pixel to its colour, or that shows a later one of its device, since their order is
    kept. One that changes nothing is not probed; and when another placement changes the pixel first, the probe ends
    without a result. Each probe ends once. A probe is named by its
    row in `Arrays.probes`.
    """

    def __init__(self) -> None:
        # By row: pixel, its colour when it was placed, the placement's colour, and the device.
        self._waiting: dict[int, tuple[int, int, int, int]] = {}
        # By device.
        self._rows: defaultdict[int, set[int]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, row: int, device: int, pixel: int, color: int, seen: NDArray[np.uint8]) -> bool:
        """Look for this placement from now on; `seen`: (height, width) u1, what its device sees.

        `pixel` is y * width + x. False when the pixel has this colour already.
        """
        assert row not in self._waiting, "a probe was given a second placement"
        now = int(seen.flat[pixel])
        if now != color:
            self._waiting[row] = (pixel, now, color, device)
            self._rows[device].add(row)
        return now != color

    def look(self, seen: NDArray[np.uint8]) -> Iterator[tuple[int, bool]]:
        """Each probe that ends with what is seen now, and whether the pixel has its colour."""
        if not self._waiting:
            return
        rows = np.fromiter(self._waiting, np.int64)
        waiting = np.array(list(self._waiting.values()), np.int64)
        now = seen.reshape(-1)[waiting[:, 0]]
        changed = np.flatnonzero(now != waiting[:, 1])
        is_own = now[changed] == waiting[changed, 2]
        latest = dict(zip(waiting[changed[is_own], 3].tolist(), changed[is_own].tolist(), strict=True))
        for i in changed.tolist():
            row, (pixel, _, color, device) = int(rows[i]), waiting[i].tolist()
            if i > latest.get(device, len(rows)):  # What is seen came before it: its own is still to come.
                self._waiting[row] = (pixel, int(now[i]), color, device)
                continue
            del self._waiting[row]
            self._rows[device].discard(row)
            yield row, device in latest

    def drop(self, device: int) -> set[int]:
        """End this device's probes without a result. Returns their rows."""
        rows = self._rows.pop(device, set())
        for row in rows:
            del self._waiting[row]
        return rows

    def clear(self) -> list[int]:
        """End all probes. Returns their rows."""
        rows = list(self._waiting)
        self._waiting.clear()
        self._rows.clear()
        return rows


class MqttLink(FleetLink, GatewayOwner):
    """All devices of `fleet`, joined to the canvas of `topics` at this broker; `fetch` blocks for a SNAPSHOT of it.

    Raises FleetFailed for a CA file that cannot be used.
    """

    def __init__(self, fleet: Fleet, address: BrokerAddress, topics: Topics, fetch: Callable[[], bytes]) -> None:
        super().__init__(fleet)
        self._address, self._topics = address, topics
        try:
            broker = (address, tls_context(address))
        except ValueError as fault:
            raise FleetFailed(str(fault)) from None
        self._begun_ns = clock.now_ns()
        # Watching is up to the gateways: as many of them watch as there are viewers, at most all.
        viewer_count, count = fleet.config.viewer_count, min(GATEWAYS_MAX, max(fleet.config.connections, 1))
        self._gateways = [
            Gateway(number, broker, topics, self, fetch if number < viewer_count else None) for number in range(count)
        ]
        self._probes = [ViewProbes() for _ in self._gateways]
        self._membership = Membership(fleet, self._gateways, topics, self._forget_probes, self._begun_ns)
        self._publisher = Publisher(fleet, self._gateways, self._membership, self._expect)
        self._is_proven = self._is_ending = False
        self._failure = ""
        self._loop = asyncio.new_event_loop()
        self._tasks = [self._loop.create_task(gateway.link.run()) for gateway in self._gateways]

    # Connecting.

    @property
    def is_complete(self) -> bool:
        return not self.is_dialing and self.tick_ms > 0 and all(gateway.is_ready for gateway in self._gateways)

    @property
    def is_dialing(self) -> bool:
        return not self._membership.is_settled

    def dial(self, now_ns: int) -> None:
        self._raise_failures(now_ns)
        self._membership.pace(now_ns)

    def _raise_failures(self, now_ns: int) -> None:
        for task in self._tasks:
            if task.done() and not self._is_ending:
                task.result()  # Only a bug ends it: raise it here.
        # Only at the start: a broker that goes away later is waited for without a limit.
        if not self.is_complete and not self._is_proven and now_ns - self._begun_ns > PATIENCE_NS:
            missing = f"broker {self._address.shown} is not there"
            if all(gateway.link.is_open for gateway in self._gateways):
                missing = f"broker {self._address.shown} has no canvas at {self._topics.info}"
            self._failure = f"{missing}: {self.reason or 'nothing came in time'}"
        if self._failure:
            raise FleetFailed(self._failure)
        self._is_proven = self._is_proven or self.is_complete

    # The load, knobs and faults.

    def drive(self, until_ns: int) -> None:
        self._loop.run_until_complete(self._publisher.publish_until(until_ns))

    def settle(self) -> None:
        self._membership.settle()

    def count_unanswered(self) -> int:
        # MQTT has no answer to a placement: known is only what the broker's sockets took.
        return self._publisher.owed_count

    def adjust(self, config: FleetConfig, rate_factor: float, now_ns: int) -> str:
        before = self.fleet.config
        fixed = "" if config.viewers == before.viewers else "behind a broker, viewers stay as they were"
        self.fleet.adjust(msgspec.structs.replace(config, viewers=before.viewers), rate_factor, now_ns)
        return fixed

    def stall(self, share: float, seconds: float, now_ns: int) -> str:
        self._membership.stall(share, now_ns + int(seconds * 1e9))
        return ""

    def cut(self, share: float, now_ns: int) -> str:
        return _NO_LINKS

    # Ending.

    def close(self, now_ns: int) -> None:
        self._is_ending = True
        self._membership.end()
        for gateway in self._gateways:
            gateway.link.end()

    def abandon(self) -> None:
        self._is_ending = True
        self._loop.run_until_complete(self._end_tasks())  # Properly, if that takes no longer than END_S.
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

    def _expect(self, row: int) -> None:
        """Look for the last placement of the probed batch in what its gateway sees."""
        probe = self.fleet.arrays.probes[row]
        d = int(probe["device"])
        gateway = self._membership.gateway_of(d)
        seen = self.fleet.viewers.canvas(gateway.number)
        probes, pixel, color = self._probes[gateway.number], int(probe["pixel"]), int(probe["color"])
        if seen is None or gateway.tick < 0 or not probes.expect(row, d, pixel, color, seen):
            drop_probe(self.fleet.arrays, row)

    def _forget_probes(self, d: int) -> None:
        for row in self._probes[self._membership.gateway_of(d).number].drop(d):
            drop_probe(self.fleet.arrays, row)

    # Events of the gateways.

    def on_open(self, number: int) -> None:
        self._membership.bring_back(number, clock.now_ns())

    def on_gone(self, number: int, fault: BaseException, left: list[Publication], *, was_open: bool) -> None:
        self.reason = explain(self._address, fault)
        if not was_open:
            self._counters["refused_count"] += not self._is_proven
            if is_lasting(fault) and not self._is_proven:
                self._failure = f"broker {self._address.shown} refuses the connection: {self.reason}"
            return
        self._publisher.abandon(left)
        self._forget_canvas(number)
        if not self._is_ending:
            self._membership.lose(number, clock.now_ns())

    def _forget_canvas(self, number: int) -> None:
        devices, step = self.fleet.arrays.devices, len(self._gateways)
        self._counters["subscriber_count"] -= int(devices["seen"][number]) if not self._is_ending else 0
        devices["seen"][number::step] = 0
        for row in self._probes[number].clear():
            drop_probe(self.fleet.arrays, row)

    def on_canvas(self, number: int, message: bytes) -> None:
        """Its first device receives for all that it carries. Probes whose placement is seen end."""
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
        for row, is_own in self._probes[number].look(seen):
            if is_own:
                end_probe(fleet.arrays, row, self._gateways[number].tick, now_ns)
            else:
                drop_probe(fleet.arrays, row)

    def on_message(self, topic: str, payload: bytes) -> None:
        """The server's HELLO, or THROTTLED for one device, whose probes then end without a result."""
        self._counters["received_bytes"] += publication_bytes(topic, payload)
        try:
            if topic == self._topics.info:
                hello = decode_server_message(payload)
                self.tick_ms = hello.tick_ms if isinstance(hello, Hello) else self.tick_ms
            elif (d := self._membership.device_of(topic)) >= 0:
                self._forget_probes(d)
                self.fleet.receive(d, payload, clock.now_ns())
        except ProtocolViolation as violation:
            self._counters["protocol_error_count"] += 1
            self.reason = violation.reason

    def on_published(self, publication: Publication) -> None:
        self._publisher.on_published(publication)

    def on_failure(self, reason: str) -> None:
        self._failure = reason
