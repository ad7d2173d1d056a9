"""Log-linear histograms of durations in microseconds: one add a value, bounded relative error, mergeable by addition.

Values below 64 have a bucket each. Above, an octave [2**k, 2**(k+1)) has 32 buckets, each 2**(k-5) wide, so that a
bucket is at most 1/32 of its value wide. Values past the last octave count in the last bucket: keep the maximum
beside the histogram.

    index(v) = v                                          for v < 64
             = 64 + (k - 6) * 32 + (v >> (k - 5)) - 32    with k = floor(log2(v)), for v >= 64

Invariant: index is monotone in v and the buckets tile the axis without gap or overlap.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.kernels.kernel import kernel
from server.kernels.layout import HISTOGRAM_BUCKETS, HISTOGRAM_OCTAVES

_EXACT = 64
_PER_OCTAVE = 32

assert HISTOGRAM_BUCKETS == _EXACT + _PER_OCTAVE * HISTOGRAM_OCTAVES


@kernel
def bucket_index(value_us):
    """The bucket of a duration in microseconds (int64; negative counts as 0). Always a valid index."""
    if value_us < _EXACT:
        return max(value_us, 0)
    shift = 0
    while (value_us >> shift) >= _EXACT:
        shift += 1
    return min(_EXACT + (shift - 1) * _PER_OCTAVE + (value_us >> shift) - _PER_OCTAVE, HISTOGRAM_BUCKETS - 1)


@kernel
def record(counts, value_us, times):
    """Add `times` values of `value_us` microseconds.

    counts: (HISTOGRAM_BUCKETS,) i8, written in place by its one writer. Cost: one add. `bucket_index` clamps, so the
    write cannot leave the array.
    """
    counts[bucket_index(value_us)] += times


def bucket_bounds_us() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Least and greatest value of each bucket, both shape (HISTOGRAM_BUCKETS,), int64, inclusive."""
    octave, step = np.divmod(np.arange(HISTOGRAM_BUCKETS - _EXACT, dtype=np.int64), _PER_OCTAVE)
    least = np.concatenate([np.arange(_EXACT, dtype=np.int64), (_PER_OCTAVE + step) << (octave + 1)])
    return least, np.append(least[1:] - 1, least[-1] + (1 << HISTOGRAM_OCTAVES) - 1)


def percentiles(counts: NDArray[Any], ratios: Sequence[float]) -> list[float] | None:
    """The values in microseconds at or below which each ratio (0..1) of all recorded values lies; None without any.

    counts: (HISTOGRAM_BUCKETS,) i8, or a difference of two readings. The middle of the bucket is given, which is
    exact below 64 and within 1.6 % above.
    """
    totals = np.cumsum(counts.astype(np.int64))
    if totals[-1] <= 0:
        return None
    ranks = np.clip(np.ceil(np.asarray(ratios, np.float64) * totals[-1]), 1, totals[-1])
    least, greatest = bucket_bounds_us()
    found = np.searchsorted(totals, ranks, side="left")
    return [float(middle) for middle in (least[found] + greatest[found]) / 2]
