"""Schedules that change while they run: nothing is lost or sent twice, and the times are those of a naive twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.config import FleetConfig
from devices.fleet.fleet import Fleet
from devices.kernels import schedule
from devices.kernels.layout import EPOCHS_MAX, NEVER_NS, Arrivals, Phase
from server.ipc.page import Page, fleet_sections
from support.naive_schedule import naive_gap

START_NS = 1_000_000_000
SECOND_NS = 1_000_000_000
DEVICES = 5

rates = st.sampled_from([0.0, 0.5, 3.0, 20.0, 90.0])
turns = st.fixed_dictionaries(
    {
        "rate_per_s": rates,
        "frames_per_write": st.integers(1, 12),
        "arrivals": st.sampled_from(["periodic", "poisson", "bursty"]),
        "burst_ratio": st.sampled_from([1.0, 4.0, 30.0]),
        "greedy_ratio": st.sampled_from([0.0, 0.4]),
    }
)


def fleet_of(**changes):
    fleet = Fleet(FleetConfig(connections=DEVICES, **changes), 16, 16, 3, Page.create(fleet_sections()))
    fleet.arrays.devices["phase"] = Phase.FAST
    fleet.start(START_NS)
    return fleet


class Sent:
    """Take the batches of a fleet as sockets would, except those of devices in `held`."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.times = [[] for _ in range(DEVICES)]

    def hold(self, held):
        for d in range(DEVICES):
            self.fleet.arrays.devices["stalled"][d] = d in held
            schedule.arm(self.fleet.arrays, d)

    def up_to(self, now_ns):
        arrays = self.fleet.arrays
        while (due := np.flatnonzero(arrays.due_ns <= now_ns)).size:
            for d in due:
                self.times[d] += [
                    int(schedule.batch_time(arrays, d, i)) for i in range(arrays.devices["batch_count"][d])
                ]
                schedule.fill_batch(arrays, d)
                schedule.arm(arrays, d)

    @property
    def count(self):
        return sum(map(len, self.times))


def naive_times(first_ns, word, epochs, until_ns):
    """All intended times of one device. epochs: (begin_ns, kind, interval_ns, burst_ratio), in order."""
    times, left, next_ns = [], None, first_ns
    for (_, kind, interval_ns, burst_ratio), (end_ns, *_), after in zip(
        epochs, [*epochs[1:], (until_ns,)], [*[epoch[2] for epoch in epochs[1:]], None], strict=True
    ):
        while interval_ns and next_ns <= end_ns:
            times.append(next_ns)
            gap_ns, word = naive_gap(kind, interval_ns, word, burst_ratio)
            next_ns += gap_ns
        if after is None or after == interval_ns:
            continue
        if interval_ns:
            left = (next_ns - end_ns) / interval_ns
        if after:
            next_ns = end_ns + max(int(left * after), 1)
    return times


def epoch_of(fleet, begin_ns, d):
    config = fleet.config
    kind = Arrivals[config.arrivals.upper()]
    return begin_ns, kind, int(fleet.arrays.devices["interval_ns"][d]), config.burst_ratio


@given(st.lists(st.tuples(turns, st.integers(1, 900), st.sets(st.integers(0, DEVICES - 1))), min_size=1, max_size=8))
@settings(deadline=None, max_examples=60)
def test_changing_schedule_equals_its_naive_twin(plan):
    fleet = fleet_of(rate_per_s=30, frames_per_write=4)
    sent, now_ns = Sent(fleet), START_NS
    firsts = fleet.arrays.devices["offer_next_ns"].tolist()
    words = fleet.arrays.devices["offer_word"].tolist()
    epochs = [[epoch_of(fleet, START_NS, d)] for d in range(DEVICES)]
    for changes, milliseconds, held in plan:
        now_ns += milliseconds * 1_000_000 + 7
        sent.up_to(now_ns)
        fleet.adjust(FleetConfig(connections=DEVICES, **changes), 1.0, now_ns)
        sent.hold(held)
        offered = int(fleet.arrays.counters["offered_count"][0])
        assert offered == sent.count + fleet.owed_count()
        for d in range(DEVICES):
            epochs[d].append(epoch_of(fleet, now_ns, d))
    now_ns += SECOND_NS
    sent.hold(())
    sent.up_to(now_ns)
    fleet.stop_sending(now_ns)
    sent.up_to(now_ns)
    assert sent.count == fleet.arrays.counters["offered_count"][0] and fleet.owed_count() == 0
    for d in range(DEVICES):
        naive = naive_times(firsts[d], words[d], epochs[d], now_ns)
        assert sent.times[d] == sorted(sent.times[d])
        assert len(naive) == pytest.approx(len(sent.times[d]), abs=1)  # Logarithms differ in their last bit.
        common = min(len(naive), len(sent.times[d]))
        assert np.allclose(naive[:common], sent.times[d][:common], rtol=0, atol=2000)


