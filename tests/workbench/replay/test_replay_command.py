"""`replay` without a display: a screenshot or a video of the window, with real panels."""

import sys
from contextlib import closing
from pathlib import Path

import imageio_ffmpeg
import pytest
from PIL import Image

from server.system.clock import now_ns
from support import recorded
from workbench.errors import RunError, UserError
from workbench.recording.reader import Recording
from workbench.replay import command as replay_command
from workbench.replay.command import FILM_FPS, replay_recording
from workbench.replay.session import ReplaySession
from workbench.stop_signal import StopSignal
from workbench.window.shell.window import Window

TICKS = 20


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filmed") / "a.pxr"
    recorded.make(path, TICKS)
    return path


def test_a_film_has_a_picture_of_the_window_for_every_tenth_of_a_second(path: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    code, wanted = replay_recording(path, from_s=0.5, to_s=1.2, video=film)
    assert (code, wanted) == (0, None)
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(film))
    assert count == round(0.7 * FILM_FPS) + 1
    assert seconds == pytest.approx(count / FILM_FPS)
    pictures = imageio_ffmpeg.read_frames(str(film))
    assert next(pictures)["size"] == (1600, 900)
    first, *_, last = pictures
    assert first != last  # Something moved: the canvas, the figures, the time.


def test_a_film_starts_at_the_first_moment_however_long_the_start_takes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_command, "_PANELS_PATIENCE_NS", 0)
    with (
        Recording.open(path) as recording,
        closing(ReplaySession(recording, from_s=0.5, to_s=1.2, with_panels=False)) as session,
        closing(Window(session, headless=True)) as window,
    ):
        session.start(0)  # A very long time before the film.
        at_s = [
            (session.transport.position_ns - recording.first_ns) / 1e9
            for _ in replay_command._pictures(session, window, StopSignal())
        ]
        session.end()
    assert at_s == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2])


def test_panels_that_end_are_reported(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vanish = {"panels": [sys.executable, "-c", ""]}
    with pytest.raises(RunError, match="panels: ended with exit code 0"):
        replay_recording(path, screenshot=tmp_path / "end.png", commands=vanish)


def test_a_window_whose_panels_end_goes_on_and_reports_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def look_on(session: ReplaySession, stop: StopSignal) -> None:
        while not session.failed:
            session.wait(1.0)
            session.poll(now_ns())

    monkeypatch.setattr(replay_command, "_show", look_on)
    assert replay_recording(path, commands={"panels": [sys.executable, "-c", ""]}) == (1, None)
    assert capsys.readouterr().err == "panels: ended with exit code 0\n"


def test_a_picture_is_of_the_window(path: Path, tmp_path: Path) -> None:
    code, _ = replay_recording(path, to_s=1.0, screenshot=tmp_path / "end.png")
    assert code == 0
    assert Image.open(tmp_path / "end.png").size == (1600, 900)


def test_a_film_of_another_format_is_rejected_before_reading(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.foo: the window is filmed as \.mp4 only"):
        replay_recording(tmp_path / "none.pxr", video=tmp_path / "x.foo")
