"""A fleet and a server that share memory: what is sent is served, once and in order, and what is seen is the canvas."""

import queue
import threading
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from devices.config import FleetConfig, StartFleet
from devices.fleet.fleet import Fleet
from devices.kernels.patterns import paint
from devices.memory_link import MemoryLink
from devices.run import Run
from server.config import Brake, Brakes, ServerConfig
from server.engine.engine import Engine
from server.ipc.control import CheckViewers, Phase, Stop, StopSending
from server.ipc.page import Page, canvas_sections, fleet_sections, link_sections, telemetry_sections
from server.kernels.arrays import MESSAGES_MAX
from server.kernels.layout import Stage
from server.kernels.link import LINK_BLOCKS
from server.loops.memory import MemoryLoop
from server.server import Server
from support.serving import PATIENCE_S
from workbench.session.journey import journeys_of
from workbench.telemetry.pages import SessionPages

SIDE = 48
START_NS = 10**9
MS = 1_000_000


class Joined:
    """Both ends of a link in one thread and in virtual time."""

    def __init__(self, **settings):
        self.server_config = ServerConfig(width=SIDE, height=SIDE, rate_per_s=1000, burst=4000)
        wanted = {"connections": 300, "rate_per_s": 100.0, "frames_per_write": 8, "pattern": "noise"} | settings
        self.fleet_config = FleetConfig(**wanted)
        pages = SessionPages.create(self.server_config, self.fleet_config)
        self.telemetry, self.page, self.link = pages.telemetry, pages.fleet, pages.link
        self.connections = pages.connections
        self.engine = Engine(self.server_config, pages.telemetry, pages.canvas, pages.connections)
        self.engine.start(START_NS)
        self.loop = MemoryLoop(self.engine, self.link)
        self.loop.open(START_NS)
        self.fleet = Fleet(self.fleet_config, SIDE, SIDE, 1, pages.fleet)
        self.devices = MemoryLink(self.fleet, self.link)
        self.devices.dial(START_NS)
        self.fleet.start(START_NS)

    @property
    def row(self):
        return self.page["fleet"][0]

    def journeys(self, number):
        return journeys_of(self.connections, self.page, number, SIDE)

    @property
    def counts(self):
        return self.telemetry["loops"][0]

    def serve(self):
        """Serve every block that is full. Returns their number."""
        state = self.link["blocks"]["state"]
        full = np.count_nonzero(state)
        while self.loop.step(START_NS):
            pass
        return full - np.count_nonzero(state)

    def tick(self, now_ns):
        assert self.engine.tick(now_ns)
        self.loop._show()


def test_what_is_sent_is_admitted_and_seen_by_all():
    joined = Joined()
    for step in range(1, 40):
        now_ns = START_NS + step * 20 * MS
        joined.devices._fill(now_ns)
        joined.serve()
        if step % 3 == 0:
            joined.tick(now_ns)
            joined.devices._read_view()
    assert joined.row["sent_count"] == joined.counts["received_count"] == joined.counts["admitted_count"] > 20_000
    assert joined.row["sent_count"] == joined.counts["applied_count"]
    assert joined.row["sent_bytes"] == joined.counts["received_bytes"] == 12 * joined.row["sent_count"]
    assert joined.row["delta_count"] == joined.counts["delta_count"] == 300 * 12  # None at the first tick.
    assert joined.row["delta_pixel_count"] == joined.counts["delta_pixel_count"] > 0
    assert joined.devices.check_viewers(joined.engine.canvas.pixels) == (300, 0)
    assert joined.devices.check_viewers(joined.engine.canvas.pixels + 1) == (300, 300)


def test_the_canvas_is_what_the_devices_paint_in_their_order():
    joined = Joined(connections=SIDE * SIDE, frames_per_write=3, pattern="sensor_field")
    for step in range(1, 100):
        joined.devices._fill(START_NS + step * 5 * MS)
        joined.serve()
    joined.tick(START_NS + 500 * MS)
    pixels, arrays = joined.engine.canvas.pixels, joined.fleet.arrays
    for d in range(SIDE * SIDE):
        device = arrays.devices[d]
        last_ns = device["wake_ns"] - 3 * device["interval_ns"]  # That of the batch before.
        x, y, color = paint(arrays.settings[0], arrays.board, arrays.ridges, d, device["sequence"] - 1, last_ns)
        assert abs(int(pixels[y, x]) - color) <= 1


