"""Stopping a session: the window shows the current step, and the user may skip the wait."""

import pytest

from support.session_parts import commands, make, pump, started
from support.window_stage import FakeSession, heat_map, rgb
from workbench.run.show import Outputs, Show
from workbench.session.processes import Processes
from workbench.session.session import Session
from workbench.session.shutdown import UNASKED_PATIENCE
from workbench.stop_signal import StopSignal
from workbench.window.shell.window import Window
from workbench.window.toolkit.display import pygame


def running(**manners: str) -> Session:
    session = started(make(**manners))
    pump(session, lambda: session.load_started_ns > 0)
    return session


class TestSession:
    def test_it_reports_the_current_step(self) -> None:
        session, steps = running(fleet="unquiet", with_panels=True), []

        def attend(step: str) -> bool:
            steps.append((step, [part.state for part in session.view().parts[:2]]))
            return len(steps) < 4

        session.end(attend=attend)
        # The fleet never drains: without `attend` the wait would be much longer.
        assert [step for step, _ in steps] == ["waiting for the fleet to be quiet"] * 4
        assert all(states == ["running"] * 2 for _, states in steps)
        assert [part.state for part in session.view().parts] == ["stopped"] * 3 and not session.failed
        session.close()

    def test_a_hurried_end_does_not_wait_for_a_part_that_does_not_stop(self) -> None:
        session, steps = running(server="stubborn"), []
        session.end(is_checked=False, attend=lambda step: bool(steps.append(step)))
        assert len(steps) == 1  # Not called again.
        assert [part.state for part in session.view().parts] == ["stopped"] * 2 and not session.failed
        session.close()

    def test_patience_may_run_out_during_a_step(self) -> None:
        session, steps = running(fleet="unquiet"), []
        session.end(attend=lambda step: steps.append(step) is None, patience=lambda: 0.0 if len(steps) > 2 else 1000.0)
        assert steps[:3] == ["waiting for the fleet to be quiet"] * 3 and len(steps) == 3
        session.close()

    def test_a_part_without_its_start_line_is_not_asked_to_stop(self) -> None:
        session = started(make(server="stubborn"))  # It never listens, so the fleet gets no start line.
        session.end()
        assert not session.failed, session.failures
        session.close()


class TestWindow:
    @pytest.fixture
    def window(self) -> Window:
        return Window(FakeSession(heat_map(64, 64)), size=(1280, 720))

    def press(self, key: int) -> None:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, mod=0, unicode=""))

    def test_it_keeps_drawing_and_a_second_escape_skips_the_wait(self, window: Window) -> None:
        self.press(pygame.K_ESCAPE)
        window.draw()
        assert window.closed
        before = rgb(window.draw())
        assert window.attend("Ending it: waiting") and (rgb(window._screen) != before).any()
        self.press(pygame.K_l)  # Other keys have no effect.
        assert window.attend("Ending it: waiting") and not window._layout.picker.shown
        self.press(pygame.K_ESCAPE)
        assert not window.attend("Ending it: waiting")
        window.close()

    def test_a_picked_run_starts_although_the_wait_was_skipped(self, window: Window) -> None:
        assert window.attend("Ending it: waiting")
        self.press(pygame.K_ESCAPE)
        assert not window.attend("Ending it: waiting") and not window.closed
        window.show(FakeSession(heat_map(32, 32)))
        assert window.caption == "" and window.attend("Ending another: waiting")
        window.close()

    def test_closing_it_skips_the_wait_and_closes(self, window: Window) -> None:
        window.attend("Ending it: waiting")
        pygame.event.post(pygame.event.Event(pygame.WINDOWCLOSE))
        assert not window.attend("Ending it: waiting") and window.closed
        window.close()


def test_a_show_reports_the_steps_to_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    def attend(self: Window, caption: str) -> bool:
        steps.append(caption)
        return False

    monkeypatch.setattr(Window, "run", lambda self, until: pump_until_load(self))
    monkeypatch.setattr(Window, "attend", attend)

    def pump_until_load(window: Window) -> None:
        session = window._session
        assert isinstance(session, Session)
        pump(session, lambda: session.load_started_ns > 0)

    with StopSignal() as stop:
        show = Show(Outputs(headless=False), stop, commands=commands(fleet="unquiet"))
        show.play(make().scenario)
        show.close()
    assert steps == ["Ending small: waiting for the fleet to be quiet. Esc: end at once"]


def test_parts_that_were_never_started_have_not_begun() -> None:
    assert not Processes({}).has_begun("server")


def test_the_end_of_a_run_that_ended_by_itself_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    with StopSignal() as stop:
        show = Show(Outputs(headless=True), stop)
        assert show._patience() == UNASKED_PATIENCE > 1
        monkeypatch.setattr(stop, "asked", True)
        assert show._patience() == 1
