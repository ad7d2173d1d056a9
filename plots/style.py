"""How the panels look: two themes, letters and the places of things, all stated once. No matplotlib here.

Not matplotlib's rcParams: a user's matplotlibrc must not repaint the workbench, so every artist is told its looks.
Colours of data are told apart by the colour-blind: on the dark ground they are Okabe and Ito's set, on the light one
darker relatives of it. On both, letters have a contrast of 4.5 to 1 with their ground and lines of 3 to 1 at least.
Lengths are in pixels at scale 1; whoever draws multiplies them by the scale.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours, as "#rrggbb"."""

    name: str
    page: str
    plot: str
    grid: str
    grid_faint: str
    edge: str
    text: str
    text_muted: str
    text_faint: str
    """For marks and edges; too faint for letters."""
    orange: str
    sky: str
    green: str
    yellow: str
    vermilion: str
    purple: str
    purple_text: str
    """Where purple is the colour of letters, which need more contrast than lines."""
    silver: str
    blue: str
    heat: str
    """The colours of counts, from few to many: one of matplotlib's maps that are even to the eye."""
    heat_range: tuple[float, float]
    """The part of that map that is used: its first colour stands clear of the plot's ground."""


DARK = Theme(
    name="dark",
    page="#0f1115",
    plot="#16191f",
    grid="#232831",
    grid_faint="#1b1f26",
    edge="#2c323c",
    text="#e6e9ee",
    text_muted="#8b95a3",
    text_faint="#5d6673",
    orange="#e69f00",
    sky="#56b4e9",
    green="#009e73",
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
    text="#181c22",
    text_muted="#545d6a",
    text_faint="#8c94a0",
    orange="#a45600",
    sky="#0b5a9e",
    green="#079a86",
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

DOTS_PER_INCH = 100
"""At scale 1. matplotlib counts letters and lines in points of 1/72 inch; scale 2 doubles this number."""
POINTS_PER_PIXEL = 72 / DOTS_PER_INCH

TITLE_POINTS = 9.5
LABEL_POINTS = 8.0

OUTER_MARGIN = 10
COLUMN_GAP = 20
ROW_GAP = 12
TITLE_HEIGHT = 22
LEGEND_ROW_HEIGHT = 16
LEGEND_GAP = 7
"""Between the legend and the plot."""
TICK_LABEL_WIDTH = 42
"""Room for "500 k", whatever the limits are, so that the plot never moves."""
TICK_LABEL_HEIGHT = 20
TICK_LABEL_PAD = 6
PLOT_RIM = 2
"""Above and below a plot, so that a line at zero is seen whole."""
SWATCH_WIDTH = 11
SWATCH_PAD = 4
NUMBER_GAP = 5
SUFFIX_GAP = 3
ENTRY_GAP_MAX = 24
"""Between the entries of a legend; narrow pictures have less."""
PLOT_SIDE_MIN = 8
"""A plot never gets smaller, so that any size of the picture can be drawn, if not read."""

FILL_OPACITY = 0.8
"""Of the line on top of a layer."""
SCALE_WIDTH, SCALE_HEIGHT = 44, 8
"""Of the strip of colours that a heat map's legend shows."""
MARK_ROW_HEIGHT = 15
MARK_ROWS_MAX = 3
"""Labels of marks are stacked so high; then newer ones cover older ones."""
MARK_PAD = 3
TITLE_GAP = 8
TIME_LABEL_BASE = 15
"""From a plot's lower edge down to the base line of what the time axis says."""
BAND_OPACITY = 0.35
