"""Log-linear histograms of durations in microseconds: one add a value, bounded relative error, mergeable by addition.

Values below 64 have a bucket each. Above, an octave [2**k, 2**(k+1)) has 32 buckets, each 2**(k-5) wide, so that a
bucket is at most 1/32 of its value wide. Values past the last octave count in the last bucket: keep the maximum
beside the histogram.

    index(v) = v                                          for v < 64
             = 64 + (k - 6) * 32 + (v >> (k - 5)) - 32    with k = floor(log2(v)), for v >= 64
"""

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
    # floor(log2) by counting: it takes few steps, since most durations are short.
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
