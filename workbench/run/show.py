"""A show: one window, or a table in the terminal, and the sessions that are run in it one after another.

Everything that can be refused is refused before a process is started. Invariant: a session is ended before `play`
returns or raises, whatever happens in between.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from server.config import ServerConfig
from server.system import clock, open_files
from workbench.address import Address, address_of, files_of, require_certificate, require_free
from workbench.controls.controls import Controls
from workbench.errors import UserError
from workbench.machine import file_limit
from workbench.output_file import require_database, require_new, require_outputs, talk_file, write_json
from workbench.recording.facts import facts_of
from workbench.recording.writer import RecordingWriter
from workbench.run.live_table import LiveTable
from workbench.run.tour import Guide
from workbench.scenarios.scenario import Scenario
from workbench.session.session import COMMANDS, MEASURED_NS_LEAST, WARM_UP_NS, Session
from workbench.session.shutdown import UNASKED_PATIENCE, Attend, wait_for_all
from workbench.stop_signal import StopSignal
from workbench.telemetry.counters import NANOSECONDS
from workbench.telemetry.summary import machine, summarise

if TYPE_CHECKING:
    from workbench.window.shell.window import Window

_PACE_S = 0.5
"""A run without a window looks up at least so often."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is shown while it runs, and what is left when it has."""

    headless: bool
    screenshot: Path | None = None
    summary: Path | None = None
    record: Path | None = None
    sources: tuple[Path, ...] = ()
    """Files that are read for it, which none of these may be."""

    @property
    def talk(self) -> TextIO:
        """Where all else is said, with nothing of it in a summary or picture that goes to standard output."""
        return talk_file(self.summary, self.screenshot)

    def require(self) -> None:
        """Raise UserError when they cannot be left."""
        require_new(self.record, "--record")
        require_outputs({"--record": self.record} | self._made, self.sources)

    def require_apart(self, config: ServerConfig) -> None:
        """Raise UserError when one of them would take the place of a file of the server."""
        require_database(Path(config.journal) if config.journal else None, "server.journal")
        require_outputs(self._made, files_of(config))

    @property
    def _made(self) -> dict[str, Path | None]:
        """What is made when a session ends, by its option."""
        return {"--summary": self.summary, "--screenshot": self.screenshot}

    @property
    def draws(self) -> bool:
        """Whether anybody looks at a picture, now or later."""
        return not self.headless or self.screenshot is not None


