"""The canvas over time as pictures in a page: a strip of stills, and an animation of them and more.

It knows no page. Invariant: every picture shows the canvas as it was at the time that it is told with.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workbench.recording.reader import Recording

STILLS = 12
MOMENTS = 4 * STILLS
"""Pictures of the animation; every fourth is a still."""
MOMENT_MS = 125
LAST_MS = 1500
"""The last picture stands still before it begins anew."""
SIDE_PIXELS_MAX = 512


@dataclass(frozen=True, slots=True)
class Moment:
    """The canvas at a time."""

    time_ns: int
    png: bytes
    size: tuple[int, int]
    """Pixels across and down; a large canvas is shown smaller."""


@dataclass(frozen=True, slots=True)
class Lapse:
    """The canvas over time."""

    stills: tuple[Moment, ...]
    animation: bytes
    """A WebP file of all moments, lossless."""


def lapse_of(recording: Recording, from_ns: int, to_ns: int) -> Lapse:
    """The canvas at `MOMENTS` times, the last of which is `to_ns`. Raises UserError where the file is damaged."""
    palette = recording.colors.tobytes()
    steps = [from_ns + (to_ns - from_ns) * index // MOMENTS for index in range(1, MOMENTS + 1)]
    images = [_image(recording.canvas_at(time_ns), palette) for time_ns in steps]
    every = MOMENTS // STILLS
    stills = [moment_of(*pair) for pair in list(zip(steps, images, strict=True))[every - 1 :: every]]
    return Lapse(tuple(stills), _animation(images))


def last_still(recording: Recording) -> Moment:
    """The canvas at the end."""
    time_ns = recording.last_ns
    return moment_of(time_ns, _image(recording.canvas_at(time_ns), recording.colors.tobytes()))


def moment_of(time_ns: int, image: Image.Image) -> Moment:
    """A still of an image."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return Moment(time_ns, file.getvalue(), image.size)


def _image(pixels: NDArray[np.uint8], palette: bytes) -> Image.Image:
    """A canvas, shape (height, width), as an image of at most `SIDE_PIXELS_MAX` a side: every so many pixels."""
    step = -(-max(pixels.shape) // SIDE_PIXELS_MAX)
    image = Image.fromarray(np.ascontiguousarray(pixels[::step, ::step]), "P")
    image.putpalette(palette)
    return image


def _animation(images: Sequence[Image.Image]) -> bytes:
    first, *others = (image.convert("RGB") for image in images)
    file = io.BytesIO()
    durations = [MOMENT_MS] * (len(images) - 1) + [LAST_MS]
    # Of lossless files the fastest to write: a few per cent more bytes, a tenth of the time.
    how = {"lossless": True, "quality": 0, "method": 0, "loop": 0}
    first.save(file, "WEBP", save_all=True, append_images=others, duration=durations, **how)
    return file.getvalue()
