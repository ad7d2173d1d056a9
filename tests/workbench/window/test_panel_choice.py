"""Which panels are shown and over which time: by mouse and keys, and the orders to the panels' process."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plots.ipc import Picture, ShowPanels
from plots.panels import Panels
from plots.series import DEFAULT_NAMES, HOSTILE_NAMES, PANELS
from support.person import Person
from support.window_stage import FakeSession, Written, headless, heat_map, noise, part_of, rgb, words
from workbench.telemetry.view import TileBox
from workbench.window.panels.panel_choice import KEPT_NS, SPANS_S, PanelChoice
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import Action

SECOND_NS = 1_000_000_000
NOW_NS = 10**15


@pytest.fixture
def person() -> Iterator[Person]:
    with Person(FakeSession(heat_map(64, 64), now_ns=NOW_NS, run_seconds=300.0)) as someone:
        yield someone


def order(person: Person) -> ShowPanels:
    """The last order that the panels got."""
    order = person.asked("show_panels")[-1][0]
    assert isinstance(order, ShowPanels)
    return order


def panels_of(person: Person) -> pygame.Rect:
    return person.window._layout.boxes.panels


# --- The choice -------------------------------------------------------------------------------------------------------


def test_the_initial_choice_is_the_default_of_the_panels() -> None:
    assert PanelChoice().order("light") == ShowPanels(DEFAULT_NAMES, "light")


def test_hostile_clients_have_a_default_panel_until_the_user_chooses() -> None:
    choice = PanelChoice()
    choice.begin(has_hostile=True)
    assert choice.names == HOSTILE_NAMES
    choice.begin(has_hostile=False)
    assert choice.names == DEFAULT_NAMES
    choice.put(2, "ledger")
    choice.begin(has_hostile=True)
    assert choice.names == (*DEFAULT_NAMES[:2], "ledger", DEFAULT_NAMES[3])


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(sorted(PANELS)))))
@settings(deadline=None)
def test_four_different_panels_are_shown_whatever_is_put(puts: list[tuple[int, str]]) -> None:
    choice = PanelChoice()
    for place, name in puts:
        choice.put(place, name)
        assert choice.names[place] == name
    assert len(set(choice.names)) == len(choice.names) == 4


@given(st.integers(-(10**13), 10**13), st.sampled_from(sorted(SPANS_S.values())), st.floats(0, 2000))
@settings(deadline=None)
def test_the_time_shown_is_in_memory_or_the_present(offset_ns: int, span_s: float, run_s: float) -> None:
    choice = PanelChoice()
    choice.span_s = span_s
    choice.travel_to(NOW_NS + offset_ns, NOW_NS, NOW_NS - round(run_s * SECOND_NS))
    if choice.live:
        return
    assert offset_ns < 0 and choice.end_ns < NOW_NS
    assert choice.end_ns - span_s * SECOND_NS >= NOW_NS - KEPT_NS
    assert choice.end_ns >= NOW_NS - run_s * SECOND_NS


def test_spans_go_from_a_quarter_of_a_minute_to_ten() -> None:
    choice = PanelChoice()
    for _ in range(9):
        choice.turn_span(-1)
    assert choice.span_s == 15
    seen = [choice.span_s]
    for _ in range(9):
        choice.turn_span(1)
        seen.append(choice.span_s)
    assert sorted(set(seen)) == sorted(SPANS_S.values()) and choice.span_s == 600


# --- By hand ----------------------------------------------------------------------------------------------------------


def test_a_drag_goes_back_and_now_returns(person: Person) -> None:
    box = panels_of(person)
    person.drag(box.center, (box.centerx + 60, box.centery), (box.centerx + 120, box.centery))
    wanted = order(person)
    ago_s = (person.session.shown.now_ns - wanted.end_ns) / SECOND_NS
    plot = Panels(*box.size).panels[0].boxes.plot
    assert ago_s == pytest.approx(120 / plot.width * 60, abs=3)
    person.key(pygame.K_n)
    assert order(person).end_ns == 0


def test_a_drag_to_the_left_of_the_present_stays_there(person: Person) -> None:
    box = panels_of(person)
    person.drag(box.center, (box.centerx - 90, box.centery))
    assert person.asked("show_panels") == []


def test_the_wheel_turns_the_span_and_with_shift_the_time(person: Person) -> None:
    box = panels_of(person)
    person.point(box.center)
    person.wheel(-1)
    assert order(person).span_s == 180
    person.wheel(1)
    person.wheel(1)
    assert order(person).span_s == 30
    pygame.key.set_mods(pygame.KMOD_SHIFT)
    person.wheel(-2)
    pygame.key.set_mods(0)
    wanted = order(person)
    assert wanted.span_s == 30
    assert (person.session.shown.now_ns - wanted.end_ns) / SECOND_NS == pytest.approx(6, abs=0.1)


def test_keys_do_the_same(person: Person) -> None:
    person.key(pygame.K_x)
    assert order(person).span_s == 180
    person.key(pygame.K_x, pygame.KMOD_SHIFT)
    assert order(person).span_s == 60
    person.key(pygame.K_COMMA)
    person.key(pygame.K_COMMA)
    person.key(pygame.K_PERIOD)
    assert (person.session.shown.now_ns - order(person).end_ns) / SECOND_NS == pytest.approx(6, abs=0.1)
    person.key(pygame.K_PERIOD)
    assert order(person).end_ns == 0


def test_arrows_are_the_panels_once_they_have_the_focus(person: Person) -> None:
    person.key(pygame.K_LEFT)
    assert person.asked("show_panels") == []
    box = panels_of(person)
    person.drag((box.centerx - 40, box.top + 120))
    person.key(pygame.K_LEFT)
    person.key(pygame.K_UP)
    assert order(person).end_ns and order(person).span_s == 180
    person.key(pygame.K_END)
    assert order(person).end_ns == 0


def test_a_picture_that_is_drawn_over_while_it_is_looked_at_is_not_shown(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The panels' process finishes two pictures between the window's looks at the size and at the pixels."""
    box, shapes = panels_of(person), []
    first, second, third = noise(box.size), noise((200, 100)), np.zeros((box.height, box.width, 3), np.uint8)
    for picture in (third, first):  # The next is read into the memory of the one before the last.
        person.session.finish_picture(picture)
        person.see()
    person.session.finish_picture(third)
    buffer_of = Picture._buffer

    def overtaken(self: Picture, index: int, width: int, height: int) -> np.ndarray:
        monkeypatch.undo()
        person.session.finish_picture(second)
        person.session.finish_picture(third)
        shapes.append((width, height))
        return buffer_of(self, index, width, height)

    monkeypatch.setattr(Picture, "_buffer", overtaken)
    person.window._layout.forget()
    assert (part_of(person.see(), box) == first).all() and shapes == [box.size]
    assert not part_of(person.see(), box).any()