class Show:
    """Runs sessions until somebody has seen enough. With an `address`, only fleets run, against the server there.

    `commands` are the programs behind the parts. Raises UserError for outputs that cannot be left.
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
        self._has_failed = False
        self._recording: RecordingWriter | None = None
        self._recording_count = 0
        self.figures: dict[str, Any] = {}
        """The summary of the last session."""
        self.is_finished = False
        """Whether it came to the end of its arrivals."""
        self.recorded: Path | None = None
        """Its recording."""

    @property
    def is_over(self) -> bool:
        """Whether no further session is to be run: somebody ended it, or a part failed."""
        return self._stop.asked or self._has_failed or (self._window is not None and self._window.closed)

    @property
    def leg_step(self) -> int:
        """How many of a demo's scenarios to go on after the last one: 1, or what the person at the window wanted."""
        return (self._window.leg_step if self._window is not None else 0) or 1

    @property
    def exit_code(self) -> int:
        """Of all that was run."""
        return 1 if self._has_failed else 0

    def play(self, scenario: Scenario, guide: Guide | None = None, *, asks: bool = False) -> Scenario | None:
        """Run it until its time is over, somebody ends it, or nothing is left to run.

        With `asks`, the window asks meanwhile whether one would rather see something else.
        Returns what the person at the window wants to see next. Raises UserError before anything is started, RunError
        for what could not be left behind.
        """
        self._require(scenario)
        open_files.raise_to_hard()
        if self._address is None and (warning := address_of(scenario.server).warning):
            print(warning, file=sys.stderr)
        recording = self._record(scenario)
        session = Session(
            scenario,
            with_panels=self._outputs.draws,
            address=self._address,
            recording=recording,
            commands=self._commands,
        )
        if self._controls is not None and self._controls.scenario is scenario:
            session.controls.resume(self._controls)  # The person had the last run started anew with these settings.
        self._controls = session.controls
        try:
            window = self._open(session)
        except UserError:
            session.close()
            if self._recording is not None:  # Nothing was run; asked for once more, its file is not to be in the way.
                self._recording.discard()
            raise
        if window is not None:
            window.require = partial(self._require, running=scenario)
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
            if window is not None and self._outputs.screenshot is not None:
                window.save(self._outputs.screenshot)
        finally:
            wanted = window.wanted if window is not None and not window.closed else None
            is_checked = wanted is None and not (window is not None and window.leg_step)
            session.end(is_checked=is_checked, attend=self._attend(session), patience=self._patience)
        self._tell_end(session)
        session.close()
        return None if self.is_over else wanted

    def close(self) -> None:
        """Close the window, if there is one, and a recording that no session has come to the end of."""
        if self._recording is not None:
            self._recording.close(None)
        if self._window is not None:
            self._window.close()

    # --- Inside ---

    def _require(self, scenario: Scenario, running: Scenario | None = None) -> None:
        """Raise UserError when it cannot be run, next to nothing or once what is `running` has ended."""
        if self._address is None:
            self._outputs.require_apart(scenario.server)
        require_runnable(scenario, self._address, record=self._next_recording(), running=running)

    def _next_recording(self) -> Path | None:
        """Where the next session is recorded, if it is to be: FILE, then FILE-2 and so on."""
        path = self._outputs.record
        if path is None or self._recording_count == 0:
            return path
        return path.with_stem(f"{path.stem}-{self._recording_count + 1}")

    def _record(self, scenario: Scenario) -> RecordingWriter | None:
        """Begin the recording of the next session, if there is to be one. Raises UserError."""
        path = self._next_recording()
        if path is None:
            return None
        self._recording_count += 1
        self.recorded = path
        self._recording = RecordingWriter(path, facts_of(scenario, machine(), clock.now_ns()))
        self._recording.start()
        return self._recording

    def _open(self, session: Session) -> "Window | None":
        """The window, on a display or in memory, showing this session; None when nobody looks."""
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
        """What lets the window live on, and be told to hurry, while a session ends."""
        window = self._window
        if window is None or self._outputs.headless:
            return wait_for_all

        def attend(step: str) -> bool:
            session.count_redraw()
            return window.attend(f"Ending {session.scenario.name}: {step}. Esc: end at once")

        return attend

    def _patience(self) -> float:
        """How long what ends may take: less where a person waits for it."""
        window = self._window
        is_awaited = window is not None and (window.closed or window.wanted is not None or window.leg_step != 0)
        return 1.0 if self._stop.asked or is_awaited else UNASKED_PATIENCE

    def _until(self, session: Session, guide: Guide | None) -> Callable[[], bool]:
        """When the run is over: asked to stop, or its time has been measured, or has passed since a part failed.

        Somebody at a window has the time to read what failed; without one, a failure ends the run at once.
        """
        seconds = session.scenario.seconds
        wanted_ns = None if seconds is None else seconds * NANOSECONDS

        told = 0

        def is_over() -> bool:
            nonlocal told
            for line in session.news[told:]:
                print(line, file=sys.stderr, flush=True)
            told = len(session.news)
            if guide is not None and session.load_started_ns:
                self._follow(guide, session)
            if self._stop.asked or session.is_finished or (session.failed and self._outputs.headless):
                return True
            if wanted_ns is None:
                return False
            failed_ns = 0 if session.load_started_ns else session.failed_ns
            return session.steady_ns >= wanted_ns or 0 < failed_ns <= clock.now_ns() - wanted_ns

        return is_over

    def _follow(self, guide: Guide, session: Session) -> None:
        """Turn what the guide has turned now, and say what it says."""
        for cue in guide.due(session.view().run_seconds):
            for key, value in cue.turns:
                session.controls.set(key, value, clock.now_ns())
            if self._window is not None:
                self._window.caption = cue.caption
            if self._outputs.headless:
                print(cue.caption, file=self._outputs.talk, flush=True)

    def _tell_end(self, session: Session) -> None:
        """Write the summary, also into the recording, and name what failed on standard error."""
        figures = self.figures = summarise(session.measured())
        self.is_finished = session.is_finished
        failures = [*session.failures, *session.tracebacks]
        if self._recording is not None:
            self._recording.close(figures)
            state = self._recording.state_at(clock.now_ns())
            figures["recording"] = asdict(state)
            failures += [f"recording {state.path} stopped: {state.failure}"] if state.failure else []
            self._has_failed = self._has_failed or bool(state.failure)
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
    """Raise UserError for what would keep this run from starting. The address of a `running` one will be free."""
    file_limit.require(scenario.socket_count if address is None else scenario.fleet.connections, "fleet.connections")
    server = scenario.server
    if address is None:
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
        f"nothing is measured: the load ran {session.view().run_seconds:.1f} s, and figures need {least_s:g} s at "
        "least, of which the first is warm-up"
    )


def _counting(until: Callable[[], bool], session: Session) -> Callable[[], bool]:
    """`until`, which the window asks once a redraw, and the redraws counted."""

    def count_and_ask() -> bool:
        session.count_redraw()
        return until()

    return count_and_ask


def _rest_s(session: Session) -> float:
    """How long nobody need look: until its time is measured, or `_PACE_S`."""
    seconds, measured_s = session.scenario.seconds, session.steady_ns / NANOSECONDS
    return min(_PACE_S, max(0.0, seconds - measured_s)) if seconds is not None and measured_s else _PACE_S


def _run_headless(session: Session, until: Callable[[], bool], talk: TextIO) -> None:
    with LiveTable(talk) as table:
        while not until():
            session.wait(_rest_s(session))
            session.poll(clock.now_ns())
            table.show(session.view())
