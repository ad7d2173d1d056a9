"""The start picker: the running scenario stays visible beside it, and continues unless another is picked."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from support.person import Person
from support.window_stage import STARTING, FakeSession, headless, heat_map, noise, note_writing, part_of, rgb, words
from workbench.scenarios import catalog
from workbench.scenarios.catalog import all_picks
from workbench.window.pickers.picker import StartPicker
from workbench.window.toolkit.display import pygame

PICKS = all_picks()
SIZES = [(800, 600), (1280, 720), (1600, 900), (1920, 1080), (3840, 2160)]


@pytest.fixture
def person() -> Iterator[Person]:
    found = Person(FakeSession(heat_map(64, 64)))
    found.window.ask()
    found.see()
    yield found
    found.window.close()


def start_of(person: Person) -> StartPicker:
    return person.window._layout.start


def test_the_running_scenario_stays_visible_and_updates(person: Person) -> None:
    boxes = person.window._layout.boxes
    before = rgb(person.picture)
    reading = replace(person.session.shown.reading, tick=person.session.shown.reading.tick + 1)
    person.session.change(pixels=np.zeros((64, 64), np.uint8), reading=reading)
    person.session.finish_picture(noise(boxes.panels.size))
    after = person.see(passed_ns=300_000_000)
    for name, box in (("pipeline", boxes.pipeline), ("header", boxes.header), ("canvas", boxes.canvas)):
        assert not box.colliderect(start_of(person)._box), name
    upper = pygame.Rect(boxes.panels.topleft, (boxes.panels.width, start_of(person)._box.top - boxes.panels.top))
    assert upper.height > boxes.panels.height // 4
    for box in (upper, boxes.canvas):
        assert (part_of(after, box) != part_of(before, box)).mean() > 0.3


def test_it_says_that_the_scenario_is_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    window = headless(FakeSession(heat_map(64, 64), parts=STARTING, run_seconds=0.0))
    window.ask()
    written = note_writing(monkeypatch)
    window.draw()
    assert "first_light is starting" in words(written)


def test_enter_on_the_running_scenario_continues_it(person: Person) -> None:
    person.key(pygame.K_RETURN)
    assert not start_of(person).shown and person.window.wanted is None and not person.window.closed


@pytest.mark.parametrize("key", [pygame.K_ESCAPE, pygame.K_q, pygame.K_l])
def test_a_closing_key_continues_the_running_scenario(person: Person, key: int) -> None:
    person.key(key)
    assert not start_of(person).shown and person.window.wanted is None and not person.window.closed


def test_a_click_outside_closes_it_and_does_nothing_else(person: Person) -> None:
    fold = person.window._layout.boxes.knobs
    person.drag((fold.right - 20, fold.top + 20))  # Where a click would fold the column.
    assert not start_of(person).shown and not person.window._layout.knobs.folded
    person.drag((fold.right - 20, fold.top + 20))
    assert person.window._layout.knobs.folded


def test_the_wheel_over_the_canvas_does_not_close_it(person: Person) -> None:
    person.point(person.window._layout.boxes.canvas.center)
    person.wheel(1)
    assert start_of(person).shown and person.canvas_area.canvas.viewport.zoomed


def test_arrows_and_enter_start_another(person: Person) -> None:
    columns = start_of(person).columns
    assert 1 < columns < len(PICKS)
    person.key(pygame.K_DOWN)
    person.key(pygame.K_RIGHT)
    person.key(pygame.K_RETURN)
    assert person.window.wanted is not None and person.window.wanted.name == PICKS[columns + 1].name
    assert not start_of(person).shown


def test_a_click_on_a_card_starts_it(person: Person) -> None:
    mailbox = next(index for index, pick in enumerate(PICKS) if pick.variant == "mailbox")
    person.drag(start_of(person).card(mailbox).center)
    assert person.window.wanted is not None and person.window.wanted.server.loop == "mailbox"


def test_the_sentence_of_the_card_under_the_mouse_is_shown(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    written = note_writing(monkeypatch)
    person.point(start_of(person).card(4).center)
    assert PICKS[4].text in words(written) and "first_light is running" in words(written)


def test_a_scenario_too_large_is_refused_with_the_reason(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "connections_that_fit", lambda: 2_000)
    written = note_writing(monkeypatch)
    million = [pick.name for pick in PICKS].index("million")
    person.drag(start_of(person).card(million).center)
    assert person.window.wanted is None and start_of(person).shown
    assert "needs 17,000 connections; the open-file limit allows 2,000" in words(written)


def test_other_keys_go_to_the_window(person: Person) -> None:
    person.key(pygame.K_SPACE)
    assert person.window.paused and start_of(person).shown
    person.key(pygame.K_F1)
    person.key(pygame.K_ESCAPE)
    assert start_of(person).shown and not person.window._layout.help.shown


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", SIZES)
def test_all_cards_and_texts_fit(size: tuple[int, int], theme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    window = headless(FakeSession(heat_map(64, 64)), size)
    window.use_theme("light" if theme == "light" else "dark")
    window.ask()
    written = note_writing(monkeypatch)
    window.draw()
    start = window._layout.start
    for index in range(len(PICKS)):
        card = start.card(index)
        assert start._box.contains(card)
        assert card.collidelist([start.card(other) for other in range(index)]) == -1
    inside = [entry for entry in written if start._box.contains(entry.letters)]
    assert len(inside) >= len(PICKS) + 5
    assert [entry.text for entry in inside if not entry.whole] == []
    said = words(inside)
    assert all(pick.name in said for pick in PICKS)
    for index, pick in reversed(list(enumerate(PICKS))):
        written.clear()
        start.cursor = index
        window.draw()
        assert all(entry.whole for entry in written if start._box.contains(entry.letters))
        assert " ".join(pick.text.split()) in " ".join(words(written).split())
    window.use_theme("dark")
