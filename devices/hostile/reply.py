"""What a server says on one connection, as far as a client that misbehaves wants to know. No socket, no clock.

It keeps no more than one small message: long ones are skipped as they come. Invariant: `code` is set once at most,
and then nothing more is read.
"""

from server.protocol.websocket import decode_close, parse_head
from server.wire import HELLO, THROTTLED, Opcode, ServerOp

_KEPT_BYTES_MAX = 125
"""Longer messages are skipped; HELLO, THROTTLED and close frames are shorter."""


class Reply:
    """All that was said so far."""

    def __init__(self) -> None:
        self.is_open = False
        """HELLO has come."""
        self.width = self.height = 0
        """Of the canvas, once open."""
        self.code = 0
        """The HTTP status or close code with which the server ends the connection; 0: it does not."""
        self.dropped_count = 0
        """Placements that were dropped since the connection was opened, as the newest THROTTLED says."""
        self._buffer = bytearray()
        self._is_upgraded = False
        self._skip_bytes = 0

    def receive(self, data: bytes) -> None:
        """Take what the server sent. Raises ProtocolViolation when it is no WebSocket."""
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
        """Read or skip one frame; False when there is not enough of it."""
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
        self._take(head.opcode, payload)
        return True

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == Opcode.CLOSE:
            self.code = int(decode_close(payload)[0])
        elif opcode == Opcode.BINARY and payload[0] == ServerOp.HELLO:
            _, _, self.width, self.height, *_ = HELLO.unpack(payload)
            self.is_open = True
        elif opcode == Opcode.BINARY and payload[0] == ServerOp.THROTTLED:
            *_, self.dropped_count = THROTTLED.unpack(payload)
