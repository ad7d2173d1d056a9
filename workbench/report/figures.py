"""Pictures of panels and of overlaid runs, in the dark and in the light, as parts of a page.

It draws nothing itself: see `plots`. Invariant: a picture says in words what it shows.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from plots.figure import draw_svg
from plots.overlay import DEFAULT_NAMES, PLOTS, Run, draw_overlay
from plots.series import PANELS
from plots.style import DARK, LIGHT
from workbench.report.markup import Markup, data_uri, element, joined, picture
from workbench.report.page import DARK_MEDIA
from workbench.telemetry.history import marker_rows
from workbench.telemetry.view import Marker

PANEL_SIZE = (640, 340)
OVERLAY_SIZE = (1060, 980)
_SVG = "image/svg+xml"


def panels(samples: NDArray[Any], markers: Sequence[Marker]) -> Markup:
    """All panels, over the time of `samples`: shape (n,), dtype SAMPLE."""
    rows = marker_rows(markers)
    return element("div", joined(_panel(name, samples, rows) for name in PANELS), class_="panels")


def overlay(runs: Sequence[Run]) -> Markup:
    """The runs over each other."""
    light, dark = (data_uri(draw_overlay(runs, DEFAULT_NAMES, OVERLAY_SIZE, theme), _SVG) for theme in (LIGHT, DARK))
    what = "; ".join(PLOTS[name].title for name in DEFAULT_NAMES)
    names = ", ".join(run.title for run in runs)
    return picture(light, f"Over time, of {names}: {what}.", OVERLAY_SIZE, sources=[(DARK_MEDIA, dark)])


def _panel(name: str, samples: NDArray[Any], markers: NDArray[Any]) -> Markup:
    light, dark = (
        data_uri(draw_svg(name, samples, markers, PANEL_SIZE, theme).encode(), _SVG) for theme in (LIGHT, DARK)
    )
    spec = PANELS[name]
    lines = ", ".join(series.name for series in spec.series)
    heat = ", a heat map and" if spec.heat else ":"
    alt = f"{spec.title} up to the end of the load, {spec.unit}{heat} {lines}."
    return picture(light, alt, PANEL_SIZE, sources=[(DARK_MEDIA, dark)])
