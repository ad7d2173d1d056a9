"""One panel: a plot with its lines, layers, heat map and marks, and the title, axes, ticks and legend around it.

What never moves belongs to the figure and is drawn into the background. What moves is `animated`: matplotlib leaves it
out of the background, and the `draw_...` methods draw it on top. A picture depends only on the samples and the
span; of the past only the limits of the axis remain.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.text import Text
from numpy.typing import NDArray

from plots import geometry, style
from plots.axis import Axis, LogAxis
from plots.geometry import Box, PanelBoxes
from plots.heat import Heat
from plots.legend import Legend
from plots.marks import Marks
from plots.series import NOTHING_NOTICE, WAITING_NOTICE
from plots.sheet import LABEL_FONT, TITLE_FONT, FigureCanvas
from plots.spec import PanelSpec, Samples, Series, Shape
from plots.timeline import TICK_PLACES, TimeSpan, block_times, broken_at_gaps, dashes, fallen_at_gaps

# Lines on a heat map have an edge in the background's colour, which makes them visible on every shade.
_CASING_WIDTH = 2.0


class PlotFrame:
    """Title, axes, ticks, grid and legend of one panel. `axes` covers `boxes.plot` and spans 0..1 both ways."""

    def __init__(self, sheet: FigureCanvas, spec: PanelSpec, boxes: PanelBoxes, axis: Axis, note: str) -> None:
        self._sheet, self._spec, self._boxes, self._axis = sheet, spec, boxes, axis
        self.axes = self._new_axes()
        self._write_title(note if spec.brushed else "")
        self.legend = Legend(sheet, spec, boxes.legend)
        self._times = self._write_times()
        self.label_ticks()

    def label_ticks(self) -> None:
        """Update the ticks of the vertical axis."""
        theme, ticks = self._sheet.theme, self._axis.ticks()
        self.axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
        for tick, (_, text) in zip(self.axes.yaxis.get_major_ticks(), ticks, strict=True):
            tick.gridline.set_color(theme.grid if text else theme.grid_faint)
        for label in self.axes.get_yticklabels():
            label.set(color=theme.text_muted, font=LABEL_FONT)

    def draw_times(self, labels: tuple[str, ...], renderer: RendererBase) -> None:
        """Draw the labels of the time axis, at `timeline.TICK_PLACES`."""
        for text, label in zip(self._times, labels, strict=True):
            text.set_text(label)
            text.draw(renderer)

    def _new_axes(self) -> Axes:
        sheet, box = self._sheet, self._boxes.plot
        axes = sheet.figure.add_axes(
            (
                box.left / sheet.width,
                1 - box.bottom / sheet.height,
                box.width / sheet.width,
                box.height / sheet.height,
            ),
            facecolor=sheet.theme.plot,
            xlim=(0, 1),
            ylim=(0, 1),
        )
        for side, spine in axes.spines.items():
            spine.set(visible=side in ("left", "bottom"), color=sheet.theme.edge, linewidth=style.POINTS_PER_PIXEL)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, pad=geometry.TICK_LABEL_PAD * style.POINTS_PER_PIXEL)
        axes.set_xticks(TICK_PLACES, [""] * len(TICK_PLACES))
        axes.grid(color=sheet.theme.grid, linewidth=style.POINTS_PER_PIXEL)
        return axes

    def _write_times(self) -> list[Text]:
        sheet, plot, box = self._sheet, self._boxes.plot, self._boxes.times
        base = plot.bottom + geometry.TIME_LABEL_BASE * sheet.scale
        # The last label ends at the edge, or the picture would cut it off.
        sides = ["center"] * (len(TICK_PLACES) - 1) + ["right"]
        return [
            sheet.write(
                box, plot.left + at * plot.width, base, "", LABEL_FONT, sheet.theme.text_muted, ha=side, animated=True
            )
            for at, side in zip(TICK_PLACES, sides, strict=True)
        ]

    def _write_title(self, note: str) -> None:
        sheet, spec, box, gap = self._sheet, self._spec, self._boxes.title, geometry.TITLE_GAP * self._sheet.scale
        # Where not everything fits: a shorter unit, no unit beside a note, and last a shorter title.
        units = [spec.unit, spec.unit.split(",")[0], spec.unit.split(" (")[0], *([""] if note else [])]
        titles = [spec.title, spec.short_title or spec.title]
        choices = [(title, unit) for title in titles for unit in units]
        title, unit = next((choice for choice in choices if self._title_width(*choice, note) <= box.width), choices[-1])
        left, base = float(box.left), box.top + geometry.TITLE_BASE_RATIO * box.height
        colors = (sheet.theme.text, sheet.theme.text_muted, sheet.theme.orange)
        for text, font, color in zip((title, unit, note), (TITLE_FONT, LABEL_FONT, LABEL_FONT), colors, strict=True):
            if text:
                fitted = sheet.fitted(text, font, box.right - left)
                sheet.write(box, left, base, fitted, font, color)
                left += sheet.width_of(fitted, font) + gap

    def _title_width(self, title: str, unit: str, note: str) -> float:
        sheet, gap = self._sheet, geometry.TITLE_GAP * self._sheet.scale
        return sheet.width_of(title, TITLE_FONT) + sum(
            gap + sheet.width_of(text, LABEL_FONT) for text in (unit, note) if text
        )


class Panel:
    """Draws `spec` on `sheet` at `boxes`. `labelled`: its marks have labels."""

    def __init__(self, sheet: FigureCanvas, spec: PanelSpec, boxes: PanelBoxes, note: str, *, labelled: bool) -> None:
        self.spec, self.boxes, self.axis = spec, boxes, spec.new_axis()
        self._sheet = sheet
        self._frame = PlotFrame(sheet, spec, boxes, self.axis, note)
        self._axes = self._frame.axes
        self._heat = (
            Heat(sheet, self._axes, boxes.plot, self.axis) if spec.heat and isinstance(self.axis, LogAxis) else None
        )
        self._fills = [
            self._new_fill(line) if line.shape in (Shape.LAYER, Shape.BAND) else None for line in spec.series
        ]
        self._lines = [self._new_line(line) for line in spec.series]
        self._marks = Marks(sheet, self._axes, boxes.plot, labelled=labelled)
        self._notice = self._new_notice()

    @property
    def clip_box(self) -> Box:
        """The area that `draw_plot` may touch: the plot and a rim above and below."""
        box, rim = self.boxes.plot, round(geometry.PLOT_RIM * self._sheet.scale)
        return Box(box.left, box.top - rim, box.right, box.bottom + rim)

    @property
    def numbers_box(self) -> Box:
        """The area that `draw_numbers` may touch."""
        return self.boxes.legend

    def show(self, samples: Samples, span: TimeSpan, markers: NDArray[Any], *, running: bool) -> bool:
        """Set what is shown. Returns whether the background has to be redrawn, because a limit moved.

        `samples`: shape (n,), dtype SAMPLE, ascending in time; `markers`: shape (n,), dtype MARKER. `running`: the
        load is on.
        """
        bucketing = span.bucketing
        times_ns = block_times(samples["time_ns"], bucketing)
        table = self.spec.table(samples, bucketing)
        # Lines with a scale of their own must not move the limits of the axis.
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

    def set_numbers(self, samples: Samples) -> None:
        """Set the legend's numbers to the present values of these samples."""
        self._frame.legend.set_numbers(samples, 0.0 if self._heat is None else self._heat.peak)

    def draw_plot(self, renderer: RendererBase) -> None:
        """Draw everything that moves over the background."""
        if self._heat is not None:
            self._heat.draw(renderer)
        for fill in self._fills:
            if fill is not None:
                fill.draw(renderer)
        # Wide lines first: where lines coincide, the narrow ones stay visible on top.
        for line in sorted(self._lines, key=lambda line: -line.get_linewidth()):
            if self._heat is not None:
                self._draw_casing(line, renderer)
            line.draw(renderer)
        self._marks.draw(renderer)
        if self._notice.get_visible():
            self._notice.draw(renderer)

    def draw_numbers(self, renderer: RendererBase) -> None:
        """Draw the legend's numbers."""
        self._frame.legend.draw_numbers(renderer)

    def draw_times(self, labels: tuple[str, ...], renderer: RendererBase) -> None:
        """Draw the labels of the time axis."""
        self._frame.draw_times(labels, renderer)

    # --- Data ---

    def _heights(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        heights = self.axis.unit(table)
        for row, line in enumerate(self.spec.series):
            if line.whole:
                heights[row] = table[row] / line.whole
        return heights

    def _set_series(self, times_ns: NDArray[np.int64], heights: NDArray[np.float64], span: TimeSpan) -> None:
        # Layers are cumulative: each begins where the one below ends.
        floor = np.zeros(heights.shape[1])
        for series, line, fill, row in zip(self.spec.series, self._lines, self._fills, heights, strict=True):
            if series.shape is Shape.LAYER and fill is not None:
                self._set_layer(line, fill, times_ns, np.stack([floor, row]), span)
                floor = row
            else:
                times, values = broken_at_gaps(times_ns, row, span.bucketing)
                if series.dashed:
                    values = dashes(times, values, span.bucketing)
                line.set_data(span.across(times), values)
                if fill is not None:
                    self._set_band(fill, times_ns, heights[0], row, span)

    def _set_layer(
        self, line: Line2D, fill: Polygon, times_ns: NDArray[np.int64], sides: NDArray[np.float64], span: TimeSpan
    ) -> None:
        times, (floor, top) = fallen_at_gaps(times_ns, sides, span.bucketing)
        across = span.across(times)
        # An empty layer has no line: it would hide the line of the layer below.
        line.set_data(across, np.where(top > floor, top, np.nan))
        fill.set_xy(_outline(across, floor, top))

    @staticmethod
    def _set_band(
        fill: Polygon, times_ns: NDArray[np.int64], floor: NDArray[np.float64], top: NDArray[np.float64], span: TimeSpan
    ) -> None:
        seen = np.isfinite(floor) & np.isfinite(top)
        times, (low, high) = fallen_at_gaps(times_ns[seen], np.stack([floor, top])[:, seen], span.bucketing)
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

    # --- Artists ---

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
        # Clipped outside the rim: the plot's edge would cut a line at zero in half.
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
