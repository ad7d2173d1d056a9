"""A failing key or click shows a message in the window; window and run continue."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.knobs_view_parts import SECOND_NS, Hand
from support.window_stage import FakeSession, Written, heat_map, words
from workbench.errors import RunError, UserError
from workbench.scenarios.scenario import Scenario
from workbench.window.toolkit.display import Display, pygame
from workbench.window.toolkit.keys import BINDINGS

GONE = "the current folder is gone; start the program in another one"


@pytest.fixture
def hand() -> Iterator[Hand]:
    one = Hand(FakeSession(heat_map(64, 64)))
    yield one
    one.window.close()


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def message_of(hand: Hand, written: list[Written]) -> str:
    """The message that the window shows; the window is still open."""
    toast = hand.window._layout.toast
    assert not hand.window.closed and toast._role == "vermilion"
    assert toast._text in " ".join(words(written).split())
    return toast._text


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("no such thing"), "no such thing"),
        (RunError("it could not be done"), "it could not be done"),
        (OSError(28, "No space left on device", "/a/b"), "/a/b: No space left on device"),
        (OSError(11, "Try again"), "Try again"),
        (pygame.error("the display is gone"), "the display is gone"),
    ],
    ids=["user", "run", "file", "system", "display"],
)
def test_a_failing_key_does_not_close_the_window(
    hand: Hand, written: list[Written], monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    monkeypatch.setattr(hand.window, "press", raising(error))
    for binding in BINDINGS:
        hand.key(binding.codes[0], mod=pygame.KMOD_SHIFT if binding.with_shift else 0)
        assert message_of(hand, written) == message
        hand.window._layout.toast.show("", 0)


class TestWithoutAFolder:
    @pytest.fixture(autouse=True)
    def gone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "gone"
        folder.mkdir()
        monkeypatch.chdir(folder)
        folder.rmdir()

    def test_a_screenshot(self, hand: Hand, written: list[Written]) -> None:
        hand.key(pygame.K_s)
        assert message_of(hand, written) == GONE

    def test_a_copied_scenario(self, hand: Hand, written: list[Written]) -> None:
        hand.click(hand.box("copy").center)
        assert message_of(hand, written) == GONE


class TestPicking:
    def test_a_scenario_whose_file_is_damaged(
        self, hand: Hand, written: list[Written], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "workbench.scenarios.catalog.load_scenario", raising(UserError("scenario crowd cannot be read"))
        )
        hand.key(pygame.K_l)
        assert message_of(hand, written) == "scenario crowd cannot be read"
        assert not hand.window._layout.picker.shown

    def test_one_without_its_picture(
        self, hand: Hand, written: list[Written], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("workbench.scenarios.catalog.portrait_path", lambda name: tmp_path / f"{name}.png")
        hand.key(pygame.K_l)
        assert "first_light.png" in message_of(hand, written)
        assert not hand.window._layout.picker.shown

    def test_one_whose_file_is_deleted_while_the_cards_are_open(
        self, hand: Hand, written: list[Written], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hand.key(pygame.K_l)
        monkeypatch.setattr(
            "workbench.scenarios.catalog.load_scenario", raising(UserError("scenario crowd cannot be read"))
        )
        hand.key(pygame.K_RIGHT, pygame.K_RETURN)
        assert hand.window.wanted is not None  # It was read with its card.

    def test_one_that_cannot_be_run(self, hand: Hand, written: list[Written]) -> None:
        refused: list[Scenario] = []

        def refuse(scenario: Scenario) -> None:
            refused.append(scenario)
            raise UserError("--record a-2.pxr already exists; choose another name, or move it away")

        hand.window.require = refuse
        hand.key(pygame.K_l, pygame.K_RIGHT, pygame.K_RETURN)
        assert hand.window.wanted is None and len(refused) == 1
        assert message_of(hand, written).startswith("--record a-2.pxr already exists")

    def test_a_restart_that_is_refused(self, hand: Hand, written: list[Written]) -> None:
        hand.session.controls.set("server.loops", 2, 0)
        hand.step()
        hand.window.require = raising(UserError("cannot listen on 127.0.0.1:80"))
        hand.click(hand.box("restart").center)
        assert hand.window.wanted is None
        assert message_of(hand, written) == "cannot listen on 127.0.0.1:80"


def test_a_display_without_full_screen(hand: Hand, written: list[Written], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Display, "toggle_full_screen", raising(pygame.error("no such mode")))
    hand.key(pygame.K_F11)
    assert message_of(hand, written) == "no such mode"


@pytest.mark.parametrize("what", ["screenshot", "scenario"])
def test_a_folder_that_is_not_writable(
    hand: Hand,
    written: list[Written],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    what: str,
) -> None:
    path = tmp_path / "gone" / "file"
    monkeypatch.setattr("workbench.window.shell.window.free_path", lambda *_: path)
    if what == "screenshot":
        hand.key(pygame.K_s)
    else:
        hand.click(hand.box("copy").center)
    assert message_of(hand, written).startswith(f"{path} cannot be written: No such file or directory; make room")
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
def test_a_full_disk_is_reported_once(
    hand: Hand, written: list[Written], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("workbench.window.shell.window.free_path", lambda *_: Path("/dev/full"))
    hand.key(pygame.K_s)
    assert message_of(hand, written).startswith("/dev/full cannot be written: No space left on device; make room")
    assert capfd.readouterr().err == ""


def test_a_long_message_is_wrapped(hand: Hand, written: list[Written]) -> None:
    text = f"/home/{'a_long_folder/' * 9}first_light-001.png cannot be written: No space left on device; make room"
    hand.window._complain(text, hand.now_ns)
    written.clear()
    hand.step(0)
    assert text in " ".join(words(written).split())
    assert all(entry.whole for entry in written)
    hand.step(5 * SECOND_NS)
    assert hand.window._layout.toast._text == text
