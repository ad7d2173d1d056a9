"""A video file, written picture by picture through an ffmpeg process.

However writing ends, the file is a complete video or unchanged, and no ffmpeg is left running.
"""

import errno
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from workbench.errors import RunError
from workbench.output_file import require_package, whole_file

# H.264 with 4:2:0 chroma and the index at the front plays everywhere. The colours are tagged as BT.709: without a tag,
# players assume BT.709 only for large pictures and show small ones in wrong colours.
_COLORS = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")
_ENCODE = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "16", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
_FILTER = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int"

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@contextmanager
def open_video(path: Path, size: tuple[int, int], fps: float) -> Iterator["VideoWriter"]:
    """Write an MP4; when the body raises, nothing is kept.

    `size`: width and height of the pictures in pixels; an odd one is padded with a black line. Raises UserError when
    there is no ffmpeg.
    """
    writer = VideoWriter(path, size, fps)
    with whole_file(path) as target, tempfile.TemporaryFile() as errors:
        writer.start(target, errors)
        try:
            yield writer
            writer.finish()
        finally:
            writer.stop()


class VideoWriter:
    """A video that is written by an ffmpeg process; use `open_video`."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self._path = path
        self._ffmpeg = _ffmpeg()
        self._fps = Fraction(fps).limit_denominator(1001)
        width, height = size
        self._picture = np.zeros((height + height % 2, width + width % 2, 3), np.uint8)
        self._inside = self._picture[:height, :width]

    def start(self, target: Path, errors: IO[bytes]) -> None:
        """Start ffmpeg, which writes `target`. `errors`: a file for its messages."""
        self._stderr = errors
        self._process = _start(self._command(target), errors)

    def stop(self) -> None:
        """End ffmpeg. After a normal end it has exited, and this does nothing."""
        self._process.kill()
        _close(self._pipe())
        self._process.wait()

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Add a picture: red, green, blue, shape (height, width, 3), of the size given at the start.

        Raises RunError when ffmpeg has failed.
        """
        assert picture.shape == self._inside.shape, f"a picture of {picture.shape} in a video of {self._inside.shape}"
        # H.264 needs even sides: the array that is sent has one more row or column where the picture has an odd one.
        self._inside[:] = picture
        try:
            self._pipe().write(self._picture.data)
        except OSError:
            self._process.wait()
            raise self._failure() from None

    def finish(self) -> None:
        """Close the input of ffmpeg, and wait until it has written its index."""
        _close(self._pipe())
        if self._process.wait() != 0:
            raise self._failure()

    # --- Inside ---

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

    def _failure(self) -> RunError | OSError:
        """The error that ended ffmpeg."""
        # When the disk refuses, its messages do not say so, but its exit code is the negated errno.
        code = self._process.returncode
        disk_error = errno.EFBIG if code == -signal.SIGXFSZ else 256 - code
        if disk_error in _DISK_ERRORS:
            return OSError(disk_error, os.strerror(disk_error))
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").split("\n")
        message = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        return RunError(f"{self._path} cannot be written: ffmpeg ended with {code} ({message})")


def _start(command: list[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            # Ctrl-C at the terminal must not reach ffmpeg: it ends when its input does, or by a kill from here.
            process_group=0,
        )
    except OSError as error:
        raise RunError(
            f"{command[0]} cannot be started: {error.strerror}; set IMAGEIO_FFMPEG_EXE to an ffmpeg"
        ) from None


def _close(pipe: IO[bytes]) -> None:
    """Close our end of the pipe."""
    # When ffmpeg has ended before, its exit code says why.
    with suppress(BrokenPipeError):
        pipe.close()


def _ffmpeg() -> str:
    """The path of the ffmpeg that comes with the package, or of the one in IMAGEIO_FFMPEG_EXE."""
    require_package("imageio_ffmpeg", "video")
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise RunError(f"there is no ffmpeg: {error}; set IMAGEIO_FFMPEG_EXE to one") from None
