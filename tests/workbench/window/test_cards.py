"""The map of connections, the card of one, and the journey of a placement: what they show, and how they are opened."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from support.person import SECOND_NS, SIZE, Person, fill_connections
from support.window_stage import READING, FakeSession, Written, canvas_area, headless, heat_map, words
from workbench.telemetry.view import Journey
from workbench.window.connections.journey_view import NOTICE
from workbench.window.toolkit import ramp, theme
from workbench.window.toolkit.display import pygame


@pytest.fixture
def person() -> Iterator[Person]:
    with Person(FakeSession(heat_map(128, 128))) as someone:
        yield someone


def test_the_map_has_a_cell_for_each_connection_in_the_colour_of_its_lag(person: Person) -> None:
    rows = fill_connections(person.session, 60)
    rows["cursor"][3], rows["subscribed"][4] = READING.tick - 5, 0
    person.session.change(reading=replace(READING, connection_target=60))
    person.window._reading = None
    picture = person.key(pygame.K_c)
    view = person.canvas_area.connections

    def colour(index: int) -> tuple[int, ...]:
        left, top = view.grid.corner(index)
        middle = view.grid.side // 2
        return tuple(picture[view.map_box.top + top + middle, view.map_box.left + left + middle])

    assert colour(0) == ramp.AMOUNT_COLORS[ramp.LEVEL_LEAST] and colour(3) == ramp.AMOUNT_COLORS[ramp.LEVEL_MOST]
    assert colour(4) == ramp.AMOUNT_COLORS[ramp.LEVEL_NONE]
    if view.grid.columns * view.grid.rows > 60:
        assert colour(60) == theme.DARK.background


def test_a_click_on_a_cell_opens_and_follows_its_connection(person: Person, written: list[Written]) -> None:
    rows = fill_connections(person.session, 60)
    rows["admitted_count"], rows["sent_bytes"] = 812, 4_000
    person.key(pygame.K_c)
    view = person.canvas_area.connections
    left, top = view.grid.corner(7)
    at = (view.map_box.left + left + 2, view.map_box.top + top + 2)
    person.point(at)
    assert "connection 107" in words(written)
    written.clear()
    person.drag(at)
    assert person.asked("follow") == [(107,)]
    assert "connection 107" in words(written) and "admitted" in words(written)
    page = person.session.connections_page
    page["messages"][0] = (7, 30, 40, 200, 0, 0)
    page["message_head"][0] = 1
    rows["admitted_count"][7] += 60
    person.see(passed_ns=SECOND_NS)
    assert "30, 40" in words(written) and "59 /s  (872)" in words(written)
    person.key(pygame.K_ESCAPE)
    assert person.asked("follow") == [(107,), (None,)] and person.canvas_area.opened == "none"


def journey(start_ns: int, waited_ns: int = 60_000_000) -> Journey:
    marks = np.cumsum([200_000, 2_000_000, 40_000, 9_000, 5_000, waited_ns, 900_000, 3_000_000]) + start_ns
    first, last = [int(mark) for mark in marks[:5]], [int(mark) for mark in marks[5:]]
    return Journey(107, 30, 40, start_ns, *first, None, *last)


def test_a_followed_placement_is_a_time_line(person: Person, written: list[Written]) -> None:
    fill_connections(person.session, 9)
    person.session.canvas_page["pixel_painter"][5, 3] = 108
    person.session.journey_list = [journey(0, 90_000_000), journey(10**9)]
    person.point(person.place_of(3, 5))
    written.clear()
    picture = person.key(pygame.K_j)
    assert person.asked("follow") == [(107,)]
    said = words(written)
    assert "66.2 ms until received" in said and "last 2, to 96.2 ms" in said
    for name, time in (("sent", "200 us"), ("read", "2.00 ms"), ("encoded", "\N{BULLET} 60.0 ms"), ("seen", "3.00 ms")):
        assert f"{name}\n{time}" in said
    assert "journaled" not in said
    rows = person.canvas_area.journeys._rows
    longest = rows[5][0]
    colors = picture[longest.centery, longest.left : longest.right]
    assert (colors == theme.DARK.orange).all(axis=1).sum() > 10
    lines = person.canvas_area.journeys
    person.drag(lines._bars[0][0].center)
    person.see(passed_ns=SECOND_NS)
    assert lines.shown == person.session.journey_list[0]
    person.drag(lines.pane.buttons["newest"].center)
    assert lines.shown == person.session.journey_list[1]


def test_before_the_first_journey_it_says_what_it_waits_for(person: Person, written: list[Written]) -> None:
    fill_connections(person.session, 60)
    person.key(pygame.K_j)
    assert "no journey yet\nconnection 100" in words(written)
    assert NOTICE in " ".join(words(written).split())
    assert all(entry.whole for entry in written)


def test_without_connections_no_card_opens(person: Person) -> None:
    person.key(pygame.K_j)
    assert person.canvas_area.opened == "none" and person.asked("follow") == []


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (3840, 2160)])
@pytest.mark.parametrize("card", ["connection", "journeys"])
def test_cards_are_inside_the_canvas_place_and_apart(size: tuple[int, int], card: str, written: list[Written]) -> None:
    session = FakeSession(heat_map(64, 64))
    fill_connections(session, 2_000)
    session.journey_list = [journey(number * 10**9) for number in range(60)]
    window = headless(session, size)
    canvas_area, box = window._layout.canvas_area, window._layout.boxes.canvas
    for connections in (False, True):
        canvas_area.show(connections=connections)
        canvas_area.open(card, window._scene(session.view(), 0), 107)
        window.draw()
        pane = (canvas_area.card if card == "connection" else canvas_area.journeys).pane.box
        parts = [canvas_area.room, pane, canvas_area._bar._box]
        assert all(box.contains(part) for part in parts)
        assert not any(part.collidelist(parts[:index]) >= 0 for index, part in enumerate(parts))
        for entry in written:
            assert not pane.contains(entry.box) or pane.contains(entry.letters), entry


def test_the_whole_canvas_is_seen_above_a_card(person: Person) -> None:
    fill_connections(person.session, 9)
    person.key(pygame.K_j)
    room, area = person.canvas_area.room, person.canvas_area.canvas.area
    assert room.contains(area) and area.height < canvas_area(person.session, SIZE).height
    assert person.canvas_area.canvas.pixel_at(area.topleft) == (0, 0)
