"""A video file, written picture by picture: an ffmpeg process that is fed, watched and ended.

It knows no canvas and no window; both hand it pictures. Invariant: under its name there is a whole video or nothing
new, and no ffmpeg is left running, however writing ends.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from workbench.errors import RunError
from workbench.export.package import require_package
from workbench.output_file import whole_file

# H.264 with a colour for four pixels and the index in front plays everywhere. The colours are told to be BT.709, which
# players assume of large pictures and get wrong of small ones when nothing is said.
_COLORS = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")
_ENCODE = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "16", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
_FILTER = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int"


class VideoWriter:
    """Writes an MP4 while it is entered; when it is left by an error, nothing is kept."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        """`size`: width and height of the pictures in pixels; an odd one gets a black line more.

        Raises UserError when there is no ffmpeg.
        """
        self._path = path
        self._ffmpeg = _ffmpeg()
        self._fps = Fraction(fps).limit_denominator(1001)
        width, height = size
        self._picture = np.zeros((height + height % 2, width + width % 2, 3), np.uint8)
        self._inside = self._picture[:height, :width]

    def __enter__(self) -> "VideoWriter":
        self._run = self._running()
        self._run.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run.__exit__(kind, error, trace)

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Show this for one picture's time. `picture`: red, green, blue, shape (height, width, 3), of the size told.

        Raises RunError when ffmpeg has given up.
        """
        assert picture.shape == self._inside.shape, f"a picture of {picture.shape} in a video of {self._inside.shape}"
        self._inside[:] = picture
        try:
            self._pipe().write(self._picture.data)
        except OSError:
            self._process.wait()
            raise self._failure() from None

    # --- Inside ---

    @contextmanager
    def _running(self) -> Iterator[None]:
        with whole_file(self._path) as target, tempfile.TemporaryFile() as self._words:
            self._process = _start(self._command(target), self._words)
            try:
                yield
                self._finish()
            finally:
                self._process.kill()
                _hang_up(self._pipe())
                self._process.wait()

    def _command(self, target: Path) -> list[str]:
        height, width, _ = self._picture.shape
        source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(self._fps), "-i", "-")
        return [
            *(self._ffmpeg, "-y", "-v", "error", *source, "-an", "-vf", _FILTER),
            *(*_ENCODE, *_COLORS, "-f", "mp4", str(target)),
        ]

    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _finish(self) -> None:
        """Tell ffmpeg that this was all, and wait for its index."""
        _hang_up(self._pipe())
        if self._process.wait() != 0:
            raise self._failure()

    def _failure(self) -> RunError:
        self._words.seek(0)
        lines = self._words.read().decode("utf-8", "replace").split("\n")
        told = next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")
        return RunError(f"{self._path} cannot be written: ffmpeg ended with {self._process.returncode} ({told})")


def _start(command: list[str], words: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=words,
            process_group=0,  # A Ctrl-C at the terminal is for us: ffmpeg ends when we say so.
        )
    except OSError as error:
        raise RunError(
            f"{command[0]} cannot be started: {error.strerror}; set IMAGEIO_FFMPEG_EXE to an ffmpeg"
        ) from None


def _hang_up(pipe: IO[bytes]) -> None:
    """Close our end of the pipe. Where ffmpeg has ended before, its exit code says why."""
    with suppress(BrokenPipeError):
        pipe.close()


def _ffmpeg() -> str:
    """The path of the ffmpeg that the package brings, or of the one that IMAGEIO_FFMPEG_EXE names."""
    require_package("imageio_ffmpeg", "video")
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise RunError(f"there is no ffmpeg: {error}; set IMAGEIO_FFMPEG_EXE to one") from None
