"""Shared by the tests of the column of knobs."""

from support.window_stage import FakeSession
from workbench.window.shell.window import Window
from workbench.window.toolkit.display import pygame

SIZE = (1280, 720)


SECOND_NS = 1_000_000_000


class Hand:
    """Does what a person does to a window on SDL's dummy display, by pygame's event queue."""

    def __init__(self, session: FakeSession) -> None:
        self.session, self.window = session, Window(session, size=SIZE)
        self.now_ns = 0
        self.step()

    def step(self, passed_ns: int = 10 * SECOND_NS) -> pygame.Surface:
        self.now_ns += passed_ns
        return self.window.step(self.now_ns)

    def box(self, key: str) -> pygame.Rect:
        """Where a widget is seen."""
        knobs = self.window._layout.knobs
        placed = knobs._find(key)
        assert placed is not None, key
        seen = knobs._seen(placed)
        assert seen is not None, f"{key} is out of sight"
        return seen

    def show(self, key: str) -> None:
        """Scroll until a widget of the body is seen."""
        knobs = self.window._layout.knobs
        placed = knobs._find(key)
        assert placed is not None
        self.move(knobs._zones[1].center)
        for _ in range(60):
            body = knobs._zones[1]
            if body.contains(knobs._shown(placed)):
                return
            self.post(pygame.MOUSEWHEEL, x=0, y=-1 if knobs._shown(placed).bottom > body.bottom else 1)
            self.step()
        raise AssertionError(f"{key} cannot be scrolled to")

    def post(self, kind: int, **attributes: object) -> None:
        pygame.event.post(pygame.event.Event(kind, **attributes))

    def move(self, at: tuple[int, int]) -> None:
        self.post(pygame.MOUSEMOTION, pos=at, rel=(0, 0), buttons=(0, 0, 0))

    def press(self, at: tuple[int, int], passed_ns: int = 10 * SECOND_NS) -> None:
        self.post(pygame.MOUSEBUTTONDOWN, pos=at, button=1)
        self.step(passed_ns)

    def release(self, at: tuple[int, int]) -> None:
        self.post(pygame.MOUSEBUTTONUP, pos=at, button=1)
        self.step(0)

    def click(self, at: tuple[int, int], passed_ns: int = 10 * SECOND_NS) -> None:
        self.press(at, passed_ns)
        self.release(at)

    def key(self, *keys: int, mod: int = 0) -> None:
        for key in keys:
            self.post(pygame.KEYDOWN, key=key, mod=mod)
            self.step()

    def focus(self, key: str) -> None:
        """Tab until a widget has the focus."""
        for _ in range(80):
            if self.window._layout.knobs._focus == key:
                return
            self.key(pygame.K_TAB)
        raise AssertionError(f"{key} cannot be reached by tab")
