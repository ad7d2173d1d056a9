"""A connection to an MQTT broker that is kept up: it publishes what it is given and passes on what it receives.

After a failure it connects again, with back-off and jitter. Sessions are clean and nothing is sent twice, so that no
placement counts twice. What was handed over is either published, in order, or returned once as left over when the
broker is gone. A link belongs to one asyncio loop. No text that is made here contains a password.
"""

import asyncio
import logging
import random
import ssl
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import aiomqtt
from aiomqtt.exceptions import MqttConnectError

from server.mqtt.address import BrokerAddress

# A broker that is silent for one and a half times as long is gone, even though its socket is open.
KEEP_ALIVE_S = 5
ANSWER_S = 5.0
# The first and the longest pause before connecting again.
PAUSE_S_LEAST, PAUSE_S_MOST = 0.1, 5.0
# Publications before other tasks of the loop have their turn, about a millisecond: an open socket takes them at once.
PUBLICATIONS_A_TURN = 16
# Codes of a CONNACK for a wrong or missing login, in MQTT 3.1.1 and as paho names them in MQTT 5.
_REFUSALS = (4, 5, 134, 135)
# OpenSSL's codes for a certificate of another host, or of another address.
_OTHER_NAME = (62, 64)

# Without it, aiomqtt would log failures to standard error.
_log = logging.Logger("server.mqtt.link")
_log.addHandler(logging.NullHandler())


class Publication(NamedTuple):
    """A message to publish with QoS 0."""

    topic: str
    payload: bytes
    is_retained: bool = False


