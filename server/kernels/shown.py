"""From blocks to pixels: brings a copy of the canvas up to a tick that may be shown.

It undoes what `tiles` does, with a canvas that is behind by just that tick. Invariant: nothing is written outside the
canvas, whatever the blocks say.
"""

from server.kernels.kernel import kernel
from server.kernels.layout import TILE_PIXELS, TILE_SIDE
from server.kernels.tiles import BITMAP, FULL, SPARSE

_BITMAP_BYTES = TILE_PIXELS // 8


@kernel
def _paint_cell(canvas, left, top, offset, color, tick):
    """One cell of a tile; those beyond the edge of the canvas are nobody's."""
    rules = canvas.rules[0]
    x, y = left + offset % TILE_SIDE, top + offset // TILE_SIDE
    if x < rules.width and y < rules.height:
        canvas.pixels[y * int(rules.width) + x] = color
        canvas.pixel_tick[y * int(rules.width) + x] = tick


@kernel
def _paint_sparse(blocks, at, canvas, left, top, tick):
    count = int(blocks[at])
    end = at + 1 + 3 * count
    if end > len(blocks):
        return -1
    for i in range(at + 1, end, 3):
        offset = int(blocks[i]) | int(blocks[i + 1]) << 8
        _paint_cell(canvas, left, top, offset % TILE_PIXELS, blocks[i + 2], tick)
    return end


@kernel
def _paint_bitmap(blocks, at, canvas, left, top, tick):
    color_at = at + _BITMAP_BYTES
    if color_at > len(blocks):
        return -1
    for offset in range(TILE_PIXELS):
        if int(blocks[at + (offset >> 3)]) >> (offset & 7) & 1:
            if color_at == len(blocks):
                return -1
            _paint_cell(canvas, left, top, offset, blocks[color_at], tick)
            color_at += 1
    return color_at


@kernel
def _paint_full(blocks, at, canvas, left, top, tick):
    if at + TILE_PIXELS > len(blocks):
        return -1
    for offset in range(TILE_PIXELS):
        _paint_cell(canvas, left, top, offset, blocks[at + offset], tick)
    return at + TILE_PIXELS


@kernel
def paint_blocks(blocks, count, canvas, tick):
    """Write the blocks of one tick to a canvas, and that it was this tick which changed their pixels.

    blocks: uint8, read, `count` blocks and nothing else. canvas.pixels, pixel_tick, tile_tick: written in place; the
    rest read. Owner: the caller, while no loop runs. Cost: O(cells), 1024 a block of the full or bitmap kind. Every
    cell is compared with the canvas's edges, every length with the blocks' end. Returns False, with a part painted,
    when the blocks are not well-formed.
    """
    across, down = int(canvas.rules[0].tiles_across), int(canvas.rules[0].tiles_down)
    at = 0
    for _ in range(count):
        if at + 4 > len(blocks):
            return False
        tile, kind = int(blocks[at]) | int(blocks[at + 1]) << 8, blocks[at + 2]
        if tile >= across * down:
            return False
        left, top = tile % across * TILE_SIDE, tile // across * TILE_SIDE
        if kind == SPARSE:
            at = _paint_sparse(blocks, at + 3, canvas, left, top, tick)
        elif kind == BITMAP:
            at = _paint_bitmap(blocks, at + 3, canvas, left, top, tick)
        elif kind == FULL:
            at = _paint_full(blocks, at + 3, canvas, left, top, tick)
        else:
            return False
        if at < 0:
            return False
        canvas.tile_tick[tile] = tick
    return at == len(blocks)
