"""The playback bar: mouse and keys control the replay, and what is not recorded is not offered."""

from collections.abc import Iterator

import numpy as np
import pytest

from support.person import Person
from support.window_stage import FakeSession, heat_map
from workbench.controls.playhead import Transport
from workbench.telemetry.view import Marker
from workbench.window.playback.playback_bar import BUTTONS, speed_text
from workbench.window.toolkit.display import pygame

SECOND_NS = 1_000_000_000


class Strip:
    """Four thumbnails, of which two are ready."""

    times_ns = (10, 30, 50, 70)
    made_count = 2

    def picture(self, index: int) -> np.ndarray | None:
        return heat_map(40, 30) if index < self.made_count else None


class Winding:
    """A replay of 100 s that records its steps."""

    def __init__(self) -> None:
        self.markers = (Marker(25 * SECOND_NS, "knob", "rate limit 60 > 30 /s"),)
        self.transport = Transport(0, 100 * SECOND_NS, [marker.time_ns for marker in self.markers])
        self.filmstrip = Strip()
        self.steps: list[int] = []

    def step_tick(self, step: int) -> None:
        self.steps.append(step)


@pytest.fixture
def person() -> Iterator[Person]:
    session = FakeSession(heat_map(256, 192))
    session.replay = Winding()
    with Person(session) as someone:
        yield someone


def at_s(person: Person) -> float:
    return person.session.replay.transport.position_ns / SECOND_NS


def place_of(person: Person, ratio: float) -> tuple[int, int]:
    strip = person.window._layout.playback.strip
    return strip.left + round(ratio * (strip.width - 1)), strip.centery


def test_a_drag_along_the_strip_seeks(person: Person) -> None:
    transport = person.session.replay.transport
    transport.toggle()
    person.drag(place_of(person, 0.2), place_of(person, 0.9), place_of(person, 0.5))
    assert at_s(person) == pytest.approx(50, abs=0.2)
    assert transport.playing, "it goes on as before"
    person.drag(place_of(person, 0.5), (5000, 0))
    assert at_s(person) == 100
    assert not transport.playing


def test_a_click_on_an_event_seeks_to_its_exact_time(person: Person) -> None:
    x, _ = place_of(person, 0.25)
    bar = person.window._layout.playback
    person.drag((x + 3, bar.strip.bottom + 4))
    assert at_s(person) == 25
    assert "rate limit 60 > 30 /s" in bar.tip((x, bar.strip.centery), person.window._scene(person.session.view(), 0))


def test_replay_keys_take_precedence(person: Person) -> None:
    replay = person.session.replay
    person.key(pygame.K_SPACE)
    assert replay.transport.playing
    assert not person.window.paused
    person.key(pygame.K_UP)
    assert replay.transport.speed == 2.0
    person.key(pygame.K_RIGHT)
    person.key(pygame.K_LEFT)
    assert replay.steps == [1, -1]
    person.key(pygame.K_RIGHT, pygame.KMOD_SHIFT)
    assert at_s(person) == 25
    person.key(pygame.K_END)
    assert at_s(person) == 100
    person.key(pygame.K_HOME)
    assert at_s(person) == 0


def test_buttons_do_the_same_as_keys(person: Person) -> None:
    bar, replay = person.window._layout.playback, person.session.replay
    for name in BUTTONS:
        person.drag(bar.button(name).center)
    assert replay.steps == [-1, 1]
    assert replay.transport.playing
    assert at_s(person) == 25


def test_the_strip_shows_the_thumbnails_that_are_ready(person: Person) -> None:
    strip = person.window._layout.playback.strip
    picture = pygame.surfarray.array3d(person.picture)
    made = picture[strip.left + 20 : strip.centerx - 20, strip.top + 3 : strip.bottom - 3]
    missing = picture[strip.centerx + 20 : strip.right - 20, strip.top + 3 : strip.bottom - 3]
    assert len(np.unique(made.reshape(-1, 3), axis=0)) > 10
    assert len(np.unique(missing.reshape(-1, 3), axis=0)) == 1


def test_layers_that_are_not_recorded_are_not_offered(person: Person) -> None:
    names = [layer.name for layer in person.canvas_area.canvas.layers]
    assert names == ["pixels", "changes", "age", "tiles"]
    person.key(pygame.K_c)
    person.key(pygame.K_p)
    person.drag(person.place_of(10, 10), person.place_of(90, 90), mod=pygame.KMOD_SHIFT)
    assert not person.canvas_area.shows_connections
    assert person.asked("paint") == person.asked("brush") == []


def test_a_live_session_has_no_playback_bar() -> None:
    person = Person(FakeSession(heat_map(256, 192)))
    assert person.window._layout.boxes.playback.height == 0
    person.key(pygame.K_SPACE)
    assert person.window.paused


def test_speeds_are_short() -> None:
    assert [speed_text(speed) for speed in (0.25, 1.0, 100.0)] == ["0.25 \u00d7", "1 \u00d7", "100 \u00d7"]
