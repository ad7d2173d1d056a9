"""Encode: blocks and DELTA frames from dirty tiles, against the plain reference and a viewer who applies them."""

import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.kernels.apply import apply
from server.kernels.encode import encode_block, encode_region, encode_tick, gather_region, write_frame_head
from server.kernels.layout import HEAD_ROOM
from server.protocol.blocks import apply_blocks, decode_blocks, tile_colors
from server.protocol.blocks import encode_block as reference_block
from server.protocol.websocket import parse_head
from server.wire import FULL_BLOCK_BYTES, TILE_PIXELS, tile_shape
from support.deltas import check_frame, read_delta, room_for
from support.stages import needs_compiler, new_broadcast, new_canvas, new_loop, paint, picture

SIDES = st.one_of(st.integers(1, 100), st.sampled_from([1, 31, 32, 33, 63, 64, 65, 96]))


@st.composite
def painted(draw, ticks=4):
    """A canvas of any size with a random past: the share of pixels painted in each tick differs."""
    canvas = new_canvas(draw(SIDES), draw(SIDES))
    lots = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width, height = int(canvas.rules[0]["width"]), int(canvas.rules[0]["height"])
    for tick in range(1, ticks + 1):
        paint_at_random(canvas, lots, draw(st.sampled_from([0, 1, 3, 70, 0.07, 0.5, 0.87, 0.9, 1])), tick)
    canvas.rules[0]["tick_next"] = ticks + 1
    return canvas, width, height


