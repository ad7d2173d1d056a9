"""The canvas of an excerpt as pictures at an even pace: what an animation or a video shows, before any format.

It writes nothing. Invariant: the first picture is the canvas at the excerpt's beginning, the last the one at its end,
and each in between is the canvas at its own moment.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.errors import UserError
from workbench.export.excerpt import Excerpt

FILM_S = 20.0
"""How long a film lasts at most when nobody says how fast it is to run."""
FPS_MAX, SPEED_MAX, SCALE_MAX = 120, 10_000, 64
SIDE_MAX = 8192
"""Pixels on a side of a picture: what players and viewers still take."""


@dataclass(frozen=True, slots=True)
class Timelapse:
    """What is shown, how fast, how often and how large."""

    excerpt: Excerpt
    speed: float
    """Seconds of the recording a second of the film."""
    fps: float
    scale: int
    """Pixels of a picture a pixel of the canvas, in both directions."""

    @property
    def picture_count(self) -> int:
        """Pictures from beginning to end, both included."""
        return 1 + math.ceil(round(self.excerpt.duration_s * self.fps / self.speed, 6))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a picture, in pixels."""
        recording = self.excerpt.recording
        return recording.width * self.scale, recording.height * self.scale

    def canvases(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(time_ns, canvas) of each picture: palette indices, shape (height, width), the same array each time.

        Raises UserError where the recording is damaged.
        """
        excerpt = self.excerpt
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
        """The canvases enlarged: palette indices, shape (height * scale, width * scale), a new array each."""
        for _, canvas in self.canvases():
            yield canvas.repeat(self.scale, axis=0).repeat(self.scale, axis=1)

    def text(self) -> str:
        """What it comes to, for a person."""
        width, height = self.size
        lasts_s = self.picture_count / self.fps
        return (
            f"{self.picture_count} pictures of {width} x {height}, {self.fps:g} a second: {lasts_s:.1f} s at "
            f"{self.speed:g} times the speed"
        )


def timelapse_of(
    excerpt: Excerpt, speed: float | None, fps: float | None, scale: int | None, *, usual_fps: float, usual_side: int
) -> Timelapse:
    """What is asked for. Where nothing is: at most FILM_S long, `usual_fps`, as large as `usual_side` allows.

    Raises UserError for a figure that is out of range, or for pictures that get too large.
    """
    recording = excerpt.recording
    longest = max(recording.width, recording.height)
    chosen_fps = usual_fps if fps is None else fps
    chosen_speed = _round_up(max(1.0, excerpt.duration_s / FILM_S)) if speed is None else speed
    chosen_scale = max(1, usual_side // longest) if scale is None else scale
    if not 0 < chosen_fps <= FPS_MAX:
        raise UserError(f"--fps is {chosen_fps:g}; it must be above 0 and at most {FPS_MAX}")
    if not 0 < chosen_speed <= SPEED_MAX:
        raise UserError(f"--speed is {chosen_speed:g}; it must be above 0 and at most {SPEED_MAX}")
    if not 1 <= chosen_scale <= SCALE_MAX:
        raise UserError(f"--scale is {chosen_scale}; it must be 1 to {SCALE_MAX}")
    if longest * chosen_scale > SIDE_MAX:
        raise UserError(
            f"--scale {chosen_scale} makes pictures of {longest * chosen_scale} pixels on a side; at most {SIDE_MAX} "
            f"are shown everywhere: give --scale {SIDE_MAX // longest}"
        )
    return Timelapse(excerpt, chosen_speed, chosen_fps, chosen_scale)


def _round_up(speed: float) -> float:
    """The next speed that reads well: two figures at most."""
    step = 10.0 ** max(-1, math.floor(math.log10(speed)) - 1)
    return round(math.ceil(round(speed / step, 6)) * step, 1)
