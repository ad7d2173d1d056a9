"""One doing of a fleet, from compiling to the last close frame. It follows commands and tells what happens.

Invariant: the page's heartbeat is never older than a tenth of a second while it runs.
"""

import os
import queue
from collections.abc import Callable
from functools import partial

import msgspec
import numpy as np

from devices.client import Server, read_canvas, read_hello
from devices.config import AdjustFleet, Brush, Cut, FleetCommand, Stall, StartFleet
from devices.fleet.fleet import Fleet
from devices.limits import FleetFailed, check_ports, raise_open_files
from devices.memory.drain import Drain
from devices.memory.memory import MemoryLink
from devices.sockets.dialer import Dialer
from devices.transport import Transport
from devices.warm import warm_kernels
from server.ipc.control import CheckViewers, Event, Follow, News, Phase, Progress, Stop, StopSending
from server.ipc.page import Page, canvas_sections, link_sections
from server.kernels.kernel import compile_all
from server.kernels.layout import State
from server.mqtt.address import parse_broker
from server.mqtt.topics import Topics
from server.protocol.http import authority_of
from server.system import clock

TURN_NS = 20_000_000
"""How long the compiled pass runs at a time: commands and the heartbeat wait no longer."""
DIAL_TURN_NS = 2_000_000
"""The same while connections are opened, so that they open at an even pace."""
DEADLINE_CHECK_NS = 250_000_000
PROGRESS_NS = 100_000_000
CHECK_NS = 2_000_000_000
"""How long viewers that differ from the server's canvas may take to catch up before they are called wrong."""
CLOSE_NS = 3_000_000_000

Commands = queue.SimpleQueue[FleetCommand]


