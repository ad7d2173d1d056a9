"""The fleet over real loopback sockets, against the `websockets` library as an independent server."""

import queue
import socket
import subprocess
import sys
import threading

import msgspec
import pytest

from devices import run
from devices.config import AdjustFleet, Cut, FleetConfig, Stall, StartFleet
from devices.fleet.fleet import Fleet
from devices.limits import FleetFailed, check_ports, raise_open_files
from devices.run import Run
from devices.sockets import dialer
from server.ipc.control import CheckViewers, Failed, Phase, Progress, Stop, StopSending, write_line
from server.ipc.page import Page, canvas_sections, fleet_sections
from server.protocol.messages import Notice
from server.system import clock
from support.braking import wait_until
from support.canvas_peer import Peer
from support.serving import PATIENCE_S

CONFIG = FleetConfig(connections=12, rate_per_s=50, frames_per_write=4, connect_per_s=5000)


@pytest.fixture
def patient_close(monkeypatch):
    """Wait for the answers to the last close frames, however late the peer sends them."""
    monkeypatch.setattr(run, "CLOSE_NS", PATIENCE_S * 1_000_000_000)


def start_of(peer, config=CONFIG, canvas_fd=-1, **changes):
    start = StartFleet(config, "127.0.0.1", peer.port, "/canvas", 5, -1, canvas_fd, peer.width, peer.height)
    return msgspec.structs.replace(start, **changes)


class Session:
    """Runs a fleet in this thread and sends it the next command each time that it reaches a phase."""

    def __init__(self, start, on_phase):
        self.page = Page.create(fleet_sections())
        self.events = []
        self.commands = queue.SimpleQueue()
        self._on_phase = on_phase
        self._run = Run(start, self.page, self._on_event, self.commands)

    def _on_event(self, event):
        self.events.append(event)
        if isinstance(event, Phase):
            command = self._on_phase(event.name)
            if command is not None:
                self.commands.put(command)

    def run(self):
        self._run.run()
        return self.page["fleet"][0]

    @property
    def phases(self):
        return [event.name for event in self.events if isinstance(event, Phase)]


class WholeRun:
    """Send until the peer has `count` placements, wait for quiet, compare with the peer's canvas, stop."""

    def __init__(self, peer, count=400, config=CONFIG):
        self._peer, self._count = peer, count
        self._canvas = Page.create(canvas_sections(peer.width, peer.height))
        self.session = Session(start_of(peer, config, self._canvas.descriptor), self._on_phase)
        self.counters = self.session.run()

    def _on_phase(self, name):
        if name == "sending":
            self._peer.when_placed(self._count, lambda: self.session.commands.put(StopSending()))
        if name == "quiet":
            self._canvas["pixels"][:] = self._peer.pixels
        return {"quiet": CheckViewers(), "checked": Stop()}.get(name)


@pytest.mark.usefixtures("patient_close")
@pytest.mark.parametrize(
    "traits",
    [{}, {"compress": False}, {"fragment": True}, {"ping_each": True}, {"width": 130, "height": 70}],
    ids=["compressed", "plain", "fragmented", "pinged", "many tiles"],
)
def test_every_viewer_sees_the_canvas(traits):
    with Peer(**traits) as peer:
        whole = WholeRun(peer)
    session, counters = whole.session, whole.counters
    assert session.phases == ["connected", "sending", "quiet", "checked"]
    assert counters["viewer_checked_count"] == CONFIG.connections
    assert counters["viewer_wrong_count"] == 0
    assert counters["sent_count"] == counters["offered_count"] == len(peer.placements)
    assert counters["protocol_error_count"] == counters["lost_count"] == counters["refused_count"] == 0
    assert counters["delta_count"] > 0 and counters["delta_pixel_count"] > 0
    assert counters["snapshot_count"] == CONFIG.connections
    assert session.page["latency"].sum() > 0
    assert session.page["lateness"].sum() > 0
    assert set(peer.closed_codes) == {1001}


def test_viewers_of_what_is_around_them_see_it():
    config = msgspec.structs.replace(CONFIG, region="around")
    with Peer() as peer:
        counters = WholeRun(peer, config=config).counters
        assert counters["viewer_checked_count"] == config.connections
        assert counters["viewer_wrong_count"] == counters["protocol_error_count"] == 0