def test_rate_doubles_without_a_gap_or_a_burst():
    fleet = fleet_of(rate_per_s=10, frames_per_write=5)
    sent = Sent(fleet)
    change_ns = START_NS + 2 * SECOND_NS + 30_000_000
    sent.up_to(change_ns)
    fleet.adjust(fleet.config, 2.0, change_ns)
    sent.up_to(change_ns + 3 * SECOND_NS)
    for times in sent.times:
        gaps = np.diff(times)
        assert set(gaps[np.array(times[:-1]) > change_ns]) == {50_000_000}
        assert set(gaps[np.array(times[1:]) <= change_ns]) == {100_000_000}
        assert 50_000_000 <= gaps.max() <= 100_000_000


def test_a_rate_of_zero_and_back_keeps_phases():
    fleet = fleet_of(rate_per_s=10)
    sent = Sent(fleet)
    for second, factor in ((1, 0.0), (3, 1.0)):
        now_ns = START_NS + second * SECOND_NS + 1
        sent.up_to(now_ns)
        fleet.adjust(fleet.config, factor, now_ns)
    sent.up_to(now_ns + SECOND_NS)
    for times in sent.times:
        assert not [time for time in times if START_NS + SECOND_NS + 1 < time <= now_ns]
        assert np.diff(times).max() == pytest.approx(2 * SECOND_NS + 100_000_000, abs=1000)
        assert np.median(np.diff(times)) == 100_000_000


def test_collected_placements_are_sent_when_the_rate_stops():
    fleet = fleet_of(rate_per_s=10, frames_per_write=12)
    now_ns = START_NS + 600_000_000
    fleet.adjust(fleet.config, 0.0, now_ns)
    sent = Sent(fleet)
    sent.up_to(now_ns)
    assert sent.count == fleet.arrays.counters["offered_count"][0] > 0


def test_device_that_ends_abandons_what_it_owes():
    fleet = fleet_of(rate_per_s=20, frames_per_write=3, arrivals="poisson")
    now_ns = START_NS + 5 * SECOND_NS
    fleet.end(2, now_ns)
    counters = fleet.arrays.counters[0]
    assert counters["abandoned_count"] == counters["offered_count"] > 0
    fleet.publish_offered(now_ns)
    assert counters["offered_count"] == fleet.owed_count() + counters["abandoned_count"]
    fleet.begin(2, now_ns + SECOND_NS)
    fleet.publish_offered(now_ns + 2 * SECOND_NS)
    assert counters["offered_count"] == fleet.owed_count() + counters["abandoned_count"]


def test_fleet_grows_and_the_new_devices_are_idle():
    fleet = fleet_of(rate_per_s=20, frames_per_write=2)
    grown = FleetConfig(connections=9, rate_per_s=20, frames_per_write=6, greedy_ratio=1.0)
    fleet.adjust(grown, 1.0, START_NS + SECOND_NS)
    devices = fleet.arrays.devices
    assert len(devices) == len(fleet.arrays.due_ns) == 9
    assert devices["phase"][DEVICES:].tolist() == [Phase.IDLE] * 4
    assert (fleet.arrays.due_ns[DEVICES:] == NEVER_NS).all() and (devices["interval_ns"] == 10_000_000).all()
    fleet.set_phase(8, Phase.FAST)
    fleet.begin(8, START_NS + 2 * SECOND_NS)
    assert START_NS + 2 * SECOND_NS <= fleet.arrays.due_ns[8] < START_NS + 3 * SECOND_NS


def test_a_device_that_lags_by_more_changes_than_are_kept_continues():
    fleet = fleet_of(rate_per_s=20)
    sent = Sent(fleet)
    sent.hold((0,))
    for i in range(EPOCHS_MAX + 10):
        now_ns = START_NS + (i + 1) * 1_000_000
        fleet.adjust(fleet.config, 1.0 + (i & 1), now_ns)
    sent.hold(())
    sent.up_to(now_ns + SECOND_NS)
    assert len(sent.times[0]) == pytest.approx(len(sent.times[1]), abs=2)
    assert sent.times[0] == sorted(sent.times[0])
