"""What devices receive: the compiled half of the viewers.

Thousands of viewers receive the same bytes. So a viewer does not hold a canvas but the index of a state, and a frame
leads from one state to the next along a branch that `devices.fleet.viewer` has taught once. Following a branch is one
comparison of bytes, every one of them. Viewers of regions learn by themselves (`region`). Invariant: two viewers are
in one state only if they see the same pixels of the same region.
"""

import numpy as np

from devices.kernels.layout import BRANCHES, Probe, Region, Verdict
from devices.kernels.number import read_u32
from devices.kernels.probe import end_probe
from devices.kernels.region import learn, none_state
from server.kernels.kernel import address_of, kernel
from server.kernels.libc import memcmp
from server.protocol.messages import PONG, THROTTLED, Reason, ServerOp

_SNAPSHOT, _DELTA, _THROTTLED = int(ServerOp.SNAPSHOT), int(ServerOp.DELTA), int(ServerOp.THROTTLED)
_PONG, _NOTICE = int(ServerOp.PONG), int(ServerOp.NOTICE)
_RATE, _OVERLOAD, _BOUNDS = int(Reason.RATE), int(Reason.OVERLOAD), int(Reason.OUT_OF_BOUNDS)
_AROUND = int(Region.AROUND)
_DONE, _UNKNOWN, _VIOLATION = int(Verdict.DONE), int(Verdict.UNKNOWN), int(Verdict.VIOLATION)
_NONE, _PINGED, _ANSWERED = int(Probe.NONE), int(Probe.PINGED), int(Probe.ANSWERED)
_FENCED = int(Probe.FENCED)
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
def _see(arrays, d, buffer, start, size, now_ns):
    """A SNAPSHOT or DELTA: follow its branch, count it, and end the probe that waited for it."""
    device, counters = arrays.devices[d], arrays.counters[0]
    is_early = arrays.settings[0].region == _AROUND and not device.seen and buffer[start] == _DELTA
    if device.probe == _FENCED or not device.viewer or is_early:
        return _DONE  # It is about what the device watched before.
    branch_index = _follow(arrays, d, buffer, start, size)
    if branch_index < 0:
        is_plain = size >= 2 and buffer[start + 1] == 0
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
        if device.probe == _ANSWERED and tick > device.probe_tick:
            end_probe(arrays, d, np.int64(tick), now_ns)
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

    buffer: (>= start + size,) u1, read only. Returns a Verdict: DONE; UNKNOWN, nothing was done and
    `devices.fleet.viewer` is to teach the frame; VIOLATION. Cost: one comparison of the bytes, where the frame was seen
    before.
    """
    device = arrays.devices[d]
    op = buffer[start] if size > 0 else 0
    if op in (_DELTA, _SNAPSHOT):
        return _see(arrays, d, buffer, start, size, now_ns)
    if op == _PONG and size == _PONG_BYTES:
        nonce = np.uint64(read_u32(buffer, start + 4)) | np.uint64(read_u32(buffer, start + 8)) << np.uint64(32)
        if device.probe == _FENCED and device.probe_nonce == nonce:
            device.probe = _NONE
        if device.probe == _PINGED and device.probe_nonce == nonce:
            device.probe_tick = read_u32(buffer, start + 12)
            device.probe = _ANSWERED if device.probe_count > 0 else _NONE
        return _DONE
    if op == _THROTTLED and size == _THROTTLED_BYTES:
        return _throttled(arrays, d, buffer, start)
    return _DONE if op == _NOTICE and size >= 2 else _VIOLATION
