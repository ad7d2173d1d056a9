"""Devices that begin, change or end what they watch, many at a time, while their connections are in use.

A device that subscribes anew sends a PING first: what comes before its PONG is about what it watched before, and is
left unread. Invariant: from the change on, a device is in its group's state that is no canvas until its new SNAPSHOT
is there; one that does not read stays there.
"""

import numpy as np

from devices.kernels.frames import put_nonce
from devices.kernels.layout import PING_FRAME_BYTES, Phase, Probe, Region
from devices.kernels.schedule import mask_word
from devices.kernels.sockets import send_bytes, update_interest
from devices.kernels.viewer import move_viewer
from server.kernels.kernel import kernel
from server.protocol.messages import CANCEL

SUBSCRIBE_FRAME_BYTES = 18
_OP_SUBSCRIBE = 0x03
_CANCEL = int(CANCEL)
_SLOW, _FAST = int(Phase.SLOW), int(Phase.FAST)
_NONE, _FENCED = int(Probe.NONE), int(Probe.FENCED)
_WHOLE = int(Region.WHOLE)

assert SUBSCRIBE_FRAME_BYTES == PING_FRAME_BYTES  # Both have 12 bytes after the head of 6.


@kernel
def put_subscribe(buffer, offset, flags, words, mask):
    """Write a masked SUBSCRIBE frame at `offset`, 18 bytes of the u1 `buffer`.

    words: (x, y, width, height, interval_ms).
    """
    buffer[offset] = 0x82
    buffer[offset + 1] = 0x8C
    for i in range(4):
        buffer[offset + 2 + i] = np.uint8(np.int64(mask >> np.uint64(8 * i)) & 0xFF)
    for i in range(12):
        plain = np.int64(0)
        if i == 0:
            plain = np.int64(_OP_SUBSCRIBE)
        elif i == 1:
            plain = np.int64(flags)
        else:
            plain = np.int64(words[(i - 2) // 2]) >> (8 * (i & 1)) & 0xFF
        buffer[offset + 6 + i] = np.uint8(plain) ^ buffer[offset + 2 + (i & 3)]


@kernel
def forget_view(arrays, d):
    """Let device d see nothing, and end its probe: nothing will show it what it waits for."""
    device = arrays.devices[d]
    arrays.counters[0].subscriber_count -= device.seen
    device.seen = 0
    device.probe = _NONE
    move_viewer(arrays, d, -1)


@kernel
def subscribe(arrays, links, d, flags, is_fenced):
    """Send device d's SUBSCRIBE for the region of its group, `is_fenced` behind a PING. Forgets what it saw."""
    device = arrays.devices[d]
    forget_view(arrays, d)
    at = 0
    if is_fenced:
        device.probe_nonce = put_nonce(arrays, links.outgoing, 0)
        device.probe_count = 0
        device.probe = _FENCED
        at = PING_FRAME_BYTES
    zero, interval_ms = np.int64(0), np.int64(arrays.settings[0].interval_ms)
    words = (zero, zero, zero, zero, interval_ms)
    if arrays.settings[0].region != _WHOLE:
        group = arrays.groups[device.group]
        words = (np.int64(group.x), np.int64(group.y), np.int64(group.width), np.int64(group.height), interval_ms)
    put_subscribe(links.outgoing, at, flags, words, mask_word(arrays.settings[0]))
    send_bytes(arrays, links, d, links.outgoing[: at + SUBSCRIBE_FRAME_BYTES])


@kernel
def change_views(arrays, links, viewers, slow, is_anew):
    """Make devices viewers, or slow ones, that are marked, and the others not; `is_anew`: all subscribe once more.

    viewers, slow: (devices,) bool. Writes viewer, slow and what they see of the devices. Cost: up to two system calls
    for each open device that changes.
    """
    for d in range(len(arrays.devices)):
        device = arrays.devices[d]
        was_viewer, was_slow = device.viewer, device.slow
        device.viewer = viewers[d]
        device.slow = slow[d]
        if device.phase != _SLOW and device.phase != _FAST:
            continue
        if device.slow != was_slow:
            update_interest(arrays, links, d)
        if not device.viewer:
            if was_viewer:
                subscribe(arrays, links, d, _CANCEL, True)
        elif is_anew or not was_viewer or (was_slow and not device.slow):
            subscribe(arrays, links, d, 0, True)
        elif device.slow and not was_slow:
            forget_view(arrays, d)
