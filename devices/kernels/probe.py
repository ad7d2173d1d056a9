"""Latency probes: which batch is probed, what is remembered of it, and what is recorded when its device has seen it.

Of all devices a few batches at a time are probed, drawn by lot, and of the followed device each batch that it writes
while none of its own is under way. Invariant: what a device that sends more than the limit lets in waits for is no
latency: it may be followed, and is not counted.
"""

import numpy as np

from devices.kernels.arrivals import batch_time, mask_word
from devices.kernels.chance import unit
from devices.kernels.layout import PLACE_FRAME_BYTES, PROBE_INTERVAL_NS, Probe
from server.kernels.histogram import record
from server.kernels.kernel import kernel
from server.kernels.layout import JOURNEY_ROWS, TILE_SIDE

_NONE, _PINGED = int(Probe.NONE), int(Probe.PINGED)
_PLACE_WORDS = PLACE_FRAME_BYTES // 4


@kernel
def is_followed(arrays, d):
    """True for the device whose journeys are noted."""
    followed = arrays.settings[0].followed
    return followed >= 0 and arrays.devices[d].number == followed


@kernel
def is_probed(arrays, d, stride, now_ns):
    """Whether the batch that device d writes now is to be probed. Of those drawn by lot, each `stride`th may be."""
    device = arrays.devices[d]
    if device.probe != _NONE or not device.seen:
        return False
    is_drawn = now_ns >= arrays.settings[0].probe_next_ns and not device.greedy and d % stride == 0
    return is_drawn or is_followed(arrays, d)


@kernel
def placed_pixel(words, at, width):
    """The pixel, y * width + x, of the PLACE frame whose three words stand at `at`. words: (>= at + 3,) u4."""
    low, high = np.int64(words[at]) >> 16, np.int64(words[at + 1]) & 0xFFFF
    place = np.int64(words[at + 2]) ^ (high | low << 16)
    return (place >> 16) * width + (place & 0xFFFF)


@kernel
def begin_probe(arrays, d, words, end, now_ns):
    """Remember of device d's batch when each placement was intended, and where the last one goes.

    words: u4, the batch's frames up to word `end`. Cost: O(placements).
    """
    device, settings = arrays.devices[d], arrays.settings[0]
    if now_ns >= settings.probe_next_ns:
        settings.probe_next_ns = now_ns + np.int64(2.0 * PROBE_INTERVAL_NS * unit(mask_word(settings)))
    device.probe = _PINGED
    device.probe_count = device.batch_count
    device.probe_sent_ns = now_ns
    device.probe_pixel = placed_pixel(words, end - _PLACE_WORDS, np.int64(settings.width))
    for i in range(np.int64(device.batch_count)):
        arrays.probe_times[d, i] = batch_time(arrays, d, i)


@kernel
def _note_journey(arrays, d, tick, now_ns):
    """Append the probed batch to the ring of journeys."""
    device = arrays.devices[d]
    row = arrays.journeys[arrays.journey_head[0] % JOURNEY_ROWS]
    row.number = device.number
    row.pixel = device.probe_pixel
    row.intended_ns = arrays.probe_times[d, np.int64(device.probe_count) - 1]
    row.sent_ns = device.probe_sent_ns
    row.seen_ns = now_ns
    row.tick = tick
    arrays.journey_head[0] += 1


@kernel
def _record(arrays, d, now_ns):
    """Count the latency of each placement of the probed batch, and of the last one for its tile."""
    device, settings = arrays.devices[d], arrays.settings[0]
    pixel, width = np.int64(device.probe_pixel), np.int64(settings.width)
    tile_x, tile_y = pixel % width // TILE_SIDE, pixel // width // TILE_SIDE
    within_x = settings.brush_x0 <= tile_x and tile_x < settings.brush_x1
    is_brushed = within_x and settings.brush_y0 <= tile_y and tile_y < settings.brush_y1
    value_us = 0
    for i in range(np.int64(device.probe_count)):
        value_us = max((now_ns - arrays.probe_times[d, i]) // 1000, 0)
        record(arrays.latency, value_us, 1)
        arrays.latency_max_us[0] = max(arrays.latency_max_us[0], value_us)
        if is_brushed:
            record(arrays.brushed_latency, value_us, 1)
            arrays.brushed_latency_max_us[0] = max(arrays.brushed_latency_max_us[0], value_us)
    tile = arrays.tile_latency[tile_y * ((width + TILE_SIDE - 1) // TILE_SIDE) + tile_x]
    tile.sum_us += value_us
    tile.count += 1


@kernel
def end_probe(arrays, d, tick, now_ns):
    """Record what device d's probed batch has waited, from its intended times to now, when `tick` showed it."""
    device = arrays.devices[d]
    if device.probe_count > 0:
        if is_followed(arrays, d):
            _note_journey(arrays, d, tick, now_ns)
        if not device.greedy:
            _record(arrays, d, now_ns)
    device.probe = _NONE
