"""The canvas of an excerpt as pictures at a constant rate, and their animation as GIF, APNG or WebP.

The first picture is the canvas at the excerpt's start, the last the canvas at its end, and each one between is the
canvas at its own time.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workbench.errors import UserError
from workbench.export.excerpt import Excerpt
from workbench.output_file import whole_file

# Maximum length when no speed is given.
LENGTH_S = 20.0
FPS_MAX, SPEED_MAX, SCALE_MAX = 120, 10_000, 64
# Largest side of a picture in pixels: what players and viewers accept.
SIDE_MAX = 8192
# Of all pictures together: Pillow holds all of them in memory, one byte per pixel.
_PIXELS_MAX = 750_000_000


@dataclass(frozen=True, slots=True)
class Timelapse:
    """The pictures of an excerpt: their speed, rate and scale."""

    excerpt: Excerpt
    speed: float
    """Seconds of the recording per second of the timelapse."""
    fps: float
    scale: int
    """Pixels of a picture per pixel of the canvas, in both directions."""

    @property
    def picture_count(self) -> int:
        """Number of pictures, the first and the last included."""
        # Rounded first: 20.000000000000004 pictures are 20, not 21.
        return 1 + math.ceil(round(self.excerpt.duration_s * self.fps / self.speed, 6))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a picture, in pixels."""
        recording = self.excerpt.recording
        return recording.width * self.scale, recording.height * self.scale

    def canvases(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(time_ns, canvas) of each picture: palette indices, shape (height, width); the array is reused.

        Raises UserError where the recording is damaged.
        """
        excerpt = self.excerpt
        # One pass over the ticks: asking for each canvas by itself would read every tick several times.
        canvas = excerpt.recording.canvas_at(excerpt.from_ns)
        cells = canvas.reshape(-1)
        frames = excerpt.recording.frames(excerpt.from_ns, excerpt.to_ns)
        frame = next(frames, None)
        for number in range(self.picture_count):
            now_ns = min(excerpt.to_ns, excerpt.from_ns + round(number * self.speed / self.fps * 1e9))
            while frame is not None and frame.time_ns <= now_ns:
                cells[frame.changes["pixel"]] = frame.changes["color"]
                frame = next(frames, None)
            yield now_ns, canvas

    def pictures(self) -> Iterator[NDArray[np.uint8]]:
        """The enlarged canvases: palette indices, shape (height * scale, width * scale), each a new array."""
        for _, canvas in self.canvases():
            yield canvas.repeat(self.scale, axis=0).repeat(self.scale, axis=1)

    def text(self) -> str:
        """A summary in one line."""
        width, height = self.size
        length_s = self.picture_count / self.fps
        pictures = f"{self.picture_count} pictures of {width} x {height}"
        return f"{pictures} at {self.fps:g} fps: {length_s:.1f} s at {self.speed:g}x speed"


def timelapse_of(
    excerpt: Excerpt, speed: float | None, fps: float | None, scale: int | None, *, usual_fps: float, usual_side: int
) -> Timelapse:
    """A timelapse. By default at most LENGTH_S long, at `usual_fps`, as large as `usual_side` allows.

    Raises UserError for a value out of range, or for pictures that become too large.
    """
    recording = excerpt.recording
    longest = max(recording.width, recording.height)
    chosen_fps = usual_fps if fps is None else fps
    chosen_speed = _round_up(max(1.0, excerpt.duration_s / LENGTH_S)) if speed is None else speed
    chosen_scale = max(1, usual_side // longest) if scale is None else scale
    if not 0 < chosen_fps <= FPS_MAX:
        raise UserError(f"--fps is {chosen_fps:g}; it must be above 0 and at most {FPS_MAX}")
    if not 0 < chosen_speed <= SPEED_MAX:
        raise UserError(f"--speed is {chosen_speed:g}; it must be above 0 and at most {SPEED_MAX}")
    if not 1 <= chosen_scale <= SCALE_MAX:
        raise UserError(f"--scale is {chosen_scale}; it must be 1 to {SCALE_MAX}")
    if longest * chosen_scale > SIDE_MAX:
        raise UserError(
            f"--scale {chosen_scale} makes sides of {longest * chosen_scale} pixels; the maximum is {SIDE_MAX}: "
            f"use --scale {SIDE_MAX // longest}"
        )
    return Timelapse(excerpt, chosen_speed, chosen_fps, chosen_scale)


def _round_up(speed: float) -> float:
    """The next speed with at most two significant digits."""
    step = 10.0 ** max(-1, math.floor(math.log10(speed)) - 1)
    return round(math.ceil(round(speed / step, 6)) * step, 1)


@dataclass(frozen=True, slots=True)
class AnimationFormat:
    """The limits of a format, and Pillow's options for it."""

    name: str
    pillow_name: str
    unit_ms: int
    """Resolution of picture durations."""
    shown_ms_min: int
    """Viewers show a picture at least this long, whatever the file says."""
    options: tuple[tuple[str, Any], ...]


GIF = AnimationFormat("GIF", "GIF", 10, 20, (("optimize", False), ("disposal", 1)))
APNG = AnimationFormat("APNG", "PNG", 1, 10, ())
WEBP = AnimationFormat("WebP", "WEBP", 1, 10, (("lossless", True), ("method", 0), ("quality", 20)))


def durations_ms(count: int, fps: float, unit_ms: int) -> list[int]:
    """The duration of each of `count` pictures. Rounding errors do not accumulate."""
    ends = [round(number * 1000 / fps / unit_ms) * unit_ms for number in range(count + 1)]
    return [end - start for start, end in pairwise(ends)]


def require_animation(timelapse: Timelapse, kind: AnimationFormat) -> None:
    """Raise UserError for a timelapse that exceeds the format, or the memory needed to write it."""
    fps_max = 1000 / kind.shown_ms_min
    if timelapse.fps > fps_max:
        raise UserError(f"--fps is {timelapse.fps:g}; a {kind.name} shows at most {fps_max:g} fps")
    width, height = timelapse.size
    total = width * height * timelapse.picture_count
    if total > _PIXELS_MAX:
        raise UserError(
            f"a {kind.name} of {timelapse.picture_count} pictures of {width} x {height} needs {total / 1e9:.1f} GB of "
            f"memory; the limit is {_PIXELS_MAX / 1e9:g} GB: use a higher --speed, a lower --fps or --scale, or .mp4"
        )


def write_animation(
    path: Path,
    kind: AnimationFormat,
    timelapse: Timelapse,
    pictures: Iterable[NDArray[np.uint8]],
    palette: NDArray[np.uint8],
) -> None:
    """Write the pictures: palette indices, shape (height, width). `palette`: shape (256, 3).

    Raises RunError when the disk refuses.
    """
    first, *rest = (_indexed(picture, palette) for picture in pictures)
    shown = durations_ms(1 + len(rest), timelapse.fps, kind.unit_ms)
    with whole_file(path) as target:
        first.save(
            target,
            format=kind.pillow_name,
            save_all=True,
            append_images=rest,
            duration=shown,
            loop=0,
            **dict(kind.options),
        )


def _indexed(picture: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(picture), "L")
    # A palette turns the grey levels of the image into palette indices.
    image.putpalette(palette.tobytes())
    return image
