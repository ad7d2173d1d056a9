"""What a view of the window is given to draw from, and what every such view promises.

Invariant: a view touches only its box, and draws only what differs from what it drew last; `forget` makes it draw all
of it again.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from server.page import Page
from workbench.view import Reading, View
from workbench.window.pen import Pen
from workbench.window.toolkit import pygame


class Session(Protocol):
    """What the window asks of a session; it is never made to wait for more."""

    @property
    def picture(self) -> Page:
        """The panels' double buffer: `page.picture_sections()`."""
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


@dataclass(frozen=True, slots=True)
class Scene:
    """All that one redraw shows."""

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

    def place(self, box: pygame.Rect, pen: Pen) -> None:
        """Take this box from now on; the next draw draws all of it."""
        ...

    def forget(self) -> None:
        """Draw all of it next time."""
        ...

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        """Draw what changed. Returns the rectangles that did."""
        ...
