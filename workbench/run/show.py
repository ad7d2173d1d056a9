"""What `workbench run` and `workbench fleet` do: sessions one after another, with a window or a table; and the tour.

Everything that can be refused is refused before a process is started. A session is always ended before `play` returns
or raises.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from server.config import ServerConfig
from server.system import clock, open_files
from workbench.address import Address, address_of, files_of, require_certificate, require_free
from workbench.controls.controls import Controls
from workbench.errors import UserError
from workbench.machine.facts import connections_that_fit, require_connections, usable_core_count
from workbench.output_file import require_database, require_new, require_outputs, talk_file, write_json
from workbench.recording.facts import facts_of
from workbench.recording.writer import RecordingWriter
from workbench.run.live_table import LiveTable
from workbench.run.tour import Guide, Leg, tour_for
from workbench.scenarios.scenario import Scenario, load_scenario
from workbench.session.session import COMMANDS, MEASURED_NS_LEAST, WARM_UP_NS, Session
from workbench.session.shutdown import UNASKED_PATIENCE, Attend, wait_for_all
from workbench.stop_signal import StopSignal
from workbench.telemetry.counters import NANOSECONDS
from workbench.telemetry.summary import machine, summarise

if TYPE_CHECKING:
    from workbench.window.shell.window import Window

# Longest wait of a run without a window.
_PACE_S = 0.5


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is shown during the runs, and the files that they write."""

    headless: bool
    screenshot: Path | None = None
    summary: Path | None = None
    record: Path | None = None
    sources: tuple[Path, ...] = ()
    """Input files, which must not be overwritten."""

    @property
    def talk(self) -> TextIO:
        """Where the table goes: standard error if a summary or picture takes standard output."""
        return talk_file(self.summary, self.screenshot)

    def require(self) -> None:
        """Raise UserError for a file that cannot be written."""
        require_new(self.record, "--record")
        require_outputs({"--record": self.record} | self._made, self.sources)

    def require_apart(self, config: ServerConfig) -> None:
        """Raise UserError for a file that would replace one of the server."""
        require_database(Path(config.journal) if config.journal else None, "server.journal")
        require_outputs(self._made, files_of(config))

    @property
    def _made(self) -> dict[str, Path | None]:
        """The files that are written when a session ends, by option."""
        return {"--summary": self.summary, "--screenshot": self.screenshot}

    @property
    def draws(self) -> bool:
        """Whether the window is drawn, on a display or for a picture."""
        return not self.headless or self.screenshot is not None


