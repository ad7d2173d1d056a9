"""`workbench replay`: a recording in the window, as a screenshot of its last moment, or as a video of the window.

When it returns or raises, the panels have ended and the window is closed.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plots.ipc import Picture
from server.system import clock
from workbench.errors import RunError, UserError
from workbench.export.progress import export_progress
from workbench.export.video import open_video
from workbench.output_file import require_outputs
from workbench.recording.reader import Recording
from workbench.replay.session import ReplaySession
from workbench.scenarios.scenario import Scenario
from workbench.session.session import COMMANDS
from workbench.stop_signal import StopSignal
from workbench.telemetry.counters import NANOSECONDS
from workbench.window.shell.window import Window
from workbench.window.toolkit.display import NoDisplay

# The wait for the first picture of the panels, which take a second to start and a tenth of one to draw.
_PATIENCE_NS = 20 * NANOSECONDS
_STRIP_PATIENCE_S = 20.0
# Pictures per second of a video: as many as there are samples.
FILM_FPS = 10
# The wait for the panels of one picture of a video; they draw none when nothing is new.
_PANELS_PATIENCE_NS = NANOSECONDS // 4


class _Stopped(Exception):
    """A signal asked for the end before the video was complete."""


def replay_recording(
    path: Path,
    *,
    from_s: float | None = None,
    to_s: float | None = None,
    screenshot: Path | None = None,
    video: Path | None = None,
    commands: Mapping[str, Sequence[str]] = COMMANDS,
) -> tuple[int, Scenario | None]:
    """Show it until the window is closed, or write a screenshot of its end, or a video of the window.

    Returns the exit code, and the scenario that was chosen in the window. Raises UserError before anything is started,
    RunError for a picture that cannot be made.
    """
    require_outputs({"--screenshot": screenshot, "--video": video}, [path])
    if video is not None and video.suffix.lower() != ".mp4":
        raise UserError(
            f"--video {video}: the window is filmed as .mp4 only; 'workbench export' writes .gif .webp .apng"
        )
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
        elif video is not None:
            _film(session, stop, video)
            wanted = None
        else:
            wanted = _show(session, stop)
    for line in [*session.failures, *session.tracebacks]:
        print(line, file=sys.stderr)
    return (1 if session.failed else 0), wanted


@contextmanager
def _started(session: ReplaySession, *, at_end: bool) -> Iterator[ReplaySession]:
    """The session, started at its first or at its last moment."""
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
    """Write the last moment, with its panels and the filmstrip."""
    with _headless(session, stop) as window:
        window.save(path)


@contextmanager
def _headless(session: ReplaySession, stop: StopSignal) -> Iterator[Window]:
    """A window in memory, as soon as its panels are drawn at its size. Raises RunError when they cannot be."""
    picture, deadline_ns = Picture(session.picture), clock.now_ns() + _PATIENCE_NS
    with closing(Window(session, headless=True)) as window:
        session.filmstrip.wait(_STRIP_PATIENCE_S)
        while not stop.asked and not session.failed and clock.now_ns() < deadline_ns:
            window.draw()
            drawn = picture.read(0)
            if drawn is not None and drawn[1].shape[1::-1] == window.panels_size:
                break
            session.wait(0.05)
            session.poll(clock.now_ns())
        if session.failed:
            raise RunError("; ".join(session.failures))
        yield window


def _film(session: ReplaySession, stop: StopSignal, path: Path) -> None:
    """Write all of it as the window shows it, at its own speed. A video that was stopped is not kept."""
    count = session.transport.duration_ns * FILM_FPS // NANOSECONDS + 1
    with suppress(_Stopped), _headless(session, stop) as window, export_progress() as progress:
        height, width, _ = window.picture().shape
        with open_video(path, (width, height), FILM_FPS) as film:
            for picture in progress.each(_pictures(session, window, stop), "pictures", count):
                film.write(picture)


def _pictures(session: ReplaySession, window: Window, stop: StopSignal) -> Iterator[NDArray[np.uint8]]:
    """The window at each tenth of a second of the recording, however long that takes. Raises _Stopped or RunError."""
    now_ns, panels = clock.now_ns(), Picture(session.picture)
    session.poll(now_ns)  # While it is held, so that the time since its start is not played.
    session.transport.toggle()
    while True:
        serial = panels.serial
        session.poll(now_ns)
        deadline_ns = clock.now_ns() + _PANELS_PATIENCE_NS
        while panels.serial == serial and clock.now_ns() < deadline_ns and not session.failed:
            session.wait(0.005)
        if session.failed:
            raise RunError("; ".join(session.failures))
        if stop.asked:
            raise _Stopped
        window.step(now_ns)
        yield window.picture()
        if session.transport.at_end:
            return
        now_ns += NANOSECONDS // FILM_FPS
