"""An animated picture of a canvas: GIF, APNG or WebP, all without loss, through Pillow.

It makes no pictures, it only writes them. Invariant: each picture is shown for as long as its place in the film says,
rounded to what the format can tell, without the rounding adding up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workbench.errors import UserError
from workbench.export.timelapse import Timelapse
from workbench.output_file import whole_file

_PIXELS_MAX = 750_000_000
"""Of all pictures together. Pillow wants them all at once: this is as many bytes of memory."""


@dataclass(frozen=True, slots=True)
class AnimationFormat:
    """What a format can do, and how Pillow is told."""

    name: str
    pillow_name: str
    unit_ms: int
    """Times are told in this."""
    shown_ms_min: int
    """Viewers show a picture for at least so long, whatever is asked."""
    options: tuple[tuple[str, Any], ...]


GIF = AnimationFormat("GIF", "GIF", 10, 20, (("optimize", False), ("disposal", 1)))
APNG = AnimationFormat("APNG", "PNG", 1, 10, ())
WEBP = AnimationFormat("WebP", "WEBP", 1, 10, (("lossless", True), ("method", 0), ("quality", 20)))


def durations_ms(count: int, fps: float, unit_ms: int) -> list[int]:
    """For how long each of `count` pictures is shown."""
    ends = [round(number * 1000 / fps / unit_ms) * unit_ms for number in range(count + 1)]
    return [end - start for start, end in pairwise(ends)]


def require_animation(film: Timelapse, kind: AnimationFormat) -> None:
    """Raise UserError for a film that the format, or the memory it takes to write it, does not hold."""
    fps_max = 1000 / kind.shown_ms_min
    if film.fps > fps_max:
        raise UserError(f"--fps is {film.fps:g}; a {kind.name} shows at most {fps_max:g} pictures a second")
    width, height = film.size
    total = width * height * film.picture_count
    if total > _PIXELS_MAX:
        raise UserError(
            f"a {kind.name} of {film.picture_count} pictures of {width} x {height} takes {total / 1e9:.1f} GB to make, "
            f"at most {_PIXELS_MAX / 1e9:g} are taken; give a higher --speed, a lower --fps or --scale, or write .mp4"
        )


def write_animation(
    path: Path,
    kind: AnimationFormat,
    film: Timelapse,
    pictures: Iterable[NDArray[np.uint8]],
    palette: NDArray[np.uint8],
) -> None:
    """Write the film's pictures: palette indices, shape (height, width). `palette`: shape (256, 3).

    Raises RunError when the disk refuses.
    """
    first, *rest = (_indexed(picture, palette) for picture in pictures)
    shown = durations_ms(1 + len(rest), film.fps, kind.unit_ms)
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
    image.putpalette(palette.tobytes())  # An image of grey levels that gets a palette takes them as its indices.
    return image