def test_a_full_ring_holds_the_fleet_back_and_loses_nothing():
    joined = Joined(connections=20_000, frames_per_write=64)
    late_ns = START_NS + 3_000 * MS
    joined.fleet.stop_sending(late_ns)
    joined.devices.drive(0)
    for _ in range(LINK_BLOCKS):
        joined.devices._fill(late_ns)
    assert joined.devices.count_unanswered() == LINK_BLOCKS
    assert joined.fleet.backlog_count(late_ns) > 0
    while joined.fleet.backlog_count(late_ns) or joined.devices.count_unanswered():
        assert joined.serve() > 0
        if joined.fleet.backlog_count(late_ns):
            joined.devices._take_back()
            joined.devices._fill(late_ns)
    assert joined.row["offered_count"] == joined.row["sent_count"] == joined.counts["received_count"]


def test_a_braked_stage_fills_the_queues_of_a_link_and_loses_nothing():
    """Messages pile up, then blocks: they are given back only when all in them is on the canvas."""
    joined = Joined(connections=20_000, frames_per_write=64, viewers=100)
    joined.engine.adjust(msgspec.structs.replace(joined.server_config, brakes=Brakes(admit=Brake(item_us=500.0))), 0)
    late_ns = START_NS + 3_000 * MS
    joined.fleet.stop_sending(late_ns)
    joined.devices.drive(0)
    for _ in range(LINK_BLOCKS):
        joined.devices._fill(late_ns)
    stage = joined.telemetry["stages"][0, Stage.ADMIT]
    while stage["depth"] < MESSAGES_MAX:
        joined.loop.step(START_NS)
    assert joined.engine.balance()[1] == 0
    assert joined.counts["applied_count"] < joined.devices.count_unanswered() * 1000
    joined.engine.adjust(joined.server_config, 0)
    while joined.fleet.backlog_count(late_ns) or joined.devices.count_unanswered():
        joined.serve()
        joined.devices._take_back()
        joined.devices._fill(late_ns)
    assert joined.row["sent_count"] == joined.counts["received_count"] == joined.counts["admitted_count"]
    assert joined.counts["admitted_count"] == joined.counts["applied_count"]
    joined.tick(late_ns)
    joined.devices._read_view()
    assert joined.devices.check_viewers(joined.engine.canvas.pixels) == (100, 0)


def test_a_braked_view_is_shown_later_and_conflated(monkeypatch):
    monkeypatch.setattr("server.loops.memory.clock", SimpleNamespace(now_ns=lambda: START_NS))  # It rests all along.
    joined = Joined(viewers=100)
    joined.engine.adjust(
        msgspec.structs.replace(joined.server_config, brakes=Brakes(fan_out=Brake(batch_ms=500.0))), START_NS
    )
    for step in range(1, 4):
        now_ns = START_NS + step * 100 * MS
        joined.devices._fill(now_ns)
        joined.serve()
        joined.tick(now_ns)
        joined.devices._read_view()
    assert joined.counts["delta_count"] == 100
    joined.engine.adjust(joined.server_config, START_NS)
    joined.loop._show()
    joined.devices._read_view()
    assert joined.counts["delta_count"] == 200
    assert joined.devices.check_viewers(joined.engine.canvas.pixels) == (100, 0)


def test_viewers_that_take_nothing_are_conflated():
    joined = Joined(viewers=100)
    for step in range(1, 12):
        now_ns = START_NS + step * 100 * MS
        joined.devices._fill(now_ns)
        joined.serve()
        joined.tick(now_ns)  # The view still holds the first delta.
    assert joined.counts["delta_count"] == 100
    joined.devices._read_view()
    joined.loop._show()
    joined.devices._read_view()
    assert joined.counts["delta_count"] == joined.row["delta_count"] == 200
    assert joined.counts["conflated_count"] == 1
    assert joined.devices.check_viewers(joined.engine.canvas.pixels) == (100, 0)


def test_a_probe_ends_with_the_first_delta_after_the_tick_of_its_block():
    joined = Joined(connections=1)
    joined.devices._fill(START_NS + 200 * MS)
    device, probes = joined.fleet.arrays.devices, joined.fleet.arrays.probes
    assert device["probe_first"][0] == device["probe_waiting"][0] > 0
    joined.tick(START_NS + 210 * MS)  # Before the block is served: its delta cannot show what is in it.
    joined.serve()
    joined.devices._take_back()
    assert (device["probe_waiting"][0], probes["tick"][device["probe_first"][0]]) == (0, 1)
    joined.tick(START_NS + 300 * MS)
    joined.devices._read_view()
    assert device["probe_first"][0] == 0
    assert joined.page["latency"].sum() == 8