class Run:
    """A fleet as `start` describes it. `page` has `fleet_sections`; events go to `on_event`."""

    def __init__(self, start: StartFleet, page: Page, on_event: Callable[[Event], None], commands: Commands) -> None:
        self._start = start
        self._page = page
        self._on_event = on_event
        self._commands = commands
        self._counters = page["fleet"][0]
        self._canvas: Page | None = None
        self._drain: Drain | None = None
        self._check_until_ns: int | None = None
        self._is_stopped = self._is_ending = False
        self._told_ns = self._watched_ns = 0

    def run(self) -> None:
        """Do all of it. Raises FleetFailed when it cannot go on; the sockets are closed either way."""
        self._counters["process_id"] = os.getpid()
        dialer = self._prepare()
        try:
            self._connect(dialer)
            self._load(dialer)
            self._close(dialer)
        finally:
            dialer.abandon()
            self._beat(dialer.fleet, clock.now_ns())
        self._counters["state"] = State.STOPPED

    def _prepare(self) -> Transport:
        start = self._start
        descriptors = 0
        if start.link_fd < 0 and not start.broker:
            descriptors = raise_open_files(start.config.connections)
            check_ports(start.config.connections)
        self._counters["state"] = State.COMPILING
        compile_all(warm_kernels(), self._tell_compiling, lambda text: self._on_event(News(text)))
        if not start.width:
            hello = read_hello(Server(start.host, start.port, start.path))
            start = msgspec.structs.replace(start, width=hello.width, height=hello.height)
        fleet = Fleet(start.config, start.width, start.height, start.seed, self._page)
        if start.link_fd >= 0:
            return MemoryLink(fleet, Page.attach(start.link_fd, link_sections(start.width, start.height)))
        if start.broker:
            return _behind_broker(fleet, start)
        return Dialer(fleet, start.host, start.port, start.path, descriptors)

    def _tell_compiling(self, done: int, total: int, name: str) -> None:
        self._counters["heartbeat_ns"] = clock.now_ns()
        self._on_event(Progress(f"compiling {name}" if name else "compiled", done, total))

    def _connect(self, dialer: Transport) -> None:
        self._counters["state"] = State.CONNECTING
        while not self._is_stopped and not dialer.is_complete:
            now_ns = clock.now_ns()
            dialer.dial(now_ns)
            dialer.drive(now_ns + DIAL_TURN_NS)
            self._tend(dialer, now_ns)
            if now_ns - self._told_ns >= PROGRESS_NS:
                self._told_ns = now_ns
                self._tell_connecting(dialer)
        if not self._is_stopped:
            self._tell_connecting(dialer)
            self._on_event(Phase("connected"))

    def _tell_connecting(self, dialer: Transport) -> None:
        self._on_event(Progress("connecting", dialer.open_count, dialer.fleet.config.connections))

    def _load(self, dialer: Transport) -> None:
        if self._is_stopped:
            return
        self._counters["state"] = State.RUNNING
        dialer.start(clock.now_ns())
        self._on_event(Phase("sending"))
        while not self._is_stopped:
            dialer.drive(clock.now_ns() + (DIAL_TURN_NS if dialer.is_dialing else TURN_NS))
            now_ns = clock.now_ns()  # After all that the pass has sent, or it would be more than was offered.
            if not self._is_ending:
                dialer.dial(now_ns)
            self._tend(dialer, now_ns)
            if self._drain is not None and self._drain.is_quiet(now_ns):
                self._drain = None
                self._on_event(Phase("quiet"))
            if self._check_until_ns is not None:
                self._check(dialer, now_ns)

    def _close(self, dialer: Transport) -> None:
        self._counters["state"] = State.DRAINING
        now_ns = clock.now_ns()
        dialer.fleet.stop_sending(now_ns)
        dialer.close(now_ns)
        until_ns = now_ns + CLOSE_NS
        while dialer.open_count and now_ns < until_ns:
            dialer.drive(now_ns + DIAL_TURN_NS)
            now_ns = clock.now_ns()
            self._beat(dialer.fleet, now_ns)

    # Between two turns.

    def _tend(self, dialer: Transport, now_ns: int) -> None:
        """Commands, deadlines, counts, heartbeat; and see whether anybody is left."""
        if now_ns - self._watched_ns >= DEADLINE_CHECK_NS:
            self._watched_ns = now_ns
            dialer.watch_deadlines(now_ns)
        self._beat(dialer.fleet, now_ns)
        self._follow_commands(dialer, now_ns)
        if dialer.is_empty(now_ns) and dialer.fleet.config.connections and not self._is_stopped:
            count = dialer.fleet.config.connections
            where = authority_of(self._start.host, self._start.port)
            raise FleetFailed(f"all {count} connections to {where} ended: {dialer.reason}")

    def _beat(self, fleet: Fleet, now_ns: int) -> None:
        fleet.advance(now_ns)
        self._counters["cpu_ns"] = clock.process_cpu_ns()
        self._counters["resident_bytes"] = clock.resident_bytes()
        self._counters["heartbeat_ns"] = now_ns

    def _follow_commands(self, dialer: Transport, now_ns: int) -> None:
        while not self._commands.empty():
            note = ""
            match self._commands.get():
                case Stop():
                    self._is_stopped = True
                case StopSending():
                    self._stop_sending(dialer, now_ns)
                case CheckViewers():
                    self._check_until_ns = now_ns + CHECK_NS
                case AdjustFleet(config, rate_factor):
                    note = dialer.adjust(config, rate_factor, now_ns)
                case Stall(share, seconds):
                    note = dialer.stall(share, seconds, now_ns)
                case Cut(share):
                    note = dialer.cut(share, now_ns)
                case Follow(number):
                    dialer.fleet.follow(number)
                case Brush(tile_x0, tile_y0, tile_x1, tile_y1):
                    dialer.fleet.brush(tile_x0, tile_y0, tile_x1, tile_y1)
            if note:
                self._on_event(Progress(note, dialer.open_count, dialer.fleet.config.connections))

    def _stop_sending(self, dialer: Transport, now_ns: int) -> None:
        self._is_ending = True
        dialer.fleet.stop_sending(now_ns)
        dialer.settle()
        self._counters["state"] = State.DRAINING
        self._drain = Drain(dialer)

    def _check(self, dialer: Transport, now_ns: int) -> None:
        """Compare what viewers hold with the server's canvas, if it is within reach."""
        assert self._check_until_ns is not None
        if self._start.canvas_fd >= 0:
            fleet = dialer.fleet
            if self._canvas is None:
                self._canvas = Page.attach(self._start.canvas_fd, canvas_sections(fleet.width, fleet.height))
            checked, wrong = dialer.check_viewers(np.array(self._canvas["pixels"]))
            self._counters["viewer_checked_count"] = checked
            self._counters["viewer_wrong_count"] = wrong
            if wrong and now_ns < self._check_until_ns:
                return
        self._check_until_ns = None
        self._on_event(Phase("checked"))


def _behind_broker(fleet: Fleet, start: StartFleet) -> Transport:
    """The fleet joined through the broker of `start`. Raises FleetFailed."""
    from devices.mqtt.mqtt import MqttLink  # Only where it is asked for: its library takes a while to import.

    fetch = partial(read_canvas, Server(start.host, start.port, start.path, start.certificate))
    return MqttLink(fleet, parse_broker(start.broker), Topics(start.mqtt_name), fetch)
