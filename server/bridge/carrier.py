"""The carrier: a thread that speaks to the broker. It fills the inbox, and publishes what the loop hands it.

It knows no canvas. A broker that is gone is dialled anew, with back-off and jitter; sessions are clean and nothing is
sent twice, so that no placement counts twice. Invariant: what was handed over is published in its order, or given up
when the broker went away before.
"""

import asyncio
import logging
import random
import ssl
import threading
from collections import deque
from collections.abc import Callable

import aiomqtt

from server import clock
from server.bridge.inbox import Inbox
from server.broker_address import BrokerAddress
from server.topics import Topics

PAUSE_S_LEAST, PAUSE_S_MOST = 0.1, 5.0
"""Before the first new attempt, and at most."""
KEEP_ALIVE_S = 5
"""A broker that says nothing for one and a half times as long is gone, though its socket is open."""
ANSWER_S = 5.0
END_S = 3.0
"""How long the end waits for what is still to be published."""

_log = logging.Logger("server.bridge")
_log.addHandler(logging.NullHandler())


def pause_s(failure_count: int, lot: float) -> float:
    """How long to wait after so many failures in a row; `lot` is drawn from 0 to 1, so that not all come at once."""
    longest = min(PAUSE_S_MOST, PAUSE_S_LEAST * 2.0 ** min(failure_count, 16))
    return longest * (0.5 + lot / 2)


class Carrier:
    """One connection to the broker, and its life. `tell(text)` is called from its thread when it comes or goes."""

    def __init__(self, address: BrokerAddress, topics: Topics, inbox: Inbox, tell: Callable[[str], None]) -> None:
        self.is_connected = False
        self.connected_count = 0
        """Connections made so far."""
        self._address, self._topics, self._inbox, self._tell = address, topics, inbox, tell
        self._info = b""
        self._outgoing: deque[tuple[str, bytes, bool]] = deque()
        self._is_publishing = False
        self._loop = asyncio.new_event_loop()
        self._called = asyncio.Event()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="carrier", daemon=True)

    @property
    def owed_count(self) -> int:
        """What was handed over and is not with the broker yet."""
        return len(self._outgoing) + self._is_publishing

    def start(self, info: bytes) -> None:
        """Begin to dial. `info` is published, retained, each time that the broker is reached."""
        self._info = info
        self._thread.start()

    def inform(self, info: bytes) -> None:
        """Publish this as info from now on."""
        self._info = info
        self.publish(self._topics.info, info, is_retained=True)

    def publish(self, topic: str, payload: bytes, *, is_retained: bool = False) -> None:
        """Hand something over. May be called from any thread."""
        self._outgoing.append((topic, payload, is_retained))
        self._loop.call_soon_threadsafe(self._called.set)

    def close(self) -> None:
        """Publish what is owed, say good-bye and end; bounded by END_S. Once."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end)
            self._thread.join(END_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _end(self) -> None:
        self._ended.set()
        self._called.set()

    def _run(self) -> None:
        self._loop.run_until_complete(self._live())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())

    async def _live(self) -> None:
        failure_count, gone_ns = 0, 0
        while not self._ended.is_set():
            connected_before = self.connected_count
            try:
                async with self._client() as client:
                    await client.subscribe(self._topics.places, qos=0)
                    await client.publish(self._topics.info, self._info, retain=True)
                    self._note_connected(gone_ns)
                    await self._converse(client)
            except (aiomqtt.MqttError, OSError) as fault:
                was_connected = self.connected_count > connected_before
                failure_count = 0 if was_connected else failure_count + 1
                if was_connected or (failure_count == 1 and not self.connected_count):
                    gone_ns = clock.now_ns()
                    state = "gone" if was_connected else "not there"
                    self._tell(f"broker {self._address.shown} is {state}, it is dialled again and again: {fault}")
            self.is_connected = False
            self._outgoing.clear()
            await self._rest(pause_s(failure_count, random.random()))

    def _client(self) -> aiomqtt.Client:
        address = self._address
        return aiomqtt.Client(
            address.host,
            address.port,
            username=address.user or None,
            password=address.password or None,
            tls_context=ssl.create_default_context() if address.is_tls else None,
            identifier=f"canvas-{random.getrandbits(48):012x}",
            keepalive=KEEP_ALIVE_S,
            timeout=ANSWER_S,
            logger=_log,
        )

    def _note_connected(self, gone_ns: int) -> None:
        self.connected_count += 1
        self.is_connected = True
        away_s = (clock.now_ns() - gone_ns) * 1e-9
        self._tell(f"broker {self._address.shown} is {f'back after {away_s:.1f} s' if gone_ns else 'there'}")
        self._inbox.arrived.set()

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
        topics, inbox = self._topics, self._inbox
        async for message in client.messages:
            # What is retained was there before us, and comes again with each connection: it must not count each time.
            device = "" if message.retain else topics.device_of(message.topic.value)
            payload = message.payload
            inbox.put(device, payload if isinstance(payload, bytes) else b"")

    async def _send(self, client: aiomqtt.Client) -> None:
        while True:
            self._called.clear()
            while self._outgoing:
                self._is_publishing = True
                topic, payload, is_retained = self._outgoing.popleft()
                try:
                    await client.publish(topic, payload, retain=is_retained)
                finally:
                    self._is_publishing = False
                self._inbox.arrived.set()  # The loop may hand over the next delta.
            if self._ended.is_set():
                return
            await self._called.wait()

    async def _rest(self, seconds: float) -> None:
        """Wait so long, or until told to end."""
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except TimeoutError:
            return
