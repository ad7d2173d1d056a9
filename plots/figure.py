"""One panel as a picture for a page or a file: a report's figure. The same panels as the window's, of any span.

Invariant: the same samples give the same bytes, so that reports can be compared.
"""

import io
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_svg import RendererSVG
from numpy.typing import NDArray

from plots import style
from plots.legend import column_count, row_count
from plots.panels import NO_MARKERS, new_panel
from plots.place import panel_places, panel_widths
from plots.series import PANELS, load_runs
from plots.sheet import FigureCanvas
from plots.span import Span
from plots.spec import Samples
from plots.style import LIGHT, Theme

_POINTS_AN_INCH = 72


def whole_span(samples: Samples) -> Span:
    """From the first sample to the last, told as how long it is from the first."""
    if len(samples) == 0:
        return Span.live_at(0)
    first_ns, last_ns = (int(samples["time_ns"][index]) for index in (0, -1))
    return Span.still_at(last_ns, (last_ns - first_ns) * 1e-9, origin_ns=first_ns)


def draw_svg(
    name: str,
    samples: Samples,
    markers: NDArray[Any] = NO_MARKERS,
    size: tuple[int, int] = (800, 400),
    theme: Theme = LIGHT,
) -> str:
    """The panel of this name (of `series.PANELS`) over all samples, as an SVG document of about `size` pixels.

    `samples`: shape (n,), dtype SAMPLE; `markers`: shape (n,), dtype MARKER; both ascending in time. A point of a line
    stands for a 120th of the time, whatever n is. Letters are outlines: no typeface is needed to show them. Raises
    KeyError for a name that no panel has.
    """
    # SVG counts 72 dots to the inch, and whoever shows it 96 pixels; at this scale letters are as large as in a window.
    scale = _POINTS_AN_INCH / style.DOTS_PER_INCH
    width, height = (round(side * scale) for side in size)
    spec, span, sheet = PANELS[name], whole_span(samples), FigureCanvas(width, height, scale, theme)
    file = io.StringIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["svg.hashsalt"] = name  # Or its names of parts would be drawn by lot.
        columns = column_count(sheet, spec, panel_widths(width, scale, 1)[0])
        (place,) = panel_places(width, height, scale, [row_count(spec, columns)])
        panel = new_panel(sheet, spec, place, "", labelled=True)
        panel.show(samples, span, markers, running=load_runs(samples))
        panel.say(samples)
        renderer = _svg_renderer(sheet, file)
        sheet.figure.draw(renderer)
        panel.draw_plot(renderer)
        panel.draw_numbers(renderer)
        panel.draw_times(span.tick_labels(), renderer)
        renderer.finalize()
    return file.getvalue()


def _svg_renderer(sheet: FigureCanvas, file: io.StringIO) -> Any:
    """Any: matplotlib does not say that it is a `RendererBase`, as which it does."""
    size = (sheet.width, sheet.height)
    vector = RendererSVG(*size, file, image_dpi=_POINTS_AN_INCH, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return MixedModeRenderer(sheet.figure, *size, _POINTS_AN_INCH, vector)  # type: ignore[no-untyped-call]