class Show:
    """Runs one session after another, in one window or none. With an `address`, only fleets run, against that server.

    `commands`: the programs of the parts. Raises UserError for outputs that cannot be written.
    """

    def __init__(
        self,
        outputs: Outputs,
        stop: StopSignal,
        address: Address | None = None,
        commands: Mapping[str, Sequence[str]] = COMMANDS,
    ) -> None:
        outputs.require()
        self._outputs, self._stop, self._address, self._commands = outputs, stop, address, commands
        self._window: Window | None = None
        self._controls: Controls | None = None
        self._has_failed = self._has_failed_check = False
        self._recording: RecordingWriter | None = None
        self._recording_count = 0
        self.figures: dict[str, Any] = {}
        """The summary of the last session."""
        self.is_finished = False
        """Whether all of its arrivals were sent."""
        self.recorded: Path | None = None
        """Its recording."""

    @property
    def is_over(self) -> bool:
        """Whether no further session should run: the user ended it, or a part failed."""
        return self._stop.asked or self._has_failed or (self._window is not None and self._window.closed)

    @property
    def leg_step(self) -> int:
        """How many legs of a tour to advance: 1, or what the user of the window wants."""
        return (self._window.leg_step if self._window is not None else 0) or 1

    @property
    def has_failed(self) -> bool:
        """Whether a part or a recording failed."""
        return self._has_failed

    @property
    def exit_code(self) -> int:
        """The exit code for all sessions."""
        return 1 if self._has_failed or self._has_failed_check else 0

    def play(self, scenario: Scenario, guide: Guide | None = None, *, asks: bool = False) -> Scenario | None:
        """Run a scenario until it is over. Returns what the user wants to run next.

        `asks`: the window shows the list of scenarios meanwhile. Raises UserError before anything is started, RunError
        for a file that could not be written.
        """
        # Everything that can be refused, before a process is started or a file created.
        self._require(scenario)
        open_files.raise_to_hard()
        if self._address is None and (warning := address_of(scenario.server).warning):
            print(warning, file=sys.stderr)
        # Created before the session: the server is started with the file as its journal.
        recording = self._record(scenario)
        session = Session(
            scenario,
            with_panels=self._outputs.draws,
            address=self._address,
            recording=recording,
            commands=self._commands,
        )
        if self._controls is not None and self._controls.scenario is scenario:
            session.controls.resume(self._controls)  # A restart with changed settings: undo still works.
        self._controls = session.controls
        try:
            # The window before the processes: it shows them starting.
            window = self._open(session)
        except UserError:
            session.close()
            if self._recording is not None:  # Nothing ran, so a second attempt must not find its file.
                self._recording.discard()
            raise
        if window is not None:
            window.require = partial(self._require, running=scenario)
            window.on_picture = session.count_picture
            window.guided = guide is not None
            if asks:
                window.ask()
        try:
            session.start(clock.now_ns())
            until = self._until(session, guide)
            if window is not None and not self._outputs.headless:
                window.run(_counting(until, session))
            else:
                _run_headless(session, until, self._outputs.talk)
            # Before the session ends: the picture shows the run, not its shutdown.
            if window is not None and self._outputs.screenshot is not None:
                window.save(self._outputs.screenshot)
        finally:
            wanted = window.wanted if window is not None and not window.closed else None
            # A user who picked another scenario waits for it, and is not interested in the check.
            is_checked = wanted is None and not (window is not None and window.leg_step)
            session.end(is_checked=is_checked, attend=self._attend(session), patience=self._patience)
        # After the end, since the summary includes the drain; before `close`, which releases the pages.
        self._report_end(session)
        session.close()
        return None if self.is_over else wanted

    def close(self) -> None:
        """Close the window, and the recording of a session that was interrupted."""
        if self._recording is not None:
            self._recording.close(None)
        if self._window is not None:
            self._window.close()

    # --- Inside ---

    def _require(self, scenario: Scenario, running: Scenario | None = None) -> None:
        """Raise UserError if it cannot run: now, or after the `running` one has ended."""
        if self._address is None:
            self._outputs.require_apart(scenario.server)
        require_runnable(scenario, self._address, record=self._next_recording(), running=running)

    def _next_recording(self) -> Path | None:
        """The file for the next session, if any: FILE, then FILE-2 and so on."""
        path = self._outputs.record
        if path is None or self._recording_count == 0:
            return path
        return path.with_stem(f"{path.stem}-{self._recording_count + 1}")

    def _record(self, scenario: Scenario) -> RecordingWriter | None:
        """Start the recording of the next session, if any. Raises UserError."""
        path = self._next_recording()
        if path is None:
            return None
        self._recording_count += 1
        self.recorded = path
        self._recording = RecordingWriter(path, facts_of(scenario, machine(), clock.now_ns()))
        self._recording.start()
        return self._recording

    def _open(self, session: Session) -> "Window | None":
        """The window, on a display or in memory, showing this session; None if nothing is drawn."""
        # Without a picture, pygame is never imported.
        if not self._outputs.draws:
            return None
        if self._window is not None:
            self._window.show(session)
            return self._window
        from workbench.window.shell.window import Window
        from workbench.window.toolkit.display import NoDisplay

        try:
            self._window = Window(session, headless=self._outputs.headless)
        except NoDisplay as error:
            raise UserError(str(error)) from None
        return self._window

    def _attend(self, session: Session) -> Attend:
        """Keeps the window responsive while a session ends: the user can cut that short."""
        window = self._window
        if window is None or self._outputs.headless:
            return wait_for_all

        def attend(step: str) -> bool:
            session.count_redraw()
            return window.attend(f"Ending {session.scenario.name}: {step}. Esc: end at once")

        return attend

    def _patience(self) -> float:
        """The factor of the time limits of the shutdown: lower if the user waits for it."""
        window = self._window
        # A run that ended by itself may take its time: complete counts matter more.
        is_awaited = window is not None and (window.closed or window.wanted is not None or window.leg_step != 0)
        return 1.0 if self._stop.asked or is_awaited else UNASKED_PATIENCE

    def _until(self, session: Session, guide: Guide | None) -> Callable[[], bool]:
        """Whether the run is over: it was stopped, was measured for its time, or a part failed.

        After a failure a window stays open for the time of the run, so that the message can be read.
        """
        seconds = session.scenario.seconds
        wanted_ns = None if seconds is None else seconds * NANOSECONDS

        printed = 0

        def is_over() -> bool:
            nonlocal printed
            for line in session.news[printed:]:
                print(line, file=sys.stderr, flush=True)
            printed = len(session.news)
            if guide is not None and session.load_started_ns:
                self._follow(guide, session)
            # Without a window, a failed run cannot be watched, so it ends at once.
            if self._stop.asked or session.is_finished or (session.failed and self._outputs.headless):
                return True
            if wanted_ns is None:
                return False
            # A run that failed before its load would never be measured for its time.
            failed_ns = 0 if session.load_started_ns else session.failed_ns
            return session.steady_ns >= wanted_ns or 0 < failed_ns <= clock.now_ns() - wanted_ns

        return is_over

    def _follow(self, guide: Guide, session: Session) -> None:
        """Apply the settings that are due in the tour, and show its captions."""
        for cue in guide.due(session.view().run_seconds):
            for key, value in cue.settings:
                session.controls.set(key, value, clock.now_ns())
            if self._window is not None:
                self._window.caption = cue.caption
            if self._outputs.headless:
                print(cue.caption, file=self._outputs.talk, flush=True)

    def _report_end(self, session: Session) -> None:
        """Write the summary, also into the recording, and print failures to standard error."""
        figures = self.figures = summarise(session.measured())
        self.is_finished = session.is_finished
        failures = [*session.failures, *session.failed_checks, *session.tracebacks]
        # Not a failed part: after it, the user may still go on to another scenario.
        self._has_failed_check = self._has_failed_check or bool(session.failed_checks)
        if self._recording is not None:
            self._recording.close(figures)
            state = self._recording.state_at(clock.now_ns())
            # After closing: only now is the size of the file final.
            figures["recording"] = asdict(state)
            failures += [f"recording {state.path} stopped: {state.failure}"] if state.failure else []
            self._has_failed = self._has_failed or bool(state.failure)
        # Without an output nothing is missing: the user has seen the window.
        if figures["seconds"] is None and not failures and (self._outputs.summary or self._outputs.record):
            failures = [too_short(session)]
        for line in failures:
            print(line, file=sys.stderr)
        self._has_failed = self._has_failed or session.failed
        write_json(self._outputs.summary, figures, "the run itself has ended in order")


