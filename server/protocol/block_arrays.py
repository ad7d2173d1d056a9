"""Tile blocks as arrays: a whole body of a DELTA at once, for programs that have numpy and no compiler.

It holds no canvas. Invariant: the cells it gives are those that `blocks.decode_blocks` gives, in its order, but for
cells beyond the canvas's edge, which are left out.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from server.protocol.websocket import CloseCode, ProtocolViolation
from server.wire import BITMAP_BYTES, BLOCK_HEAD, SPARSE_ITEM, TILE_PIXELS, TILE_SIDE, BlockKind, tile_shape

_SPARSE_DTYPE = np.dtype([("offset", "<u2"), ("color", "u1")])

assert _SPARSE_DTYPE.itemsize == SPARSE_ITEM.size


class _Bodies(NamedTuple):
    """Where in a DELTA the blocks of each kind are: tiles, positions of bodies, and how many cells each has."""

    tiles: tuple[list[int], list[int], list[int]]
    starts: tuple[list[int], list[int], list[int]]
    counts: tuple[list[int], list[int], list[int]]


def changed_cells(body: bytes, count: int, width: int, height: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The cells that `count` blocks tell: (y * width + x, colour), both shape (n,), each cell once a block.

    `body` holds the blocks exactly; the canvas is `width` x `height`. Raises ProtocolViolation.
    """
    bodies = _find(body, count, width, height)
    data = np.frombuffer(body, np.uint8)
    parts = [
        _sparse_cells(data, bodies.starts[0], bodies.counts[0]),
        _bitmap_cells(data, bodies.starts[1], bodies.counts[1]),
        _full_cells(data, bodies.starts[2]),
    ]
    tiles = [np.repeat(np.array(bodies.tiles[kind], np.int64), bodies.counts[kind]) for kind in BlockKind]
    tile = np.concatenate(tiles)
    offset = np.concatenate([offsets for offsets, _ in parts]).astype(np.int64)
    color = np.concatenate([colors for _, colors in parts])
    if len(offset) and int(offset.max()) >= TILE_PIXELS:
        raise _fault(f"offset {int(offset.max())} in a block; offsets are 0 to {TILE_PIXELS - 1}")
    across, _ = tile_shape(width, height)
    x = tile % across * TILE_SIDE + offset % TILE_SIDE
    y = tile // across * TILE_SIDE + offset // TILE_SIDE
    inside = (x < width) & (y < height)
    return (y * width + x)[inside], color[inside]


def _find(body: bytes, count: int, width: int, height: int) -> _Bodies:
    """Walk from block to block, which is all that has to be done one by one."""
    found = _Bodies(([], [], []), ([], [], []), ([], [], []))
    across, down = tile_shape(width, height)
    at, size = 0, len(body)
    for index in range(count):
        if size - at < BLOCK_HEAD.size + 1:
            raise _fault(f"DELTA ends at block {index} of {count}")
        tile, kind = body[at] | body[at + 1] << 8, body[at + 2]
        at += BLOCK_HEAD.size
        if tile >= across * down:
            raise _fault(f"tile {tile} of a canvas that has {across * down}")
        if kind == BlockKind.SPARSE:
            cells = body[at]
            start, at = at + 1, at + 1 + SPARSE_ITEM.size * cells
        elif kind == BlockKind.BITMAP:
            cells = int.from_bytes(body[at : at + BITMAP_BYTES], "little").bit_count()
            start, at = at, at + BITMAP_BYTES + cells
        elif kind == BlockKind.FULL:
            cells = TILE_PIXELS
            start, at = at, at + TILE_PIXELS
        else:
            raise _fault(f"block kind {kind} of tile {tile} is unknown; kinds are 0, 1 and 2")
        if at > size:
            raise _fault(f"block of tile {tile} is {at - size} bytes short")
        found.tiles[kind].append(tile)
        found.starts[kind].append(start)
        found.counts[kind].append(cells)
    if at != size:
        raise _fault(f"DELTA has {size - at} bytes after its {count} blocks")
    return found


def _fault(reason: str) -> ProtocolViolation:
    return ProtocolViolation(CloseCode.PROTOCOL_ERROR, reason)


def _runs(starts: list[int], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, ... of each run, one after another."""
    before = np.cumsum(lengths) - lengths
    runs: NDArray[np.int64] = np.arange(int(lengths.sum())) + np.repeat(np.array(starts, np.int64) - before, lengths)
    return runs


def _sparse_cells(
    data: NDArray[np.uint8], starts: list[int], counts: list[int]
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Offsets and colours of all sparse blocks."""
    where = _runs(starts, np.array(counts, np.int64) * SPARSE_ITEM.size)
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
