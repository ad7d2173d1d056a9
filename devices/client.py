"""A small WebSocket client of a canvas server: connect, subscribe, place, receive, close.

`Client` joins a `Connection`, which is the protocol without I/O, to one TCP or TLS socket. It needs no event loop: with
a timeout its calls block, without one none does and the caller waits for `fileno`. A blocking one, in full:

    with Client("127.0.0.1", 8765) as client:
        hello = client.receive()
        client.subscribe()
        client.place(3, 4, color=17)
        snapshot = client.receive()

Only the devices of a fleet do without it, because compiled code reads their sockets, and hostile clients, because they
break the protocol. Both take their sockets from here.
"""

import errno
import os
import socket
import ssl
import struct
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.limits import FleetFailed
from server.protocol.connection import Connection
from server.protocol.events import Closed, Event, Message, Refused, Violated
from server.protocol.http import authority_of
from server.protocol.messages import (
    PLACE_ITEM_DTYPE,
    Hello,
    Ping,
    Place,
    ServerMessage,
    Subscribe,
    decode_server_message,
)
from server.protocol.websocket import CloseCode, ProtocolViolation
from server.system import clock
from server.tls.certificate import trusting
from server.wire import PLACE_MANY, PLACEMENTS_MAX, SUBPROTOCOL, ClientOp, ServerOp

# Longest message accepted: the SNAPSHOT or DELTA of the largest canvas, 8192 x 8192, has half of this at most.
MESSAGE_BYTES_MAX = 1 << 28
TIMEOUT_S = 5.0
_READ_BYTES = 262_144
# Nothing to read yet, or the socket is still connecting.
_NOT_YET = (errno.EAGAIN, errno.ENOTCONN, errno.EINPROGRESS)
_LINGER_NONE = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time.


class ConnectionEnded(ConnectionError):
    """The server refused the connection, ended it, or broke the protocol. The message is one line."""

    def __init__(self, reason: str, *, was_refused: bool = False) -> None:
        super().__init__(reason)
        self.was_refused = was_refused
        """The server answered the handshake with another HTTP status than 101."""


