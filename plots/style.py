"""The one table of colours, in two themes, and the sizes of letters and lines. No matplotlib here.

Every artist gets its colours from here and none from matplotlib's rcParams: a user's matplotlibrc must not repaint the
workbench. The window and the report derive their colours from the same table, with `rgb` where they need numbers.
Colour-blind readers can distinguish the colours of data: the dark theme uses the set of Okabe and Ito, the light one
darker relatives of it. In both, letters have a contrast of at least 4.5 to 1 with their background, lines of 3 to 1.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours, as "#rrggbb"."""

    name: str
    page: str
    """Background of everything."""
    plot: str
    """Background of plots, cards and tables."""
    grid: str
    grid_faint: str
    edge: str
    letterbox: str
    """Around the canvas: distinct from an empty canvas, and calmer than a plot."""
    text: str
    text_muted: str
    text_faint: str
    """For marks and edges; too faint for letters."""
    orange: str
    sky: str
    green: str
    green_text: str
    """Green letters, which need more contrast than lines."""
    yellow: str
    vermilion: str
    purple: str
    purple_text: str
    """Purple letters, which need more contrast than lines."""
    silver: str
    blue: str
    heat: str
    """Name of the matplotlib colormap for counts: perceptually uniform, from few to many."""
    heat_range: tuple[float, float]
    """The part of that colormap that is used: its first colour stands out from the plot's background."""


DARK = Theme(
    name="dark",
    page="#0f1115",
    plot="#16191f",
    grid="#232831",
    grid_faint="#1b1f26",
    edge="#2c323c",
    letterbox="#12151a",
    text="#e6e9ee",
    text_muted="#8b95a3",
    text_faint="#5d6673",
    orange="#e69f00",
    sky="#56b4e9",
    green="#009e73",
    green_text="#009e73",
    yellow="#f0e442",
    vermilion="#d55e00",
    purple="#cc79a7",
    purple_text="#cc79a7",
    silver="#c3cad4",
    blue="#0072b2",
    heat="magma",
    heat_range=(0.18, 1.0),
)
LIGHT = Theme(
    name="light",
    page="#f4f5f7",
    plot="#ffffff",
    grid="#e1e5ea",
    grid_faint="#eff1f4",
    edge="#ced3db",
    letterbox="#e2e5ea",
    text="#181c22",
    text_muted="#545d6a",
    text_faint="#8c94a0",
    orange="#a45600",
    sky="#0b5a9e",
    green="#079a86",
    green_text="#046b5d",
    yellow="#958c00",
    vermilion="#741f06",
    purple="#d957bd",
    purple_text="#9e2a86",
    silver="#555c68",
    blue="#1c1c8c",
    heat="magma_r",
    heat_range=(0.1, 1.0),
)
THEMES = {theme.name: theme for theme in (DARK, LIGHT)}

# At scale 1; scale 2 doubles it.
DOTS_PER_INCH = 100
# matplotlib measures letters and lines in points of 1/72 inch.
POINTS_PER_PIXEL = 72 / DOTS_PER_INCH
TITLE_POINTS = 9.5
LABEL_POINTS = 8.0

# Of a layer, below the line on its top.
FILL_OPACITY = 0.8
BAND_OPACITY = 0.35


def rgb(color: str) -> tuple[int, int, int]:
    """A colour of a theme as red, green and blue, 0 to 255: `rgb("#e69f00") == (230, 159, 0)`."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue
