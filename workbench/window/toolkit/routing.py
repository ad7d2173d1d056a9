"""Who gets what the person does: the view under the mouse, the one that holds a button, the one with the focus.

Not what is done with it: that is the view's. It draws nothing. Invariant: from a press that a view took until its
release, all that the mouse does is that view's, and other buttons do nothing.
"""

from collections.abc import Sequence

from workbench.window.toolkit.scene import Focusable, Handler, Scene
from workbench.window.toolkit.toolkit import pygame

TIP_REST_NS = 400_000_000
"""The mouse rests for so long before it is taken for a question."""
BUTTONS = (1, 2, 3)
"""Left, middle, right. pygame tells the wheel as buttons 4 and 5 too, beside the wheel's own event."""

Targets = Sequence[tuple[Handler, pygame.Rect]]
"""Views and where they are: what lies on top comes first, and beside each other in the order of reading."""


class Router:
    """Hands events to views, and knows which of them has the focus."""

    def __init__(self) -> None:
        self.focused: Handler | None = None
        self.ring_shown = False
        """The focus came by the keyboard, so it must be seen."""
        self._captor: Handler | None = None
        self._captor_button = 0
        self._under: Handler | None = None
        self._position: tuple[int, int] | None = None
        self._rests_since_ns = 0
        self._asks = False
        """Whether the mouse was moved since the last key."""

    def route(self, event: pygame.event.Event, targets: Targets, scene: Scene, now_ns: int) -> bool:
        """Give an event of mouse or keyboard to the view it is meant for. True when one took it."""
        if self._captor is not None and all(view is not self._captor for view, _ in targets):
            self._captor = None  # It is gone, and the release with it.
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
                self._asks = False  # Who works with keys has no question: a tip would lie on what they opened.
                return self._has_focus(targets) and self._handled_by_focus(event, scene, now_ns)
        return False

    def offer(self, event: pygame.event.Event, targets: Targets, scene: Scene, now_ns: int) -> bool:
        """Give a key that neither the focus nor the window wants to whoever does."""
        return any(view.handle(event, scene, now_ns) for view, _ in targets if view is not self.focused)

    def move_focus(self, step: int, targets: Targets) -> None:
        """Give the focus to the next (1) or the previous (-1) item: of the same view, or of the next that has one."""
        self.ring_shown = True
        views = [view for view, _ in targets]
        focused = self.focused if self._has_focus(targets) else None
        if isinstance(focused, Focusable) and focused.step_focus(step):
            return
        start = views.index(focused) if focused else (-1 if step > 0 else len(views))
        self.focus(None)
        for distance in range(1, len(views) + 1):
            view = views[(start + step * distance) % len(views)]
            if not isinstance(view, Focusable) or view.step_focus(step):
                self.focused = view
                return

    def focus(self, view: Handler | None) -> None:
        """Give the focus to this view, or to nobody."""
        if isinstance(self.focused, Focusable) and self.focused is not view:
            self.focused.drop_focus()
        self.focused = view

    def tip(self, targets: Targets, scene: Scene, now_ns: int) -> tuple[str, tuple[int, int]] | None:
        """What there is to say of where the mouse rests, and where that is; None while it moves or holds something."""
        position = self._position
        asks = self._asks and self._captor is None and now_ns - self._rests_since_ns >= TIP_REST_NS
        if position is None or not asks:
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
        if event.pos != self._position:
            self._position, self._rests_since_ns, self._asks = event.pos, now_ns, True
        if self._captor is not None:
            return self._captor.handle(event, scene, now_ns)
        under = next((view for view, box in targets if box.collidepoint(event.pos)), None)
        self._leave(under, pygame.event.Event(pygame.WINDOWLEAVE), scene, now_ns)
        return under is not None and under.handle(event, scene, now_ns)

    def _leave(self, under: Handler | None, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """Tell the view that the mouse was over that it is no longer."""
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
        self._captor = None
        return captor.handle(event, scene, now_ns)

    def _wheel(self, event: pygame.event.Event, targets: Targets, scene: Scene, now_ns: int) -> bool:
        """Events of the wheel, and of two fingers, do not say where the mouse is: it is told along."""
        self._rests_since_ns = now_ns
        position = self._position
        if position is None:
            return False
        placed = pygame.event.Event(event.type, {**event.dict, "pos": position})
        if self._captor is not None:
            return self._captor.handle(placed, scene, now_ns)
        return any(view.handle(placed, scene, now_ns) for view, box in targets if box.collidepoint(position))
