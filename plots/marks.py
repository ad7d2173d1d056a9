"""Marks on a plot's time axis: what was done to the run, as dotted lines, each with a few words at the top.

Words stand to the right of their line; near the right edge they wait for it to glide by. Words that would meet are
stacked; where the stack is full the newer ones cover the older, whose line stays. Invariant: the place of words in the
stack depends only on marks before them, so that none jumps while all glide to the left.
"""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.typing import NDArray

from plots import style
from plots.history import MarkerKind
from plots.place import Place
from plots.sheet import LABEL_FONT, FigureCanvas
from plots.span import Span

COLORS = {
    MarkerKind.KNOB: "orange",
    MarkerKind.FAULT: "vermilion",
    MarkerKind.BRAKE: "purple",
    MarkerKind.NOTE: "silver",
}
_TEXT_COLORS = COLORS | {MarkerKind.BRAKE: "purple_text"}
_BASE_RATIO = 0.78
"""Of a row, from its top down to the base line of its words."""
_STAMPS_MAX = 64


def stack_rows(lefts: NDArray[np.float64], widths: NDArray[np.float64], row_count: int) -> list[int]:
    """The row of the stack for each label, from the top. `lefts`: ascending, in pixels.

    The first row that is free, or the one that was taken longest ago: the newest label always has a place.
    """
    ends, starts, rows = [-np.inf] * row_count, [-np.inf] * row_count, []
    for left, width in zip(lefts, widths, strict=True):
        free = [row for row in range(row_count) if ends[row] <= left]
        row = free[0] if free else int(np.argmin(starts))
        starts[row], ends[row] = left, left + width
        rows.append(row)
    return rows


class Marks:
    """The marks of one panel. `labelled`: with words, not lines alone."""

    def __init__(self, sheet: FigureCanvas, axes: Axes, place: Place, *, labelled: bool) -> None:
        self._sheet, self._plot = sheet, place.plot
        self._row_height = max(round(style.MARK_ROW_HEIGHT * sheet.scale), 1)
        self._row_count = min(style.MARK_ROWS_MAX, place.plot.height // (2 * self._row_height)) if labelled else 0
        self._axes = axes
        self._lines = {kind: self._new_line(sheet.color(color)) for kind, color in COLORS.items()}
        self._label = self._new_label()
        self._stamps: dict[tuple[str, str], NDArray[np.uint8]] = {}
        self._shown: list[tuple[float, int, int]] = []
        """Of each label: its left side, its row and its marker."""
        self._kinds = np.zeros(0, np.int64)
        self._stack_key: object = None
        self._rows: list[int] = []
        self._words: list[str] = []
        self._widths = np.zeros(0)

    def show(self, markers: NDArray[Any], span: Span) -> None:
        """Take in the markers, shape (n,), dtype MARKER, ascending in time."""
        places = span.across(markers["time_ns"])
        inside = (places >= 0) & (places <= 1)
        for kind, line in self._lines.items():
            at = places[inside & (markers["kind"] == kind)]
            line.set_data(np.repeat(at, 3), np.tile([0.0, 1.0, np.nan], len(at)))
            line.set_visible(len(at) > 0)
        if self._row_count:
            self._stack(markers, span)
            self._kinds = markers["kind"]
            self._place_labels(places)

    def draw(self, renderer: RendererBase) -> None:
        """Draw lines and words over the background."""
        for line in self._lines.values():
            if line.get_visible():
                line.draw(renderer)
        for left, row, index in self._shown:
            top = self._plot.top + row * self._row_height
            color = self._sheet.color(_TEXT_COLORS[MarkerKind(self._kinds[index])])
            if renderer is self._sheet.renderer:
                self._stamp(round(left), top, self._words[index], color)
            else:
                self._write(left, top, self._words[index], color, self._sheet.height, renderer)

    def _write(self, left: float, top: float, words: str, color: str, height: int, renderer: RendererBase) -> None:
        """Draw words whose row begins there, on a page so high."""
        base = top + _BASE_RATIO * self._row_height
        self._label.set(x=left + style.MARK_PAD * self._sheet.scale, y=height - base, text=words, color=color)
        self._label.draw(renderer)

    def _stamp(self, left: int, top: int, words: str, color: str) -> None:
        """Copy a picture of the words into the sheet, as far as it lies in the plot. Letters cost far more to draw."""
        stamp = self._stamps.get((words, color))
        if stamp is None:
            if len(self._stamps) == _STAMPS_MAX:
                self._stamps.clear()
            stamp = self._stamps[words, color] = self._new_stamp(words, color)
        before, room = max(self._plot.left - left, 0), max(self._plot.right - left, 0)
        part = stamp[: max(self._plot.bottom - top, 0), before:room]
        area = self._sheet.frame[top : top + part.shape[0], left + before : left + before + part.shape[1]]
        area[...] = part[: area.shape[0], : area.shape[1]]

    def _new_stamp(self, words: str, color: str) -> NDArray[np.uint8]:
        width = math.ceil(self._sheet.width_of(words, LABEL_FONT) + 2 * style.MARK_PAD * self._sheet.scale)
        renderer = RendererAgg(width, self._row_height, self._sheet.figure.dpi)  # type: ignore[no-untyped-call]
        pixels: NDArray[np.uint8] = np.asarray(renderer.buffer_rgba())  # type: ignore[no-untyped-call]
        pixels[...] = np.round(255 * np.array(to_rgba(self._sheet.theme.plot)))
        self._write(0, 0, words, color, self._row_height, renderer)
        return pixels.copy()

    def _stack(self, markers: NDArray[Any], span: Span) -> None:
        key = (markers.tobytes(), span.span_ns)
        if key == self._stack_key:
            return
        self._stack_key = key
        room = self._plot.width - 2 * style.MARK_PAD * self._sheet.scale
        self._words = [
            self._sheet.fitted(text.decode("utf-8", "replace"), LABEL_FONT, room) for text in markers["text"].tolist()
        ]
        pads = 2 * style.MARK_PAD * self._sheet.scale
        self._widths = np.array([self._sheet.width_of(words, LABEL_FONT) + pads for words in self._words])
        lefts = (markers["time_ns"] - span.end_ns) * (self._plot.width / span.span_ns)
        self._rows = stack_rows(lefts, self._widths, self._row_count)

    def _place_labels(self, places: NDArray[np.float64]) -> None:
        """From the newest to the oldest, each that is inside the plot and meets no newer one."""
        self._shown, taken = [], [math.inf] * self._row_count
        for index in range(len(places) - 1, -1, -1):
            row, width = self._rows[index], self._widths[index]
            left = min(self._plot.left + places[index] * self._plot.width, self._plot.right - width)
            if left + width < self._plot.left:
                break
            if places[index] <= 1 and left + width <= taken[row]:
                taken[row] = left
                self._shown.append((left, row, index))

    def _new_line(self, color: str) -> Line2D:
        line = Line2D(
            [], [], color=color, linewidth=1.1 * style.POINTS_PER_PIXEL, linestyle=(0, (1.2, 1.8)), animated=True
        )
        self._axes.add_line(line)
        return line

    def _new_label(self) -> Text:
        label = Text(font=LABEL_FONT, animated=True)
        label.set_figure(self._sheet.figure)
        label.set_bbox({"facecolor": self._sheet.theme.plot, "linewidth": 0, "pad": 1.5})
        return label
