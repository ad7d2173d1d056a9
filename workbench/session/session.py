"""One wired run: a server, a fleet and, for a window, the panels; each a process, all sharing the session's pages.

The session starts them in order, hears what they say, samples their counters and ends them in order. It draws
nothing, reads no command line, and only hands on what a recording is to keep.
Invariant: `poll` never waits; only `wait` and `end` do, and never longer than their bounds.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from devices.config import StartFleet
from devices.hostile.orders import StartHostile
from devices.hostile.tally import by_kind
from plots.ipc import ShowPanels
from server.ipc.control import BrokerState, Event, Listening, News, Phase, StartServer
from server.kernels.layout import State
from server.system import clock
from workbench.address import Address, address_of
from workbench.controls.controls import Controls
from workbench.diagnosis.rule import Diagnostician
from workbench.machine.facts import usable_core_count
from workbench.recording.writer import RecordingWriter
from workbench.scenarios.change import changes_between
from workbench.scenarios.scenario import Scenario
from workbench.session.journey import journeys_of
from workbench.session.manual_client import ManualClient
from workbench.session.panels import PanelsPart
from workbench.session.process import Ended, module_command
from workbench.session.processes import Processes
from workbench.session.shutdown import Attend, Ending, with_patience
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
WARM_UP_NS = NANOSECONDS
"""What a run reports begins so long after all devices send."""
MEASURED_NS_LEAST = NANOSECONDS // 2
"""A steady state that is shorter has seen too few ticks to tell a rate."""


class Session(OnPages):
    """Runs one scenario. With an `address`, its fleet meets the server there, and no server is started.

    A `recording` is told all that is sampled; who gave it ends it. `commands` replaces the programs behind the parts,
    for tests.
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
        self._steering = Steering(scenario, self._parts.tell, self._mark)
        self._painter = ManualClient()
        self._followed: int | None = None
        self._has_told_failure = False
        self.controls = Controls(
            scenario,
            self._carry_out,
            self._mark,
            self._steering.inflict,
            run_seconds=lambda: self._run_seconds,
            has_server=address is None,
        )
        """What can be turned, and what it is set to."""

    # --- What it is told ---

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
        if self._is_harassed:
            self._parts.spawn("hostile", pages.hostile)
        if self._with_panels:
            self._panels.start()
        if self._address is not None:
            self._begin_fleet(self._address)

    def poll(self, now_ns: int) -> None:
        """Hear what was said and take the sample that is due. Never waits."""
        self._now_ns = now_ns
        for heard in self._parts.poll(now_ns):
            self._handle(heard.event, now_ns)
        if not self._ending and not self.load_ended_ns:
            self.controls.settle(now_ns)
            self._steering.poll(now_ns, self._run_seconds if self.load_started_ns else None)
            self._painter.poll(now_ns)
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
        """Return as soon as a part says something, a sample is due, or `seconds` have passed."""
        sample_s = (self._sampler.due_ns() - clock.now_ns()) / NANOSECONDS
        self._parts.wait(max(0.001, min(seconds, sample_s)))

    def resize_panels(self, width: int, height: int, scale: float) -> None:
        """Have the panels drawn at this size in pixels from now on; `scale` 2 doubles letters and lines."""
        self._panels.resize(width, height, scale)

    def show_panels(self, order: ShowPanels) -> None:
        """Have the panels show this from now on."""
        self._panels.show(order)

    def brush(self, tiles: TileBox | None) -> None:
        """Have the panels count only what is placed in these tiles; None: all of the canvas."""
        self._steering.brush(tiles)
        self._sampler.brush = tiles

    def follow(self, number: int | None) -> None:
        """Note the journeys of this connection's placements; None: of nobody's."""
        self._followed = number
        self._steering.follow(number)

    def paint(self, x: int, y: int, color: int) -> None:
        """Place one pixel by hand, as a client with a connection of its own."""
        self._painter.paint(x, y, color)

    def count_redraw(self) -> None:
        """Called by the window for each picture it has shown."""
        self._sampler.redraw_count += 1

    def end(
        self, *, is_checked: bool = True, attend: Attend = with_patience, patience: Callable[[], float] = lambda: 1.0
    ) -> None:
        """End in order: the load, what is under way, the check of the viewers, then fleet, server and panels.

        Who does not ask for the check does not wait for what is under way either. `attend` is told many times a second
        what is waited for; when it says False, nothing is waited for any more. `patience` multiplies the bounds.
        """
        if self._ending:
            return
        ending = Ending(self._parts, self._turn, attend, patience)
        self._painter.close(clock.now_ns())
        if self.load_started_ns:
            self.poll(clock.now_ns())
            self.load_ended_ns = self._now_ns
            self._load_last = self._read_counters(self._now_ns)
            self._parts.dismiss("hostile")  # Or the canvas would change while viewers are compared with it.
            if is_checked:
                ending.quieten()
        self._drained = self._read_counters(clock.now_ns())
        self._ending = True
        self._parts.dismiss("panels")  # It needs nobody, so it can end meanwhile.
        for name in ("hostile", "fleet", "server", "panels"):
            self.poll(clock.now_ns())
            ending.stop(name)
        self.poll(clock.now_ns())

    # --- What it tells ---

    @property
    def replay(self) -> None:
        """It happens now, and cannot be wound back."""

    @property
    def painter(self) -> ManualClient:
        """The hand that paints: its connection and its counters."""
        return self._painter

    def journeys(self) -> Sequence[Journey]:
        """The newest journeys of the followed connection, oldest first."""
        if self._followed is None:
            return ()
        return journeys_of(self.pages.connections, self.pages.fleet, self._followed, self.scenario.server.width)

    @property
    def steady_ns(self) -> int:
        """How long the steady state has lasted, until the load ended; 0: it has not begun."""
        first = self._steady_first
        return (self.load_ended_ns or self._now_ns) - first.time_ns if first is not None else 0

    @property
    def failed(self) -> bool:
        """A part ended when it should not have."""
        return self._parts.failed_ns > 0

    @property
    def failed_ns(self) -> int:
        """When the first part failed; 0: none has."""
        return self._parts.failed_ns

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to be sent, which only a recording's arrivals come to."""
        return "finished" in self._parts.phases

    @property
    def failures(self) -> list[str]:
        """One line for each part that failed."""
        return self._parts.failures

    @property
    def tracebacks(self) -> list[str]:
        """What bugs in parts that failed left behind."""
        return self._parts.tracebacks

    def view(self) -> View:
        """What there is to see, as of the last poll."""
        return View(
            now_ns=self._now_ns,
            scenario_name=self.scenario.name,
            scenario_title=self.scenario.title,
            url=self.url,
            page_url=self._page_url,
            is_open_to_network=self._is_open,
            parts=tuple(self._parts.shown(name, self._state(name)) for name in self._part_names()),
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
        """What the run has to tell, once it has ended."""
        assert self._drained is not None, "a run is summed up after its end"
        steady = self._steady_first if self.steady_ns >= MEASURED_NS_LEAST else None
        return Measured(
            connections=self.scenario.fleet.connections,
            first=steady,
            last=self._load_last if steady else None,
            drained=self._drained,
            tick_intervals_ns=self._sampler.ticks.intervals_ns(steady.time_ns, self.load_ended_ns) if steady else None,
            canvas_checksum=zlib.crc32(self._pixels.tobytes()) if self._drained.server_alive else None,
            setup_seconds=(self.load_started_ns - self._started_ns) / NANOSECONDS if self.load_started_ns else None,
            failures=self.failures,
            diagnosis=self._diagnostician.longest,
            hostile=by_kind(self.pages.hostile["hostile"]),
        )

    # --- Inside ---

    @property
    def _run_seconds(self) -> float:
        """Since the load began, until it ended; 0 before."""
        until_ns = self.load_ended_ns or self._now_ns
        return (until_ns - self.load_started_ns) / NANOSECONDS if self.load_started_ns else 0.0

    def _carry_out(self, scenario: Scenario) -> None:
        """Something was turned: these are the settings now."""
        changes = changes_between(self._steering.scenario, scenario)
        if self._recording is not None and changes:
            self._recording.turn(Turn(self._now_ns, changes))
        self._steering.want(scenario)
        self._sampler.scenario = scenario
        self._painter.allow(scenario.server.rate_per_s, scenario.server.burst)

    def _mark(self, kind: str, text: str) -> None:
        self._sampler.mark(self._now_ns, kind, text)
        if self._recording is not None:
            self._recording.mark(Marker(self._now_ns, kind, text))

    def _record(self) -> None:
        """Hand the newest sample over, or say once that nobody takes it any more."""
        if self._recording is None or self._has_told_failure:
            return
        sampler = self._sampler
        diagnosis = self._diagnostician.diagnosis
        self._recording.take(sampler.sample, sampler.new_ticks, sampler.stages, diagnosis, sampler.reading)
        if self._recording.state.failure:
            self._has_told_failure = True
            self._mark("note", f"recording stopped: {self._recording.state.failure}")

    @property
    def _is_steady(self) -> bool:
        """Whether what is measured now is what a summary tells of."""
        return self._steady_first is not None and not self.load_ended_ns

    @property
    def _is_harassed(self) -> bool:
        """Whether some misbehave. Nobody does at a server that this session did not start."""
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
            # A server elsewhere says itself how large its canvas is.
            width=server.width if self._address is None else 0,
            height=server.height if self._address is None else 0,
            link_fd=self._link_fd,
            broker=self._broker_url if self.scenario.fleet.transport == "mqtt" else "",
            mqtt_name=server.mqtt_name,
            certificate=address.certificate,
        )
        self._parts.begin("fleet", start)
        self._steering.fleet_began(self.scenario.fleet)
        if self._is_harassed:
            hostile, page = start.config.hostile, self.pages.hostile
            self._parts.begin(
                "hostile", StartHostile(hostile, start.host, start.port, start.path, start.seed, page.descriptor)
            )

    def _turn(self, seconds: float) -> None:
        """Wait so long at most, and take note of what happened."""
        self.wait(seconds)
        self.poll(clock.now_ns())

    def _read_counters(self, now_ns: int) -> Counters:
        return read_counters(self.pages, self._sampler.redraw_count, now_ns)

    def _part_names(self) -> list[str]:
        server = ["server"] if self._address is None else []
        hostile = ["hostile"] if self._is_harassed else []
        return [*server, "fleet", *hostile, *(["panels"] if self._with_panels else [])]

    def _state(self, name: str) -> str:
        """What the part's page says of it."""
        if name == "panels":
            return self._panels.state
        pages = self.pages
        tables = {"server": pages.telemetry["server"], "hostile": pages.hostile["process"]}
        return State(int(tables.get(name, pages.fleet["fleet"])[0]["state"])).name.lower()
