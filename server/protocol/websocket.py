"""WebSocket frames (RFC 6455): heads, masks, close frames and UTF-8 checks, as pure functions over bytes.

OFFSET  SIZE   FIELD    MEANING
     0     1   first    bit 7 FIN, bits 6-4 RSV1-3, bits 3-0 opcode
     1     1   second   bit 7 MASK, bits 6-0 length: 0..125 itself, 126: u16 follows, 127: u64 follows
     2   0,2,8 length   big-endian, in the shortest of the three forms
     .   0,4   mask     key, when MASK is set: always from a client, never from a server
     .     n   payload  byte i is XORed with key byte i & 3
"""

import codecs
from enum import IntEnum
from typing import NamedTuple

from server.wire import CONTROL_BYTES_MAX, FIN, LENGTH_16, LENGTH_64, MASK, RESERVED_BITS, Opcode

CLOSE_REASON_BYTES_MAX = CONTROL_BYTES_MAX - 2
_OPCODES = {int(opcode): opcode for opcode in Opcode}


class CloseCode(IntEnum):
    """Why a connection ended (RFC 6455, 7.4.1, and the registry of close codes)."""

    NORMAL = 1000  # Done.
    GOING_AWAY = 1001  # The server stops or the page is left.
    PROTOCOL_ERROR = 1002  # The bytes break the protocol.
    UNSUPPORTED_DATA = 1003  # A kind of message that is not supported.
    NO_STATUS = 1005  # The close frame gave no code.
    ABNORMAL = 1006  # The stream ended without a close frame.
    INVALID_DATA = 1007  # Text that is not UTF-8.
    POLICY_VIOLATION = 1008  # Over the rate limit for too long.
    MESSAGE_TOO_BIG = 1009  # A message above the limit.
    MANDATORY_EXTENSION = 1010  # An extension that the client needs was not granted.
    INTERNAL_ERROR = 1011  # The server failed.
    SERVICE_RESTART = 1012  # The server restarts.
    TRY_AGAIN_LATER = 1013  # Too slow or too many; come back later.
    BAD_GATEWAY = 1014  # A server behind the server failed.
    TLS_HANDSHAKE = 1015  # The TLS handshake failed.


# For the local application only; in a close frame they are a violation.
NEVER_SENT = frozenset({CloseCode.NO_STATUS, CloseCode.ABNORMAL, CloseCode.TLS_HANDSHAKE})
SENT_CODES = frozenset(CloseCode) - NEVER_SENT


class ProtocolViolation(Exception):
    """The peer broke the protocol. `reason` names the fault; the connection is closed with `close_code`."""

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(f"{int(close_code)}: {reason}")
        self.close_code = CloseCode(close_code)
        self.reason = reason


class LocalError(Exception):
    """The application asked a connection for something that its state does not allow."""


class FrameHead(NamedTuple):
    """The head of a frame. `head_bytes` is its size, `mask_key` four bytes or None."""

    is_final: bool
    reserved_bits: int
    opcode: Opcode
    mask_key: bytes | None
    payload_bytes: int
    head_bytes: int


def protocol_error(reason: str) -> ProtocolViolation:
    """The usual violation, close code 1002. `reason` names what was received and what is allowed."""
    return ProtocolViolation(CloseCode.PROTOCOL_ERROR, reason)


def parse_head(data: bytes | bytearray, start: int = 0, *, reserved_bits_allowed: int = 0) -> FrameHead | None:
    """The frame head at `start`, or None when more bytes are needed. Raises ProtocolViolation as early as it can.

    `reserved_bits_allowed`: the RSV bits that negotiated extensions use. The caller checks who must mask.
    """
    available = len(data) - start
    if available < 1:
        return None
    # Each fault is raised at the first byte that shows it, so that it does not depend on how the stream was cut.
    first = data[start]
    reserved_bits = first & RESERVED_BITS
    opcode = _OPCODES.get(first & 0x0F)
    if reserved_bits & ~reserved_bits_allowed:
        raise protocol_error(
            f"reserved bits 0x{reserved_bits:02x} are set, but no extension was negotiated that uses them"
        )
    if opcode is None:
        raise protocol_error(f"opcode {first & 0x0F} is reserved")
    if reserved_bits and opcode not in (Opcode.TEXT, Opcode.BINARY):
        raise protocol_error(
            f"reserved bits are set on a {opcode.name} frame; only a message's first frame may have them"
        )
    if opcode >= Opcode.CLOSE and not first & FIN:
        raise protocol_error(f"a {opcode.name} frame is fragmented; control frames must not be")
    if available < 2:
        return None
    # The mask bit is not checked here: the reader knows which end it is.
    second = data[start + 1]
    short_length = second & 0x7F
    if opcode >= Opcode.CLOSE and short_length > CONTROL_BYTES_MAX:
        raise protocol_error(f"a {opcode.name} frame is longer than {CONTROL_BYTES_MAX} bytes")
    length_bytes = 0 if short_length < LENGTH_16 else 2 if short_length == LENGTH_16 else 8
    key_at = start + 2 + length_bytes
    if len(data) < key_at:
        return None
    # Lengths are big-endian, unlike all integers of canvas messages.
    length = int.from_bytes(data[start + 2 : key_at], "big") if length_bytes else short_length
    _check_length(length, length_bytes)
    head_end = key_at + 4 if second & MASK else key_at
    if len(data) < head_end:
        return None
    mask_key = bytes(data[key_at:head_end]) if second & MASK else None
    return FrameHead(first >= FIN, reserved_bits, opcode, mask_key, length, head_end - start)


