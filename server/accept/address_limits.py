"""Limits for each source address: how many connections it may hold, and how fast it may open more.

An IPv6 address counts by its /64, which is what one subscriber has; an IPv4 address inside IPv6 counts as IPv4. An
accepted connection counts until its socket is closed, in any way.
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

# Addresses whose pace is remembered: some megabytes, and more than come within the second that it matters. Those that
# have been idle for longest are forgotten first.
IDLE_SOURCES_MAX = 16_384
# Addresses in text form that need not be parsed again: whole fleets come from one.
HOSTS_KEPT = 1024
# The burst of an address, in seconds of its rate: a web page sends half a dozen requests, each on a connection.
BURST_S = 2
_SECOND_NS = 1_000_000_000
_ANSWER_BYTES = 4096
_TEXT = (("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close"))


class Refusal(NamedTuple):
    """Why a socket is rejected: the name of a counter of LOOP, and the answer to its peer."""

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
    """A socket that calls `on_close` once when it is closed, by any code."""

    on_close: Callable[[], None] | None = None

    def close(self) -> None:
        """Close it, and call `on_close` the first time."""
        super().close()
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()


@lru_cache(HOSTS_KEPT)
def source_of(host: str) -> tuple[bytes, bool]:
    """What an address counts as, and whether it is this machine's loopback."""
    address = ipaddress.ip_address(host.partition("%")[0])  # A link-local address may name its interface.
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
        # Connections by source: no more entries than connections.
        self._held: dict[bytes, int] = {}
        # By source, when its token bucket of handshakes will be full again; the most recent comes last.
        self._full_ns: OrderedDict[bytes, int] = OrderedDict()

    def take_in(self, accepted: socket.socket, host: str, now_ns: int) -> socket.socket | Refusal:
        """The socket to use instead of `accepted`, or why it is rejected. `host`: its peer's address."""
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
        """Connections that count now."""
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
    """Send an answer in one write, unless it is b"", and close the socket."""
    with contextlib.suppress(OSError):  # The peer is gone already, or takes nothing: then it gets no answer.
        if answer:
            accepted.setblocking(False)
            accepted.send(answer)
            # Closing a socket with unread input resets the connection, and the peer may lose the answer.
            accepted.recv(_ANSWER_BYTES)
    accepted.close()
