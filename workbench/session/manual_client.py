"""The client for painting by hand: one non-blocking WebSocket client with its own connection.

It connects on the first placement, keeps to the server's rate limit, and reconnects when the connection is lost.
Invariants: each placement is passed to a connection once, in order, or counted as dropped; `poll` never blocks.
"""

import errno
import os
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from server.protocol.connection import Connection
from server.protocol.events import Closed, Event, Message, Refused, Violated
from server.protocol.http import authority_of
from server.protocol.messages import SUBPROTOCOL, Hello, Place, Throttled, decode_server_message
from server.protocol.websocket import CloseCode, ProtocolViolation
from server.tls.trust import trusting
from workbench.address import Address

WAITING_MAX = 20_000
"""Most placements queued: a long stroke at a low rate. Beyond it the oldest are dropped."""
RETRY_FIRST_NS = 500_000_000
RETRY_MAX_NS = 8_000_000_000
_NANOSECONDS = 1_000_000_000
_READ_BYTES = 65_536
_NOT_YET = (errno.EAGAIN, errno.ENOTCONN, errno.EINPROGRESS)
"""Nothing to read yet, or the socket is still connecting."""
_SHARE = 0.9
"""Part of the granted rate and burst to use: a margin for the difference between the two clocks."""


class ManualClient:
    """Places pixels for the user. `address`: the server's, once it is known."""

    def __init__(self) -> None:
        self.address: Address | None = None
        self.sent_count = 0
        """Placements handed to the connection."""
        self.dropped_count = 0
        """Placements dropped because the queue was full."""
        self.throttled_count = 0
        """Placements the server reported as throttled."""
        self.connected_count = 0
        """Connections opened."""
        self.reason = ""
        """Why the last connection ended, one line."""
        self._waiting: deque[Place] = deque()
        self._unsent = bytearray()
        self._stream: socket.socket | None = None
        self._connection: Connection | None = None
        self._has_hello = False
        self._reported_dropped = 0
        self._retry_ns = RETRY_FIRST_NS
        self._next_connect_ns = 0
        self._rate_per_s, self._burst = 1.0, 1.0
        self._tokens, self._refilled_ns = 0.0, 0

    @property
    def waiting_count(self) -> int:
        """Placements not sent yet."""
        return len(self._waiting)

    @property
    def is_connected(self) -> bool:
        """Whether the server has sent Hello."""
        return self._has_hello

    def paint(self, x: int, y: int, color: int) -> None:
        """Queue one placement. It is sent when connection and rate limit allow."""
        if len(self._waiting) == WAITING_MAX:
            self._waiting.popleft()
            self.dropped_count += 1
        self._waiting.append(Place(x, y, color))

    def allow(self, rate_per_s: float, burst: float) -> None:
        """Set the server's rate limit: placements per second and burst."""
        self._rate_per_s, self._burst = _SHARE * rate_per_s, max(1.0, _SHARE * burst)
        self._tokens = min(self._tokens, self._burst)

    def poll(self, now_ns: int) -> None:
        """Connect if placements are queued, send what the limits allow, and handle what was received."""
        try:
            if self._stream is not None:
                self._exchange(self._stream, now_ns)
            elif self._waiting and self.address is not None and now_ns >= self._next_connect_ns:
                self._connect(self.address, now_ns)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass  # A TLS record or handshake is incomplete.
        except OSError as error:
            if error.errno not in _NOT_YET:
                self._lose((error.strerror or str(error)).lower(), now_ns)

    def close(self, now_ns: int) -> None:
        """Close the socket at once, after a close frame if the socket has room."""
        if self._stream is None or self._connection is None:
            return
        if self._connection.is_open:
            self._connection.close(CloseCode.GOING_AWAY, "the workbench stops")
            self._unsent += self._connection.data_to_send()
        with suppress(OSError):
            self._stream.send(self._unsent)
        self._lose("", now_ns)

    # --- Internals ---

    def _connect(self, address: Address, now_ns: int) -> None:
        """Start a connection. Raises OSError when there is no descriptor left or the host does not resolve."""
        host = address.reachable_host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._stream = socket.socket(family, socket.SOCK_STREAM)
        self._stream.setblocking(False)
        self._stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.certificate:
            try:
                context = trusting(address.certificate)
                self._stream = context.wrap_socket(self._stream, do_handshake_on_connect=False)
            except OSError as error:
                self._lose(f"{address.certificate}: {(error.strerror or str(error)).lower()}", now_ns)
                return
        where = authority_of(host, address.port)
        self._connection = Connection.client(where, address.target, now_ns, subprotocols=(SUBPROTOCOL,))
        failure = self._stream.connect_ex((host, address.port))
        if failure not in (0, *_NOT_YET):
            self._lose(os.strerror(failure).lower(), now_ns)

    def _exchange(self, stream: socket.socket, now_ns: int) -> None:
        """Send and receive until the socket would block. Raises OSError."""
        assert self._connection is not None
        self._handle_all(self._connection.on_timer(now_ns), now_ns)
        failure = stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise OSError(failure, os.strerror(failure))
        while self._connection is not None:
            self._send(stream, now_ns)
            data = stream.recv(_READ_BYTES)
            connection = self._connection
            events = connection.receive_data(data, now_ns) if data else connection.receive_eof(now_ns)
            self._handle_all(events, now_ns)

    def _send(self, stream: socket.socket, now_ns: int) -> None:
        assert self._connection is not None
        self._frame_queued(self._connection, now_ns)
        self._unsent += self._connection.data_to_send()
        if self._unsent:
            del self._unsent[: stream.send(self._unsent)]

    def _frame_queued(self, connection: Connection, now_ns: int) -> None:
        """Put queued placements into frames, in order, as the rate limit allows."""
        if not self._has_hello or not connection.can_send:
            return
        gained = (now_ns - self._refilled_ns) * self._rate_per_s / _NANOSECONDS
        self._tokens, self._refilled_ns = min(self._burst, self._tokens + max(0.0, gained)), now_ns
        while self._waiting and self._tokens >= 1:
            connection.send_binary(self._waiting.popleft().encode())
            self._tokens -= 1
            self.sent_count += 1

    def _handle_all(self, events: Sequence[Event], now_ns: int) -> None:
        for event in events:
            match event:
                case Message(data):
                    try:
                        self._read(data, now_ns)
                    except ProtocolViolation as violation:
                        self._lose(violation.reason, now_ns)
                case Refused(status, reason):
                    self._lose(f"{status} {reason}", now_ns)
                case Violated(_, reason):
                    self._lose(reason, now_ns)
                case Closed(code, reason):
                    self._lose(reason or f"closed with {code}", now_ns)

    def _read(self, payload: bytes, now_ns: int) -> None:
        """Handle a message. Raises ProtocolViolation for an invalid one."""
        message = decode_server_message(payload)
        if isinstance(message, Hello):
            self.allow(message.rate_per_s, message.burst)
            self._tokens, self._refilled_ns = self._burst, now_ns
            self._has_hello = True
            self._retry_ns = RETRY_FIRST_NS
            self.connected_count += 1
        elif isinstance(message, Throttled):
            self.throttled_count += message.dropped - self._reported_dropped
            self._reported_dropped = message.dropped

    def _lose(self, reason: str, now_ns: int) -> None:
        """Drop the connection. Each attempt that fails before Hello doubles the pause before the next."""
        if self._stream is None and now_ns < self._next_connect_ns:
            return  # Already closed, and its reason is recorded.
        if self._stream is not None:
            self._stream.close()
        self._stream = self._connection = None
        self._unsent.clear()
        self._has_hello, self._reported_dropped = False, 0
        self.reason = reason
        self._next_connect_ns = now_ns + self._retry_ns
        self._retry_ns = min(2 * self._retry_ns, RETRY_MAX_NS)