def test_journeys_of_the_followed_device_are_noted_at_both_ends():
    joined = Joined(frames_per_write=1)
    joined.engine.follow(201)
    joined.fleet.follow(201)
    for step in range(1, 60):
        now_ns = START_NS + step * 20 * MS
        joined.devices._fill(now_ns)
        joined.serve()
        joined.devices._take_back()
        assert not joined.fleet.arrays.devices["probe_waiting"].any()
        if step % 3 == 0:
            joined.tick(now_ns)
            joined.engine.publish(now_ns, 5)
            joined.devices._read_view()
    journeys = joined.journeys(201)
    assert len(journeys) >= 10
    for journey in journeys:
        assert journey.number == 201 and journey.intended_ns <= journey.sent_ns < journey.seen_ns
        assert 0 <= journey.x + journey.y * SIDE < SIDE * SIDE
    rows = joined.connections["journeys"]
    noted = rows[: int(joined.connections["journey_head"][0])]
    assert len(noted) > len(journeys) and (noted["number"] == 201).all() and (noted["placement_count"] == 1).all()
    assert (noted["sent_ns"] > 0).sum() > 10
    rows = joined.connections["connections"][0]
    assert rows["received_bytes"].sum() == joined.counts["received_bytes"] and rows["number"][:3].tolist() == [1, 2, 3]


def test_without_viewers_nothing_is_shown():
    joined = Joined(viewers="none")
    joined.devices._fill(START_NS + 200 * MS)
    joined.serve()
    joined.tick(START_NS + 300 * MS)
    assert joined.link["link"][0]["view_serial"] == joined.counts["delta_count"] == 0
    assert joined.devices.check_viewers(joined.engine.canvas.pixels) == (0, 0)


def test_bytes_that_are_no_frame_cost_only_their_device():
    joined = Joined(connections=2)
    joined.devices._fill(START_NS + 200 * MS)
    joined.link["arenas"][0, 0] = 0x81
    joined.serve()
    assert joined.counts["protocol_error_count"] == 1
    assert joined.counts["admitted_count"] == joined.row["sent_count"] / 2


@pytest.mark.parametrize("settings", [{}, {"arrivals": "bursty"}, {"viewers": 7, "slow_ratio": 0.5}])
def test_a_whole_run_beside_a_server_that_also_listens(settings):
    server_config = ServerConfig(width=SIDE, height=SIDE, tick_ms=10)
    fleet_config = FleetConfig(connections=50, rate_per_s=50, frames_per_write=4, **settings)
    pages = SessionPages.create(server_config, fleet_config)
    server = Server(server_config, pages.telemetry, pages.canvas, pages.link)
    server.prepare(lambda done, total, name: None)
    server.listen()
    thread = threading.Thread(target=server.run)
    thread.start()
    commands = queue.SimpleQueue()
    events = []

    def direct(event):
        events.append(event)
        if isinstance(event, Phase) and event.name in follow:
            commands.put(follow[event.name])

    follow = {"sending": StopSending(), "quiet": CheckViewers(), "checked": Stop()}
    start = StartFleet(
        fleet_config, "127.0.0.1", 1, "/canvas", 5, -1, pages.canvas.descriptor, SIDE, SIDE, pages.link.descriptor
    )
    try:
        Run(start, pages.fleet, direct, commands).run()
    finally:
        server.stop()
        thread.join(PATIENCE_S)
    row = pages.fleet["fleet"][0]
    assert [event.name for event in events if isinstance(event, Phase)] == ["connected", "sending", "quiet", "checked"]
    assert row["sent_count"] == row["offered_count"] == pages.telemetry["loops"]["applied_count"].sum()
    assert row["viewer_checked_count"] == fleet_config.reading_count
    assert row["viewer_wrong_count"] == row["protocol_error_count"] == row["lost_count"] == 0


def test_pages_show_what_is_linked():
    page = Page.create(link_sections(SIDE, SIDE))
    assert Page.attach(page.descriptor, link_sections(SIDE, SIDE))["blocks"].shape == (LINK_BLOCKS,)
    assert page["view"].size > Page.create(canvas_sections(SIDE, SIDE))["pixels"].size
    assert len(Page.create(telemetry_sections(2))["loops"]) == 2
    assert fleet_sections().keys() >= {"fleet", "latency"}


def test_load_changes_without_sockets_and_knobs_that_need_them_are_named():
    joined = Joined(rate_per_s=0.0)
    config = msgspec.structs.replace(
        joined.fleet_config, rate_per_s=50.0, frames_per_write=20, arrivals="poisson", pattern="image", connections=9
    )
    note = joined.devices.adjust(config, 2.0, START_NS + MS)
    assert note == "without sockets, these stay as they were: connections"
    assert joined.fleet.config.connections == joined.fleet_config.connections
    joined.fleet.publish_offered(START_NS + 1001 * MS)
    assert joined.row["offered_count"] == pytest.approx(300 * 100, rel=0.05)
    assert joined.devices.adjust(joined.fleet.config, 2.0, START_NS + 1001 * MS) == ""
    assert "no links" in joined.devices.cut(0.5, START_NS) and "no links" in joined.devices.stall(0.5, 1, START_NS)
