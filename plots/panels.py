"""The picture of all four panels: samples in, RGBX bytes out. Reads no clock, no page and no command.

A full picture of matplotlib costs 50 ms and more. So what stands still is drawn once into a background, which is kept,
and only the plots are drawn anew over it; the legends' numbers change twice a second, as fast as they can be read.
Invariant: the same samples at the same time give the same picture, whatever was drawn before, once the limits agree.
"""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from plots import series, style
from plots.panel import SPAN_S, Panel
from plots.place import Box, panel_places
from plots.trace import BLOCK_NS

NUMBERS_INTERVAL_NS = 500_000_000
_SPAN_NS = int(SPAN_S * 1e9)


class Panels:
    """Draws pictures of `width` x `height` pixels; `scale` 2 doubles letters and lines. A size, an object."""

    def __init__(self, width: int, height: int, scale: float = 1.0) -> None:
        dpi = style.DOTS_PER_INCH * scale
        with mpl.rc_context():
            mpl.rcdefaults()
            # The half pixel keeps matplotlib, which cuts sizes off, from losing one.
            self._figure = Figure(((width + 0.5) / dpi, (height + 0.5) / dpi), dpi, facecolor=style.PAGE)
            self._renderer = FigureCanvasAgg(self._figure).get_renderer()  # type: ignore[no-untyped-call]
            self._frame = np.asarray(self._renderer.buffer_rgba())
            legend_rows = tuple(max(-(-len(spec.series) // spec.legend_columns) for spec in row) for row in series.GRID)
            places = panel_places(width, height, scale, legend_rows)
            self.panels = [
                Panel(self._figure, self._renderer, spec, place, scale)
                for specs, row in zip(series.GRID, places, strict=True)
                for spec, place in zip(specs, row, strict=True)
            ]
        self._background: NDArray[np.uint8] | None = None
        self._numbers_turn = -1

    def draw(self, samples: NDArray[Any], now_ns: int) -> NDArray[np.uint8]:
        """Draw the minute before `now_ns`, which is the right edge of every plot.

        `samples`: shape (n,), dtype SAMPLE, ascending in time. Returns shape (height, width, 4), uint8: red, green,
        blue and a byte to skip, valid until the next call.
        """
        times_ns = samples["time_ns"]
        # From a whole block before the span, so that lines come in from the left edge.
        first = int(np.searchsorted(times_ns, (now_ns - _SPAN_NS) // BLOCK_NS * BLOCK_NS - BLOCK_NS))
        last = int(np.searchsorted(times_ns, now_ns, side="right"))
        shown = samples[first:last]
        running = series.load_runs(shown)
        moved = [panel.show(shown, now_ns, running=running) for panel in self.panels]
        background = self._background
        if background is None or any(moved):
            background = self._draw_background()
        for panel in self.panels:
            self._restore(background, panel.clip_box)
            panel.draw_plot()
        if self._numbers_turn != now_ns // NUMBERS_INTERVAL_NS:
            self._numbers_turn = now_ns // NUMBERS_INTERVAL_NS
            self._draw_numbers(background, shown)
        return self._frame

    def _draw_background(self) -> NDArray[np.uint8]:
        self._figure.draw(self._renderer)
        self._background = self._frame.copy()
        self._numbers_turn = -1  # The numbers were painted over.
        return self._background

    def _draw_numbers(self, background: NDArray[np.uint8], shown: NDArray[Any]) -> None:
        for panel in self.panels:
            self._restore(background, panel.place.legend)
            panel.show_numbers(shown)
            panel.draw_numbers()

    def _restore(self, background: NDArray[np.uint8], box: Box) -> None:
        area = np.s_[max(box.top, 0) : box.bottom, max(box.left, 0) : box.right]
        self._frame[area] = background[area]
