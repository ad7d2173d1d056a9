"""Encode: from dirty tiles to tile blocks and DELTA frames, the smallest kind of each block; and from blocks back to
pixels.
"""

from server import wire
from server.kernels.kernel import kernel
from server.kernels.layout import HEAD_ROOM
from server.wire import BITMAP_BYTES, TILE_PIXELS, TILE_SIDE

SPARSE, BITMAP, FULL = int(wire.BlockKind.SPARSE), int(wire.BlockKind.BITMAP), int(wire.BlockKind.FULL)
_HEAD_BYTES, _ITEM_BYTES = wire.BLOCK_HEAD.size, wire.SPARSE_ITEM.size
_BITMAP_MAX = TILE_PIXELS - BITMAP_BYTES
_DELTA = int(wire.ServerOp.DELTA)
_DELTA_HEAD = wire.DELTA.size


@kernel
def _write_u16(buffer, at, value):
    buffer[at] = value & 0xFF
    buffer[at + 1] = (value >> 8) & 0xFF


@kernel
def _count_changed(canvas, tile_x, tile_y, since):
    """Pixels of a tile that changed after tick `since`."""
    # Nothing is ever marked clean: a pixel is dirty for a receiver when its tick is newer than the receiver's cursor.
    # So the same arrays serve the tick's one broadcast and any viewer that lags.
    rules = canvas.rules[0]
    width = int(rules.width)
    columns = min(TILE_SIDE, width - tile_x * TILE_SIDE)
    rows = min(TILE_SIDE, int(rules.height) - tile_y * TILE_SIDE)
    count = 0
    for row in range(rows):
        first = (tile_y * TILE_SIDE + row) * width + tile_x * TILE_SIDE
        for column in range(columns):
            count += canvas.pixel_tick[first + column] > since
    return count


@kernel
def _write_sparse(canvas, tile_x, tile_y, since, out, at):
    """Write a sparse body. Returns (end, pixels); pixels is -1 when there are more than a byte can count."""
    rules = canvas.rules[0]
    width = int(rules.width)
    columns = min(TILE_SIDE, width - tile_x * TILE_SIDE)
    rows = min(TILE_SIDE, int(rules.height) - tile_y * TILE_SIDE)
    head = at
    at += 1
    count = 0
    for row in range(rows):
        first = (tile_y * TILE_SIDE + row) * width + tile_x * TILE_SIDE
        for column in range(columns):
            if canvas.pixel_tick[first + column] > since:
                if count == wire.SPARSE_COUNT_MAX:
                    return head, -1
                _write_u16(out, at, row * TILE_SIDE + column)
                out[at + 2] = canvas.pixels[first + column]
                at += _ITEM_BYTES
                count += 1
    out[head] = count
    return at, count


@kernel
def _write_bitmap(canvas, tile_x, tile_y, since, out, at):
    """Write a bitmap body. Returns (end, pixels); pixels is -1 when the full kind is as short."""
    rules = canvas.rules[0]
    width = int(rules.width)
    columns = min(TILE_SIDE, width - tile_x * TILE_SIDE)
    rows = min(TILE_SIDE, int(rules.height) - tile_y * TILE_SIDE)
    bits = at
    out[bits : bits + BITMAP_BYTES] = 0
    at += BITMAP_BYTES
    count = 0
    for row in range(rows):
        first = (tile_y * TILE_SIDE + row) * width + tile_x * TILE_SIDE
        for column in range(columns):
            if canvas.pixel_tick[first + column] > since:
                # Another loop has painted since the pixels were counted. With this many, the full kind is as short.
                if count == _BITMAP_MAX:
                    return bits, -1
                offset = row * TILE_SIDE + column
                out[bits + (offset >> 3)] |= 1 << (offset & 7)
                out[at] = canvas.pixels[first + column]
                at += 1
                count += 1
    return at, count


@kernel
def _write_full(canvas, tile_x, tile_y, out, at):
    rules = canvas.rules[0]
    width = int(rules.width)
    columns = min(TILE_SIDE, width - tile_x * TILE_SIDE)
    rows = min(TILE_SIDE, int(rules.height) - tile_y * TILE_SIDE)
    # Cells beyond the edge of the canvas are sent as 0.
    if columns < TILE_SIDE or rows < TILE_SIDE:
        out[at : at + TILE_PIXELS] = 0
    for row in range(rows):
        first = (tile_y * TILE_SIDE + row) * width + tile_x * TILE_SIDE
        for column in range(columns):
            out[at + row * TILE_SIDE + column] = canvas.pixels[first + column]
    return at + TILE_PIXELS


