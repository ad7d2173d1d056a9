"""The canvas messages, version 1: one binary WebSocket message each, on the path `/canvas`.

All integers are unsigned little-endian; the first byte, the op, names the message. Colours are palette indices.
`decode_*(message.encode())` gives the message again; any other bytes raise `ProtocolViolation`.

Client to server (offsets count from the op):

    OFFSET  SIZE  PLACE (01, 6 bytes)             OFFSET  SIZE  PLACE_MANY (02, 4 + 5 x count bytes)
         1     1  color                                1     1  0
         2     2  x                                    2     2  count, 1..4096
         4     2  y                                    4    5n  count x (x u16, y u16, color u8), in order
    OFFSET  SIZE  SUBSCRIBE (03, 12 bytes)        OFFSET  SIZE  PING (04, 12 bytes)
         1     1  flags; bit 0: cancel                 1     3  0
         2   4x2  x, y, width, height                  4     8  nonce
        10     2  interval_ms, 0: each tick       width = height = 0: the whole canvas

Server to client:

    OFFSET  SIZE  HELLO (80, 17 bytes)            OFFSET  SIZE  SNAPSHOT (81, 14 bytes + pixels)
         1     1  version, 1                           1     1  encoding: 0 raw, 1 zlib
         2   2x2  width, height                        2     4  tick
         6     1  tile, 32                             6   4x2  x, y, width, height
         7     2  tick_ms                             14     n  width x height bytes, rows top to bottom
         9   2x2  rate_per_s, burst
        13     4  connection
    OFFSET  SIZE  DELTA (82, 8 bytes + blocks)    OFFSET  SIZE  THROTTLED (83, 8 bytes)
         1     1  encoding: 0 raw, 1 zlib         1     1  reason: 1 rate, 2 overload, 3 out of bounds
         2     2  count of tile blocks                 2     2  retry_ms
         4     4  tick                                 4     4  dropped, since connect
         8     n  tile blocks, see `blocks`
    OFFSET  SIZE  PONG (84, 16 bytes)             OFFSET  SIZE  NOTICE (85, 2 bytes + text)
         1     3  0                                    1     1  code
         4     8  nonce                                2     n  UTF-8, for people
        12     4  tick
"""

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from server import wire
from server.protocol.blocks import Block, apply_blocks, decode_blocks, encode_blocks
from server.protocol.websocket import protocol_error

PLACE_DTYPE = np.dtype([("op", "u1"), ("color", "u1"), ("x", "<u2"), ("y", "<u2")])
PLACE_ITEM_DTYPE = np.dtype([("x", "<u2"), ("y", "<u2"), ("color", "u1")])
"""Items of a PLACE_MANY, to read or write many at once."""
# Level 1 gains most of what there is to gain in a tenth of the time of level 9.
ZLIB_LEVEL = 1

assert PLACE_DTYPE.itemsize == wire.PLACE.size
assert PLACE_ITEM_DTYPE.itemsize == wire.PLACE_ITEM.size


class CanvasMessage:
    """What all messages have."""

    __slots__ = ()

    def encode(self) -> bytes:
        """The message's bytes: the payload of one binary WebSocket message."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Place(CanvasMessage):
    """Set one pixel."""

    x: int
    y: int
    color: int

    def encode(self) -> bytes:
        return wire.PLACE.pack(wire.ClientOp.PLACE, self.color, self.x, self.y)


@dataclass(frozen=True, slots=True)
class PlaceMany(CanvasMessage):
    """Set 1 to 4096 pixels, in order; each placement is (x, y, color)."""

    placements: tuple[tuple[int, int, int], ...]

    def encode(self) -> bytes:
        assert 1 <= len(self.placements) <= wire.PLACEMENTS_MAX
        items = b"".join(wire.PLACE_ITEM.pack(*placement) for placement in self.placements)
        return wire.PLACE_MANY.pack(wire.ClientOp.PLACE_MANY, 0, len(self.placements)) + items


@dataclass(frozen=True, slots=True)
class Subscribe(CanvasMessage):
    """Watch a region, at most every `interval_ms`. Width = height = 0: the whole canvas; flag `CANCEL`: no region."""

    flags: int = 0
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    interval_ms: int = 0

    @property
    def is_cancel(self) -> bool:
        """Whether it ends the subscription."""
        return bool(self.flags & wire.CANCEL)

    def encode(self) -> bytes:
        return wire.SUBSCRIBE.pack(wire.ClientOp.SUBSCRIBE, *astuple(self))


@dataclass(frozen=True, slots=True)
class Ping(CanvasMessage):
    """Ask for a PONG, which comes after the answers to all that was sent before."""

    nonce: int

    def encode(self) -> bytes:
        return wire.PING.pack(wire.ClientOp.PING, self.nonce)


@dataclass(frozen=True, slots=True)
class Hello(CanvasMessage):
    """The first message on `/canvas`."""

    width: int
    height: int
    tile: int
    tick_ms: int
    rate_per_s: int
    burst: int
    connection: int
    version: int = wire.VERSION

    def encode(self) -> bytes:
        head = (wire.ServerOp.HELLO, self.version, self.width, self.height, self.tile)
        return wire.HELLO.pack(*head, self.tick_ms, self.rate_per_s, self.burst, self.connection)


@dataclass(frozen=True, slots=True)
class Snapshot(CanvasMessage):
    """A region as it was at `tick`. `pixels`: width x height palette indices, rows top to bottom."""

    tick: int
    x: int
    y: int
    width: int
    height: int
    pixels: bytes

    def encode(self, *, compress: bool = False) -> bytes:
        """The message's bytes, with `compress` as zlib if that is shorter."""
        assert len(self.pixels) == self.width * self.height
        encoding, body = write_body(self.pixels, compress)
        return (
            wire.SNAPSHOT.pack(wire.ServerOp.SNAPSHOT, encoding, self.tick, self.x, self.y, self.width, self.height)
            + body
        )


