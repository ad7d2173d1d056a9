"""Quantiles of the telemetry pages' histograms, read without the compiler that `server.kernels.histogram` needs.

Buckets count microseconds: value v < 64 has bucket v; above, each octave has 32 buckets. The middle of a bucket is
given for it, which is within 1.6 % of every value in it.
Invariant: no answer exceeds the largest value that was ever recorded.
"""

import numpy as np
from numpy.typing import NDArray

from server.kernels.layout import HISTOGRAM_BUCKETS, HISTOGRAM_OCTAVES

_EXACT = 64
_PER_OCTAVE = 32

assert HISTOGRAM_BUCKETS == _EXACT + _PER_OCTAVE * HISTOGRAM_OCTAVES


def bounds_us(bucket: int) -> tuple[int, int]:
    """Least and greatest value that falls into a bucket."""
    if bucket < _EXACT:
        return bucket, bucket
    octave, step = divmod(bucket - _EXACT, _PER_OCTAVE)
    return (_PER_OCTAVE + step) << (octave + 1), ((_PER_OCTAVE + step + 1) << (octave + 1)) - 1


def quantile_ms(counts: NDArray[np.uint64], max_us: int, quantile: float) -> float | None:
    """The value in milliseconds that `quantile` (0..1) of all recorded values does not exceed; None without any.

    `counts`: shape (HISTOGRAM_BUCKETS,), a histogram or the difference of two. `max_us`: the largest value ever
    recorded.
    """
    reached = np.cumsum(counts.astype(np.int64))
    total = int(reached[-1])
    if total <= 0:
        return None
    rank = min(total, max(1, int(np.ceil(quantile * total))))
    least, greatest = bounds_us(int(np.searchsorted(reached, rank)))
    return min((least + greatest) / 2, float(max_us)) / 1000


def maximum_ms(counts: NDArray[np.uint64], max_us: int) -> float | None:
    """The largest recorded value: exact when it is the largest ever, else at most a bucket's width too high."""
    used = np.flatnonzero(counts)
    if not len(used):
        return None
    return min(float(bounds_us(int(used[-1]))[1]), float(max_us)) / 1000