def _check_length(length: int, length_bytes: int) -> None:
    """RFC 6455, 5.2: a length has the shortest form, and the highest bit of the longest form is 0."""
    if length_bytes == 2 and length < LENGTH_16:
        raise protocol_error(f"length {length} is written in 2 bytes where 0 would do")
    if length_bytes == 8:
        if length < 1 << 16:
            raise protocol_error(f"length {length} is written in 8 bytes where fewer would do")
        if length >> 63:
            raise protocol_error("the highest bit of a 64-bit length is set")


def encode_frame(
    opcode: int, payload: bytes, *, is_final: bool = True, mask_key: bytes | None = None, reserved_bits: int = 0
) -> bytes:
    """One frame as bytes, masked if `mask_key` (4 bytes) is given, as clients must."""
    first = (FIN if is_final else 0) | reserved_bits | opcode
    mask_bit = 0 if mask_key is None else MASK
    length = len(payload)
    if length < LENGTH_16:
        head = bytes((first, mask_bit | length))
    elif length < 1 << 16:
        head = bytes((first, mask_bit | LENGTH_16)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, mask_bit | LENGTH_64)) + length.to_bytes(8, "big")
    if mask_key is None:
        return head + payload
    return head + mask_key + apply_mask(payload, mask_key)


def apply_mask(payload: bytes | bytearray | memoryview, key: bytes, offset: int = 0) -> bytes:
    """`payload` XOR the repeated 4-byte `key`; its own inverse. `offset` of payload[0] in the frame's payload."""
    assert len(key) == 4
    size = len(payload)
    # A piece that does not start at a multiple of 4 meets the key in the middle.
    turn = offset & 3
    repeated = (key[turn:] + key[:turn]) * (size + 3 >> 2)
    # One XOR of two long integers runs at memory speed; a loop over bytes is a hundred times slower.
    mask = int.from_bytes(repeated[:size], "little")
    return (int.from_bytes(payload, "little") ^ mask).to_bytes(size, "little")


class Utf8Check:
    """Finds at the first possible byte that a text is not UTF-8. The text may come in pieces cut anywhere."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def feed(self, piece: bytes, *, is_last: bool) -> None:
        """Check the next piece. Raises ProtocolViolation 1007, whose reason does not depend on the cuts."""
        try:
            self._decoder.decode(piece, is_last)
        except UnicodeDecodeError as error:
            raise ProtocolViolation(CloseCode.INVALID_DATA, "text is not UTF-8") from error
        pending = self._decoder.getstate()[0]
        if len(pending) == 2 and pending[0] == 0xED and pending[1] >= 0xA0:
            # The decoder waits for the third byte of a surrogate, though no third byte can make it valid.
            raise ProtocolViolation(CloseCode.INVALID_DATA, "text is not UTF-8")


def decode_close(payload: bytes) -> tuple[CloseCode | int, str]:
    """Code and reason of a close frame; NO_STATUS when it is empty. Raises ProtocolViolation."""
    if not payload:
        return CloseCode.NO_STATUS, ""
    if len(payload) == 1:
        raise protocol_error("a close frame of 1 byte; it has none, or at least the 2 of its code")
    # 3000 to 3999 are for libraries, 4000 to 4999 for applications.
    code = int.from_bytes(payload[:2], "big")
    if code not in SENT_CODES and not 3000 <= code <= 4999:
        raise protocol_error(f"close code {code} must not be sent")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError as error:
        raise ProtocolViolation(CloseCode.INVALID_DATA, f"close reason is not UTF-8: {error.reason}") from error


def encode_close(code: int, reason: str = "") -> bytes:
    """The payload of a close frame, empty for NO_STATUS. A reason above 123 bytes is cut between characters."""
    if code == CloseCode.NO_STATUS:
        return b""
    if code not in SENT_CODES and not 3000 <= code <= 4999:
        raise LocalError(f"close code {code} must not be sent; use 1000-1003, 1007-1014 or 3000-4999")
    # The cut may fall inside a character, whose bytes are dropped then.
    text = reason.encode()[:CLOSE_REASON_BYTES_MAX].decode(errors="ignore")
    return code.to_bytes(2, "big") + text.encode()