def test_panels_that_are_not_live_have_a_frame_and_a_note(person: Person, written: list[Written]) -> None:
    box = panels_of(person)
    person.session.finish_picture(np.zeros((box.height, box.width, 3), np.uint8))
    live = part_of(person.see(), box)
    assert not live.any()
    for _ in range(5):
        person.key(pygame.K_COMMA)
    past = part_of(rgb(person.picture), box)
    assert (past[0, 20:-20] == theme.DARK.orange).all() and (past[-1, 20:-20] == theme.DARK.orange).all()
    assert "00:30 ago" in words(written)
    assert not part_of(person.key(pygame.K_n), box).any()


def test_a_paused_window_that_is_scrolled_shows_the_past(person: Person) -> None:
    box = panels_of(person)
    person.session.finish_picture(noise(box.size))
    person.see()
    person.key(pygame.K_SPACE)
    person.key(pygame.K_COMMA)
    person.session.finish_picture(np.zeros((box.height, box.width, 3), np.uint8))
    assert not part_of(person.see(), box.inflate(-8, -8)).any()
    assert person.window.paused


def test_the_buttons_under_the_panels(person: Person) -> None:
    bar = person.window._layout._panel_bar._bar
    person.drag(bar._boxes["10 min"].center)
    assert order(person).span_s == 600
    person.drag(bar._boxes["15 s"].center)
    person.key(pygame.K_COMMA)
    assert order(person).end_ns
    person.drag(bar._boxes["now"].center)
    assert order(person).end_ns == 0 and order(person).span_s == 15
    person.drag(bar._boxes["panels"].center)
    assert person.window._layout.chooser.shown


