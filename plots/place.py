"""Where things stand in a picture of any size, in whole pixels. No matplotlib here.

Invariant: places depend on the size of the picture alone, never on what is shown, so nothing moves while one looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from plots import style


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
class Place:
    """Where one panel's parts stand."""

    title: Box
    legend: Box
    plot: Box
    times: Box
    """What the time axis says, below the plot."""


def panel_places(width: int, height: int, scale: float, legend_rows: Sequence[int]) -> list[Place]:
    """Places of panels in a picture of `width` x `height` pixels, two in a row; a lonely one has the row for itself.

    `legend_rows`: lines of each panel's legend. Panels of a row have plots of one height, and so have all rows.
    """
    pairs = [legend_rows[index : index + 2] for index in range(0, len(legend_rows), 2)]
    heads = [
        _scaled(style.TITLE_HEIGHT + max(rows) * style.LEGEND_ROW_HEIGHT + style.LEGEND_GAP, scale) for rows in pairs
    ]
    margin, foot = _scaled(style.OUTER_MARGIN, scale), _scaled(style.TICK_LABEL_HEIGHT, scale)
    row_gap = _scaled(style.ROW_GAP, scale)
    free = height - 2 * margin - sum(heads) - len(pairs) * foot - (len(pairs) - 1) * row_gap
    plot_height = max(free // len(pairs), style.PLOT_SIDE_MIN)
    widths = panel_widths(width, scale, len(legend_rows))
    places, top = [], margin
    for index, panel_width in enumerate(widths):
        row, on_right = divmod(index, 2)
        left = width - margin - panel_width if on_right else margin
        places.append(_place(left, top, panel_width, heads[row], plot_height, scale))
        if on_right:
            top += heads[row] + plot_height + foot + row_gap
    return places


def panel_widths(width: int, scale: float, count: int) -> list[int]:
    """How many pixels wide each of so many panels is, in a picture of so many."""
    margin, column_gap = _scaled(style.OUTER_MARGIN, scale), _scaled(style.COLUMN_GAP, scale)
    half, whole = (width - 2 * margin - column_gap) // 2, width - 2 * margin
    lonely = count % 2
    return [max(half, 1)] * (count - lonely) + [max(whole, 1)] * lonely


def _place(left: int, top: int, width: int, head: int, plot_height: int, scale: float) -> Place:
    legend_top, plot_top = top + _scaled(style.TITLE_HEIGHT, scale), top + head
    plot_left = left + _scaled(style.TICK_LABEL_WIDTH, scale)
    right, bottom = left + width, plot_top + plot_height
    plot_right = max(right, plot_left + style.PLOT_SIDE_MIN)
    return Place(
        title=Box(left, top, right, legend_top),
        legend=Box(left, legend_top, right, plot_top - _scaled(style.LEGEND_GAP, scale)),
        plot=Box(plot_left, plot_top, plot_right, bottom),
        times=Box(
            left, bottom + _scaled(style.PLOT_RIM + 1, scale), right, bottom + _scaled(style.TICK_LABEL_HEIGHT, scale)
        ),
    )


def _scaled(pixels: float, scale: float) -> int:
    return round(pixels * scale)
