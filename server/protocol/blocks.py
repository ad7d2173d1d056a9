"""Tile blocks: the part of a DELTA that says which pixels of one 32 x 32 tile have which colour now.

Plain Python, one obvious loop each: the reference that the compiled encoder and decoder are compared with, and what
programs with few deltas use. Invariant: `decode_blocks` gives back what `encode_block` was given, sorted by offset.

    OFFSET  SIZE   FIELD   MEANING
         0     2   tile    tile number, row by row from 0
         2     1   kind    0 sparse, 1 bitmap, 2 full
         3   1+3n  sparse  n u8, then n x (offset u16 = row * 32 + column, color u8)
         3  128+n  bitmap  bit (offset & 7) of byte (offset >> 3) set where changed; then a colour a set bit, by offset
         3  1024   full    every colour by offset; cells beyond the canvas edge are 0
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from server.protocol.websocket import CloseCode, ProtocolViolation
from server.wire import (
    BITMAP_BYTES,
    BLOCK_HEAD,
    SPARSE_COUNT_MAX,
    SPARSE_ITEM,
    TILE_PIXELS,
    TILE_SIDE,
    BlockKind,
    tile_shape,
)


class Block(NamedTuple):
    """Changed pixels of one tile: `colors[i]` at `offsets[i]` (row * 32 + column)."""

    tile: int
    offsets: tuple[int, ...]
    colors: bytes


def encode_block(tile: int, offsets: Sequence[int], colors: bytes, tile_colors: bytes | None = None) -> bytes:
    """The shortest of the three kinds, of equals the lowest. `colors[i]` is the new colour at `offsets[i]`; later wins.

    `tile_colors` (1024 bytes, by offset) is the whole tile as it is now: without it the full kind is only taken when
    all 1024 offsets are given.
    """
    assert len(offsets) == len(colors)
    changed = dict(zip(offsets, colors, strict=True))
    where = sorted(changed)
    newest = bytes(changed[offset] for offset in where)
    bodies = [(BlockKind.BITMAP, _bitmap_body(where, newest))]
    if len(where) <= SPARSE_COUNT_MAX:
        bodies.insert(0, (BlockKind.SPARSE, _sparse_body(where, newest)))
    if len(where) == TILE_PIXELS:
        bodies.append((BlockKind.FULL, newest))
    elif tile_colors is not None:
        assert len(tile_colors) == TILE_PIXELS
        bodies.append((BlockKind.FULL, bytes(tile_colors)))
    kind, body = min(bodies, key=lambda choice: len(choice[1]))
    return BLOCK_HEAD.pack(tile, kind) + body


def _sparse_body(offsets: Sequence[int], colors: bytes) -> bytes:
    return bytes([len(offsets)]) + b"".join(map(SPARSE_ITEM.pack, offsets, colors))


def _bitmap_body(offsets: Sequence[int], colors: bytes) -> bytes:
    bitmap = bytearray(BITMAP_BYTES)
    for offset in offsets:
        bitmap[offset >> 3] |= 1 << (offset & 7)
    return bytes(bitmap) + colors


def encode_blocks(blocks: Iterable[Block]) -> bytes:
    """The body of a DELTA: all blocks in their order."""
    return b"".join(encode_block(*block) for block in blocks)


def decode_blocks(body: bytes, count: int) -> list[Block]:
    """The `count` blocks that `body` must hold exactly. Raises ProtocolViolation."""
    blocks = []
    position = 0
    for index in range(count):
        if len(body) - position < BLOCK_HEAD.size:
            raise _fault(f"DELTA ends at block {index} of {count}")
        tile, kind = BLOCK_HEAD.unpack_from(body, position)
        position += BLOCK_HEAD.size
        if kind == BlockKind.SPARSE:
            offsets, colors, position = _read_sparse(body, position, tile)
        elif kind == BlockKind.BITMAP:
            offsets, colors, position = _read_bitmap(body, position, tile)
        elif kind == BlockKind.FULL:
            offsets = tuple(range(TILE_PIXELS))
            colors, position = _take(body, position, TILE_PIXELS, tile)
        else:
            raise _fault(f"block kind {kind} of tile {tile} is unknown; kinds are 0, 1 and 2")
        blocks.append(Block(tile, offsets, colors))
    if position != len(body):
        raise _fault(f"DELTA has {len(body) - position} bytes after its {count} blocks")
    return blocks


def _fault(reason: str) -> ProtocolViolation:
    return ProtocolViolation(CloseCode.PROTOCOL_ERROR, reason)


def _take(body: bytes, position: int, size: int, tile: int) -> tuple[bytes, int]:
    end = position + size
    if end > len(body):
        raise _fault(f"block of tile {tile} is {end - len(body)} bytes short")
    return body[position:end], end


def _read_sparse(body: bytes, position: int, tile: int) -> tuple[tuple[int, ...], bytes, int]:
    head, position = _take(body, position, 1, tile)
    items, position = _take(body, position, head[0] * SPARSE_ITEM.size, tile)
    pairs = list(SPARSE_ITEM.iter_unpack(items))
    for offset, _ in pairs:
        if offset >= TILE_PIXELS:
            raise _fault(f"offset {offset} in the block of tile {tile}; offsets are 0 to {TILE_PIXELS - 1}")
    return tuple(offset for offset, _ in pairs), bytes(color for _, color in pairs), position


def _read_bitmap(body: bytes, position: int, tile: int) -> tuple[tuple[int, ...], bytes, int]:
    bitmap, position = _take(body, position, BITMAP_BYTES, tile)
    offsets = tuple(offset for offset in range(TILE_PIXELS) if bitmap[offset >> 3] >> (offset & 7) & 1)
    colors, position = _take(body, position, len(offsets), tile)
    return offsets, colors, position


def apply_blocks(pixels: NDArray[np.uint8], blocks: Iterable[Block]) -> None:
    """Write the blocks to `pixels`, shape (height, width), in place. Cells beyond the edge are dropped.

    Raises ProtocolViolation on a tile that this canvas has not.
    """
    height, width = pixels.shape
    across, down = tile_shape(width, height)
    for tile, offsets, colors in blocks:
        if tile >= across * down:
            raise _fault(f"tile {tile} of a canvas that has {across * down}")
        top, left = tile // across * TILE_SIDE, tile % across * TILE_SIDE
        for offset, color in zip(offsets, colors, strict=True):
            y, x = top + offset // TILE_SIDE, left + offset % TILE_SIDE
            if y < height and x < width:
                pixels[y, x] = color


def tile_colors(pixels: NDArray[Any], tile: int) -> bytes:
    """The 1024 colours of a tile by offset; cells beyond the canvas edge are 0. `pixels`: shape (height, width)."""
    height, width = pixels.shape
    across, _ = tile_shape(width, height)
    top, left = tile // across * TILE_SIDE, tile % across * TILE_SIDE
    square = np.zeros((TILE_SIDE, TILE_SIDE), np.uint8)
    part = pixels[top : top + TILE_SIDE, left : left + TILE_SIDE]
    square[: part.shape[0], : part.shape[1]] = part
    return square.tobytes()