def paint_at_random(canvas, lots, share, tick):
    """A number of pixels (whole) or a share of them (a fraction), all tiles alike."""
    pixels = len(canvas.pixels)
    count = min(pixels, share) if isinstance(share, int) else int(share * pixels)
    width = int(canvas.rules[0]["width"])
    for pixel in lots.choice(pixels, count, replace=False):
        paint(canvas, int(pixel) % width, int(pixel) // width, int(lots.integers(256)), tick)


def naive_changes(canvas, width, height, tile, since):
    """Offsets and colours of a tile's pixels newer than `since`."""
    across, _ = tile_shape(width, height)
    left, top = tile % across * 32, tile // across * 32
    offsets, colors = [], []
    for y in range(top, min(top + 32, height)):
        for x in range(left, min(left + 32, width)):
            if canvas.pixel_tick[y * width + x] > since:
                offsets.append((y - top) * 32 + x - left)
                colors.append(int(canvas.pixels[y * width + x]))
    return offsets, bytes(colors)


@given(painted(), st.integers(0, 4))
@settings(deadline=None, max_examples=60)
def test_block_is_the_reference_block(built, since):
    canvas, width, height = built
    across, _ = tile_shape(width, height)
    out = np.full(FULL_BLOCK_BYTES + 7, 0xAA, np.uint8)
    for tile in range(len(canvas.tile_tick)):
        offsets, colors = naive_changes(canvas, width, height, tile, since)
        end, count = encode_block(canvas, tile % across, tile // across, since, out, 5)
        assert count == len(offsets)
        if not offsets:
            assert end == 5
            continue
        expected = reference_block(tile, offsets, colors, tile_colors(picture(canvas), tile))
        found = out[5:end].tobytes()
        assert len(found) == len(expected) <= FULL_BLOCK_BYTES
        # At 896 changes bitmap and full are equally long, and either may be taken.
        assert found == expected or len(offsets) == TILE_PIXELS - 128
        (block,) = decode_blocks(found, 1)
        assert dict(zip(offsets, colors, strict=True)).items() <= dict(zip(*block[1:], strict=True)).items()


@pytest.mark.parametrize("count", [1, 63, 64, 65, 255, 256, 895, 896, 897, 1024])
def test_the_smallest_kind_is_taken_at_every_border(count):
    canvas = new_canvas(32, 32)
    for offset in range(count):
        paint(canvas, offset % 32, offset // 32, offset & 255)
    out = np.zeros(FULL_BLOCK_BYTES, np.uint8)
    end, _ = encode_block(canvas, 0, 0, 0, out, 0)
    lengths = {0: 4 + 3 * count if count < 256 else 9999, 1: 3 + 128 + count, 2: 3 + 1024}
    assert end == min(lengths.values()) == lengths[int(out[2])]


@given(
    st.sampled_from([0, 1, 117, 118, 65527, 65528, 1 << 20]),
    st.integers(0, 65535),
    st.integers(0, 1),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_frame_head_is_the_plain_one(size, count, encoding, tick):
    out = np.full(HEAD_ROOM + 1, 0xAA, np.uint8)
    start = write_frame_head(out, HEAD_ROOM, size, count, encoding, tick)
    head = parse_head(out[start:HEAD_ROOM].tobytes(), 0)
    assert head is not None and head.mask_key is None and head.is_final
    assert (head.opcode, head.payload_bytes) == (2, size + 8)
    body = out[start + head.head_bytes : HEAD_ROOM].tobytes()
    assert body == bytes([0x82, encoding]) + count.to_bytes(2, "little") + tick.to_bytes(4, "little")
    assert out[HEAD_ROOM] == 0xAA


@st.composite
def regions(draw, canvas):
    across, down = int(canvas.rules[0]["tiles_across"]), int(canvas.rules[0]["tiles_down"])
    x0, y0 = draw(st.integers(0, across)), draw(st.integers(0, down))
    return x0, y0, draw(st.integers(x0, across)), draw(st.integers(y0, down))


@given(painted(), st.integers(0, 4), st.data())
@settings(deadline=None, max_examples=60)
def test_region_frame_brings_a_laggard_up_to_now(built, since, data):
    canvas, _, _ = built
    tiles = data.draw(regions(canvas))
    out = room_for(canvas)
    check_frame(canvas, tiles, since, 4, out, encode_region(canvas, tiles, since, 4, out))


@given(painted(), st.data())
@settings(deadline=None, max_examples=60)
def test_tick_frame_and_its_parts_bring_everybody_up_to_now(built, data):
    canvas, _, _ = built
    broadcast = new_broadcast(canvas)
    broadcast.head[0]["tick"] = 3
    everything = (0, 0, int(canvas.rules[0]["tiles_across"]), int(canvas.rules[0]["tiles_down"]))
    merged = encode_tick(canvas, broadcast, 4)
    head = broadcast.head[0]
    if merged == 0:
        assert (head["tick"], head["frame_end"]) == (3, 0)
        return
    assert (head["since"], head["tick"], head["pixel_count"]) == (3, 4, merged)
    frame = int(head["frame_start"]), int(head["frame_end"]), merged
    check_frame(canvas, everything, 3, 4, broadcast.bytes, frame)
    assert head["tile_count"] == len(read_delta(broadcast.bytes[frame[0] : frame[1]].tobytes()).blocks)
    tiles = data.draw(regions(canvas))
    out = room_for(canvas)
    check_frame(canvas, tiles, 3, 4, out, gather_region(canvas, broadcast, tiles, out))


def test_a_tick_without_changes_keeps_the_last_broadcast():
    canvas = new_canvas()
    broadcast = new_broadcast(canvas)
    paint(canvas, 1, 1, 9)
    assert encode_tick(canvas, broadcast, 1) == 1
    kept = broadcast.head[0].copy(), broadcast.bytes.copy()
    assert encode_tick(canvas, broadcast, 2) == 0
    assert (broadcast.head[0], broadcast.bytes.tobytes()) == (kept[0], kept[1].tobytes())


@given(st.lists(st.lists(st.tuples(st.integers(0, 69), st.integers(0, 44), st.integers(0, 255))), max_size=8))
@settings(deadline=None, max_examples=60)
@example([[(0, 0, 1)], [], [(0, 0, 2)], [(69, 44, 3)]])
def test_viewers_who_apply_every_frame_hold_the_canvas(ticks):
    """One follows the broadcast, one catches up every third tick; both hold the canvas whenever they are up to date."""
    canvas, seen, late = new_canvas(), np.zeros((45, 70), np.uint8), np.zeros((45, 70), np.uint8)
    broadcast, out, cursor = new_broadcast(canvas), room_for(canvas), 0
    merged, merged_ticks = Counter(), {}
    for tick, batch in enumerate(ticks, 1):
        canvas.rules[0]["tick_next"] = tick
        for x, y, color in batch:
            paint(canvas, x, y, color)
        placed = {(x, y) for x, y, _ in batch}
        merged += Counter(y // 32 * 3 + x // 32 for x, y in placed)
        merged_ticks |= dict.fromkeys((y // 32 * 3 + x // 32 for x, y in placed), tick)
        if encode_tick(canvas, broadcast, tick):
            start, end = int(broadcast.head[0]["frame_start"]), int(broadcast.head[0]["frame_end"])
            apply_blocks(seen, read_delta(broadcast.bytes[start:end].tobytes()).blocks)
        assert (seen == picture(canvas)).all()
        if tick % 3 == 0:
            start, end, _ = encode_region(canvas, (0, 0, 3, 2), cursor, tick, out)
            if end > start:
                apply_blocks(late, read_delta(out[start:end].tobytes()).blocks)
            cursor = tick
            assert (late == picture(canvas)).all()
    for name, expected in (("merged_count", merged), ("merged_tick", merged_ticks)):
        assert {tile: int(placed) for tile, placed in enumerate(canvas.tiles[name]) if placed} == expected


@needs_compiler
@pytest.mark.parametrize("already", [10, 62, 63, 250, 880])
def test_a_block_stays_whole_while_another_loop_paints(already):
    """Each frame made meanwhile can be decoded, fits its room, and holds all that had changed before it was begun."""
    for _ in range(20):
        canvas = new_canvas(32, 32)
        for offset in range(already):
            paint(canvas, offset % 32, offset // 32, 7)
        loop = new_loop(canvas, placements=1 << 17)
        paint_slowly(loop, range(already, TILE_PIXELS))
        painter = threading.Thread(target=apply, args=(loop, canvas, len(loop.placements)))
        painter.start()
        frames = [frame_with_margin(canvas)]
        while painter.is_alive():
            frames.append(frame_with_margin(canvas))
        painter.join()
        for frame in frames:
            (block,) = read_delta(frame).blocks
            colors = dict(zip(block.offsets, block.colors, strict=True))
            assert all(colors[offset] == 7 for offset in range(already))
        assert picture(canvas).all()


def paint_slowly(loop, offsets):
    """Fill the placement queue so that one more pixel changes now and then."""
    pixels = np.repeat(np.array(offsets[::-1]), len(loop.placements) // len(offsets))
    loop.placements["pixel"][: len(pixels)] = pixels
    loop.placements["color"] = 9
    loop.queues[0]["placement_end"] = len(pixels)


def frame_with_margin(canvas):
    """A frame of the whole canvas, made before a margin that must stay untouched."""
    out = np.full(HEAD_ROOM + FULL_BLOCK_BYTES + 2048, 0xAA, np.uint8)
    start, end, _ = encode_region(canvas, (0, 0, 1, 1), 0, 1, out)
    assert (out[HEAD_ROOM + FULL_BLOCK_BYTES :] == 0xAA).all()
    return out[start:end].tobytes()
