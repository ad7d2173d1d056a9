"""One real client that places what it is handed, in order, and tells what the server says. It never waits.

It knows no schedule. Invariant: placements leave in the order they were handed over, and each is counted as sent when
the kernel has its last byte.
"""

import errno
import os
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.protocol.connection import Connection
from server.protocol.events import Closed, Message, Refused, Violated
from server.protocol.http import authority_of
from server.protocol.messages import (
    PLACE_ITEM_DTYPE,
    PLACE_MANY,
    PLACEMENTS_MAX,
    SUBPROTOCOL,
    ClientOp,
    Ping,
    Subscribe,
)
from server.protocol.websocket import CloseCode

_READ_BYTES = 262_144
_NOT_YET = (errno.EAGAIN, errno.ENOTCONN, errno.EINPROGRESS)
"""The socket has nothing for us, or is still connecting."""


class CourierLost(Exception):
    """Its connection is over; the reason is one line."""


class ReplayClient:
    """A connection to the server at `host` and `port`. Raises CourierLost from whatever it is asked to do."""

    def __init__(self, host: str, port: int, path: str, now_ns: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._stream = socket.socket(family, socket.SOCK_STREAM)
        self._stream.setblocking(False)
        self._stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = Connection.client(authority_of(host, port), path, now_ns, subprotocols=(SUBPROTOCOL,))
        self._unsent = bytearray(self._connection.data_to_send())
        self._ends: deque[tuple[int, int]] = deque()
        self.sent_bytes = 0
        self.received_bytes = 0
        self.sent_count = 0
        """Placements that the kernel has taken."""
        failure = self._stream.connect_ex((host, port))
        if failure not in (0, *_NOT_YET):
            raise CourierLost(os.strerror(failure).lower())

    def fileno(self) -> int:
        """Of its socket."""
        return self._stream.fileno()

    @property
    def unsent_bytes(self) -> int:
        """What the kernel has not taken yet."""
        return len(self._unsent)

    def subscribe(self) -> None:
        """Watch the whole canvas from now on."""
        self._say(Subscribe().encode())

    def ping(self, nonce: int) -> None:
        """Ask for a PONG behind all that was handed over before."""
        self._say(Ping(nonce).encode())

    def place(self, x: NDArray[Any], y: NDArray[Any], color: NDArray[Any]) -> None:
        """Hand over placements: three arrays of one shape (n,)."""
        items = np.empty(len(x), PLACE_ITEM_DTYPE)
        items["x"], items["y"], items["color"] = x, y, color
        for first in range(0, len(items), PLACEMENTS_MAX):
            part = items[first : first + PLACEMENTS_MAX]
            self._say(PLACE_MANY.pack(ClientOp.PLACE_MANY, 0, len(part)) + part.tobytes())
            self._ends.append((self.sent_bytes + len(self._unsent), len(part)))

    def exchange(self, now_ns: int) -> Iterator[bytes]:
        """Send and receive as far as the socket goes along. Yields the messages that came."""
        for event in self._connection.on_timer(now_ns):
            yield from _message_of(event)
        while True:
            try:
                self._send()
                data = self._stream.recv(_READ_BYTES)
            except OSError as error:
                if error.errno in _NOT_YET:
                    return
                raise CourierLost((error.strerror or str(error)).lower()) from None
            self.received_bytes += len(data)
            connection = self._connection
            events = connection.receive_data(data, now_ns) if data else connection.receive_eof(now_ns)
            for event in events:
                yield from _message_of(event)

    def close(self) -> None:
        """Take leave: the close frame goes out if the socket has room, and the socket is closed at once."""
        if self._connection.is_open:
            self._connection.close(CloseCode.GOING_AWAY, "all is placed")
            self._unsent += self._connection.data_to_send()
        with suppress(OSError):
            self._stream.send(self._unsent)
        self._stream.close()

    # --- Inside ---

    def _say(self, message: bytes) -> None:
        self._connection.send_binary(message)
        self._unsent += self._connection.data_to_send()

    def _send(self) -> None:
        self._unsent += self._connection.data_to_send()
        if not self._unsent:
            return
        taken = self._stream.send(self._unsent)
        del self._unsent[:taken]
        self.sent_bytes += taken
        while self._ends and self._ends[0][0] <= self.sent_bytes:
            self.sent_count += self._ends.popleft()[1]


def _message_of(event: object) -> Iterator[bytes]:
    """The message in an event, if there is one. Raises CourierLost for an end."""
    match event:
        case Message(bytes(data)):
            yield data
        case Refused(status, reason):
            raise CourierLost(f"{status} {reason}")
        case Violated(_, reason):
            raise CourierLost(reason)
        case Closed(code, reason):
            raise CourierLost(reason or f"closed with {code}")
