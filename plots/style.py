"""How the panels look: colours, letters and the places of things, all stated once.

Not matplotlib's rcParams: a user's matplotlibrc must not repaint the workbench, so every artist is told its looks.
Colours of data are Okabe and Ito's set, which the colour-blind tell apart; everything else is near-black or grey.
Lengths are in pixels at scale 1; whoever draws multiplies them by the scale.
"""

from matplotlib.font_manager import FontProperties

PAGE = "#0f1115"
PLOT = "#16191f"
GRID = "#232831"
GRID_FAINT = "#1b1f26"
EDGE = "#2c323c"
TEXT = "#e6e9ee"
TEXT_MUTED = "#8b95a3"
TEXT_FAINT = "#5d6673"

ORANGE = "#e69f00"
SKY = "#56b4e9"
GREEN = "#009e73"
YELLOW = "#f0e442"
VERMILION = "#d55e00"
PURPLE = "#cc79a7"
SILVER = "#c3cad4"

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
SWATCH_WIDTH = 11
SWATCH_PAD = 4
NUMBER_GAP = 5
SUFFIX_GAP = 3
ENTRY_GAP_MAX = 24
"""Between the entries of a legend; narrow pictures have less."""
PLOT_SIDE_MIN = 8
"""A plot never gets smaller, so that any size of the picture can be drawn, if not read."""

FILL_OPACITY = 0.8


def title_font() -> FontProperties:
    """The letters of titles."""
    return FontProperties(family="DejaVu Sans", weight="bold", size=TITLE_POINTS)


def label_font() -> FontProperties:
    """The letters of everything else. All digits of this face are equally wide: numbers stand still."""
    return FontProperties(family="DejaVu Sans", size=LABEL_POINTS)
