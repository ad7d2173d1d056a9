"""The pictures of a report: panels and overlaid runs in both themes, and the canvas as stills and an animation.

Every picture has a text alternative that says what it shows, and every canvas the time that it is from.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plots.overlay import DEFAULT_NAMES, PLOTS, OverlaidRun, draw_overlay
from plots.panels import draw_svg
from plots.series import PANELS
from plots.style import DARK, LIGHT
from workbench.recording.reader import Recording
from workbench.report.html import DARK_MEDIA, Markup, data_uri, element, joined, picture
from workbench.telemetry.history import marker_rows
from workbench.telemetry.view import Marker

PANEL_SIZE = (640, 340)
OVERLAY_SIZE = (1060, 980)
_SVG = "image/svg+xml"


def panels(samples: NDArray[Any], markers: Sequence[Marker]) -> Markup:
    """All panels, over the time of `samples`: shape (n,), dtype SAMPLE."""
    rows = marker_rows(markers)
    return element("div", joined(_panel(name, samples, rows) for name in PANELS), class_="panels")


def overlay(runs: Sequence[OverlaidRun]) -> Markup:
    """The runs overlaid."""
    light, dark = (data_uri(draw_overlay(runs, DEFAULT_NAMES, OVERLAY_SIZE, theme), _SVG) for theme in (LIGHT, DARK))
    what = "; ".join(PLOTS[name].title for name in DEFAULT_NAMES)
    names = ", ".join(run.title for run in runs)
    return picture(light, f"Time series of {names}: {what}.", OVERLAY_SIZE, sources=[(DARK_MEDIA, dark)])


def _panel(name: str, samples: NDArray[Any], markers: NDArray[Any]) -> Markup:
    light, dark = (
        data_uri(draw_svg(name, samples, markers, PANEL_SIZE, theme).encode(), _SVG) for theme in (LIGHT, DARK)
    )
    spec = PANELS[name]
    lines = ", ".join(series.name for series in spec.series)
    heat = ", a heat map and" if spec.heat else ":"
    alt = f"{spec.title} up to the end of the load, {spec.unit}{heat} {lines}."
    return picture(light, alt, PANEL_SIZE, sources=[(DARK_MEDIA, dark)])


STILL_COUNT = 12
# Pictures of the animation; every fourth is a still.
PICTURE_COUNT = 4 * STILL_COUNT
PICTURE_MS = 125
# How long the last picture is shown before the animation restarts.
LAST_MS = 1500
SIDE_PIXELS_MAX = 512


@dataclass(frozen=True, slots=True)
class Still:
    """The canvas at a time."""

    time_ns: int
    png: bytes
    size: tuple[int, int]
    """Pixels across and down; a large canvas is shown smaller."""


@dataclass(frozen=True, slots=True)
class CanvasPictures:
    """The canvas over time."""

    stills: tuple[Still, ...]
    animation: bytes
    """A WebP file of all moments, lossless."""


def canvas_pictures(recording: Recording, from_ns: int, to_ns: int) -> CanvasPictures:
    """The canvas at `PICTURE_COUNT` equal steps, the last at `to_ns`. Raises UserError where the file is damaged."""
    palette = recording.colors.tobytes()
    steps = [from_ns + (to_ns - from_ns) * index // PICTURE_COUNT for index in range(1, PICTURE_COUNT + 1)]
    images = [_image(recording.canvas_at(time_ns), palette) for time_ns in steps]
    every = PICTURE_COUNT // STILL_COUNT
    stills = [still_of(*pair) for pair in list(zip(steps, images, strict=True))[every - 1 :: every]]
    return CanvasPictures(tuple(stills), _animation(images))


def last_still(recording: Recording) -> Still:
    """The canvas at the end."""
    time_ns = recording.last_ns
    return still_of(time_ns, _image(recording.canvas_at(time_ns), recording.colors.tobytes()))


def still_of(time_ns: int, image: Image.Image) -> Still:
    """An image as a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return Still(time_ns, file.getvalue(), image.size)


def _image(pixels: NDArray[np.uint8], palette: bytes) -> Image.Image:
    """A canvas, shape (height, width), as an image with sides of at most `SIDE_PIXELS_MAX`: every n-th pixel."""
    # Palette indices have no mean, so a large canvas is not averaged.
    step = -(-max(pixels.shape) // SIDE_PIXELS_MAX)
    image = Image.fromarray(np.ascontiguousarray(pixels[::step, ::step]), "P")
    image.putpalette(palette)
    return image


def _animation(images: Sequence[Image.Image]) -> bytes:
    first, *others = (image.convert("RGB") for image in images)
    file = io.BytesIO()
    durations = [PICTURE_MS] * (len(images) - 1) + [LAST_MS]
    # The fastest lossless settings: a few per cent more bytes, in a tenth of the time.
    options = {"lossless": True, "quality": 0, "method": 0, "loop": 0}
    first.save(file, "WEBP", save_all=True, append_images=others, duration=durations, **options)
    return file.getvalue()
