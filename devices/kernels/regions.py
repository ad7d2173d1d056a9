"""Tile blocks of a DELTA applied to pixels, and what viewers of regions see.

Thousands of regions get frames of their own each tick, too many for Python to learn one by one as it does for the whole
canvas (`devices.fleet.viewer`). So each group of viewers has a few states and frames of its own, all in arrays. Within
a group, two states in use never show the same pixels, and a frame leads from a state to the result of its blocks, or to
no canvas if all states are in use.
"""

import numpy as np

from devices.kernels.layout import BRANCHES, REGION_SIDE, Verdict
from server import wire
from server.kernels.kernel import address_of, kernel
from server.kernels.libc import memcmp, memcpy
from server.wire import BITMAP_BYTES, TILE_PIXELS, TILE_SIDE


@kernel
def read_u16(buffer, at):
    """A little-endian u16 as int64. `buffer`: (>= at + 2,) u1."""
    return np.int64(buffer[at]) | np.int64(buffer[at + 1]) << 8


@kernel
def read_u32(buffer, at):
    """A little-endian u32 as int64. `buffer`: (>= at + 4,) u1."""
    return read_u16(buffer, at) | read_u16(buffer, at + 2) << 16


_BLOCK_HEAD, _ITEM_BYTES = wire.BLOCK_HEAD.size, wire.SPARSE_ITEM.size
_SPARSE, _BITMAP, _FULL = int(wire.BlockKind.SPARSE), int(wire.BlockKind.BITMAP), int(wire.BlockKind.FULL)


@kernel
def _put(pixels, before, origin, offset, color):
    """Set one cell of the tile whose corner is at `origin` of `pixels`. Returns (inside, changed), each 0 or 1."""
    x, y = origin[0] + offset % TILE_SIDE, origin[1] + offset // TILE_SIDE
    if y < 0 or x < 0 or y >= pixels.shape[0] or x >= pixels.shape[1]:
        return 0, 0
    pixels[y, x] = color
    return 1, 1 if before[y, x] != color else 0


@kernel
def _put_sparse(pixels, before, origin, body, at):
    """Apply a sparse body. Returns (its end or -1, number of changes)."""
    if at >= len(body) or at + 1 + _ITEM_BYTES * np.int64(body[at]) > len(body):
        return -1, 0
    changed, items = 0, np.int64(body[at])
    at += 1
    for _ in range(items):
        offset = read_u16(body, at)
        if offset >= TILE_PIXELS:
            return -1, 0
        changed += _put(pixels, before, origin, offset, body[at + 2])[0]
        at += _ITEM_BYTES
    return at, changed


@kernel
def _put_bitmap(pixels, before, origin, body, at):
    """Apply a bitmap body. Returns (its end or -1, number of changes)."""
    changed, color_at = 0, at + BITMAP_BYTES
    if color_at > len(body):
        return -1, 0
    for offset in range(TILE_PIXELS):
        if body[at + (offset >> 3)] >> (offset & 7) & 1:
            if color_at >= len(body):
                return -1, 0
            changed += _put(pixels, before, origin, offset, body[color_at])[0]
            color_at += 1
    return color_at, changed


@kernel
def _put_full(pixels, before, origin, body, at):
    """Apply a full body. Returns (its end or -1, number of cells that differ)."""
    if at + TILE_PIXELS > len(body):
        return -1, 0
    changed = 0
    for offset in range(TILE_PIXELS):
        changed += _put(pixels, before, origin, offset, body[at + offset])[1]
    return at + TILE_PIXELS, changed