@pytest.mark.parametrize("size", [(1280, 720), (1600, 900), (1920, 1080), (3840, 2160)])
@pytest.mark.parametrize("names", [DEFAULT_NAMES, ("ledger", "fairness", "cost", "throughput"), tuple(PANELS)[-4:]])
def test_a_click_on_a_title_means_its_panel(size: tuple[int, int], names: tuple[str, ...]) -> None:
    window = headless(FakeSession(heat_map(64, 64)), size)
    view, boxes = window._layout.panels, window._layout.boxes
    places = [panel.boxes for panel in Panels(*boxes.panels.size, float(boxes.scale), names).panels]
    for number, place in enumerate(places):
        x, y = (place.title.left + 20 * boxes.scale, round(place.title.top + 0.62 * place.title.height))
        assert view._title_at((boxes.panels.left + x, boxes.panels.top + y)) == number
        middle = ((place.plot.left + place.plot.right) // 2, (place.plot.top + place.plot.bottom) // 2)
        assert view._title_at((boxes.panels.left + middle[0], boxes.panels.top + middle[1])) is None


def test_a_click_on_a_title_and_one_in_the_list(person: Person) -> None:
    box = panels_of(person)
    person.drag((box.left + 60, box.centery + 14))
    chooser = person.window._layout.chooser
    assert chooser.shown and chooser._place == 2
    span_s = person.window._layout.choice.span_s
    person.point(chooser._box.center)
    person.wheel(-1)
    assert person.window._layout.choice.span_s == span_s, "the panels under it have no part in it"
    row = chooser._row(tuple(PANELS).index("ledger"), person.window._layout._pen)
    person.drag(row.center)
    assert not chooser.shown
    assert order(person).names == (*DEFAULT_NAMES[:2], "ledger", DEFAULT_NAMES[3])


def test_the_list_by_keys(person: Person) -> None:
    person.key(pygame.K_v)
    person.key(pygame.K_4)
    person.key(pygame.K_DOWN)
    person.key(pygame.K_RETURN)
    names = tuple(PANELS)
    assert order(person).names == ("throughput", "queues", "drops", "heat")  # They change places.
    assert names.index("drops") + 1 == names.index("heat")
    person.key(pygame.K_v)
    person.key(pygame.K_ESCAPE)
    assert not person.window._layout.chooser.shown and not person.window.closed


def test_the_list_names_all_panels_whole(written: list[Written]) -> None:
    window = headless(FakeSession(heat_map(64, 64)), (1280, 720))
    window.press(Action.PANELS, 0)
    written.clear()
    window.draw()
    for spec in PANELS.values():
        assert f"{spec.title}\n{spec.meaning}" in words(written)
    assert all(entry.whole for entry in written)


def test_the_selection_is_named_beside_the_titles(person: Person) -> None:
    person.canvas_area.mouse.brushed = TileBox(1, 2, 4, 6)
    person.see()
    assert order(person).note == "brushed: tiles 1,2 to 3,5"
    person.canvas_area.mouse.brushed = None
    person.see()
    assert order(person).note == ""


def test_another_session_has_the_panels_but_not_the_past(person: Person) -> None:
    person.window._layout.choice.put(0, "cost")
    person.key(pygame.K_x)
    person.key(pygame.K_COMMA)
    after = FakeSession(heat_map(64, 64), now_ns=NOW_NS)
    person.window.show(after)
    order = after.asked[-1][1]
    assert isinstance(order, ShowPanels)
    assert (order.names[0], order.span_s, order.end_ns, order.note) == ("cost", 180, 0, "")
