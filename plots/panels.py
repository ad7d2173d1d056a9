"""Pictures of panels: samples in, RGBX bytes of the chosen panels or the SVG of one panel out.

A full redraw by matplotlib takes 50 ms and more. `Panels` therefore draws what does not move once, into a background,
and redraws only the plots over it; numbers change twice per second, which is as fast as they can be read. The same
samples over the same span give the same picture, whatever was drawn before, once the limits of the axes agree.
"""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_svg import RendererSVG
from numpy.typing import NDArray

from plots import style
from plots.bars import BarsPanel
from plots.geometry import Box, PanelBoxes, panel_boxes, panel_widths
from plots.history import MARKER
from plots.legend import column_count, row_count
from plots.panel import Panel
from plots.series import DEFAULT_NAMES, PANELS, load_runs
from plots.sheet import FigureCanvas
from plots.spec import PanelSpec, Samples
from plots.style import DARK, LIGHT, Theme
from plots.timeline import TimeSpan

NUMBERS_INTERVAL_NS = 500_000_000
_POINTS_PER_INCH = 72
NO_MARKERS = np.zeros(0, MARKER)


def new_panel(
    sheet: FigureCanvas, spec: PanelSpec, boxes: PanelBoxes, note: str, *, labelled: bool
) -> Panel | BarsPanel:
    """The panel that draws `spec`. `labelled`: its marks have labels."""
    if spec.rows is not None:
        return BarsPanel(sheet, spec, boxes, note)
    return Panel(sheet, spec, boxes, note, labelled=labelled)


class Panels:
    """Draws pictures of `width` x `height` pixels; `scale` 2 doubles letters and lines. For another size, make another.

    `names`: of PANELS, row by row, two per row. `note` is shown beside the titles of panels that count selected tiles.
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
        all_boxes = panel_boxes(width, height, scale, rows)
        with mpl.rc_context():
            mpl.rcdefaults()
            # One set of labels is enough: in the other panels the lines alone show where the marks are.
            self.panels = [
                new_panel(self._sheet, spec, boxes, note, labelled=index == 0)
                for index, (spec, boxes) in enumerate(zip(specs, all_boxes, strict=True))
            ]
        self._background: NDArray[np.uint8] | None = None
        self._numbers_turn = -1
        self._time_labels: tuple[str, ...] = ()

    def draw(self, samples: Samples, span: TimeSpan, markers: NDArray[Any] = NO_MARKERS) -> NDArray[np.uint8]:
        """Draw a span of time.

        `samples`: shape (n,), dtype SAMPLE; `markers`: shape (n,), dtype MARKER; both ascending in time. Those outside
        the span are not shown. Returns shape (height, width, 4), uint8: red, green, blue and an unused byte, valid
        until the next call.
        """
        times_ns = samples["time_ns"]
        first, end = np.searchsorted(times_ns, [span.first_ns, span.end_ns + 1])
        shown = samples[first:end]
        running = load_runs(shown)
        moved = [panel.show(shown, span, markers, running=running) for panel in self.panels]
        # A limit that moved changes ticks and grid, which are part of the background.
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
        self._numbers_turn, self._time_labels = -1, ()  # Both are overdrawn now.
        return self._background

    def _draw_numbers(self, background: NDArray[np.uint8], shown: Samples) -> None:
        for panel in self.panels:
            self._restore(background, panel.numbers_box)
            panel.set_numbers(shown)
            panel.draw_numbers(self._sheet.renderer)

    def _draw_times(self, background: NDArray[np.uint8], labels: tuple[str, ...]) -> None:
        for panel in self.panels:
            self._restore(background, panel.boxes.times)
            panel.draw_times(labels, self._sheet.renderer)

    def _restore(self, background: NDArray[np.uint8], box: Box) -> None:
        # A picture smaller than its panels has boxes outside itself; negative indices would wrap around.
        area = np.s_[max(box.top, 0) : box.bottom, max(box.left, 0) : box.right]
        self._sheet.frame[area] = background[area]


def whole_span(samples: Samples) -> TimeSpan:
    """From the first sample to the last, labelled with the time since the first."""
    if len(samples) == 0:
        return TimeSpan.live_at(0)
    first_ns, last_ns = (int(samples["time_ns"][index]) for index in (0, -1))
    return TimeSpan.still_at(last_ns, (last_ns - first_ns) * 1e-9, origin_ns=first_ns)


def draw_svg(
    name: str,
    samples: Samples,
    markers: NDArray[Any] = NO_MARKERS,
    size: tuple[int, int] = (800, 400),
    theme: Theme = LIGHT,
) -> str:
    """The panel with this name (of PANELS) over all samples, as an SVG document of about `size` pixels.

    `samples`: shape (n,), dtype SAMPLE; `markers`: shape (n,), dtype MARKER; both ascending in time. A point of a line
    stands for a 120th of the time, whatever n is. Letters are outlines, so no typeface is needed to show them. The same
    samples give the same bytes. Raises KeyError for an unknown name.
    """
    # matplotlib writes SVG at 72 dots per inch, viewers show 96: this scale makes letters as large as in a window.
    scale = _POINTS_PER_INCH / style.DOTS_PER_INCH
    width, height = (round(side * scale) for side in size)
    spec, span, sheet = PANELS[name], whole_span(samples), FigureCanvas(width, height, scale, theme)
    file = io.StringIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["svg.hashsalt"] = name  # Otherwise the ids in the file are random.
        columns = column_count(sheet, spec, panel_widths(width, scale, 1)[0])
        (boxes,) = panel_boxes(width, height, scale, [row_count(spec, columns)])
        panel = new_panel(sheet, spec, boxes, "", labelled=True)
        panel.show(samples, span, markers, running=load_runs(samples))
        panel.set_numbers(samples)
        renderer = _svg_renderer(sheet, file)
        sheet.figure.draw(renderer)
        panel.draw_plot(renderer)
        panel.draw_numbers(renderer)
        panel.draw_times(span.tick_labels(), renderer)
        renderer.finalize()
    return file.getvalue()


def _svg_renderer(sheet: FigureCanvas, file: io.StringIO) -> Any:
    """A renderer, although matplotlib does not declare it as a `RendererBase`."""
    size = (sheet.width, sheet.height)
    vector = RendererSVG(*size, file, image_dpi=_POINTS_PER_INCH, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return MixedModeRenderer(sheet.figure, *size, _POINTS_PER_INCH, vector)  # type: ignore[no-untyped-call]
