"""When devices intend to send: draws of the schedule, batches of it, and the count of what it has asked for so far.

The schedule is open: it depends on the seed alone, never on the server. A device reads its schedule at two places:
`send_*` is where batches are drawn from and stalls with the socket, `offer_*` is where offered placements are counted
and follows the clock. Invariant: both places give the same times in the same order.
"""

import math

import numpy as np

from devices.kernels.chance import advance, mix, seeded, unit
from devices.kernels.layout import NEVER_NS, Arrivals, Phase
from server.kernels.kernel import kernel

_PERIODIC, _POISSON = int(Arrivals.PERIODIC), int(Arrivals.POISSON)
_FAST, _GONE = int(Phase.FAST), int(Phase.GONE)
_BURST_SPEEDUP = 4
_BURST_MEAN = 32
_RUN = 64
_PAUSE_RATIO = 1 - 1 / _BURST_SPEEDUP


@kernel
def draw_gap(arrivals, interval_ns, word):
    """The time to the next placement, and the random state behind it.

    Periodic: the interval. Poisson: exponential with the interval as its mean. Bursty: bursts of 32 placements on
    average, at four times the rate, and pauses whose mean restores the interval. Returns (gap_ns int64, word uint64).
    """
    if arrivals == _PERIODIC:
        return interval_ns, word
    word = advance(word)
    if arrivals == _POISSON:
        return np.int64(-math.log(unit(word)) * interval_ns), word
    gap = np.float64(interval_ns) / _BURST_SPEEDUP
    if unit(word) * _BURST_MEAN <= 1.0:
        word = advance(word)
        gap += -math.log(unit(word)) * interval_ns * _BURST_MEAN * _PAUSE_RATIO
    return np.int64(gap), word


@kernel
def count_periodic(next_ns, until_ns, interval_ns):
    """How many of the times next_ns, next_ns + interval_ns, ... are not after `until_ns`."""
    return (until_ns - next_ns) // interval_ns + 1 if next_ns <= until_ns else 0


@kernel
def _fill_periodic(device, settings):
    """`fill_batch` where the times follow from the first."""
    next_ns, interval_ns = np.int64(device.send_next_ns), np.int64(device.interval_ns)
    count = min(np.int64(settings.frames_per_write), count_periodic(next_ns, settings.stop_ns, interval_ns))
    device.batch_count = count
    device.wake_ns = next_ns + (count - 1) * interval_ns if count > 0 else NEVER_NS
    device.send_next_ns = next_ns + count * interval_ns


@kernel
def batch_time(arrays, d, i):
    """The intended time of placement number i of device d's batch."""
    device = arrays.devices[d]
    if arrays.settings[0].arrivals == _PERIODIC:
        return np.int64(device.wake_ns) - (np.int64(device.batch_count) - 1 - i) * np.int64(device.interval_ns)
    return np.int64(arrays.times[d, i])


@kernel
def fill_batch(arrays, d):
    """Draw the next batch of device d: its intended times up to the end of the schedule, and when to write it.

    Writes times[d] unless they are periodic, and batch_count, wake_ns, send_* of devices[d]; not due_ns. Cost:
    frames_per_write draws; nothing where they are periodic.
    """
    device, settings = arrays.devices[d], arrays.settings[0]
    if settings.arrivals == _PERIODIC:
        _fill_periodic(device, settings)
        return
    times = arrays.times[d]
    next_ns, word = device.send_next_ns, device.send_word
    count = 0
    while count < settings.frames_per_write and next_ns <= settings.stop_ns:
        times[count] = next_ns
        gap, word = draw_gap(settings.arrivals, device.interval_ns, word)
        next_ns += gap
        count += 1
    device.send_next_ns = next_ns
    device.send_word = word
    device.batch_count = count
    device.wake_ns = times[count - 1] if count > 0 else NEVER_NS


@kernel
def arm(arrays, d):
    """Make device d due at its batch's time, if its connection may be written to; never otherwise."""
    device = arrays.devices[d]
    free_to_send = device.phase == _FAST and device.rest_end == 0
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
def start_schedule(arrays, started_ns):
    """Lay out the schedules of all devices from `started_ns` on and draw the first batches.

    Phases are spread evenly over the time between two writes, in a scattered order, so that the server sees neither
    a wave nor a scan. Devices with no interval (rate 0) never send.
    """
    settings = arrays.settings[0]
    settings.started_ns = started_ns
    settings.stop_ns = NEVER_NS
    count = len(arrays.devices)
    hop = scatter_stride(count)
    for d in range(count):
        device = arrays.devices[d]
        word = seeded(settings.seed, np.uint64(d))
        device.send_word = word
        device.offer_word = word
        if device.interval_ns <= 0:
            device.send_next_ns = NEVER_NS
            device.wake_ns = NEVER_NS
        else:
            phase = np.float64((d * hop) % count) / count
            device.send_next_ns = started_ns + np.int64(phase * device.interval_ns * settings.frames_per_write)
        device.offer_next_ns = device.send_next_ns
        if device.interval_ns > 0:
            fill_batch(arrays, d)
        arm(arrays, d)


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
def count_offered(arrays, now_ns):
    """Count placements whose intended time has come since the last call. A device that is gone intends nothing.

    Returns their number. Cost: one draw each, or one division a device where they are periodic. Writes offer_* of
    the devices.
    """
    settings = arrays.settings[0]
    until_ns = min(now_ns, settings.stop_ns)
    offered = 0
    for d in range(len(arrays.devices)):
        device = arrays.devices[d]
        next_ns, word = device.offer_next_ns, device.offer_word
        if next_ns > until_ns or device.phase == _GONE:
            continue
        if settings.arrivals == _PERIODIC:
            count = count_periodic(np.int64(next_ns), np.int64(until_ns), np.int64(device.interval_ns))
            device.offer_next_ns = next_ns + count * np.int64(device.interval_ns)
            offered += count
            continue
        while next_ns <= until_ns:
            gap, word = draw_gap(settings.arrivals, device.interval_ns, word)
            next_ns += gap
            offered += 1
        device.offer_next_ns = next_ns
        device.offer_word = word
    return offered


@kernel
def count_backlog(arrays, now_ns):
    """Placements due and not yet in a frame, in batches drawn so far: 0 when every device is on time."""
    backlog = 0
    for d in range(len(arrays.devices)):
        if arrays.devices[d].phase != _GONE and arrays.devices[d].wake_ns <= now_ns:
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
