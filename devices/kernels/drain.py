"""The end of a load: a last PING behind all that a device has sent, whose PONG says that it was applied."""

from devices.kernels.frames import put_nonce
from devices.kernels.layout import PING_FRAME_BYTES, Phase, Probe
from devices.kernels.outlet import send_bytes
from server.kernels.kernel import kernel

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