class LinkOwner(Protocol):
    """What a link calls, in its own loop."""

    def on_open(self) -> None:
        """Connected and subscribed; what is published now is sent first."""

    def on_gone(self, fault: BaseException, left: list[Publication], *, was_open: bool) -> None:
        """The broker is gone, or an attempt to connect failed. `left`: handed over, and not published."""

    def on_message(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        """A message arrived on a subscribed topic."""

    def on_published(self, publication: Publication) -> None:
        """The broker's socket has taken this message."""


def pause_s(failure_count: int, lot: float) -> float:
    """The pause after this many failures in a row. `lot`, random from 0 to 1: clients must not all return at once."""
    longest = min(PAUSE_S_MOST, PAUSE_S_LEAST * 2.0 ** min(failure_count, 16))
    return longest * (0.5 + lot / 2)


class BrokerLink:
    """A connection with a client identifier that begins with `role`. `tls` comes from `tls_context`."""

    def __init__(
        self, address: BrokerAddress, role: str, tls: ssl.SSLContext | None, topics: tuple[str, ...], owner: LinkOwner
    ) -> None:
        self.is_open = False
        self._address, self._role, self._tls, self._topics, self._owner = address, role, tls, topics, owner
        self._owed: deque[Publication] = deque()
        self._under_way: Publication | None = None
        self._has_work, self._ended = asyncio.Event(), asyncio.Event()

    @property
    def owed_count(self) -> int:
        """Messages handed over that the broker does not have yet. May be read by any thread."""
        return len(self._owed) + (self._under_way is not None)

    def publish(self, publication: Publication) -> None:
        """Hand a message over, to be sent in order. Called in the link's loop, as everything but `owed_count`."""
        self._owed.append(publication)
        self._has_work.set()

    def end(self) -> None:
        """Publish what is left, disconnect, and return from `run`."""
        self._ended.set()
        self._has_work.set()

    async def run(self) -> None:
        """Keep the connection up until `end`."""
        asyncio.get_running_loop().set_exception_handler(ignore_broken)
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
        """One connection. Raises MqttError or OSError when the broker is gone."""
        async with new_client(self._address, self._role, self._tls) as client:
            for topic in self._topics:
                await client.subscribe(topic, qos=0)
            self._owner.on_open()
            self.is_open = True
            await self._exchange(client)

    def _lose(self, fault: BaseException) -> None:
        was_open, self.is_open = self.is_open, False
        left = [self._under_way] if self._under_way is not None else []
        left += self._owed
        self._owed.clear()
        self._under_way = None
        self._owner.on_gone(fault, left, was_open=was_open)

    async def _exchange(self, client: aiomqtt.Client) -> None:
        """Receive and publish until `end`. Raises MqttError when the broker is gone."""
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
            self._has_work.clear()
            while self._owed:
                # In this order, `owed_count` includes it at any moment.
                self._under_way = publication = self._owed[0]
                self._owed.popleft()
                await client.publish(publication.topic, publication.payload, retain=publication.is_retained)
                self._under_way = None
                self._owner.on_published(publication)
                count += 1
                if count % PUBLICATIONS_A_TURN == 0:
                    await asyncio.sleep(0)
            if self._ended.is_set():
                return
            await self._has_work.wait()

    async def _rest(self, seconds: float) -> None:
        """Wait, but not longer than until `end`."""
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except TimeoutError:
            return


def tls_context(address: BrokerAddress) -> ssl.SSLContext | None:
    """The TLS context for this broker; None without TLS. Raises ValueError for a CA file that cannot be used."""
    if not address.is_tls:
        return None
    try:
        return ssl.create_default_context(cafile=address.ca or None)
    except OSError as fault:  # ssl.SSLError is one too.
        reason = "holds no certificate" if isinstance(fault, ssl.SSLError) else (fault.strerror or str(fault)).lower()
        raise ValueError(f"CA file {address.ca!r} {reason}; give ?ca= a PEM file with the CA's certificate") from None


def new_client(address: BrokerAddress, role: str, tls: ssl.SSLContext | None) -> aiomqtt.Client:
    """A client that is not connected yet. Its identifier is `role` and a random number."""
    return aiomqtt.Client(
        address.host,
        address.port,
        username=address.user or None,
        password=address.password or None,
        tls_context=tls,
        identifier=f"{role}-{random.getrandbits(48):012x}",
        keepalive=KEEP_ALIVE_S,
        timeout=ANSWER_S,
        logger=_log,
    )


def ignore_broken(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's handler of exceptions that no task awaits: ignores those of broken connections."""
    # A connection that breaks in several tasks at once leaves such exceptions; the awaited task reports the end.
    if not isinstance(context.get("exception"), aiomqtt.MqttError | OSError):
        loop.default_exception_handler(context)


def is_lasting(fault: BaseException) -> bool:
    """Whether connecting again cannot help: a certificate, a login."""
    return any(isinstance(each, ssl.SSLError) or _is_refusal(each) for each in _chain(fault))


def explain(address: BrokerAddress, fault: BaseException) -> str:
    """What went wrong with this broker, in one line with the remedy. Does not name the broker."""
    for each in _chain(fault):
        if isinstance(each, ssl.SSLCertVerificationError):
            return _about_certificate(address, each)
        if isinstance(each, ssl.SSLError):
            return "it does not speak TLS there; write mqtt://, or the port of its TLS listener"
        if _is_refusal(each):
            return _about_login(address)
        if isinstance(each, OSError) and each.strerror:
            return each.strerror.lower()
    return str(fault).lower()


def _about_certificate(address: BrokerAddress, fault: ssl.SSLCertVerificationError) -> str:
    if fault.verify_code in _OTHER_NAME:
        return f"its certificate is not for {address.host}; write the host as the certificate names it"
    whose = f"by {address.ca}" if address.ca else "here"
    remedy = "give the right CA's file" if address.ca else "for your own CA write mqtts://...?ca=FILE.pem"
    return f"its certificate is not trusted {whose} ({fault.verify_message}); {remedy}"


def _about_login(address: BrokerAddress) -> str:
    if address.user:
        return f"it rejects user {address.user!r} with this password; correct them in the URL"
    return "it requires a login; write mqtt://USER:PASSWORD@HOST"


def _is_refusal(fault: BaseException) -> bool:
    if not isinstance(fault, MqttConnectError):
        return False  # The codes of other errors have other meanings.
    return getattr(fault.rc, "value", fault.rc) in _REFUSALS


def _chain(fault: BaseException) -> Iterator[BaseException]:
    """The exception and those that caused it."""
    each: BaseException | None = fault
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__
