"""The scenario picker: every scenario has a card with a picture, and mouse and keys pick one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.person import Person
from support.portraits import PORTRAITS
from support.window_stage import FakeSession, headless, heat_map, note_writing, rgb, words
from workbench.scenarios import catalog
from workbench.scenarios.catalog import Pick, all_picks
from workbench.scenarios.scenario import FOLDER, PORTRAIT_SIZE, builtin_names, load_scenario
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import Action

PICKS = all_picks()
PICTURE_BYTES_MAX = 30_000


@pytest.fixture
def person() -> Iterator[Person]:
    found = Person(FakeSession(heat_map(64, 64)))
    yield found
    found.window.close()


def wanted(person: Person) -> tuple[str, str]:
    """Name and server loop of the picked scenario."""
    scenario = person.window.wanted
    assert scenario is not None
    return scenario.name, scenario.server.loop


@pytest.mark.parametrize("pick", PICKS, ids=lambda pick: pick.picture.stem)
def test_each_pick_has_a_small_picture(pick: Pick) -> None:
    assert pygame.image.load(pick.picture).size == PORTRAIT_SIZE
    assert pick.picture.stat().st_size < PICTURE_BYTES_MAX
    assert pick.text and pick.scenario.name == pick.name


def test_every_scenario_has_a_card_and_every_picture_is_used() -> None:
    assert list(dict.fromkeys(pick.name for pick in PICKS)) == builtin_names()
    assert set(PORTRAITS) == set(builtin_names())
    pictures = set((FOLDER / "pictures").iterdir())
    assert pictures == {pick.picture for pick in PICKS}


def test_the_seed_has_a_card_for_each_server() -> None:
    loops = [pick.scenario.server.loop for pick in PICKS if pick.name == "seed"]
    assert loops == ["native", "mailbox"]
    mailbox = load_scenario("seed", ["server.loop=mailbox"])
    assert [pick.variant for pick in PICKS if pick.is_of(mailbox)] == ["mailbox"]


def test_a_scenario_too_large_is_refused_with_the_reason(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "connections_that_fit", lambda: 2_000)
    refused = {pick.name for pick in PICKS if pick.refusal()}
    assert {"million", "crowd"} <= refused and not refused & {"first_light", "internet", "seed"}
    written = note_writing(monkeypatch)
    person.key(pygame.K_l)
    assert "needs 17,000 connections; the open-file limit allows 2,000" in words(written)
    index = [pick.name for pick in PICKS].index("million")
    person.key(pygame.K_1 + index)
    assert index < 9 and person.window.wanted is None
    assert "million needs 17,000 connections" in words(written)


def test_keys_pick(person: Person) -> None:
    before = rgb(person.picture)
    assert (person.key(pygame.K_l) != before).mean() > 0.3
    person.key(pygame.K_RIGHT)
    person.key(pygame.K_DOWN)
    person.key(pygame.K_UP)
    person.key(pygame.K_LEFT)
    person.key(pygame.K_LEFT)  # There is nothing further left.
    person.key(pygame.K_DOWN)
    person.key(pygame.K_RETURN)
    assert wanted(person) == (PICKS[3].name, "native")


def test_a_digit_picks_directly(person: Person) -> None:
    person.key(pygame.K_l)
    person.key(pygame.K_5)
    assert wanted(person)[0] == PICKS[4].name


def test_escape_continues_the_running_scenario(person: Person) -> None:
    before = rgb(person.picture)
    person.key(pygame.K_l)
    after = person.key(pygame.K_ESCAPE)
    assert person.window.wanted is None and not person.window.closed
    assert (after == before).all()
    person.key(pygame.K_5)  # A number is the picker's only while it is open.
    assert person.window.wanted is None


def test_a_click_on_the_name_opens_the_picker_and_one_on_a_card_picks(person: Person) -> None:
    header = person.window._layout.boxes.header
    person.drag((header.left + 60, header.centery))
    picker = person.window._layout.picker
    assert picker.shown
    mailbox = next(index for index, pick in enumerate(PICKS) if pick.variant == "mailbox")
    person.drag(picker.card(mailbox).center)
    assert wanted(person) == ("seed", "mailbox") and not picker.shown


def test_a_click_outside_the_cards_does_nothing(person: Person) -> None:
    person.key(pygame.K_l)
    person.drag((4, 700))
    assert person.window._layout.picker.shown and person.window.wanted is None


def test_the_running_scenario_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    written = note_writing(monkeypatch)
    session = FakeSession(heat_map(64, 64))
    window = headless(session)
    window.press(Action.SCENARIOS, 0)
    window.draw()
    assert [entry.text for entry in written].count("running") == 1


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (3840, 2160), (800, 600)])
def test_all_cards_fit(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    window = headless(FakeSession(heat_map(64, 64)), size)
    window.press(Action.SCENARIOS, 0)
    written = note_writing(monkeypatch)
    window.draw()
    cards = [window._layout.picker.card(index) for index in range(len(PICKS))]
    screen = pygame.Rect((0, 0), window._layout.boxes.size)
    assert all(screen.contains(card) for card in cards)
    assert all(card.collidelist(cards[:index]) == -1 for index, card in enumerate(cards))
    said = words(written)
    assert all(entry.whole for entry in written)
    for pick in PICKS:
        assert pick.label in said
        assert " ".join(pick.text.split()[-2:]) in " ".join(said.split())
