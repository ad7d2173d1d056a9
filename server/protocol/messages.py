"""The canvas messages, version 1: what is said over `/canvas`, one binary WebSocket message each.

All integers are unsigned little-endian; the first byte, the op, decides. Colours are palette indices. This is the
plain reference: the compiled decoder and encoder read the same tables. Invariant: `decode_*(message.encode())` is the
message, and any other bytes raise `ProtocolViolation`, nothing else.

Client to server (op, then what follows; an offset is counted from the op):

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
         1     1  version, 1                           1     1  encoding: 0 as it is, 1 zlib
         2   2x2  width, height                        2     4  tick
         6     1  tile, 32                             6   4x2  x, y, width, height
         7     2  tick_ms                             14     n  width x height bytes, rows top to bottom
         9   2x2  rate_per_s, burst
        13     4  connection
    OFFSET  SIZE  DELTA (82, 8 bytes + blocks)    OFFSET  SIZE  THROTTLED (83, 8 bytes)
         1     1  encoding: 0 as it is, 1 zlib         1     1  reason: 1 rate, 2 overload, 3 out of bounds
         2     2  count of tile blocks                 2     2  retry_ms
         4     4  tick                                 4     4  dropped, since connect
         8     n  tile blocks, see `blocks`
    OFFSET  SIZE  PONG (84, 16 bytes)             OFFSET  SIZE  NOTICE (85, 2 bytes + text)
         1     3  0                                    1     1  code
         4     8  nonce                                2     n  UTF-8, for people
        12     4  tick
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from server.protocol.blocks import Block, apply_blocks, decode_blocks, encode_blocks
from server.protocol.body import read_body, write_body
from server.protocol.websocket import CloseCode, ProtocolViolation
from server.wire import (
    BLOCK_BYTES_MAX,
    CANCEL,
    DELTA,
    HELLO,
    NOTICE,
    PING,
    PLACE,
    PLACE_ITEM,
    PLACE_MANY,
    PLACEMENTS_MAX,
    PONG,
    SNAPSHOT,
    SUBSCRIBE,
    THROTTLED,
    VERSION,
    ClientOp,
    ServerOp,
)

PLACE_DTYPE = np.dtype([("op", "u1"), ("color", "u1"), ("x", "<u2"), ("y", "<u2")])
PLACE_ITEM_DTYPE = np.dtype([("x", "<u2"), ("y", "<u2"), ("color", "u1")])
"""The items of a PLACE_MANY as an array, for whoever reads or writes many at once."""

assert PLACE_DTYPE.itemsize == PLACE.size
assert PLACE_ITEM_DTYPE.itemsize == PLACE_ITEM.size


@dataclass(frozen=True, slots=True)
class Place:
    """Set one pixel."""

    x: int
    y: int
    color: int

    def encode(self) -> bytes:
        """The message's 6 bytes."""
        return PLACE.pack(ClientOp.PLACE, self.color, self.x, self.y)


@dataclass(frozen=True, slots=True)
class PlaceMany:
    """Set pixels in order; each placement is (x, y, color)."""

    placements: tuple[tuple[int, int, int], ...]

    def encode(self) -> bytes:
        """The message's bytes. 1 to 4096 placements."""
        assert 1 <= len(self.placements) <= PLACEMENTS_MAX
        items = b"".join(PLACE_ITEM.pack(*placement) for placement in self.placements)
        return PLACE_MANY.pack(ClientOp.PLACE_MANY, 0, len(self.placements)) + items


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Watch a region, or with `flags` bit 0 stop watching. Width = height = 0: the whole canvas."""

    flags: int = 0
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    interval_ms: int = 0

    @property
    def is_cancel(self) -> bool:
        """Whether this ends the subscription."""
        return bool(self.flags & CANCEL)

    def encode(self) -> bytes:
        """The message's 12 bytes."""
        return SUBSCRIBE.pack(ClientOp.SUBSCRIBE, *astuple(self))


