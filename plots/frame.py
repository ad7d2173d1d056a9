"""What frames a plot: its title, axes, ticks and grid, its legend, and what the time axis says.

What never moves belongs to the figure and is drawn into the background. What the time axis says is `animated`:
matplotlib leaves it out, and `draw_times` puts it on top.
"""

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.text import Text

from plots import style
from plots.axis import Axis
from plots.legend import Legend
from plots.place import Place
from plots.sheet import LABEL_FONT, TITLE_FONT, FigureCanvas
from plots.span import TICK_PLACES
from plots.spec import PanelSpec


class Frame:
    """The axes and letters of one panel; `axes` spans 0..1 both ways, and `place.plot` of the sheet."""

    def __init__(self, sheet: FigureCanvas, spec: PanelSpec, place: Place, axis: Axis, note: str) -> None:
        self._sheet, self._spec, self._place, self._axis = sheet, spec, place, axis
        self.axes = self._new_axes()
        self._write_title(note if spec.brushed else "")
        self.legend = Legend(sheet, spec, place.legend)
        self._times = self._write_times()
        self.label_ticks()

    def label_ticks(self) -> None:
        """Write the vertical axis's ticks as they are now."""
        theme, ticks = self._sheet.theme, self._axis.ticks()
        self.axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
        for tick, (_, text) in zip(self.axes.yaxis.get_major_ticks(), ticks, strict=True):
            tick.gridline.set_color(theme.grid if text else theme.grid_faint)
        for label in self.axes.get_yticklabels():
            label.set(color=theme.text_muted, font=LABEL_FONT)

    def draw_times(self, labels: tuple[str, ...], renderer: RendererBase) -> None:
        """Draw what the time axis says, at `span.TICK_PLACES`."""
        for text, label in zip(self._times, labels, strict=True):
            text.set_text(label)
            text.draw(renderer)

    def _new_axes(self) -> Axes:
        sheet, box = self._sheet, self._place.plot
        axes = sheet.figure.add_axes(
            (
                box.left / sheet.width,
                1 - box.bottom / sheet.height,
                box.width / sheet.width,
                box.height / sheet.height,
            ),
            facecolor=sheet.theme.plot,
            xlim=(0, 1),
            ylim=(0, 1),
        )
        for side, spine in axes.spines.items():
            spine.set(visible=side in ("left", "bottom"), color=sheet.theme.edge, linewidth=style.POINTS_PER_PIXEL)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, pad=style.TICK_LABEL_PAD * style.POINTS_PER_PIXEL)
        axes.set_xticks(TICK_PLACES, [""] * len(TICK_PLACES))
        axes.grid(color=sheet.theme.grid, linewidth=style.POINTS_PER_PIXEL)
        return axes

    def _write_times(self) -> list[Text]:
        sheet, plot, box = self._sheet, self._place.plot, self._place.times
        base = plot.bottom + style.TIME_LABEL_BASE * sheet.scale
        # The last one ends at the edge, or it would leave the picture.
        sides = ["center"] * (len(TICK_PLACES) - 1) + ["right"]
        return [
            sheet.write(
                box, plot.left + at * plot.width, base, "", LABEL_FONT, sheet.theme.text_muted, ha=side, animated=True
            )
            for at, side in zip(TICK_PLACES, sides, strict=True)
        ]

    def _write_title(self, note: str) -> None:
        sheet, spec, box, gap = self._sheet, self._spec, self._place.title, style.TITLE_GAP * self._sheet.scale
        # Where there is not room for all, the note goes before the unit, and all of either before a long title.
        units = [spec.unit, spec.unit.split(",")[0], spec.unit.split(" (")[0], *([""] if note else [])]
        titles = [spec.title, spec.short_title or spec.title]
        choices = [(title, unit) for title in titles for unit in units]
        title, unit = next((choice for choice in choices if self._title_width(*choice, note) <= box.width), choices[-1])
        left, base = float(box.left), box.top + 0.62 * box.height
        colors = (sheet.theme.text, sheet.theme.text_muted, sheet.theme.orange)
        for text, font, color in zip((title, unit, note), (TITLE_FONT, LABEL_FONT, LABEL_FONT), colors, strict=True):
            if text:
                fitted = sheet.fitted(text, font, box.right - left)
                sheet.write(box, left, base, fitted, font, color)
                left += sheet.width_of(fitted, font) + gap

    def _title_width(self, title: str, unit: str, note: str) -> float:
        sheet, gap = self._sheet, style.TITLE_GAP * self._sheet.scale
        return sheet.width_of(title, TITLE_FONT) + sum(
            gap + sheet.width_of(text, LABEL_FONT) for text in (unit, note) if text
        )
