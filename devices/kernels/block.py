"""Tile blocks of a DELTA, applied to a canvas or to the part of it that a viewer watches. Every read is checked."""

import numpy as np

from devices.kernels.number import read_u16
from server.kernels.kernel import kernel
from server.kernels.layout import TILE_PIXELS, TILE_SIDE
from server.protocol.blocks import BITMAP_BYTES, BlockKind

_SPARSE, _BITMAP, _FULL = int(BlockKind.SPARSE), int(BlockKind.BITMAP), int(BlockKind.FULL)


@kernel
def _put(pixels, before, origin, offset, color):
    """Set one cell of the tile whose corner is at `origin` of `pixels`. Returns (within them, changed): 0 or 1 each."""
    x, y = origin[0] + offset % TILE_SIDE, origin[1] + offset // TILE_SIDE
    if y < 0 or x < 0 or y >= pixels.shape[0] or x >= pixels.shape[1]:
        return 0, 0
    pixels[y, x] = color
    return 1, 1 if before[y, x] != color else 0


@kernel
def _put_sparse(pixels, before, origin, body, at):
    """A body of the sparse kind. Returns (where it ends or -1, changes told)."""
    if at >= len(body) or at + 1 + 3 * np.int64(body[at]) > len(body):
        return -1, 0
    told, items = 0, np.int64(body[at])
    at += 1
    for _ in range(items):
        offset = read_u16(body, at)
        if offset >= TILE_PIXELS:
            return -1, 0
        told += _put(pixels, before, origin, offset, body[at + 2])[0]
        at += 3
    return at, told


@kernel
def _put_bitmap(pixels, before, origin, body, at):
    """A body of the bitmap kind. Returns (where it ends or -1, changes told)."""
    told, color_at = 0, at + BITMAP_BYTES
    if color_at > len(body):
        return -1, 0
    for offset in range(TILE_PIXELS):
        if body[at + (offset >> 3)] >> (offset & 7) & 1:
            if color_at >= len(body):
                return -1, 0
            told += _put(pixels, before, origin, offset, body[color_at])[0]
            color_at += 1
    return color_at, told


@kernel
def _put_full(pixels, before, origin, body, at):
    """A body of the full kind, of which those cells are told that differ. Returns (where it ends or -1, changes)."""
    if at + TILE_PIXELS > len(body):
        return -1, 0
    told = 0
    for offset in range(TILE_PIXELS):
        told += _put(pixels, before, origin, offset, body[at + offset])[1]
    return at + TILE_PIXELS, told


@kernel
def apply_region_blocks(pixels, before, body, count, corner, canvas):
    """Apply `count` tile blocks to `pixels`, which held `before` and begin at `corner` (x, y) of the canvas.

    pixels, before: (height, width) u1, of which `pixels` is written in place; canvas: its (width, height); body: (n,)
    u1, all blocks and nothing else. What lies outside of `pixels` is dropped. Returns the number of pixel changes
    told, or -1 where the blocks break the protocol. The sparse and bitmap kinds tell each change; of the full kind
    those cells count that differ. Each read is checked against the body's end first, each tile and offset against its
    limit. Cost: one write a pixel.
    """
    across = (canvas[0] + TILE_SIDE - 1) // TILE_SIDE
    tiles = across * ((canvas[1] + TILE_SIDE - 1) // TILE_SIDE)
    at, told = 0, 0
    for _ in range(count):
        if at + 3 > len(body):
            return -1
        tile, kind = read_u16(body, at), body[at + 2]
        if tile >= tiles:
            return -1
        origin = (tile % across * TILE_SIDE - corner[0], tile // across * TILE_SIDE - corner[1])
        more = 0
        if kind == _SPARSE:
            at, more = _put_sparse(pixels, before, origin, body, at + 3)
        elif kind == _BITMAP:
            at, more = _put_bitmap(pixels, before, origin, body, at + 3)
        elif kind == _FULL:
            at, more = _put_full(pixels, before, origin, body, at + 3)
        else:
            return -1
        if at < 0:
            return -1
        told += more
    return told if at == len(body) else -1


@kernel
def apply_blocks(pixels, before, body, count):
    """`apply_region_blocks` where `pixels` are the whole canvas."""
    canvas = (np.int64(pixels.shape[1]), np.int64(pixels.shape[0]))
    return apply_region_blocks(pixels, before, body, count, (np.int64(0), np.int64(0)), canvas)
