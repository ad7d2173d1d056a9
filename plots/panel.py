"""One panel: a plot, the lines, layers, heat map and marks on it, and the frame around it.

What moves is `animated`: matplotlib leaves it out of the background, and what is called draw puts it on top.
Invariant: what is drawn depends on the samples and the span; of the past only the limits of the axis remain.
"""

from typing import Any

import numpy as np
from matplotlib.backend_bases import RendererBase
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from numpy.typing import NDArray

from plots import style
from plots.axis import LogAxis
from plots.frame import Frame
from plots.heat import Heat
from plots.marks import Marks
from plots.place import Box, Place
from plots.series import NOTHING_NOTICE, WAITING_NOTICE
from plots.sheet import LABEL_FONT, FigureCanvas
from plots.span import Span
from plots.spec import PanelSpec, Samples, Series, Shape
from plots.trace import block_times, broken_at_gaps, dashes, fallen_at_gaps

_CASING_WIDTH = 2.0
"""Lines on a heat map have a rim of the ground's colour: they are seen on every shade."""


class Panel:
    """What `spec` says, drawn on `sheet` at `place`. `labelled`: its marks have words."""

    def __init__(self, sheet: FigureCanvas, spec: PanelSpec, place: Place, note: str, *, labelled: bool) -> None:
        self.spec, self.place, self.axis = spec, place, spec.new_axis()
        self._sheet = sheet
        self._frame = Frame(sheet, spec, place, self.axis, note)
        self._axes = self._frame.axes
        self._heat = (
            Heat(sheet, self._axes, place.plot, self.axis) if spec.heat and isinstance(self.axis, LogAxis) else None
        )
        self._fills = [
            self._new_fill(line) if line.shape in (Shape.LAYER, Shape.BAND) else None for line in spec.series
        ]
        self._lines = [self._new_line(line) for line in spec.series]
        self._marks = Marks(sheet, self._axes, place, labelled=labelled)
        self._notice = self._new_notice()

    @property
    def clip_box(self) -> Box:
        """The plot and a rim above and below: all that `draw_plot` touches."""
        box, rim = self.place.plot, round(style.PLOT_RIM * self._sheet.scale)
        return Box(box.left, box.top - rim, box.right, box.bottom + rim)

    @property
    def numbers_box(self) -> Box:
        """All that `draw_numbers` touches."""
        return self.place.legend

    def show(self, samples: Samples, span: Span, markers: NDArray[Any], *, running: bool) -> bool:
        """Take in the samples of the span; True when the background has to be drawn anew.

        `samples`: shape (n,), dtype SAMPLE, ascending in time. `running`: there is a load to look at.
        """
        grain = span.grain
        times_ns = block_times(samples["time_ns"], grain)
        table = self.spec.table(samples, grain)
        on_axis = table[[line.whole == 0 for line in self.spec.series]]
        seen = on_axis[np.isfinite(on_axis)]
        least, peak = (float(seen.min()), float(seen.max())) if len(seen) else (np.nan, np.nan)
        if self._heat is not None:
            cells_least, cells_peak = self._heat.show(samples, span)
            least, peak = float(np.fmin(least, cells_least)), float(np.fmax(peak, cells_peak))
        moved = self.axis.follow(least, peak)
        if moved:
            self._frame.label_ticks()
        self._set_notice(running=running, blank=not peak > 0, live=span.live)
        self._set_series(times_ns, self._heights(table), span)
        self._marks.show(markers, span)
        return moved

    def say(self, samples: Samples) -> None:
        """Let the legend say the present values of these samples."""
        self._frame.legend.say(samples, 0.0 if self._heat is None else self._heat.peak)

    def draw_plot(self, renderer: RendererBase) -> None:
        """Draw all that moves over the background."""
        if self._heat is not None:
            self._heat.draw(renderer)
        for fill in self._fills:
            if fill is not None:
                fill.draw(renderer)
        for line in sorted(self._lines, key=lambda line: -line.get_linewidth()):
            if self._heat is not None:
                self._draw_casing(line, renderer)
            line.draw(renderer)
        self._marks.draw(renderer)
        if self._notice.get_visible():
            self._notice.draw(renderer)

    def draw_numbers(self, renderer: RendererBase) -> None:
        """Draw what `say` was told."""
        self._frame.legend.draw_numbers(renderer)

    def draw_times(self, labels: tuple[str, ...], renderer: RendererBase) -> None:
        """Draw what the time axis says."""
        self._frame.draw_times(labels, renderer)

    # --- What it shows

    def _heights(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        heights = self.axis.unit(table)
        for row, line in enumerate(self.spec.series):
            if line.whole:
                heights[row] = table[row] / line.whole
        return heights

    def _set_series(self, times_ns: NDArray[np.int64], heights: NDArray[np.float64], span: Span) -> None:
        floor = np.zeros(heights.shape[1])
        for series, line, fill, row in zip(self.spec.series, self._lines, self._fills, heights, strict=True):
            if series.shape is Shape.LAYER and fill is not None:
                self._set_layer(line, fill, times_ns, np.stack([floor, row]), span)
                floor = row
            else:
                times, values = broken_at_gaps(times_ns, row, span.grain)
                if series.dashed:
                    values = dashes(times, values, span.grain)
                line.set_data(span.across(times), values)
                if fill is not None:
                    self._set_band(fill, times_ns, heights[0], row, span)

    def _set_layer(
        self, line: Line2D, fill: Polygon, times_ns: NDArray[np.int64], sides: NDArray[np.float64], span: Span
    ) -> None:
        times, (floor, top) = fallen_at_gaps(times_ns, sides, span.grain)
        across = span.across(times)
        # A layer of nothing has no edge: it would repaint the edge of the layer below.
        line.set_data(across, np.where(top > floor, top, np.nan))
        fill.set_xy(_outline(across, floor, top))

    @staticmethod
    def _set_band(
        fill: Polygon, times_ns: NDArray[np.int64], floor: NDArray[np.float64], top: NDArray[np.float64], span: Span
    ) -> None:
        seen = np.isfinite(floor) & np.isfinite(top)
        times, (low, high) = fallen_at_gaps(times_ns[seen], np.stack([floor, top])[:, seen], span.grain)
        fill.set_xy(_outline(span.across(times), low, high))

    def _set_notice(self, *, running: bool, blank: bool, live: bool) -> None:
        waiting = WAITING_NOTICE if live else NOTHING_NOTICE
        self._notice.set_text(self.spec.empty_notice if running else waiting)
        self._notice.set_visible(blank or not running)

    def _draw_casing(self, line: Line2D, renderer: RendererBase) -> None:
        width, color = line.get_linewidth(), line.get_color()
        line.set(linewidth=width + _CASING_WIDTH * style.POINTS_PER_PIXEL, color=self._sheet.theme.plot)
        line.draw(renderer)
        line.set(linewidth=width, color=color)

    # --- What it is made of

    def _new_line(self, series: Series) -> Line2D:
        line = Line2D(
            [],
            [],
            color=self._sheet.color(series.color),
            alpha=series.opacity,
            linewidth=series.width * style.POINTS_PER_PIXEL,
            solid_joinstyle="round",
            solid_capstyle="butt",
            animated=True,
        )
        self._axes.add_line(line)
        # A line at zero is seen whole, not cut in half by the plot's edge.
        line.set_clip_box(self._sheet.pixels(self.clip_box))
        return line

    def _new_fill(self, series: Series) -> Polygon:
        fill = Polygon(
            np.zeros((1, 2)),
            closed=True,
            facecolor=self._sheet.color(series.color),
            alpha=style.BAND_OPACITY if series.shape is Shape.BAND else style.FILL_OPACITY,
            linewidth=0,
            animated=True,
        )
        self._axes.add_patch(fill)
        return fill

    def _new_notice(self) -> Any:
        theme = self._sheet.theme
        notice = self._axes.text(
            0.5, 0.5, "", color=theme.text_muted, font=LABEL_FONT, ha="center", va="center", animated=True
        )
        notice.set_bbox({"facecolor": theme.plot, "linewidth": 0, "pad": 4})
        notice.set(clip_on=True, clip_box=self._sheet.pixels(self.clip_box))
        return notice


def _outline(across: NDArray[np.float64], floor: NDArray[np.float64], top: NDArray[np.float64]) -> NDArray[np.float64]:
    """The corners of the area between two lines, shape (2 n, 2)."""
    if len(across) == 0:
        return np.zeros((1, 2))
    return np.column_stack([np.concatenate([across, across[::-1]]), np.concatenate([top, floor[::-1]])])
