"""The figure that panels are drawn on: its size in pixels, its theme, and how text is written and measured.

Callers give positions in pixels from the top left corner, as images do; matplotlib counts from the bottom. Only this
module converts between the two.
"""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.transforms import Bbox, IdentityTransform
from numpy.typing import NDArray

from plots import style
from plots.geometry import Box
from plots.style import Theme

TITLE_FONT = FontProperties(family="DejaVu Sans", weight="bold", size=style.TITLE_POINTS)
# For everything but titles. All digits of this typeface are equally wide, so changing numbers do not move.
LABEL_FONT = FontProperties(family="DejaVu Sans", size=style.LABEL_POINTS)
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


class FigureCanvas:
    """A figure of `width` x `height` pixels; `scale` 2 doubles letters and lines."""

    def __init__(self, width: int, height: int, scale: float, theme: Theme) -> None:
        dpi = style.DOTS_PER_INCH * scale
        self.width, self.height, self.scale, self.theme = width, height, scale, theme
        with mpl.rc_context():
            mpl.rcdefaults()
            # matplotlib truncates sizes: without the half pixel, rounding may lose one.
            self.figure = Figure(((width + 0.5) / dpi, (height + 0.5) / dpi), dpi, facecolor=theme.page)
            self.renderer: RendererAgg = FigureCanvasAgg(self.figure).get_renderer()  # type: ignore[no-untyped-call]
        self.frame: NDArray[np.uint8] = np.asarray(self.renderer.buffer_rgba())
        """What `renderer` draws into, shape (height, width, 4)."""
        self._widths: dict[tuple[str, bool], float] = {}

    def color(self, name: str) -> str:
        """A colour of the theme by its name there."""
        color: str = getattr(self.theme, name)
        return color

    def pixels(self, box: Box) -> Bbox:
        """A box in matplotlib's coordinates."""
        return Bbox.from_extents(box.left, self.height - box.bottom, box.right, self.height - box.top)

    def write(self, box: Box, x: float, y: float, text: str, font: FontProperties, color: str, **how: Any) -> Text:
        """Add a text whose base line starts (or, with `ha="right"`, ends) at these pixels; clipped to `box`."""
        written = self.figure.text(
            x, self.height - y, text, font=font, color=color, transform=IdentityTransform(), **how
        )
        written.set(clip_on=True, clip_box=self.pixels(box))
        return written

    def width_of(self, text: str, font: FontProperties) -> float:
        """The width of a text in pixels."""
        key = (text, font is TITLE_FONT)
        if key not in self._widths:
            measure = self.renderer.get_text_width_height_descent
            self._widths[key] = float(measure(text, font, False)[0])  # type: ignore[no-untyped-call]
        return self._widths[key]

    def fitted(self, text: str, font: FontProperties, width: float) -> str:
        """The text, or as much of it as fits into `width` pixels, with an ellipsis."""
        if self.width_of(text, font) <= width:
            return text
        for length in range(len(text) - 1, 0, -1):
            shorter = text[:length].rstrip() + ELLIPSIS
            if self.width_of(shorter, font) <= width:
                return shorter
        return ""