def open_stream(host: str) -> socket.socket:
    """A non-blocking TCP socket for a numeric address, not connected yet, that sends small frames at once."""
    stream = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    stream.setblocking(False)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def set_reset(stream: socket.socket) -> None:
    """Make the socket's close a reset: what was not sent is dropped, and the peer gets no end of stream."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)


def reason_of(error: OSError) -> str:
    """Why a connection failed, in a few words."""
    text = error.strerror.lower() if error.strerror else str(error)
    return f"{error.filename}: {text}" if error.filename else text


class Client:
    """One connection to a canvas server; `certificate` is the file of the one it shows, where it speaks TLS.

    With a `timeout_s` the constructor connects and completes the handshake, and calls block for as long at most. With 0
    the constructor returns at once, no call blocks, and `exchange` does the work whenever the socket is ready; the host
    must be a numeric address then, and `now_ns` is by the clock of `exchange`. Everything raises OSError where the
    network fails, TimeoutError and `ConnectionEnded` included. Messages are sent in the order of the calls.
    """

    def __init__(
        self,
        host: str,
        port: int,
        path: str = "/canvas",
        *,
        certificate: str = "",
        timeout_s: float = TIMEOUT_S,
        now_ns: int | None = None,
    ) -> None:
        self.sent_bytes = self.received_bytes = 0
        self.sent_count = 0
        """Placements whose last byte the kernel has taken."""
        self._is_blocking = timeout_s > 0
        self._messages: deque[bytes] = deque()
        self._ends: deque[tuple[int, int]] = deque()  # Byte after a message with placements, and their number.
        self._ended: OSError | None = None
        context = _context(certificate)
        self._connection = Connection.client(
            authority_of(host, port),
            path,
            clock.now_ns() if now_ns is None else now_ns,
            subprotocols=(SUBPROTOCOL,),
            message_bytes_max=MESSAGE_BYTES_MAX,
        )
        self._unsent = bytearray(self._connection.data_to_send())  # At once, for `unsent_bytes` to say so.
        self._stream = socket.create_connection((host, port), timeout_s) if self._is_blocking else open_stream(host)
        # A blocking socket is connected here. Of the other one, the TLS handshake runs in the first sends and receives.
        try:
            if context is not None:
                self._stream = context.wrap_socket(self._stream, do_handshake_on_connect=self._is_blocking)
            if self._is_blocking:
                self._open()
            elif (failure := self._stream.connect_ex((host, port))) not in (0, *_NOT_YET):
                raise _error(failure)
        except OSError:
            self._stream.close()
            raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The socket's descriptor, for `select`."""
        return self._stream.fileno()

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent: the handshake is done and no end has begun."""
        return self._connection.is_open and self._ended is None

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for room in the socket."""
        return len(self._unsent)

    # Sending.

    def subscribe(self, x: int = 0, y: int = 0, width: int = 0, height: int = 0, interval_ms: int = 0) -> None:
        """Watch this region, or the whole canvas where width and height are 0: a SNAPSHOT comes, then DELTAs."""
        self._send(Subscribe(0, x, y, width, height, interval_ms).encode())

    def ping(self, nonce: int) -> None:
        """Ask for a PONG, which comes after everything that was sent before has been applied."""
        self._send(Ping(nonce).encode())

    def place(self, x: int, y: int, color: int) -> None:
        """Set one pixel."""
        self._send(Place(x, y, color).encode(), 1)

    def place_many(self, x: NDArray[Any], y: NDArray[Any], color: NDArray[Any]) -> None:
        """Set pixels in order: three arrays of one shape (n,), in as many messages as that needs."""
        items = np.empty(len(x), PLACE_ITEM_DTYPE)
        items["x"], items["y"], items["color"] = x, y, color
        for first in range(0, len(items), PLACEMENTS_MAX):
            part = items[first : first + PLACEMENTS_MAX]
            self._send(PLACE_MANY.pack(ClientOp.PLACE_MANY, 0, len(part)) + part.tobytes(), len(part))

    # Receiving.

    def receive(self) -> ServerMessage:
        """The next message. Blocks until it has come. Raises ProtocolViolation for one that is none."""
        return decode_server_message(self.receive_bytes())

    def receive_bytes(self) -> bytes:
        """The next message as it came, not decoded."""
        assert self._is_blocking, "a client without a timeout receives by exchange"
        while not self._messages:
            if self._ended is not None:
                raise self._ended
            self._read(clock.now_ns())
        return self._messages.popleft()

    def exchange(self, now_ns: int) -> list[bytes]:
        """Send and receive as far as the socket allows. Returns the messages that came, not decoded.

        Raises the reason of an end once the messages before it have been returned.
        """
        assert not self._is_blocking, "a client with a timeout receives by receive"
        # Whatever ends the connection is kept, and raised once the messages before it were returned.
        try:
            self._take(self._connection.on_timer(now_ns))
            if not self._connection.is_open:
                # A failed connect shows here first; through TLS, send and recv would only say "not connected".
                failure = self._stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if failure:
                    raise _error(failure)
            while self._ended is None:
                self._flush()
                self._read(now_ns)
        except OSError as error:
            if not _is_not_yet(error):
                self._ended = self._ended or error
        if self._ended is not None and not self._messages:
            raise self._ended
        # An end that came with messages is raised by the next call: the socket stays readable until then.
        messages = list(self._messages)
        self._messages.clear()
        return messages

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close the socket, after a close frame if the socket has room. Closing twice is no fault."""
        if self.is_open:
            self._connection.close(code, reason)
            with suppress(OSError):
                self._flush()
        self._ended = self._ended or ConnectionEnded("closed by this client")
        self._stream.close()

    # Internals.

    def _open(self) -> None:
        self._stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._flush()
        # Handshake, messages and close may come in one read: the messages are received first.
        while not self._connection.is_open and not self._messages:
            if self._ended is not None:
                raise self._ended
            self._read(clock.now_ns())

    def _send(self, message: bytes, placed_count: int = 0) -> None:
        if self._ended is not None:
            raise self._ended
        self._connection.send_binary(message)
        self._unsent += self._connection.data_to_send()
        # Count placements when the kernel has their last byte: until then they can still be lost unseen.
        if placed_count:
            self._ends.append((self.sent_bytes + len(self._unsent), placed_count))
        if self._is_blocking:
            self._flush()

    def _flush(self) -> None:
        self._unsent += self._connection.data_to_send()
        while self._unsent:
            try:
                taken = self._stream.send(self._unsent)
            except OSError as error:
                if not _is_not_yet(error):
                    raise
                break  # Reading goes on: a server whose own output is stuck would never take ours.
            del self._unsent[:taken]
            self.sent_bytes += taken
        while self._ends and self._ends[0][0] <= self.sent_bytes:
            self.sent_count += self._ends.popleft()[1]

    def _read(self, now_ns: int) -> None:
        data = self._stream.recv(_READ_BYTES)
        self.received_bytes += len(data)
        connection = self._connection
        self._take(connection.receive_data(data, now_ns) if data else connection.receive_eof(now_ns))
        if self._ended is not None:
            with suppress(OSError):
                self._flush()  # Our close frame, if the socket has room for it.
        elif self._is_blocking:
            self._flush()  # Our pongs.

    def _take(self, events: Sequence[Event]) -> None:
        """Queue the messages. The first reason for an end is the one that is reported."""
        for event in events:
            match event:
                case Message(data, is_text=False):
                    self._messages.append(data)
                case Message():
                    reason = "a text message; the canvas speaks binary"
                    self._connection.close(CloseCode.UNSUPPORTED_DATA, reason)
                    self._ended = self._ended or ConnectionEnded(reason)
                case Refused(status, reason):
                    self._ended = self._ended or ConnectionEnded(f"{status} {reason}", was_refused=True)
                case Violated(_, reason):
                    self._ended = self._ended or ConnectionEnded(reason)
                case Closed(code, reason):
                    self._ended = self._ended or ConnectionEnded(reason or f"closed with {code}")


def _context(certificate: str) -> ssl.SSLContext | None:
    try:
        return trusting(certificate) if certificate else None
    except OSError as error:
        raise OSError(error.errno, error.strerror, certificate) from error


def _error(failure: int) -> OSError:
    return OSError(failure, os.strerror(failure))


def _is_not_yet(error: OSError) -> bool:
    # A TLS record or handshake that is incomplete wants more bytes, or room for them.
    return error.errno in _NOT_YET or isinstance(error, ssl.SSLWantReadError | ssl.SSLWantWriteError)


# What a fleet asks a server before its devices connect.


class Server(NamedTuple):
    """Where a server is. `certificate`: the file of the one that it shows where it speaks TLS; "": it does not."""

    host: str
    port: int
    path: str
    certificate: str = ""

    @property
    def shown(self) -> str:
        """The URL without the query, which may hold a token."""
        scheme = "wss" if self.certificate else "ws"
        return f"{scheme}://{authority_of(self.host, self.port)}{self.path.partition('?')[0]}"


def read_hello(server: Server) -> Hello:
    """The server's HELLO, over a connection of its own. Raises FleetFailed with one line if there is none."""
    return _ask(server, is_watching=False)[0]


