"""What devices receive: the compiled half of the viewers.

Thousands of viewers receive the same bytes. So a viewer does not hold a canvas but the index of a state, and a frame
leads from one state to the next along a branch that `devices.viewer` has taught once. Following a branch is one
comparison of bytes, every one of them. Invariant: two viewers are in one state only if they hold the same canvas.
"""

import numpy as np

from devices.kernels.layout import BRANCHES, Probe, Verdict
from server.kernels.histogram import record
from server.kernels.kernel import address_of, kernel
from server.kernels.layout import TILE_PIXELS, TILE_SIDE
from server.kernels.libc import memcmp
from server.protocol.blocks import BITMAP_BYTES, BlockKind
from server.protocol.messages import PONG, THROTTLED, Reason, ServerOp

_SNAPSHOT, _DELTA, _THROTTLED = int(ServerOp.SNAPSHOT), int(ServerOp.DELTA), int(ServerOp.THROTTLED)
_PONG, _NOTICE = int(ServerOp.PONG), int(ServerOp.NOTICE)
_RATE, _OVERLOAD, _BOUNDS = int(Reason.RATE), int(Reason.OVERLOAD), int(Reason.OUT_OF_BOUNDS)
_SPARSE, _BITMAP, _FULL = int(BlockKind.SPARSE), int(BlockKind.BITMAP), int(BlockKind.FULL)
_DONE, _UNKNOWN, _VIOLATION = int(Verdict.DONE), int(Verdict.UNKNOWN), int(Verdict.VIOLATION)
_NONE, _PINGED, _ANSWERED = int(Probe.NONE), int(Probe.PINGED), int(Probe.ANSWERED)
_THROTTLED_BYTES, _PONG_BYTES = THROTTLED.size, PONG.size


@kernel
def read_u32(buffer, at):
    """A little-endian u32 as int64. `buffer`: (>= at + 4,) u1."""
    return (
        np.int64(buffer[at])
        | np.int64(buffer[at + 1]) << 8
        | np.int64(buffer[at + 2]) << 16
        | np.int64(buffer[at + 3]) << 24
    )


@kernel
def _put(pixels, before, tile, offset, color):
    """Set one cell of a tile. Returns (on the canvas, changed): 0 or 1 each."""
    across = (pixels.shape[1] + TILE_SIDE - 1) // TILE_SIDE
    y = tile // across * TILE_SIDE + offset // TILE_SIDE
    x = tile % across * TILE_SIDE + offset % TILE_SIDE
    if y >= pixels.shape[0] or x >= pixels.shape[1]:
        return 0, 0
    pixels[y, x] = color
    return 1, 1 if before[y, x] != color else 0


