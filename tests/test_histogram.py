"""Histograms: the kernel against its naive twin, and percentiles against sorted values."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.kernels.histogram import bucket_bounds_us, bucket_index, percentiles, record
from server.kernels.layout import HISTOGRAM, HISTOGRAM_BUCKETS

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
    least, greatest = bucket_bounds_us()
    index = bucket_index(value)
    assert least[index] <= value <= greatest[index]


def test_buckets_tile_the_axis():
    least, greatest = bucket_bounds_us()
    assert least[0] == 0
    assert (least[1:] == greatest[:-1] + 1).all()
    assert (greatest - least <= np.maximum(least // 32, 0)).all()


def test_values_out_of_range_count_at_the_ends():
    assert bucket_index(-5) == 0
    assert bucket_index(2**62) == HISTOGRAM_BUCKETS - 1


@given(st.lists(VALUES, min_size=1, max_size=200), st.lists(st.floats(0, 1), min_size=1, max_size=5))
@settings(deadline=None)
def test_percentiles_near_sorted_values(values, ratios):
    counts = np.zeros(HISTOGRAM_BUCKETS, HISTOGRAM)
    for value in values:
        record(counts, value, 1)
    found = percentiles(counts, ratios)
    assert found is not None
    for ratio, middle in zip(ratios, found, strict=True):
        exact = sorted(values)[max(1, int(np.ceil(ratio * len(values)))) - 1]
        assert abs(middle - exact) <= exact / 32


def test_nothing_recorded_has_no_percentile():
    assert percentiles(np.zeros(HISTOGRAM_BUCKETS, HISTOGRAM), [0.5]) is None


def test_record_adds_times():
    counts = np.zeros(HISTOGRAM_BUCKETS, HISTOGRAM)
    record(counts, 70, 12)
    assert counts.sum() == 12 and counts[naive_index(70)] == 12