@kernel
def apply_region_blocks(pixels, before, body, count, corner, canvas):
    """Apply `count` tile blocks to `pixels`, which held `before` and begin at `corner` (x, y) of the canvas.

    pixels, before: (height, width) u1, of which `pixels` is written in place; canvas: its (width, height); body: (n,)
    u1, all blocks and nothing else. What lies outside of `pixels` is dropped. Returns the number of pixel changes,
    or -1 where the blocks break the protocol. Each cell of a sparse or bitmap body counts as a change; of a full body
    those cells count that differ. Each read is checked against the body's end first, each tile and offset against its
    limit. Cost: one write per pixel.
    """
    across = (canvas[0] + TILE_SIDE - 1) // TILE_SIDE
    tiles = across * ((canvas[1] + TILE_SIDE - 1) // TILE_SIDE)
    at, changed = 0, 0
    for _ in range(count):
        if at + _BLOCK_HEAD > len(body):
            return -1
        tile, kind = read_u16(body, at), body[at + 2]
        if tile >= tiles:
            return -1
        origin = (tile % across * TILE_SIDE - corner[0], tile // across * TILE_SIDE - corner[1])
        more = 0
        if kind == _SPARSE:
            at, more = _put_sparse(pixels, before, origin, body, at + _BLOCK_HEAD)
        elif kind == _BITMAP:
            at, more = _put_bitmap(pixels, before, origin, body, at + _BLOCK_HEAD)
        elif kind == _FULL:
            at, more = _put_full(pixels, before, origin, body, at + _BLOCK_HEAD)
        else:
            return -1
        if at < 0:
            return -1
        changed += more
    return changed if at == len(body) else -1


@kernel
def apply_blocks(pixels, before, body, count):
    """`apply_region_blocks` for the whole canvas."""
    canvas = (np.int64(pixels.shape[1]), np.int64(pixels.shape[0]))
    return apply_region_blocks(pixels, before, body, count, (np.int64(0), np.int64(0)), canvas)


_SNAPSHOT = int(wire.ServerOp.SNAPSHOT)
_DELTA_HEAD, _SNAPSHOT_HEAD = wire.DELTA.size, wire.SNAPSHOT.size
_DONE, _VIOLATION = int(Verdict.DONE), int(Verdict.VIOLATION)
_REGION_BYTES = REGION_SIDE * REGION_SIDE


@kernel
def none_state(arrays, d):
    """The state of device d's group that is no canvas."""
    return np.int64(arrays.devices[d].group) * np.int64(arrays.settings[0].states_a_group)


@kernel
def _row(table, index):
    """The address of a row of a two- or three-dimensional array of bytes."""
    return address_of(table) + index * table[0].size


@kernel
def _base(arrays, none, source):
    """Copy the pixels of `source` to the spare row, which is that of the state that is no canvas."""
    if source == none:
        arrays.regions[none, :, :] = 0
    else:
        memcpy(_row(arrays.regions, none), _row(arrays.regions, source), _REGION_BYTES)


@kernel
def _apply_snapshot(group, pixels, settings, plain):
    """Write the part of a SNAPSHOT that lies in the group's region. False if it breaks the protocol."""
    if len(plain) < _SNAPSHOT_HEAD:
        return False
    x, y = read_u16(plain, 6), read_u16(plain, 8)
    width, height = read_u16(plain, 10), read_u16(plain, 12)
    if x + width > settings.width or y + height > settings.height or len(plain) != _SNAPSHOT_HEAD + width * height:
        return False
    for row in range(height):
        for column in range(width):
            at_x, at_y = x + column - group.x, y + row - group.y
            if 0 <= at_x < group.width and 0 <= at_y < group.height:
                pixels[at_y, at_x] = plain[_SNAPSHOT_HEAD + row * width + column]
    return True


@kernel
def _forget(arrays, first, field_is_state, index):
    """Delete the branches of a group that lead to a state, or that use a frame. `first`: the group's first state."""
    for state in range(first, first + np.int64(arrays.settings[0].states_a_group)):
        for i in range(BRANCHES):
            branch = arrays.branches[state, i]
            if (branch.state if field_is_state else branch.frame) == index:
                branch.frame = -1


@kernel
def _keep_frame(arrays, group_index, none, buffer, start, size, tick):
    """Index of the group's frame with these bytes; a new one replaces the least recently used."""
    settings = arrays.settings[0]
    first = group_index * np.int64(settings.frames_a_group)
    address, oldest = address_of(buffer) + start, first
    for index in range(first, first + np.int64(settings.frames_a_group)):
        frame = arrays.frames[index]
        if frame.size == size and memcmp(_row(arrays.payloads, index), address, size) == 0:
            frame.used = settings.stamp
            return index
        if frame.used < arrays.frames[oldest].used:
            oldest = index
    # Branches name frames by index: those of the replaced frame must go before its bytes do.
    _forget(arrays, none, False, oldest)
    frame = arrays.frames[oldest]
    frame.pointer = _row(arrays.payloads, oldest)
    frame.size = size
    frame.tick = tick
    frame.used = settings.stamp
    memcpy(frame.pointer, address, size)
    return oldest


@kernel
def _keep_state(arrays, none, source):
    """The state with the pixels of the spare row: a known one, or one in a free place; `none` if there is none."""
    free = none
    for state in range(none + 1, none + np.int64(arrays.settings[0].states_a_group)):
        row = arrays.states[state]
        if row.used > 0 and memcmp(_row(arrays.regions, state), _row(arrays.regions, none), _REGION_BYTES) == 0:
            return state
        # The source must stay, because the new branch leads from it.
        if row.holders == 0 and state != source and (free == none or row.used < arrays.states[free].used):
            free = state
    if free != none:
        _forget(arrays, none, True, free)
        for i in range(BRANCHES):
            arrays.branches[free, i].frame = -1
        memcpy(_row(arrays.regions, free), _row(arrays.regions, none), _REGION_BYTES)
    return free


@kernel
def learn(arrays, d, buffer, start, size, plain):
    """Learn which state a SNAPSHOT or DELTA leads to from that of device d.

    buffer[start : start + size]: the message as it came, (any,) u1; plain: (n,) u1, the same with encoding 0. Writes
    states, frames, branches, payloads and regions of the device's group. Returns (Verdict, branch). Cost: at most one
    copy and one comparison of the region per state of the group.
    """
    settings, device = arrays.settings[0], arrays.devices[d]
    group_index, source, none = np.int64(device.group), np.int64(device.state), none_state(arrays, d)
    group = arrays.groups[group_index]
    pixels = arrays.regions[none, : group.height, : group.width]
    if size > arrays.payloads.shape[1] or size < _DELTA_HEAD:
        return _VIOLATION, -1
    _base(arrays, none, source)
    changed, tick, op = 0, read_u32(plain, 2 if buffer[start] == _SNAPSHOT else 4), np.int64(buffer[start])
    if op == _SNAPSHOT:
        if not _apply_snapshot(group, pixels, settings, plain):
            return _VIOLATION, -1
    else:
        before = arrays.regions[none if source == none else source, : group.height, : group.width]
        corner = (np.int64(group.x), np.int64(group.y))
        canvas = (np.int64(settings.width), np.int64(settings.height))
        changed = apply_region_blocks(pixels, before, plain[_DELTA_HEAD:], read_u16(plain, 2), corner, canvas)
        if changed < 0:
            return _VIOLATION, -1
    settings.stamp += np.uint64(1)
    # A DELTA on no canvas gives no canvas: what it does not mention is unknown.
    target = none if op != _SNAPSHOT and source == none else _keep_state(arrays, none, source)
    arrays.states[target].used = settings.stamp
    index = _keep_frame(arrays, group_index, none, buffer, start, size, tick)
    return _DONE, _lead(arrays, source, index, target, changed, op)


@kernel
def _lead(arrays, source, index, target, changed, op):
    """Add a branch from one state to another, in place of the oldest. Returns its index."""
    place = np.int64(arrays.states[source].branch_next)
    arrays.states[source].branch_next = (place + 1) % BRANCHES
    branch = arrays.branches[source, place]
    branch.frame = index
    branch.state = target
    branch.pixel_count = changed
    branch.op = op
    return place