@kernel
def apply_blocks(pixels, before, body, count):
    """Apply `count` tile blocks to `pixels`, which held `before`.

    pixels, before: (height, width) u1, of which `pixels` is written in place; body: (n,) u1, all blocks and nothing
    else. Returns the number of pixel changes told, or -1 where the blocks break the protocol. The sparse and bitmap
    kinds tell each change; of the full kind those cells count that differ. Each read is checked against the body's
    end first, each tile and offset against its limit. Cost: one write a pixel.
    """
    across = (pixels.shape[1] + TILE_SIDE - 1) // TILE_SIDE
    tiles = across * ((pixels.shape[0] + TILE_SIDE - 1) // TILE_SIDE)
    at, told = 0, 0
    for _ in range(count):
        if at + 3 > len(body):
            return -1
        tile, kind = np.int64(body[at]) | np.int64(body[at + 1]) << 8, body[at + 2]
        at += 3
        if tile >= tiles:
            return -1
        if kind == _SPARSE:
            if at >= len(body) or at + 1 + 3 * np.int64(body[at]) > len(body):
                return -1
            items = np.int64(body[at])
            at += 1
            for _ in range(items):
                offset = np.int64(body[at]) | np.int64(body[at + 1]) << 8
                if offset >= TILE_PIXELS:
                    return -1
                told += _put(pixels, before, tile, offset, body[at + 2])[0]
                at += 3
        elif kind == _BITMAP:
            color_at = at + BITMAP_BYTES
            if color_at > len(body):
                return -1
            for offset in range(TILE_PIXELS):
                if body[at + (offset >> 3)] >> (offset & 7) & 1:
                    if color_at >= len(body):
                        return -1
                    told += _put(pixels, before, tile, offset, body[color_at])[0]
                    color_at += 1
            at = color_at
        elif kind == _FULL:
            if at + TILE_PIXELS > len(body):
                return -1
            for offset in range(TILE_PIXELS):
                told += _put(pixels, before, tile, offset, body[at + offset])[1]
            at += TILE_PIXELS
        else:
            return -1
    return told if at == len(body) else -1


@kernel
def move_viewer(arrays, d, state):
    """Put viewer d into `state`. Writes the holders of both states."""
    device = arrays.devices[d]
    arrays.states[device.state].holders -= 1
    arrays.states[state].holders += 1
    device.state = state


@kernel
def _follow(arrays, d, buffer, start, size):
    """The branch of viewer d's state whose frame is these bytes, or -1. Cost: mostly one memcmp."""
    state = arrays.devices[d].state
    address = address_of(buffer) + start
    for i in range(BRANCHES):
        frame = arrays.branches[state, i].frame
        if frame < 0 or arrays.frames[frame].size != size:
            continue
        if memcmp(arrays.frames[frame].pointer, address, size) == 0:
            return i
    return -1


@kernel
def _end_probe(arrays, d, now_ns):
    """Record how long each placement of the probed batch took from its intended time to this view of it."""
    device = arrays.devices[d]
    for i in range(device.probe_count):
        value_us = max((now_ns - arrays.probe_times[d, i]) // 1000, 0)
        record(arrays.latency, value_us, 1)
        arrays.latency_max_us[0] = max(arrays.latency_max_us[0], value_us)
    device.probe = _NONE


@kernel
def _see(arrays, d, buffer, start, size, now_ns):
    """A SNAPSHOT or DELTA: follow its branch, count it, and end the probe that waited for it."""
    device, counters = arrays.devices[d], arrays.counters[0]
    branch_index = _follow(arrays, d, buffer, start, size)
    if branch_index < 0:
        return _UNKNOWN
    branch = arrays.branches[device.state, branch_index]
    tick = arrays.frames[branch.frame].tick
    if branch.op == _SNAPSHOT:
        counters.snapshot_count += 1
        if not device.seen:
            device.seen = 1
            counters.subscriber_count += 1
    else:
        counters.delta_count += 1
        counters.delta_pixel_count += branch.pixel_count
        if device.probe == _ANSWERED and tick > device.probe_tick:
            _end_probe(arrays, d, now_ns)
    move_viewer(arrays, d, branch.state)
    return _DONE


@kernel
def _throttled(arrays, d, buffer, start):
    """A THROTTLED: what was dropped since the last one counts for the reason that this one gives."""
    device, counters = arrays.devices[d], arrays.counters[0]
    dropped, reason = read_u32(buffer, start + 4), buffer[start + 1]
    fresh = (dropped - np.int64(device.dropped)) & 0xFFFFFFFF
    device.dropped = dropped
    if reason == _RATE:
        counters.throttled_count += fresh
    elif reason == _OVERLOAD:
        counters.shed_count += fresh
    elif reason == _BOUNDS:
        counters.out_of_bounds_count += fresh
    else:
        return _VIOLATION
    return _DONE


@kernel
def receive_message(arrays, d, buffer, start, size, now_ns):
    """Take one canvas message for device d: buffer[start : start + size], at the time of its receipt.

    buffer: (>= start + size,) u1, read only. Returns a Verdict: DONE; UNKNOWN, nothing was done and `devices.viewer`
    is to teach the frame; VIOLATION. Cost: one comparison of the bytes.
    """
    device = arrays.devices[d]
    op = buffer[start] if size > 0 else 0
    if op in (_DELTA, _SNAPSHOT):
        return _see(arrays, d, buffer, start, size, now_ns)
    if op == _PONG and size == _PONG_BYTES:
        nonce = np.uint64(read_u32(buffer, start + 4)) | np.uint64(read_u32(buffer, start + 8)) << np.uint64(32)
        if device.probe == _PINGED and device.probe_nonce == nonce:
            device.probe_tick = read_u32(buffer, start + 12)
            device.probe = _ANSWERED if device.probe_count > 0 else _NONE
        return _DONE
    if op == _THROTTLED and size == _THROTTLED_BYTES:
        return _throttled(arrays, d, buffer, start)
    return _DONE if op == _NOTICE and size >= 2 else _VIOLATION
