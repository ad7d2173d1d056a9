"""Schedules of devices: intended send times, the batches drawn from them, and the count of placements offered so far.

The load is open loop: intended times depend on the seed, never on the server. A device reads its schedule at two
positions: `send_*` is where batches are drawn and stops while the socket is full; `offer_*` is where offered placements
are counted and follows the clock. Both positions read the same stream of times.

A schedule can change while it runs. An epoch is the time between two changes. At a change, the rest of each gap is
scaled by the ratio of the intervals: no placement is lost or repeated, periodic schedules keep their phase, and Poisson
schedules stay Poisson. At a rate of zero a time is parked: a value at PARKED_NS or above encodes how many intervals are
left, so that the schedule can resume from there. A time and its epoch are never behind a change that came before it.

Invariant: at any time, offered = taken by sockets + owed + abandoned.
"""

import math

import numpy as np

from devices.kernels.layout import EPOCHS_MAX, NEVER_NS, PARKED_NS, Arrivals, Phase
from devices.kernels.random import advance, mix, seeded, unit
from server.kernels.kernel import kernel

_PERIODIC, _POISSON = int(Arrivals.PERIODIC), int(Arrivals.POISSON)
_SLOW, _FAST = int(Phase.SLOW), int(Phase.FAST)
_BURST_MEAN = 32
_RUN = 64


@kernel
def draw_gap(arrivals, interval_ns, burst_ratio, word):
    """Draw the time to the next placement. Returns it with the random state after the draw.

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
    # A burst ends with probability 1 / _BURST_MEAN after each placement, so its length is geometric.
    if unit(word) * _BURST_MEAN <= 1.0:
        word = advance(word)
        # The pause makes up for the time that the burst was ahead of the mean rate.
        gap += -math.log(unit(word)) * interval_ns * _BURST_MEAN * (1.0 - 1.0 / burst_ratio)
    return np.int64(gap), word


@kernel
def count_periodic(next_ns, until_ns, interval_ns):
    """Number of the times next_ns, next_ns + interval_ns, ... that are not after `until_ns`."""
    return (until_ns - next_ns) // interval_ns + 1 if next_ns <= until_ns else 0


@kernel
def limit_ns(settings):
    """Last possible intended time: the end of the schedules, and less than any parked time."""
    return min(np.int64(settings.stop_ns), PARKED_NS - 1)


@kernel
def _fill_periodic(device, settings):
    """`fill_batch` for periodic times, which derive from the first."""
    next_ns, interval_ns = np.int64(device.send_next_ns), np.int64(device.interval_ns)
    count = min(np.int64(settings.frames_per_write), count_periodic(next_ns, limit_ns(settings), interval_ns))
    device.timed = 0
    device.batch_count = count
    device.wake_ns = next_ns + (count - 1) * interval_ns if count > 0 else NEVER_NS
    device.send_next_ns = next_ns + count * interval_ns


@kernel
def batch_time(arrays, d, i):
    """The intended time of placement i of device d's batch."""
    device = arrays.devices[d]
    if device.timed:
        return np.int64(arrays.times[d, i])
    return np.int64(device.wake_ns) - (np.int64(device.batch_count) - 1 - i) * np.int64(device.interval_ns)


@kernel
def fill_from(arrays, d, count):
    """`fill_batch` after the `count` times that times[d] already holds."""
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
    frames_per_write draws; O(1) where they are periodic and the schedule has not changed in between.
    """
    device, settings = arrays.devices[d], arrays.settings[0]
    if settings.arrivals == _PERIODIC and device.epoch == settings.epoch:
        _fill_periodic(device, settings)
    else:
        fill_from(arrays, d, 0)


@kernel
def arm(arrays, d):
    """Set due_ns of device d: its batch's time if its connection can be written to, else NEVER_NS."""
    device = arrays.devices[d]
    # While bytes are unsent, `flush` arms the device again: the rest must leave before the next batch.
    free_to_send = device.phase == _FAST and device.rest_end == 0 and not device.stalled
    arrays.due_ns[d] = device.wake_ns if free_to_send else NEVER_NS


