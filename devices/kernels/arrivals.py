"""When devices intend to send: draws of the schedule, batches of it, and the count of what it has asked for so far.

The schedule is open: it depends on the seed alone, never on the server. A device reads its schedule at two places:
`send_*` is where batches are drawn from and stalls with the socket, `offer_*` is where offered placements are counted
and follows the clock. Invariant: both places give the same times in the same order.
"""

import math

import numpy as np

from devices.kernels.chance import advance, mix, seeded, unit
from devices.kernels.epochs import interval_in, time_after, walk
from devices.kernels.layout import EPOCHS_MAX, NEVER_NS, PARKED_NS, Arrivals, Phase
from server.kernels.kernel import kernel

_PERIODIC, _POISSON = int(Arrivals.PERIODIC), int(Arrivals.POISSON)
_SLOW, _FAST = int(Phase.SLOW), int(Phase.FAST)
_BURST_MEAN = 32
_RUN = 64


@kernel
def draw_gap(arrivals, interval_ns, burst_ratio, word):
    """The time to the next placement, and the random state behind it.

    Periodic: the interval. Poisson: exponential with the interval as its mean. Bursty: bursts of 32 placements on
    average, at `burst_ratio` times the rate, and pauses whose mean restores the interval. Returns (gap_ns int64,
    word uint64).
    """
    if arrivals == _PERIODIC:
        return interval_ns, word
    word = advance(word)
    if arrivals == _POISSON:
        return np.int64(-math.log(unit(word)) * interval_ns), word
    gap = np.float64(interval_ns) / burst_ratio
    if unit(word) * _BURST_MEAN <= 1.0:
        word = advance(word)
        gap += -math.log(unit(word)) * interval_ns * _BURST_MEAN * (1.0 - 1.0 / burst_ratio)
    return np.int64(gap), word


@kernel
def count_periodic(next_ns, until_ns, interval_ns):
    """How many of the times next_ns, next_ns + interval_ns, ... are not after `until_ns`."""
    return (until_ns - next_ns) // interval_ns + 1 if next_ns <= until_ns else 0


@kernel
def limit_ns(settings):
    """No placement is intended after it: the end of the schedules, and less than any parked time."""
    return min(np.int64(settings.stop_ns), PARKED_NS - 1)


@kernel
def _fill_periodic(device, settings):
    """`fill_batch` where the times follow from the first."""
    next_ns, interval_ns = np.int64(device.send_next_ns), np.int64(device.interval_ns)
    count = min(np.int64(settings.frames_per_write), count_periodic(next_ns, limit_ns(settings), interval_ns))
    device.timed = 0
    device.batch_count = count
    device.wake_ns = next_ns + (count - 1) * interval_ns if count > 0 else NEVER_NS
    device.send_next_ns = next_ns + count * interval_ns


@kernel
def batch_time(arrays, d, i):
    """The intended time of placement number i of device d's batch."""
    device = arrays.devices[d]
    if device.timed:
        return np.int64(arrays.times[d, i])
    return np.int64(device.wake_ns) - (np.int64(device.batch_count) - 1 - i) * np.int64(device.interval_ns)


@kernel
def fill_from(arrays, d, count):
    """`fill_batch` behind the `count` times that times[d] holds already."""
    device, settings, times = arrays.devices[d], arrays.settings[0], arrays.times[d]
    newest, last_ns = np.int64(settings.epoch), limit_ns(settings)
    next_ns, epoch, word = np.int64(device.send_next_ns), np.int64(device.epoch), device.send_word
    while count < settings.frames_per_write:
        next_ns, epoch = walk(arrays.epochs, newest, d, next_ns, epoch)
        if next_ns > last_ns:
            break
        times[count] = next_ns
        row = arrays.epochs[epoch % EPOCHS_MAX]
        gap, word = draw_gap(row.arrivals, interval_in(row, d), row.burst_ratio, word)
        next_ns += gap
        count += 1
    device.send_next_ns = next_ns
    device.send_word = word
    device.epoch = epoch
    device.timed = 1
    device.batch_count = count
    device.wake_ns = times[count - 1] if count > 0 else NEVER_NS


@kernel
def fill_batch(arrays, d):
    """Draw the next batch of device d: its intended times up to the end of the schedule, and when to write it.

    Writes times[d] unless they are periodic, and batch_count, wake_ns, send_* of devices[d]; not due_ns. Cost:
    frames_per_write draws; nothing where they are periodic and no change of the schedule lies between.
    """
    device, settings = arrays.devices[d], arrays.settings[0]
    if settings.arrivals == _PERIODIC and device.epoch == settings.epoch:
        _fill_periodic(device, settings)
    else:
        fill_from(arrays, d, 0)


@kernel
def arm(arrays, d):
    """Make device d due at its batch's time, if its connection may be written to; never otherwise."""
    device = arrays.devices[d]
    free_to_send = device.phase == _FAST and device.rest_end == 0 and not device.stalled
    arrays.due_ns[d] = device.wake_ns if free_to_send else NEVER_NS


