"""A panel of bars: one row per kind, with a number and a bar for each series, at the end of the time that is shown.

`panel` shows values over time, but twelve lines for twelve kinds could not be distinguished. What is drawn depends on
the last sample alone. Bars are redrawn with their numbers, twice per second: numbers cannot be read faster.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.backend_bases import RendererBase
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import IdentityTransform
from numpy.typing import NDArray

from plots import geometry, style
from plots.geometry import Box, PanelBoxes
from plots.number import count_digits
from plots.panel import PlotFrame
from plots.series import NOTHING_NOTICE, WAITING_NOTICE
from plots.sheet import LABEL_FONT, FigureCanvas
from plots.spec import BarRow, PanelSpec, Samples
from plots.timeline import TimeSpan

# Share of the panel's width that the longest name may take.
_NAME_RATIO_MAX = 0.32
# Between columns, and at the sides.
_GAP, _PAD = 6, 6
_BAR_HEIGHT, _ROW_HEIGHT = 3.0, 15
# Length in pixels of any value above 0, so that it is visible.
_BAR_LEAST = 1.0
# Smallest height of a row; where there is no room for all rows, the last says how many are left out.
_LETTERS_HEIGHT = 12


class BarsPanel:
    """Draws `spec` on `sheet` at `boxes`. It has the same interface as `panel.Panel`."""

    def __init__(self, sheet: FigureCanvas, spec: PanelSpec, boxes: PanelBoxes, note: str) -> None:
        # Without axes, the plot takes their room too.
        body = Box(boxes.title.left, boxes.plot.top, boxes.plot.right, boxes.times.bottom)
        self.spec = spec
        self.boxes = replace(boxes, plot=body, times=Box(body.left, body.bottom, body.right, body.bottom))
        self.axis = spec.new_axis()
        self._sheet = sheet
        self._frame = PlotFrame(sheet, spec, self.boxes, self.axis, note)
        self._frame.axes.grid(visible=False)
        self._notice = ""
        self._texts: list[Text] = []
        self._bars: list[Line2D] = []

    @property
    def clip_box(self) -> Box:
        """Nothing: `draw_plot` draws nothing."""
        return Box(0, 0, 0, 0)

    @property
    def numbers_box(self) -> Box:
        """The area that `draw_numbers` may touch."""
        return Box(self.boxes.plot.left, self.boxes.legend.top, self.boxes.plot.right, self.boxes.plot.bottom)

    def show(self, samples: Samples, span: TimeSpan, markers: NDArray[Any], *, running: bool) -> bool:
        """Set the notice for an empty panel; see `Panel.show`. The background never has to be redrawn."""
        waiting = WAITING_NOTICE if span.live else NOTHING_NOTICE
        self._notice = self.spec.empty_notice if running else waiting
        return False

    def set_numbers(self, samples: Samples) -> None:
        """Set bars and numbers to the last of these samples."""
        self._frame.legend.set_numbers(samples, 0.0)
        self._texts, self._bars = [], []
        rows = self.spec.rows(samples) if self.spec.rows is not None else ()
        if rows:
            self._lay_out(rows)
        else:
            plot = self.boxes.plot
            middle, base = plot.left + plot.width / 2, plot.top + plot.height / 2
            self._write(self._notice, middle, base, self._sheet.theme.text_muted, "center")

    def draw_plot(self, renderer: RendererBase) -> None:
        """Nothing: bars are drawn with the numbers."""

    def draw_numbers(self, renderer: RendererBase) -> None:
        """Draw the legend's numbers, the rows and their bars."""
        self._frame.legend.draw_numbers(renderer)
        for artist in (*self._bars, *self._texts):
            artist.draw(renderer)

    def draw_times(self, labels: tuple[str, ...], renderer: RendererBase) -> None:
        """Nothing: it has no time axis."""

    # --- Inside ---

    def _lay_out(self, rows: tuple[BarRow, ...]) -> None:
        """Lay out as many rows as there is room for."""
        scale, body = self._sheet.scale, self.boxes.plot
        room = max(int(body.height / (_LETTERS_HEIGHT * scale)), 1)
        shown = rows if len(rows) <= room else rows[: room - 1]
        height = body.height / (len(shown) + (len(shown) < len(rows)))
        # At least 1, so that a column of zeros divides by something.
        most = np.maximum(np.array([row.values for row in rows]).max(axis=0), 1.0)
        columns = self._columns(rows)
        for index, row in enumerate(shown):
            spare = max(height - _ROW_HEIGHT * scale, 0.0)
            self._lay_out_row(row, body.top + (index + 1) * height - spare / 2, most, columns)
        if len(shown) < len(rows):
            text = f"and {len(rows) - len(shown)} more"
            self._write(text, columns[0].left, body.bottom - 4 * scale, self._sheet.theme.text_muted)

    def _lay_out_row(self, row: BarRow, bottom: float, most: NDArray[np.float64], columns: list[Box]) -> None:
        """Texts on a base line, and a bar below each number."""
        sheet, theme = self._sheet, self._sheet.theme
        base, names = bottom - (_BAR_HEIGHT + 2) * sheet.scale, columns[0]
        self._write(sheet.fitted(row.name, LABEL_FONT, names.width), names.left, base, theme.text_muted)
        for series, value, note, peak, box in zip(
            self.spec.series, row.values, row.notes, most, columns[1:], strict=True
        ):
            self._write(_number_text(value), box.left, base, theme.text)
            after = box.left + sheet.width_of(_number_text(value), LABEL_FONT) + geometry.NUMBER_GAP * sheet.scale
            choices = (note, _first_of(note))
            fitting = (text for text in choices if after + sheet.width_of(text, LABEL_FONT) <= box.right)
            self._write(next(fitting, ""), after, base, theme.text_muted)
            if value > 0:
                length = max(value / peak * box.width, _BAR_LEAST * sheet.scale)
                self._bars.append(self._new_bar(box.left, length, bottom, sheet.color(series.color)))

    def _columns(self, rows: tuple[BarRow, ...]) -> list[Box]:
        """The column of names, and one per series: room for its texts, and a share of the rest by `Series.width`."""
        sheet, body = self._sheet, self.boxes.plot
        gap, pad = round(_GAP * sheet.scale), round(_PAD * sheet.scale)
        names = max(sheet.width_of(row.name, LABEL_FONT) for row in rows)
        names = min(math.ceil(names), round(_NAME_RATIO_MAX * body.width))
        series = self.spec.series
        least = [max(self._text_width(row, index) for row in rows) for index in range(len(series))]
        # The bars share what the texts leave.
        free = max(body.width - 2 * pad - names - gap * len(series) - sum(least), 0.0)
        left = body.left + pad
        boxes = [Box(left, body.top, left + names, body.bottom)]
        for one, width in zip(series, least, strict=True):
            left = boxes[-1].right + gap
            right = left + math.floor(width + free * one.width / sum(other.width for other in series))
            boxes.append(Box(left, body.top, right, body.bottom))
        return boxes

    def _text_width(self, row: BarRow, index: int) -> float:
        """The width of a number and the first word of its note."""
        sheet, note = self._sheet, _first_of(row.notes[index])
        gap = geometry.NUMBER_GAP * sheet.scale if note else 0.0
        return (
            math.ceil(
                sheet.width_of(_number_text(row.values[index]), LABEL_FONT) + gap + sheet.width_of(note, LABEL_FONT)
            )
            + 1.0
        )

    def _write(self, text: str, x: float, base: float, color: str, side: str = "left") -> None:
        artist = Text(
            x, self._sheet.height - base, text, font=LABEL_FONT, color=color, ha=side, transform=IdentityTransform()
        )
        artist.set_figure(self._sheet.figure)
        artist.set(clip_on=True, clip_box=self._sheet.pixels(self.boxes.plot))
        self._texts.append(artist)

    def _new_bar(self, left: float, length: float, bottom: float, color: str) -> Line2D:
        thick = _BAR_HEIGHT * self._sheet.scale
        middle = self._sheet.height - bottom + thick / 2
        bar = Line2D(
            [left, left + length],
            [middle, middle],
            color=color,
            linewidth=_BAR_HEIGHT * style.POINTS_PER_PIXEL,
            solid_capstyle="butt",
            transform=IdentityTransform(),
        )
        bar.set_figure(self._sheet.figure)
        return bar


def _number_text(value: float) -> str:
    return "\N{NO-BREAK SPACE}".join(part for part in count_digits(value) if part)


def _first_of(note: str) -> str:
    return note.partition(" ")[0]