def require_runnable(
    scenario: Scenario,
    address: Address | None = None,
    *,
    record: Path | None = None,
    running: Scenario | None = None,
) -> None:
    """Raise UserError if this run cannot start. The port of a `running` one will be free by then."""
    require_connections(scenario.socket_count if address is None else scenario.fleet.connections, "fleet.connections")
    server = scenario.server
    if address is None:
        # The next run may take the port of the present one, which ends first.
        if running is None or (server.host, server.port) != (running.server.host, running.server.port):
            require_free(server.host, server.port)
        require_certificate(server)
    if record is not None and server.journal:
        raise UserError(
            f"--record {record} and server.journal {server.journal}: a server writes one file; leave one out"
        )
    require_new(record, "--record")


def too_short(session: Session) -> str:
    """Why there are no figures."""
    least_s = (WARM_UP_NS + MEASURED_NS_LEAST) / NANOSECONDS
    return (
        f"nothing was measured: the load ran {session.view().run_seconds:.1f} s, and figures need at least "
        f"{least_s:g} s, of which the first is warm-up"
    )


def _counting(until: Callable[[], bool], session: Session) -> Callable[[], bool]:
    """`until`, which the window calls once per redraw, with the redraws counted."""

    def count_and_ask() -> bool:
        session.count_redraw()
        return until()

    return count_and_ask


def rest_s(session: Session) -> float:
    """How long to wait for events: until the end of the measured time, at most `_PACE_S`."""
    seconds, measured_s = session.scenario.seconds, session.steady_ns / NANOSECONDS
    return min(_PACE_S, max(0.0, seconds - measured_s)) if seconds is not None and measured_s else _PACE_S


def _run_headless(session: Session, until: Callable[[], bool], talk: TextIO) -> None:
    with LiveTable(talk) as table:
        while not until():
            session.wait(rest_s(session))
            session.poll(clock.now_ns())
            table.show(session.view())


def run_scenario(
    scenario: Scenario,
    outputs: Outputs,
    address: Address | None = None,
    commands: Mapping[str, Sequence[str]] = COMMANDS,
    *,
    asks: bool = False,
) -> int:
    """Run a scenario, and those that the user picks in the window after it. Returns the exit code.

    With an `address`, only the fleet runs, against that server. `commands`: the programs of the parts. `asks`: the
    window first shows the list of scenarios. Raises UserError before anything is started, RunError for a file that
    could not be written.
    """
    with StopSignal() as stop, closing(Show(outputs, stop, address, commands)) as show:
        wanted = show.play(scenario, asks=asks)
        while wanted is not None:
            wanted = show.play(wanted)
        return show.exit_code


def run_tour(outputs: Outputs, overrides: Sequence[str] = (), commands: Mapping[str, Sequence[str]] = COMMANDS) -> int:
    """Run the tour. A scenario that the user picks meanwhile ends it. Returns the exit code.

    `overrides` apply to the scenario of every leg; `seconds` replaces the leg's own.
    """
    legs = tour_for(connections_that_fit(), usable_core_count())
    with StopSignal() as stop, closing(Show(outputs, stop, commands=commands)) as show:
        wanted: Scenario | None = None
        index = 0
        while wanted is None and not show.is_over and index < len(legs):
            guide = Guide(legs[index], f"{index + 1} of {len(legs)}")
            wanted = show.play(scenario_of_leg(legs[index], overrides), guide)
            # Back from the first leg is the first leg again.
            index = max(0, index + show.leg_step)
        while wanted is not None:
            wanted = show.play(wanted)
        return show.exit_code


def scenario_of_leg(leg: Leg, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario of a leg."""
    scenario = load_scenario(leg.scenario, [*leg.overrides, *overrides])
    return scenario if scenario.seconds is not None else msgspec.structs.replace(scenario, seconds=leg.seconds)
