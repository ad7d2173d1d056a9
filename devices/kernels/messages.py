"""Messages other than placements: subscriptions that change while connections are in use, and the last PING of a load.

A device that subscribes again sends a PING first: messages before its PONG belong to the previous subscription and are
ignored. From the change until its new SNAPSHOT arrives, a device is in its group's state that is no canvas; a device
that does not read stays there.
"""

import numpy as np

from devices.kernels.frames import put_nonce
from devices.kernels.layout import Phase, Region
from devices.kernels.probes import forget_probes
from devices.kernels.schedule import mask_word
from devices.kernels.sockets import send_bytes, update_interest
from devices.kernels.viewer import move_viewer
from server import wire
from server.kernels.kernel import kernel

_OP_SUBSCRIBE = int(wire.ClientOp.SUBSCRIBE)
_MASKED_SUBSCRIBE = wire.MASK | wire.SUBSCRIBE.size
_SUBSCRIBE_BYTES = wire.SUBSCRIBE.size
_IDLE, _SLOW, _FAST, _GONE = int(Phase.IDLE), int(Phase.SLOW), int(Phase.FAST), int(Phase.GONE)
_WHOLE = int(Region.WHOLE)


@kernel
def put_subscribe(buffer, offset, flags, words, mask):
    """Write a masked SUBSCRIBE frame at `offset`, 18 bytes of the u1 `buffer`.

    words: (x, y, width, height, interval_ms).
    """
    buffer[offset] = wire.BINARY_FRAME
    buffer[offset + 1] = _MASKED_SUBSCRIBE
    for i in range(4):
        buffer[offset + 2 + i] = np.uint8(np.int64(mask >> np.uint64(8 * i)) & 0xFF)
    for i in range(_SUBSCRIBE_BYTES):
        plain = np.int64(0)
        if i == 0:
            plain = np.int64(_OP_SUBSCRIBE)
        elif i == 1:
            plain = np.int64(flags)
        else:
            plain = np.int64(words[(i - 2) // 2]) >> (8 * (i & 1)) & 0xFF
        buffer[offset + wire.CLIENT_HEAD_BYTES + i] = np.uint8(plain) ^ buffer[offset + 2 + (i & 3)]


@kernel
def forget_view(arrays, d):
    """Reset the view of device d to no canvas, and drop its probes, which cannot be seen any more."""
    device = arrays.devices[d]
    arrays.counters[0].subscriber_count -= device.seen
    device.seen = 0
    device.ping_nonce = 0
    device.fenced = 0
    forget_probes(arrays, d)
    move_viewer(arrays, d, -1)


@kernel
def subscribe(arrays, links, d, flags, is_fenced):
    """Send device d's SUBSCRIBE for the region of its group, after a PING if `is_fenced`. Resets its view."""
    device = arrays.devices[d]
    forget_view(arrays, d)
    at = 0
    if is_fenced:
        device.ping_nonce = put_nonce(arrays, links.outgoing, 0)
        device.fenced = 1
        at = wire.PING_FRAME_BYTES
    zero, interval_ms = np.int64(0), np.int64(arrays.settings[0].interval_ms)
    words = (zero, zero, zero, zero, interval_ms)
    if arrays.settings[0].region != _WHOLE:
        group = arrays.groups[device.group]
        words = (np.int64(group.x), np.int64(group.y), np.int64(group.width), np.int64(group.height), interval_ms)
    put_subscribe(links.outgoing, at, flags, words, mask_word(arrays.settings[0]))
    send_bytes(arrays, links, d, links.outgoing[: at + wire.SUBSCRIBE_FRAME_BYTES])


@kernel
def change_views(arrays, links, viewers, slow, resubscribe):
    """Set which devices are viewers and which are slow; `resubscribe`: all viewers subscribe again.

    viewers, slow: (devices,) bool. Writes viewer, slow and the views of the devices. Cost: up to two system calls per
    open device that changes.
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
                subscribe(arrays, links, d, wire.CANCEL, True)
        elif resubscribe or not was_viewer or (was_slow and not device.slow):
            subscribe(arrays, links, d, 0, True)
        # It stops reading, so its view would stay as it is and count as wrong.
        elif device.slow and not was_slow:
            forget_view(arrays, d)


@kernel
def send_last_pings(arrays, links, asked):
    """Send a final PING on each idle connection; its PONG says that all its placements were applied.

    asked: (devices,) bool, written in place: devices with a final PING. Devices with placements still to send are left
    for the next call; those that never read cannot answer. Returns the number of unanswered devices.
    """
    unanswered = 0
    for d in range(len(arrays.devices)):
        device = arrays.devices[d]
        if device.phase in (_IDLE, _GONE) or device.slow:
            continue
        if not asked[d] and device.phase == _FAST and device.ping_nonce == 0 and device.batch_count == 0:
            device.ping_nonce = put_nonce(arrays, links.outgoing, 0)
            asked[d] = True
            send_bytes(arrays, links, d, links.outgoing[: wire.PING_FRAME_BYTES])
        if not asked[d] or device.ping_nonce != 0:
            unanswered += 1
    return unanswered
