"""Filling blocks of a memory link: what is due, as frames, one segment a write. No system call, no socket.

Invariant: a block holds whole batches of frames, each device's in their order.
"""

import numpy as np

from devices.kernels.frames import put_batch, put_nonce
from devices.kernels.layout import NEVER_NS, PING_FRAME_BYTES, PLACE_FRAME_BYTES, Phase, Probe
from devices.kernels.schedule import arm, fill_batch, next_due
from devices.kernels.sockets import send_bytes
from devices.kernels.viewer import begin_probe, is_followed, is_probed
from server.kernels.histogram import record
from server.kernels.kernel import kernel

PROBED_MAX = 4096
"""Devices of a large fleet that are ever probed: each has its own memory of intended times."""
_NO_PROBE = int(Probe.NONE)


@kernel
def _put_write(arrays, fill, words, segment, d, now_ns):
    """Write the batch of device d, which is due, behind what the block holds, and draw the next."""
    device = arrays.devices[d]
    late_us = max((now_ns - np.int64(device.wake_ns)) // 1000, 0)
    record(arrays.lateness, late_us, 1)
    arrays.lateness_max_us[0] = max(arrays.lateness_max_us[0], late_us)
    size = put_batch(arrays, d, words, fill.size // 4)
    may_be = fill.probe < 0 or is_followed(arrays, d)
    if may_be and is_probed(arrays, d, len(arrays.devices) // PROBED_MAX + 1, now_ns):
        if fill.probe >= 0:
            arrays.devices[fill.probe].probe = _NO_PROBE  # A block has one probe, and the followed device goes first.
        begin_probe(arrays, d, words, (fill.size + size) // 4, now_ns)
        fill.probe = d
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
    room = 4 * len(words) - arrays.times.shape[1] * PLACE_FRAME_BYTES
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


# DOC drain: The end of a load: a last PING behind all that a device has sent, whose PONG says that it was applied.


_IDLE, _FAST, _GONE = int(Phase.IDLE), int(Phase.FAST), int(Phase.GONE)
_NONE, _PINGED = int(Probe.NONE), int(Probe.PINGED)


@kernel
def send_last_pings(arrays, links, asked):
    """Send a PING on each connection that has none under way and was not asked yet. Returns how many are unanswered.

    asked: (devices,) bool, written in place. Devices with placements still to send are left for the next call;
    those that never read cannot be asked.
    """
    unanswered = 0
    for d in range(len(arrays.devices)):
        device = arrays.devices[d]
        if device.phase in (_IDLE, _GONE) or device.slow:
            continue
        if not asked[d] and device.phase == _FAST and device.probe == _NONE and device.batch_count == 0:
            device.probe_nonce = put_nonce(arrays, links.outgoing, 0)
            device.probe = _PINGED
            device.probe_count = 0
            asked[d] = True
            send_bytes(arrays, links, d, links.outgoing[:PING_FRAME_BYTES])
        if not asked[d] or device.probe == _PINGED:
            unanswered += 1
    return unanswered
