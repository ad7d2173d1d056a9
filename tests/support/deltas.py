"""What a DELTA frame must hold, said plainly: all that its viewer lacks in the tiles it watches, and nothing else."""

import numpy as np

from server.kernels.layout import HEAD_ROOM
from server.protocol.blocks import apply_blocks
from server.protocol.messages import Delta, decode_server_message
from server.protocol.websocket import parse_head
from server.wire import FULL_BLOCK_BYTES
from support.stages import picture


def read_delta(frame):
    """The DELTA that is the whole of one WebSocket frame."""
    head = parse_head(frame, 0)
    assert head is not None and head.mask_key is None
    assert len(frame) == head.head_bytes + head.payload_bytes
    delta = decode_server_message(frame[head.head_bytes :])
    assert isinstance(delta, Delta)
    return delta


def room_for(canvas):
    return np.zeros(HEAD_ROOM + len(canvas.tile_tick) * FULL_BLOCK_BYTES, np.uint8)


def touched_since(canvas, tiles, since):
    """{(x, y): colour} of what a viewer of `tiles` lacks."""
    width, height = int(canvas.rules[0]["width"]), int(canvas.rules[0]["height"])
    x0, y0, x1, y1 = tiles
    return {
        (x, y): int(canvas.pixels[y * width + x])
        for y in range(y0 * 32, min(y1 * 32, height))
        for x in range(x0 * 32, min(x1 * 32, width))
        if canvas.pixel_tick[y * width + x] > since
    }


def check_frame(canvas, tiles, since, until, out, result):
    """The frame brings a viewer of `tiles` from `since` to now, and touches no tile outside them."""
    start, end, count = result
    lacks = touched_since(canvas, tiles, since)
    assert count == len(lacks)
    if not lacks:
        assert start == end
        return
    delta = read_delta(out[start:end].tobytes())
    assert delta.tick == until
    seen = picture(canvas)
    for x, y in lacks:
        seen[y, x] ^= 0xFF
    apply_blocks(seen, delta.blocks)
    assert (seen == picture(canvas)).all()
    across = int(canvas.rules[0]["tiles_across"])
    x0, y0, x1, y1 = tiles
    assert all(x0 <= block.tile % across < x1 and y0 <= block.tile // across < y1 for block in delta.blocks)
    assert len({block.tile for block in delta.blocks}) == len(delta.blocks)
