"""Marks on a plot's time axis: events of the run as dotted lines, each with a label at the top.

A label is to the right of its line; near the plot's right edge it stays inside until the line has moved past its start.
Labels that would overlap are stacked in rows; where the stack is full, newer labels cover older ones, whose lines stay.
The row of a label depends only on earlier marks, so that no label jumps while all of them glide to the left.
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

from plots import geometry, style
from plots.geometry import Box
from plots.history import MarkerKind
from plots.sheet import LABEL_FONT, FigureCanvas
from plots.timeline import TimeSpan

COLORS = {
    MarkerKind.KNOB: "orange",
    MarkerKind.FAULT: "vermilion",
    MarkerKind.BRAKE: "purple",
    MarkerKind.NOTE: "silver",
}
_TEXT_COLORS = COLORS | {MarkerKind.BRAKE: "purple_text"}
# Of a row's height, from its top down to the base line of its label.
_BASE_RATIO = 0.78
_STAMPS_MAX = 64


def stack_rows(lefts: NDArray[np.float64], widths: NDArray[np.float64], row_count: int) -> list[int]:
    """The row of the stack for each label, from the top. `lefts`: ascending, in pixels.

    The first free row, or else the one that was taken longest ago: the newest label is always shown.
    """
    ends, starts, rows = [-np.inf] * row_count, [-np.inf] * row_count, []
    for left, width in zip(lefts, widths, strict=True):
        free = [row for row in range(row_count) if ends[row] <= left]
        row = free[0] if free else int(np.argmin(starts))
        starts[row], ends[row] = left, left + width
        rows.append(row)
    return rows


class Marks:
    """The marks of one panel. `labelled`: with labels, not lines alone."""

    def __init__(self, sheet: FigureCanvas, axes: Axes, plot: Box, *, labelled: bool) -> None:
        self._sheet, self._plot = sheet, plot
        self._row_height = max(round(geometry.MARK_ROW_HEIGHT * sheet.scale), 1)
        self._row_count = min(geometry.MARK_ROWS_MAX, plot.height // (2 * self._row_height)) if labelled else 0
        self._axes = axes
        self._lines = {kind: self._new_line(sheet.color(color)) for kind, color in COLORS.items()}
        self._text = self._new_text()
        self._stamps: dict[tuple[str, str], NDArray[np.uint8]] = {}
        # Of each visible label: its left edge, its row and the index of its marker.
        self._shown: list[tuple[float, int, int]] = []
        self._kinds = np.zeros(0, np.int64)
        self._stack_key: object = None
        self._rows: list[int] = []
        self._labels: list[str] = []
        self._widths = np.zeros(0)

    def show(self, markers: NDArray[Any], span: TimeSpan) -> None:
        """Set the markers: shape (n,), dtype MARKER, ascending in time."""
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
        """Draw lines and labels over the background."""
        for line in self._lines.values():
            if line.get_visible():
                line.draw(renderer)
        for left, row, index in self._shown:
            top = self._plot.top + row * self._row_height
            color = self._sheet.color(_TEXT_COLORS[MarkerKind(self._kinds[index])])
            if renderer is self._sheet.renderer:
                self._stamp(round(left), top, self._labels[index], color)
            else:
                self._write(left, top, self._labels[index], color, self._sheet.height, renderer)

    def _write(self, left: float, top: float, label: str, color: str, height: int, renderer: RendererBase) -> None:
        """Draw a label whose row has this top left corner, on an image of this height."""
        base = top + _BASE_RATIO * self._row_height
        self._text.set(x=left + geometry.MARK_PAD * self._sheet.scale, y=height - base, text=label, color=color)
        self._text.draw(renderer)

    def _stamp(self, left: int, top: int, label: str, color: str) -> None:
        """Copy a cached image of the label into the sheet, clipped to the plot. Drawing text costs far more."""
        stamp = self._stamps.get((label, color))
        if stamp is None:
            if len(self._stamps) == _STAMPS_MAX:
                self._stamps.clear()
            stamp = self._stamps[label, color] = self._new_stamp(label, color)
        before, room = max(self._plot.left - left, 0), max(self._plot.right - left, 0)
        part = stamp[: max(self._plot.bottom - top, 0), before:room]
        area = self._sheet.frame[top : top + part.shape[0], left + before : left + before + part.shape[1]]
        area[...] = part[: area.shape[0], : area.shape[1]]

    def _new_stamp(self, label: str, color: str) -> NDArray[np.uint8]:
        width = math.ceil(self._sheet.width_of(label, LABEL_FONT) + 2 * geometry.MARK_PAD * self._sheet.scale)
        renderer = RendererAgg(width, self._row_height, self._sheet.figure.dpi)  # type: ignore[no-untyped-call]
        pixels: NDArray[np.uint8] = np.asarray(renderer.buffer_rgba())  # type: ignore[no-untyped-call]
        pixels[...] = np.round(255 * np.array(to_rgba(self._sheet.theme.plot)))
        self._write(0, 0, label, color, self._row_height, renderer)
        return pixels.copy()

    def _stack(self, markers: NDArray[Any], span: TimeSpan) -> None:
        # Rows depend on the distances between marks alone, so gliding needs no new stack.
        key = (markers.tobytes(), span.span_ns)
        if key == self._stack_key:
            return
        self._stack_key = key
        room = self._plot.width - 2 * geometry.MARK_PAD * self._sheet.scale
        self._labels = [
            self._sheet.fitted(text.decode("utf-8", "replace"), LABEL_FONT, room) for text in markers["text"].tolist()
        ]
        pads = 2 * geometry.MARK_PAD * self._sheet.scale
        self._widths = np.array([self._sheet.width_of(label, LABEL_FONT) + pads for label in self._labels])
        lefts = (markers["time_ns"] - span.end_ns) * (self._plot.width / span.span_ns)
        self._rows = stack_rows(lefts, self._widths, self._row_count)

    def _place_labels(self, places: NDArray[np.float64]) -> None:
        """From the newest to the oldest, keep each label inside the plot that no newer one covers."""
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

    def _new_text(self) -> Text:
        label = Text(font=LABEL_FONT, animated=True)
        label.set_figure(self._sheet.figure)
        label.set_bbox({"facecolor": self._sheet.theme.plot, "linewidth": 0, "pad": 1.5})
        return label
