"""What viewers of regions see: the compiled twin of `devices.fleet.viewer`'s teaching, for many regions of few viewers.

Thousands of regions get frames of their own each tick, too many to be taught one by one in Python. So each group of
viewers has a few states and frames of its own, all in arrays. Invariant: within a group, two states in use never show
the same pixels, and a frame leads from a state to what its blocks make of it, or to none where all states are held.
"""

import numpy as np

from devices.kernels.block import apply_region_blocks
from devices.kernels.layout import BRANCHES, REGION_SIDE, Verdict
from devices.kernels.number import read_u16, read_u32
from server.kernels.kernel import address_of, kernel
from server.kernels.libc import memcmp, memcpy
from server.protocol.messages import DELTA, SNAPSHOT, ServerOp

_SNAPSHOT = int(ServerOp.SNAPSHOT)
_DELTA_HEAD, _SNAPSHOT_HEAD = DELTA.size, SNAPSHOT.size
_DONE, _VIOLATION = int(Verdict.DONE), int(Verdict.VIOLATION)
_REGION_BYTES = REGION_SIDE * REGION_SIDE


@kernel
def none_state(arrays, d):
    """The state of device d that is no canvas."""
    return np.int64(arrays.devices[d].group) * np.int64(arrays.settings[0].states_a_group)


@kernel
def _row(table, index):
    """The address of a row of a two- or three-dimensional array of bytes."""
    return address_of(table) + index * table[0].size


@kernel
def _base(arrays, none, source):
    """Begin what a frame makes with what `source` shows, in the spare row: that of the state that is no canvas."""
    if source == none:
        arrays.regions[none, :, :] = 0
    else:
        memcpy(_row(arrays.regions, none), _row(arrays.regions, source), _REGION_BYTES)


@kernel
def _apply_snapshot(group, pixels, settings, plain):
    """Write a SNAPSHOT's pixels, as far as they are the group's. False where it breaks the protocol."""
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
    """Forget the branches of a group that lead to a state, or by a frame. `first`: the group's first state."""
    for state in range(first, first + np.int64(arrays.settings[0].states_a_group)):
        for i in range(BRANCHES):
            branch = arrays.branches[state, i]
            if (branch.state if field_is_state else branch.frame) == index:
                branch.frame = -1


@kernel
def _keep_frame(arrays, group_index, none, buffer, start, size, tick):
    """The index of a frame with these bytes among the group's; a new one replaces the one unused longest."""
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
    """The state that shows what the spare row does: known, or new in a place that nobody holds; `none` without one."""
    free = none
    for state in range(none + 1, none + np.int64(arrays.settings[0].states_a_group)):
        row = arrays.states[state]
        if row.used > 0 and memcmp(_row(arrays.regions, state), _row(arrays.regions, none), _REGION_BYTES) == 0:
            return state
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
    """Learn where a SNAPSHOT or DELTA leads from the state of device d.

    buffer[start : start + size]: the message as it came, (any,) u1; plain: (n,) u1, the same with encoding 0. Writes
    states, frames, branches, payloads and regions of the device's group. Returns (Verdict, branch). Cost: a copy and a
    comparison of the region for each state of the group at most.
    """
    settings, device = arrays.settings[0], arrays.devices[d]
    group_index, source, none = np.int64(device.group), np.int64(device.state), none_state(arrays, d)
    group = arrays.groups[group_index]
    pixels = arrays.regions[none, : group.height, : group.width]
    if size > arrays.payloads.shape[1] or size < _DELTA_HEAD:
        return _VIOLATION, -1
    _base(arrays, none, source)
    told, tick, op = 0, read_u32(plain, 2 if buffer[start] == _SNAPSHOT else 4), np.int64(buffer[start])
    if op == _SNAPSHOT:
        if not _apply_snapshot(group, pixels, settings, plain):
            return _VIOLATION, -1
    else:
        before = arrays.regions[none if source == none else source, : group.height, : group.width]
        corner = (np.int64(group.x), np.int64(group.y))
        canvas = (np.int64(settings.width), np.int64(settings.height))
        told = apply_region_blocks(pixels, before, plain[_DELTA_HEAD:], read_u16(plain, 2), corner, canvas)
        if told < 0:
            return _VIOLATION, -1
    settings.stamp += np.uint64(1)
    target = none if op != _SNAPSHOT and source == none else _keep_state(arrays, none, source)
    arrays.states[target].used = settings.stamp
    index = _keep_frame(arrays, group_index, none, buffer, start, size, tick)
    return _DONE, _lead(arrays, source, index, target, told, op)


@kernel
def _lead(arrays, source, index, target, told, op):
    """Let a frame lead from one state to another, in place of the branch that is oldest. Returns the branch."""
    place = np.int64(arrays.states[source].branch_next)
    arrays.states[source].branch_next = (place + 1) % BRANCHES
    branch = arrays.branches[source, place]
    branch.frame = index
    branch.state = target
    branch.pixel_count = told
    branch.op = op
    return place
