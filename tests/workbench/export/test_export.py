"""Animations and videos of the canvas, opened by other readers; and the options of the command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from server.palette import PALETTE
from support import recorded
from support.exported import TICKS, Canvases, change, export, make_source, source_in
from workbench import output_file
from workbench.cli import app as cli
from workbench.errors import RunError, UserError
from workbench.export import video
from workbench.export.command import ExportOptions, export_recording
from workbench.export.excerpt import excerpt_of
from workbench.export.progress import export_progress
from workbench.export.timelapse import durations_ms, timelapse_of
from workbench.export.video import open_video
from workbench.recording import rows as sample_rows
from workbench.recording.reader import Recording

REAL_TIME = ExportOptions(speed=1, fps=10)
"""One picture per tick: picture n is the canvas after tick n."""
ENDINGS = (".mp4", ".gif", ".webp", ".apng", ".parquet", ".csv", ".mcap", ".prom")


@pytest.fixture
def canvases(tmp_path: Path) -> Canvases:
    """The canvas after each tick of the recording that is exported."""
    return make_source(tmp_path)


def shown(path: Path) -> list[tuple[int, NDArray[np.uint8]]]:
    """(milliseconds from the start, picture) of each picture of an animation."""
    pictures, now_ms = [], 0
    with Image.open(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            pictures.append((now_ms, np.array(image.convert("RGB"))))
            now_ms += round(image.info["duration"])
    return pictures


def enlarged(canvas: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    return np.kron(PALETTE[canvas], np.ones((scale, scale, 1), np.uint8))


def frames_of(path: Path) -> tuple[dict[str, Any], list[NDArray[np.uint8]]]:
    """The output of ffmpeg for a video, and its pictures."""
    reading = imageio_ffmpeg.read_frames(path)
    about: dict[str, Any] = next(reading)
    width, height = about["size"]
    return about, [np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in reading]


class TestAnimation:
    @pytest.mark.parametrize("ending", [".gif", ".webp", ".apng"])
    def test_each_picture_is_the_canvas_at_its_time(self, ending: str, tmp_path: Path, canvases: Canvases) -> None:
        options = ExportOptions(speed=1, fps=10, scale=2)
        pictures = shown(export(tmp_path, ending, options))
        assert [now_ms for now_ms, _ in pictures] == [100 * number for number in range(TICKS + 1)]
        for number, (_, picture) in enumerate(pictures):
            np.testing.assert_array_equal(picture, enlarged(canvases[number], 2))

    @pytest.mark.parametrize("ending", [".gif", ".webp", ".apng"])
    def test_an_unchanged_canvas_keeps_its_duration(self, ending: str, tmp_path: Path, canvases: Canvases) -> None:
        change(source_in(tmp_path), "DELETE FROM ticks WHERE tick > 3 AND tick < 10")
        change(source_in(tmp_path), "DELETE FROM snapshots")
        pictures = shown(export(tmp_path, ending, REAL_TIME))
        at_ms = dict(pictures)
        np.testing.assert_array_equal(at_ms[300], enlarged(canvases[3], 7))
        assert 1000 in at_ms

    def test_speed_skips_ticks_but_not_the_last(self, tmp_path: Path, canvases: Canvases) -> None:
        pictures = shown(export(tmp_path, ".gif", ExportOptions(speed=5, fps=10, scale=1)))
        assert len(pictures) == 1 + 3
        np.testing.assert_array_equal(pictures[1][1], PALETTE[canvases[5]])
        np.testing.assert_array_equal(pictures[-1][1], PALETTE[canvases[TICKS]])

    def test_shows_only_the_span(self, tmp_path: Path, canvases: Canvases) -> None:
        options = ExportOptions(speed=1, fps=10, scale=1, from_s=0.4, to_s=0.7)
        pictures = [picture for _, picture in shown(export(tmp_path, ".apng", options))]
        np.testing.assert_array_equal(pictures, [PALETTE[canvases[number]] for number in (4, 5, 6, 7)])

    @given(count=st.integers(1, 400), fps=st.floats(0.5, 50), unit_ms=st.sampled_from([1, 10]))
    def test_rounding_errors_do_not_accumulate(self, count: int, fps: float, unit_ms: int) -> None:
        durations = durations_ms(count, fps, unit_ms)
        assert len(durations) == count and all(duration > 0 and duration % unit_ms == 0 for duration in durations)
        assert abs(sum(durations) - count * 1000 / fps) <= unit_ms / 2 + 1e-6

    def test_an_animation_too_large_for_memory_is_rejected(self, tmp_path: Path, canvases: Canvases) -> None:
        with pytest.raises(UserError, match=r"needs 4\.5 GB of memory; the limit is 0\.75 GB: .* or \.mp4$"):
            export(tmp_path, ".gif", ExportOptions(scale=64, fps=50, speed=0.2))


class TestVideo:
    def test_has_a_portable_format_and_every_picture(self, tmp_path: Path, canvases: Canvases) -> None:
        about, pictures = frames_of(export(tmp_path, ".mp4", ExportOptions(speed=1, fps=10, scale=8)))
        assert (about["codec"], about["size"], about["fps"]) == ("h264", (568, 408), 10)
        assert "yuv420p(tv, bt709" in about["pix_fmt"] or about["pix_fmt"].startswith("yuv420p")
        assert len(pictures) == TICKS + 1
        for number in (0, 6, TICKS):
            # The middle of each pixel: at their edges four pixels share one colour.
            middles = pictures[number][4::8, 4::8].astype(int)
            assert np.abs(middles - PALETTE[canvases[number]]).mean() < 6

    def test_an_odd_size_is_padded_with_a_black_line(self, tmp_path: Path, canvases: Canvases) -> None:
        about, pictures = frames_of(export(tmp_path, ".mp4", ExportOptions(speed=1, fps=10, scale=1)))
        assert about["size"] == (72, 52)
        assert pictures[-1][-1].max() < 40 and pictures[-1][:, -1].max() < 40

    def test_colours_are_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mp4"
        with open_video(path, (64, 48), 25) as writer:
            for color in ((230, 30, 40), (20, 200, 60), (30, 60, 220)):
                writer.write(np.full((48, 64, 3), color, np.uint8))
        _, (red, green, blue) = frames_of(path)
        np.testing.assert_allclose(red[24, 32], (230, 30, 40), atol=6)
        np.testing.assert_allclose(green[24, 32], (20, 200, 60), atol=6)
        np.testing.assert_allclose(blue[24, 32], (30, 60, 220), atol=6)

    def test_an_error_keeps_the_old_file_and_ends_ffmpeg(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mp4"
        path.write_bytes(b"former")
        with pytest.raises(KeyboardInterrupt), open_video(path, (64, 48), 25) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8))
            raise KeyboardInterrupt
        assert path.read_bytes() == b"former" and list(tmp_path.iterdir()) == [path]
        assert writer._process.poll() is not None

    @pytest.mark.parametrize("count", [0, 200])
    def test_a_failing_ffmpeg_is_reported_in_one_line(
        self, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "ffmpeg"
        program.write_text("#!/bin/sh\necho 'first line' >&2\necho 'no space left' >&2\nexit 3\n")
        program.chmod(0o755)
        monkeypatch.setattr(video, "_ffmpeg", lambda: str(program))
        path = tmp_path / "out.mp4"
        message = r"out.mp4 cannot be written: ffmpeg ended with 3 \(no space left\)"
        with pytest.raises(RunError, match=message), open_video(path, (64, 48), 25) as writer:
            for _ in range(count):
                writer.write(np.zeros((48, 64, 3), np.uint8))
        assert list(tmp_path.iterdir()) == [program]

    def test_a_missing_ffmpeg_is_reported_in_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(video, "_ffmpeg", lambda: str(tmp_path / "none"))
        with (
            pytest.raises(RunError, match="cannot be started: No such file"),
            open_video(tmp_path / "a.mp4", (2, 2), 1),
        ):
            pytest.fail("it was entered")
        assert list(tmp_path.iterdir()) == []


class TestTimelapse:
    @pytest.mark.parametrize(
        ("duration_s", "speed"), [(1.2, 1), (20, 1), (25, 1.3), (60, 3), (61, 3.1), (3600, 180), (4000.5, 210)]
    )
    def test_lasts_at_most_twenty_seconds(self, duration_s: float, speed: float, tmp_path: Path) -> None:
        path = tmp_path / "a.pxr"
        recorded.make(path, 1)
        last_ns = recorded.STARTED_NS + round(duration_s * 1e9)
        sample = recorded.sample_of(1)
        sample["time_ns"] = last_ns
        change(path, "DELETE FROM samples")
        change(path, sample_rows.ADD_SAMPLE, *sample_rows.sample_row(1, sample))
        with Recording.open(path) as recording:
            film = timelapse_of(excerpt_of(recording), None, None, None, usual_fps=20, usual_side=512)
        assert film.speed == pytest.approx(speed) and film.excerpt.duration_s / film.speed <= 20
        assert (film.fps, film.scale) == (20, 7)

    def test_pictures_have_times_within_the_excerpt(self, tmp_path: Path, canvases: Canvases) -> None:
        with Recording.open(source_in(tmp_path)) as recording:
            excerpt = excerpt_of(recording, 0.25, 0.95)
            film = timelapse_of(excerpt, 2, 10, 1, usual_fps=1, usual_side=1)
            shown = [(time_ns - recording.first_ns, canvas.copy()) for time_ns, canvas in film.canvases()]
        assert [time_ns / 1e9 for time_ns, _ in shown] == [0.25, 0.45, 0.65, 0.85, 0.95]
        for (_, canvas), tick in zip(shown, (2, 4, 6, 8, 9), strict=True):
            np.testing.assert_array_equal(canvas, canvases[tick])


class TestCommand:
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_prints_a_summary(
        self, ending: str, tmp_path: Path, canvases: Canvases, capsys: pytest.CaptureFixture[str]
    ) -> None:
        target = tmp_path / "out" / f"b{ending}"
        assert cli.run_main(["export", str(source_in(tmp_path)), str(target)]) == 0
        out, err = capsys.readouterr()
        assert out.startswith(f"{target}: ") and out.count("\n") == 1 and err == ""
        assert target.stat().st_mode & 0o777 == source_in(tmp_path).stat().st_mode & 0o777

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            ("b.avi", "has no known suffix; use one of .mp4 .gif .webp .apng .parquet .csv .mcap .prom"),
            ("b", "has no known suffix"),
            ("b.gif --table ticks", "--table does not apply to .gif files; omit it, or write one of .parquet"),
            ("b.csv --fps 3", "--fps does not apply to .csv files"),
            ("b.csv --table tick", "--table is 'tick'; it must be one of samples, stages, ticks, markers"),
            ("b.gif --fps 51", "--fps is 51; a GIF shows at most 50 fps"),
            ("b.mp4 --fps 0", "--fps is 0; it must be above 0 and at most 120"),
            ("b.mp4 --speed -1", "--speed is -1; it must be above 0"),
            ("b.mp4 --scale 0", "--scale is 0; it must be 1 to 64"),
            ("b.mp4 --from 9", "--from is 9; it must be 0 to 1.2, the recording's length in seconds"),
            ("b.mp4 --from 1 --to 1", "--to is 1; it must be greater than --from, which is 1"),
            ("none/b.mp4", "there is no folder"),
        ],
    )  # fmt: skip
    def test_rejects_invalid_options_in_one_line(
        self, words: str, line: str, tmp_path: Path, canvases: Canvases, capsys: pytest.CaptureFixture[str]
    ) -> None:
        name, *options = words.split()
        assert cli.run_main(["export", str(source_in(tmp_path)), str(tmp_path / "out" / name), *options]) == 2
        out, err = capsys.readouterr()
        assert line in err and err.count("\n") == 1 and out == ""
        assert list((tmp_path / "out").iterdir()) == []

    def test_does_not_overwrite_its_source(self, tmp_path: Path, canvases: Canvases) -> None:
        source = source_in(tmp_path).rename(tmp_path / "in" / "a.csv")
        with pytest.raises(UserError, match="holds a recording or a journal"):
            export_recording(source, source, ExportOptions())

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_an_interrupt_keeps_the_old_file(
        self,
        ending: str,
        tmp_path: Path,
        canvases: Canvases,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        target = tmp_path / "out" / f"b{ending}"
        target.write_bytes(b"former")
        stop_at_the_end(monkeypatch)
        assert cli.run_main(["export", str(source_in(tmp_path)), str(target)]) == 0
        assert capsys.readouterr() == (f"{target}: interrupted before it was complete; unchanged\n", "")
        assert target.read_bytes() == b"former" and list(target.parent.iterdir()) == [target]

    @pytest.mark.parametrize("ending", [".mp4", ".gif", ".mcap"])
    def test_a_damaged_recording_leaves_nothing(self, ending: str, tmp_path: Path, canvases: Canvases) -> None:
        change(source_in(tmp_path), "UPDATE ticks SET crc = crc + 1 WHERE tick = 7")
        target = tmp_path / "out" / f"b{ending}"
        with pytest.raises(UserError, match="tick 7 is not what was written"):
            export_recording(source_in(tmp_path), target, REAL_TIME if ending != ".mcap" else ExportOptions())
        assert list(target.parent.iterdir()) == []

    @pytest.mark.parametrize(
        ("ending", "name"), [(".mp4", "imageio-ffmpeg"), (".parquet", "pyarrow"), (".mcap", "mcap")]
    )
    def test_a_missing_package_is_reported_with_its_remedy(
        self, ending: str, name: str, tmp_path: Path, canvases: Canvases, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(output_file, "find_spec", lambda _: None)
        with pytest.raises(UserError, match=rf"needs the package {name}, .*: pip install '{name}'.*\[export\]"):
            export(tmp_path, ending)


def stop_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C when the file is written but not renamed yet."""
    replace: Callable[..., Path] = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        if path.name.startswith(".b."):
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", interrupted)


class TestProgress:
    def test_is_shown_only_on_a_terminal(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with export_progress() as progress:
            assert list(progress.each("abc", "letters", 3)) == ["a", "b", "c"]
        assert capsys.readouterr() == ("", "")
        monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
        monkeypatch.setenv("FORCE_COLOR", "1")
        with export_progress() as progress:
            assert list(progress.each("abc", "letters", 3)) == ["a", "b", "c"]
            progress.begin("an end")
        out, err = capsys.readouterr()
        assert out == "" and "letters" in err