def test_viewers_that_never_read_paint_and_see_nothing():
    config = msgspec.structs.replace(CONFIG, slow_ratio=0.25)
    with Peer() as peer:
        counters = WholeRun(peer, config=config).counters
        wait_until(lambda: len(peer.senders) == config.connections)
    assert counters["viewer_checked_count"] == counters["snapshot_count"] == config.connections * 3 // 4
    assert counters["viewer_wrong_count"] == counters["lost_count"] == 0


def test_a_wrong_canvas_is_reported():
    with Peer() as peer:
        canvas = Page.create(canvas_sections(peer.width, peer.height))
        canvas["pixels"][:] = 7
        commands = {"sending": StopSending(), "quiet": CheckViewers(), "checked": Stop()}
        counters = Session(start_of(peer, canvas_fd=canvas.descriptor), commands.get).run()
    assert counters["viewer_wrong_count"] == counters["viewer_checked_count"] == CONFIG.connections


def test_watchers_only_send_nothing():
    config = msgspec.structs.replace(CONFIG, rate_per_s=0)
    with Peer() as peer:
        session = Session(start_of(peer, config), {"sending": StopSending(), "quiet": Stop()}.get)
        counters = session.run()
    assert counters["offered_count"] == counters["sent_count"] == 0
    assert counters["snapshot_count"] == CONFIG.connections


def test_no_viewers_receive_nothing():
    config = msgspec.structs.replace(CONFIG, viewers="none")
    with Peer() as peer:
        counters = WholeRun(peer, config=config).counters
    assert counters["snapshot_count"] == counters["delta_count"] == 0
    assert counters["sent_count"] == len(peer.placements)


def test_placements_arrive_as_painted_and_in_order():
    with Peer() as peer:
        WholeRun(peer)
    assert all(place.x < peer.width and place.y < peer.height for _, place in peer.placements)
    assert peer.senders == set(range(CONFIG.connections))


def test_server_gone_in_mid_run_fails_with_one_line():
    with Peer() as peer:

        def on_phase(name):
            if name == "sending":
                threading.Thread(target=peer.stop).start()

        config = msgspec.structs.replace(CONFIG, reconnect="never")
        session = Session(start_of(peer, config), on_phase)
        with pytest.raises(FleetFailed, match=r"^all 12 connections to 127\.0\.0\.1:\d+ ended: .+$"):
            session.run()
    assert session.page["fleet"][0]["lost_count"] == CONFIG.connections
    assert session.page["fleet"][0]["connection_count"] == 0


def test_commands_change_and_disturb_a_run():
    config = msgspec.structs.replace(CONFIG, connections=20, rate_per_s=80, reconnect="at_once")
    orders = [AdjustFleet(config), Stall(0.2, 0.05), Cut(0.5), StopSending()]
    with Peer() as peer:

        def go_on():
            session.commands.put(orders.pop(0))
            if orders:
                count = len(peer.placements) + 150
                # The last order comes when some have placed who joined, or came back, by those before it.
                joined = 0 if len(orders) > 1 else CONFIG.connections + 1
                peer.when(lambda: len(peer.placements) >= count and len(peer.senders) >= joined, go_on)

        def on_phase(name):
            if name == "sending":
                go_on()
            return Stop() if name == "quiet" else None

        session = Session(start_of(peer), on_phase)
        counters = session.run()
    assert counters["device_count"] == 20 and counters["lost_count"] == 0
    assert counters["cut_count"] in (6, 7, 8, 9, 10)
    assert len(peer.senders) > CONFIG.connections


def test_a_server_that_sends_no_snapshots_ends_the_fleet(monkeypatch):
    monkeypatch.setattr(dialer, "NO_SNAPSHOT_NS", 20_000_000)
    with Peer(is_mute=True) as peer:
        session = Session(start_of(peer), lambda name: None)
        fault = r"/canvas accepted 12 viewers and sent none of them a SNAPSHOT for 0\.02 s; does it answer SUBSCRIBE\?$"
        with pytest.raises(FleetFailed, match=fault):
            session.run()
    assert session.phases == []


