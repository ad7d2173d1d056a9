"""One connection to the broker that carries many devices, and the canvas that it sees through it.

DELTAs tell changes only. So it subscribes first, keeps what comes, asks the server for a SNAPSHOT, and goes on from
there with the DELTAs of later ticks; after each new connection anew. Invariant: what it sees is the canvas as of
`tick`, or nothing.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol

from devices.limits import FleetFailed
from server.mqtt.address import BrokerAddress
from server.mqtt.link import BrokerLink, Publication
from server.mqtt.topics import Topics
from server.wire import DELTA, SNAPSHOT, ServerOp


class GatewayOwner(Protocol):
    """Whom a gateway tells how it goes. It comes with its number."""

    def on_open(self, number: int) -> None:
        """The broker is there: devices may publish."""

    def on_gone(self, number: int, fault: BaseException, left: list[Publication], *, was_open: bool) -> None:
        """As `broker_link.LinkOwner`."""

    def on_canvas(self, number: int, message: bytes) -> None:
        """A SNAPSHOT or DELTA to be seen, in the order of ticks."""

    def on_told(self, topic: str, payload: bytes) -> None:
        """Another message of the server's was published."""

    def on_published(self, publication: Publication) -> None:
        """As `broker_link.LinkOwner`."""

    def on_failure(self, reason: str) -> None:
        """There is no way on."""


class Gateway:
    """Gateway `number` of a fleet. The first hears what the server tells devices; `fetch` blocks for a SNAPSHOT."""

    def __init__(
        self,
        number: int,
        broker: tuple[BrokerAddress, ssl.SSLContext | None],
        topics: Topics,
        owner: GatewayOwner,
        fetch: Callable[[], bytes] | None,
    ) -> None:
        self.number = number
        self.tick = -1
        """Of what is seen; -1: nothing is."""
        self._topics, self._owner, self._fetch = topics, owner, fetch
        heard = [topics.info, topics.throttled("+")] if number == 0 else []
        heard += [topics.delta] if fetch is not None else []
        address, tls = broker
        self.link = BrokerLink(address, "fleet", tls, tuple(heard), self)
        self._held: list[bytes] = []
        self._beginning: asyncio.Future[None] | None = None

    @property
    def watches(self) -> bool:
        """Whether it is to see the canvas."""
        return self._fetch is not None

    @property
    def is_ready(self) -> bool:
        """It is connected, and sees what it is to see."""
        return self.link.is_open and (self.tick >= 0 or not self.watches)

    def publish(self, topic: str, payload: bytes) -> None:
        """Have a device publish this."""
        self.link.publish(Publication(topic, payload))
        self.link.wake()

    # What the link tells.

    def on_open(self) -> None:
        """Devices may publish, and the canvas is asked for."""
        self._owner.on_open(self.number)
        if self._fetch is not None:
            self._beginning = asyncio.ensure_future(self._begin(self._fetch))

    def on_gone(self, fault: BaseException, left: list[Publication], *, was_open: bool) -> None:
        """What is seen is old from now on."""
        if self._beginning is not None:
            self._beginning.cancel()
        self._beginning, self.tick = None, -1
        self._held.clear()
        self._owner.on_gone(self.number, fault, left, was_open=was_open)

    def on_message(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        """A DELTA is seen once there is something that it changes; the rest is for the fleet."""
        if topic != self._topics.delta:
            self._owner.on_told(topic, payload)
        elif self.tick < 0:
            self._held.append(payload)
        else:
            self._see(payload)

    def on_published(self, publication: Publication) -> None:
        """As `broker_link.LinkOwner`."""
        self._owner.on_published(publication)

    # Seeing.

    async def _begin(self, fetch: Callable[[], bytes]) -> None:
        """See the canvas as the server sends it, and what has changed meanwhile."""
        try:
            snapshot = await asyncio.get_running_loop().run_in_executor(None, fetch)
        except FleetFailed as failure:
            self._owner.on_failure(str(failure))
            return
        self.tick = SNAPSHOT.unpack_from(snapshot)[2]
        self._owner.on_canvas(self.number, snapshot)
        held, self._held = self._held, []
        for delta in held:
            self._see(delta)

    def _see(self, payload: bytes) -> None:
        """Hand on what is newer than what is seen; what is no DELTA too, for its fault to be told."""
        is_delta = len(payload) >= DELTA.size and payload[0] == ServerOp.DELTA
        tick = DELTA.unpack_from(payload)[-1] if is_delta else self.tick + 1
        if tick > self.tick:
            self.tick = tick if is_delta else self.tick
            self._owner.on_canvas(self.number, payload)
