"""The base classes of everything the window shows: views with a box of their own, and overlays on top of them.

A subclass defines what differs; the meaning of each method is documented here only. A view touches only its
box and draws only what differs from what it drew last; `forget` makes it draw everything again.
"""

from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene


class Placed:
    """Something with a box of its own, in which it remembers what it drew last."""

    # What decided the last picture; None: nothing is drawn yet.
    _drawn: object = None

    def place(self, box: pygame.Rect, pen: Painter) -> None:
        """Use this box and this painter from now on; the next draw draws everything."""
        self._box, self._pen = box.copy(), pen  # A copy: a pygame.Rect is mutable, and callers move theirs.
        # Before `forget`: some views use their new boxes there.
        self._lay_out()
        self.forget()

    def forget(self) -> None:
        """Draw everything next time."""
        self._drawn = None

    def _lay_out(self) -> None:
        """Compute the boxes of the parts, once the own box is known."""

    def _changed(self, state: object) -> bool:
        """Whether `state`, which decides the picture, differs from the last one. It is the last one from now on."""
        # Compared by value: views pass tuples of what they show, so an equal picture is not drawn again.
        if state == self._drawn:
            return False
        self._drawn = state
        return True


class Drawable(Placed):
    """A part of the window that shows a scene."""

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        """Draw what changed. Returns the rectangles that changed."""
        raise NotImplementedError


class Handler:
    """Something that reacts to mouse and keys. As it is, it has the focus as a whole, and the window marks that."""

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """Handle an event. True when it was meant for this view: then no other view gets it.

        While a button is held down, the view that took the press gets all mouse events, wherever the mouse is, except
        those of other buttons, which no view gets. A wheel event has a `pos` like the others. When the mouse moves on
        to another view, this one gets WINDOWLEAVE. A key goes first to the view with the focus, then to the window,
        then to every view: take only those that belong to this view.
        """
        return False

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        """The tooltip for a position, one line or several; "" for none."""
        return ""


class Focusable(Handler):
    """A handler with items that can have the keyboard focus, which it marks itself. As it is, it has one item."""

    _focused = False

    def step_focus(self, step: int) -> bool:
        """Focus the next item (1) or the previous (-1); when none has the focus, the first or the last.

        False when there is no further item: then none has the focus.
        """
        # One item: a step onto it focuses it, the next step, in either direction, leaves the view.
        self._focused = not self._focused
        return self._focused

    def drop_focus(self) -> None:
        """Take the focus from whichever item has it."""
        self._focused = False


class Overlay:
    """A card on top of the picture. It is opaque, and knows its box before it is drawn: what it covered is restored."""

    def content(self, scene: Scene) -> object:
        """What it shows, or None while it is not shown. The window draws it again when this changes."""
        raise NotImplementedError

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """Where it is, inside `screen`."""
        raise NotImplementedError

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        """Draw all of it."""
        raise NotImplementedError
