"""A panel's legend: a swatch, a name and the present number of each series, and the colour scale of a heat map.

Names and swatches are drawn into the background. Numbers are `animated`, which makes matplotlib leave them out, and
`draw_numbers` draws them on top. Nothing moves: only digits change.
"""

import numpy as np
from matplotlib import colormaps
from matplotlib.backend_bases import RendererBase
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import IdentityTransform
from numpy.typing import NDArray

from plots import geometry, style
from plots.geometry import Box
from plots.number import short_number
from plots.sheet import LABEL_FONT, FigureCanvas
from plots.spec import PanelSpec, Samples, Series, Shape
from plots.style import Theme

# A longer legend has two columns, however narrow it is: one column would take the height that the plot needs.
COLUMN_ROWS_MAX = 4
HEAT_SHADES = 256
_SUFFIX_WIDEST = "M"
_SCALE_END_WIDEST = "500 k"


def heat_colors(theme: Theme) -> NDArray[np.uint8]:
    """Red, green, blue, alpha of each shade of a heat map, shape (HEAT_SHADES, 4); the first is transparent."""
    low, high = theme.heat_range
    colors: NDArray[np.uint8] = colormaps[theme.heat](np.linspace(low, high, HEAT_SHADES), bytes=True)
    colors[0] = 0
    return colors


def column_count(sheet: FigureCanvas, spec: PanelSpec, width: float) -> int:
    """How many columns of the legend fit into `width` pixels."""
    least = 1 if row_count(spec, 1) <= COLUMN_ROWS_MAX else 2
    counts = range(spec.legend_columns, least, -1)
    return next((count for count in counts if sum(_column_widths(sheet, spec, count)) <= width), least)


