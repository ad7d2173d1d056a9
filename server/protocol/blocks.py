"""Tile blocks: the part of a DELTA that says which pixels of one 32 x 32 tile changed, and to which colours.

    OFFSET  SIZE   FIELD   MEANING
         0     2   tile    tile number, row by row from 0
         2     1   kind    0 sparse, 1 bitmap, 2 full
         3   1+3n  sparse  n u8, then n x (offset u16 = row * 32 + column, color u8)
         3  128+n  bitmap  bit (offset & 7) of byte (offset >> 3) set where changed; then one color per set bit
         3  1024   full    every color by offset; cells beyond the canvas edge are 0

`encode_block` and `decode_blocks` are the reference that the compiled encoder and decoder are tested against, and what
programs with few deltas use. `changed_cells` decodes a whole DELTA at once into numpy arrays.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from server import wire
from server.protocol.websocket import protocol_error
from server.wire import BITMAP_BYTES, TILE_PIXELS, TILE_SIDE

_SPARSE_DTYPE = np.dtype([("offset", "<u2"), ("color", "u1")])

assert _SPARSE_DTYPE.itemsize == wire.SPARSE_ITEM.size


class Block(NamedTuple):
    """Changed pixels of one tile: `colors[i]` at `offsets[i]` (row * 32 + column)."""

    tile: int
    offsets: tuple[int, ...]
    colors: bytes


def encode_block(tile: int, offsets: Sequence[int], colors: bytes, tile_colors: bytes | None = None) -> bytes:
    """One block, of the shortest kind. `colors[i]` is the new colour at `offsets[i]`; of equal offsets the last counts.

    `tile_colors` (1024 bytes, by offset) is the whole tile as it is now. Without it, the full kind is used only
    when all 1024 offsets are given.
    """
    assert len(offsets) == len(colors)
    changed = dict(zip(offsets, colors, strict=True))
    where = sorted(changed)
    newest = bytes(changed[offset] for offset in where)
    bodies = [(wire.BlockKind.BITMAP, _bitmap_body(where, newest))]
    if len(where) <= wire.SPARSE_COUNT_MAX:
        bodies.insert(0, (wire.BlockKind.SPARSE, _sparse_body(where, newest)))
    if len(where) == TILE_PIXELS:
        bodies.append((wire.BlockKind.FULL, newest))
    elif tile_colors is not None:
        assert len(tile_colors) == TILE_PIXELS
        bodies.append((wire.BlockKind.FULL, bytes(tile_colors)))
    # Of equally short kinds `min` takes the first, which is the lowest: the compiled encoder does the same.
    kind, body = min(bodies, key=lambda choice: len(choice[1]))
    return wire.BLOCK_HEAD.pack(tile, kind) + body


def _sparse_body(offsets: Sequence[int], colors: bytes) -> bytes:
    return bytes([len(offsets)]) + b"".join(map(wire.SPARSE_ITEM.pack, offsets, colors))


def _bitmap_body(offsets: Sequence[int], colors: bytes) -> bytes:
    bitmap = bytearray(BITMAP_BYTES)
    for offset in offsets:
        bitmap[offset >> 3] |= 1 << (offset & 7)
    return bytes(bitmap) + colors


def encode_blocks(blocks: Iterable[Block]) -> bytes:
    """The body of a DELTA: all blocks in their order."""
    return b"".join(encode_block(*block) for block in blocks)


def decode_blocks(body: bytes, count: int) -> list[Block]:
    """The `count` blocks of which `body` consists. Raises ProtocolViolation."""
    blocks = []
    for tile, kind, start, cells in _walk(body, count):
        if kind == wire.BlockKind.SPARSE:
            pairs = list(wire.SPARSE_ITEM.iter_unpack(body[start : start + cells * wire.SPARSE_ITEM.size]))
            offsets, colors = tuple(offset for offset, _ in pairs), bytes(color for _, color in pairs)
            if max(offsets, default=0) >= TILE_PIXELS:
                what = f"offset {max(offsets)} in the block of tile {tile}"
                raise protocol_error(f"{what}; offsets are 0 to {TILE_PIXELS - 1}")
        elif kind == wire.BlockKind.BITMAP:
            bits = body[start : start + BITMAP_BYTES]
            offsets = tuple(offset for offset in range(TILE_PIXELS) if bits[offset >> 3] >> (offset & 7) & 1)
            colors = body[start + BITMAP_BYTES : start + BITMAP_BYTES + cells]
        else:
            offsets, colors = tuple(range(TILE_PIXELS)), body[start : start + TILE_PIXELS]
        assert len(offsets) == len(colors) == cells
        blocks.append(Block(tile, offsets, colors))
    return blocks


def _walk(body: bytes, count: int, tile_count: int = wire.TILES_MAX + 1) -> Iterator[tuple[int, int, int, int]]:
    """Tile, kind, start of the body and number of cells of each block, whose lengths are checked."""
    at = 0
    for index in range(count):
        start = at + wire.BLOCK_HEAD.size
        if start > len(body):
            raise protocol_error(f"DELTA ends at block {index} of {count}")
        tile, kind = wire.BLOCK_HEAD.unpack_from(body, at)
        if tile >= tile_count:
            raise protocol_error(f"tile {tile} of a canvas that has {tile_count}")
        if kind == wire.BlockKind.SPARSE:
            cells = int.from_bytes(body[start : start + 1], "little")
            start += 1
            at = start + cells * wire.SPARSE_ITEM.size
        elif kind == wire.BlockKind.BITMAP:
            cells = int.from_bytes(body[start : start + BITMAP_BYTES], "little").bit_count()
            at = start + BITMAP_BYTES + cells
        elif kind == wire.BlockKind.FULL:
            cells, at = TILE_PIXELS, start + TILE_PIXELS
        else:
            raise protocol_error(f"block kind {kind} of tile {tile} is unknown; kinds are 0, 1 and 2")
        if at > len(body):
            raise protocol_error(f"block of tile {tile} is {at - len(body)} bytes short")
        yield tile, kind, start, cells
    if at != len(body):
        raise protocol_error(f"DELTA has {len(body) - at} bytes after its {count} blocks")


def apply_blocks(pixels: NDArray[np.uint8], blocks: Iterable[Block]) -> None:
    """Write the blocks to `pixels`, shape (height, width), in place. Cells beyond the edge are dropped.

    Raises ProtocolViolation for a tile that is not on this canvas.
    """
    height, width = pixels.shape
    across, down = wire.tile_shape(width, height)
    for tile, offsets, colors in blocks:
        if tile >= across * down:
            raise protocol_error(f"tile {tile} of a canvas that has {across * down}")
        top, left = tile // across * TILE_SIDE, tile % across * TILE_SIDE
        for offset, color in zip(offsets, colors, strict=True):
            y, x = top + offset // TILE_SIDE, left + offset % TILE_SIDE
            if y < height and x < width:
                pixels[y, x] = color


def tile_colors(pixels: NDArray[Any], tile: int) -> bytes:
    """The 1024 colours of a tile by offset; cells beyond the canvas edge are 0. `pixels`: shape (height, width)."""
    height, width = pixels.shape
    across, _ = wire.tile_shape(width, height)
    top, left = tile // across * TILE_SIDE, tile % across * TILE_SIDE
    # Edge tiles are cut by the canvas, but offsets always count 32 columns per row.
    square = np.zeros((TILE_SIDE, TILE_SIDE), np.uint8)
    part = pixels[top : top + TILE_SIDE, left : left + TILE_SIDE]
    square[: part.shape[0], : part.shape[1]] = part
    return square.tobytes()


def changed_cells(body: bytes, count: int, width: int, height: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Pixels (y * width + x) and colours of the all cells of `count` blocks, both of shape (n,).

    `body` consists of these blocks; the canvas is `width` x `height`, and cells beyond its edge are left out. The cells
    of sparse blocks come first, then those of bitmaps, then those of full blocks. Raises ProtocolViolation.
    """
    across, down = wire.tile_shape(width, height)
    # Only the walk from block to block is a loop; the cells of all blocks of a kind are then decoded together.
    tiles: list[list[int]] = [[] for _ in wire.BlockKind]
    starts: list[list[int]] = [[] for _ in wire.BlockKind]
    counts: list[list[int]] = [[] for _ in wire.BlockKind]
    for tile, kind, start, cells in _walk(body, count, across * down):
        tiles[kind].append(tile)
        starts[kind].append(start)
        counts[kind].append(cells)
    data = np.frombuffer(body, np.uint8)
    parts = [
        _sparse_cells(data, starts[0], counts[0]),
        _bitmap_cells(data, starts[1], counts[1]),
        _full_cells(data, starts[2]),
    ]
    tile_of = np.concatenate([np.repeat(np.array(tiles[kind], np.int64), counts[kind]) for kind in wire.BlockKind])
    offset = np.concatenate([offsets for offsets, _ in parts]).astype(np.int64)
    color = np.concatenate([colors for _, colors in parts])
    if len(offset) and int(offset.max()) >= TILE_PIXELS:
        raise protocol_error(f"offset {int(offset.max())} in a block; offsets are 0 to {TILE_PIXELS - 1}")
    assert len(tile_of) == len(offset) == len(color)
    x = tile_of % across * TILE_SIDE + offset % TILE_SIDE
    y = tile_of // across * TILE_SIDE + offset // TILE_SIDE
    inside = (x < width) & (y < height)
    return (y * width + x)[inside], color[inside]


