"""Latency probes: what is recorded when a device has seen its batch: in total, by tile, brushed, and followed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.config import FleetConfig
from devices.fleet.fleet import Fleet
from devices.kernels.frames import put_batch, put_place
from devices.kernels.layout import Phase, Probe
from devices.kernels.patterns import paint
from devices.kernels.schedule import batch_time
from devices.kernels.viewer import begin_probe, end_probe, is_probed, placed_pixel
from server.ipc.page import Page, fleet_sections
from server.kernels.histogram import bucket_index

WIDTH, HEIGHT = 150, 90
ACROSS = 5
START_NS = 10**9
MS = 1_000_000


class Probed:
    """A fleet whose devices are open and seen, and whose batches are written and probed by hand."""

    def __init__(self, **changes):
        self.page = Page.create(fleet_sections())
        config = FleetConfig(
            **{"connections": 40, "rate_per_s": 100, "frames_per_write": 4, "pattern": "noise"} | changes
        )
        self.fleet = Fleet(config, WIDTH, HEIGHT, 3, self.page)
        self.arrays = self.fleet.arrays
        devices = self.arrays.devices
        devices["phase"], devices["seen"], devices["number"] = Phase.FAST, 1, np.arange(len(devices)) + 101
        self.fleet.start(START_NS)

    def write(self, d, now_ns):
        """Write and probe the batch of device d. Returns its intended times and where the last placement goes."""
        arrays = self.arrays
        device = arrays.devices[d]
        count, sequence = int(device["batch_count"]), int(device["sequence"])
        times = [int(batch_time(arrays, d, i)) for i in range(count)]
        x, y, _ = paint(arrays.settings[0], arrays.board, arrays.ridges, d, sequence + count - 1, times[-1])
        words = np.zeros(3 * count, np.uint32)
        size = put_batch(arrays, d, words, 0)
        begin_probe(arrays, d, words, size // 4, now_ns)
        return times, int(y) * WIDTH + int(x)


@given(st.integers(0, 8191), st.integers(0, 8191), st.integers(0, 255), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_the_pixel_is_read_back_from_a_frame(x, y, color, mask):
    words = np.zeros(5, np.uint32)
    put_place(words, 2, x, y, color, mask)
    assert placed_pixel(words, 2, 8192) == y * 8192 + x


@given(st.integers(0, 2**32), st.tuples(*[st.integers(0, 5)] * 4))
@settings(deadline=None, max_examples=30)
def test_each_probe_counts_in_its_histograms(seed, box):
    """Compare with lists of all latencies, of those whose batch ended in the brushed tiles, and of each tile."""
    probed, lots = Probed(), np.random.default_rng(seed)
    probed.fleet.brush(*box)
    every, brushed, tiles = [], [], {}
    for d in lots.permutation(40)[:12]:
        times, pixel = probed.write(d, START_NS)
        seen_ns = times[-1] + int(lots.integers(-5 * MS, 900 * MS))
        end_probe(probed.arrays, d, 7, seen_ns)
        waited = [max(0, (seen_ns - time_ns) // 1000) for time_ns in times]
        tile_x, tile_y = pixel % WIDTH // 32, pixel // WIDTH // 32
        every += waited
        if box[0] <= tile_x < box[2] and box[1] <= tile_y < box[3]:
            brushed += waited
        total, count = tiles.get(tile_y * ACROSS + tile_x, (0, 0))
        tiles[tile_y * ACROSS + tile_x] = (total + waited[-1], count + 1)
    for name, values in (("latency", every), ("brushed_latency", brushed)):
        buckets, counts = np.unique([int(bucket_index(value)) for value in values], return_counts=True)
        found = probed.page[name]
        assert np.flatnonzero(found).tolist() == buckets.tolist() and found[found > 0].tolist() == counts.tolist()
        assert probed.page[f"{name}_max_us"][0] == max(values, default=0)
    found = probed.page["tile_latency"]
    assert {int(t): tuple(found[t].tolist()) for t in np.flatnonzero(found["count"])} == tiles


def test_each_brush_starts_an_empty_histogram():
    probed = Probed()
    probed.fleet.brush(0, 0, 5, 3)
    probed.write(0, START_NS)
    end_probe(probed.arrays, 0, 1, START_NS + 500 * MS)
    assert probed.page["brushed_latency"].sum() == 4
    probed.fleet.brush(0, 0, 0, 0)
    assert probed.page["brushed_latency"].sum() == probed.page["brushed_latency_max_us"][0] == 0
    probed.write(0, START_NS)
    end_probe(probed.arrays, 0, 1, START_NS + 500 * MS)
    assert probed.page["brushed_latency"].sum() == 0
    assert probed.page["latency"].sum() == 8


def test_the_followed_device_records_each_probe():
    probed = Probed()
    probed.fleet.follow(105)
    rows = []
    for d, seen_ns in ((4, START_NS + 300 * MS), (5, START_NS + 310 * MS), (4, START_NS + 600 * MS)):
        times, pixel = probed.write(d, seen_ns - 20 * MS)
        end_probe(probed.arrays, d, 9, seen_ns)
        if d == 4:
            rows.append((105, pixel, times[-1], seen_ns - 20 * MS, seen_ns, 9))
    assert probed.page["journey_head"][0] == 2
    assert probed.page["journeys"][:2].tolist() == rows


def test_a_followed_greedy_device_is_recorded_and_not_counted():
    probed = Probed(greedy_ratio=1.0)
    probed.fleet.follow(101)
    probed.write(0, START_NS)
    end_probe(probed.arrays, 0, 9, START_NS + 300 * MS)
    assert probed.page["journey_head"][0] == 1
    assert probed.page["latency"].sum() == probed.page["tile_latency"]["count"].sum() == 0


@pytest.mark.parametrize("followed", [-1, 103])
def test_which_devices_are_probed(followed):
    """The followed device whenever it has no probe pending; others when a probe is due, by their stride."""
    probed = Probed(greedy_ratio=0.5)
    probed.fleet.follow(followed)
    devices = probed.arrays.devices
    probed.arrays.settings["probe_next_ns"] = START_NS
    for now_ns in (START_NS - 1, START_NS):
        for d in range(40):
            is_drawn = now_ns == START_NS and not devices["greedy"][d] and d % 3 == 0
            assert is_probed(probed.arrays, d, 3, now_ns) == (is_drawn or devices["number"][d] == followed)
    devices["probe"] = Probe.ANSWERED
    assert not any(is_probed(probed.arrays, d, 1, START_NS) for d in range(40))
    devices["probe"], devices["seen"] = Probe.NONE, 0
    assert not any(is_probed(probed.arrays, d, 1, START_NS) for d in range(40))


def test_following_does_not_delay_the_probes_of_others():
    probed = Probed()
    probed.arrays.settings["probe_next_ns"] = START_NS + 10
    probed.write(0, START_NS)
    assert probed.arrays.settings["probe_next_ns"][0] == START_NS + 10
    probed.write(1, START_NS + 10)
    assert probed.arrays.settings["probe_next_ns"][0] > START_NS + 10