@kernel
def next_due(due_ns, first, end, now_ns):
    """The first device of [first, end) that is due at `now_ns`, or `end`; and the least due time of those skipped.

    due_ns: (>= end,) i8, read. Returns (d, earliest_ns), NEVER_NS where none was skipped. Cost: a minimum per run of
    devices, which compiles to SIMD; only a run that contains a due device is searched.
    """
    earliest_ns = NEVER_NS
    at = first
    while at < end:
        run_end = min(at + _RUN, end)
        least_ns = NEVER_NS
        # Branch-free, so that LLVM vectorises it: nearly all runs contain no device that is due.
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
    """Start the schedule of device d at `now_ns` and draw its first batch. hop: `scatter_stride` of the device count.

    Phases are spread evenly over the time between two writes, in scattered order, so that the load is neither a wave
    nor a scan of the canvas. Without a rate the schedule begins parked. A device that reconnects continues its random
    stream.
    """
    device, settings = arrays.devices[d], arrays.settings[0]
    count = max(np.int64(settings.device_count), 1)
    phase = np.float64((d * hop) % count) / count
    # 0: this device has no random stream yet. A reconnected one continues its own.
    if device.offer_word == 0:
        device.offer_word = seeded(settings.seed, np.uint64(d))
    # What the last connection drew and did not send was counted as abandoned: drawing resumes behind what was offered.
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
    """Start the schedules of all open devices at `started_ns` and draw the first batches."""
    settings = arrays.settings[0]
    settings.started_ns = started_ns
    settings.stop_ns = NEVER_NS
    hop = scatter_stride(max(np.int64(settings.device_count), 1))
    for d in range(len(arrays.devices)):
        if arrays.devices[d].phase == _SLOW or arrays.devices[d].phase == _FAST:
            begin_schedule(arrays, d, started_ns, hop)


