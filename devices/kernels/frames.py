"""Masked binary WebSocket frames of a batch of placements, built in place.

    OFFSET  SIZE  FIELD    MEANING
         0     1  0x82     final fragment, binary
         1     1  0x86     masked, 6 bytes
         2     4  mask     random
         6     1  op       PLACE, masked like all that follows
         7     1  color
         8     2  x        little-endian
        10     2  y

A PING for a latency probe may follow the batch. Invariant: the bytes are those that `Connection.send_binary` would
make with the same masks.
"""

import numpy as np

from devices.kernels.arrivals import mask_word
from devices.kernels.layout import PING_FRAME_BYTES, PLACE_FRAME_BYTES
from devices.kernels.patterns import paint
from server.kernels.kernel import kernel

_OP_PLACE = 0x01
_OP_PING = 0x04
_LOW = np.uint64(0xFF)


@kernel
def put_place(buffer, offset, x, y, color, mask):
    """Write one PLACE frame of 12 bytes at `offset`; `mask` is 32 bits of a uint64. `buffer`: (>= offset + 12,) u1."""
    m0, m1 = np.uint8(mask & _LOW), np.uint8((mask >> np.uint64(8)) & _LOW)
    m2, m3 = np.uint8((mask >> np.uint64(16)) & _LOW), np.uint8((mask >> np.uint64(24)) & _LOW)
    buffer[offset] = 0x82
    buffer[offset + 1] = 0x86
    buffer[offset + 2], buffer[offset + 3], buffer[offset + 4], buffer[offset + 5] = m0, m1, m2, m3
    buffer[offset + 6] = np.uint8(_OP_PLACE) ^ m0
    buffer[offset + 7] = np.uint8(color) ^ m1
    buffer[offset + 8] = np.uint8(x & 0xFF) ^ m2
    buffer[offset + 9] = np.uint8(x >> 8) ^ m3
    buffer[offset + 10] = np.uint8(y & 0xFF) ^ m0
    buffer[offset + 11] = np.uint8(y >> 8) ^ m1


@kernel
def put_ping(buffer, offset, nonce, mask):
    """Write one PING frame of 18 bytes at `offset`. `nonce`: uint64. `buffer`: (>= offset + 18,) u1."""
    buffer[offset] = 0x82
    buffer[offset + 1] = 0x8C
    for i in range(4):
        buffer[offset + 2 + i] = np.uint8((mask >> np.uint64(8 * i)) & _LOW)
    for i in range(12):
        plain = np.uint64(0)
        if i == 0:
            plain = np.uint64(_OP_PING)
        elif i >= 4:
            plain = (nonce >> np.uint64(8 * (i - 4))) & _LOW
        buffer[offset + 6 + i] = np.uint8(plain) ^ buffer[offset + 2 + (i & 3)]


@kernel
def put_batch(arrays, d, buffer):
    """Write the frames of device d's batch at the start of `buffer`, and count its placements as written.

    buffer: (>= frames_per_write * 12,) u1, written in place. Returns the number of bytes. Cost: one paint a frame.
    """
    device, settings, times = arrays.devices[d], arrays.settings[0], arrays.times[d]
    board, ridges = arrays.board, arrays.ridges
    offset, sequence = 0, np.int64(device.sequence)
    for i in range(device.batch_count):
        x, y, color = paint(settings, board, ridges, d, sequence + i, times[i])
        put_place(buffer, offset, x, y, color, mask_word(settings))
        offset += PLACE_FRAME_BYTES
    device.sequence += device.batch_count
    return offset


@kernel
def put_nonce(arrays, buffer, offset):
    """Write a PING with the next nonce at `offset`. Returns the nonce, uint64; the frame has PING_FRAME_BYTES."""
    settings = arrays.settings[0]
    settings.nonce += np.uint64(1)
    put_ping(buffer, offset, settings.nonce, mask_word(settings))
    return settings.nonce


WRITE_BYTES_MAX = 64 * PLACE_FRAME_BYTES + PING_FRAME_BYTES
"""The longest write: 64 placements, the most that a fleet's settings allow, and a probe."""
