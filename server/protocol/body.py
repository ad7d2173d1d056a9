"""The body of a SNAPSHOT or a DELTA: bytes as they are, or one zlib stream where that is shorter.

Invariant: reading never makes more bytes than the caller allows, however little was sent.
"""

import zlib

from server.protocol.websocket import CloseCode, ProtocolViolation
from server.wire import Encoding

ZLIB_LEVEL = 1
"""Level 1 takes most of what there is to gain in a tenth of the time of level 9."""


def write_body(raw: bytes, compress: bool) -> tuple[Encoding, bytes]:
    """The encoding and the bytes of a body: compressed only where asked for and shorter."""
    if compress:
        packed = zlib.compress(raw, ZLIB_LEVEL)
        if len(packed) < len(raw):
            return Encoding.ZLIB, packed
    return Encoding.RAW, raw


def read_body(name: str, encoding: int, body: bytes, bytes_max: int) -> bytes:
    """The body of a message called `name` as it was before compression. Raises ProtocolViolation above `bytes_max`."""
    if encoding == Encoding.RAW:
        return body
    if encoding != Encoding.ZLIB:
        raise _fault(f"{name} has encoding {encoding}; encodings are 0 and 1")
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise _fault(f"{name} holds a broken zlib stream: {error}") from error
    if len(raw) > bytes_max:
        raise _fault(f"{name} inflates to more than the {bytes_max} bytes it can hold")
    if not inflater.eof or inflater.unused_data:
        raise _fault(f"{name} does not hold one whole zlib stream")
    return raw


def _fault(reason: str) -> ProtocolViolation:
    return ProtocolViolation(CloseCode.PROTOCOL_ERROR, reason)
