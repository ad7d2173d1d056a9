"""One connection of a hostile client, without its socket: what it sends, and what it reads of the server's answers.

A kind is a subclass whose `script` is a generator: it appends bytes to `outgoing`, yields the seconds until it is
resumed, and when it ends, the connection stays as it is. There is no socket and no clock here.
"""

from collections.abc import Iterator
from enum import IntEnum
from random import Random

from server.protocol.handshake import new_handshake_key, upgrade_request
from server.protocol.messages import Place
from server.protocol.websocket import CloseCode, decode_close, encode_close, encode_frame, parse_head
from server.wire import HELLO, THROTTLED, Opcode, ServerOp

HELLO_CHECK_S = 0.05
# Longer messages are skipped; HELLO, THROTTLED and close frames are shorter.
_KEPT_BYTES_MAX = 125


class Leave(IntEnum):
    """How a client ends its connection."""

    STAY = 0
    RESET = 1
    CLOSED = 2  # It has sent a close frame; the socket is closed when the server has answered.


class Reply:
    """What the server has answered on one connection. Long messages are skipped as they arrive, not stored."""

    def __init__(self) -> None:
        # HELLO has arrived.
        self.is_open = False
        # Of the canvas, once open.
        self.width = self.height = 0
        # The HTTP status or close code with which the server ends the connection; 0 before. Nothing is read after.
        self.code = 0
        # Placements dropped on this connection, from the newest THROTTLED.
        self.dropped_count = 0
        self._buffer = bytearray()
        self._is_upgraded = False
        self._skip_bytes = 0

    def receive(self, data: bytes) -> None:
        """Parse bytes of the stream, cut anywhere. Raises ProtocolViolation when it is no WebSocket."""
        self._buffer += data
        if not self._is_upgraded:
            self._read_head()
        while self._is_upgraded and not self.code and self._read_frame():
            pass

    def _read_head(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        status = int(self._buffer[:end].split(b" ", 2)[1])
        del self._buffer[: end + 4]
        self._is_upgraded = status == 101
        self.code = 0 if self._is_upgraded else status

    def _read_frame(self) -> bool:
        """Read or skip one frame. Returns False while it is incomplete."""
        skipped = min(self._skip_bytes, len(self._buffer))
        del self._buffer[:skipped]
        self._skip_bytes -= skipped
        head = parse_head(self._buffer)
        if head is None:
            return False
        end = head.head_bytes + head.payload_bytes
        if head.payload_bytes > _KEPT_BYTES_MAX:
            self._skip_bytes = end
            return True
        if len(self._buffer) < end:
            return False
        payload = bytes(self._buffer[head.head_bytes : end])
        del self._buffer[:end]
        if head.opcode == Opcode.CLOSE:
            self.code = int(decode_close(payload)[0])
        elif head.opcode == Opcode.BINARY and payload[0] == ServerOp.HELLO:
            _, _, self.width, self.height, *_ = HELLO.unpack(payload)
            self.is_open = True
        elif head.opcode == Opcode.BINARY and payload[0] == ServerOp.THROTTLED:
            *_, self.dropped_count = THROTTLED.unpack(payload)
        return True


class HostileClient:
    """One connection. `host`: as in the Host header; `turn`: how many connections this client had before."""

    # Size of the socket's receive buffer; 0: the system's default.
    receive_bytes = 0
    # The pause before it reconnects is drawn between these.
    pause_s = (1.0, 3.0)

    def __init__(self, host: str, path: str, random: Random, turn: int) -> None:
        self.random, self.turn = random, turn
        self.request = upgrade_request(host, path, new_handshake_key(random.randbytes(16)))
        self.outgoing = bytearray()
        self.reply = Reply()
        self.reads = True
        self.leave = Leave.STAY
        self.placed_count = 0
        # Set by the owner of the socket before `script` is resumed.
        self.now_ns = 0

    @property
    def is_closing(self) -> bool:
        """Whether it has sent its close frame."""
        return self.leave is Leave.CLOSED

    def script(self) -> Iterator[float]:
        """Misbehave; yield the seconds until the next step."""
        raise NotImplementedError

    def open(self) -> Iterator[float]:
        """Send the request and wait for HELLO."""
        self.outgoing += self.request
        yield from self.wait_for_hello()

    def wait_for_hello(self) -> Iterator[float]:
        """Yield until HELLO has arrived."""
        while not self.reply.is_open:
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
        x, y = self.random.randrange(self.reply.width), self.random.randrange(self.reply.height)
        return Place(x, y, self.random.randrange(256)).encode()

    def close(self) -> None:
        """Send a close frame."""
        self.outgoing += self.frame(encode_close(CloseCode.NORMAL), Opcode.CLOSE)
        self.leave = Leave.CLOSED
