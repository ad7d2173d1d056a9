"""One panel: a plot with its title, its legend and the lines or layers of its series.

What never moves (title, names, ticks, grid) belongs to the figure and is drawn into the background; what moves (lines,
layers, numbers, a notice) is `animated`: matplotlib leaves it out, and `draw_plot` and `draw_numbers` put it on top.
Everything is placed in pixels from the lower left corner, as Agg counts them.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.text import Text
from matplotlib.transforms import Bbox, IdentityTransform
from numpy.typing import NDArray

from plots import style
from plots.place import Box, Place
from plots.series import WAITING_NOTICE, PanelSpec, Series
from plots.trace import block_times, broken_at_gaps, dashes, fallen_at_gaps

SPAN_S = 60.0
"""What the panels look back on."""
_TIME_TICKS = ((-60, "\N{MINUS SIGN}60 s"), (-40, "\N{MINUS SIGN}40"), (-20, "\N{MINUS SIGN}20"), (0, "now"))


class Panel:
    """One plot and what belongs to it. `figure` owns the artists, `place` says where they stand."""

    def __init__(self, figure: Figure, renderer: RendererAgg, spec: PanelSpec, place: Place, scale: float) -> None:
        self.spec = spec
        self.place = place
        self.axis = spec.new_axis()
        self._figure = figure
        self._renderer = renderer
        self._scale = scale
        self._height = round(figure.bbox.height)
        self._axes = self._new_axes()
        self._notice = self._axes.text(
            -SPAN_S / 2,
            0.5,
            "",
            color=style.TEXT_FAINT,
            font=style.label_font(),
            ha="center",
            va="center",
            animated=True,
        )
        self._notice.set_bbox({"facecolor": style.PLOT, "linewidth": 0, "pad": 4})
        self._notice.set(clip_on=True, clip_box=self._pixels(self.clip_box))
        self._layers = [self._new_layer(line) for line in spec.series] if spec.stacked else []
        self._lines = [self._new_line(line) for line in spec.series]
        self._lines_from_below = sorted(self._lines, key=lambda line: -line.get_linewidth())
        self._write_title()
        self._numbers = self._write_legend()
        self._label_ticks()

    # --- What it shows

    def show(self, samples: NDArray[Any], now_ns: int, *, running: bool) -> bool:
        """Take in the samples of the span; True when the background has to be drawn anew.

        `samples`: shape (n,), dtype SAMPLE, ascending in time. `running`: there is a load to look at.
        """
        times_ns = block_times(samples["time_ns"])
        table = self.spec.table(samples)
        if self.spec.stacked:
            table = np.cumsum(np.where(np.isfinite(table), table, 0.0), axis=0)
        seen = table[np.isfinite(table)]
        least, peak = (float(seen.min()), float(seen.max())) if len(seen) else (np.nan, np.nan)
        moved = self.axis.follow(least, peak)
        if moved:
            self._label_ticks()
        self._set_notice(running=running, blank=not peak > 0)
        heights = self.axis.unit(table)
        if self.spec.stacked:
            self._set_stack(times_ns, heights, now_ns)
        else:
            self._set_lines(times_ns, heights, now_ns)
        return moved

    def show_numbers(self, samples: NDArray[Any]) -> None:
        """Let the legend say the present values of these samples; dashes when there are none."""
        for value, (number, suffix) in zip(self.spec.present(samples), self._numbers, strict=True):
            digits, unit = self.spec.digits(value)
            number.set_text(digits)
            suffix.set_text(unit)

    def draw_plot(self) -> None:
        """Draw lines, layers and notice over the background."""
        for artist in (*self._layers, *self._lines_from_below, self._notice):
            if artist.get_visible():
                artist.draw(self._renderer)

    def draw_numbers(self) -> None:
        """Draw the legend's numbers over the background."""
        for number, suffix in self._numbers:
            number.draw(self._renderer)
            suffix.draw(self._renderer)

    def _set_notice(self, *, running: bool, blank: bool) -> None:
        self._notice.set_text(self.spec.empty_notice if running else WAITING_NOTICE)
        self._notice.set_visible(blank or not running)

    def _set_lines(self, times_ns: NDArray[np.int64], heights: NDArray[np.float64], now_ns: int) -> None:
        for series, line, row in zip(self.spec.series, self._lines, heights, strict=True):
            times, values = broken_at_gaps(times_ns, row)
            if series.dashed:
                values = dashes(times, values)
            line.set_data((times - now_ns) * 1e-9, values)

    def _set_stack(self, times_ns: NDArray[np.int64], heights: NDArray[np.float64], now_ns: int) -> None:
        times, tops = fallen_at_gaps(times_ns, heights)
        seconds = (times - now_ns) * 1e-9
        floor = np.zeros(len(times))
        for layer, line, top in zip(self._layers, self._lines, tops, strict=True):
            # A layer of nothing has no edge: it would repaint the edge of the layer below.
            line.set_data(seconds, np.where(top > floor, top, np.nan))
            outline = np.column_stack([np.concatenate([seconds, seconds[::-1]]), np.concatenate([top, floor[::-1]])])
            layer.set_xy(outline if len(times) else np.zeros((1, 2)))
            floor = top

    # --- What it is made of

    def _new_axes(self) -> Axes:
        box, width = self.place.plot, round(self._figure.bbox.width)
        axes = self._figure.add_axes(
            (box.left / width, 1 - box.bottom / self._height, box.width / width, box.height / self._height),
            facecolor=style.PLOT,
            xlim=(-SPAN_S, 0),
            ylim=(0, 1),
        )
        for side, spine in axes.spines.items():
            spine.set(visible=side in ("left", "bottom"), color=style.EDGE, linewidth=style.POINTS_PER_PIXEL)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, pad=style.TICK_LABEL_PAD * style.POINTS_PER_PIXEL)
        axes.set_xticks([at for at, _ in _TIME_TICKS], [text for _, text in _TIME_TICKS])
        axes.get_xticklabels()[-1].set_horizontalalignment("right")  # Or it leaves the picture.
        axes.grid(color=style.GRID, linewidth=style.POINTS_PER_PIXEL)
        self._dress(axes.get_xticklabels())
        return axes

    def _label_ticks(self) -> None:
        ticks = self.axis.ticks()
        self._axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
        for tick, (_, text) in zip(self._axes.yaxis.get_major_ticks(), ticks, strict=True):
            tick.gridline.set_color(style.GRID if text else style.GRID_FAINT)
        self._dress(self._axes.get_yticklabels())

    @staticmethod
    def _dress(labels: list[Text]) -> None:
        for label in labels:
            label.set(color=style.TEXT_MUTED, font=style.label_font())

    def _new_line(self, series: Series) -> Line2D:
        line = Line2D(
            [],
            [],
            color=series.color,
            alpha=series.opacity,
            linewidth=series.width * style.POINTS_PER_PIXEL,
            solid_joinstyle="round",
            solid_capstyle="butt",
            animated=True,
        )
        self._axes.add_line(line)
        # A line at zero is seen whole, not cut in half by the plot's edge.
        line.set_clip_box(self._pixels(self.clip_box))
        return line

    def _new_layer(self, series: Series) -> Polygon:
        layer = Polygon(
            np.zeros((1, 2)), closed=True, facecolor=series.color, alpha=style.FILL_OPACITY, linewidth=0, animated=True
        )
        self._axes.add_patch(layer)
        return layer

    @property
    def clip_box(self) -> Box:
        """The plot and a rim above and below: all that `draw_plot` touches."""
        box, rim = self.place.plot, round(2 * self._scale)
        return Box(box.left, box.top - rim, box.right, box.bottom + rim)

    def _pixels(self, box: Box) -> Bbox:
        return Bbox.from_extents(box.left, self._height - box.bottom, box.right, self._height - box.top)

    def _write(self, box: Box, x: float, y: float, text: str, font: FontProperties, color: str, **how: Any) -> Text:
        """Letters whose base line begins, or ends, at these pixels from the top left; cut off at the edges of `box`."""
        written = self._figure.text(
            x, self._height - y, text, font=font, color=color, transform=IdentityTransform(), **how
        )
        written.set(clip_on=True, clip_box=self._pixels(box))
        return written

    def _width_of(self, text: str, font: FontProperties) -> float:
        measure = self._renderer.get_text_width_height_descent
        return float(measure(text, font, False)[0])  # type: ignore[no-untyped-call]

    def _write_title(self) -> None:
        box, font = self.place.title, style.title_font()
        base = box.top + 0.62 * box.height
        self._write(box, box.left, base, self.spec.title, font, style.TEXT)
        after = box.left + self._width_of(self.spec.title, font) + 8 * self._scale
        self._write(box, after, base, self.spec.unit, style.label_font(), style.TEXT_MUTED)

    def _write_legend(self) -> list[tuple[Text, Text]]:
        """Swatches and names, and for each the texts of its number and suffix, still empty."""
        box, columns, font = self.place.legend, self.spec.legend_columns, style.label_font()
        swatch = (style.SWATCH_WIDTH + style.SWATCH_PAD) * self._scale
        number = style.NUMBER_GAP * self._scale + self._width_of(self.spec.digits_widest, font)
        suffix = style.SUFFIX_GAP * self._scale + self._width_of("M", font)
        names = [
            max(self._width_of(line.name, font) for line in self.spec.series[column::columns])
            for column in range(columns)
        ]
        free = box.width - sum(names) - columns * (swatch + number + suffix)
        gap = min(max(free / max(columns - 1, 1), 0.0), style.ENTRY_GAP_MAX * self._scale)
        texts = []
        for index, line in enumerate(self.spec.series):
            row, column = divmod(index, columns)
            left = box.left + sum(names[:column]) + column * (swatch + number + suffix + gap)
            base = box.top + (row + 0.7) * style.LEGEND_ROW_HEIGHT * self._scale
            self._write_swatch(left, base, line)
            self._write(box, left + swatch, base, line.name, font, style.TEXT_MUTED)
            end = left + swatch + names[column] + number
            after = end + style.SUFFIX_GAP * self._scale
            texts.append(
                (
                    self._write(box, end, base, "", font, style.TEXT, ha="right", animated=True),
                    self._write(box, after, base, "", font, style.TEXT_MUTED, animated=True),
                )
            )
        return texts

    def _write_swatch(self, left: float, base: float, series: Series) -> None:
        middle = self._height - base + 3.5 * self._scale
        width = style.SWATCH_WIDTH * self._scale
        thick = 8.0 if self.spec.stacked else max(series.width, 2.0)
        self._figure.add_artist(
            Line2D(
                [left, left + width],
                [middle, middle],
                color=series.color,
                alpha=max(series.opacity, style.FILL_OPACITY),
                linewidth=thick * style.POINTS_PER_PIXEL,
                linestyle=(0, (2.2, 1.2)) if series.dashed else "solid",
                solid_capstyle="butt",
                transform=IdentityTransform(),
            )
        )
