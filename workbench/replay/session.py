"""A recorded run as a session for the window: pages like those of a live run, filled from the file.

Pages and figures are those of the transport's position at the last `poll`. Only the panels are a process of their own.
Nothing can be changed, painted or followed. A damaged place in the file pauses the replay and is reported as a failure;
everything before and after it can still be shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from plots.ipc import ShowPanels
from workbench.controls.controls import Controls
from workbench.controls.playhead import Transport
from workbench.errors import UserError
from workbench.recording.reader import Recording
from workbench.replay.figures import ReplayFigures
from workbench.replay.filmstrip import Filmstrip
from workbench.replay.pages import ReplayCanvas, ReplayHistory
from workbench.replay.settings import RecordedKnobs, early_turns
from workbench.session.processes import PANELS, PanelsPart, Processes
from workbench.session.session import COMMANDS
from workbench.session.shutdown import STOP_WAIT_S
from workbench.telemetry.pages import OnPages, SessionPages
from workbench.telemetry.view import Journey, Marker, Part, Reading, StageReading, TileBox, Turn, View

LOCKED = "recorded, not to be turned"
# How often a recording in progress is read for new rows.
GROWTH_LOOK_NS = 1_000_000_000
# The least time of the panels' history that is written at once.
SPAN_NS_LEAST = 60_000_000_000
# Rows of a recording in progress that are this much older than its newest do not change any more.
_SETTLED_NS = 2_000_000_000
# The time within which `step_tick` looks for the next tick.
_STEP_NS = 10_000_000_000
_RECORDED = ("server", "fleet")


class ReplaySession(OnPages):
    """Shows one recording. The pages of connections and of the fleet are empty, as they are not recorded.

    `from_s` and `to_s` are seconds since its start; None: its ends. `commands` replaces the panels' program, for
    tests. Raises UserError for a damaged recording and for a span that it does not have.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        from_s: float | None = None,
        to_s: float | None = None,
        with_panels: bool = True,
        commands: Mapping[str, Sequence[str]] = COMMANDS,
    ) -> None:
        self._recording = recording
        first_ns, last_ns = _span(recording, from_s, to_s)
        scenario = recording.scenario
        server = msgspec.structs.replace(scenario.server, width=recording.width, height=recording.height)
        self.scenario = msgspec.structs.replace(scenario, server=server)
        self.markers: tuple[Marker, ...] = ()
        self.transport = Transport(first_ns, last_ns, (), recording.first_ns)
        self.filmstrip = Filmstrip(recording.path, first_ns, last_ns)
        self._is_open_ended = to_s is None and recording.summary is None
        self._newest_ns, self._looked_ns = recording.last_ns, 0
        super().__init__(SessionPages.create(self.scenario.server))
        self._parts = Processes(commands)
        self._panels = PanelsPart(self._parts, self.pages.history, self.pages.picture)
        self._with_panels = with_panels
        self._canvas = ReplayCanvas(self.pages.canvas, recording)
        self._history = ReplayHistory(self.pages.history, recording)
        self._figures = ReplayFigures(recording)
        self._turns: tuple[Turn, ...] = ()
        self._knobs = RecordedKnobs(self.scenario, ())
        self._read_turns()
        self.controls = Controls(self.scenario, lambda _: None, lambda _kind, _text: None, locked=LOCKED)
        """The settings at the moment."""
        self._shown: tuple[int, int] | None = None
        self._sampled_ns = -1
        self._reading, self._stages = Reading(), tuple[StageReading, ...]()
        self._fault = ""

    # --- Commands ---

    def start(self, now_ns: int) -> None:
        """Start the panels and the filmstrip, and show the first moment."""
        if self._with_panels:
            self._panels.start()
        self.filmstrip.start()
        self.poll(now_ns)

    def poll(self, now_ns: int) -> None:
        """Play on by the time that has passed. Reads the file only when the moment changes."""
        self._parts.poll(now_ns)
        if self._is_open_ended and now_ns - self._looked_ns >= GROWTH_LOOK_NS:
            self._looked_ns = now_ns
            self._look_for_more()
        position_ns = self.transport.step(now_ns)
        order = self._panels.order
        reach_ns = (
            0 if order is None else round(order.span_s * 1e9) + max(0, position_ns - (order.end_ns or position_ns))
        )
        self._history.span_ns = max(reach_ns, SPAN_NS_LEAST)
        wanted = (position_ns, self._history.span_ns)
        try:
            if wanted != self._shown:
                self._shown = wanted
                self._show(position_ns)
                self._fault = ""
            elif not self._fault:
                self._history.look_further_back(ended_ns=self._ended_ns)
        except UserError as error:
            self._fault, self.transport.playing = str(error), False

    def wait(self, seconds: float) -> None:
        """Return when the panels send an event, or after `seconds`."""
        self._parts.wait(max(0.001, seconds))

    def step_tick(self, step: int) -> None:
        """Hold at the next tick (1) or the one before (-1)."""
        position_ns = self.transport.position_ns
        try:
            if step > 0:
                starts = self._recording.tick_log(position_ns, position_ns + _STEP_NS)["start_ns"]
                self.transport.hold_at(int(starts[0]) if len(starts) else position_ns + _STEP_NS)
            else:
                starts = self._recording.tick_log(position_ns - _STEP_NS, position_ns - 1)["start_ns"]
                self.transport.hold_at(int(starts[-1]) if len(starts) else position_ns - _STEP_NS)
        except UserError as error:
            self._fault = str(error)

    def resize_panels(self, width: int, height: int, scale: float) -> None:
        """Draw the panels at this size in pixels from now on."""
        self._panels.resize(width, height, scale)

    def show_panels(self, order: ShowPanels) -> None:
        """Show these panels from now on."""
        self._panels.show(order)

    def brush(self, tiles: TileBox | None) -> None:
        """Nothing: single tiles are not recorded."""

    def follow(self, number: int | None) -> None:
        """Nothing: connections are not recorded."""

    def paint(self, x: int, y: int, color: int) -> None:
        """Nothing: the run is over."""

    def end(self) -> None:
        """End the panels and the filmstrip."""
        self.filmstrip.close()
        self._parts.stop(PANELS, STOP_WAIT_S)

    # --- Views ---

    @property
    def replay(self) -> "ReplaySession":
        """This session, as the one that has a transport."""
        return self

    def journeys(self) -> Sequence[Journey]:
        """None: journeys are not recorded."""
        return ()

    @property
    def failed(self) -> bool:
        """Whether the panels ended unexpectedly, or the file is damaged here."""
        return bool(self._fault) or self._parts.failed_ns > 0

    @property
    def failures(self) -> list[str]:
        """One line for each failure."""
        return [*([self._fault] if self._fault else []), *self._parts.failures]

    @property
    def tracebacks(self) -> list[str]:
        """The tracebacks of bugs in the panels."""
        return self._parts.tracebacks

    def view(self) -> View:
        """The view as of the last poll."""
        position_ns = self.transport.position_ns
        parts = [Part(name, "running") for name in _RECORDED]
        if self._with_panels:
            parts.append(self._parts.part(PANELS, self._panels.state))
        if self._fault:
            parts.append(Part("recording", "failed", failure=self._fault))
        return View(
            now_ns=position_ns,
            scenario_name=self.scenario.name,
            scenario_title=self.scenario.title,
            url="",
            parts=tuple(parts),
            reading=self._reading,
            pixels=self._pixels,
            run_seconds=(position_ns - self._recording.first_ns) / 1e9,
            stages=self._stages,
            diagnosis=self._figures.diagnosis(position_ns),
            markers=tuple(marker for marker in self.markers if marker.time_ns <= position_ns),
        )

    # --- Inside ---

    @property
    def _ended_ns(self) -> int:
        """The file does not change before this time."""
        return self._newest_ns - _SETTLED_NS if self._is_open_ended else 2**63 - 1

    def _look_for_more(self) -> None:
        try:
            self._newest_ns = self._recording.last_ns
            if self._figures.look_for_more() | self._read_turns():
                self._shown, self._sampled_ns = None, -1  # The news may be about the moment that is shown.
        except UserError as error:
            self._fault = str(error)
        self.transport.extend(self._newest_ns)

    def _read_turns(self) -> bool:
        """Read new markers and turns. Returns whether there are any. Raises UserError."""
        markers, turns = self._recording.markers(), self._recording.turns(len(self._turns))
        if markers == self.markers and not turns:
            return False
        self.markers = self._history.markers = markers
        self.transport.marks_ns = [marker.time_ns for marker in markers]
        self._turns = early_turns(self.scenario, markers) if turns is None else (*self._turns, *turns)
        self._knobs = RecordedKnobs(self.scenario, self._turns, f"{self._recording.path} is damaged: its turns")
        return True

    def _show(self, position_ns: int) -> None:
        """Set pages and figures to this moment. Raises UserError."""
        self._canvas.show(position_ns)
        self._history.show(position_ns, ended_ns=self._ended_ns)
        self.controls.show(self._knobs.at(position_ns))
        sample = self._history.newest(position_ns, ended_ns=self._ended_ns)
        sampled_ns = -1 if sample is None else int(sample["time_ns"])
        if sampled_ns != self._sampled_ns or sample is None:
            # A turn at the time of a sample came after it: the next sample is the first to show it.
            scenario = self._knobs.at(position_ns if sample is None else sampled_ns - 1)
            self._reading = self._figures.reading(sample, scenario, position_ns)
            self._stages = self._figures.stages(sample, scenario)
            self._sampled_ns = sampled_ns
        self._reading = replace(self._reading, tick=max(self._reading.tick, self._canvas.tick))


def _span(recording: Recording, from_s: float | None, to_s: float | None) -> tuple[int, int]:
    """The ends on the recording's clock; by default from the first tick on. Raises UserError for an impossible span."""
    duration_s = recording.duration_s
    for option, value in (("--from", from_s), ("--to", to_s)):
        if value is not None and not 0 <= value <= duration_s:
            raise UserError(f"{option} {value:g} is outside the recording, which has 0 to {duration_s:.1f} s")
    if from_s is not None and to_s is not None and from_s >= to_s:
        raise UserError(f"--from {from_s:g} is not before --to {to_s:g}; give a moment before it")
    last_ns = recording.last_ns if to_s is None else recording.first_ns + round(to_s * 1e9)
    if from_s is not None:
        return recording.first_ns + round(from_s * 1e9), last_ns
    # Before the first tick a session only starts its processes.
    began_ns = recording.first_tick_ns
    return recording.first_ns if began_ns is None else min(began_ns, last_ns), last_ns
