"""Where connections come from: how many each address may hold, and how fast it may open more.

An address of IPv6 counts by its /64, which is what one subscriber has; one of IPv4 inside IPv6 counts as what it is.
It reads no clock and decides nothing about what is sent. Invariants: an address that was let in counts until its socket
is closed, in whatever way; what is remembered of those that hold none is bounded, the longest idle are forgotten first.
"""

import contextlib
import ipaddress
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from server.config import ServerConfig
from server.protocol.http import encode_response

IDLE_SOURCES_MAX = 16_384
"""Addresses whose pace is remembered: some megabytes, and more than come within the second that it matters."""
HOSTS_KEPT = 1024
"""Addresses that need not be read again when they come back: whole fleets come from one."""
BURST_S = 2
"""So many seconds' worth may be opened at once: a page brings half a dozen requests, each with a connection."""
_SECOND_NS = 1_000_000_000
_ANSWER_BYTES = 4096
_TEXT = (("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close"))


class Refusal(NamedTuple):
    """Why a socket is turned away: a counter of LOOP, and what its peer is told."""

    counter: str
    answer: bytes


TOO_MANY_CONNECTIONS = Refusal(
    "crowded_out_count",
    encode_response(503, (*_TEXT, ("Retry-After", "10")), b"your address has too many connections; close some first\n"),
)
TOO_FAST = Refusal(
    "hurried_out_count",
    encode_response(429, (*_TEXT, ("Retry-After", "1")), b"your address opens connections too fast; wait a second\n"),
)


class CountedSocket(socket.socket):
    """A socket that tells when it is closed, whoever closes it."""

    on_close: Callable[[], None] | None = None

    def close(self) -> None:
        """Close it, and tell so once."""
        super().close()
        told, self.on_close = self.on_close, None
        if told is not None:
            told()


@lru_cache(HOSTS_KEPT)
def source_of(host: str) -> tuple[bytes, bool]:
    """What an address counts as, and whether it is of this machine."""
    address = ipaddress.ip_address(host.partition("%")[0])  # A link's own addresses name the interface too.
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.packed if address.version == 4 else address.packed[:8], address.is_loopback


class AddressLimits:
    """The addresses of one server's connections. `take_in` is called by one thread; sockets may be closed by any."""

    def __init__(self, config: ServerConfig) -> None:
        self._connections_max = config.connections_per_address_max
        per_s = config.handshakes_per_address_per_s
        self._token_ns = _SECOND_NS // per_s if per_s else 0
        self._burst_ns = BURST_S * per_s * self._token_ns
        self._limits_loopback = config.limits_loopback
        self._lock = threading.Lock()
        self._held: dict[bytes, int] = {}
        """Connections by source: no more entries than connections."""
        self._full_ns: OrderedDict[bytes, int] = OrderedDict()
        """By source, when its bucket of handshakes will be full again; who was heard of last comes last."""

    def take_in(self, accepted: socket.socket, host: str, now_ns: int) -> socket.socket | Refusal:
        """The socket to go on with instead of `accepted`, or why it is turned away. `host`: its peer's address."""
        source, is_loopback = source_of(host)
        if is_loopback and not self._limits_loopback:
            return accepted
        if not self._is_in_pace(source, now_ns):
            return TOO_FAST
        with self._lock:
            held = self._held.get(source, 0)
            if self._connections_max and held >= self._connections_max:
                return TOO_MANY_CONNECTIONS
            self._held[source] = held + 1
        counted = CountedSocket(fileno=accepted.detach())
        counted.setblocking(False)
        counted.on_close = lambda: self._leave(source)
        return counted

    @property
    def held_count(self) -> int:
        """Connections that count at present."""
        with self._lock:
            return sum(self._held.values())

    @property
    def remembered_count(self) -> int:
        """Addresses whose pace is remembered."""
        return len(self._full_ns)

    def _leave(self, source: bytes) -> None:
        with self._lock:
            self._held[source] -= 1
            if not self._held[source]:
                del self._held[source]

    def _is_in_pace(self, source: bytes, now_ns: int) -> bool:
        """Take one token of its bucket; False when there is none."""
        full_ns = max(self._full_ns.get(source, 0), now_ns) + self._token_ns
        if full_ns - now_ns > self._burst_ns:
            return False
        if self._token_ns:
            self._full_ns[source] = full_ns
            self._full_ns.move_to_end(source)
            if len(self._full_ns) > IDLE_SOURCES_MAX:
                self._full_ns.popitem(last=False)
        return True


def turn_away(accepted: socket.socket, answer: bytes) -> None:
    """Say why, in one write, and close. b"": only close. What the peer sent by then is read, so that it hears us."""
    with contextlib.suppress(OSError):  # It is gone already, or takes nothing: then it does not hear why.
        if answer:
            accepted.setblocking(False)
            accepted.send(answer)
            accepted.recv(_ANSWER_BYTES)
    accepted.close()
