"""When devices send: schedules against naive twins, the open loop, and the two positions that read a schedule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.config import FleetConfig
from devices.fleet.workload import new_arrays, spread
from devices.kernels import schedule
from devices.kernels.layout import NEVER_NS, Arrivals, Phase
from server.ipc.page import Page, fleet_sections
from support.naive_schedule import MASK, naive_gap

START_NS = 1_000_000_000
SECOND_NS = 1_000_000_000
BOARD = np.zeros((1, 1), np.uint8)


def made(**settings_):
    arrays = new_arrays(FleetConfig(**settings_), 16, 16, 7, Page.create(fleet_sections()), BOARD)
    arrays.devices["phase"] = Phase.FAST
    schedule.start_schedule(arrays, START_NS)
    return arrays


def batch_times(arrays, d):
    return [schedule.batch_time(arrays, d, i) for i in range(arrays.devices["batch_count"][d])]


def drain_batches(arrays, until_ns):
    """What an idle server receives: the intended times of each device in the order of its writes."""
    sent = [[] for _ in arrays.devices]
    while (arrays.due_ns <= until_ns).any():
        for d in np.flatnonzero(arrays.due_ns <= until_ns):
            times = batch_times(arrays, d)
            assert arrays.due_ns[d] == times[-1]
            sent[d] += times
            schedule.fill_batch(arrays, d)
            schedule.arm(arrays, d)
    return sent


@given(st.sampled_from(list(Arrivals)), st.integers(1, 10**12), st.floats(1, 1000), st.integers(0, MASK))
@settings(deadline=None)
def test_gap_equals_its_naive_twin(kind, interval_ns, burst_ratio, word):
    gap_ns, after = schedule.draw_gap(int(kind), interval_ns, burst_ratio, np.uint64(word))
    naive_ns, naive_after = naive_gap(kind, interval_ns, word, burst_ratio)
    assert int(after) == naive_after
    assert abs(gap_ns - naive_ns) <= 1 + naive_ns * 1e-12


@pytest.mark.parametrize("kind", ["periodic", "poisson", "bursty"])
def test_mean_rate_is_the_configured_rate(kind):
    arrays = made(connections=400, rate_per_s=50, frames_per_write=3, arrivals=kind)
    offered = schedule.count_offered(arrays, START_NS + 20 * SECOND_NS)
    assert offered == pytest.approx(400 * 50 * 20, rel=0.02)


def test_spread_of_gaps_distinguishes_the_kinds():
    variations = []
    for kind in ("periodic", "poisson", "bursty"):
        arrays = made(connections=100, rate_per_s=50, arrivals=kind)
        gaps = np.concatenate([np.diff(times) for times in drain_batches(arrays, START_NS + 20 * SECOND_NS)])
        variations.append(gaps.std() / gaps.mean())
    assert variations[0] == 0
    assert variations[1] == pytest.approx(1, abs=0.05)
    assert variations[2] > 3


@given(st.sampled_from(["periodic", "poisson", "bursty"]), st.integers(1, 20), st.integers(1, 13), st.integers(1, 200))
@settings(deadline=None, max_examples=60)
def test_offered_and_written_are_one_schedule(kind, connections, frames, centiseconds):
    until_ns = START_NS + centiseconds * SECOND_NS // 100
    arrays = made(connections=connections, rate_per_s=40, frames_per_write=frames, arrivals=kind)
    twin = made(connections=connections, rate_per_s=40, frames_per_write=frames, arrivals=kind)
    offered = sum(schedule.count_offered(arrays, until_ns - SECOND_NS // step) for step in (3, 50, 10**9))
    schedule.stop_schedule(twin, until_ns)
    sent = drain_batches(twin, until_ns)
    assert sum(map(len, sent)) == pytest.approx(offered, abs=connections)
    assert offered == sum(sum(time <= until_ns - 1 for time in times) for times in sent)
    assert all(times == sorted(times) for times in sent)


def test_stop_sends_everything_that_was_due():
    arrays = made(connections=7, rate_per_s=30, frames_per_write=12)
    until_ns = START_NS + 130_000_000
    early = drain_batches(arrays, until_ns - 50_000_000)
    schedule.stop_schedule(arrays, until_ns)
    late = drain_batches(arrays, until_ns)
    offered = schedule.count_offered(arrays, until_ns + 10 * SECOND_NS)
    assert sum(map(len, early)) + sum(map(len, late)) == offered
    assert (arrays.due_ns == NEVER_NS).all()
    assert schedule.count_backlog(arrays, until_ns) == 0


def test_schedule_does_not_wait_for_a_device_that_cannot_send():
    arrays = made(connections=2, rate_per_s=10, frames_per_write=2)
    arrays.devices["rest_end"][0] = 1
    schedule.arm(arrays, 0)
    assert arrays.due_ns[0] == NEVER_NS
    assert schedule.count_offered(arrays, START_NS + 3 * SECOND_NS) == pytest.approx(60, abs=2)
    assert schedule.count_backlog(arrays, START_NS + 3 * SECOND_NS) == 4
    arrays.devices["rest_end"][0] = 0
    schedule.arm(arrays, 0)
    assert arrays.due_ns[0] == batch_times(arrays, 0)[1] < START_NS + SECOND_NS


def test_phases_are_spread_evenly():
    arrays = made(connections=1000, rate_per_s=10, frames_per_write=5)
    first = np.sort([batch_times(arrays, d)[0] for d in range(1000)]) - START_NS
    assert np.allclose(np.diff(first), 500_000, atol=2)


def test_devices_that_only_watch_schedule_nothing():
    arrays = made(connections=5, rate_per_s=0)
    assert (arrays.due_ns == NEVER_NS).all()
    assert schedule.count_offered(arrays, NEVER_NS - 1) == 0


def test_greedy_devices_send_more():
    arrays = made(connections=100, rate_per_s=20, greedy_ratio=0.1, greedy_factor=5)
    assert arrays.devices["greedy"].sum() == 10
    assert schedule.count_offered(arrays, START_NS + 10 * SECOND_NS - 1) == pytest.approx(90 * 200 + 10 * 1000, abs=100)


@given(st.integers(0, 50), st.integers(0, 50))
@settings(deadline=None)
def test_spread_chooses_the_given_number(count, of):
    count = min(count, of)
    assert spread(count, of).sum() == count


@given(st.integers(1, 5000))
@settings(deadline=None)
def test_scatter_visits_each_index_once(count):
    stride = schedule.scatter_stride(count)
    assert len(set((np.arange(count) * stride % count).tolist())) == count


def test_same_seed_same_schedule():
    first, second = (made(connections=30, rate_per_s=5, arrivals="bursty") for _ in range(2))
    assert drain_batches(first, START_NS + SECOND_NS) == drain_batches(second, START_NS + SECOND_NS)


def test_no_devices_at_all():
    arrays = made(connections=0)
    assert schedule.count_offered(arrays, START_NS + SECOND_NS) == 0


@given(st.lists(st.integers(0, 30), max_size=300), st.integers(0, 300), st.integers(0, 30))
@settings(deadline=None)
def test_next_due_equals_a_search_one_by_one(times, first, now_ns):
    first = min(first, len(times))
    found, earliest_ns = schedule.next_due(np.array(times, np.int64), first, len(times), now_ns)
    naive = next((d for d in range(first, len(times)) if times[d] <= now_ns), len(times))
    assert found == naive
    assert earliest_ns == min(times[first:naive], default=NEVER_NS)
