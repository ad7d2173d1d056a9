"""The column of knobs: what it shows, and what mouse, wheel and keys change, through pygame's events."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from support.knobs_view_parts import SECOND_NS, SIZE, Hand
from support.window_stage import DIAGNOSIS, STAGES, FakeSession, Written, boxes, heat_map, part_of, rgb, words
from workbench.scenarios.load_curve import factor_at
from workbench.scenarios.scenario import load_scenario
from workbench.window.knobs.load_curve_view import FACTOR_TOP, SPAN_S, with_stroke
from workbench.window.knobs.widget import DOUBLE_CLICK_NS
from workbench.window.shell.layout import VIEWS
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame

RATE = "fleet.rate_per_s"


@pytest.fixture
def hand() -> Iterator[Hand]:
    made = Hand(FakeSession(heat_map(64, 64), stages=STAGES, diagnosis=DIAGNOSIS))
    yield made
    made.window.close()


# --- Sliders ----------------------------------------------------------------------------------------------------------


def test_a_slider_dragged_turns_its_knob(hand: Hand) -> None:
    controls, box = hand.session.controls, hand.box(RATE)
    track = hand.window._layout.knobs._column._sliders[RATE].track(box, hand.window._layout._pen)
    hand.press((track.left + 20, track.centery))
    low = controls.value(RATE)
    hand.move((track.right - 10, track.centery + 200))
    hand.step(0)
    assert controls.value(RATE) > 10 * low
    hand.move((track.right + 900, 5))
    hand.step(0)
    assert controls.value(RATE) == controls.knob(RATE).most
    hand.release((5, 5))
    hand.move((track.left, track.centery))
    hand.step()
    assert controls.value(RATE) == controls.knob(RATE).most


def test_a_slider_shows_its_value(hand: Hand) -> None:
    box = hand.box(RATE)
    lit = []
    for value in (0, 1000):
        hand.session.controls.set(RATE, value, hand.now_ns)
        hand.step()
        picture = rgb(hand.window._layout._picture)  # SDL's dummy screen ends left of the column.
        lit.append(int((part_of(picture, box) == theme.DARK.sky).all(axis=2).sum()))
    assert lit[0] < 5 and lit[1] > 400


def test_keys_turn_the_knob_that_has_the_focus(hand: Hand) -> None:
    controls = hand.session.controls
    hand.focus(RATE)
    first = controls.value(RATE)
    hand.key(pygame.K_RIGHT)
    after = controls.value(RATE)
    assert after > first
    hand.key(pygame.K_PAGEUP)
    assert controls.value(RATE) > after * 1.2
    hand.key(pygame.K_HOME)
    assert controls.value(RATE) == controls.knob(RATE).least
    hand.key(pygame.K_END)
    assert controls.value(RATE) == controls.knob(RATE).most
    hand.key(pygame.K_DELETE)
    assert controls.value(RATE) == first


def test_a_number_can_be_typed(hand: Hand, written: list[Written]) -> None:
    controls = hand.session.controls
    hand.focus(RATE)
    first = controls.value(RATE)
    hand.key(pygame.K_4, pygame.K_KP2)
    assert "42|" in words(written) and controls.value(RATE) == first
    hand.key(pygame.K_RETURN)
    assert controls.value(RATE) == 42
    hand.key(pygame.K_7, pygame.K_ESCAPE, pygame.K_RETURN)
    assert controls.value(RATE) == 42 and not hand.window.closed
    hand.key(pygame.K_PERIOD, pygame.K_PERIOD, pygame.K_RETURN)
    assert controls.value(RATE) == 42


def test_per_cent_are_typed_as_they_are_shown(hand: Hand) -> None:
    hand.focus("fleet.greedy_ratio")
    hand.key(pygame.K_2, pygame.K_5, pygame.K_RETURN)
    assert hand.session.controls.value("fleet.greedy_ratio") == 0.25


@pytest.mark.parametrize("key", ["fleet.rate_per_s", "fleet.frames_per_write", "server.tick_ms", "fleet.greedy_ratio"])
def test_arrows_reach_both_ends_and_every_step_is_another_value(hand: Hand, key: str) -> None:
    slider, controls = hand.window._layout.knobs._column._sliders[key], hand.session.controls
    knob = controls.knob(key)
    for way, end in ((-1, knob.least), (1, knob.most)):
        steps = 0
        while controls.value(key) != end:
            before = controls.value(key)
            slider.turn(way, 0)
            assert (controls.value(key) - before) * way > 0
            steps += 1
        assert steps < 200


def test_the_wheel_scrolls_and_turns_only_what_was_pressed(hand: Hand) -> None:
    controls, at = hand.session.controls, hand.box(RATE).center
    first = controls.value(RATE)
    hand.move(at)
    hand.post(pygame.MOUSEWHEEL, x=0, y=1)
    hand.step()
    assert controls.value(RATE) == first
    hand.click((at[0], hand.box(RATE).top + 5))
    hand.post(pygame.MOUSEWHEEL, x=0, y=1)
    hand.step()
    assert controls.value(RATE) > first


def test_a_double_click_takes_a_knob_back(hand: Hand) -> None:
    controls, box = hand.session.controls, hand.box(RATE)
    first = controls.value(RATE)
    at = (box.right - 30, box.bottom - 9)
    hand.click(at)
    assert controls.value(RATE) != first
    hand.click(at, DOUBLE_CLICK_NS)
    assert controls.value(RATE) == first


# --- Choices, buttons, undo -------------------------------------------------------------------------------------------


def test_a_choice_goes_on_and_back(hand: Hand) -> None:
    controls, key = hand.session.controls, "fleet.arrivals"
    choices = controls.knob(key).choices
    first = choices.index(controls.value(key))
    box = hand.box(key)
    hand.click((box.right - 8, box.centery))
    assert controls.value(key) == choices[(first + 1) % len(choices)]
    hand.click((box.right - round(box.width * 0.56) + 8, box.centery))
    assert controls.value(key) == choices[first]
    hand.key(pygame.K_END)
    assert controls.value(key) == choices[-1]


def test_undo_redo_and_reset_by_click_and_key(hand: Hand) -> None:
    controls = hand.session.controls
    first = controls.value(RATE)
    controls.set(RATE, 500, hand.now_ns)
    hand.step()
    hand.click(hand.box("undo").center)
    assert controls.value(RATE) == first
    hand.click(hand.box("redo").center)
    assert controls.value(RATE) == 500
    hand.key(pygame.K_u)
    assert controls.value(RATE) == first
    hand.key(pygame.K_u, mod=pygame.KMOD_LSHIFT)
    assert controls.value(RATE) == 500
    hand.click(hand.box("reset").center)
    assert controls.value(RATE) == first


def test_every_knob_can_be_reached_by_tab(hand: Hand) -> None:
    reached = set()
    for _ in range(80):
        hand.key(pygame.K_TAB)
        reached.add(hand.window._layout.knobs._focus)
    knobs = {knob.key for knob in hand.session.controls.knobs if not knob.is_brake}
    faults = {f"fault {button.kind}" for button in hand.session.controls.faults}
    assert knobs | faults | {"undo", "redo", "reset", "fold", "load_curve", "brake stage", "copy"} <= reached


def test_no_text_of_the_column_is_cut(hand: Hand, written: list[Written]) -> None:
    for number, stage in enumerate(("fan_out", "decode", "apply")):
        hand.session.controls.set(f"server.brakes.{stage}.item_us", 499.0, hand.now_ns + number * 10 * SECOND_NS)
    for placed in list(hand.window._layout.knobs._placed):
        if placed.zone == 1:
            hand.show(placed.widget.key)
    column = hand.window._layout.boxes.knobs
    cut = [entry for entry in written if column.contains(entry.box) and not entry.whole]
    assert cut == [] and len(written) > 50


def test_a_knob_that_needs_a_restart_says_so_and_asks_for_one(hand: Hand, written: list[Written]) -> None:
    hand.show("server.loops")
    assert "loops (restart)" in words(written)
    hand.focus("server.loops")
    hand.key(pygame.K_2, pygame.K_RETURN)
    hand.click(hand.box("restart").center)
    assert hand.window.wanted == hand.session.controls.scenario
    assert hand.window.wanted is not None and hand.window.wanted.server.loops == 2


def test_a_fault_is_a_click(hand: Hand, written: list[Written]) -> None:
    hand.show("fault stall devices")
    hand.click(hand.box("fault stall devices").center)
    assert "no fault: there is nothing to carry it out" in words(written)


def test_copy_writes_a_scenario_that_reproduces_the_run(
    hand: Hand, written: list[Written], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hand.session.controls.set(RATE, 77, hand.now_ns)
    for number in (1, 2):
        hand.click(hand.box("copy").center)
        hand.step(0)
        path = tmp_path / f"first_light-{number}.toml"
        assert f"saved {path}" in words(written)
        assert load_scenario(str(path)).fleet.rate_per_s == 77


def test_the_column_folds_and_opens(hand: Hand) -> None:
    session = hand.session
    hand.key(pygame.K_k)
    assert hand.window._layout.boxes.knobs.width < 40
    hand.step()
    assert session.resized[-1][0] > boxes(session, SIZE).panels.width + 100
    hand.click(hand.window._layout.boxes.knobs.center)
    assert hand.window._layout.boxes.knobs == boxes(session, SIZE).knobs


# --- Brakes -----------------------------------------------------------------------------------------------------------


def test_a_click_on_a_stage_shows_its_brakes(hand: Hand, written: list[Written]) -> None:
    strip = hand.window._layout.boxes.pipeline
    slot = strip.width // len(STAGES)
    index = [stage.name for stage in STAGES].index("apply")
    hand.click((strip.left + index * slot + slot // 2, strip.top + 40))
    hand.step()
    key = "server.brakes.apply.item_us"
    assert hand.box(key)
    hand.focus(key)
    hand.key(pygame.K_4, pygame.K_0, pygame.K_RETURN)
    assert hand.session.controls.value(key) == 40


def test_brakes_that_are_on_are_listed_and_released_by_a_click(hand: Hand, written: list[Written]) -> None:
    controls = hand.session.controls
    controls.set("server.brakes.read.item_us", 20.0, hand.now_ns)
    hand.step()
    assert any("read + 20" in entry.text for entry in written)
    hand.click(hand.box("release server.brakes.read.item_us").center)
    assert controls.brakes_on == ()
    for stage in ("read", "apply", "encode", "fan_out"):
        controls.set(f"server.brakes.{stage}.item_us", 20.0, hand.now_ns)
    hand.step()
    hand.click(hand.box("release all").center)
    assert controls.brakes_on == ()


# --- The load curve ---------------------------------------------------------------------------------------------------


def test_the_load_curve_is_drawn_by_hand_and_cleared(hand: Hand) -> None:
    controls, now_s = hand.session.controls, hand.session.shown.run_seconds
    hand.show("load_curve")
    view = hand.window._layout.knobs._column._curve
    plot = view.plot(hand.box("load_curve"), hand.window._layout._pen)
    hand.press((plot.left + plot.width // 4, plot.bottom - 1))
    hand.move((plot.left + plot.width // 2, plot.top))
    hand.step(0)
    hand.release((plot.left + plot.width // 2, plot.top))
    curve = controls.load_curve
    assert factor_at(curve, now_s + SPAN_S * 0.1) == 1.0
    assert factor_at(curve, now_s + SPAN_S * 0.375) == pytest.approx(FACTOR_TOP / 2, abs=0.1)
    assert factor_at(curve, now_s + SPAN_S * 0.49) == pytest.approx(FACTOR_TOP, abs=0.2)
    assert factor_at(curve, now_s + SPAN_S * 0.8) == 1.0
    hand.click(hand.box("clear").center)
    assert controls.load_curve == ()


def test_the_load_curve_is_drawn_by_keys(hand: Hand) -> None:
    hand.focus("load_curve")
    hand.key(pygame.K_RIGHT, pygame.K_UP, pygame.K_UP)
    curve, now_s = hand.session.controls.load_curve, hand.session.shown.run_seconds
    assert factor_at(curve, now_s + 6) == 1.5 and factor_at(curve, now_s + 20) == 1.0
    hand.key(pygame.K_DELETE)
    assert hand.session.controls.load_curve == ()


def test_a_stroke_changes_nothing_beside_it() -> None:
    curve = ((0.0, 2.0), (100.0, 2.0))
    drawn = tuple(with_stroke(curve, [(40.0, 3.0), (50.0, 1.0)], 120.0))
    for seconds, factor in ((39.9, 2.0), (45.0, 2.0), (40.1, 2.98), (49.9, 1.02), (50.1, 2.0), (200.0, 2.0)):
        assert factor_at(drawn, seconds) == pytest.approx(factor)
    to_the_edge = tuple(with_stroke((), [(60.0, 3.0), (119.5, 3.0)], 120.0))
    assert factor_at(to_the_edge, 59.0) == 1.0 and factor_at(to_the_edge, 500.0) == 3.0


# --- Looks ------------------------------------------------------------------------------------------------------------


def test_another_session_brings_its_own_knobs(hand: Hand) -> None:
    other = FakeSession(heat_map(32, 32))
    hand.window.show(other)
    hand.focus(RATE)
    hand.key(pygame.K_END)
    assert other.controls.value(RATE) == 1000 and hand.session.controls.value(RATE) != 1000


@pytest.mark.parametrize("name", ["overview", "why", "brakes", "connections", "folded", "light", "help"])
def test_every_view_can_be_shown_and_left(hand: Hand, name: str) -> None:
    assert name in VIEWS
    hand.window.show_view("overview")
    before = rgb(hand.window.draw())
    hand.window.show_view(name)
    shown = rgb(hand.window.draw())
    assert np.array_equal(shown, before) == (name == "overview")
    hand.window.show_view("overview")
    assert np.array_equal(rgb(hand.window.draw()), before)


def test_an_unknown_view_is_refused(hand: Hand) -> None:
    with pytest.raises(ValueError, match="view is 'nowhere'; it must be one of overview"):
        hand.window.show_view("nowhere")


def test_a_caption_lies_over_the_picture(hand: Hand, written: list[Written]) -> None:
    hand.window.caption = "Watch the queue before apply fill."
    hand.step()
    assert "Watch the queue before apply fill." in words(written)
