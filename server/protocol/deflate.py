"""permessage-deflate at work (RFC 7692, 7.2): a message shrinks on its way out and is inflated on its way in.

It knows bytes of messages, no frames (that is `frames`) and no negotiation (that is `agreement`). Memory of one
connection, by zlib's own account: to send 2 ** (bits + 2) + 2 ** (MEMORY_LEVEL + 9) bytes and 6 KiB, so at most 38 KiB;
to receive 2 ** bits and 10 KiB, so at most 42 KiB. Neither takes any before its first compressed message, nor keeps
any between messages where no context is kept. Invariant: inflating never makes more than a byte beyond what the caller
allows, and what comes of a message does not depend on where the stream was cut.
"""

import zlib

from server.protocol.websocket import CloseCode, ProtocolViolation

LEVEL = 1
"""Takes most of what there is to gain in a tenth of the time of level 9."""
MEMORY_LEVEL = 5
SHRINK_BYTES_MIN = 32
"""Shorter messages go as they are: there is nothing to gain."""
SLICE_BYTES = 1024
"""Payload is inflated in slices counted from the message's start, so that a fault is found at the same place always."""
STREAMS_MAX = 64
"""Final blocks in one message. A sender may end its stream once a flush; hundreds of ends only cost the receiver."""
_TAIL = b"\x00\x00\xff\xff"
_FINAL_BLOCK = b"\x03\x00"


class Deflater:
    """The sending direction. `forgets`: each message is compressed by itself."""

    def __init__(self, window_bits: int, *, forgets: bool) -> None:
        # zlib cannot do with a raw window of 8 bits. Runs reach back one byte only, and so fit into any window.
        self._strategy = zlib.Z_RLE if window_bits == 8 else zlib.Z_DEFAULT_STRATEGY
        self._window_bits = max(9, window_bits)
        self._forgets = forgets
        self._stream: zlib._Compress | None = None

    def shrink(self, message: bytes) -> bytes | None:
        """The message compressed, to be sent next; None when it is to be sent as it is, which is shorter then."""
        if len(message) < SHRINK_BYTES_MIN:
            return None
        stream = self._stream or zlib.compressobj(
            LEVEL, zlib.DEFLATED, -self._window_bits, MEMORY_LEVEL, self._strategy
        )
        data = stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH)
        assert data.endswith(_TAIL)
        is_shorter = len(data) - len(_TAIL) < len(message)
        # Its window holds a message that the peer will not inflate: what follows must not refer to that.
        self._stream = stream if is_shorter and not self._forgets else None
        return data[: -len(_TAIL)] if is_shorter else None


class Inflater:
    """The receiving direction. `forgets`: the sender compresses each message by itself."""

    def __init__(self, window_bits: int, *, forgets: bool) -> None:
        self._window_bits = max(9, window_bits)  # Senders that use zlib mean 9 when they say 8.
        self._forgets = forgets
        self._stream: zlib._Decompress | None = None
        self._pending = bytearray()
        self._streams_ended = 0
        self._has_just_ended = False

    def feed(self, payload: bytes, bytes_max: int) -> bytes:
        """The next piece of a message. Returns what is inflated by now, at most `bytes_max` bytes and one that tells.

        Raises ProtocolViolation.
        """
        self._pending += payload
        found = bytearray()
        while len(self._pending) >= SLICE_BYTES and len(found) <= bytes_max:
            piece = bytes(self._pending[:SLICE_BYTES])
            del self._pending[:SLICE_BYTES]
            self._inflate(piece, found, bytes_max)
        return bytes(found)

    def finish(self, bytes_max: int) -> bytes:
        """The message is whole: the rest of it, as `feed`. Raises ProtocolViolation."""
        found = bytearray()
        self._inflate(bytes(self._pending), found, bytes_max)
        self._pending.clear()
        if len(found) <= bytes_max and not self._has_just_ended:
            self._inflate(_TAIL, found, bytes_max)
        if len(found) <= bytes_max and not self._is_between_blocks():
            raise ProtocolViolation(CloseCode.INVALID_DATA, "a compressed message ends inside a block")
        self._streams_ended, self._has_just_ended = 0, False
        if self._forgets:
            self._stream = None
        return bytes(found)

    def _inflate(self, data: bytes, found: bytearray, bytes_max: int) -> None:
        """Append what `data` holds to `found`, which is never longer than `bytes_max` and one then."""
        while data and len(found) <= bytes_max:
            stream = self._stream = self._stream or zlib.decompressobj(-self._window_bits)
            try:
                found += stream.decompress(data, bytes_max + 1 - len(found))
            except zlib.error as error:
                raise ProtocolViolation(CloseCode.INVALID_DATA, "a compressed message is not DEFLATE") from error
            data = stream.unused_data
            self._has_just_ended = stream.eof and not data
            if stream.eof:
                self._begin_another_stream()

    def _begin_another_stream(self) -> None:
        """RFC 7692, 7.2.3.5: a sender may end its stream and begin another within a message."""
        self._stream = None
        self._streams_ended += 1
        if self._streams_ended > STREAMS_MAX:
            reason = f"a compressed message of more than {STREAMS_MAX} streams"
            raise ProtocolViolation(CloseCode.POLICY_VIOLATION, reason)

    def _is_between_blocks(self) -> bool:
        """Whether another block could begin here, which a copy of the stream tells by taking one."""
        if self._stream is None:
            return self._has_just_ended
        probe = self._stream.copy()
        try:
            return not probe.decompress(_FINAL_BLOCK) and probe.eof and not probe.unused_data
        except zlib.error:
            return False
