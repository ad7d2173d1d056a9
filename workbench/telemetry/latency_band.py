"""Bands of the latency heat map: what was seen, by how long it took, in steps that a picture can show.

Invariant: a band is made of whole buckets of the histogram, so nothing is counted twice or lost.
"""

import numpy as np
from numpy.typing import NDArray

from plots.history import LATENCY_BAND_LEAST_US, LATENCY_BANDS, LATENCY_BANDS_PER_OCTAVE
from server.kernels.layout import HISTOGRAM_BUCKETS
from workbench.telemetry.quantile import bounds_us


def _band_of(bucket: int) -> int:
    """The band that holds a bucket's middle; the first holds all below it, the last all above."""
    middle_us = max(1.0, sum(bounds_us(bucket)) / 2)
    step = np.floor(LATENCY_BANDS_PER_OCTAVE * np.log2(middle_us / LATENCY_BAND_LEAST_US))
    return int(np.clip(step, 0, LATENCY_BANDS - 1))


_BAND = np.array([_band_of(bucket) for bucket in range(HISTOGRAM_BUCKETS)])


def latency_bands(counts: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Sum a histogram, or the difference of two, up by band. `counts`: shape (HISTOGRAM_BUCKETS,).

    Returns shape (LATENCY_BANDS,), uint32.
    """
    sums = np.bincount(_BAND, weights=counts, minlength=LATENCY_BANDS)
    return np.clip(sums, 0, 2**32 - 1).astype(np.uint32)
