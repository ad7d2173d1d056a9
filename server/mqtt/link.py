"""A connection to an MQTT broker that is kept up: it publishes what it is given and hands on what it hears.

A broker that is gone is dialled anew, with back-off and jitter; sessions are clean and nothing is sent twice, so that
no placement counts twice. It belongs to one asyncio loop and knows no canvas. Invariant: what was handed over is
published in its order, or told as left over, once, when the broker went away before.
"""

import asyncio
import random
import ssl
from collections import deque
from typing import NamedTuple, Protocol

import aiomqtt

from server.mqtt.address import BrokerAddress
from server.mqtt.client import hear_exception, new_client

PAUSE_S_LEAST, PAUSE_S_MOST = 0.1, 5.0
"""Before the first new attempt, and at most."""
PUBLICATIONS_A_TURN = 16
"""Published before others of the loop have their turn, about a millisecond: an open socket takes them at once."""


class Publication(NamedTuple):
    """Something to be published at QoS 0."""

    topic: str
    payload: bytes
    is_retained: bool = False


class LinkOwner(Protocol):
    """Whom a link tells how it goes, from its own loop."""

    def on_open(self) -> None:
        """The broker is there and all is subscribed to; what is published now goes out first."""

    def on_gone(self, fault: BaseException, left: list[Publication], *, was_open: bool) -> None:
        """The broker went away, or an attempt to reach it failed. `left`: handed over, and never published."""

    def on_message(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        """Something was published where we listen."""

    def on_published(self, publication: Publication) -> None:
        """The broker's socket has taken this."""


def pause_s(failure_count: int, lot: float) -> float:
    """How long to wait after so many failures in a row; `lot` is drawn from 0 to 1, so that not all come at once."""
    longest = min(PAUSE_S_MOST, PAUSE_S_LEAST * 2.0 ** min(failure_count, 16))
    return longest * (0.5 + lot / 2)


class BrokerLink:
    """One connection and its life, under a name that begins with `role`. `tls` as `broker_client.tls_context` gives."""

    def __init__(
        self, address: BrokerAddress, role: str, tls: ssl.SSLContext | None, topics: tuple[str, ...], owner: LinkOwner
    ) -> None:
        self.is_open = False
        self._address, self._role, self._tls, self._topics, self._owner = address, role, tls, topics, owner
        self._owed: deque[Publication] = deque()
        self._under_way: Publication | None = None
        self._called, self._ended = asyncio.Event(), asyncio.Event()

    @property
    def owed_count(self) -> int:
        """What was handed over and is not with the broker yet. Any thread may ask."""
        return len(self._owed) + (self._under_way is not None)

    def publish(self, publication: Publication) -> None:
        """Hand something over; `wake` has it go out. Called in the link's loop alone, as all but `owed_count` is."""
        self._owed.append(publication)

    def wake(self) -> None:
        """Have what was handed over go out."""
        self._called.set()

    def end(self) -> None:
        """Publish what is owed, say good-bye, and return from `live`."""
        self._ended.set()
        self._called.set()

    async def live(self) -> None:
        """Keep the connection up until `end`."""
        asyncio.get_running_loop().set_exception_handler(hear_exception)
        failure_count = 0
        while not self._ended.is_set():
            try:
                await self._connect()
            except (aiomqtt.MqttError, OSError) as fault:
                failure_count = 0 if self.is_open else failure_count + 1
                self._lose(fault)
            self.is_open = False
            await self._rest(pause_s(failure_count, random.random()))

    async def _connect(self) -> None:
        """One connection, from its beginning to its end. Raises MqttError or OSError when the broker is gone."""
        async with new_client(self._address, self._role, self._tls) as client:
            for topic in self._topics:
                await client.subscribe(topic, qos=0)
            self._owner.on_open()
            self.is_open = True
            await self._converse(client)

    def _lose(self, fault: BaseException) -> None:
        was_open, self.is_open = self.is_open, False
        left = [self._under_way] if self._under_way is not None else []
        left += self._owed
        self._owed.clear()
        self._under_way = None
        self._owner.on_gone(fault, left, was_open=was_open)

    async def _converse(self, client: aiomqtt.Client) -> None:
        """Receive and publish until told to end. Raises MqttError when the broker goes."""
        tasks = [asyncio.create_task(self._receive(client)), asyncio.create_task(self._send(client))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            self._owner.on_message(
                message.topic.value, payload if isinstance(payload, bytes) else b"", is_retained=message.retain
            )

    async def _send(self, client: aiomqtt.Client) -> None:
        count = 0
        while True:
            self._called.clear()
            while self._owed:
                self._under_way = publication = self._owed[0]  # First, so that it is owed at any moment.
                self._owed.popleft()
                await client.publish(publication.topic, publication.payload, retain=publication.is_retained)
                self._under_way = None
                self._owner.on_published(publication)
                count += 1
                if count % PUBLICATIONS_A_TURN == 0:
                    await asyncio.sleep(0)
            if self._ended.is_set():
                return
            await self._called.wait()

    async def _rest(self, seconds: float) -> None:
        """Wait so long, or until told to end."""
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except TimeoutError:
            return