def row_count(spec: PanelSpec, columns: int) -> int:
    """Rows of a legend with this many columns. A heat map's colour scale comes after the last entry."""
    return -(-(len(spec.series) + spec.heat) // columns)


def _column_widths(sheet: FigureCanvas, spec: PanelSpec, columns: int) -> list[float]:
    widths = [
        _number_end(sheet, spec, column, columns)
        + geometry.SUFFIX_GAP * sheet.scale
        + sheet.width_of(_SUFFIX_WIDEST, LABEL_FONT)
        for column in range(columns)
    ]
    if spec.heat:
        column = len(spec.series) % columns
        gaps = 2 * geometry.SUFFIX_GAP + geometry.SCALE_WIDTH
        letters = sheet.width_of("1", LABEL_FONT) + sheet.width_of(_SCALE_END_WIDEST, LABEL_FONT)
        entries = widths[column] if column < len(spec.series) else 0.0
        # The scale is one more entry of its column.
        widths[column] = max(entries, gaps * sheet.scale + letters)
    return widths


def _number_end(sheet: FigureCanvas, spec: PanelSpec, column: int, columns: int) -> float:
    """The distance from the left edge of a column to the right edge of its numbers."""
    names = (sheet.width_of(line.name, LABEL_FONT) for line in spec.series[column::columns])
    pads = (geometry.SWATCH_WIDTH + geometry.SWATCH_PAD + geometry.NUMBER_GAP) * sheet.scale
    return pads + max(names, default=0.0) + sheet.width_of(spec.digits_widest, LABEL_FONT)


class Legend:
    """The legend of one panel in `box` of the sheet."""

    def __init__(self, sheet: FigureCanvas, spec: PanelSpec, box: Box) -> None:
        self._sheet, self._spec, self._box = sheet, spec, box
        self._columns = column_count(sheet, spec, box.width)
        self._numbers = self._write_entries()
        self._scale_end = self._write_scale() if spec.heat else None

    def set_numbers(self, samples: Samples, heat_peak: float) -> None:
        """Set the numbers to the present values of these samples; dashes when there are none.

        `heat_peak`: the count that the last colour of a heat map stands for.
        """
        values = self._spec.present(samples)
        for series, value, (number, suffix) in zip(self._spec.series, values, self._numbers, strict=True):
            digits, unit = (series.digits or self._spec.digits)(value)
            number.set_text(digits)
            suffix.set_text(unit)
        if self._scale_end is not None:
            self._scale_end.set_text(short_number(heat_peak))

    def draw_numbers(self, renderer: RendererBase) -> None:
        """Draw the numbers, and the end of the colour scale."""
        scale_end = () if self._scale_end is None else (self._scale_end,)
        for text in (*(part for pair in self._numbers for part in pair), *scale_end):
            if text.get_text():
                text.draw(renderer)

    def _entry(self, index: int) -> tuple[float, float, float]:
        """The left edge of an entry, the right edge of its number, and their base line."""
        sheet, spec, columns = self._sheet, self._spec, self._columns
        row, column = divmod(index, columns)
        widths = _column_widths(sheet, spec, columns)
        gap = (self._box.width - sum(widths)) / max(columns - 1, 1)
        gap = min(max(gap, 0.0), geometry.ENTRY_GAP_MAX * sheet.scale)
        left = self._box.left + sum(widths[:column]) + column * gap
        base = self._box.top + (row + 0.7) * geometry.LEGEND_ROW_HEIGHT * sheet.scale
        return left, left + _number_end(sheet, spec, column, columns), base

    def _write_entries(self) -> list[tuple[Text, Text]]:
        """Draw swatches and names. Returns for each entry the texts of its number and suffix, still empty."""
        sheet, box, theme, texts = self._sheet, self._box, self._sheet.theme, []
        for index, line in enumerate(self._spec.series):
            left, end, base = self._entry(index)
            self._draw_swatch(left, base, line)
            after = left + (geometry.SWATCH_WIDTH + geometry.SWATCH_PAD) * sheet.scale
            sheet.write(box, after, base, line.name, LABEL_FONT, theme.text_muted)
            suffix = end + geometry.SUFFIX_GAP * sheet.scale
            texts.append(
                (
                    sheet.write(box, end, base, "", LABEL_FONT, theme.text, ha="right", animated=True),
                    sheet.write(box, suffix, base, "", LABEL_FONT, theme.text_muted, animated=True),
                )
            )
        return texts

    def _draw_swatch(self, left: float, base: float, series: Series) -> None:
        sheet = self._sheet
        middle = sheet.height - base + 3.5 * sheet.scale
        thick = 8.0 if series.shape in (Shape.LAYER, Shape.BAND) else max(series.width, 2.0)
        opacity = style.BAND_OPACITY if series.shape is Shape.BAND else max(series.opacity, style.FILL_OPACITY)
        sheet.figure.add_artist(
            Line2D(
                [left, left + geometry.SWATCH_WIDTH * sheet.scale],
                [middle, middle],
                color=sheet.color(series.color),
                alpha=opacity,
                linewidth=thick * style.POINTS_PER_PIXEL,
                linestyle=(0, (2.2, 1.2)) if series.dashed else "solid",
                solid_capstyle="butt",
                transform=IdentityTransform(),
            )
        )

    def _write_scale(self) -> Text:
        """Draw the colour scale after the last entry. Returns the text for the count at its end, still empty."""
        sheet, box = self._sheet, self._box
        left, _, base = self._entry(len(self._spec.series))
        sheet.write(box, left, base, "1", LABEL_FONT, sheet.theme.text_muted)
        left += sheet.width_of("1", LABEL_FONT) + geometry.SUFFIX_GAP * sheet.scale
        width, height = round(geometry.SCALE_WIDTH * sheet.scale), round(geometry.SCALE_HEIGHT * sheet.scale)
        shades = np.linspace(1, HEAT_SHADES - 1, width).astype(int)
        strip = np.broadcast_to(heat_colors(sheet.theme)[shades], (height, width, 4))
        sheet.figure.figimage(strip, round(left), sheet.height - round(base))
        after = left + width + geometry.SUFFIX_GAP * sheet.scale
        return sheet.write(box, after, base, "", LABEL_FONT, sheet.theme.text_muted, animated=True)
