"""What the views draw from: the `Scene` of one redraw, and the `Session` and `Replay` that the window works with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from plots.ipc import ShowPanels
from server.ipc.page import Page
from workbench.controls.controls import Controls
from workbench.controls.playhead import Transport
from workbench.telemetry.view import Journey, Marker, Reading, TileBox, View


class Filmstrip(Protocol):
    """Thumbnails of the canvas at moments of a replay."""

    @property
    def times_ns(self) -> Sequence[int]:
        """The moments, in ascending order."""

    @property
    def made_count(self) -> int:
        """Number of thumbnails that are ready, from the first on."""

    def picture(self, index: int) -> NDArray[Any] | None:
        """Palette indices, shape (height, width), uint8, never modified; None while not ready."""


class Replay(Protocol):
    """What a recorded session offers in addition."""

    @property
    def transport(self) -> Transport:
        """Position and speed."""

    @property
    def filmstrip(self) -> Filmstrip:
        """Thumbnails of its canvas."""

    @property
    def markers(self) -> Sequence[Marker]:
        """The events of the run, such as changed knobs and faults, oldest first."""

    def step_tick(self, step: int) -> None:
        """Pause at the next tick (1) or the previous one (-1)."""


class Session(Protocol):
    """What the window needs of a session. No method blocks."""

    @property
    def picture(self) -> Page:
        """The panels' double buffer: `page.picture_sections()`."""

    @property
    def canvas_page(self) -> Page:
        """Pixels, who painted them and when, and counters per tile: `page.canvas_sections()`. Read only."""

    @property
    def connections_page(self) -> Page:
        """The server's live connection table: `page.connection_sections()`. Read only."""

    @property
    def fleet_page(self) -> Page:
        """What the fleet sees: `page.fleet_sections()`. Read only."""

    @property
    def replay(self) -> Replay | None:
        """Controls of a recorded session; None for a live one."""

    @property
    def controls(self) -> Controls:
        """Knobs, brakes and faults, with undo."""

    def poll(self, now_ns: int) -> None:
        """Update the state, without blocking."""

    def view(self) -> View:
        """The frozen state to show."""

    def resize_panels(self, width: int, height: int, scale: float) -> None:
        """Ask for panels of this size in pixels."""

    def show_panels(self, order: ShowPanels) -> None:
        """Ask for these panels."""

    def brush(self, tiles: TileBox | None) -> None:
        """Let the panels count only placements in these tiles; None: in the whole canvas."""

    def follow(self, number: int | None) -> None:
        """Trace this connection's placements; None: trace none."""

    def journeys(self) -> Sequence[Journey]:
        """The latest journeys of the traced connection, oldest first."""

    def paint(self, x: int, y: int, color: int) -> None:
        """Place one pixel by hand, over a connection of its own."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything one redraw shows, and the session to act on."""

    session: Session
    view: View
    reading: Reading
    """For figures: updated a few times per second, since faster numbers cannot be read."""
    pixels: NDArray[Any]
    """Shape (height, width), uint8: the canvas, or its copy while paused."""
    picture: Page
    paused: bool
    fps: float | None
    cpu_cores: float | None
    """CPU use of this process."""

    @property
    def loading(self) -> bool:
        """Whether server or fleet are still starting, so that there is nothing to show yet."""
        # Panels may still be starting: canvas and figures can be shown without them.
        before = ("starting", "compiling", "connecting")
        return self.view.run_seconds == 0 and any(
            part.state in before for part in self.view.parts if part.name != "panels"
        )
