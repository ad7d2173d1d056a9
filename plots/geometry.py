"""Where the parts of a picture lie, in whole pixels, for a picture of any size. No matplotlib here.

The boxes depend only on the size of the picture and the legends' rows, never on the data, so nothing moves on screen.
Lengths are in pixels at scale 1; callers multiply them by the scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass

OUTER_MARGIN = 10
COLUMN_GAP = 20
ROW_GAP = 12
TITLE_HEIGHT = 22
# Of the title's height, from its top down to the base line of its letters.
TITLE_BASE_RATIO = 0.62
# Between title, unit and note.
TITLE_GAP = 8
LEGEND_ROW_HEIGHT = 16
# Between the legend and the plot.
LEGEND_GAP = 7
# Room for "500 k", whatever the limits are, so that the plot never moves.
TICK_LABEL_WIDTH = 42
TICK_LABEL_HEIGHT = 20
TICK_LABEL_PAD = 6
# From a plot's lower edge down to the base line of the time labels.
TIME_LABEL_BASE = 15
# Above and below a plot, so that a line at zero is not cut in half.
PLOT_RIM = 2
# A plot is never smaller, so that a picture of any size can be drawn, if not read.
PLOT_SIDE_MIN = 8

SWATCH_WIDTH = 11
SWATCH_PAD = 4
NUMBER_GAP = 5
SUFFIX_GAP = 3
# Between the entries of a legend; narrow pictures have less.
ENTRY_GAP_MAX = 24
# Of the colour scale in a heat map's legend.
SCALE_WIDTH, SCALE_HEIGHT = 44, 8

MARK_ROW_HEIGHT = 15
# Rows of labels on a plot; beyond that newer labels cover older ones.
MARK_ROWS_MAX = 3
MARK_PAD = 3


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels, half open, counted from the picture's top left corner."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class PanelBoxes:
    """The parts of one panel."""

    title: Box
    legend: Box
    plot: Box
    times: Box
    """Labels of the time axis, below the plot."""


def panel_boxes(width: int, height: int, scale: float, legend_rows: Sequence[int]) -> list[PanelBoxes]:
    """Boxes of panels in a picture of `width` x `height` pixels, two per row; a last odd one has the row to itself.

    `legend_rows`: rows of each panel's legend. All plots have the same height.
    """
    pairs = [legend_rows[index : index + 2] for index in range(0, len(legend_rows), 2)]
    heads = [_scaled(TITLE_HEIGHT + max(rows) * LEGEND_ROW_HEIGHT + LEGEND_GAP, scale) for rows in pairs]
    margin, foot, row_gap = (_scaled(length, scale) for length in (OUTER_MARGIN, TICK_LABEL_HEIGHT, ROW_GAP))
    # All plots get the same height, so that the time axes of a row line up.
    free = height - 2 * margin - sum(heads) - len(pairs) * foot - (len(pairs) - 1) * row_gap
    plot_height = max(free // len(pairs), PLOT_SIDE_MIN)
    widths = panel_widths(width, scale, len(legend_rows))
    boxes, top = [], margin
    for index, panel_width in enumerate(widths):
        row, on_right = divmod(index, 2)
        left = width - margin - panel_width if on_right else margin
        boxes.append(_boxes(left, top, panel_width, heads[row], plot_height, scale))
        if on_right:
            top += heads[row] + plot_height + foot + row_gap
    return boxes


def panel_widths(width: int, scale: float, count: int) -> list[int]:
    """The width of each of `count` panels in a picture `width` pixels wide."""
    margin, column_gap = _scaled(OUTER_MARGIN, scale), _scaled(COLUMN_GAP, scale)
    half, whole = (width - 2 * margin - column_gap) // 2, width - 2 * margin
    odd = count % 2
    return [max(half, 1)] * (count - odd) + [max(whole, 1)] * odd


def _boxes(left: int, top: int, width: int, head: int, plot_height: int, scale: float) -> PanelBoxes:
    legend_top, plot_top = top + _scaled(TITLE_HEIGHT, scale), top + head
    plot_left = left + _scaled(TICK_LABEL_WIDTH, scale)
    right, bottom = left + width, plot_top + plot_height
    plot_right = max(right, plot_left + PLOT_SIDE_MIN)
    return PanelBoxes(
        title=Box(left, top, right, legend_top),
        legend=Box(left, legend_top, right, plot_top - _scaled(LEGEND_GAP, scale)),
        plot=Box(plot_left, plot_top, plot_right, bottom),
        times=Box(left, bottom + _scaled(PLOT_RIM + 1, scale), right, bottom + _scaled(TICK_LABEL_HEIGHT, scale)),
    )


def _scaled(pixels: float, scale: float) -> int:
    return round(pixels * scale)
