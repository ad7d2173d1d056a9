"""Event routing: presses and their capture, wheel, keys by focus, tooltips of a resting mouse."""

from dataclasses import dataclass, field

import pytest

from support.window_stage import FakeSession, headless, heat_map
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.routing import TIP_REST_NS, Router, Targets
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.view import Focusable, Handler

LEFT, RIGHT = pygame.Rect(0, 0, 100, 100), pygame.Rect(100, 0, 100, 100)


@dataclass
class Recorder(Handler):
    """A view that records its events."""

    takes: bool = True
    tip_text: str = ""
    events: list[pygame.event.Event] = field(default_factory=list)

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        self.events.append(event)
        return self.takes

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        return self.tip_text

    def types(self) -> list[int]:
        return [event.type for event in self.events]


@dataclass
class ItemsRecorder(Recorder, Focusable):
    """A view with two focusable items."""

    item: int | None = None

    def step_focus(self, step: int) -> bool:
        following = (0 if step > 0 else 1) if self.item is None else self.item + step
        self.item = following if following in (0, 1) else None
        return self.item is not None

    def drop_focus(self) -> None:
        self.item = None


@pytest.fixture(scope="module")
def scene() -> Scene:
    session = FakeSession(heat_map(8, 8))
    return headless(session, (1280, 720))._scene(session.view(), 0)


def mouse(kind: int, at: tuple[int, int], button: int = 1) -> pygame.event.Event:
    return pygame.event.Event(kind, pos=at, button=button)


def move(at: tuple[int, int]) -> pygame.event.Event:
    return pygame.event.Event(pygame.MOUSEMOTION, pos=at, rel=(0, 0), buttons=(0, 0, 0))


def test_a_press_goes_to_the_topmost_view_that_takes_it(scene: Scene) -> None:
    router, top, below = Router(), Recorder(takes=False), Recorder()
    targets: Targets = [(top, LEFT), (below, LEFT)]
    assert router.route(mouse(pygame.MOUSEBUTTONDOWN, (5, 5)), targets, scene, 0)
    assert top.types() == below.types() == [pygame.MOUSEBUTTONDOWN]
    top.takes = True
    router.route(mouse(pygame.MOUSEBUTTONUP, (5, 5)), targets, scene, 0)
    router.route(mouse(pygame.MOUSEBUTTONDOWN, (5, 5)), targets, scene, 0)
    assert len(top.events) == 2 and len(below.events) == 2


def test_the_view_that_took_the_press_captures_the_mouse(scene: Scene) -> None:
    router, left, right = Router(), Recorder(), Recorder()
    targets: Targets = [(left, LEFT), (right, RIGHT)]
    router.route(mouse(pygame.MOUSEBUTTONDOWN, (5, 5)), targets, scene, 0)
    router.route(move((150, 5)), targets, scene, 0)
    router.route(mouse(pygame.MOUSEBUTTONDOWN, (150, 5), 3), targets, scene, 0)
    router.route(mouse(pygame.MOUSEBUTTONUP, (150, 5), 3), targets, scene, 0)
    router.route(mouse(pygame.MOUSEBUTTONUP, (150, 5)), targets, scene, 0)
    assert left.types() == [pygame.MOUSEBUTTONDOWN, pygame.MOUSEMOTION, pygame.MOUSEBUTTONUP] and right.events == []
    router.route(move((151, 5)), targets, scene, 0)
    assert right.types() == [pygame.MOUSEMOTION]


def test_a_removed_view_loses_its_capture(scene: Scene) -> None:
    router, left, right = Router(), Recorder(), Recorder()
    router.route(mouse(pygame.MOUSEBUTTONDOWN, (5, 5)), [(left, LEFT), (right, RIGHT)], scene, 0)
    router.route(mouse(pygame.MOUSEBUTTONDOWN, (150, 5)), [(right, RIGHT)], scene, 0)
    assert right.types() == [pygame.MOUSEBUTTONDOWN]


