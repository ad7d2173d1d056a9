"""One run of a fleet, from compiling to the last close frame. It obeys commands and reports events.

The page's heartbeat is written every turn, so a reader can tell a busy fleet from one that hangs.
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
from devices.limits import FleetFailed, check_ports, raise_open_files, require_broker_files
from devices.link import Drain, FleetLink
from devices.memory_link import MemoryLink
from devices.sockets.dialer import Dialer
from devices.warm import warm_kernels
from server.ipc.control import CheckViewers, Event, Follow, News, Phase, Progress, Stop, StopSending
from server.ipc.page import Page, canvas_sections, link_sections
from server.kernels.kernel import compile_all
from server.kernels.layout import State
from server.mqtt.address import parse_broker
from server.mqtt.topics import Topics
from server.protocol.http import authority_of
from server.system import clock

# Duration of a turn of the compiled pass: commands and the heartbeat wait no longer.
TURN_NS = 20_000_000
# The same while connections are opened, which keeps their pace even.
DIAL_TURN_NS = 2_000_000
DEADLINE_CHECK_NS = 250_000_000
PROGRESS_NS = 100_000_000
# How long viewers that differ from the server's canvas may catch up before they count as wrong.
CHECK_NS = 2_000_000_000
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
        self._reported_ns = self._watched_ns = 0

    def run(self) -> None:
        """Run to the end. Raises FleetFailed when it cannot continue; the sockets are closed either way."""
        self._counters["process_id"] = os.getpid()
        link = self._prepare()
        try:
            self._connect(link)
            self._load(link)
            self._close(link)
        finally:
            link.abandon()
            self._beat(link.fleet, clock.now_ns())
        self._counters["state"] = State.STOPPED

    def _prepare(self) -> FleetLink:
        start = self._start
        descriptors = 0
        if start.broker:
            require_broker_files()
        elif start.link_fd < 0:
            descriptors = raise_open_files(start.config.connections)
            check_ports(start.config.connections)
        self._counters["state"] = State.COMPILING
        # In `__main__` this was done already; a run in a test, or a restarted one, compiles only what is missing.
        compile_all(warm_kernels(), self._report_compiling, lambda text: self._on_event(News(text)))
        if not start.width:
            hello = read_hello(Server(start.host, start.port, start.path))
            start = msgspec.structs.replace(start, width=hello.width, height=hello.height)
        fleet = Fleet(start.config, start.width, start.height, start.seed, self._page)
        if start.link_fd >= 0:
            return MemoryLink(fleet, Page.attach(start.link_fd, link_sections(start.width, start.height)))
        if start.broker:
            return _behind_broker(fleet, start)
        return Dialer(fleet, start.host, start.port, start.path, descriptors)

    def _report_compiling(self, done: int, total: int, name: str) -> None:
        self._counters["heartbeat_ns"] = clock.now_ns()
        self._on_event(Progress(f"compiling {name}" if name else "compiled", done, total))

    def _connect(self, link: FleetLink) -> None:
        self._counters["state"] = State.CONNECTING
        while not self._is_stopped and not link.is_complete:
            now_ns = clock.now_ns()
            # Dial first: an empty fleet would otherwise wait a turn for nothing.
            link.dial(now_ns)
            link.drive(now_ns + DIAL_TURN_NS)
            self._tend(link, now_ns)
            if now_ns - self._reported_ns >= PROGRESS_NS:
                self._reported_ns = now_ns
                self._report_connecting(link)
        if not self._is_stopped:
            self._report_connecting(link)
            self._on_event(Phase("connected"))

    def _report_connecting(self, link: FleetLink) -> None:
        self._on_event(Progress("connecting", link.open_count, link.fleet.config.connections))

    def _load(self, link: FleetLink) -> None:
        if self._is_stopped:
            return
        self._counters["state"] = State.RUNNING
        link.start(clock.now_ns())
        self._on_event(Phase("sending"))
        while not self._is_stopped:
            link.drive(clock.now_ns() + (DIAL_TURN_NS if link.is_dialing else TURN_NS))
            now_ns = clock.now_ns()  # Read after the pass, or more would be sent than offered by then.
            if not self._is_ending:
                link.dial(now_ns)
            self._tend(link, now_ns)
            if self._drain is not None and self._drain.is_quiet(now_ns):
                self._drain = None
                self._on_event(Phase("quiet"))
            if self._check_until_ns is not None:
                self._check(link, now_ns)

    def _close(self, link: FleetLink) -> None:
        self._counters["state"] = State.DRAINING
        now_ns = clock.now_ns()
        link.fleet.stop_sending(now_ns)
        link.close(now_ns)
        until_ns = now_ns + CLOSE_NS
        while link.open_count and now_ns < until_ns:
            link.drive(now_ns + DIAL_TURN_NS)
            now_ns = clock.now_ns()
            self._beat(link.fleet, now_ns)

    # Between turns.

    def _tend(self, link: FleetLink, now_ns: int) -> None:
        """Commands, deadlines, counts and heartbeat. Raises FleetFailed when no connection is left."""
        if now_ns - self._watched_ns >= DEADLINE_CHECK_NS:
            self._watched_ns = now_ns
            link.watch_deadlines(now_ns)
        self._beat(link.fleet, now_ns)
        self._follow_commands(link, now_ns)
        if link.is_empty(now_ns) and link.fleet.config.connections and not self._is_stopped:
            count = link.fleet.config.connections
            where = authority_of(self._start.host, self._start.port)
            raise FleetFailed(f"all {count} connections to {where} ended: {link.reason}")

    def _beat(self, fleet: Fleet, now_ns: int) -> None:
        fleet.advance(now_ns)
        self._counters["cpu_ns"] = clock.process_cpu_ns()
        self._counters["resident_bytes"] = clock.resident_bytes()
        self._counters["heartbeat_ns"] = now_ns

    def _follow_commands(self, link: FleetLink, now_ns: int) -> None:
        while not self._commands.empty():
            note = ""
            match self._commands.get():
                case Stop():
                    self._is_stopped = True
                case StopSending():
                    self._stop_sending(link, now_ns)
                case CheckViewers():
                    self._check_until_ns = now_ns + CHECK_NS
                case AdjustFleet(config, rate_factor):
                    note = link.adjust(config, rate_factor, now_ns)
                case Stall(share, seconds):
                    note = link.stall(share, seconds, now_ns)
                case Cut(share):
                    note = link.cut(share, now_ns)
                case Follow(number):
                    link.fleet.follow(number)
                case Brush(tile_x0, tile_y0, tile_x1, tile_y1):
                    link.fleet.brush(tile_x0, tile_y0, tile_x1, tile_y1)
            if note:
                self._on_event(Progress(note, link.open_count, link.fleet.config.connections))

    def _stop_sending(self, link: FleetLink, now_ns: int) -> None:
        self._is_ending = True
        link.fleet.stop_sending(now_ns)
        link.settle()
        self._counters["state"] = State.DRAINING
        self._drain = Drain(link)

    def _check(self, link: FleetLink, now_ns: int) -> None:
        """Compare what viewers hold with the server's canvas, if that is in shared memory."""
        assert self._check_until_ns is not None
        if self._start.canvas_fd >= 0:
            fleet = link.fleet
            if self._canvas is None:
                self._canvas = Page.attach(self._start.canvas_fd, canvas_sections(fleet.width, fleet.height))
            checked, wrong = link.check_viewers(np.array(self._canvas["pixels"]))
            self._counters["viewer_checked_count"] = checked
            self._counters["viewer_wrong_count"] = wrong
            # Their last delta may still be on its way: look again until the time is over.
            if wrong and now_ns < self._check_until_ns:
                return
        self._check_until_ns = None
        self._on_event(Phase("checked"))


def _behind_broker(fleet: Fleet, start: StartFleet) -> FleetLink:
    """The link through the broker of `start`. Raises FleetFailed."""
    from devices.mqtt.mqtt import MqttLink  # Imported on demand, because aiomqtt takes a while to import.

    fetch = partial(read_canvas, Server(start.host, start.port, start.path, start.certificate))
    return MqttLink(fleet, parse_broker(start.broker), Topics(start.mqtt_name), fetch)
