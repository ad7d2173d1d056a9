"""Filling blocks of a memory link: what is due, as frames, one segment a write. No system call, no socket.

Invariant: a block holds whole batches of frames, each device's in their order.
"""

import numpy as np

from devices.kernels.arrivals import arm, batch_time, fill_batch, mask_word, next_due
from devices.kernels.chance import unit
from devices.kernels.frames import put_batch
from devices.kernels.layout import NEVER_NS, PLACE_FRAME_BYTES, PROBE_INTERVAL_NS, Probe
from server.kernels.histogram import record
from server.kernels.kernel import kernel

PROBED_MAX = 4096
"""Devices of a large fleet that are ever probed: each has its own memory of intended times."""
_NO_PROBE, _PINGED = int(Probe.NONE), int(Probe.PINGED)


@kernel
def _probe(arrays, d, now_ns):
    """Remember the intended times of device d's batch when it is time for a probe. True if they are."""
    device, settings = arrays.devices[d], arrays.settings[0]
    if not device.seen or device.greedy or device.probe != _NO_PROBE or d % (len(arrays.devices) // PROBED_MAX + 1):
        return False
    settings.probe_next_ns = now_ns + np.int64(2.0 * PROBE_INTERVAL_NS * unit(mask_word(settings)))
    device.probe = _PINGED
    device.probe_count = device.batch_count
    for i in range(np.int64(device.batch_count)):
        arrays.probe_times[d, i] = batch_time(arrays, d, i)
    return True


@kernel
def _put_write(arrays, fill, words, segment, d, now_ns):
    """Write the batch of device d, which is due, behind what the block holds, and draw the next."""
    device = arrays.devices[d]
    late_us = max((now_ns - np.int64(device.wake_ns)) // 1000, 0)
    record(arrays.lateness, late_us, 1)
    arrays.lateness_max_us[0] = max(arrays.lateness_max_us[0], late_us)
    if fill.probe < 0 and now_ns >= arrays.settings[0].probe_next_ns and _probe(arrays, d, now_ns):
        fill.probe = d
    size = put_batch(arrays, d, words, fill.size // 4)
    segment.slot = d
    segment.start = fill.size
    segment.end = fill.size + size
    fill.size += size
    fill.frame_count += np.int64(device.batch_count)
    fill.segment_count += 1
    fill_batch(arrays, d)
    arm(arrays, d)


@kernel
def fill_block(arrays, fills, words, segments, now_ns):
    """Write batches that are due into a block, from where the last one ended, until it is full or all had their turn.

    fills: (1,) FILL, written. words: (any,) u4, the block's arena; segments: (any,) SEGMENT; both written in place, and
    never beyond their end, since room for a whole batch is asked for first. Cost: a look at each device that is
    passed, and a write each that is due. Returns True when the block is full: then more may be due.
    """
    fill, due_ns = fills[0], arrays.due_ns
    fill.segment_count = 0
    fill.size = 0
    fill.frame_count = 0
    fill.next_ns = NEVER_NS
    fill.probe = -1
    room = 4 * len(words) - np.int64(arrays.settings[0].frames_per_write) * PLACE_FRAME_BYTES
    middle = np.int64(fill.write_index)
    for lap in range(2):
        d, end = (middle, len(due_ns)) if lap == 0 else (0, middle)
        while True:
            d, passed_ns = next_due(due_ns, d, end, now_ns)
            fill.next_ns = min(fill.next_ns, passed_ns)
            if d == end:
                break
            if fill.size > room or fill.segment_count == len(segments):
                fill.write_index = d
                fill.next_ns = now_ns
                return True
            _put_write(arrays, fill, words, segments[fill.segment_count], d, now_ns)
            fill.next_ns = min(fill.next_ns, due_ns[d])
            d += 1
    return False