def read_canvas(server: Server) -> bytes:
    """A SNAPSHOT of the whole canvas, as it came. Raises FleetFailed with one line if there is none."""
    return _ask(server, is_watching=True)[1]


def _ask(server: Server, *, is_watching: bool) -> tuple[Hello, bytes]:
    try:
        where = (server.host, server.port, server.path)
        with Client(*where, certificate=server.certificate, timeout_s=TIMEOUT_S) as client:
            hello = client.receive()
            if not isinstance(hello, Hello):
                raise FleetFailed(f"{server.shown} is no canvas server: its first message is not a HELLO")
            snapshot = b""
            if is_watching:
                client.subscribe()
                while snapshot[:1] != bytes([ServerOp.SNAPSHOT]):
                    snapshot = client.receive_bytes()
            return hello, snapshot
    except TimeoutError as error:
        raise FleetFailed(f"{server.shown} said nothing for {TIMEOUT_S:g} s; is it a canvas server?") from error
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise FleetFailed(
            f"{server.shown} is not the server of {server.certificate}: {reason}; is another in its place?"
        ) from error
    except ConnectionEnded as end:
        if end.was_refused:
            raise FleetFailed(f"{server.shown} refused the connection: {end}") from end
        raise FleetFailed(f"{server.shown} ended the connection: {end}") from end
    except OSError as error:
        raise FleetFailed(f"cannot connect to {server.shown}: {reason_of(error)}; is the server running?") from error
    except ProtocolViolation as violation:
        raise FleetFailed(f"{server.shown} does not speak the canvas protocol: {violation.reason}") from violation
