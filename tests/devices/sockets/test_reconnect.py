"""When devices reconnect (back-off with jitter, at once, never) and depart; stalls; which devices a fault hits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.config import FleetConfig
from devices.due_queue import DueQueue, draw_share
from devices.fleet.workload import spread
from devices.kernels.schedule import is_chosen
from devices.sockets.reconnect import PAUSE_NS_LEAST, PAUSE_NS_MOST, REFUSED_NS, Departures, Reconnects

SECOND_NS = 1_000_000_000


def random():
    return np.random.default_rng(7)


def pause_ns(reconnects, d, now_ns, policy="backoff", *, was_refused=False):
    """How long device `d` waits after this failure, to a millisecond."""
    reconnects.after_failure(d, policy, now_ns, was_refused=was_refused)
    for waited_ns in range(0, 2 * PAUSE_NS_MOST, 1_000_000):
        if reconnects.take(now_ns + waited_ns, 9) == [d]:
            return waited_ns
    return None


def test_back_off_doubles_up_to_its_most_and_is_drawn_from_the_upper_half():
    reconnects = Reconnects(random())
    most_ns = PAUSE_NS_LEAST
    for _ in range(8):
        assert most_ns / 2 <= pause_ns(reconnects, 3, SECOND_NS) <= most_ns + 1_000_000
        most_ns = min(2 * most_ns, PAUSE_NS_MOST)
    reconnects.opened(3)
    assert pause_ns(reconnects, 3, SECOND_NS) <= PAUSE_NS_LEAST + 1_000_000


def test_thousands_do_not_reconnect_together():
    reconnects = Reconnects(random())
    for d in range(1000):
        reconnects.after_failure(d, "backoff", 0, was_refused=False)
    first_half = reconnects.take(PAUSE_NS_LEAST * 3 // 4, 1000)
    assert len(first_half) == pytest.approx(500, abs=60)
    assert len(reconnects) == 1000 - len(first_half)


def test_at_once_pauses_only_after_a_refusal():
    reconnects = Reconnects(random())
    assert pause_ns(reconnects, 1, SECOND_NS, "at_once") == 0
    assert pause_ns(reconnects, 1, SECOND_NS, "at_once", was_refused=True) == REFUSED_NS


def test_never_is_never():
    reconnects = Reconnects(random())
    reconnects.after_failure(1, "never", 0, was_refused=False)
    assert len(reconnects) == 0 and reconnects.take(10**18, 9) == []


def test_cancelled_devices_do_not_dial():
    reconnects = Reconnects(random())
    reconnects.put(1, 5)
    reconnects.put(2, 5)
    reconnects.put(2, 9)
    reconnects.cancel(1)
    assert reconnects.take(5, 9) == [] and reconnects.take(9, 9) == [2]


def test_at_most_the_asked_number_is_taken():
    reconnects = Reconnects(random())
    for d in range(5):
        reconnects.put(d, d)
    assert reconnects.take(9, 3) == [0, 1, 2] and reconnects.take(9, -1) == [] and reconnects.take(9, 3) == [3, 4]


def test_churning_devices_stay_for_an_exponential_time():
    departures = Departures(random())
    departures.adjust(FleetConfig(connections=4000, churn_ratio=0.5, churn_s=10), list(range(4000)), 0)
    shares = [len(departures.take(seconds * SECOND_NS)) / 2000 for seconds in (5, 10, 1000)]
    assert np.cumsum(shares) == pytest.approx([1 - np.exp(-0.5), 1 - np.exp(-1), 1], abs=0.03)


def test_only_chosen_devices_churn_and_only_while_they_are_open():
    departures = Departures(random())
    config = FleetConfig(connections=10, churn_ratio=0.5, churn_s=1)
    departures.adjust(config, [], 0)
    for d in range(12):
        departures.opened(d, 0)
    departures.cancel(int(np.flatnonzero(spread(5, 10))[0]))
    assert sorted(departures.take(10**12)) == np.flatnonzero(spread(5, 10))[1:].tolist()


def test_the_longest_stall_counts():
    stalls = DueQueue()
    stalls.extend([1, 2, 3], 50)
    stalls.extend([2], 90)
    stalls.extend([3], 20)
    stalls.cancel(1)
    assert stalls.take(50) == [3] and len(stalls) == 1 and stalls.take(90) == [2]


@given(st.integers(0, 60), st.floats(0, 1))
@settings(deadline=None)
def test_a_share_is_drawn_from_the_devices(count, share):
    devices = [7 * d for d in range(count)]
    chosen = draw_share(random(), devices, share)
    assert set(chosen) <= set(devices) and len(set(chosen)) == len(chosen)
    assert abs(len(chosen) - share * count) <= 1
    assert chosen or not count or not share


@given(st.integers(0, 80), st.integers(0, 80))
@settings(deadline=None)
def test_is_chosen_agrees_with_spread(count, of):
    count = min(count, of)
    assert [bool(is_chosen(d, count, of)) for d in range(of)] == spread(count, of).tolist()