def test_wheel_events_get_a_position_and_wheel_buttons_are_ignored(scene: Scene) -> None:
    router, left = Router(), Recorder()
    targets: Targets = [(left, LEFT)]
    assert not router.route(pygame.event.Event(pygame.MOUSEWHEEL, x=0, y=1), targets, scene, 0)
    router.route(move((7, 9)), targets, scene, 0)
    router.route(mouse(pygame.MOUSEBUTTONDOWN, (7, 9), 4), targets, scene, 0)
    assert router.route(pygame.event.Event(pygame.MOUSEWHEEL, x=0, y=1), targets, scene, 0)
    assert left.types() == [pygame.MOUSEMOTION, pygame.MOUSEWHEEL]
    assert left.events[-1].pos == (7, 9) and left.events[-1].y == 1


def test_a_view_gets_leave_when_the_mouse_moves_to_another(scene: Scene) -> None:
    router, left, right = Router(), Recorder(), Recorder()
    targets: Targets = [(left, LEFT), (right, RIGHT)]
    router.route(move((5, 5)), targets, scene, 0)
    router.route(move((150, 5)), targets, scene, 0)
    router.route(pygame.event.Event(pygame.WINDOWLEAVE), targets, scene, 0)
    assert left.types() == right.types() == [pygame.MOUSEMOTION, pygame.WINDOWLEAVE]


def test_tab_cycles_through_items_and_views(scene: Scene) -> None:
    router, items, whole = Router(), ItemsRecorder(), Recorder()
    targets: Targets = [(items, LEFT), (whole, RIGHT)]
    seen = []
    for _ in range(4):
        router.move_focus(1, targets)
        seen.append((router.focused is items, items.item))
    assert seen == [(True, 0), (True, 1), (False, None), (True, 0)]
    router.move_focus(-1, targets)
    assert router.focused is whole and items.item is None
    router.move_focus(-1, targets)
    assert router.focused is items and items.item == 1 and router.ring_shown


def test_keys_go_to_the_focused_view_first(scene: Scene) -> None:
    router, left, right = Router(), Recorder(takes=False), Recorder()
    targets: Targets = [(left, LEFT), (right, RIGHT)]
    key = pygame.event.Event(pygame.KEYDOWN, key=pygame.K_a)
    assert not router.route(key, targets, scene, 0) and left.events == []
    router.move_focus(1, targets)
    assert not router.route(key, targets, scene, 0)
    assert router.offer(key, targets, scene, 0)
    assert len(left.events) == 1 and len(right.events) == 1


def test_a_press_focuses_without_a_ring(scene: Scene) -> None:
    router, items, right = Router(), ItemsRecorder(), Recorder()
    targets: Targets = [(items, LEFT), (right, RIGHT)]
    router.move_focus(1, targets)
    router.route(mouse(pygame.MOUSEBUTTONDOWN, (150, 5)), targets, scene, 0)
    assert router.focused is right and items.item is None and not router.ring_shown


def test_a_tooltip_appears_when_the_mouse_rests_and_disappears_on_move_or_press(scene: Scene) -> None:
    router, left = Router(), Recorder(tip_text="what it is")
    targets: Targets = [(left, LEFT)]
    router.route(move((5, 5)), targets, scene, 1000)
    assert router.tip(targets, scene, 1000 + TIP_REST_NS - 1) is None
    assert router.tip(targets, scene, 1000 + TIP_REST_NS) == ("what it is", (5, 5))
    router.route(move((6, 5)), targets, scene, 1000 + TIP_REST_NS)
    assert router.tip(targets, scene, 1001 + TIP_REST_NS) is None
    router.route(mouse(pygame.MOUSEBUTTONDOWN, (6, 5)), targets, scene, 1000)
    assert router.tip(targets, scene, 10**12) is None
    router.route(mouse(pygame.MOUSEBUTTONUP, (6, 5)), targets, scene, 10**12)
    assert router.tip(targets, scene, 10**12 + TIP_REST_NS) is not None


def test_a_key_hides_the_tooltip_until_the_mouse_moves(scene: Scene) -> None:
    router, left = Router(), Recorder(tip_text="what it is")
    targets = [(left, pygame.Rect(0, 0, 100, 100))]
    router.route(pygame.event.Event(pygame.MOUSEMOTION, pos=(5, 5)), targets, scene, 1000)
    assert router.tip(targets, scene, 10**12) is not None
    router.route(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_x), targets, scene, 10**12)
    assert router.tip(targets, scene, 10**15) is None
    router.route(pygame.event.Event(pygame.MOUSEMOTION, pos=(6, 5)), targets, scene, 10**15)
    assert router.tip(targets, scene, 10**15 + TIP_REST_NS) is not None
