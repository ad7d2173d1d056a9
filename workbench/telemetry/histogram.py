"""What is read from the histograms of telemetry pages: quantiles, the maximum, and the bands of the latency heat map.

It needs no compiler, unlike `server.kernels.histogram`. Buckets count microseconds: value v < 64 has bucket v; above,
each octave has 32 buckets. A quantile is the middle of its bucket, which is within 1.6 % of every value in it.
"""

import numpy as np
from numpy.typing import NDArray

from plots.history import LATENCY_BAND_LEAST_US, LATENCY_BANDS, LATENCY_BANDS_PER_OCTAVE
from server.kernels.layout import HISTOGRAM_BUCKETS, HISTOGRAM_OCTAVES

_EXACT = 64
_PER_OCTAVE = 32

assert HISTOGRAM_BUCKETS == _EXACT + _PER_OCTAVE * HISTOGRAM_OCTAVES


def bounds_us(bucket: int) -> tuple[int, int]:
    """The least and greatest value of a bucket."""
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
    # The rank counts from 1: the median of three values is the second.
    rank = min(total, max(1, int(np.ceil(quantile * total))))
    least, greatest = bounds_us(int(np.searchsorted(reached, rank)))
    # The middle of the last bucket may lie above everything that was recorded.
    return min((least + greatest) / 2, float(max_us)) / 1000


def maximum_ms(counts: NDArray[np.uint64], max_us: int) -> float | None:
    """The largest recorded value: exact when it is the largest ever, else at most a bucket's width too high."""
    used = np.flatnonzero(counts)
    if not len(used):
        return None
    return min(float(bounds_us(int(used[-1]))[1]), float(max_us)) / 1000


def _band_of(bucket: int) -> int:
    """The band that holds a bucket's middle; the first holds all below it, the last all above."""
    middle_us = max(1.0, sum(bounds_us(bucket)) / 2)
    step = np.floor(LATENCY_BANDS_PER_OCTAVE * np.log2(middle_us / LATENCY_BAND_LEAST_US))
    return int(np.clip(step, 0, LATENCY_BANDS - 1))


_BAND = np.array([_band_of(bucket) for bucket in range(HISTOGRAM_BUCKETS)])


def latency_bands(counts: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """The sums of a histogram, or of the difference of two, by band: shape (LATENCY_BANDS,), uint32."""
    sums = np.bincount(_BAND, weights=counts, minlength=LATENCY_BANDS)
    return np.clip(sums, 0, 2**32 - 1).astype(np.uint32)
