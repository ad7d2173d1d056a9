"""The arrays of the socket pass, and what its failures mean.

Invariant: the arena holds the longest frame that may be unfinished, and a read behind it.
"""

import errno
import os

import numpy as np

from devices.fleet.fleet import Fleet
from devices.kernels import layout
from devices.kernels.frames import WRITE_BYTES_MAX
from devices.kernels.layout import PollState
from server.kernels.libc import EVENT_BYTES

FRAME_HEADROOM_BYTES = 65_536


def new_links(fleet: Fleet, descriptors: int, epoll_fd: int) -> PollState:
    """The arrays of the socket pass, for descriptors below `descriptors`."""
    frame_bytes_max = 2 * fleet.width * fleet.height + FRAME_HEADROOM_BYTES  # Tiles of the full kind may stick out.
    words = np.zeros(WRITE_BYTES_MAX // 4, np.uint32)
    cursor = np.zeros(1, layout.CURSOR)
    cursor["device"] = -1
    cursor["epoll_fd"] = epoll_fd
    cursor["frame_bytes_max"] = frame_bytes_max
    return PollState(
        cursor=cursor,
        arena=np.zeros(frame_bytes_max + 16 + layout.READ_BYTES_MAX, np.uint8),
        outgoing=words.view(np.uint8),
        words=words,
        events=np.zeros(layout.EVENTS_MAX * EVENT_BYTES + 16, np.uint8),
        device_of_fd=np.full(descriptors, -1, np.int32),
    )


def widened(links: PollState, descriptors: int) -> PollState:
    """The same for descriptors below `descriptors`, if that is more."""
    have = len(links.device_of_fd)
    if descriptors <= have:
        return links
    device_of_fd = np.full(descriptors, -1, np.int32)
    device_of_fd[:have] = links.device_of_fd
    return links._replace(device_of_fd=device_of_fd)


def explain(failure: int) -> str:
    """What an errno of a connection means for a person."""
    if failure == errno.EADDRNOTAVAIL:
        return "no local port is left; lower connections, or widen net.ipv4.ip_local_port_range"
    return os.strerror(failure).lower()
