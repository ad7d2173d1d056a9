"""What `workbench run` and `workbench fleet` do: one session from its start to its summary, shown or told.

It reads no command line. Everything that can be refused is refused before a process is started.
Invariant: whatever happens in between, the session is ended before this returns or raises.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from server import clock
from workbench import file_limit
from workbench.address import Address, require_free
from workbench.counters import NANOSECONDS
from workbench.errors import RunError, UserError
from workbench.live_table import LiveTable
from workbench.output_file import require_writable, write_atomically
from workbench.scenario import Scenario
from workbench.session import COMMANDS, Session
from workbench.stop_signal import StopSignal
from workbench.summary import summarise

if TYPE_CHECKING:
    from workbench.window.window import Window

_PACE_S = 0.5
"""A run without a window looks up at least so often."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is shown while it runs, and what is left when it has."""

    headless: bool
    screenshot: Path | None = None
    summary: Path | None = None


def run_scenario(
    scenario: Scenario,
    outputs: Outputs,
    address: Address | None = None,
    commands: Mapping[str, Sequence[str]] = COMMANDS,
) -> int:
    """Run it until its time is over, somebody ends it, or nothing is left to run. Returns the exit code.

    With an `address`, only the fleet runs, against the server there. `commands` are the programs behind the parts.
    Raises UserError before anything is started, RunError for what could not be left behind.
    """
    _refuse_early(scenario, outputs, address)
    session = Session(scenario, with_panels=_draws(outputs), address=address, commands=commands)
    with StopSignal() as stop:
        window = _open_window(session, outputs)
        try:
            session.start(clock.now_ns())
            until = _until(session, stop, patient=not outputs.headless)
            if window is not None and not outputs.headless:
                window.run(_counting(until, session))
            else:
                _run_headless(session, until)
            if window is not None and outputs.screenshot is not None:
                _save_picture(window, outputs.screenshot)
        finally:
            session.end()
            if window is not None:
                window.close()
        code = _tell_end(session, outputs)
        session.close()
        return code


def write_summary(path: Path | None, summary: dict[str, Any]) -> None:
    """Write a summary, indented for people, where one was asked for."""
    if path is not None:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")


def _refuse_early(scenario: Scenario, outputs: Outputs, address: Address | None) -> None:
    require_writable(outputs.summary, "--summary")
    require_writable(outputs.screenshot, "--screenshot")
    if scenario.link == "socket" or address is not None:
        file_limit.require(scenario.fleet.connections, "fleet.connections")
    file_limit.raise_to_hard()
    if address is None:
        require_free(scenario.server.host, scenario.server.port)


def _draws(outputs: Outputs) -> bool:
    return not outputs.headless or outputs.screenshot is not None


def _open_window(session: Session, outputs: Outputs) -> "Window | None":
    """The window, on a display or in memory; None when nobody looks."""
    if not _draws(outputs):
        return None
    from workbench.window.toolkit import NoDisplay
    from workbench.window.window import Window

    try:
        return Window(session, headless=outputs.headless)
    except NoDisplay as error:
        raise UserError(str(error)) from None


def _until(session: Session, stop: StopSignal, *, patient: bool) -> Callable[[], bool]:
    """When the run is over: asked to stop, or its time has passed since the load began or a part failed.

    Somebody at a window has the time to read what failed; without one, a failure ends the run at once.
    """
    seconds = session.scenario.seconds

    def is_over() -> bool:
        if stop.asked or (session.failed and not patient):
            return True
        began_ns = session.load_started_ns or session.failed_ns
        return seconds is not None and began_ns > 0 and clock.now_ns() - began_ns >= seconds * NANOSECONDS

    return is_over


def _counting(until: Callable[[], bool], session: Session) -> Callable[[], bool]:
    """`until`, which the window asks once a redraw, and the redraws counted."""

    def count_and_ask() -> bool:
        session.count_redraw()
        return until()

    return count_and_ask


def _run_headless(session: Session, until: Callable[[], bool]) -> None:
    with LiveTable() as table:
        while not until():
            session.wait(_PACE_S)
            session.poll(clock.now_ns())
            table.show(session.view())


def _save_picture(window: "Window", path: Path) -> None:
    try:
        window.save(path)
    except OSError as error:
        raise RunError(f"--screenshot {path} cannot be written: {error.strerror}") from None


def _tell_end(session: Session, outputs: Outputs) -> int:
    """Write the summary, name what failed on standard error, and give the exit code."""
    summary = summarise(session.measured())
    write_summary(outputs.summary, summary)
    for line in session.failures:
        print(line, file=sys.stderr)
    for traceback in session.tracebacks:
        print(traceback, file=sys.stderr)
    return 1 if session.failed else 0
