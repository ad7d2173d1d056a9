"""What devices receive: the compiled half of the viewers, and the latency probes that their messages answer.

Thousands of viewers receive the same bytes. So a viewer holds no canvas but the index of a state, and a frame leads
from one state to the next along a branch that `devices.fleet.viewer` has learned once. Following a branch costs one
comparison of the whole message. Viewers of regions learn on their own (`regions`). Two viewers are in one state only if
they see the same pixels of the same region.
"""

import numpy as np

from devices.kernels.layout import BRANCHES, Region, Verdict
from devices.kernels.probes import answer_probes, see_tick
from devices.kernels.regions import learn, none_state, read_u32
from server.kernels.kernel import address_of, kernel
from server.kernels.libc import memcmp
from server.wire import PONG, THROTTLED, DropReason, ServerOp

_SNAPSHOT, _DELTA, _THROTTLED = int(ServerOp.SNAPSHOT), int(ServerOp.DELTA), int(ServerOp.THROTTLED)
_PONG, _NOTICE = int(ServerOp.PONG), int(ServerOp.NOTICE)
_RATE, _OVERLOAD, _BOUNDS = int(DropReason.RATE), int(DropReason.OVERLOAD), int(DropReason.OUT_OF_BOUNDS)
_AROUND = int(Region.AROUND)
_DONE, _UNKNOWN, _VIOLATION = int(Verdict.DONE), int(Verdict.UNKNOWN), int(Verdict.VIOLATION)
_THROTTLED_BYTES, _PONG_BYTES = THROTTLED.size, PONG.size


@kernel
def move_viewer(arrays, d, state):
    """Put viewer d into `state`, -1 for the one that is no canvas. Writes the holders of both states."""
    if state < 0:
        state = none_state(arrays, d)
    device = arrays.devices[d]
    arrays.states[device.state].holders -= 1
    arrays.states[state].holders += 1
    device.state = state


@kernel
def _follow(arrays, d, buffer, start, size):
    """Index of the branch of viewer d's state whose frame equals these bytes, or -1. Cost: usually one memcmp."""
    state = arrays.devices[d].state
    address = address_of(buffer) + start
    for i in range(BRANCHES):
        frame = arrays.branches[state, i].frame
        if frame < 0 or arrays.frames[frame].size != size:
            continue
        # Different frames often have equal lengths, so the bytes decide. Comparing them is cheaper than decoding.
        if memcmp(arrays.frames[frame].pointer, address, size) == 0:
            return i
    return -1


@kernel
def _see(arrays, d, buffer, start, size, now_ns):
    """Handle a SNAPSHOT or DELTA: follow its branch, count it, and end the probes that it shows."""
    device, counters = arrays.devices[d], arrays.counters[0]
    is_early = arrays.settings[0].region == _AROUND and not device.seen and buffer[start] == _DELTA
    if device.fenced or not device.viewer or is_early:
        return _DONE  # It belongs to the previous subscription.
    branch_index = _follow(arrays, d, buffer, start, size)
    if branch_index < 0:
        is_plain = size >= 2 and buffer[start + 1] == 0
        # Compressed messages of regions, and all new ones of the whole canvas, are learned in Python.
        if arrays.settings[0].region != _AROUND or not is_plain:
            return _UNKNOWN
        verdict, branch_index = learn(arrays, d, buffer, start, size, buffer[start : start + size])
        if verdict != _DONE:
            return verdict
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
        # The PONG has the last tick before the placements were applied: the first DELTA of a later one shows them.
        see_tick(arrays, d, np.int64(tick), now_ns)
    move_viewer(arrays, d, branch.state)
    return _DONE


@kernel
def _throttled(arrays, d, buffer, start):
    """Handle a THROTTLED: drops since the last one count for the reason that this one gives."""
    device, counters = arrays.devices[d], arrays.counters[0]
    dropped, reason = read_u32(buffer, start + 4), buffer[start + 1]
    # The counter is a u32 on the wire, and may wrap.
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

    buffer: (>= start + size,) u1, read only. Returns a Verdict: DONE; UNKNOWN, nothing was done and
    `devices.fleet.viewer` must learn the frame; VIOLATION. Cost: one comparison of the bytes of a known frame.
    """
    device = arrays.devices[d]
    op = buffer[start] if size > 0 else 0
    if op in (_DELTA, _SNAPSHOT):
        return _see(arrays, d, buffer, start, size, now_ns)
    if op == _PONG and size == _PONG_BYTES:
        nonce = np.uint64(read_u32(buffer, start + 4)) | np.uint64(read_u32(buffer, start + 8)) << np.uint64(32)
        # No placements come before this PING; messages behind a fence belong to the new subscription.
        if device.ping_nonce == nonce:
            device.ping_nonce = 0
            device.fenced = 0
        else:
            answer_probes(arrays, d, nonce, read_u32(buffer, start + 12))
        return _DONE
    if op == _THROTTLED and size == _THROTTLED_BYTES:
        return _throttled(arrays, d, buffer, start)
    return _DONE if op == _NOTICE and size >= 2 else _VIOLATION
