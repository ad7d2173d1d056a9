"""Latency probes: batches that are followed from their intended times until their device sees them.

The load is open loop, so the latency that counts is that of every intended placement, also of those that a stalled
server has not answered yet. Waiting for one probe before the next is sent would leave out most of what a stall delays
(coordinated omission). So a probe is drawn for each batch on its own, whatever other probes are under way: every
batch has the same chance, 1 in `mean`, and counts with the weight `mean`. When the table of probes fills up, the
chance falls by half and the weight doubles, again and again; so the estimate stays right however long a stall is.

The probes of a device form a queue, linked by row numbers; row 0 is none. The first ones have an answer, a tick:
they end with the first DELTA of a later tick. From `probe_waiting` on they have none yet. The latency of a greedy
device is not counted, because the rate limit drops part of what it sends.
"""

import math

import numpy as np

from devices.kernels.layout import EPOCHS_MAX, PROBE_INTERVAL_NS, PROBES_MAX
from devices.kernels.random import unit
from devices.kernels.schedule import batch_time, mask_word
from server.kernels.histogram import record
from server.kernels.kernel import kernel
from server.kernels.layout import JOURNEY_ROWS
from server.wire import PLACE_FRAME_BYTES, TILE_SIDE

_PLACE_WORDS = PLACE_FRAME_BYTES // 4


@kernel
def is_followed(arrays, d):
    """Whether device d is the one whose journeys are noted."""
    followed = arrays.settings[0].followed
    return followed >= 0 and arrays.devices[d].number == followed


@kernel
def batches_a_probe(arrays):
    """How many batches there are for each probe, so that about 2,000 are probed per second; at least 1."""
    settings = arrays.settings[0]
    row = arrays.epochs[settings.epoch % EPOCHS_MAX]
    if row.interval_ns <= 0:
        return np.int64(1)
    writers = np.float64(row.device_count - row.greedy_count)
    batch_ns = np.float64(row.interval_ns) * np.float64(settings.frames_per_write)
    return max(np.int64(writers / batch_ns * PROBE_INTERVAL_NS + 0.5), 1)


@kernel
def _draw_gap(arrays):
    """Draw how many batches the next probe is ahead: geometric, so that each batch has the same chance."""
    settings = arrays.settings[0]
    settings.probe_mean = batches_a_probe(arrays)
    settings.probe_gap = 1
    if settings.probe_mean > 1:
        settings.probe_gap += np.int64(math.log(unit(mask_word(settings))) / math.log(1.0 - 1.0 / settings.probe_mean))


@kernel
def _draw_weight(arrays):
    """For how many batches the one written now stands; 0: it is not probed."""
    settings = arrays.settings[0]
    if settings.probe_mean == 0:
        _draw_gap(arrays)
    settings.probe_gap -= 1
    if settings.probe_gap > 0:
        return np.int64(0)
    weight = np.int64(settings.probe_mean)
    _draw_gap(arrays)
    # Thin out by halves as the table fills; twice the weight makes up for each batch that is left out.
    least = PROBES_MAX // 2
    while settings.probe_free_count < least:
        if unit(mask_word(settings)) > 0.5:
            return np.int64(0)
        weight *= 2
        least //= 2
    return weight


@kernel
def probe_weight(arrays, d):
    """How the batch that device d writes now is probed: its weight; 0: for its journey alone; -1: not at all."""
    device, settings = arrays.devices[d], arrays.settings[0]
    if not device.seen:
        return -1
    weight = np.int64(0) if device.greedy else _draw_weight(arrays)
    # Journeys of a fast device leave half of the table to the others.
    is_noted = is_followed(arrays, d) and settings.probe_free_count > PROBES_MAX // 2
    return weight if settings.probe_free > 0 and (weight > 0 or is_noted) else -1


@kernel
def placed_pixel(words, at, width):
    """The pixel, y * width + x, of the PLACE frame in the three words at `at`. words: (>= at + 3,) u4."""
    low, high = np.int64(words[at]) >> 16, np.int64(words[at + 1]) & 0xFFFF
    place = np.int64(words[at + 2]) ^ (high | low << 16)
    return (place >> 16) * width + (place & 0xFFFF)


@kernel
def placed_color(words, at):
    """The colour of the PLACE frame in the three words at `at`."""
    return (np.int64(words[at + 1]) >> 24) ^ (np.int64(words[at]) >> 24)


@kernel
def begin_probe(arrays, q, d, weight, nonce, words, end, now_ns):
    """Append a probe of device d's batch, written at `now_ns`, to the queue of device q.

    Keeps the intended time of each placement, and the pixel and colour of the last. words: u4, the batch's frames up
    to word `end`. Cost: O(placements).
    """
    device, settings, queue = arrays.devices[d], arrays.settings[0], arrays.devices[q]
    row = np.int64(settings.probe_free)
    probe = arrays.probes[row]
    settings.probe_free = probe.next
    settings.probe_free_count -= 1
    probe.next = 0
    probe.device = d
    probe.weight = weight
    probe.nonce = nonce
    probe.count = device.batch_count
    probe.sent_ns = now_ns
    probe.pixel = placed_pixel(words, end - _PLACE_WORDS, np.int64(settings.width))
    probe.color = placed_color(words, end - _PLACE_WORDS)
    for i in range(np.int64(device.batch_count)):
        arrays.probe_times[row, i] = batch_time(arrays, d, i)
    if queue.probe_first == 0:
        queue.probe_first = row
    else:
        arrays.probes[queue.probe_last].next = row
    queue.probe_last = row
    # All earlier probes have an answer, so this is the first one without.
    if queue.probe_waiting == 0:
        queue.probe_waiting = row