@dataclass(frozen=True, slots=True)
class Ping:
    """Answered by PONG, in order with what came before it."""

    nonce: int

    def encode(self) -> bytes:
        """The message's 12 bytes."""
        return PING.pack(ClientOp.PING, self.nonce)


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message on `/canvas`."""

    width: int
    height: int
    tile: int
    tick_ms: int
    rate_per_s: int
    burst: int
    connection: int
    version: int = VERSION

    def encode(self) -> bytes:
        """The message's 17 bytes."""
        head = (ServerOp.HELLO, self.version, self.width, self.height, self.tile)
        return HELLO.pack(*head, self.tick_ms, self.rate_per_s, self.burst, self.connection)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A region as it was at `tick`. `pixels`: width x height palette indices, rows top to bottom."""

    tick: int
    x: int
    y: int
    width: int
    height: int
    pixels: bytes

    def encode(self, *, compress: bool = False) -> bytes:
        """The message's bytes; with `compress` as zlib where that is shorter."""
        assert len(self.pixels) == self.width * self.height
        encoding, body = write_body(self.pixels, compress)
        return SNAPSHOT.pack(ServerOp.SNAPSHOT, encoding, self.tick, self.x, self.y, self.width, self.height) + body


@dataclass(frozen=True, slots=True)
class Delta:
    """What changed in the subscribed region since the last DELTA or SNAPSHOT, in whole tiles."""

    tick: int
    blocks: tuple[Block, ...]

    def encode(self, *, compress: bool = False) -> bytes:
        """The message's bytes; with `compress` as one zlib stream where that is shorter."""
        encoding, body = write_body(encode_blocks(self.blocks), compress)
        return DELTA.pack(ServerOp.DELTA, encoding, len(self.blocks), self.tick) + body


@dataclass(frozen=True, slots=True)
class Throttled:
    """How many of this connection's placements were dropped since it connected, and why the latest was."""

    reason: int
    retry_ms: int
    dropped: int

    def encode(self) -> bytes:
        """The message's 8 bytes."""
        return THROTTLED.pack(ServerOp.THROTTLED, self.reason, self.retry_ms, self.dropped)


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to the PING with this nonce, and the tick it was given in."""

    nonce: int
    tick: int

    def encode(self) -> bytes:
        """The message's 16 bytes."""
        return PONG.pack(ServerOp.PONG, self.nonce, self.tick)


@dataclass(frozen=True, slots=True)
class Notice:
    """For people; may be ignored."""

    code: int
    text: str

    def encode(self) -> bytes:
        """The message's bytes."""
        return NOTICE.pack(ServerOp.NOTICE, self.code) + self.text.encode()


ClientMessage = Place | PlaceMany | Subscribe | Ping
ServerMessage = Hello | Snapshot | Delta | Throttled | Pong | Notice


def _fault(reason: str) -> ProtocolViolation:
    return ProtocolViolation(CloseCode.PROTOCOL_ERROR, reason)


def _check_size(name: str, payload: bytes, allowed: int) -> None:
    if len(payload) != allowed:
        raise _fault(f"{name} has {len(payload)} bytes; it must have {allowed}")


def _check_head(name: str, payload: bytes, least: int) -> None:
    if len(payload) < least:
        raise _fault(f"{name} has {len(payload)} bytes; it must have {least} or more")


def _read_place(payload: bytes) -> Place:
    _check_size("PLACE", payload, PLACE.size)
    _, color, x, y = PLACE.unpack(payload)
    return Place(x, y, color)


def _read_place_many(payload: bytes) -> PlaceMany:
    _check_head("PLACE_MANY", payload, PLACE_MANY.size)
    count = PLACE_MANY.unpack_from(payload)[2]
    if not 1 <= count <= PLACEMENTS_MAX:
        raise _fault(f"PLACE_MANY has count {count}; it must be 1 to {PLACEMENTS_MAX}")
    _check_size(f"PLACE_MANY of {count}", payload, PLACE_MANY.size + count * PLACE_ITEM.size)
    return PlaceMany(tuple(PLACE_ITEM.iter_unpack(payload[PLACE_MANY.size :])))


