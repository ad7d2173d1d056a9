"""What a device sends: one call, and what its socket did not take is kept until it does.

Invariant: bytes are sent in the order in which they came here, and while some are kept, the device is off its schedule
and epoll is asked for EPOLLOUT, unless it is stalled.
"""

import numpy as np

from devices.kernels.arrivals import arm
from devices.kernels.layout import EVENTS_MAX
from server.kernels import libc
from server.kernels.kernel import address_of, kernel

_SEND_FLAGS = libc.MSG_DONTWAIT | libc.MSG_NOSIGNAL
_CONTROL_EVENT = EVENTS_MAX * libc.EVENT_BYTES


@kernel
def _watch(arrays, links, d, writable):
    """Ask epoll for EPOLLIN, unless device d does not read, and for EPOLLOUT when `writable`; stalled, for neither."""
    device, events = arrays.devices[d], links.events
    device.writable_armed = writable
    wanted = (0 if device.slow else libc.EPOLLIN) | (libc.EPOLLOUT if writable else 0)
    events[_CONTROL_EVENT] = 0 if device.stalled else wanted
    for i in range(1, libc.EVENT_BYTES):
        events[_CONTROL_EVENT + i] = 0
    for i in range(4):
        events[_CONTROL_EVENT + libc.EVENT_DATA + i] = (device.fd >> (8 * i)) & 0xFF
    event = address_of(events) + _CONTROL_EVENT
    libc.epoll_ctl(links.cursor[0].epoll_fd, libc.EPOLL_CTL_MOD, device.fd, event)


@kernel
def update_interest(arrays, links, d):
    """Have epoll and the schedule go by device d's `slow` and `stalled`, which the caller has changed."""
    _watch(arrays, links, d, 1 if arrays.devices[d].rest_end > 0 else 0)
    arm(arrays, d)


@kernel
def keep_rest(arrays, links, d, address, size):
    """Keep `size` bytes at `address` behind device d's rest, and ask to be told when the socket takes more."""
    device = arrays.devices[d]
    held = np.int64(device.rest_end) - np.int64(device.rest_start)
    grown = libc.malloc(held + size)
    if held:
        libc.memcpy(grown, device.rest_pointer + np.int64(device.rest_start), held)
        libc.free(device.rest_pointer)
    libc.memcpy(grown + held, address, size)
    device.rest_pointer = grown
    device.rest_start = 0
    device.rest_end = held + size
    if not device.writable_armed:
        _watch(arrays, links, d, 1)
    arm(arrays, d)


@kernel
def send_some(arrays, d, address, size):
    """One send call. Returns the bytes taken, 0 when the socket is full or broken: a broken one is found by reading."""
    counters = arrays.counters[0]
    taken = libc.send(arrays.devices[d].fd, address, size, _SEND_FLAGS)
    counters.write_count += 1
    if taken > 0:
        counters.sent_bytes += taken
    return max(taken, 0)


@kernel
def send_bytes(arrays, links, d, data):
    """Send bytes of the slow path behind all that device d has to send. data: (n,) u1, n > 0, copied where kept."""
    address, taken = address_of(data), 0
    if arrays.devices[d].rest_end == 0:
        taken = send_some(arrays, d, address, len(data))
    if taken < len(data):
        keep_rest(arrays, links, d, address + taken, len(data) - taken)


@kernel
def flush(arrays, links, d):
    """Send what the socket did not take before; when all is gone, the device is on its schedule again."""
    device = arrays.devices[d]
    size = np.int64(device.rest_end) - np.int64(device.rest_start)
    taken = send_some(arrays, d, device.rest_pointer + np.int64(device.rest_start), size)
    device.rest_start += taken
    if device.rest_start < device.rest_end:
        return
    arrays.counters[0].sent_count += device.rest_frames
    libc.free(device.rest_pointer)
    device.rest_pointer = 0
    device.rest_start = 0
    device.rest_end = 0
    device.rest_frames = 0
    _watch(arrays, links, d, 0)
    arm(arrays, d)