@kernel
def next_due(due_ns, first, end, now_ns):
    """The first device of [first, end) that is due at `now_ns`, or `end`; and when the first one passed will be due.

    due_ns: (>= end,) i8, read. Returns (d, earliest_ns), NEVER_NS where none was passed. Cost: a minimum over runs of
    devices, which the processor takes several at a time; only a run that holds one which is due is looked through.
    """
    earliest_ns = NEVER_NS
    at = first
    while at < end:
        run_end = min(at + _RUN, end)
        least_ns = NEVER_NS
        for d in range(at, run_end):
            least_ns = min(least_ns, due_ns[d])
        if least_ns <= now_ns:
            for d in range(at, run_end):
                if due_ns[d] <= now_ns:
                    return d, earliest_ns
                earliest_ns = min(earliest_ns, due_ns[d])
        earliest_ns = min(earliest_ns, least_ns)
        at = run_end
    return end, earliest_ns


@kernel
def begin_schedule(arrays, d, now_ns, hop):
    """Let device d intend placements from `now_ns` on and draw its first batch. hop: `scatter_stride` of all.

    Phases are spread evenly over the time between two writes, in a scattered order, so that the server sees neither
    a wave nor a scan. Without a rate it begins parked. A device that comes back goes on with its random numbers.
    """
    device, settings = arrays.devices[d], arrays.settings[0]
    count = max(np.int64(settings.device_count), 1)
    phase = np.float64((d * hop) % count) / count
    if device.offer_word == 0:
        device.offer_word = seeded(settings.seed, np.uint64(d))
    device.send_word = device.offer_word
    device.epoch = settings.epoch
    interval_ns = np.int64(device.interval_ns)
    if interval_ns > 0:
        device.send_next_ns = now_ns + np.int64(phase * interval_ns * settings.frames_per_write)
    else:
        device.send_next_ns = time_after(now_ns, phase * settings.frames_per_write, interval_ns)
    device.offer_next_ns = device.send_next_ns
    fill_batch(arrays, d)
    arm(arrays, d)


@kernel
def start_schedule(arrays, started_ns):
    """Lay out the schedules of all open devices from `started_ns` on and draw the first batches."""
    settings = arrays.settings[0]
    settings.started_ns = started_ns
    settings.stop_ns = NEVER_NS
    hop = scatter_stride(max(np.int64(settings.device_count), 1))
    for d in range(len(arrays.devices)):
        if arrays.devices[d].phase == _SLOW or arrays.devices[d].phase == _FAST:
            begin_schedule(arrays, d, started_ns, hop)


@kernel
def stop_schedule(arrays, stop_ns):
    """End the schedules: nothing is intended after `stop_ns`; what batches hold of earlier times is due at once.

    The first end stands: a later one would intend anew what was never drawn.
    """
    stop_ns = min(stop_ns, arrays.settings[0].stop_ns)
    arrays.settings[0].stop_ns = stop_ns
    for d in range(len(arrays.devices)):
        device = arrays.devices[d]
        count, wake_ns = 0, NEVER_NS
        while count < device.batch_count and batch_time(arrays, d, count) <= stop_ns:
            wake_ns = batch_time(arrays, d, count)
            count += 1
        device.batch_count = count
        device.wake_ns = wake_ns
        arm(arrays, d)


@kernel
def count_offers(device, settings, epoch, until_ns):
    """Count placements of a device whose intended time has come since the last call. Writes its offer_*."""
    next_ns, word, offered = np.int64(device.offer_next_ns), device.offer_word, np.int64(0)
    if next_ns > until_ns:
        return offered
    interval_ns = np.int64(device.interval_ns)
    if settings.arrivals == _PERIODIC:
        offered = count_periodic(next_ns, until_ns, interval_ns)
        device.offer_next_ns = next_ns + offered * interval_ns
        return offered
    while next_ns <= until_ns:
        gap, word = draw_gap(settings.arrivals, interval_ns, epoch.burst_ratio, word)
        next_ns += gap
        offered += 1
    device.offer_next_ns = next_ns
    device.offer_word = word
    return offered


@kernel
def count_offered(arrays, now_ns):
    """Count placements whose intended time has come since the last call. A device that is gone intends nothing.

    Returns their number. Cost: one draw each, or one division a device where they are periodic. Writes offer_* of
    the devices.
    """
    settings = arrays.settings[0]
    epoch = arrays.epochs[settings.epoch % EPOCHS_MAX]
    until_ns = min(np.int64(now_ns), limit_ns(settings))
    offered = 0
    for d in range(len(arrays.devices)):
        if arrays.devices[d].offer_next_ns <= until_ns:
            offered += count_offers(arrays.devices[d], settings, epoch, until_ns)
    return offered


@kernel
def count_backlog(arrays, now_ns):
    """Placements due and not yet in a frame, in batches drawn so far: 0 when every device is on time."""
    backlog = 0
    for d in range(len(arrays.devices)):
        if arrays.devices[d].wake_ns <= now_ns:
            backlog += arrays.devices[d].batch_count
    return backlog


@kernel
def scatter_stride(count):
    """A step near the golden section of `count`, coprime to it: multiples of it visit all residues, well apart."""
    stride = max(np.int64(count * 0.6180339887498949), 1)
    while True:
        a, b = stride, np.int64(count)
        while b:
            a, b = b, a % b
        if a <= 1:
            return stride
        stride += 1


@kernel
def mask_word(settings):
    """The next random word of a fleet's masks and probe times. Writes settings.mask_word."""
    settings.mask_word = advance(settings.mask_word)
    return mix(settings.mask_word)
