"""Several runs overlaid on a common time axis: one plot per metric, one colour per run.

The panels of one run show many lines of it (see `panels`); here a plot shows one line of each run. The same runs give
the same bytes.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from numpy.typing import NDArray

from plots import style
from plots.number import short_number
from plots.sheet import LABEL_FONT, TITLE_FONT
from plots.spec import Read, Samples, field
from plots.style import LIGHT, Theme
from plots.timeline import Bucketing, block_times, block_values, broken_at_gaps
from server.kernels.layout import Stage

# Of the runs, in order; further runs repeat the colours with dashed lines.
COLORS = ("sky", "orange", "green", "purple", "vermilion", "blue", "yellow", "silver")
_DASHES = ("-", "--", ":", "-.")
_SVG_DOTS_PER_INCH = 72


@dataclass(frozen=True, slots=True, eq=False)
class OverlaidRun:
    """One run and its place on the common time axis."""

    title: str
    samples: Samples
    seconds: NDArray[np.float64]
    """The time of each sample on the common axis, shape (n,)."""
    steady: tuple[float, float]
    """The start and end of the steady state on that axis."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One metric over time."""

    title: str
    read: Read
    logarithmic: bool = False
    peak: bool = False


def _longest(samples: Samples) -> NDArray[np.float64]:
    depths = samples["depth_peak"].astype(np.float64)
    depths[:, Stage.DECODE] = np.nan  # This queue is counted in bytes, which would hide all queues of items.
    return _most(depths)


def _busiest(samples: Samples) -> NDArray[np.float64]:
    return 100 * _most(samples["utilisation_ratio"].astype(np.float64))


def _most(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest known value of each row, shape (n, m); NaN where none is known."""
    most: NDArray[np.float64] = np.fmax.reduce(rows, axis=1)
    return most


PLOTS = {
    "admitted": Plot("Admitted, placements/s", field("admitted_per_s")),
    "latency": Plot("Placement-to-view latency p99, ms", field("latency_ms_p99"), logarithmic=True),
    "queues": Plot("Longest queue, items", _longest, logarithmic=True, peak=True),
    "delivered": Plot("Delivered to viewers, pixels/s", field("delivered_per_s")),
    "drops": Plot("Throttled, placements/s", field("throttled_per_s")),
    "busy": Plot("Busiest stage, % of a loop", _busiest),
    "cores": Plot("Server, CPU cores", field("server_cpu_cores")),
}
DEFAULT_NAMES = ("admitted", "latency", "queues", "cores")


def draw_overlay(
    runs: Sequence[OverlaidRun],
    names: Sequence[str] = DEFAULT_NAMES,
    size: tuple[int, int] = (1000, 900),
    theme: Theme = LIGHT,
    *,
    file_format: str = "svg",
) -> bytes:
    """The plots with these names (of PLOTS) below each other, as an SVG or PNG file of about `size` pixels.

    `file_format`: "svg" or "png". Letters of an SVG are outlines. Raises KeyError for an unknown name.
    """
    file = io.BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["svg.hashsalt"] = "overlay"  # Otherwise the ids in the file are random.
        dpi = _SVG_DOTS_PER_INCH if file_format == "svg" else style.DOTS_PER_INCH
        figure = _drawn(runs, names, size, theme)
        metadata = {"Date": None} if file_format == "svg" else None
        figure.savefig(file, format=file_format, dpi=dpi, facecolor=theme.page, metadata=metadata)
    return file.getvalue()


def draw_overlay_pixels(
    runs: Sequence[OverlaidRun], names: Sequence[str], size: tuple[int, int], theme: Theme
) -> NDArray[np.uint8]:
    """The same as pixels, shape (height, width, 3)."""
    with mpl.rc_context():
        mpl.rcdefaults()
        figure = _drawn(runs, names, size, theme)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # type: ignore[no-untyped-call]
        pixels: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
    return pixels


def _drawn(runs: Sequence[OverlaidRun], names: Sequence[str], size: tuple[int, int], theme: Theme) -> Figure:
    plots = [PLOTS[name] for name in names]
    # matplotlib truncates sizes: without the half pixel, rounding may lose one.
    inches = ((size[0] + 0.5) / style.DOTS_PER_INCH, (size[1] + 0.5) / style.DOTS_PER_INCH)
    figure = Figure(inches, style.DOTS_PER_INCH, facecolor=theme.page, layout="constrained")
    axes = figure.subplots(len(plots), 1, sharex=True, squeeze=False)[:, 0]
    for ax, plot in zip(axes, plots, strict=True):
        _frame(ax, plot, theme)
        for index, run in enumerate(runs):
            _draw_run(ax, plot, run, index, theme)
        if not plot.logarithmic:
            ax.set_ylim(bottom=0)
    axes[-1].set_xlabel("seconds since the load is fully on", font=LABEL_FONT, color=theme.text_muted)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=min(len(labels), 4), frameon=False,
        labelcolor=theme.text, prop=LABEL_FONT,
    )  # fmt: skip
    return figure


def _frame(ax: Axes, plot: Plot, theme: Theme) -> None:
    ax.set_facecolor(theme.plot)
    ax.set_title(plot.title, font=TITLE_FONT, color=theme.text, loc="left")
    ax.grid(visible=True, color=theme.grid, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(which="both", colors=theme.text_muted, labelsize=style.LABEL_POINTS, length=0)
    for spine in ax.spines.values():
        spine.set_color(theme.edge)
    if plot.logarithmic:
        ax.set_yscale("log", subs=[])
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(round(value, 9))))


def _draw_run(ax: Axes, plot: Plot, run: OverlaidRun, index: int, theme: Theme) -> None:
    """The line of a run, strong in its steady state and faint outside."""
    color = getattr(theme, COLORS[index % len(COLORS)])
    line: dict[str, Any] = {"color": color, "linestyle": _DASHES[index // len(COLORS) % len(_DASHES)]}
    times, values = _points(plot, run)
    ax.plot(times, values, linewidth=1.0, alpha=0.4, **line)
    first, last = run.steady
    is_steady = (times >= first) & (times <= last)
    ax.plot(times, np.where(is_steady, values, np.nan), linewidth=1.8, label=run.title, **line)


def _points(plot: Plot, run: OverlaidRun) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A point for each block of time, with NaN where the line has a gap."""
    if not len(run.samples):
        return np.zeros(0), np.zeros(0)
    times_ns = run.samples["time_ns"]
    bucketing = Bucketing.for_span(int(times_ns[-1] - times_ns[0]))
    values = block_values(times_ns, plot.read(run.samples), bucketing, peak=plot.peak)
    if plot.logarithmic:
        # A logarithmic axis has no zero: the line breaks there instead of falling to the edge.
        values = np.where(values > 0, values, np.nan)
    ends, values = broken_at_gaps(block_times(times_ns, bucketing), values, bucketing)
    return (ends - times_ns[0]) / 1e9 + run.seconds[0], values