@kernel
def encode_block(canvas, tile_x, tile_y, since, out, at):
    """Write one tile block of all that changed after tick `since` to `out[at:]`.

    canvas: read. out: uint8, written from `at`, at most FULL_BLOCK_BYTES bytes, which the caller provides. Cost:
    O(1024). Returns (end, pixels); (at, 0) when nothing changed. Other loops may paint meanwhile: the set of changed
    pixels can only grow, so each kind counts what it writes, and a kind that grows too long gives way to the next.
    """
    count = _count_changed(canvas, tile_x, tile_y, since)
    if count == 0:
        return at, 0
    _write_u16(out, at, tile_y * int(canvas.rules[0].tiles_across) + tile_x)
    body = at + _HEAD_BYTES
    if 1 + _ITEM_BYTES * count <= BITMAP_BYTES + count:
        end, written = _write_sparse(canvas, tile_x, tile_y, since, out, body)
        if written >= 0:
            out[at + 2] = SPARSE
            return end, written
    if count < _BITMAP_MAX:
        end, written = _write_bitmap(canvas, tile_x, tile_y, since, out, body)
        if written >= 0:
            out[at + 2] = BITMAP
            return end, written
    out[at + 2] = FULL
    return _write_full(canvas, tile_x, tile_y, out, body), count


@kernel
def write_frame_head(out, start_of_blocks, block_bytes, block_count, encoding, tick):
    """Write DELTA head and, before it, the WebSocket header so that they end at `start_of_blocks`.

    out: uint8, written in [start_of_blocks - HEAD_ROOM, start_of_blocks). Returns where the frame starts.
    """
    at = start_of_blocks - _DELTA_HEAD
    out[at] = _DELTA
    out[at + 1] = encoding
    _write_u16(out, at + 2, block_count)
    _write_u16(out, at + 4, tick & 0xFFFF)
    _write_u16(out, at + 6, (tick >> 16) & 0xFFFF)
    length = block_bytes + _DELTA_HEAD
    if length < wire.LENGTH_16:
        at -= wire.SERVER_HEAD_BYTES
        out[at + 1] = length
    elif length < 65536:
        at -= wire.SERVER_HEAD_BYTES + 2
        out[at + 1] = wire.LENGTH_16
        out[at + 2] = length >> 8
        out[at + 3] = length & 0xFF
    else:
        at -= wire.SERVER_HEAD_BYTES_MAX
        out[at + 1] = wire.LENGTH_64
        for i in range(8):
            out[at + 2 + i] = (length >> (8 * (7 - i))) & 0xFF
    out[at] = wire.BINARY_FRAME
    return at


@kernel
def encode_region(canvas, tiles, since, until, out):
    """Make one DELTA frame of all that changed after `since` in the tiles (x0, y0, x1, y1), half open.

    canvas: read. out: uint8, room for HEAD_ROOM and one block per tile, written. Cost: O(tiles) + 1024 per changed
    tile. Returns (start, end, pixels) of the frame in `out`; pixels is 0 when nothing changed and there is no frame.
    """
    x0, y0, x1, y1 = tiles
    across = int(canvas.rules[0].tiles_across)
    at, pixel_count, block_count = HEAD_ROOM, 0, 0
    for tile_y in range(y0, y1):
        for tile_x in range(x0, x1):
            if canvas.tile_tick[tile_y * across + tile_x] > since:
                at, changed = encode_block(canvas, tile_x, tile_y, since, out, at)
                pixel_count += changed
                block_count += changed > 0
    if block_count == 0:
        return HEAD_ROOM, HEAD_ROOM, 0
    start = write_frame_head(out, HEAD_ROOM, at - HEAD_ROOM, block_count, 0, until)
    return start, at, pixel_count


@kernel
def _is_dirty(canvas, tick):
    """True when any tile changed in `tick`."""
    for tile in range(len(canvas.tile_tick)):
        if canvas.tile_tick[tile] == tick:
            return True
    return False