@dataclass(frozen=True, slots=True)
class Delta(CanvasMessage):
    """All that changed in the subscribed region since the last DELTA or SNAPSHOT, in whole tiles."""

    tick: int
    blocks: tuple[Block, ...]

    def encode(self, *, compress: bool = False) -> bytes:
        """The message's bytes, with `compress` as one zlib stream if that is shorter."""
        encoding, body = write_body(encode_blocks(self.blocks), compress)
        return wire.DELTA.pack(wire.ServerOp.DELTA, encoding, len(self.blocks), self.tick) + body

    def apply_to(self, pixels: NDArray[np.uint8]) -> None:
        """Write the changes to a canvas, shape (height, width). Raises ProtocolViolation for a tile beyond it."""
        apply_blocks(pixels, self.blocks)


@dataclass(frozen=True, slots=True)
class Throttled(CanvasMessage):
    """The number of this connection's placements dropped since it connected, and the reason of the last drop."""

    reason: int
    retry_ms: int
    dropped: int

    def encode(self) -> bytes:
        return wire.THROTTLED.pack(wire.ServerOp.THROTTLED, self.reason, self.retry_ms, self.dropped)


@dataclass(frozen=True, slots=True)
class Pong(CanvasMessage):
    """The answer to the PING with this nonce, and the last finished tick."""

    nonce: int
    tick: int

    def encode(self) -> bytes:
        return wire.PONG.pack(wire.ServerOp.PONG, self.nonce, self.tick)


@dataclass(frozen=True, slots=True)
class Notice(CanvasMessage):
    """A text for people; programs may ignore it."""

    code: int
    text: str

    def encode(self) -> bytes:
        return wire.NOTICE.pack(wire.ServerOp.NOTICE, self.code) + self.text.encode()


ClientMessage = Place | PlaceMany | Subscribe | Ping
ServerMessage = Hello | Snapshot | Delta | Throttled | Pong | Notice
_Message = TypeVar("_Message")


def write_body(raw: bytes, compress: bool) -> tuple[wire.Encoding, bytes]:
    """Encoding and bytes of a SNAPSHOT's pixels or a DELTA's blocks: compressed if wanted and if that is shorter."""
    if compress:
        packed = zlib.compress(raw, ZLIB_LEVEL)
        if len(packed) < len(raw):
            return wire.Encoding.ZLIB, packed
    return wire.Encoding.RAW, raw


def read_body(name: str, encoding: int, body: bytes, bytes_max: int) -> bytes:
    """The uncompressed body of a message called `name`. Raises ProtocolViolation when it is longer than `bytes_max`.

    Never inflates more than `bytes_max` bytes and one, however little was sent.
    """
    if encoding == wire.Encoding.RAW:
        return body
    if encoding != wire.Encoding.ZLIB:
        raise protocol_error(f"{name} has encoding {encoding}; encodings are 0 and 1")
    # One byte more than allowed tells a body that is too long from one that fits exactly.
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise protocol_error(f"{name} holds a broken zlib stream: {error}") from error
    if len(raw) > bytes_max:
        raise protocol_error(f"{name} inflates to more than the {bytes_max} bytes it can hold")
    if not inflater.eof or inflater.unused_data:
        raise protocol_error(f"{name} does not hold one whole zlib stream")
    return raw


def _check_size(name: str, payload: bytes, allowed: int) -> None:
    if len(payload) != allowed:
        raise protocol_error(f"{name} has {len(payload)} bytes; it must have {allowed}")


