"""A person's hand on the canvas: one real client with a WebSocket connection of its own, driven without waiting.

It connects when it is first asked to paint, keeps to the rate that the server grants, and dials anew when its
connection is lost. Invariant: what was asked for is handed to a connection once, in order, or counted as dropped;
`poll` never waits.
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
"""Placements that wait to be sent: a long stroke at a low rate. Beyond that the oldest are dropped."""
RETRY_FIRST_NS = 500_000_000
RETRY_MAX_NS = 8_000_000_000
_NANOSECONDS = 1_000_000_000
_READ_BYTES = 65_536
_NOT_YET = (errno.EAGAIN, errno.ENOTCONN, errno.EINPROGRESS)
"""The socket has nothing for us, or is still connecting."""
_SHARE = 0.9
"""Of the granted rate and burst that is used: the server's clock and ours do not tick together."""


class ManualClient:
    """Paints for a person. `address` is where, once it is known."""

    def __init__(self) -> None:
        self.address: Address | None = None
        self.sent_count = 0
        """Placements handed to the connection."""
        self.dropped_count = 0
        """Placements that were asked for while too many waited."""
        self.throttled_count = 0
        """Placements that the server refused for rate, as it told."""
        self.connected_count = 0
        """Connections that were opened."""
        self.reason = ""
        """Why the last connection ended, one line."""
        self._waiting: deque[Place] = deque()
        self._unsent = bytearray()
        self._stream: socket.socket | None = None
        self._connection: Connection | None = None
        self._is_greeted = False
        self._told_dropped = 0
        self._retry_ns = RETRY_FIRST_NS
        self._next_dial_ns = 0
        self._rate_per_s, self._burst = 1.0, 1.0
        self._tokens, self._refilled_ns = 0.0, 0

    @property
    def waiting_count(self) -> int:
        """Placements that are not sent yet."""
        return len(self._waiting)

    @property
    def is_connected(self) -> bool:
        """Whether the server has greeted it."""
        return self._is_greeted

    def paint(self, x: int, y: int, color: int) -> None:
        """Place one pixel as soon as connection and rate allow."""
        if len(self._waiting) == WAITING_MAX:
            self._waiting.popleft()
            self.dropped_count += 1
        self._waiting.append(Place(x, y, color))

    def allow(self, rate_per_s: float, burst: float) -> None:
        """The server grants so many placements a second and so many saved up, from now on."""
        self._rate_per_s, self._burst = _SHARE * rate_per_s, max(1.0, _SHARE * burst)
        self._tokens = min(self._tokens, self._burst)

    def poll(self, now_ns: int) -> None:
        """Dial if there is something to paint, send what may be sent, take note of what came."""
        try:
            if self._stream is not None:
                self._exchange(self._stream, now_ns)
            elif self._waiting and self.address is not None and now_ns >= self._next_dial_ns:
                self._dial(self.address, now_ns)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass  # The rest of a record, or of the handshake, has yet to come.
        except OSError as error:
            if error.errno not in _NOT_YET:
                self._lose((error.strerror or str(error)).lower(), now_ns)

    def close(self, now_ns: int) -> None:
        """Take leave: the close frame goes out if the socket has room, and the socket is closed at once."""
        if self._stream is None or self._connection is None:
            return
        if self._connection.is_open:
            self._connection.close(CloseCode.GOING_AWAY, "the workbench stops")
            self._unsent += self._connection.data_to_send()
        with suppress(OSError):
            self._stream.send(self._unsent)
        self._lose("", now_ns)

    # --- Inside ---

    def _dial(self, address: Address, now_ns: int) -> None:
        """Begin a connection. Raises OSError where this process may have no socket, or the host has no address."""
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
        """Send and receive as far as the socket goes along. Raises OSError."""
        assert self._connection is not None
        self._note_all(self._connection.on_timer(now_ns), now_ns)
        failure = stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise OSError(failure, os.strerror(failure))
        while self._connection is not None:
            self._send(stream, now_ns)
            data = stream.recv(_READ_BYTES)
            connection = self._connection
            events = connection.receive_data(data, now_ns) if data else connection.receive_eof(now_ns)
            self._note_all(events, now_ns)

    def _send(self, stream: socket.socket, now_ns: int) -> None:
        assert self._connection is not None
        self._frame_waiting(self._connection, now_ns)
        self._unsent += self._connection.data_to_send()
        if self._unsent:
            del self._unsent[: stream.send(self._unsent)]

    def _frame_waiting(self, connection: Connection, now_ns: int) -> None:
        """Put into frames what the rate allows, in the order it was asked for."""
        if not self._is_greeted or not connection.can_send:
            return
        gained = (now_ns - self._refilled_ns) * self._rate_per_s / _NANOSECONDS
        self._tokens, self._refilled_ns = min(self._burst, self._tokens + max(0.0, gained)), now_ns
        while self._waiting and self._tokens >= 1:
            connection.send_binary(self._waiting.popleft().encode())
            self._tokens -= 1
            self.sent_count += 1

    def _note_all(self, events: Sequence[Event], now_ns: int) -> None:
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
        """Take note of a message. Raises ProtocolViolation for what is none."""
        message = decode_server_message(payload)
        if isinstance(message, Hello):
            self.allow(message.rate_per_s, message.burst)
            self._tokens, self._refilled_ns = self._burst, now_ns
            self._is_greeted = True
            self._retry_ns = RETRY_FIRST_NS
            self.connected_count += 1
        elif isinstance(message, Throttled):
            self.throttled_count += message.dropped - self._told_dropped
            self._told_dropped = message.dropped

    def _lose(self, reason: str, now_ns: int) -> None:
        """The connection is over; the next is dialled after a pause that doubles with each that was not greeted."""
        if self._stream is None and now_ns < self._next_dial_ns:
            return  # It is over already, and why is told.
        if self._stream is not None:
            self._stream.close()
        self._stream = self._connection = None
        self._unsent.clear()
        self._is_greeted, self._told_dropped = False, 0
        self.reason = reason
        self._next_dial_ns = now_ns + self._retry_ns
        self._retry_ns = min(2 * self._retry_ns, RETRY_MAX_NS)
