"""One connection to the broker that carries many devices, and the canvas that it sees through it.

DELTAs hold changes only. So a gateway subscribes first, keeps what arrives, asks the server for a SNAPSHOT, and applies
the DELTAs of later ticks to it; again after each new connection. What it sees is the canvas as of `tick`, or nothing.
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
    """What a gateway calls, with its number."""

    def on_open(self, number: int) -> None:
        """The broker is connected: devices may publish."""

    def on_gone(self, number: int, fault: BaseException, left: list[Publication], *, was_open: bool) -> None:
        """As `server.mqtt.link.LinkOwner`."""

    def on_canvas(self, number: int, message: bytes) -> None:
        """A SNAPSHOT or DELTA to apply, in the order of ticks."""

    def on_message(self, topic: str, payload: bytes) -> None:
        """Another message of the server."""

    def on_published(self, publication: Publication) -> None:
        """As `server.mqtt.link.LinkOwner`."""

    def on_failure(self, reason: str) -> None:
        """The gateway cannot go on."""


class Gateway:
    """Gateway `number` of a fleet. Gateway 0 subscribes to messages for devices; `fetch` blocks for a SNAPSHOT."""

    def __init__(
        self,
        number: int,
        broker: tuple[BrokerAddress, ssl.SSLContext | None],
        topics: Topics,
        owner: GatewayOwner,
        fetch: Callable[[], bytes] | None,
    ) -> None:
        self.number = number
        # Of the canvas that is seen; -1: none is.
        self.tick = -1
        self._topics, self._owner, self._fetch = topics, owner, fetch
        subscribed = [topics.info, topics.throttled("+")] if number == 0 else []
        subscribed += [topics.delta] if fetch is not None else []
        address, tls = broker
        self.link = BrokerLink(address, "fleet", tls, tuple(subscribed), self)
        self._held: list[bytes] = []
        self._beginning: asyncio.Future[None] | None = None

    @property
    def watches(self) -> bool:
        """Whether it should see the canvas."""
        return self._fetch is not None

    @property
    def is_ready(self) -> bool:
        """It is connected, and sees the canvas if it should."""
        return self.link.is_open and (self.tick >= 0 or not self.watches)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish for a device."""
        self.link.publish(Publication(topic, payload))

    # Events of the link.

    def on_open(self) -> None:
        """Devices may publish, and the canvas is requested."""
        self._owner.on_open(self.number)
        if self._fetch is not None:
            self._beginning = asyncio.ensure_future(self._begin(self._fetch))

    def on_gone(self, fault: BaseException, left: list[Publication], *, was_open: bool) -> None:
        """What is seen is outdated from now on."""
        if self._beginning is not None:
            self._beginning.cancel()
        self._beginning, self.tick = None, -1
        self._held.clear()
        self._owner.on_gone(self.number, fault, left, was_open=was_open)

    def on_message(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        """DELTAs wait until there is a canvas to apply them to; everything else is for the fleet."""
        if topic != self._topics.delta:
            self._owner.on_message(topic, payload)
        elif self.tick < 0:
            self._held.append(payload)
        else:
            self._apply(payload)

    def on_published(self, publication: Publication) -> None:
        """As `server.mqtt.link.LinkOwner`."""
        self._owner.on_published(publication)

    # The canvas.

    async def _begin(self, fetch: Callable[[], bytes]) -> None:
        """Take the canvas from the server, and apply what has changed meanwhile."""
        try:
            snapshot = await asyncio.get_running_loop().run_in_executor(None, fetch)
        except FleetFailed as failure:
            self._owner.on_failure(str(failure))
            return
        self.tick = SNAPSHOT.unpack_from(snapshot)[2]
        self._owner.on_canvas(self.number, snapshot)
        # These came while the snapshot was under way; `_apply` drops the ones that it contains.
        held, self._held = self._held, []
        for delta in held:
            self._apply(delta)

    def _apply(self, payload: bytes) -> None:
        """Pass on what is newer than the canvas, and what is no DELTA, for its fault to be reported."""
        is_delta = len(payload) >= DELTA.size and payload[0] == ServerOp.DELTA
        tick = DELTA.unpack_from(payload)[-1] if is_delta else self.tick + 1
        # The server publishes whether a snapshot was taken or not, so older DELTAs arrive behind it.
        if tick > self.tick:
            self.tick = tick if is_delta else self.tick
            self._owner.on_canvas(self.number, payload)
