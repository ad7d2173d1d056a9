"""The fleet without I/O: joined to a plain canvas in memory, in virtual time."""

import numpy as np
import pytest

from devices.config import FleetConfig
from devices.fleet.fleet import Fleet
from devices.kernels import frames, schedule, sockets
from devices.kernels.layout import NEVER_NS, PROBES_MAX, Phase
from devices.kernels.probes import begin_probe
from devices.warm import warm_kernels
from server.ipc.page import Page, fleet_sections
from server.kernels.kernel import Warm
from server.protocol.blocks import Block
from server.protocol.messages import Delta, Pong, Snapshot, decode_client_message
from server.protocol.websocket import ProtocolViolation
from workbench.telemetry.histogram import quantile_ms

START_NS = 10**9
MS = 1_000_000


def fleet_of(**settings):
    config = FleetConfig(**{"connections": 1, "rate_per_s": 10, "frames_per_write": 2, **settings})
    page = Page.create(fleet_sections())
    fleet = Fleet(config, 16, 16, 1, page)
    for d in range(config.connections):
        fleet.set_phase(d, Phase.FAST)
        fleet.receive(d, Snapshot(1, 0, 0, 16, 16, bytes(256)).encode(), START_NS)
    fleet.start(START_NS)
    return fleet, page


def take_writes(fleet, now_ns):
    """Messages of all batches due at `now_ns`, unmasked, as (device, message)."""
    words = np.zeros(frames.WRITE_BYTES_MAX // 4, np.uint32)
    written = []
    for d in np.flatnonzero(fleet.arrays.due_ns <= now_ns):
        size = frames.put_batch(fleet.arrays, d, words, 0)
        for frame in words.view(np.uint8)[:size].reshape(-1, 12):
            payload = frame[6:] ^ np.resize(frame[2:6], 6)
            written.append((d, decode_client_message(payload.tobytes())))
        schedule.fill_batch(fleet.arrays, d)
        schedule.arm(fleet.arrays, d)
    return written


def probe(fleet, d, nonce, times_ns):
    """Put device `d` where it is after a write of two placements with a probe."""
    words = np.zeros(frames.WRITE_BYTES_MAX // 4, np.uint32)
    size = frames.put_batch(fleet.arrays, d, words, 0)
    begin_probe(fleet.arrays, d, d, 1, nonce, words, size // 4, times_ns[-1])
    fleet.arrays.probe_times[fleet.arrays.devices["probe_last"][d], :2] = times_ns


def waiting_probe_count(fleet):
    return PROBES_MAX - 1 - fleet.arrays.settings["probe_free_count"][0]


def delta(tick):
    return Delta(tick, (Block(0, (tick % 100,), b"\x05"),)).encode()


def test_whole_load_in_virtual_time():
    fleet, _ = fleet_of(connections=40, rate_per_s=25, frames_per_write=4, arrivals="poisson")
    written = []
    now_ns = START_NS
    while (due_ns := fleet.arrays.due_ns.min()) <= START_NS + 4000 * MS:
        now_ns = due_ns
        written += take_writes(fleet, now_ns)
    fleet.stop_sending(now_ns)
    written += take_writes(fleet, now_ns)
    assert fleet.backlog_count(now_ns) == 0 and fleet.arrays.due_ns.min() == NEVER_NS
    assert fleet.arrays.counters["offered_count"][0] == len(written) == pytest.approx(4000, rel=0.1)
    fleet.stop_sending(now_ns + 10**9)  # The first end stands.
    fleet.advance(now_ns + 10**10)
    assert fleet.arrays.counters["offered_count"][0] == len(written)


def test_latency_is_from_intended_time_to_the_first_later_delta():
    fleet, page = fleet_of()
    probe(fleet, 0, 77, [START_NS, START_NS + 100 * MS])
    fleet.receive(0, delta(4), START_NS + 110 * MS)  # Before the PONG: may or may not show the placements.
    fleet.receive(0, Pong(76, 9).encode(), START_NS + 111 * MS)  # Another's answer.
    fleet.receive(0, Pong(77, 5).encode(), START_NS + 112 * MS)
    fleet.receive(0, delta(5), START_NS + 120 * MS)  # Its tick was over when the placements were applied.
    assert page["latency"].sum() == 0 and waiting_probe_count(fleet) == 1
    fleet.receive(0, delta(6), START_NS + 150 * MS)
    assert page["latency"].sum() == 2 and waiting_probe_count(fleet) == 0
    assert page["latency_max_us"][0] == 150_000
    found_ms = [quantile_ms(page["latency"], 150_000, ratio) for ratio in (0.5, 1)]
    assert found_ms == pytest.approx([50, 150], rel=0.02)
    fleet.receive(0, delta(7), START_NS + 190 * MS)
    assert page["latency"].sum() == 2


def test_last_ping_measures_nothing():
    fleet, page = fleet_of()
    fleet.arrays.devices["ping_nonce"] = 5
    fleet.receive(0, Pong(5, 1).encode(), START_NS)
    assert fleet.arrays.devices["ping_nonce"][0] == 0
    fleet.receive(0, delta(9), START_NS + MS)
    assert page["latency"].sum() == 0


def test_a_device_that_is_gone_schedules_and_holds_nothing():
    fleet, _ = fleet_of(connections=3)
    before = int(schedule.count_offered(fleet.arrays, START_NS + 1000 * MS))
    fleet.end(1, START_NS + 1000 * MS)
    sockets.release(fleet.arrays, 1)
    assert fleet.arrays.due_ns[1] == NEVER_NS
    assert schedule.count_offered(fleet.arrays, START_NS + 2000 * MS) == pytest.approx(before * 2 / 3, abs=2)
    assert fleet.viewers.check(np.zeros((16, 16), np.uint8)) == (2, 0)
    assert np.flatnonzero(fleet.arrays.devices["phase"] == Phase.GONE).tolist() == [1]


def test_device_in_the_slow_path_does_not_send():
    fleet, _ = fleet_of()
    fleet.set_phase(0, Phase.SLOW)
    assert fleet.arrays.due_ns[0] == NEVER_NS
    fleet.set_phase(0, Phase.FAST)
    assert fleet.arrays.due_ns[0] == schedule.batch_time(fleet.arrays, 0, 1)


def test_violation_names_the_message():
    fleet, _ = fleet_of()
    with pytest.raises(ProtocolViolation, match="op 0x99 with 3 bytes"):
        fleet.receive(0, b"\x99\x00\x00", START_NS)
    with pytest.raises(ProtocolViolation, match="empty"):
        fleet.receive(0, b"", START_NS)


def test_life_advances_with_the_fleet():
    fleet, _ = fleet_of(pattern="life", connections=50, rate_per_s=60)
    before = fleet.arrays.board.copy()
    fleet.advance(START_NS + 10_000 * MS)
    assert (fleet.arrays.board != before).any()


def test_every_kernel_is_warmed_with_its_real_argument_types():
    warms = warm_kernels()
    assert len({warm.name for warm in warms}) == len(warms)
    for warm in warms:
        assert isinstance(warm, Warm) and isinstance(warm.example(), tuple)
