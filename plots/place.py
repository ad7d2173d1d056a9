"""Where things stand in a picture of any size, in whole pixels. No matplotlib here.

Invariant: places depend on the size of the picture alone, never on what is shown, so nothing moves while one looks.
"""

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

    def grown(self, pixels: int, width: int, height: int) -> "Box":
        """This box with a rim of `pixels`, cut off at a picture of `width` x `height`."""
        return Box(
            max(self.left - pixels, 0),
            max(self.top - pixels, 0),
            min(self.right + pixels, width),
            min(self.bottom + pixels, height),
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where one panel's parts stand."""

    title: Box
    legend: Box
    plot: Box


def panel_places(width: int, height: int, scale: float, legend_rows: tuple[int, ...]) -> list[list[Place]]:
    """Places of two panels in each row of a picture of `width` x `height` pixels.

    `legend_rows`: lines of legend of each row of panels. Plots of all rows are equally high.
    """
    heads = [
        _scaled(style.TITLE_HEIGHT + rows * style.LEGEND_ROW_HEIGHT + style.LEGEND_GAP, scale) for rows in legend_rows
    ]
    margin, foot = _scaled(style.OUTER_MARGIN, scale), _scaled(style.TICK_LABEL_HEIGHT, scale)
    row_gap, column_gap = _scaled(style.ROW_GAP, scale), _scaled(style.COLUMN_GAP, scale)
    row_count = len(legend_rows)
    free = height - 2 * margin - sum(heads) - row_count * foot - (row_count - 1) * row_gap
    plot_height = max(free // row_count, style.PLOT_SIDE_MIN)
    panel_width = (width - 2 * margin - column_gap) // 2
    lefts = (margin, width - margin - panel_width)
    rows, top = [], margin
    for head in heads:
        rows.append([_place(left, top, max(panel_width, 1), head, plot_height, scale) for left in lefts])
        top += head + plot_height + foot + row_gap
    return rows


def _place(left: int, top: int, width: int, head: int, plot_height: int, scale: float) -> Place:
    legend_top, plot_top = top + _scaled(style.TITLE_HEIGHT, scale), top + head
    plot_left = left + _scaled(style.TICK_LABEL_WIDTH, scale)
    right = left + width
    return Place(
        title=Box(left, top, right, legend_top),
        legend=Box(left, legend_top, right, plot_top - _scaled(style.LEGEND_GAP, scale)),
        plot=Box(plot_left, plot_top, max(right, plot_left + style.PLOT_SIDE_MIN), plot_top + plot_height),
    )


def _scaled(pixels: float, scale: float) -> int:
    return round(pixels * scale)