@kernel
def encode_tick(canvas, broadcast, tick):
    """Make the broadcast of `tick`: the blocks of all tiles it changed, and the whole-canvas frame around them.

    canvas: read, and its tiles' counts written. broadcast.bytes, block_start, head: written in place, while no loop
    runs. Cost: O(tiles) + 1024 per dirty tile. When nothing changed, the broadcast stays as it was, for viewers that
    still lack it. Returns the number of merged pixel changes.
    """
    if not _is_dirty(canvas, tick):
        return 0
    rules = canvas.rules[0]
    across, down = int(rules.tiles_across), int(rules.tiles_down)
    at, pixel_count, block_count = HEAD_ROOM, 0, 0
    for tile in range(across * down):
        broadcast.block_start[tile] = at
        broadcast.block_pixels[tile] = 0
        # After tick - 1, not after the last broadcast: ticks without changes have none.
        if canvas.tile_tick[tile] == tick:
            at, changed = encode_block(canvas, tile % across, tile // across, tick - 1, broadcast.bytes, at)
            broadcast.block_pixels[tile] = changed
            canvas.tiles[tile].merged_count += changed
            canvas.tiles[tile].merged_tick = tick
            pixel_count += changed
            block_count += changed > 0
    broadcast.block_start[across * down] = at
    head = broadcast.head[0]
    head.pixel_count = pixel_count
    head.tile_count = block_count
    # A viewer whose cursor is there or later lacks only this broadcast.
    head.since = head.tick
    head.tick = tick
    head.frame_start = write_frame_head(broadcast.bytes, HEAD_ROOM, at - HEAD_ROOM, block_count, 0, tick)
    head.frame_end = at
    return pixel_count


@kernel
def gather_region(canvas, broadcast, tiles, out):
    """Make one DELTA frame of the newest tick's blocks in the tiles (x0, y0, x1, y1), by copying them.

    broadcast: read. out: uint8, room for HEAD_ROOM and one block per tile, written. Cost: O(tiles) and a copy of
    their bytes. Returns (start, end, pixels), as `encode_region`.
    """
    x0, y0, x1, y1 = tiles
    across = int(canvas.rules[0].tiles_across)
    at, pixel_count, block_count = HEAD_ROOM, 0, 0
    for tile_y in range(y0, y1):
        row = tile_y * across
        # Blocks of neighbours in a row of tiles are contiguous; a tile without changes has an empty one.
        first, last = int(broadcast.block_start[row + x0]), int(broadcast.block_start[row + x1])
        for i in range(last - first):
            out[at + i] = broadcast.bytes[first + i]
        at += last - first
        for tile in range(row + x0, row + x1):
            pixel_count += int(broadcast.block_pixels[tile])
            block_count += broadcast.block_pixels[tile] > 0
    if block_count == 0:
        return HEAD_ROOM, HEAD_ROOM, 0
    start = write_frame_head(out, HEAD_ROOM, at - HEAD_ROOM, block_count, 0, int(broadcast.head[0].tick))
    return start, at, pixel_count


@kernel
def _paint_cell(canvas, left, top, offset, color, tick):
    """Write one cell of a tile; cells beyond the edge of the canvas are ignored."""
    rules = canvas.rules[0]
    x, y = left + offset % TILE_SIDE, top + offset // TILE_SIDE
    if x < rules.width and y < rules.height:
        canvas.pixels[y * int(rules.width) + x] = color
        canvas.pixel_tick[y * int(rules.width) + x] = tick


@kernel
def _paint_sparse(blocks, at, canvas, left, top, tick):
    count = int(blocks[at])
    end = at + 1 + _ITEM_BYTES * count
    if end > len(blocks):
        return -1
    for i in range(at + 1, end, _ITEM_BYTES):
        offset = int(blocks[i]) | int(blocks[i + 1]) << 8
        _paint_cell(canvas, left, top, offset % TILE_PIXELS, blocks[i + 2], tick)
    return end


@kernel
def _paint_bitmap(blocks, at, canvas, left, top, tick):
    color_at = at + BITMAP_BYTES
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
    """Apply the blocks of one tick to a canvas that is one tick behind, and mark their pixels with the tick.

    blocks: uint8, read, `count` blocks and nothing else. canvas.pixels, pixel_tick, tile_tick: written in place; the
    rest read. Owner: the caller, while no loop runs. Cost: O(cells), 1024 per full or bitmap block. Every cell is
    checked against the canvas's edges, every length against the blocks' end. Returns False, with a part applied, when
    the blocks are malformed.
    """
    across, down = int(canvas.rules[0].tiles_across), int(canvas.rules[0].tiles_down)
    at = 0
    for _ in range(count):
        if at + _HEAD_BYTES >= len(blocks):
            return False
        tile, kind = int(blocks[at]) | int(blocks[at + 1]) << 8, blocks[at + 2]
        if tile >= across * down:
            return False
        left, top = tile % across * TILE_SIDE, tile // across * TILE_SIDE
        if kind == SPARSE:
            at = _paint_sparse(blocks, at + _HEAD_BYTES, canvas, left, top, tick)
        elif kind == BITMAP:
            at = _paint_bitmap(blocks, at + _HEAD_BYTES, canvas, left, top, tick)
        elif kind == FULL:
            at = _paint_full(blocks, at + _HEAD_BYTES, canvas, left, top, tick)
        else:
            return False
        if at < 0:
            return False
        canvas.tile_tick[tile] = tick
    return at == len(blocks)