@kernel
def stop_schedule(arrays, stop_ns):
    """End the schedules at `stop_ns`: placements of batches with earlier times become due at once.

    The first end is kept: a later one would offer placements that were never drawn.
    """
    # Commands may repeat: a session stops the load, and the end of the process stops it again.
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
    """Count placements of a device that became due since the last call. Writes its offer_*."""
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
    """Count placements that became due since the last call. A device that is gone offers none.

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
    """Placements due and not yet in a frame, among the batches drawn so far: 0 when every device is on time."""
    backlog = 0
    for d in range(len(arrays.devices)):
        if arrays.devices[d].wake_ns <= now_ns:
            backlog += arrays.devices[d].batch_count
    return backlog


@kernel
def scatter_stride(count):
    """A step near the golden section of `count` and coprime to it: its multiples visit all residues, far apart."""
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
    """The next random word for masks and probe times. Writes settings.mask_word."""
    settings.mask_word = advance(settings.mask_word)
    return mix(settings.mask_word)


# Resolution of a parked time: parts of an interval.
_LEFT_UNIT = 2.0**40
# Longest parked time in intervals; keeps the sum far below NEVER_NS.
_LEFT_MAX = 2.0**20


@kernel
def is_chosen(d, count, of):
    """Whether device d is among `count` of `of` devices, evenly spread; twin of `workload.spread`."""
    return of > 0 and (d + 1) * count // of > d * count // of


@kernel
def interval_in(epoch, d):
    """Mean time between placements of device d in this EPOCH record; 0: no placements."""
    is_greedy = is_chosen(np.int64(d), epoch.greedy_count, epoch.device_count)
    return np.int64(epoch.greedy_interval_ns if is_greedy else epoch.interval_ns)


@kernel
def time_after(at_ns, left, interval_ns):
    """The time `left` intervals after `at_ns`, at least 1 ns later; parked if `interval_ns` is 0."""
    if interval_ns <= 0:
        return np.int64(PARKED_NS + np.int64(min(left, _LEFT_MAX) * _LEFT_UNIT))
    return np.int64(at_ns + max(np.int64(left * interval_ns), 1))


@kernel
def stretch(next_ns, change_ns, old_ns, new_ns):
    """The next intended time when the interval changes from `old_ns` to `new_ns` at `change_ns` < `next_ns`."""
    if old_ns == new_ns:
        return np.int64(next_ns)
    is_parked = next_ns >= PARKED_NS
    left = (next_ns - PARKED_NS) / _LEFT_UNIT if is_parked else (next_ns - change_ns) / np.float64(old_ns)
    return time_after(change_ns, left, new_ns)


@kernel
def walk(epochs, newest, d, next_ns, epoch):
    """Move a time of device d's schedule through all changes before it. Returns it and its epoch, both int64.

    epochs: as `layout.Arrays.epochs`; epoch: that of `next_ns` so far; newest: the current one. A device that lags by
    more than EPOCHS_MAX changes resumes with the oldest kept epoch.
    """
    epoch = max(np.int64(epoch), newest - EPOCHS_MAX + 1)
    next_ns = np.int64(next_ns)
    while epoch < newest and next_ns > epochs[epoch % EPOCHS_MAX].end_ns:
        before, after = epochs[epoch % EPOCHS_MAX], epochs[(epoch + 1) % EPOCHS_MAX]
        next_ns = stretch(next_ns, before.end_ns, interval_in(before, d), interval_in(after, d))
        epoch += 1
    return next_ns, epoch


@kernel
def count_owed(arrays, d):
    """Placements of device d that were counted as offered and are in no frame yet. Cost: one draw each."""
    device = arrays.devices[d]
    newest, until_ns = np.int64(arrays.settings[0].epoch), np.int64(device.offer_next_ns)
    if until_ns == NEVER_NS:
        return np.int64(0)
    owed = np.int64(0)
    while owed < device.batch_count and batch_time(arrays, d, owed) < until_ns:
        owed += 1
    next_ns, epoch, word = np.int64(device.send_next_ns), np.int64(device.epoch), device.send_word
    last_ns = min(until_ns - 1, limit_ns(arrays.settings[0]))
    while True:
        next_ns, epoch = walk(arrays.epochs, newest, d, next_ns, epoch)
        if next_ns > last_ns:
            return owed
        row = arrays.epochs[epoch % EPOCHS_MAX]
        gap, word = draw_gap(row.arrivals, interval_in(row, d), row.burst_ratio, word)
        next_ns += gap
        owed += 1


@kernel
def count_all_owed(arrays):
    """`count_owed` of all devices, plus the placements that their sockets have not taken."""
    owed = np.int64(0)
    for d in range(len(arrays.devices)):
        owed += count_owed(arrays, d) + np.int64(arrays.devices[d].rest_frames)
    return owed


@kernel
def end_schedule(arrays, d, now_ns):
    """End the schedule of device d at `now_ns`, and count its unsent placements as abandoned."""
    device, settings, counters = arrays.devices[d], arrays.settings[0], arrays.counters[0]
    epoch = arrays.epochs[settings.epoch % EPOCHS_MAX]
    counters.offered_count += count_offers(device, settings, epoch, min(np.int64(now_ns), limit_ns(settings)))
    counters.abandoned_count += count_owed(arrays, d)
    # NEVER_NS in all three keeps the device out of every scan until `begin_schedule`.
    device.send_next_ns = NEVER_NS
    device.offer_next_ns = NEVER_NS
    device.wake_ns = NEVER_NS
    device.batch_count = 0
    arm(arrays, d)


@kernel
def change_schedule(arrays, change_ns):
    """Enter the current epoch at `change_ns`: later times follow it, and batches are redrawn.

    The caller has counted offers up to then, ended the previous epoch, and written the current one to `epochs` and
    `settings`. Times up to the change stay; a device that lags sends them first. Cost: one batch draw per device.
    """
    settings = arrays.settings[0]
    newest = np.int64(settings.epoch)
    row = arrays.epochs[newest % EPOCHS_MAX]
    for d in range(len(arrays.devices)):
        device, interval_ns = arrays.devices[d], interval_in(row, d)
        device.greedy = is_chosen(np.int64(d), row.greedy_count, row.device_count)
        if device.offer_next_ns == NEVER_NS:
            device.interval_ns = interval_ns
            continue
        # Periodic times derive from the interval, which changes here: write them down first.
        for i in range(np.int64(device.batch_count)):
            arrays.times[d, i] = batch_time(arrays, d, i)
        device.timed = 1
        device.offer_next_ns = stretch(device.offer_next_ns, change_ns, np.int64(device.interval_ns), interval_ns)
        device.interval_ns = interval_ns
        next_ns, epoch = walk(arrays.epochs, newest, d, device.send_next_ns, device.epoch)
        device.send_next_ns = next_ns
        device.epoch = epoch
        # A device that lags still draws times before the change, and walks into the new epoch by itself.
        if epoch == newest:
            _redraw(arrays, d, change_ns)


@kernel
def _redraw(arrays, d, change_ns):
    """Keep the part of device d's batch before a change, and draw the rest from the offer position.

    Both positions are equal here, because the device does not lag.
    """
    device, kept = arrays.devices[d], np.int64(0)
    while kept < device.batch_count and arrays.times[d, kept] <= change_ns:
        kept += 1
    device.send_next_ns = device.offer_next_ns
    device.send_word = device.offer_word
    if kept > 0:
        fill_from(arrays, d, kept)
    else:
        fill_batch(arrays, d)
    arm(arrays, d)
