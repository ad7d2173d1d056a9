"""What devices receive: the compiled half of the viewers, and the latency probes that their messages answer.

Thousands of viewers receive the same bytes. So a viewer holds no canvas but the index of a state, and a frame leads
from one state to the next along a branch that `devices.fleet.viewer` has learned once. Following a branch costs one
comparison of the whole message. Viewers of regions learn on their own (`regions`). Two viewers are in one state only if
they see the same pixels of the same region.

A probe is a batch whose intended times are kept until its device sees its last placement. A few random batches are
probed at a time, and every batch of the followed device while it has no other probe pending. The latency of a greedy
device is not counted, because the rate limit drops part of what it sends.
"""

import numpy as np

from devices.kernels.layout import BRANCHES, PROBE_INTERVAL_NS, Probe, Region, Verdict
from devices.kernels.random import unit
from devices.kernels.regions import learn, none_state, read_u32
from devices.kernels.schedule import batch_time, mask_word
from server.kernels.histogram import record
from server.kernels.kernel import address_of, kernel
from server.kernels.layout import JOURNEY_ROWS
from server.kernels.libc import memcmp
from server.wire import PLACE_FRAME_BYTES, PONG, THROTTLED, TILE_SIDE, DropReason, ServerOp

_NONE, _PINGED = int(Probe.NONE), int(Probe.PINGED)
_PLACE_WORDS = PLACE_FRAME_BYTES // 4


@kernel
def is_followed(arrays, d):
    """Whether device d is the one whose journeys are noted."""
    followed = arrays.settings[0].followed
    return followed >= 0 and arrays.devices[d].number == followed


@kernel
def is_probed(arrays, d, stride, now_ns):
    """Whether to probe the batch that device d writes now. Random probes use every `stride`-th device."""
    device = arrays.devices[d]
    if device.probe != _NONE or not device.seen:
        return False
    is_drawn = now_ns >= arrays.settings[0].probe_next_ns and not device.greedy and d % stride == 0
    return is_drawn or is_followed(arrays, d)


@kernel
def placed_pixel(words, at, width):
    """The pixel, y * width + x, of the PLACE frame in the three words at `at`. words: (>= at + 3,) u4."""
    low, high = np.int64(words[at]) >> 16, np.int64(words[at + 1]) & 0xFFFF
    place = np.int64(words[at + 2]) ^ (high | low << 16)
    return (place >> 16) * width + (place & 0xFFFF)


@kernel
def begin_probe(arrays, d, words, end, now_ns):
    """Start a probe of device d's batch: keep the intended time of each placement, and the pixel of the last.

    words: u4, the batch's frames up to word `end`. Cost: O(placements).
    """
    device, settings = arrays.devices[d], arrays.settings[0]
    if now_ns >= settings.probe_next_ns:
        # Uniform between 0 and twice the mean: a fixed step could beat with the tick and see only part of its phases.
        settings.probe_next_ns = now_ns + np.int64(2.0 * PROBE_INTERVAL_NS * unit(mask_word(settings)))
    device.probe = _PINGED
    device.probe_count = device.batch_count
    device.probe_sent_ns = now_ns
    device.probe_pixel = placed_pixel(words, end - _PLACE_WORDS, np.int64(settings.width))
    # The batch's own times are overwritten by the next batch long before this one is seen.
    for i in range(np.int64(device.batch_count)):
        arrays.probe_times[d, i] = batch_time(arrays, d, i)


@kernel
def _note_journey(arrays, d, tick, now_ns):
    """Append the probed batch to the ring of journeys."""
    device = arrays.devices[d]
    row = arrays.journeys[arrays.journey_head[0] % JOURNEY_ROWS]
    row.number = device.number
    row.pixel = device.probe_pixel
    row.intended_ns = arrays.probe_times[d, np.int64(device.probe_count) - 1]
    row.sent_ns = device.probe_sent_ns
    row.seen_ns = now_ns
    row.tick = tick
    arrays.journey_head[0] += 1


@kernel
def _record(arrays, d, now_ns):
    """Record the latency of each placement of the probed batch, and of the last one for its tile."""
    device, settings = arrays.devices[d], arrays.settings[0]
    pixel, width = np.int64(device.probe_pixel), np.int64(settings.width)
    tile_x, tile_y = pixel % width // TILE_SIDE, pixel // width // TILE_SIDE
    within_x = settings.brush_x0 <= tile_x and tile_x < settings.brush_x1
    is_brushed = within_x and settings.brush_y0 <= tile_y and tile_y < settings.brush_y1
    value_us = 0
    for i in range(np.int64(device.probe_count)):
        value_us = max((now_ns - arrays.probe_times[d, i]) // 1000, 0)
        record(arrays.latency, value_us, 1)
        arrays.latency_max_us[0] = max(arrays.latency_max_us[0], value_us)
        if is_brushed:
            record(arrays.brushed_latency, value_us, 1)
            arrays.brushed_latency_max_us[0] = max(arrays.brushed_latency_max_us[0], value_us)
    tile = arrays.tile_latency[tile_y * ((width + TILE_SIDE - 1) // TILE_SIDE) + tile_x]
    tile.sum_us += value_us
    tile.count += 1


@kernel
def end_probe(arrays, d, tick, now_ns):
    """Record the latency of device d's probed batch, from its intended times until now, when `tick` showed it."""
    device = arrays.devices[d]
    if device.probe_count > 0:
        if is_followed(arrays, d):
            _note_journey(arrays, d, tick, now_ns)
        if not device.greedy:
            _record(arrays, d, now_ns)
    device.probe = _NONE


_SNAPSHOT, _DELTA, _THROTTLED = int(ServerOp.SNAPSHOT), int(ServerOp.DELTA), int(ServerOp.THROTTLED)
_PONG, _NOTICE = int(ServerOp.PONG), int(ServerOp.NOTICE)
_RATE, _OVERLOAD, _BOUNDS = int(DropReason.RATE), int(DropReason.OVERLOAD), int(DropReason.OUT_OF_BOUNDS)
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
    """Handle a SNAPSHOT or DELTA: follow its branch, count it, and end the probe that waited for it."""
    device, counters = arrays.devices[d], arrays.counters[0]
    is_early = arrays.settings[0].region == _AROUND and not device.seen and buffer[start] == _DELTA
    if device.probe == _FENCED or not device.viewer or is_early:
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
        if device.probe == _ANSWERED and tick > device.probe_tick:
            end_probe(arrays, d, np.int64(tick), now_ns)
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
        # A fence has no placements to time: messages behind it belong to the new subscription.
        if device.probe == _FENCED and device.probe_nonce == nonce:
            device.probe = _NONE
        if device.probe == _PINGED and device.probe_nonce == nonce:
            device.probe_tick = read_u32(buffer, start + 12)
            device.probe = _ANSWERED if device.probe_count > 0 else _NONE
        return _DONE
    if op == _THROTTLED and size == _THROTTLED_BYTES:
        return _throttled(arrays, d, buffer, start)
    return _DONE if op == _NOTICE and size >= 2 else _VIOLATION
