"""What `workbench replay` does: a recording in the window, or a picture of one of its moments.

It reads no command line. Invariant: when it returns or raises, the panels are ended and the window is closed.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from server import clock
from workbench.counters import NANOSECONDS
from workbench.errors import RunError, UserError
from workbench.output_file import require_writable
from workbench.recording.reader import Recording
from workbench.replay import ReplaySession
from workbench.scenario import Scenario
from workbench.session import COMMANDS
from workbench.stop_signal import StopSignal
from workbench.window.toolkit import NoDisplay
from workbench.window.window import Window

_PATIENCE_NS = 20 * NANOSECONDS
"""For a picture of the panels, which takes a second to start and a tenth of one to draw."""
_STRIP_PATIENCE_S = 20.0


def replay_recording(
    path: Path,
    *,
    from_s: float | None = None,
    to_s: float | None = None,
    screenshot: Path | None = None,
    commands: Mapping[str, Sequence[str]] = COMMANDS,
) -> tuple[int, Scenario | None]:
    """Show it until somebody has seen enough, or leave a picture of its end.

    Returns the exit code, and what the person at the window wants to see next. Raises UserError before anything is
    started, RunError for a picture that cannot be made.
    """
    require_writable(screenshot, "--screenshot")
    with (
        StopSignal() as stop,
        Recording.open(path) as recording,
        _started(
            ReplaySession(recording, from_s=from_s, to_s=to_s, commands=commands), at_end=bool(screenshot)
        ) as session,
    ):
        if screenshot is not None:
            _take_picture(session, stop, screenshot)
            wanted = None
        else:
            wanted = _show(session, stop)
    for line in session.tracebacks:
        print(line, file=sys.stderr)
    return (1 if session.failed else 0), wanted


@contextmanager
def _started(session: ReplaySession, *, at_end: bool) -> Iterator[ReplaySession]:
    """The session, started here, at its beginning or at its end, and ended after."""
    with closing(session):
        if at_end:
            session.transport.hold_at(session.transport.last_ns)
        try:
            session.start(clock.now_ns())
            yield session
        finally:
            session.end()


def _show(session: ReplaySession, stop: StopSignal) -> Scenario | None:
    try:
        window = Window(session)
    except NoDisplay as error:
        raise UserError(str(error)) from None
    with closing(window):
        session.transport.toggle()
        window.run(lambda: stop.asked)
        return None if window.closed or stop.asked else window.wanted


def _take_picture(session: ReplaySession, stop: StopSignal, path: Path) -> None:
    """The last moment, with the panels of then and all small pictures."""
    window = Window(session, headless=True)
    page, deadline_ns = session.picture, clock.now_ns() + _PATIENCE_NS
    session.filmstrip.wait(_STRIP_PATIENCE_S)
    while not stop.asked and not session.failed and clock.now_ns() < deadline_ns:
        window.draw()
        width, height = page["size"][int(page["front"][0])].tolist()
        if (width, height) == window.panels_size and int(page["serial"][0]):
            break
        session.wait(0.05)
        session.poll(clock.now_ns())
    if session.failed:
        raise RunError("; ".join(session.failures))
    try:
        window.save(path)
    except OSError as error:
        raise RunError(f"--screenshot {path} cannot be written: {error.strerror}") from None
