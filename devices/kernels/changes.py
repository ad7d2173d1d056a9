"""Schedules that change or end while devices owe placements: what is owed is counted, kept, and sent first.

Invariant: at any time, what was offered is what sockets took, what is owed, and what was abandoned.
"""

import numpy as np

from devices.kernels.arrivals import arm, batch_time, count_offers, draw_gap, fill_batch, fill_from, limit_ns
from devices.kernels.epochs import interval_in, is_chosen, stretch, walk
from devices.kernels.layout import EPOCHS_MAX, NEVER_NS
from server.kernels.kernel import kernel


@kernel
def count_owed(arrays, d):
    """Placements of device d that were counted as offered and are in no frame yet. Cost: a draw each."""
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
    """`count_owed` of all devices together, and what their sockets have not taken."""
    owed = np.int64(0)
    for d in range(len(arrays.devices)):
        owed += count_owed(arrays, d) + np.int64(arrays.devices[d].rest_frames)
    return owed


@kernel
def end_schedule(arrays, d, now_ns):
    """Let device d intend nothing from `now_ns` on, and count what it intended and has not sent as abandoned."""
    device, settings, counters = arrays.devices[d], arrays.settings[0], arrays.counters[0]
    epoch = arrays.epochs[settings.epoch % EPOCHS_MAX]
    counters.offered_count += count_offers(device, settings, epoch, min(np.int64(now_ns), limit_ns(settings)))
    counters.abandoned_count += count_owed(arrays, d)
    device.send_next_ns = NEVER_NS
    device.offer_next_ns = NEVER_NS
    device.wake_ns = NEVER_NS
    device.batch_count = 0
    arm(arrays, d)


@kernel
def change_schedule(arrays, change_ns):
    """Enter the present epoch at `change_ns`: all that is intended later goes by it, and batches are drawn anew.

    The caller has counted what was offered up to then, ended the epoch before, and written the present one to `epochs`
    and `settings`. Times up to the change stay as they were; a device that lags sends them first. Cost: a draw of a
    batch for each device.
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
        for i in range(np.int64(device.batch_count)):
            arrays.times[d, i] = batch_time(arrays, d, i)
        device.timed = 1
        device.offer_next_ns = stretch(device.offer_next_ns, change_ns, np.int64(device.interval_ns), interval_ns)
        device.interval_ns = interval_ns
        next_ns, epoch = walk(arrays.epochs, newest, d, device.send_next_ns, device.epoch)
        device.send_next_ns = next_ns
        device.epoch = epoch
        if epoch == newest:
            _draw_anew(arrays, d, change_ns)


@kernel
def _draw_anew(arrays, d, change_ns):
    """Keep of device d's batch what comes before a change, and draw the rest from where offers are counted.

    That is the same place of the same stream, because the device does not lag.
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
