"""The picture of the chosen panels: samples in, RGBX bytes out. Reads no clock, no page and no command.

A full picture of matplotlib costs 50 ms and more. So what stands still is drawn once into a background, which is kept,
and only the plots are drawn anew over it; numbers change twice a second, as fast as they can be read.
Invariant: the same samples over the same span give the same picture, whatever was drawn before, once the limits agree.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from plots.bars import BarsPanel
from plots.history import MARKER
from plots.legend import column_count, row_count
from plots.panel import Panel
from plots.place import Box, Place, panel_places, panel_widths
from plots.series import DEFAULT_NAMES, PANELS, load_runs
from plots.sheet import FigureCanvas
from plots.span import Span
from plots.spec import PanelSpec, Samples
from plots.style import DARK, Theme

NUMBERS_INTERVAL_NS = 500_000_000
NO_MARKERS = np.zeros(0, MARKER)


def new_panel(sheet: FigureCanvas, spec: PanelSpec, place: Place, note: str, *, labelled: bool) -> Panel | BarsPanel:
    """The panel that draws what `spec` says. `labelled`: its marks have words."""
    if spec.rows is not None:
        return BarsPanel(sheet, spec, place, note)
    return Panel(sheet, spec, place, note, labelled=labelled)


class Panels:
    """Draws pictures of `width` x `height` pixels; `scale` 2 doubles letters and lines. A size, an object.

    `names`: of PANELS, row by row, two in each. `note` is said beside the titles of what is brushed.
    """

    def __init__(
        self,
        width: int,
        height: int,
        scale: float = 1.0,
        names: Sequence[str] = DEFAULT_NAMES,
        theme: Theme = DARK,
        note: str = "",
    ) -> None:
        specs = [PANELS[name] for name in names]
        self._sheet = FigureCanvas(width, height, scale, theme)
        widths = panel_widths(width, scale, len(specs))
        rows = [
            row_count(spec, column_count(self._sheet, spec, room)) for spec, room in zip(specs, widths, strict=True)
        ]
        places = panel_places(width, height, scale, rows)
        with mpl.rc_context():
            mpl.rcdefaults()
            # One set of words is enough: the lines tell where they stand in the other panels.
            self.panels = [
                new_panel(self._sheet, spec, place, note, labelled=index == 0)
                for index, (spec, place) in enumerate(zip(specs, places, strict=True))
            ]
        self._background: NDArray[np.uint8] | None = None
        self._numbers_turn = -1
        self._time_labels: tuple[str, ...] = ()

    def draw(self, samples: Samples, span: Span, markers: NDArray[Any] = NO_MARKERS) -> NDArray[np.uint8]:
        """Draw a span of time.

        `samples`: shape (n,), dtype SAMPLE; `markers`: shape (n,), dtype MARKER; both ascending in time, and what lies
        outside of the span is not shown. Returns shape (height, width, 4), uint8: red, green, blue and a byte to skip,
        valid until the next call.
        """
        times_ns = samples["time_ns"]
        first, end = np.searchsorted(times_ns, [span.first_ns, span.end_ns + 1])
        shown = samples[first:end]
        running = load_runs(shown)
        moved = [panel.show(shown, span, markers, running=running) for panel in self.panels]
        background = self._background
        if background is None or any(moved):
            background = self._draw_background()
        for panel in self.panels:
            self._restore(background, panel.clip_box)
            panel.draw_plot(self._sheet.renderer)
        if self._numbers_turn != span.end_ns // NUMBERS_INTERVAL_NS:
            self._numbers_turn = span.end_ns // NUMBERS_INTERVAL_NS
            self._draw_numbers(background, shown)
        if self._time_labels != span.tick_labels():
            self._time_labels = span.tick_labels()
            self._draw_times(background, self._time_labels)
        return self._sheet.frame

    def _draw_background(self) -> NDArray[np.uint8]:
        self._sheet.figure.draw(self._sheet.renderer)
        self._background = self._sheet.frame.copy()
        self._numbers_turn, self._time_labels = -1, ()  # Both were painted over.
        return self._background

    def _draw_numbers(self, background: NDArray[np.uint8], shown: Samples) -> None:
        for panel in self.panels:
            self._restore(background, panel.numbers_box)
            panel.say(shown)
            panel.draw_numbers(self._sheet.renderer)

    def _draw_times(self, background: NDArray[np.uint8], labels: tuple[str, ...]) -> None:
        for panel in self.panels:
            self._restore(background, panel.place.times)
            panel.draw_times(labels, self._sheet.renderer)

    def _restore(self, background: NDArray[np.uint8], box: Box) -> None:
        area = np.s_[max(box.top, 0) : box.bottom, max(box.left, 0) : box.right]
        self._sheet.frame[area] = background[area]
