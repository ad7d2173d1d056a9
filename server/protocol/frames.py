"""A reader of WebSocket frames: unmasks, joins fragments, inflates, and checks order, size and text.

It answers nothing (`connection` does). Payload is taken as it arrives, so that a fault is found at its byte, and a long
message is not scanned again with each read. The result does not depend on where the stream was cut.
"""

from collections.abc import Iterator
from typing import NamedTuple

from server.protocol.deflate import Inflater
from server.protocol.websocket import (
    CloseCode,
    FrameHead,
    ProtocolViolation,
    Utf8Check,
    apply_mask,
    parse_head,
    protocol_error,
)
from server.wire import RSV1, Opcode


class Received(NamedTuple):
    """A whole message (TEXT or BINARY), or a control frame."""

    opcode: Opcode
    payload: bytes


class FrameReader:
    """The receiving direction of a connection. `is_masked`: frames must be masked, as those of clients are."""

    def __init__(self, *, is_masked: bool, message_bytes_max: int) -> None:
        self.message_bytes_max = message_bytes_max
        self.inflater: Inflater | None = None
        """Set it before the first frame if permessage-deflate was agreed on."""
        self._is_masked = is_masked
        self._is_compressed = False
        self._payload_bytes = 0  # Of the current message, as sent.
        self._buffer = bytearray()
        self._head: FrameHead | None = None
        self._payload_position = 0
        self._control = bytearray()
        self._message = bytearray()
        self._message_opcode: Opcode | None = None
        self._utf8: Utf8Check | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is half read: no byte of a frame, no fragment of a message."""
        return self._head is None and self._message_opcode is None and not self._buffer

    @property
    def buffered_bytes(self) -> int:
        """Bytes fed that are not read yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes from the stream, for `read`."""
        self._buffer += data

    def read(self) -> Iterator[Received]:
        """The messages and control frames that are whole. A caller that stops early gets the rest from another `read`.

        Raises ProtocolViolation; after that, the reader cannot be used.
        """
        position, reserved_bits = 0, RSV1 if self.inflater is not None else 0
        try:
            while True:
                if self._head is None:
                    head = parse_head(self._buffer, position, reserved_bits_allowed=reserved_bits)
                    if head is None:
                        return
                    self._begin_frame(head)
                    position += head.head_bytes
                position = self._take_payload(position)
                if self._payload_position < self._head_payload_bytes():
                    return
                received = self._finish_frame()
                if received is not None:
                    # Not only in `finally`: the caller may read on with a new iterator before this one is finalised.
                    del self._buffer[:position]
                    position = 0
                    yield received
        finally:
            del self._buffer[:position]

    def _head_payload_bytes(self) -> int:
        assert self._head is not None
        return self._head.payload_bytes

    def _begin_frame(self, head: FrameHead) -> None:
        if (head.mask_key is not None) != self._is_masked:
            raise protocol_error("a client's frame is not masked" if self._is_masked else "a server's frame is masked")
        if head.opcode < Opcode.CLOSE:
            self._begin_data(head)
        self._head = head
        self._payload_position = 0

    def _begin_data(self, head: FrameHead) -> None:
        if head.opcode == Opcode.CONTINUATION:
            if self._message_opcode is None:
                raise protocol_error("a continuation frame with no message to continue")
        elif self._message_opcode is not None:
            raise protocol_error(f"a {head.opcode.name} frame inside an unfinished {self._message_opcode.name} message")
        else:
            self._message_opcode = head.opcode
            self._utf8 = Utf8Check() if head.opcode == Opcode.TEXT else None
            self._is_compressed, self._payload_bytes = bool(head.reserved_bits), 0
        self._payload_bytes += head.payload_bytes
        # A compressed message is measured as it inflates; as sent, twice the limit allows for poor compression.
        if self._payload_bytes > self.message_bytes_max * (2 if self._is_compressed else 1):
            raise _too_big(self._payload_bytes, self.message_bytes_max)

    def _take_payload(self, position: int) -> int:
        """Unmask and keep the available payload of the current frame. Returns the position after it."""
        head = self._head
        assert head is not None
        size = min(head.payload_bytes - self._payload_position, len(self._buffer) - position)
        if size == 0:
            return position
        # Copied before the buffer is trimmed: a memoryview would forbid resizing it.
        piece = bytes(self._buffer[position : position + size])
        if head.mask_key is not None:
            piece = apply_mask(piece, head.mask_key, self._payload_position)
        self._payload_position += size
        if head.opcode >= Opcode.CLOSE:
            self._control += piece
        elif self._is_compressed:
            assert self.inflater is not None
            self._take_content(self.inflater.feed(piece, self._room()))
        else:
            self._take_content(piece)
        return position + size

    def _room(self) -> int:
        return self.message_bytes_max - len(self._message)

    def _take_content(self, piece: bytes) -> None:
        """Keep a piece of a message. Text is checked before size, or the fault found would depend on the cuts."""
        self._message += piece
        if self._utf8 is not None:
            self._utf8.feed(piece, is_last=False)
        if self._room() < 0:
            raise _too_big(len(self._message), self.message_bytes_max)

    def _finish_frame(self) -> Received | None:
        head, self._head = self._head, None
        assert head is not None
        if head.opcode >= Opcode.CLOSE:
            received = Received(head.opcode, bytes(self._control))
            self._control.clear()
            return received
        # Only the last fragment completes a message; control frames may come in between.
        if not head.is_final:
            return None
        assert self._message_opcode is not None
        if self._is_compressed:
            assert self.inflater is not None
            self._take_content(self.inflater.finish(self._room()))
        # Only the whole message shows that its last character is incomplete.
        if self._utf8 is not None:
            self._utf8.feed(b"", is_last=True)
        received = Received(self._message_opcode, bytes(self._message))
        self._message = bytearray()
        self._message_opcode, self._utf8 = None, None
        return received


def _too_big(size: int, most: int) -> ProtocolViolation:
    return ProtocolViolation(CloseCode.MESSAGE_TOO_BIG, f"a message of {size} bytes or more; at most {most}")
