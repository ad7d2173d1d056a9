"""Ending a session: whoever looks on is told what is waited for, and may have it end at once."""

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
    def test_it_tells_what_is_waited_for(self) -> None:
        session, told = running(fleet="unquiet", with_panels=True), []

        def attend(step: str) -> bool:
            told.append((step, [part.state for part in session.view().parts[:2]]))
            return len(told) < 4

        session.end(attend=attend)
        # The fleet is never quiet, and would have been waited for much longer.
        assert [step for step, _ in told] == ["waiting for the fleet to be quiet"] * 4
        assert all(states == ["running"] * 2 for _, states in told)
        assert [part.state for part in session.view().parts] == ["stopped"] * 3 and not session.failed
        session.close()

    def test_a_part_that_will_not_end_is_not_waited_for_by_who_does_not_want_to(self) -> None:
        session, told = running(server="stubborn"), []
        session.end(is_checked=False, attend=lambda step: bool(told.append(step)))
        assert len(told) == 1  # From then on, nobody is asked.
        assert [part.state for part in session.view().parts] == ["stopped"] * 2 and not session.failed
        session.close()

    def test_patience_may_run_out_while_it_is_waited_for(self) -> None:
        session, told = running(fleet="unquiet"), []
        session.end(attend=lambda step: told.append(step) is None, patience=lambda: 0.0 if len(told) > 2 else 1000.0)
        assert told[:3] == ["waiting for the fleet to be quiet"] * 3 and len(told) == 3
        session.close()

    def test_a_part_that_has_not_begun_is_not_asked_to_end(self) -> None:
        session = started(make(server="stubborn"))  # It never listens, so the fleet is given nothing to begin with.
        session.end()
        assert not session.failed, session.failures
        session.close()


class TestWindow:
    @pytest.fixture
    def window(self) -> Window:
        return Window(FakeSession(heat_map(64, 64)), size=(1280, 720))

    def press(self, key: int) -> None:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, mod=0, unicode=""))

    def test_it_goes_on_drawing_and_takes_a_second_escape(self, window: Window) -> None:
        self.press(pygame.K_ESCAPE)
        window.draw()
        assert window.closed
        before = rgb(window.draw())
        assert window.attend("Ending it: waiting") and (rgb(window._screen) != before).any()
        self.press(pygame.K_l)  # Nothing else can be wanted any more.
        assert window.attend("Ending it: waiting") and not window._layout.picker.shown
        self.press(pygame.K_ESCAPE)
        assert not window.attend("Ending it: waiting")
        window.close()

    def test_a_run_that_was_picked_comes_all_the_same(self, window: Window) -> None:
        assert window.attend("Ending it: waiting")
        self.press(pygame.K_ESCAPE)
        assert not window.attend("Ending it: waiting") and not window.closed
        window.show(FakeSession(heat_map(32, 32)))
        assert window.caption == "" and window.attend("Ending another: waiting")
        window.close()

    def test_closing_it_is_both(self, window: Window) -> None:
        window.attend("Ending it: waiting")
        pygame.event.post(pygame.event.Event(pygame.WINDOWCLOSE))
        assert not window.attend("Ending it: waiting") and window.closed
        window.close()


def test_a_show_lets_its_window_look_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    def attend(self: Window, caption: str) -> bool:
        told.append(caption)
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
    assert told == ["Ending small: waiting for the fleet to be quiet. Esc: end at once"]


def test_parts_that_were_never_started_have_not_begun() -> None:
    assert not Processes({}).has_begun("server")


def test_an_end_that_nobody_has_asked_for_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    with StopSignal() as stop:
        show = Show(Outputs(headless=True), stop)
        assert show._patience() == UNASKED_PATIENCE > 1
        monkeypatch.setattr(stop, "asked", True)
        assert show._patience() == 1
