"""Latency probes: which batches are probed, what is recorded of each, and that no stall hides what it delays."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.config import FleetConfig
from devices.fleet.fleet import Fleet
from devices.fleet.workload import clear_probes
from devices.kernels.frames import put_batch, put_place
from devices.kernels.layout import PROBES_MAX, Phase
from devices.kernels.patterns import paint
from devices.kernels.probes import (
    answer_probes,
    batches_a_probe,
    begin_probe,
    drop_probe,
    end_probe,
    forget_answered,
    forget_probes,
    placed_color,
    placed_pixel,
    probe_weight,
    see_tick,
    take_first,
)
from devices.kernels.schedule import arm, batch_time, fill_batch
from server.ipc.page import Page, fleet_sections
from server.kernels.histogram import bucket_index
from workbench.telemetry.histogram import quantile_ms

WIDTH, HEIGHT = 150, 90
ACROSS = 5
START_NS = 10**9
MS = 1_000_000


class Probed:
    """A fleet whose devices are open and seen, and whose batches are written and probed by hand."""

    def __init__(self, **config):
        self.page = Page.create(fleet_sections())
        usual = {"connections": 40, "rate_per_s": 100, "frames_per_write": 4, "pattern": "noise"}
        self.fleet = Fleet(FleetConfig(**(usual | config)), WIDTH, HEIGHT, 3, self.page)
        self.arrays = self.fleet.arrays
        devices = self.arrays.devices
        devices["phase"], devices["seen"], devices["number"] = Phase.FAST, 1, np.arange(len(devices)) + 101
        self.fleet.start(START_NS)

    def write(self, d, now_ns, weight=1, nonce=0):
        """Write and probe the batch of device d. Returns its intended times and where the last placement goes."""
        arrays = self.arrays
        device = arrays.devices[d]
        count, sequence = int(device["batch_count"]), int(device["sequence"])
        times = [int(batch_time(arrays, d, i)) for i in range(count)]
        x, y, _ = paint(arrays.settings[0], arrays.board, arrays.ridges, d, sequence + count - 1, times[-1])
        words = np.zeros(3 * count, np.uint32)
        size = put_batch(arrays, d, words, 0)
        begin_probe(arrays, d, d, weight, nonce, words, size // 4, now_ns)
        return times, int(y) * WIDTH + int(x)

    def end(self, d, tick, now_ns):
        end_probe(self.arrays, take_first(self.arrays, d), tick, now_ns)

    def queued(self, d):
        """Nonces of the probes of device d, in order."""
        rows, row = [], int(self.arrays.devices["probe_first"][d])
        while row:
            rows.append(int(self.arrays.probes["nonce"][row]))
            row = int(self.arrays.probes["next"][row])
        return rows

    @property
    def used_count(self):
        """Rows in use; that none is lost or free twice is checked on the way."""
        free, row = set(), int(self.arrays.settings["probe_free"][0])
        while row:
            assert row not in free
            free.add(row)
            row = int(self.arrays.probes["next"][row])
        assert len(free) == self.arrays.settings["probe_free_count"][0]
        return PROBES_MAX - 1 - len(free)


@given(st.integers(0, 8191), st.integers(0, 8191), st.integers(0, 255), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_pixel_and_color_are_read_back_from_a_frame(x, y, color, mask):
    words = np.zeros(5, np.uint32)
    put_place(words, 2, x, y, color, mask)
    assert (placed_pixel(words, 2, 8192), placed_color(words, 2)) == (y * 8192 + x, color)


@given(st.integers(0, 2**32), st.tuples(*[st.integers(0, 5)] * 4))
@settings(deadline=None, max_examples=30)
def test_each_probe_counts_where_it_belongs(seed, box):
    """Against a list: of all latencies, of those whose batch ended in the brushed tiles, and of each tile."""
    probed, random = Probed(), np.random.default_rng(seed)
    probed.fleet.brush(*box)
    every, brushed, tiles = [], [], {}
    for d in random.permutation(40)[:12]:
        weight = int(random.integers(1, 9))
        times, pixel = probed.write(d, START_NS, weight)
        seen_ns = times[-1] + int(random.integers(-5 * MS, 900 * MS))
        probed.end(d, 7, seen_ns)
        waited = [max(0, (seen_ns - time_ns) // 1000) for time_ns in times]
        tile_x, tile_y = pixel % WIDTH // 32, pixel // WIDTH // 32
        every += waited * weight
        if box[0] <= tile_x < box[2] and box[1] <= tile_y < box[3]:
            brushed += waited * weight
        total, count = tiles.get(tile_y * ACROSS + tile_x, (0, 0))
        tiles[tile_y * ACROSS + tile_x] = (total + waited[-1] * weight, count + weight)
    for name, values in (("latency", every), ("brushed_latency", brushed)):
        buckets, counts = np.unique([int(bucket_index(value)) for value in values], return_counts=True)
        found = probed.page[name]
        assert np.flatnonzero(found).tolist() == buckets.tolist() and found[found > 0].tolist() == counts.tolist()
        assert probed.page[f"{name}_max_us"][0] == max(values, default=0)
    found = probed.page["tile_latency"]
    assert {int(t): tuple(found[t].tolist()) for t in np.flatnonzero(found["count"])} == tiles
    assert probed.used_count == 0


def test_each_brush_begins_from_nothing():
    probed = Probed()
    probed.fleet.brush(0, 0, 5, 3)
    probed.write(0, START_NS)
    probed.end(0, 1, START_NS + 500 * MS)
    assert probed.page["brushed_latency"].sum() == 4
    probed.fleet.brush(0, 0, 0, 0)
    assert probed.page["brushed_latency"].sum() == probed.page["brushed_latency_max_us"][0] == 0
    probed.write(0, START_NS)
    probed.end(0, 1, START_NS + 500 * MS)
    assert probed.page["brushed_latency"].sum() == 0
    assert probed.page["latency"].sum() == 8


def test_journeys_of_the_followed_device_are_noted():
    probed = Probed()
    probed.fleet.follow(105)
    rows = []
    for d, seen_ns in ((4, START_NS + 300 * MS), (5, START_NS + 310 * MS), (4, START_NS + 600 * MS)):
        times, pixel = probed.write(d, seen_ns - 20 * MS)
        probed.end(d, 9, seen_ns)
        if d == 4:
            rows.append((105, pixel, times[-1], seen_ns - 20 * MS, seen_ns, 9))
    assert probed.page["journey_head"][0] == 2
    assert probed.page["journeys"][:2].tolist() == rows


def test_a_probe_without_weight_is_noted_and_not_counted():
    probed = Probed(greedy_ratio=1.0)
    probed.fleet.follow(101)
    assert probe_weight(probed.arrays, 0) == 0 and probe_weight(probed.arrays, 1) == -1
    probed.write(0, START_NS, weight=0)
    probed.end(0, 9, START_NS + 300 * MS)
    assert probed.page["journey_head"][0] == 1
    assert probed.page["latency"].sum() == probed.page["tile_latency"]["count"].sum() == 0


def test_devices_without_a_canvas_are_not_probed():
    probed = Probed()
    probed.arrays.devices["seen"] = 0
    probed.fleet.follow(101)
    assert {probe_weight(probed.arrays, d) for d in range(40)} == {-1}


@pytest.mark.parametrize(
    ("config", "count"),
    [
        ({"connections": 40}, 1),  # 1,000 batches a second: each is probed.
        ({"connections": 400}, 5),
        ({"connections": 400, "frames_per_write": 1}, 20),
        ({"connections": 400, "greedy_ratio": 0.5}, 3),  # 2.5, rounded.
        ({"rate_per_s": 0}, 1),
    ],
)
def test_about_two_thousand_batches_a_second_are_probed(config, count):
    assert batches_a_probe(Probed(**config).arrays) == count


def test_weights_add_up_to_the_batches():
    """Also while the table is full: fewer are probed then, and each stands for more."""
    probed = Probed(connections=400, frames_per_write=1)  # One in 20.
    for used in (0, PROBES_MAX // 2, PROBES_MAX * 3 // 4, PROBES_MAX * 15 // 16):
        probed.arrays.settings["probe_free_count"] = PROBES_MAX - 1 - used
        weights = [max(int(probe_weight(probed.arrays, i % 400)), 0) for i in range(400_000)]
        assert sum(weights) == pytest.approx(400_000, rel=0.1)
        assert {weight for weight in weights if weight} == {20 * PROBES_MAX // (PROBES_MAX - used)}


def test_a_full_table_takes_no_more():
    probed = Probed()
    probed.arrays.settings["probe_free"] = probed.arrays.settings["probe_free_count"] = 0
    assert {probe_weight(probed.arrays, 0) for _ in range(1000)} == {-1}


@given(st.lists(st.tuples(st.sampled_from(["write", "answer", "see", "drop", "forget", "settle"]), st.integers(0, 2))))
@settings(deadline=None, max_examples=60)
def test_queues_do_as_lists_do(steps):
    """Any order of writes, answers, DELTAs and resets, of three devices, against a list for each."""
    probed, tick = Probed(), 0
    clear_probes(probed.arrays)
    model, answered, nonce = {0: deque(), 1: deque(), 2: deque()}, {}, 0
    for step, d in steps:
        if step == "write":
            nonce += 1
            probed.write(d, START_NS, nonce=nonce)
            model[d].append(nonce)
        elif step == "answer":
            first = next((each for each in model[d] if each not in answered), None)
            answer_probes(probed.arrays, d, nonce + 1, tick)  # Another's, or one that came before a reset.
            if first is not None:
                answered[first] = tick
                answer_probes(probed.arrays, d, first, tick)
        elif step == "see":
            tick += 1
            see_tick(probed.arrays, d, tick, START_NS)
            while model[d] and answered.get(model[d][0], tick) < tick:
                model[d].popleft()
        elif step == "drop" and model[d]:
            drop_probe(probed.arrays, take_first(probed.arrays, d))
            model[d].popleft()
        elif step == "forget":
            forget_probes(probed.arrays, d)
            model[d].clear()
        elif step == "settle":
            forget_answered(probed.arrays)
            for queue in model.values():
                while queue and queue[0] in answered:
                    queue.popleft()
        assert [probed.queued(each) for each in range(3)] == [list(model[each]) for each in range(3)]
        assert probed.used_count == sum(map(len, model.values()))


def test_probes_of_a_block_are_answered_together():
    probed = Probed()
    for d, nonce in ((1, 7), (2, 7), (3, 8)):
        words = np.zeros(12, np.uint32)
        size = put_batch(probed.arrays, d, words, 0)
        begin_probe(probed.arrays, 0, d, 1, nonce, words, size // 4, START_NS)
    answer_probes(probed.arrays, 0, 7, 4)
    see_tick(probed.arrays, 0, 5, START_NS + MS)
    assert probed.queued(0) == [8]


class Simulated(Probed):
    """A server that reads at once, except while it is stalled, and ticks on time, in virtual time."""

    TICK_NS = 100 * MS

    def __init__(self, stall_ns, **config):
        super().__init__(frames_per_write=1, **config)
        self.stalled = (START_NS + 4000 * MS, START_NS + 4000 * MS + stall_ns)
        self.every_us = []
        self._unread, self._unseen = deque(), deque()

    def run(self, until_ns):
        now_ns, tick = START_NS, 0
        while now_ns < until_ns:
            now_ns += MS
            self._write_due(now_ns)
            if self.stalled[0] <= now_ns < self.stalled[1]:
                continue
            while self._unread:
                d, nonce, intended_ns = self._unread.popleft()
                self._unseen.append(intended_ns)
                answer_probes(self.arrays, d, nonce, tick)
            if now_ns % self.TICK_NS == 0 or now_ns == self.stalled[1]:
                tick += 1
                while self._unseen:
                    self.every_us.append((now_ns - self._unseen.popleft()) // 1000)
                for d in np.flatnonzero(self.arrays.devices["probe_first"]):
                    see_tick(self.arrays, d, tick, now_ns)

    def _write_due(self, now_ns):
        arrays, words = self.arrays, np.zeros(3, np.uint32)
        for d in np.flatnonzero(arrays.due_ns <= now_ns):
            arrays.settings["nonce"] += 1
            nonce = int(arrays.settings["nonce"][0])
            self._unread.append((d, nonce, int(batch_time(arrays, d, 0))))
            put_batch(arrays, d, words, 0)
            if (weight := probe_weight(arrays, d)) >= 0:
                begin_probe(arrays, d, d, weight, nonce, words, 3, now_ns)
            fill_batch(arrays, d)
            arm(arrays, d)


@pytest.mark.parametrize("stall_s", [0, 0.3, 1, 3])
@pytest.mark.parametrize(
    "config",
    [
        {"connections": 4, "rate_per_s": 20},
        {"connections": 4, "rate_per_s": 20, "arrivals": "poisson"},
        {"connections": 40, "rate_per_s": 20, "arrivals": "bursty"},
        {"connections": 400, "rate_per_s": 20},  # One in four is probed.
    ],
    ids=["4", "4 poisson", "40 bursty", "400"],
)
def test_no_stall_hides_what_it_delays(config, stall_s):
    """Coordinated omission: the distribution is that of every intended placement, as an open-loop prober has it."""
    simulated = Simulated(int(stall_s * 1e9), **config)
    simulated.run(START_NS + 12_000 * MS)
    found, largest = simulated.page["latency"], int(simulated.page["latency_max_us"][0])
    for ratio in (0.5, 0.9, 0.99, 0.999):
        true_ms = np.quantile(simulated.every_us, ratio, method="inverted_cdf") / 1000
        assert quantile_ms(found, largest, ratio) == pytest.approx(true_ms, rel=0.05, abs=2)
    late = found[bucket_index(200_000) + 1 :].sum() / found.sum()
    assert late == pytest.approx(np.mean(np.array(simulated.every_us) > 200_000), rel=0.05, abs=0.002)
