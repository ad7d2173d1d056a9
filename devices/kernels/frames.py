"""Masked binary WebSocket frames of a batch of placements, built in place.

    OFFSET  SIZE  FIELD    MEANING
         0     1  0x82     final fragment, binary
         1     1  0x86     masked, 6 bytes
         2     4  mask     random
         6     1  op       PLACE, masked like all that follows
         7     1  color
         8     2  x        little-endian
        10     2  y

A frame is three words of 32 bits, and written as such. A PING for a latency probe may follow the batch. The bytes equal
those of `Connection.send_binary` with the same masks.
"""

import numpy as np

from devices.kernels.layout import Pattern, Region
from devices.kernels.patterns import heat_at, heat_color, owned_pixel, paint
from devices.kernels.random import advance, mix
from devices.kernels.schedule import batch_time, mask_word
from server import wire
from server.kernels.kernel import kernel

_OP_PLACE, _OP_PING = int(wire.ClientOp.PLACE), int(wire.ClientOp.PING)
_MASKED_PLACE, _MASKED_PING = wire.MASK | wire.PLACE.size, wire.MASK | wire.PING.size
_PING_BYTES = wire.PING.size
_LOW = np.uint64(0xFF)
_PLACE_WORDS = wire.PLACE_FRAME_BYTES // 4
# The heat at a pixel changes almost linearly within this time.
_STEADY_NS = 1_000_000_000
_SENSOR_FIELD, _WHOLE = int(Pattern.SENSOR_FIELD), int(Region.WHOLE)

assert wire.PLACE_FRAME_BYTES % 4 == 0


@kernel
def put_place(words, at, x, y, color, mask):
    """Write one PLACE frame as three little-endian words at `at`. mask: its low 32 bits. words: (>= at + 3,) u4."""
    # The head takes two bytes, so mask and payload are shifted by half a word against the words of the frame.
    low, high = mask & 0xFFFF, (mask >> 16) & 0xFFFF
    words[at] = np.uint32(wire.BINARY_FRAME | _MASKED_PLACE << 8 | low << 16)
    words[at + 1] = np.uint32(high | ((_OP_PLACE | color << 8) ^ low) << 16)
    words[at + 2] = np.uint32((x | y << 16) ^ (high | low << 16))


@kernel
def put_ping(buffer, offset, nonce, mask):
    """Write one PING frame of 18 bytes at `offset`. `nonce`: uint64. `buffer`: (>= offset + 18,) u1."""
    buffer[offset] = wire.BINARY_FRAME
    buffer[offset + 1] = _MASKED_PING
    for i in range(4):
        buffer[offset + 2 + i] = np.uint8((mask >> np.uint64(8 * i)) & _LOW)
    for i in range(_PING_BYTES):
        plain = np.uint64(0)
        # Bytes 1 to 3 are zero, then comes the nonce.
        if i == 0:
            plain = np.uint64(_OP_PING)
        elif i >= 4:
            plain = (nonce >> np.uint64(8 * (i - 4))) & _LOW
        buffer[offset + wire.CLIENT_HEAD_BYTES + i] = np.uint8(plain) ^ buffer[offset + 2 + (i & 3)]


@kernel
def _put_sensor(settings, words, at, pixel, heats, count):
    """Write `count` frames of one sensor, its heat interpolated between the two `heats`.

    A batch is short compared with the field's motion, so the colours are within one step of those of `paint`.
    """
    width = np.int64(settings.width)
    x, y = pixel % width, pixel // width
    first, last = heats
    step = (last - first) / max(count - 1, 1)
    state, drawn = settings.mask_word, np.int64(0)
    for i in range(count):
        # One 64-bit draw has the masks of two frames.
        if i & 1:
            drawn >>= 32
        else:
            state = advance(state)
            drawn = np.int64(mix(state))
        put_place(words, at + i * _PLACE_WORDS, x, y, heat_color(first + i * step), drawn & 0xFFFFFFFF)
    settings.mask_word = state


@kernel
def _put_painted(arrays, d, words, at):
    """Write the frames of a batch, one `paint` per frame."""
    device, settings = arrays.devices[d], arrays.settings[0]
    board, ridges, sequence = arrays.board, arrays.ridges, np.int64(device.sequence)
    for i in range(np.int64(device.batch_count)):
        x, y, color = paint(settings, board, ridges, d, sequence + i, batch_time(arrays, d, i))
        put_place(words, at + i * _PLACE_WORDS, x, y, color, np.int64(mask_word(settings)) & 0xFFFFFFFF)


@kernel
def put_batch(arrays, d, words, at):
    """Write the frames of device d's batch from word `at` on, and advance its sequence.

    words: (>= at + frames_per_write * 3,) u4, written in place. Returns the number of bytes. Cost: one paint per frame;
    two per batch for a sensor with one pixel.
    """
    device, settings = arrays.devices[d], arrays.settings[0]
    count, sequence = np.int64(device.batch_count), np.int64(device.sequence)
    width, height = np.int64(settings.width), np.int64(settings.height)
    # With as many devices as pixels a sensor keeps its pixel, so the field needs evaluating only at both ends.
    one_pixel = settings.region == _WHOLE and np.int64(settings.device_count) >= width * height
    first_ns, last_ns = batch_time(arrays, d, 0), np.int64(device.wake_ns)
    if settings.pattern == _SENSOR_FIELD and one_pixel and count > 0 and last_ns - first_ns <= _STEADY_NS:
        pixel = owned_pixel(settings, d, sequence)
        x, y = pixel % width, pixel // width
        first = heat_at(x, y, width, height, (first_ns - settings.started_ns) * 1e-9)
        last = heat_at(x, y, width, height, (last_ns - settings.started_ns) * 1e-9)
        _put_sensor(settings, words, at, pixel, (first, last), count)
    else:
        _put_painted(arrays, d, words, at)
    device.sequence += device.batch_count
    return count * wire.PLACE_FRAME_BYTES


@kernel
def put_nonce(arrays, buffer, offset):
    """Write a PING with the next nonce at `offset`. Returns the nonce, uint64; the frame has PING_FRAME_BYTES."""
    settings = arrays.settings[0]
    settings.nonce += np.uint64(1)
    put_ping(buffer, offset, settings.nonce, mask_word(settings))
    return settings.nonce


# The longest write, in whole words: 64 placements, the most that a fleet's settings allow, and a probe.
WRITE_BYTES_MAX = 64 * wire.PLACE_FRAME_BYTES + (wire.PING_FRAME_BYTES + 3) // 4 * 4
