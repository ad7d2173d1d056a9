"""What a view of the window is given to draw from, and what every such view promises.

Invariant: a view touches only its box, and draws only what differs from what it drew last; `forget` makes it draw all
of it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from server.ipc.control import ShowPanels
from server.ipc.page import Page
from workbench.controls.controls import Controls
from workbench.controls.playhead import Transport
from workbench.telemetry.view import Journey, Marker, Reading, TileBox, View
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.toolkit import pygame


class Filmstrip(Protocol):
    """Small pictures of the canvas at moments of a replay."""

    @property
    def times_ns(self) -> Sequence[int]:
        """The moments, ascending."""
        ...

    @property
    def made_count(self) -> int:
        """So many pictures are there, from the first on."""
        ...

    def picture(self, index: int) -> NDArray[Any] | None:
        """Palette indices, shape (height, width), uint8, never changed; None while it is not made."""
        ...


class Replay(Protocol):
    """What a session of the past can be asked for beside."""

    @property
    def transport(self) -> Transport:
        """Where it is, and how fast it goes on."""
        ...

    @property
    def filmstrip(self) -> Filmstrip:
        """Its canvas at a glance."""
        ...

    @property
    def markers(self) -> Sequence[Marker]:
        """All that was done to the run, oldest first."""
        ...

    def step_tick(self, step: int) -> None:
        """Hold at the next tick (1) or the one before (-1)."""
        ...


class Session(Protocol):
    """What the window asks of a session; it is never made to wait for more."""

    @property
    def picture(self) -> Page:
        """The panels' double buffer: `page.picture_sections()`."""
        ...

    @property
    def canvas_page(self) -> Page:
        """Pixels, who painted them and when, and what became of each tile: `page.canvas_sections()`. Read only."""
        ...

    @property
    def connections_page(self) -> Page:
        """The server's connections as it works on them: `page.connection_sections()`. Read only."""
        ...

    @property
    def fleet_page(self) -> Page:
        """What the fleet sees: `page.fleet_sections()`. Read only."""
        ...

    @property
    def replay(self) -> Replay | None:
        """By what a recorded session is wound back and forth; None for a live one."""
        ...

    @property
    def controls(self) -> Controls:
        """The knobs, brakes and faults, with their undo."""
        ...

    def poll(self, now_ns: int) -> None:
        """Take note of what happened, without waiting."""
        ...

    def view(self) -> View:
        """The frozen state to show."""
        ...

    def resize_panels(self, width: int, height: int, scale: float) -> None:
        """Have the panels drawn at this size from now on, in pixels."""
        ...

    def show_panels(self, order: ShowPanels) -> None:
        """Have the panels show this from now on."""
        ...

    def brush(self, tiles: TileBox | None) -> None:
        """Have the panels count only what is placed in these tiles; None: all of the canvas."""
        ...

    def follow(self, number: int | None) -> None:
        """Note the journeys of this connection's placements; None: of nobody's."""
        ...

    def journeys(self) -> Sequence[Journey]:
        """The newest journeys of the followed connection, oldest first."""
        ...

    def paint(self, x: int, y: int, color: int) -> None:
        """Place one pixel by hand, as a client with a connection of its own."""
        ...


@dataclass(frozen=True, slots=True)
class Scene:
    """All that one redraw shows, and whom to ask for what a person wants done."""

    session: Session
    view: View
    reading: Reading
    """As the figures show it: renewed a few times a second, because faster numbers are not read."""
    pixels: NDArray[Any]
    """Shape (height, width), uint8: the canvas, or the copy that a paused view holds."""
    picture: Page
    paused: bool
    fps: float | None
    cpu_cores: float | None
    """Of this process."""

    @property
    def loading(self) -> bool:
        """Server or fleet are on their way: there is nothing to see yet."""
        before = ("starting", "compiling", "connecting")
        return self.view.run_seconds == 0 and any(
            part.state in before for part in self.view.parts if part.name != "panels"
        )


class Drawable(Protocol):
    """A part of the window with a box of its own."""

    def place(self, box: pygame.Rect, pen: Painter) -> None:
        """Take this box from now on; the next draw draws all of it."""
        ...

    def forget(self) -> None:
        """Draw all of it next time."""
        ...

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        """Draw what changed. Returns the rectangles that did."""
        ...


@runtime_checkable
class Handler(Protocol):
    """Something that can be worked with by mouse and keys."""

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """Take what the person did. True when it was meant for this view: then nobody else gets it.

        While a button is held down, the view that took its press gets all that the mouse does, wherever it goes, but
        for other buttons, which nobody gets. A wheel event has `pos`, as the others have. When the mouse goes
        elsewhere, the view is told by WINDOWLEAVE. A key comes first to the view with the focus, then to the window,
        then to every view: take only those that are yours.
        """
        ...

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        """What there is to know about what is under the mouse, in a line or several; "" when there is nothing."""
        ...


@runtime_checkable
class Focusable(Handler, Protocol):
    """A view with items of its own for the keyboard's focus, which it marks itself.

    One that is a handler only has the focus as a whole, and the window marks it.
    """

    def step_focus(self, step: int) -> bool:
        """Give the focus to the next item (1) or the previous (-1), or when none has it to the first or the last.

        False when there is no further one: then no item has it.
        """
        ...

    def drop_focus(self) -> None:
        """No item has the focus any more."""
        ...
