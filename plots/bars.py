"""One panel of bars: a row a kind, in it a figure and a bar for each series, at the end of the time that is shown.

Not over time, as `panel` is: twelve kinds are no twelve lines that anybody tells apart. Bars and figures change
together, twice a second, as fast as figures are read. Invariant: what is drawn depends on the last sample alone, and a
bar is as long as its figure is large beside the largest of its column.
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

from plots import style
from plots.axis import count_digits
from plots.frame import Frame
from plots.place import Box, Place
from plots.series import NOTHING_NOTICE, WAITING_NOTICE
from plots.sheet import LABEL_FONT, FigureCanvas
from plots.span import Span
from plots.spec import PanelSpec, Row, Samples

_NAME_RATIO_MAX = 0.32
"""Of the panel's width, that the longest name may take."""
_GAP, _PAD = 6, 6
"""Between columns, and at the sides."""
_BAR_HEIGHT, _ROW_HEIGHT = 3.0, 15
_BAR_LEAST = 1.0
"""In pixels, of a figure that is not 0, so that it is seen."""
_LETTERS_HEIGHT = 12
"""A row is at least so high; where there is no room for all, the last says how many are left out."""


class BarsPanel:
    """What `spec` says, drawn on `sheet` at `place`; see `panel.Panel`, which it stands beside."""

    def __init__(self, sheet: FigureCanvas, spec: PanelSpec, place: Place, note: str) -> None:
        # No axis needs room, neither at the left nor below.
        body = Box(place.title.left, place.plot.top, place.plot.right, place.times.bottom)
        self.spec, self.place = (
            spec,
            replace(place, plot=body, times=Box(body.left, body.bottom, body.right, body.bottom)),
        )
        self.axis = spec.new_axis()
        self._sheet = sheet
        self._frame = Frame(sheet, spec, self.place, self.axis, note)
        self._frame.axes.grid(visible=False)
        self._notice_words = ""
        self._words: list[Text] = []
        self._bars: list[Line2D] = []

    @property
    def clip_box(self) -> Box:
        """Nothing: what `draw_plot` touches."""
        return Box(0, 0, 0, 0)

    @property
    def numbers_box(self) -> Box:
        """All that `draw_numbers` touches."""
        return Box(self.place.plot.left, self.place.legend.top, self.place.plot.right, self.place.plot.bottom)

    def show(self, samples: Samples, span: Span, markers: NDArray[Any], *, running: bool) -> bool:
        """Take in whether there is anything to show; see `Panel.show`."""
        waiting = WAITING_NOTICE if span.live else NOTHING_NOTICE
        self._notice_words = self.spec.empty_notice if running else waiting
        return False

    def say(self, samples: Samples) -> None:
        """Take the last of these samples for bars and figures."""
        self._frame.legend.say(samples, 0.0)
        self._words, self._bars = [], []
        rows = self.spec.rows(samples) if self.spec.rows is not None else ()
        if rows:
            self._lay_out(rows)
        else:
            middle, base = (
                self.place.plot.left + self.place.plot.width / 2,
                self.place.plot.top + self.place.plot.height / 2,
            )
            self._write(self._notice_words, middle, base, self._sheet.theme.text_muted, "center")

    def draw_plot(self, renderer: RendererBase) -> None:
        """Nothing moves but at the pace of figures."""

    def draw_numbers(self, renderer: RendererBase) -> None:
        """Draw what `say` was told."""
        self._frame.legend.draw_numbers(renderer)
        for artist in (*self._bars, *self._words):
            artist.draw(renderer)

    def draw_times(self, labels: tuple[str, ...], renderer: RendererBase) -> None:
        """It has no time axis."""

    # --- Inside ---

    def _lay_out(self, rows: tuple[Row, ...]) -> None:
        """Every row in its place, as far as there is room."""
        scale, body = self._sheet.scale, self.place.plot
        room = max(int(body.height / (_LETTERS_HEIGHT * scale)), 1)
        shown = rows if len(rows) <= room else rows[: room - 1]
        height = body.height / (len(shown) + (len(shown) < len(rows)))
        most = np.maximum(np.array([row.values for row in rows]).max(axis=0), 1.0)
        columns = self._columns(rows)
        for index, row in enumerate(shown):
            spare = max(height - _ROW_HEIGHT * scale, 0.0)
            self._lay_out_row(row, body.top + (index + 1) * height - spare / 2, most, columns)
        if len(shown) < len(rows):
            words = f"and {len(rows) - len(shown)} more"
            self._write(words, columns[0].left, body.bottom - 4 * scale, self._sheet.theme.text_muted)

    def _lay_out_row(self, row: Row, bottom: float, most: NDArray[np.float64], columns: list[Box]) -> None:
        """Words on a base line, and a bar below each figure."""
        sheet, theme = self._sheet, self._sheet.theme
        base, names = bottom - (_BAR_HEIGHT + 2) * sheet.scale, columns[0]
        self._write(sheet.fitted(row.name, LABEL_FONT, names.width), names.left, base, theme.text_muted)
        for series, value, note, peak, box in zip(
            self.spec.series, row.values, row.notes, most, columns[1:], strict=True
        ):
            self._write(_figure(value), box.left, base, theme.text)
            after = box.left + sheet.width_of(_figure(value), LABEL_FONT) + style.NUMBER_GAP * sheet.scale
            choices = (note, _first_of(note))
            fitting = (words for words in choices if after + sheet.width_of(words, LABEL_FONT) <= box.right)
            self._write(next(fitting, ""), after, base, theme.text_muted)
            if value > 0:
                length = max(value / peak * box.width, _BAR_LEAST * sheet.scale)
                self._bars.append(self._new_bar(box.left, length, bottom, sheet.color(series.color)))

    def _columns(self, rows: tuple[Row, ...]) -> list[Box]:
        """The names, and for each series a column: room for what it says, and of the rest as its line is wide."""
        sheet, body = self._sheet, self.place.plot
        gap, pad = round(_GAP * sheet.scale), round(_PAD * sheet.scale)
        names = max(sheet.width_of(row.name, LABEL_FONT) for row in rows)
        names = min(math.ceil(names), round(_NAME_RATIO_MAX * body.width))
        series = self.spec.series
        least = [max(self._width_said(row, index) for row in rows) for index in range(len(series))]
        free = max(body.width - 2 * pad - names - gap * len(series) - sum(least), 0.0)
        left = body.left + pad
        boxes = [Box(left, body.top, left + names, body.bottom)]
        for one, width in zip(series, least, strict=True):
            left = boxes[-1].right + gap
            right = left + math.floor(width + free * one.width / sum(other.width for other in series))
            boxes.append(Box(left, body.top, right, body.bottom))
        return boxes

    def _width_said(self, row: Row, index: int) -> float:
        """What a figure and the first word of its note take."""
        sheet, words = self._sheet, _first_of(row.notes[index])
        gap = style.NUMBER_GAP * sheet.scale if words else 0.0
        return (
            math.ceil(sheet.width_of(_figure(row.values[index]), LABEL_FONT) + gap + sheet.width_of(words, LABEL_FONT))
            + 1.0
        )

    def _write(self, text: str, x: float, base: float, color: str, side: str = "left") -> None:
        written = Text(
            x, self._sheet.height - base, text, font=LABEL_FONT, color=color, ha=side, transform=IdentityTransform()
        )
        written.set_figure(self._sheet.figure)
        written.set(clip_on=True, clip_box=self._sheet.pixels(self.place.plot))
        self._words.append(written)

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


def _figure(value: float) -> str:
    return "\N{NO-BREAK SPACE}".join(part for part in count_digits(value) if part)


def _first_of(note: str) -> str:
    return note.partition(" ")[0]