def test_refused_devices_are_all_counted_however_long_it_takes():
    """A process that was stopped for longer than a lost server is waited for still takes every device's outcome."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        fleet = Fleet(CONFIG, 8, 8, 1, Page.create(fleet_sections()))
        link = dialer.Dialer(fleet, "127.0.0.1", taken.getsockname()[1], "/canvas", raise_open_files(12))
        now_ns = clock.now_ns()
        link.dial(now_ns)  # One device: the pace allows no more yet.
        while not link.reason:
            link.drive(clock.now_ns())
        later_ns = now_ns + 2 * dialer.NO_CONNECTION_NS
        link.dial(later_ns)
        while not link.is_empty(later_ns):
            link.drive(clock.now_ns())
        link.abandon()
    assert fleet.arrays.counters[0]["refused_count"] == CONFIG.connections


def test_no_server_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        start = StartFleet(CONFIG, "127.0.0.1", taken.getsockname()[1], "/canvas", 1, -1, -1, 8, 8)
        session = Session(start, lambda name: None)
        with pytest.raises(FleetFailed, match="connection refused"):
            session.run()
    assert session.page["fleet"][0]["refused_count"] == CONFIG.connections


@pytest.mark.usefixtures("patient_close")
def test_the_size_comes_from_the_server_when_it_is_not_given():
    with Peer() as peer:
        Session(start_of(peer, width=0, height=0), {"sending": StopSending(), "quiet": Stop()}.get).run()
    assert set(peer.closed_codes) == {1000, 1001}


@pytest.mark.parametrize("size", [(41, 33), (40, 32)])
def test_another_size_than_given_is_refused(size):
    with Peer() as peer:
        session = Session(start_of(peer, width=size[0], height=size[1]), lambda name: None)
        with pytest.raises(FleetFailed, match="40 x 33"):
            session.run()


@pytest.mark.parametrize("greeting", [Notice(1, "no").encode(), b"\x80\x01", b"\x00"])
def test_no_hello_breaks_the_protocol(greeting):
    with Peer(greeting=greeting) as peer:
        session = Session(start_of(peer), lambda name: None)
        with pytest.raises(FleetFailed, match="ended"):
            session.run()
    counters = session.page["fleet"][0]
    assert counters["protocol_error_count"] == CONFIG.connections
    assert set(peer.closed_codes) == {1002}


def test_no_server_listens_when_the_size_is_asked():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        start = StartFleet(CONFIG, "127.0.0.1", taken.getsockname()[1], "/canvas", 1, -1, -1, 0, 0)
        with pytest.raises(FleetFailed, match=r"is the server running\?"):
            Session(start, lambda name: None).run()


def test_process_follows_commands():
    page = Page.create(fleet_sections())
    with Peer() as peer:
        start = start_of(peer, telemetry_fd=page.descriptor)
        process = subprocess.Popen(
            [sys.executable, "-m", "devices"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[page.descriptor]
        )
        write_line(process.stdin, start)
        decoder = msgspec.json.Decoder(Progress | Phase | Failed)
        commands = {"sending": StopSending(), "quiet": CheckViewers(), "checked": Stop()}
        seen = []
        for line in process.stdout:
            event = decoder.decode(line)
            if isinstance(event, Phase):
                seen.append(event.name)
                if event.name in commands:
                    write_line(process.stdin, commands[event.name])
        process.stdin.close()
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 0
    assert seen == ["connected", "sending", "quiet", "checked"]
    assert page["fleet"][0]["process_id"] == process.pid
    assert page["fleet"][0]["cpu_ns"] > 0


def test_process_ends_with_its_parent():
    page = Page.create(fleet_sections())
    with Peer() as peer:
        process = subprocess.Popen(
            [sys.executable, "-m", "devices"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[page.descriptor]
        )
        write_line(process.stdin, start_of(peer, telemetry_fd=page.descriptor))
        process.stdin.close()
        process.stdout.read()
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 0


def test_too_few_open_files_names_what_fits():
    with pytest.raises(FleetFailed, match="connections fit"):
        raise_open_files(10**9)
    assert raise_open_files(1) >= 65


def test_too_few_ports_names_the_remedy():
    with pytest.raises(FleetFailed, match="ip_local_port_range"):
        check_ports(70_000)
