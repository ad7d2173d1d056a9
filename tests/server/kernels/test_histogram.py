"""Histograms: the kernel against its naive twin, and the bounds of its buckets."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.kernels.histogram import bucket_index, record
from server.kernels.layout import HISTOGRAM, HISTOGRAM_BUCKETS
from workbench.telemetry.histogram import bounds_us

VALUES = (
    st.integers(0, 2**39) | st.integers(0, 300) | st.sampled_from([2**k + d for k in range(6, 39) for d in (-1, 0, 1)])
)


def naive_index(value: int) -> int:
    if value < 64:
        return value
    octave = value.bit_length() - 1
    return 64 + (octave - 6) * 32 + (value >> (octave - 5)) - 32


@given(VALUES)
@settings(deadline=None)
def test_index_equals_formula(value):
    assert bucket_index(value) == naive_index(value)


@given(VALUES)
@settings(deadline=None)
def test_value_lies_within_its_bucket(value):
    least, greatest = bounds_us(int(bucket_index(value)))
    assert least <= value <= greatest


def test_buckets_tile_the_axis():
    least, greatest = np.array([bounds_us(bucket) for bucket in range(HISTOGRAM_BUCKETS)]).T
    assert least[0] == 0
    assert (least[1:] == greatest[:-1] + 1).all()
    assert (greatest - least <= np.maximum(least // 32, 0)).all()


def test_values_out_of_range_count_at_the_ends():
    assert bucket_index(-5) == 0
    assert bucket_index(2**62) == HISTOGRAM_BUCKETS - 1


def test_record_adds_times():
    counts = np.zeros(HISTOGRAM_BUCKETS, HISTOGRAM)
    record(counts, 70, 12)
    assert counts.sum() == 12 and counts[naive_index(70)] == 12
