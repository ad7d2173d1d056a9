"""A heat map of latency over time: the number of placements seen with each latency, as colours.

A cell is one block of time wide and one latency band high; its colour shows the logarithm of its count, so that one
slow placement is visible beside ten thousand fast ones. The highest band counts everything above it, and extends up to
the edge of the plot. Cells are fixed in time and glide with it.
"""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from plots.axis import LogAxis, next_limit
from plots.geometry import Box
from plots.history import LATENCY_BAND_EDGES_MS, LATENCY_BANDS
from plots.legend import HEAT_SHADES, heat_colors
from plots.sheet import FigureCanvas
from plots.spec import Samples
from plots.timeline import Bucketing, TimeSpan, block_starts

# The last colour stands for at least this count.
COUNT_FLOOR = 10.0


def cell_counts(samples: Samples, first_block: int, block_count: int, bucketing: Bucketing) -> NDArray[np.int64]:
    """Placements seen in each cell, shape (LATENCY_BANDS, block_count), the lowest band first.

    `first_block`: number of the first column's block of time. The last block with samples covers a whole block length,
    as the end of a line does.
    """
    counts = np.zeros((LATENCY_BANDS, block_count), np.int64)
    if len(samples):
        times_ns, bands = samples["time_ns"], samples["latency_counts"]
        starts = block_starts(times_ns, bucketing)
        # int64: a sum of 32-bit counts over a long block may exceed them.
        sums = np.add.reduceat(bands, starts, axis=0, dtype=np.int64)
        sums[-1] = bands[times_ns > times_ns[-1] - bucketing.block_ns].sum(axis=0, dtype=np.int64)
        columns = times_ns[starts] // bucketing.block_ns - first_block
        inside = (columns >= 0) & (columns < block_count)
        counts[:, columns[inside]] = sums[inside].T
    return counts


class Heat:
    """The cells of one panel, on the axes at `plot` of the sheet."""

    def __init__(self, sheet: FigureCanvas, axes: Axes, plot: Box, axis: LogAxis) -> None:
        self._sheet, self._axes, self._plot, self._axis = sheet, axes, plot, axis
        self._colors = heat_colors(sheet.theme)
        self._counts = np.zeros((LATENCY_BANDS, 1), np.int64)
        self._sides = np.array([0.0, 1.0])
        self.peak = COUNT_FLOOR
        """The count that the last colour stands for; it moves in steps, as limits do."""

    def show(self, samples: Samples, span: TimeSpan) -> tuple[float, float]:
        """Count the cells. Returns the least and the largest latency seen, in ms; NaN when none was."""
        block_ns = span.bucketing.block_ns
        first = span.start_ns // block_ns
        block_count = span.end_ns // block_ns - first + 1
        self._counts = cell_counts(samples, first, block_count, span.bucketing)
        self._sides = span.across(np.array([first, first + block_count]) * block_ns)
        self.peak = next_limit(self.peak, float(self._counts.max()), COUNT_FLOOR)
        bands = np.flatnonzero(self._counts.any(axis=1))
        if len(bands) == 0:
            return math.nan, math.nan
        return float(LATENCY_BAND_EDGES_MS[bands[0]]), float(LATENCY_BAND_EDGES_MS[bands[-1] + 1])

    def draw(self, renderer: RendererBase) -> None:
        """Draw the cells over the background; empty cells are transparent."""
        # Shade 0 is transparent, so counts use the shades from 1 on.
        shades = np.log(np.maximum(self._counts, 1)) / math.log(self.peak) * (HEAT_SHADES - 2) + 1
        cells = self._colors[np.where(self._counts > 0, shades, 0).astype(np.uint8)]
        if renderer is self._sheet.renderer:
            self._paint(cells)
        else:
            self._draw_image(cells, renderer)

    def _heights(self) -> tuple[float, float]:
        """The heights of the lowest and the highest edge of all bands on the axis."""
        return self._axis.height(float(LATENCY_BAND_EDGES_MS[0])), self._axis.height(float(LATENCY_BAND_EDGES_MS[-1]))

    def _paint(self, cells: NDArray[np.uint8]) -> None:
        """Colour each pixel of the plot by the cell at its middle: a third of the cost of matplotlib's image."""
        plot, (left, right), (low, high) = self._plot, self._sides, self._heights()
        across = (np.arange(plot.width) + 0.5) / plot.width
        up = 1 - (np.arange(plot.height) + 0.5) / plot.height
        columns = np.clip((across - left) / (right - left) * cells.shape[1], 0, cells.shape[1] - 1).astype(np.int64)
        bands = np.clip((up - low) / (high - low) * LATENCY_BANDS, 0, LATENCY_BANDS - 1).astype(np.int64)
        # Four bytes of colour as one number: a pixel is gathered and compared at once.
        painted = np.ascontiguousarray(cells).view(np.uint32)[..., 0][:, columns][bands]
        area = self._sheet.frame.view(np.uint32)[plot.top : plot.bottom, plot.left : plot.right, 0]
        painted = painted[: area.shape[0], : area.shape[1]]  # A picture may be too small for its plots.
        np.copyto(area, painted, where=painted != 0)

    def _draw_image(self, cells: NDArray[np.uint8], renderer: RendererBase) -> None:
        (left, right), (low, high) = self._sides.tolist(), self._heights()
        band_height = (high - low) / LATENCY_BANDS
        rows_above = max(math.ceil((1 - high) / band_height), 0)
        cells, high = np.pad(cells, ((0, rows_above), (0, 0), (0, 0)), "edge"), high + rows_above * band_height
        # Not added to the axes: their images would be drawn into the background.
        image = AxesImage(self._axes, interpolation="none", origin="lower", extent=(left, right, low, high))
        image.set_figure(self._sheet.figure)
        image.set_transform(self._axes.transData)
        image.set_clip_path(self._axes.patch)
        image.set_data(cells)
        image.draw(renderer)
