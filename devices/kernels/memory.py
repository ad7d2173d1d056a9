"""Fill blocks of a memory link with the frames that are due, one segment per write. No system calls.

A block holds whole batches, those of a device in order.
"""

import numpy as np

from devices.kernels.frames import put_batch
from devices.kernels.layout import NEVER_NS
from devices.kernels.probes import begin_probe, probe_weight
from devices.kernels.schedule import arm, fill_batch, next_due
from server.kernels.histogram import record
from server.kernels.kernel import kernel
from server.wire import PLACE_FRAME_BYTES


@kernel
def _put_write(arrays, fill, q, words, segment, d, now_ns):
    """Append the batch of device d, which is due, to the block, and draw the next."""
    device = arrays.devices[d]
    late_us = max((now_ns - np.int64(device.wake_ns)) // 1000, 0)
    record(arrays.lateness, late_us, 1)
    arrays.lateness_max_us[0] = max(arrays.lateness_max_us[0], late_us)
    size = put_batch(arrays, d, words, fill.size // 4)
    weight = probe_weight(arrays, d)
    if weight >= 0:
        end = (fill.size + size) // 4
        begin_probe(arrays, q, d, weight, np.uint64(fill.serial), words, end, now_ns)
    segment.slot = d
    segment.start = fill.size
    segment.end = fill.size + size
    fill.size += size
    fill.frame_count += np.int64(device.batch_count)
    fill.segment_count += 1
    fill_batch(arrays, d)
    arm(arrays, d)


@kernel
def fill_block(arrays, fills, q, words, segments, now_ns):
    """Write due batches into a block, from where the last one ended, until it is full or every device had its turn.

    fills: (1,) FILL, written. q: the device in whose queue the probes are. words: (any,) u4, the block's arena;
    segments: (any,) SEGMENT; both written in place, and never beyond their end, since room for a whole batch is checked
    first. Cost: a scan of due_ns, plus one batch per due device. Returns True when the block is full: more may be due.
    """
    fill, due_ns = fills[0], arrays.due_ns
    fill.segment_count = 0
    fill.size = 0
    fill.frame_count = 0
    fill.next_ns = NEVER_NS
    fill.serial += 1
    # A whole batch must fit, because a batch is one write and is not split between blocks.
    room = 4 * len(words) - arrays.times.shape[1] * PLACE_FRAME_BYTES
    # Resume behind the last device, or those with low numbers would fill every block of a fleet that is behind.
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
            _put_write(arrays, fill, q, words, segments[fill.segment_count], d, now_ns)
            fill.next_ns = min(fill.next_ns, due_ns[d])
            d += 1
    return False
