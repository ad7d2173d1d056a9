"""One live run: the server, the fleet and, with a window, the panels as processes that share the session's pages.

The session starts them in order, handles their events, samples their counters and stops them in order. It draws
nothing, reads no command line, and passes samples on to a recording.
`poll` never blocks; `wait` and `end` do, within their bounds.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from devices.config import StartFleet
from devices.hostile.config import StartHostile
from devices.hostile.counters import by_kind
from plots.ipc import ShowPanels
from server.ipc.control import BrokerState, Event, Listening, News, Phase, StartServer
from server.kernels.layout import State
from server.system import clock
from workbench.address import Address, address_of
from workbench.controls.controls import Controls
from workbench.diagnosis.rule import Diagnostician
from workbench.machine.facts import usable_core_count
from workbench.recording.writer import RecordingWriter
from workbench.scenarios.scenario import Scenario, changes_between
from workbench.session.checks import Checks
from workbench.session.journey import journeys_of
from workbench.session.manual_client import ManualClient
from workbench.session.processes import Ended, PanelsPart, Processes, module_command
from workbench.session.shutdown import Attend, Shutdown, wait_for_all
from workbench.session.steering import Steering
from workbench.telemetry.counters import NANOSECONDS, Counters, read_counters
from workbench.telemetry.pages import OnPages, SessionPages
from workbench.telemetry.sampler import Sampler
from workbench.telemetry.summary import Measured
from workbench.telemetry.view import Journey, Marker, TileBox, Turn, View

COMMANDS: Mapping[str, Sequence[str]] = {
    "server": module_command("server"),
    "fleet": module_command("devices"),
    "panels": module_command("plots"),
    "hostile": module_command("devices.hostile"),
}
# The measured part of a run begins this long after all devices send.
WARM_UP_NS = NANOSECONDS
# A shorter steady state has too few ticks for a rate.
MEASURED_NS_LEAST = NANOSECONDS // 2


class Session(OnPages):
    """Runs one scenario. With an `address`, the fleet connects to the server there, and no server is started.

    A `recording` receives all samples; the caller closes it. `commands` replaces the parts' programs in tests.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        with_panels: bool,
        address: Address | None = None,
        recording: RecordingWriter | None = None,
        commands: Mapping[str, Sequence[str]] = COMMANDS,
    ) -> None:
        self.scenario = scenario
        self._address = address
        self._recording = recording
        self._server_config = scenario.server if recording is None else recording.server_config(scenario.server)
        # With a remote server there is no memory to share.
        is_linked = scenario.link == "memory" and address is None
        super().__init__(SessionPages.create(scenario.server, scenario.fleet if is_linked else None))
        self.url, self._page_url, self._is_open = "", "", False
        self._broker_url = ""
        self._broker: BrokerState | None = None
        self.load_started_ns = 0
        self.load_ended_ns = 0
        self._with_panels = with_panels
        self._parts = Processes(commands)
        self.news: Sequence[str] = self._parts.news
        """What the parts say has changed around them, one line each."""
        self._panels = PanelsPart(self._parts, self.pages.history, self.pages.picture)
        self._ending = False
        self._started_ns = self._now_ns = 0
        self._steady_first: Counters | None = None
        self._load_last: Counters | None = None
        self._drained: Counters | None = None
        self._sampler = Sampler(self.pages, scenario)
        self._diagnostician = Diagnostician(usable_core_count())
        self._checks = Checks(scenario)
        self._steering = Steering(scenario, self._parts.send, self._mark, self._checks.note_fault)
        self._painter = ManualClient()
        self._followed: int | None = None
        self._has_reported_failure = False
        self.controls = Controls(
            scenario,
            self._carry_out,
            self._mark,
            self._steering.apply_fault,
            run_seconds=lambda: self._run_seconds,
            has_server=address is None,
        )
        """The live settings and their values."""

    # --- Commands ---

    def start(self, now_ns: int) -> None:
        """Start all processes. The fleet begins when the server listens."""
        self._started_ns = self._now_ns = now_ns
        pages = self.pages
        if self._address is None:
            start = StartServer(
                self._server_config,
                pages.telemetry.descriptor,
                pages.canvas.descriptor,
                self._link_fd,
                pages.connections.descriptor,
            )
            self._parts.spawn("server", pages.telemetry, pages.canvas, pages.connections, pages.link).begin(start)
        # The fleet loads its libraries while the server does, and waits for the address.
        self._parts.spawn("fleet", pages.fleet, pages.canvas, pages.link)
        if self._has_hostile:
            self._parts.spawn("hostile", pages.hostile)
        if self._with_panels:
            self._panels.start()
        if self._address is not None:
            self._begin_fleet(self._address)

    def poll(self, now_ns: int) -> None:
        """Handle the parts' events and take the sample that is due. Never blocks."""
        self._now_ns = now_ns
        # Events before samples: a phase that begins now belongs to the sample that is taken now.
        for process_event in self._parts.poll(now_ns):
            self._handle(process_event.event, now_ns)
        # After the load, changed settings would only delay the end.
        if not self._ending and not self.load_ended_ns:
            self.controls.settle(now_ns)
            self._steering.poll(now_ns, self._run_seconds if self.load_started_ns else None)
            self._painter.poll(now_ns)
        # Diagnosis and recording see each sample exactly once.
        if self._sampler.poll(now_ns):
            self._diagnostician.step(now_ns, self._sampler.stages, self._sampler.reading, is_counted=self._is_steady)
            self._record()
        if (
            self._steady_first is None
            and self.load_started_ns
            and not self.load_ended_ns
            and now_ns >= self.load_started_ns + WARM_UP_NS
        ):
            self._steady_first = self._read_counters(now_ns)

    def wait(self, seconds: float) -> None:
        """Return when a part sends an event, a sample is due, or `seconds` have passed."""
        # Samples must be taken in time even if no process sends an event.
        sample_s = (self._sampler.due_ns() - clock.now_ns()) / NANOSECONDS
        self._parts.wait(max(0.001, min(seconds, sample_s)))

    def resize_panels(self, width: int, height: int, scale: float) -> None:
        """Set the panels' size in pixels. `scale` 2 doubles text size and line width."""
        self._panels.resize(width, height, scale)

    def show_panels(self, order: ShowPanels) -> None:
        """Set what the panels show."""
        self._panels.show(order)

    def brush(self, tiles: TileBox | None) -> None:
        """Have the panels count only placements in these tiles; None: the whole canvas."""
        self._steering.brush(tiles)
        self._sampler.brush = tiles

    def follow(self, number: int | None) -> None:
        """Record the journeys of this connection's placements; None: of no connection."""
        self._followed = number
        self._steering.follow(number)

    def paint(self, x: int, y: int, color: int) -> None:
        """Place one pixel by hand, as a client with a connection of its own."""
        self._painter.paint(x, y, color)

    def count_redraw(self) -> None:
        """Count one redraw of the window, whether or not something had changed."""
        self._sampler.redraw_count += 1

    def count_picture(self) -> None:
        """Count one picture that the window brought to the display."""
        self._sampler.picture_count += 1

    def end(
        self, *, is_checked: bool = True, attend: Attend = wait_for_all, patience: Callable[[], float] = lambda: 1.0
    ) -> None:
        """Stop in order: the load, messages in flight, the check of the viewers, then fleet, server and panels.

        Without the check, messages in flight are not waited for either. `attend` is called with the current step many
        times per second; once it returns False, no step is waited for. `patience()` multiplies the time limits.
        """
        if self._ending:
            return
        shutdown = Shutdown(self._parts, self._turn, attend, patience)
        # Before the drain: placements by hand would change the canvas during the check.
        self._painter.close(clock.now_ns())
        if self.load_started_ns:
            self.poll(clock.now_ns())
            self.load_ended_ns = self._now_ns
            # At once: rates must not include what comes while the messages in flight are drained.
            self._load_last = self._read_counters(self._now_ns)
            self._parts.request_stop("hostile")  # Its placements would change the canvas during the check.
            if is_checked:
                shutdown.drain()
        self._drained = self._read_counters(clock.now_ns())
        self._ending = True
        self._parts.request_stop("panels")  # No other part depends on it, so it stops in parallel.
        # The fleet before the server: otherwise every connection would count as lost.
        for name in ("hostile", "fleet", "server", "panels"):
            self.poll(clock.now_ns())
            shutdown.stop(name)
        self.poll(clock.now_ns())

    # --- State and results ---

    @property
    def replay(self) -> None:
        """None: a live session has no playhead."""

    @property
    def painter(self) -> ManualClient:
        """The client for painting by hand: its connection and counters."""
        return self._painter

    def journeys(self) -> Sequence[Journey]:
        """The newest journeys of the followed connection, oldest first."""
        if self._followed is None:
            return ()
        return journeys_of(self.pages.connections, self.pages.fleet, self._followed, self.scenario.server.width)

    @property
    def steady_ns(self) -> int:
        """Length of the steady state up to now or to the end of the load; 0 before it begins."""
        first = self._steady_first
        return (self.load_ended_ns or self._now_ns) - first.time_ns if first is not None else 0

    @property
    def failed(self) -> bool:
        """Whether a part failed."""
        return self._parts.failed_ns > 0

    @property
    def failed_ns(self) -> int:
        """When the first part failed; 0: none has."""
        return self._parts.failed_ns

    @property
    def is_finished(self) -> bool:
        """Whether all of a recording's arrivals are sent. Always False for other arrivals."""
        return "finished" in self._parts.phases

    @property
    def failures(self) -> list[str]:
        """One line per failed part."""
        return self._parts.failures

    @property
    def failed_checks(self) -> list[str]:
        """One line per check that failed. Only after `end`; empty if server or fleet failed, which explains them."""
        assert self._drained is not None, "failed_checks is read after end()"
        has_failed = any(self._parts.part(name, "").failure for name in ("server", "fleet"))
        return [] if has_failed else self._checks.failures(self._drained)

    @property
    def tracebacks(self) -> list[str]:
        """The tracebacks of failed parts."""
        return self._parts.tracebacks

    def view(self) -> View:
        """The state for the window, as of the last poll."""
        return View(
            now_ns=self._now_ns,
            scenario_name=self.scenario.name,
            scenario_title=self.scenario.title,
            url=self.url,
            page_url=self._page_url,
            is_open_to_network=self._is_open,
            parts=tuple(self._parts.part(name, self._state(name)) for name in self._part_names()),
            reading=self._sampler.reading,
            pixels=self._pixels,
            run_seconds=self._run_seconds,
            stages=self._sampler.stages,
            diagnosis=self._diagnostician.diagnosis,
            markers=self._sampler.markers,
            recording=self._recording.state_at(self._now_ns) if self._recording is not None else None,
            broker=self._broker,
        )

    def measured(self) -> Measured:
        """The run's measurements. Only after `end`."""
        assert self._drained is not None, "measured() is called after end()"
        # Too short for rates: then the summary has totals only.
        steady = self._steady_first if self.steady_ns >= MEASURED_NS_LEAST else None
        return Measured(
            connections=self.scenario.fleet.connections,
            first=steady,
            last=self._load_last if steady else None,
            drained=self._drained,
            tick_intervals_ns=self._sampler.ticks.intervals_ns(steady.time_ns, self.load_ended_ns) if steady else None,
            canvas_checksum=zlib.crc32(self._pixels.tobytes()) if self._drained.server_alive else None,
            setup_seconds=(self.load_started_ns - self._started_ns) / NANOSECONDS if self.load_started_ns else None,
            failures=[*self.failures, *self.failed_checks],
            diagnosis=self._diagnostician.longest,
            hostile=by_kind(self.pages.hostile["hostile"]),
        )

    # --- Internals ---

    @property
    def _run_seconds(self) -> float:
        """Seconds since the load began, up to its end; 0 before."""
        until_ns = self.load_ended_ns or self._now_ns
        return (until_ns - self.load_started_ns) / NANOSECONDS if self.load_started_ns else 0.0

    def _carry_out(self, scenario: Scenario) -> None:
        """Apply changed settings."""
        changes = changes_between(self._steering.scenario, scenario)
        if self._recording is not None and changes:
            self._recording.turn(Turn(self._now_ns, changes))
        self._steering.set_scenario(scenario)
        self._checks.note_settings(scenario)
        self._sampler.scenario = scenario
        self._painter.allow(scenario.server.rate_per_s, scenario.server.burst)

    def _mark(self, kind: str, text: str) -> None:
        self._sampler.mark(self._now_ns, kind, text)
        if self._recording is not None:
            self._recording.mark(Marker(self._now_ns, kind, text))

    def _record(self) -> None:
        """Pass the newest sample to the recording. A failed recording is reported once."""
        if self._recording is None or self._has_reported_failure:
            return
        sampler = self._sampler
        diagnosis = self._diagnostician.diagnosis
        self._recording.take(sampler.sample, sampler.new_ticks, sampler.stages, diagnosis, sampler.reading)
        # Once: the marker is a note on the time axis, not a log.
        if self._recording.state.failure:
            self._has_reported_failure = True
            self._mark("note", f"recording stopped: {self._recording.state.failure}")

    @property
    def _is_steady(self) -> bool:
        """Whether the run is in the steady state that the summary covers."""
        return self._steady_first is not None and not self.load_ended_ns

    @property
    def _has_hostile(self) -> bool:
        """Whether hostile clients run. Never against a server that this session did not start."""
        return self._address is None and self.scenario.fleet.hostile.connections > 0

    @property
    def _link_fd(self) -> int:
        return -1 if self.pages.link is None else self.pages.link.descriptor

    def _handle(self, event: Event | Ended, now_ns: int) -> None:
        match event:
            case Listening(host, port, own_broker):
                if not self._ending:
                    self._broker_url = own_broker or self.scenario.server.mqtt
                    self._steering.server_began(self._server_config)
                    self._begin_fleet(replace(address_of(self.scenario.server), host=host, port=port))
            case BrokerState() as state:
                self._broker = state
            case News(text):
                self._mark("note", text)
            case Phase("sending"):
                self.load_started_ns = self.load_started_ns or now_ns

    def _begin_fleet(self, address: Address) -> None:
        self.url, self._page_url, self._is_open = address.url, address.page_url, address.is_open_to_network
        self._painter.address = address
        fleet, canvas, server = self.pages.fleet, self.pages.canvas, self.scenario.server
        start = StartFleet(
            config=self.scenario.fleet,
            host=address.reachable_host,
            port=address.port,
            path=address.target,
            seed=self.scenario.seed,
            telemetry_fd=fleet.descriptor,
            canvas_fd=canvas.descriptor if self._address is None else -1,
            # A remote server announces its own canvas size.
            width=server.width if self._address is None else 0,
            height=server.height if self._address is None else 0,
            link_fd=self._link_fd,
            broker=self._broker_url if self.scenario.fleet.transport == "mqtt" else "",
            mqtt_name=server.mqtt_name,
            certificate=address.certificate,
        )
        self._parts.begin("fleet", start)
        self._steering.fleet_began(self.scenario.fleet)
        if self._has_hostile:
            hostile, page = start.config.hostile, self.pages.hostile
            self._parts.begin(
                "hostile", StartHostile(hostile, start.host, start.port, start.path, start.seed, page.descriptor)
            )

    def _turn(self, seconds: float) -> None:
        """Wait at most this long, then handle what happened."""
        self.wait(seconds)
        self.poll(clock.now_ns())

    def _read_counters(self, now_ns: int) -> Counters:
        return read_counters(self.pages, self._sampler.picture_count, now_ns, self._sampler.redraw_count)

    def _part_names(self) -> list[str]:
        server = ["server"] if self._address is None else []
        hostile = ["hostile"] if self._has_hostile else []
        return [*server, "fleet", *hostile, *(["panels"] if self._with_panels else [])]

    def _state(self, name: str) -> str:
        """The part's state, from its page."""
        if name == "panels":
            return self._panels.state
        pages = self.pages
        tables = {"server": pages.telemetry["server"], "hostile": pages.hostile["process"]}
        return State(int(tables.get(name, pages.fleet["fleet"])[0]["state"])).name.lower()
