"""`workbench run --gallery`: pictures of every view of the window at three sizes, from real runs, without a display.

The window says which views there are. A picture is taken only after the panels were drawn for it.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from plots.ipc import Picture
from server.system import clock, open_files
from workbench.address import address_of
from workbench.errors import RunError, UserError
from workbench.scenarios.scenario import load_scenario
from workbench.session.session import COMMANDS, Session
from workbench.stop_signal import StopSignal
from workbench.telemetry.counters import NANOSECONDS
from workbench.window.shell.layout import VIEWS
from workbench.window.shell.window import Window

# Scenarios and overrides: one that runs well, and one with a bottleneck.
RUNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("first_light", ()),
    ("overload", ("load_curve=[]", "server.brakes.apply.item_us=60")),
)
SIZES = ((1280, 720), (1920, 1080), (3840, 2160))
# Time before the first picture, so that the panels have data to show.
LOAD_S = 20.0
# For one drawing of the panels, which takes half a second at the largest size.
_PATIENCE_S = 20.0


def make_gallery(
    folder: Path,
    overrides: Sequence[str] = (),
    commands: Mapping[str, Sequence[str]] = COMMANDS,
    *,
    load_s: float = LOAD_S,
    sizes: Sequence[tuple[int, int]] = SIZES,
) -> int:
    """Write SCENARIO-VIEW-WIDTHxHEIGHT.png of each into the folder, and print their names. Returns the exit code.

    Raises UserError if the folder cannot be created, RunError if a run fails.
    """
    _make_folder(folder)
    open_files.raise_to_hard()
    with StopSignal() as stop:
        for name, own in RUNS:
            scenario = load_scenario(name, [*own, *overrides])
            if warning := address_of(scenario.server).warning:
                print(warning, file=sys.stderr)
            session = Session(scenario, with_panels=True, commands=commands)
            try:
                session.start(clock.now_ns())
                _Photographer(session, stop, folder, load_s).take_all(sizes)
            finally:
                session.end(is_checked=False)
                session.close()
            if stop.asked:
                return 0
    return 0


class _Photographer:
    """Takes the pictures of one session."""

    def __init__(self, session: Session, stop: StopSignal, folder: Path, load_s: float) -> None:
        self._session, self._stop, self._folder, self._load_s = session, stop, folder, load_s

    def take_all(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Take every view at every size, or until a signal."""
        session = self._session
        self._poll_until(lambda: session.view().run_seconds >= self._load_s)
        for size in sizes:
            with closing(Window(session, size=size, headless=True)) as window:
                for view in VIEWS:
                    if not self._stop.asked:
                        self._take(window, view, size)

    def _take(self, window: Window, view: str, size: tuple[int, int]) -> None:
        window.show_view(view)
        picture = Picture(self._session.picture)
        # From here on: pictures before this one may show another view.
        first, deadline_ns = picture.serial, clock.now_ns() + int(_PATIENCE_S * NANOSECONDS)

        def is_drawn() -> bool:
            window.draw()  # It asks for panels that fit, once its own layout is final.
            # The drawing under way may be in the colours before; the one after it is not.
            found = picture.read(first + 1)
            is_new = found is not None and found[0] > first and found[1].shape[1::-1] == window.panels_size
            return is_new or clock.now_ns() > deadline_ns

        self._poll_until(is_drawn)
        path = self._folder / f"{self._session.scenario.name}-{view}-{size[0]}x{size[1]}.png"
        window.save(path)
        print(path, flush=True)

    def _poll_until(self, condition: Callable[[], bool]) -> None:
        """Let the run continue until the condition holds. Raises RunError when a part fails."""
        while not condition() and not self._stop.asked:
            self._session.wait(0.1)
            self._session.poll(clock.now_ns())
            if self._session.failed:
                for text in self._session.tracebacks:
                    print(text, file=sys.stderr)
                raise RunError("; ".join(self._session.failures))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError:
        raise UserError(f"--gallery {folder} is a file; give the name of a folder") from None
    except FileNotFoundError:
        raise UserError(f"--gallery {folder}: there is no folder {folder.parent}; make it first") from None
    except OSError as error:
        raise UserError(f"--gallery {folder} cannot be made: {error.strerror}; choose another place") from None
