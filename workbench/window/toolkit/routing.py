"""Decides which view gets an event: the view under the mouse, the one that captured the mouse, or the focused one.

It draws nothing and acts on nothing. From a press that a view took until the release of that button, that
view gets all mouse events, and other buttons are ignored.
"""

from collections.abc import Sequence

from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.view import Focusable, Handler

# The mouse must rest this long before a tooltip is shown.
TIP_REST_NS = 400_000_000
# Left, middle, right. pygame also reports the wheel as buttons 4 and 5, in addition to MOUSEWHEEL.
BUTTONS = (1, 2, 3)

# Views and their boxes: topmost first, those on one level in reading order.
Targets = Sequence[tuple[Handler, pygame.Rect]]


class Router:
    """Dispatches events to views, and keeps the focus."""

    def __init__(self) -> None:
        self.focused: Handler | None = None
        self.ring_shown = False
        """The focus was moved by keyboard, so it is marked."""
        self._captor: Handler | None = None
        self._captor_button = 0
        self._under: Handler | None = None
        self._position: tuple[int, int] | None = None
        self._rests_since_ns = 0
        # Whether the mouse moved since the last key press.
        self._tip_allowed = False

    def route(self, event: pygame.event.Event, targets: Targets, scene: Scene, now_ns: int) -> bool:
        """Dispatch a mouse or keyboard event. True when a view took it."""
        if self._captor is not None and all(view is not self._captor for view, _ in targets):
            self._captor = None  # The view has gone, so it gets no release.
        match event.type:
            case pygame.MOUSEMOTION:
                return self._move(event, targets, scene, now_ns)
            case pygame.MOUSEBUTTONDOWN:
                return event.button in BUTTONS and self._press(event, targets, scene, now_ns)
            case pygame.MOUSEBUTTONUP:
                return self._release(event, targets, scene, now_ns)
            case pygame.MOUSEWHEEL | pygame.MULTIGESTURE:
                return self._wheel(event, targets, scene, now_ns)
            case pygame.WINDOWLEAVE:
                self._position = None
                return self._leave(None, event, scene, now_ns)
            case pygame.KEYDOWN:
                self._tip_allowed = False  # A tooltip would cover what the key opens.
                return self._has_focus(targets) and self._handled_by_focus(event, scene, now_ns)
        return False

    def offer(self, event: pygame.event.Event, targets: Targets, scene: Scene, now_ns: int) -> bool:
        """Offer a key that neither the focused view nor the window took to all other views."""
        return any(view.handle(event, scene, now_ns) for view, _ in targets if view is not self.focused)

    def move_focus(self, step: int, targets: Targets) -> None:
        """Move the focus to the next (1) or previous (-1) item, in the same view or in the next one that has items."""
        self.ring_shown = True
        views = [view for view, _ in targets]
        focused = self.focused if self._has_focus(targets) else None
        if isinstance(focused, Focusable) and focused.step_focus(step):
            return
        # Without a focus, a step forward starts before the first view, a step back after the last.
        start = views.index(focused) if focused else (-1 if step > 0 else len(views))
        # The old view drops its focus before another takes it: two marked items would be ambiguous.
        self.focus(None)
        for distance in range(1, len(views) + 1):
            view = views[(start + step * distance) % len(views)]
            if not isinstance(view, Focusable) or view.step_focus(step):
                self.focused = view
                return

    def focus(self, view: Handler | None) -> None:
        """Focus this view; None: no view."""
        if isinstance(self.focused, Focusable) and self.focused is not view:
            self.focused.drop_focus()
        self.focused = view

    def tip(self, targets: Targets, scene: Scene, now_ns: int) -> tuple[str, tuple[int, int]] | None:
        """The tooltip of where the mouse rests, and that position; None while it moves or a button is held."""
        position = self._position
        may_show = self._tip_allowed and self._captor is None and now_ns - self._rests_since_ns >= TIP_REST_NS
        if position is None or not may_show:
            return None
        for view, box in targets:
            if box.collidepoint(position):
                text = view.tip(position, scene)
                return (text, position) if text else None
        return None

    def _has_focus(self, targets: Targets) -> bool:
        return self.focused is not None and any(view is self.focused for view, _ in targets)

    def _handled_by_focus(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        return self.focused is not None and self.focused.handle(event, scene, now_ns)

    def _move(self, event: pygame.event.Event, targets: Targets, scene: Scene, now_ns: int) -> bool:
        # SDL also sends MOUSEMOTION without a motion, for example when the window moves: the mouse still rests.
        if event.pos != self._position:
            self._position, self._rests_since_ns, self._tip_allowed = event.pos, now_ns, True
        if self._captor is not None:
            return self._captor.handle(event, scene, now_ns)
        under = next((view for view, box in targets if box.collidepoint(event.pos)), None)
        self._leave(under, pygame.event.Event(pygame.WINDOWLEAVE), scene, now_ns)
        return under is not None and under.handle(event, scene, now_ns)

    def _leave(self, under: Handler | None, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """Send WINDOWLEAVE to the view that the mouse was over."""
        left, self._under = self._under, under
        return left is not None and left is not under and left.handle(event, scene, now_ns)

    def _press(self, event: pygame.event.Event, targets: Targets, scene: Scene, now_ns: int) -> bool:
        self._position, self._rests_since_ns = event.pos, now_ns
        if self._captor is not None:
            return event.button != self._captor_button or self._captor.handle(event, scene, now_ns)
        self.ring_shown = False
        for view, box in targets:
            if box.collidepoint(event.pos) and view.handle(event, scene, now_ns):
                self._captor, self._captor_button = view, event.button
                self.focus(view)
                return True
        self.focus(None)
        return False

    def _release(self, event: pygame.event.Event, targets: Targets, scene: Scene, now_ns: int) -> bool:
        self._rests_since_ns = now_ns
        captor = self._captor
        if captor is None or event.button != self._captor_button:
            return captor is not None
        self._captor = None  # First: if the view fails, the mouse must not stay captured.
        return captor.handle(event, scene, now_ns)

    def _wheel(self, event: pygame.event.Event, targets: Targets, scene: Scene, now_ns: int) -> bool:
        """Events of wheel and touchpad carry no mouse position: add it as `pos`."""
        self._rests_since_ns = now_ns
        position = self._position
        if position is None:
            return False
        # A copy: pygame's events are shared with the queue, and their attributes should stay as they came.
        placed = pygame.event.Event(event.type, {**event.dict, "pos": position})
        # A drag that leaves its view still belongs to it, and no other view may react to it meanwhile.
        if self._captor is not None:
            return self._captor.handle(placed, scene, now_ns)
        return any(view.handle(placed, scene, now_ns) for view, box in targets if box.collidepoint(position))
