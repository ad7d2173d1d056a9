"""The numbers of the wire, each written once: frame heads, op codes, sizes and limits of messages, tiles, tile blocks.

Compiled kernels, the protocol in Python and the tests read them from here; so this imports nothing but the standard
library. `server.protocol` describes the messages byte by byte. The assertions are the version of the protocol: other
values are another protocol.
"""

import struct
from enum import IntEnum

# --- WebSocket frames (RFC 6455) ------------------------------------------------------------------------------------

FIN = 0x80
RSV1 = 0x40
RESERVED_BITS = 0x70
MASK = 0x80
# In the 7-bit length: a u16 follows.
LENGTH_16 = 126
# In the 7-bit length: a u64 follows.
LENGTH_64 = 127
# A control frame fits the shortest length form.
CONTROL_BYTES_MAX = 125
# Head of a client's frame with a payload below `LENGTH_16`: two bytes and the mask.
CLIENT_HEAD_BYTES = 6
# Head of a server's frame with a payload below `LENGTH_16`.
SERVER_HEAD_BYTES = 2
# The longest head of a server's frame: with a u64 length.
SERVER_HEAD_BYTES_MAX = 10


class Opcode(IntEnum):
    """What a frame carries; 3-7 and 11-15 are reserved. Bit 3 marks a control frame."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


# First byte of a frame that is a whole binary message, as nearly all are.
BINARY_FRAME = FIN | Opcode.BINARY
CLOSE_FRAME = FIN | Opcode.CLOSE

assert LENGTH_16 == CONTROL_BYTES_MAX + 1
assert FIN | RESERVED_BITS | 0x0F == 0xFF
assert BINARY_FRAME == 0x82

# --- Canvas messages ------------------------------------------------------------------------------------------------

SUBPROTOCOL = "pixelcanvas.v1"
VERSION = 1


class ClientOp(IntEnum):
    """First byte of a message to the server."""

    PLACE = 0x01
    PLACE_MANY = 0x02
    SUBSCRIBE = 0x03
    PING = 0x04


class ServerOp(IntEnum):
    """First byte of a message to a client."""

    HELLO = 0x80
    SNAPSHOT = 0x81
    DELTA = 0x82
    THROTTLED = 0x83
    PONG = 0x84
    NOTICE = 0x85


class DropReason(IntEnum):
    """Why placements were dropped, in THROTTLED."""

    RATE = 1
    OVERLOAD = 2
    OUT_OF_BOUNDS = 3


class NoticeCode(IntEnum):
    """What a NOTICE is about."""

    HELD = 1  # Changes cannot be broadcast at present.
    RESUMED = 2  # They can be again.


class Encoding(IntEnum):
    """How the pixels of a SNAPSHOT or the blocks of a DELTA are written."""

    RAW = 0
    ZLIB = 1


# In the flags of SUBSCRIBE: end the subscription.
CANCEL = 0x01
# The most placements of one PLACE_MANY: one message cannot occupy a loop for long.
PLACEMENTS_MAX = 4096
# The longest message a client may send; a longer one is closed with 1009.
MESSAGE_BYTES_MAX = 65_536

# Messages of variable size have a head here, with the rest behind it.
PLACE = struct.Struct("<BBHH")
PLACE_MANY = struct.Struct("<BBH")
PLACE_ITEM = struct.Struct("<HHB")
SUBSCRIBE = struct.Struct("<BBHHHHH")
PING = struct.Struct("<B3xQ")
HELLO = struct.Struct("<BBHHBHHHI")
SNAPSHOT = struct.Struct("<BBIHHHH")
DELTA = struct.Struct("<BBHI")
THROTTLED = struct.Struct("<BBHI")
PONG = struct.Struct("<B3xQI")
NOTICE = struct.Struct("<BB")

PLACE_FRAME_BYTES = CLIENT_HEAD_BYTES + PLACE.size
PING_FRAME_BYTES = CLIENT_HEAD_BYTES + PING.size
SUBSCRIBE_FRAME_BYTES = CLIENT_HEAD_BYTES + SUBSCRIBE.size
PONG_FRAME_BYTES = SERVER_HEAD_BYTES + PONG.size
THROTTLED_FRAME_BYTES = SERVER_HEAD_BYTES + THROTTLED.size

assert not {int(op) for op in ClientOp} & {int(op) for op in ServerOp}
assert PLACE.size == 6
assert PLACE_MANY.size == 4
assert PLACE_ITEM.size == 5
assert SUBSCRIBE.size == PING.size == 12
assert HELLO.size == 17
assert SNAPSHOT.size == 14
assert DELTA.size == THROTTLED.size == 8
assert PONG.size == 16
assert NOTICE.size == 2
assert PLACE_MANY.size + PLACEMENTS_MAX * PLACE_ITEM.size <= MESSAGE_BYTES_MAX

# --- Tiles and tile blocks ------------------------------------------------------------------------------------------

TILE_SHIFT = 5
TILE_SIDE = 1 << TILE_SHIFT
TILE_PIXELS = TILE_SIDE * TILE_SIDE
# 256 x 256 tiles are as many as a tile number of 16 bits can name.
CANVAS_SIDE_MAX = 8192
# As many tile blocks as the count of a DELTA can name.
TILES_MAX = 65535


class BlockKind(IntEnum):
    """How a block says which pixels it holds."""

    SPARSE = 0
    BITMAP = 1
    FULL = 2


BLOCK_HEAD = struct.Struct("<HB")
SPARSE_ITEM = struct.Struct("<HB")
SPARSE_COUNT_MAX = 255
BITMAP_BYTES = TILE_PIXELS // 8
# The longest block that a decoder takes: a bitmap with every bit set.
BLOCK_BYTES_MAX = BLOCK_HEAD.size + BITMAP_BYTES + TILE_PIXELS
# The longest block that our encoders make: they write a full block before a bitmap gets as long.
FULL_BLOCK_BYTES = BLOCK_HEAD.size + TILE_PIXELS

assert TILE_SIDE == 32
assert (CANVAS_SIDE_MAX // TILE_SIDE) ** 2 == TILES_MAX + 1 == 2**16
assert BLOCK_HEAD.size == SPARSE_ITEM.size == 3
assert BITMAP_BYTES == 128


def tile_shape(width: int, height: int) -> tuple[int, int]:
    """Tiles across and down of a canvas, edge tiles included."""
    return (width + TILE_SIDE - 1) // TILE_SIDE, (height + TILE_SIDE - 1) // TILE_SIDE
