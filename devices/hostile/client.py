"""One connection of a hostile client, without its socket: what it sends, and what it reads of the server's answers.

A kind is a subclass whose `script` is a generator: it appends bytes to `outgoing`, yields the seconds until it is
resumed, and when it ends, the connection stays as it is. There is no socket and no clock here.
"""

from collections.abc import Iterator
from enum import IntEnum
from random import Random

from devices.client import MESSAGE_BYTES_MAX
from server.protocol.connection import Connection
from server.protocol.events import Closed, Event, Message, Opened, Refused
from server.protocol.messages import Place
from server.protocol.websocket import CloseCode, encode_close, encode_frame
from server.wire import HELLO, THROTTLED, Opcode, ServerOp

HELLO_CHECK_S = 0.05


class Leave(IntEnum):
    """How a client ends its connection."""

    STAY = 0
    RESET = 1
    CLOSED = 2  # It has sent a close frame; the socket is closed when the server has answered.


class HostileClient:
    """One connection. `host`: as in the Host header; `turn`: how many connections this client had before."""

    # Size of the socket's receive buffer; 0: the system's default.
    receive_bytes = 0
    # The pause before it reconnects is drawn between these.
    pause_s = (1.0, 3.0)

    def __init__(self, host: str, path: str, random: Random, turn: int) -> None:
        self.random, self.turn = random, turn
        # It parses the answers only: what it would send stays inside, because the script sends other things.
        self._connection = Connection.client(
            host, path, 0, message_bytes_max=MESSAGE_BYTES_MAX, random_bytes=random.randbytes
        )
        self._is_upgraded = False
        self.request = self._connection.data_to_send()
        self.outgoing = bytearray()
        self.is_open = False  # HELLO has arrived.
        self.width = self.height = 0  # Of the canvas, once open.
        # The HTTP status or close code with which the server ended the connection; 0 before, or without one.
        self.code = 0
        # Placements dropped on this connection, from the newest THROTTLED.
        self.dropped_count = 0
        self.reads = True
        self.leave = Leave.STAY
        self.placed_count = 0
        # Set by the owner of the socket before `script` is resumed.
        self.now_ns = 0

    @property
    def is_closing(self) -> bool:
        """Whether it has sent its close frame."""
        return self.leave is Leave.CLOSED

    def receive(self, data: bytes) -> None:
        """Parse bytes of the stream, cut anywhere; b"" is its end."""
        events = self._connection.receive_data(data, 0) if data else self._connection.receive_eof(0)
        for event in events:
            self._on_event(event)
        # The server waits for our close frame, which never comes: its own is the end here.
        if self._is_upgraded and not self._connection.is_open and not self.code:
            for event in self._connection.receive_eof(0):
                self._on_event(event)

    def _on_event(self, event: Event) -> None:
        match event:
            case Opened():
                self._is_upgraded = True
            case Refused(status, _):
                self.code = status
            case Closed(code, _) if code != CloseCode.ABNORMAL:
                self.code = code
            case Message(payload, is_text=False) if payload[0] == ServerOp.HELLO:
                _, _, self.width, self.height, *_ = HELLO.unpack(payload)
                self.is_open = True
            case Message(payload, is_text=False) if payload[0] == ServerOp.THROTTLED:
                *_, self.dropped_count = THROTTLED.unpack(payload)

    def script(self) -> Iterator[float]:
        """Misbehave; yield the seconds until the next step."""
        raise NotImplementedError

    def open(self) -> Iterator[float]:
        """Send the request and wait for HELLO."""
        self.outgoing += self.request
        yield from self.wait_for_hello()

    def wait_for_hello(self) -> Iterator[float]:
        """Yield until HELLO has arrived."""
        while not self.is_open:
            yield HELLO_CHECK_S

    def frame(self, payload: bytes, opcode: int = Opcode.BINARY, *, is_final: bool = True) -> bytes:
        """One valid client frame."""
        return encode_frame(opcode, payload, is_final=is_final, mask_key=self.mask_key())

    def mask_key(self) -> bytes:
        """The mask key of the next frame."""
        return self.random.randbytes(4)

    def placement(self) -> bytes:
        """A PLACE at a random pixel."""
        self.placed_count += 1
        x, y = self.random.randrange(self.width), self.random.randrange(self.height)
        return Place(x, y, self.random.randrange(256)).encode()

    def close(self) -> None:
        """Send a close frame."""
        self.outgoing += self.frame(encode_close(CloseCode.NORMAL), Opcode.CLOSE)
        self.leave = Leave.CLOSED