def _check_head(name: str, payload: bytes, least: int) -> None:
    if len(payload) < least:
        raise protocol_error(f"{name} has {len(payload)} bytes; it must have {least} or more")


def _fixed(name: str, layout: struct.Struct, make: Callable[..., _Message]) -> Callable[[bytes], _Message]:
    """A reader of messages of one size, whose fields are the arguments of `make`."""

    def read(payload: bytes) -> _Message:
        _check_size(name, payload, layout.size)
        return make(*layout.unpack(payload)[1:])

    return read


def _read_place_many(payload: bytes) -> PlaceMany:
    _check_head("PLACE_MANY", payload, wire.PLACE_MANY.size)
    count = wire.PLACE_MANY.unpack_from(payload)[2]
    if not 1 <= count <= wire.PLACEMENTS_MAX:
        raise protocol_error(f"PLACE_MANY has count {count}; it must be 1 to {wire.PLACEMENTS_MAX}")
    _check_size(f"PLACE_MANY of {count}", payload, wire.PLACE_MANY.size + count * wire.PLACE_ITEM.size)
    return PlaceMany(tuple(wire.PLACE_ITEM.iter_unpack(payload[wire.PLACE_MANY.size :])))


def _read_snapshot(payload: bytes) -> Snapshot:
    _check_head("SNAPSHOT", payload, wire.SNAPSHOT.size)
    _, encoding, tick, x, y, width, height = wire.SNAPSHOT.unpack_from(payload)
    pixels = read_body("SNAPSHOT", encoding, payload[wire.SNAPSHOT.size :], width * height)
    _check_size(f"the picture of a {width} x {height} SNAPSHOT", pixels, width * height)
    return Snapshot(tick, x, y, width, height, pixels)


def _read_delta(payload: bytes) -> Delta:
    _check_head("DELTA", payload, wire.DELTA.size)
    _, encoding, count, tick = wire.DELTA.unpack_from(payload)
    # Any encoder's blocks fit, so a longer body cannot consist of `count` blocks.
    body = read_body("DELTA", encoding, payload[wire.DELTA.size :], count * wire.BLOCK_BYTES_MAX)
    return Delta(tick, tuple(decode_blocks(body, count)))


def _read_notice(payload: bytes) -> Notice:
    _check_head("NOTICE", payload, wire.NOTICE.size)
    try:
        return Notice(payload[1], payload[wire.NOTICE.size :].decode())
    except UnicodeDecodeError as error:
        raise protocol_error(f"NOTICE is not UTF-8: {error.reason}") from error


# The arguments of `make` are in the order of the bytes, those of the classes in the order that reads best.
_CLIENT_READERS: dict[int, Callable[[bytes], ClientMessage]] = {
    wire.ClientOp.PLACE: _fixed("PLACE", wire.PLACE, lambda color, x, y: Place(x, y, color)),
    wire.ClientOp.PLACE_MANY: _read_place_many,
    wire.ClientOp.SUBSCRIBE: _fixed("SUBSCRIBE", wire.SUBSCRIBE, Subscribe),
    wire.ClientOp.PING: _fixed("PING", wire.PING, Ping),
}
_SERVER_READERS: dict[int, Callable[[bytes], ServerMessage]] = {
    wire.ServerOp.HELLO: _fixed("HELLO", wire.HELLO, lambda version, *fields: Hello(*[*fields, version])),
    wire.ServerOp.SNAPSHOT: _read_snapshot,
    wire.ServerOp.DELTA: _read_delta,
    wire.ServerOp.THROTTLED: _fixed("THROTTLED", wire.THROTTLED, Throttled),
    wire.ServerOp.PONG: _fixed("PONG", wire.PONG, Pong),
    wire.ServerOp.NOTICE: _read_notice,
}

assert _CLIENT_READERS.keys() == set(wire.ClientOp)
assert _SERVER_READERS.keys() == set(wire.ServerOp)


def decode_client_message(payload: bytes) -> ClientMessage:
    """A message to the server. Raises ProtocolViolation, whose reason names the fault and what is allowed."""
    return _decode(payload, _CLIENT_READERS, "a client's ops are 0x01 to 0x04")


def decode_server_message(payload: bytes) -> ServerMessage:
    """A message to a client. Raises ProtocolViolation, whose reason names the fault and what is allowed."""
    return _decode(payload, _SERVER_READERS, "a server's ops are 0x80 to 0x85")


def _decode(payload: bytes, readers: Mapping[int, Callable[[bytes], _Message]], allowed: str) -> _Message:
    if not payload:
        raise protocol_error("an empty message; its first byte must be an op")
    # Readers differ by direction: an op of a server is unknown when a client sends it.
    if payload[0] not in readers:
        raise protocol_error(f"op 0x{payload[0]:02x} is unknown; {allowed}")
    return readers[payload[0]](payload)