def _runs(starts: list[int], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The positions start, start + 1, ... of each run, one run after another."""
    before = np.cumsum(lengths) - lengths
    runs: NDArray[np.int64] = np.arange(int(lengths.sum())) + np.repeat(np.array(starts, np.int64) - before, lengths)
    return runs


def _sparse_cells(
    data: NDArray[np.uint8], starts: list[int], counts: list[int]
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Offsets and colours of all sparse blocks."""
    where = _runs(starts, np.array(counts, np.int64) * wire.SPARSE_ITEM.size)
    items = np.ascontiguousarray(data[where]).view(_SPARSE_DTYPE)
    return items["offset"], items["color"]


def _bitmap_cells(
    data: NDArray[np.uint8], starts: list[int], counts: list[int]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets and colours of all bitmap blocks."""
    where = np.array(starts, np.int64)[:, None] + np.arange(BITMAP_BYTES)
    bits = np.unpackbits(data[where], axis=1, bitorder="little")
    colors = _runs([start + BITMAP_BYTES for start in starts], np.array(counts, np.int64))
    return np.nonzero(bits)[1], data[colors]


def _full_cells(data: NDArray[np.uint8], starts: list[int]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets and colours of all full blocks."""
    where = np.array(starts, np.int64)[:, None] + np.arange(TILE_PIXELS)
    return np.tile(np.arange(TILE_PIXELS), len(starts)), data[where.ravel()]