@kernel
def _note_journey(arrays, row, tick, now_ns):
    """Append the probed batch to the ring of journeys."""
    probe = arrays.probes[row]
    journey = arrays.journeys[arrays.journey_head[0] % JOURNEY_ROWS]
    journey.number = arrays.devices[probe.device].number
    journey.pixel = probe.pixel
    journey.intended_ns = arrays.probe_times[row, np.int64(probe.count) - 1]
    journey.sent_ns = probe.sent_ns
    journey.seen_ns = now_ns
    journey.tick = tick
    arrays.journey_head[0] += 1


@kernel
def _record(arrays, row, now_ns):
    """Record the latency of each placement of the probed batch, and of the last one for its tile, by its weight."""
    probe, settings = arrays.probes[row], arrays.settings[0]
    pixel, width, weight = np.int64(probe.pixel), np.int64(settings.width), np.int64(probe.weight)
    tile_x, tile_y = pixel % width // TILE_SIDE, pixel // width // TILE_SIDE
    within_x = settings.brush_x0 <= tile_x and tile_x < settings.brush_x1
    is_brushed = within_x and settings.brush_y0 <= tile_y and tile_y < settings.brush_y1
    value_us = 0
    for i in range(np.int64(probe.count)):
        value_us = max((now_ns - arrays.probe_times[row, i]) // 1000, 0)
        record(arrays.latency, value_us, weight)
        arrays.latency_max_us[0] = max(arrays.latency_max_us[0], value_us)
        if is_brushed:
            record(arrays.brushed_latency, value_us, weight)
            arrays.brushed_latency_max_us[0] = max(arrays.brushed_latency_max_us[0], value_us)
    # Only the last placement's pixel is kept, so only its latency belongs to a known tile.
    tile = arrays.tile_latency[tile_y * ((width + TILE_SIDE - 1) // TILE_SIDE) + tile_x]
    tile.sum_us += value_us * weight
    tile.count += weight


@kernel
def drop_probe(arrays, row):
    """Return a probe's row to the free ones. The caller has taken it out of its queue."""
    settings = arrays.settings[0]
    arrays.probes[row].next = settings.probe_free
    settings.probe_free = row
    settings.probe_free_count += 1


@kernel
def end_probe(arrays, row, tick, now_ns):
    """Record the latency of a probed batch, from its intended times until now, when `tick` showed it; free its row."""
    probe = arrays.probes[row]
    if is_followed(arrays, probe.device):
        _note_journey(arrays, row, tick, now_ns)
    if probe.weight > 0:
        _record(arrays, row, now_ns)
    drop_probe(arrays, row)


@kernel
def answer_probes(arrays, q, nonce, tick):
    """The server had read, at `tick`, what came before the PING with this nonce: of one probe, or of a whole block."""
    queue = arrays.devices[q]
    row = np.int64(queue.probe_waiting)
    # Probes of one block share a nonce, because the block is answered as a whole.
    while row > 0 and arrays.probes[row].nonce == nonce:
        arrays.probes[row].tick = tick
        row = np.int64(arrays.probes[row].next)
    queue.probe_waiting = row


@kernel
def take_first(arrays, q):
    """Take the first probe out of the queue of device q. Returns its row; 0 when there is none."""
    queue = arrays.devices[q]
    row = np.int64(queue.probe_first)
    if row > 0:
        after = np.int64(arrays.probes[row].next)
        if queue.probe_waiting == row:
            queue.probe_waiting = after
        queue.probe_first = after
        if after == 0:
            queue.probe_last = 0
    return row


@kernel
def see_tick(arrays, q, tick, now_ns):
    """End the probes that the DELTA of `tick` shows: those answered at an earlier one."""
    queue = arrays.devices[q]
    # Answers come in order, and ticks never fall along the queue: the first that is not shown ends the search.
    while queue.probe_first != queue.probe_waiting and tick > arrays.probes[queue.probe_first].tick:
        end_probe(arrays, take_first(arrays, q), tick, now_ns)


@kernel
def forget_probes(arrays, q):
    """Drop all probes of device q, which cannot be answered or seen any more."""
    while True:
        row = take_first(arrays, q)
        if row == 0:
            return
        drop_probe(arrays, row)


@kernel
def forget_answered(arrays):
    """Drop the answered probes of all devices: placements that changed nothing are in no DELTA."""
    for q in range(len(arrays.devices)):
        queue = arrays.devices[q]
        while queue.probe_first != queue.probe_waiting:
            drop_probe(arrays, take_first(arrays, q))
