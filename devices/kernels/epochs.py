"""Schedules that change while they run: epochs of one intensity each, and how a time leads from one into the next.

At a change, what is left of each gap is stretched by the ratio of the intervals: no placement is lost and none comes
twice, periodic ones keep their phase and Poisson ones stay Poisson. Where there is no rate, a time is parked: it lies
at PARKED_NS or above and says how many intervals are left, so that the schedule goes on from there. Invariant: a time
in the schedule, and the epoch that it lies in, are never behind a change that came before it.
"""

import numpy as np

from devices.kernels.layout import EPOCHS_MAX, PARKED_NS
from server.kernels.kernel import kernel

_LEFT_UNIT = 2.0**40
"""A parked time counts what is left in these parts of an interval,"""
_LEFT_MAX = 2.0**20
"""and no more than so many intervals, far below NEVER_NS."""


@kernel
def is_chosen(d, count, of):
    """Whether device d is one of `count` of `of` that are evenly spread; the twin of `workload.spread`."""
    return of > 0 and (d + 1) * count // of > d * count // of


@kernel
def interval_in(epoch, d):
    """The mean time between placements of device d in this EPOCH record; 0: none."""
    is_greedy = is_chosen(np.int64(d), epoch.greedy_count, epoch.device_count)
    return np.int64(epoch.greedy_interval_ns if is_greedy else epoch.interval_ns)


@kernel
def time_after(at_ns, left, interval_ns):
    """The time `left` intervals after `at_ns`, later than it by a nanosecond at least; parked without an interval."""
    if interval_ns <= 0:
        return np.int64(PARKED_NS + np.int64(min(left, _LEFT_MAX) * _LEFT_UNIT))
    return np.int64(at_ns + max(np.int64(left * interval_ns), 1))


@kernel
def stretch(next_ns, change_ns, old_ns, new_ns):
    """The next intended time, later than the change, when the interval goes from `old_ns` to `new_ns` at it."""
    if old_ns == new_ns:
        return np.int64(next_ns)
    is_parked = next_ns >= PARKED_NS
    left = (next_ns - PARKED_NS) / _LEFT_UNIT if is_parked else (next_ns - change_ns) / np.float64(old_ns)
    return time_after(change_ns, left, new_ns)


@kernel
def walk(epochs, newest, d, next_ns, epoch):
    """Lead a time of device d's schedule through all changes before it. Returns it and its epoch, both int64.

    epochs: as `layout.Arrays.epochs`; epoch: that of `next_ns` so far; newest: the present one. A device that lags by
    more than EPOCHS_MAX changes goes on with the oldest that is remembered.
    """
    epoch = max(np.int64(epoch), newest - EPOCHS_MAX + 1)
    next_ns = np.int64(next_ns)
    while epoch < newest and next_ns > epochs[epoch % EPOCHS_MAX].end_ns:
        before, after = epochs[epoch % EPOCHS_MAX], epochs[(epoch + 1) % EPOCHS_MAX]
        next_ns = stretch(next_ns, before.end_ns, interval_in(before, d), interval_in(after, d))
        epoch += 1
    return next_ns, epoch