def _read_subscribe(payload: bytes) -> Subscribe:
    _check_size("SUBSCRIBE", payload, SUBSCRIBE.size)
    return Subscribe(*SUBSCRIBE.unpack(payload)[1:])


def _read_ping(payload: bytes) -> Ping:
    _check_size("PING", payload, PING.size)
    return Ping(PING.unpack(payload)[1])


def _read_hello(payload: bytes) -> Hello:
    _check_size("HELLO", payload, HELLO.size)
    _, version, width, height, tile, tick_ms, rate_per_s, burst, connection = HELLO.unpack(payload)
    return Hello(width, height, tile, tick_ms, rate_per_s, burst, connection, version)


def _read_snapshot(payload: bytes) -> Snapshot:
    _check_head("SNAPSHOT", payload, SNAPSHOT.size)
    _, encoding, tick, x, y, width, height = SNAPSHOT.unpack_from(payload)
    pixels = read_body("SNAPSHOT", encoding, payload[SNAPSHOT.size :], width * height)
    _check_size(f"the picture of a {width} x {height} SNAPSHOT", pixels, width * height)
    return Snapshot(tick, x, y, width, height, pixels)


def _read_delta(payload: bytes) -> Delta:
    _check_head("DELTA", payload, DELTA.size)
    _, encoding, count, tick = DELTA.unpack_from(payload)
    body = read_body("DELTA", encoding, payload[DELTA.size :], count * BLOCK_BYTES_MAX)
    return Delta(tick, tuple(decode_blocks(body, count)))


def _read_throttled(payload: bytes) -> Throttled:
    _check_size("THROTTLED", payload, THROTTLED.size)
    return Throttled(*THROTTLED.unpack(payload)[1:])


def _read_pong(payload: bytes) -> Pong:
    _check_size("PONG", payload, PONG.size)
    return Pong(*PONG.unpack(payload)[1:])


def _read_notice(payload: bytes) -> Notice:
    _check_head("NOTICE", payload, NOTICE.size)
    try:
        return Notice(payload[1], payload[NOTICE.size :].decode())
    except UnicodeDecodeError as error:
        raise _fault(f"NOTICE is not UTF-8: {error.reason}") from error


_CLIENT_READERS: dict[int, Callable[[bytes], ClientMessage]] = {
    ClientOp.PLACE: _read_place,
    ClientOp.PLACE_MANY: _read_place_many,
    ClientOp.SUBSCRIBE: _read_subscribe,
    ClientOp.PING: _read_ping,
}
_SERVER_READERS: dict[int, Callable[[bytes], ServerMessage]] = {
    ServerOp.HELLO: _read_hello,
    ServerOp.SNAPSHOT: _read_snapshot,
    ServerOp.DELTA: _read_delta,
    ServerOp.THROTTLED: _read_throttled,
    ServerOp.PONG: _read_pong,
    ServerOp.NOTICE: _read_notice,
}

assert _CLIENT_READERS.keys() == set(ClientOp)
assert _SERVER_READERS.keys() == set(ServerOp)


def decode_client_message(payload: bytes) -> ClientMessage:
    """A message to the server. Raises ProtocolViolation that names the fault and what was allowed."""
    if not payload:
        raise _fault("an empty message; its first byte must be an op")
    reader = _CLIENT_READERS.get(payload[0])
    if reader is None:
        raise _fault(f"op 0x{payload[0]:02x} is unknown; a client's ops are 0x01 to 0x04")
    return reader(payload)


def decode_server_message(payload: bytes) -> ServerMessage:
    """A message to a client. Raises ProtocolViolation that names the fault and what was allowed."""
    if not payload:
        raise _fault("an empty message; its first byte must be an op")
    reader = _SERVER_READERS.get(payload[0])
    if reader is None:
        raise _fault(f"op 0x{payload[0]:02x} is unknown; a server's ops are 0x80 to 0x85")
    return reader(payload)


def apply_delta(pixels: NDArray[np.uint8], delta: Delta) -> None:
    """Write a DELTA to `pixels`, shape (height, width), in place. Raises ProtocolViolation on a tile it has not."""
    apply_blocks(pixels, delta.blocks)
