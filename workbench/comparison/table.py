"""A comparison as a table in a terminal: one row per metric and run, then the differences of machines and scenarios.

Every ratio has a verdict beside it, in words and not by colour alone.
"""

from collections.abc import Iterator
from typing import NamedTuple, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from plots.number import with_unit
from workbench.comparison.comparison import Comparison, DifferenceVerdict, MetricOutcome, known_metrics
from workbench.comparison.metric import MeasuredRun
from workbench.comparison.statistics import CONFIDENCE

UNKNOWN = "-"


def print_comparison(comparison: Comparison, file: TextIO | None = None) -> None:
    """Print the runs, the table and the notes, by default to standard output."""
    console = Console(file=file)
    if not console.is_terminal:
        # A pipe has no width, and build logs wrap lines themselves.
        console = Console(file=console.file, width=max(console.width, 110), no_color=True)
    for line in head_lines(comparison):
        console.print(escape(line), highlight=False, soft_wrap=True)
    console.print(table_of(comparison))
    for line in foot_lines(comparison):
        console.print(escape(line), highlight=False, soft_wrap=True)


class MetricRow(NamedTuple):
    """A metric of one run as texts; `ratio` and `verdict` are "" for the first run."""

    metric: str
    run: str
    median: str
    spread: str
    ratio: str
    verdict: str
    is_better: bool | None
    """Of the verdict; None for neither."""


HEADS = ("median", "spread", f"ratio to A ({CONFIDENCE:.0%} interval)", "verdict")


def metric_rows(comparison: Comparison) -> Iterator[MetricRow]:
    """The known metrics of all runs."""
    for metric in known_metrics(comparison.runs):
        for run in comparison.runs:
            outcome = comparison.outcome(metric, run)
            found, unit = outcome.estimate, metric.unit
            texts = (
                (UNKNOWN, UNKNOWN) if found is None else (with_unit(found.value, unit), with_unit(found.spread, unit))
            )
            better = None if run is comparison.runs[0] else outcome.is_better
            change = {True: ", better", False: ", worse", None: ""}[better]
            ratio, verdict = _ratio_text(outcome), f"{outcome.verdict.value}{change}"
            if run is comparison.runs[0]:
                ratio = verdict = ""
            yield MetricRow(metric.name, run.label, texts[0], texts[1], ratio, verdict, better)


def table_of(comparison: Comparison) -> Table:
    """The metrics of all runs."""
    table = Table("metric", "run", box=SIMPLE_HEAD, pad_edge=False)
    for name in HEADS:
        table.add_column(name, justify="left" if name == "verdict" else "right")
    styles = {True: "green", False: "red", None: ""}
    for row in metric_rows(comparison):
        name = row.metric if row.run == comparison.runs[0].label else ""
        table.add_row(name, *row[1:5], Text(row.verdict, styles[row.is_better]))
    return table


def _ratio_text(outcome: MetricOutcome) -> str:
    """The ratio to the first run, with its interval if that is known."""
    if outcome.ratio is None:
        return UNKNOWN
    interval = outcome.ratio_interval
    if outcome.verdict is DifferenceVerdict.UNLIKE or interval is None:
        return f"{outcome.ratio:.3f}x"
    return f"{outcome.ratio:.3f}x ({interval.low:.3f} to {interval.high:.3f})"


def head_lines(comparison: Comparison) -> Iterator[str]:
    """The runs, and the part of each that is compared."""
    for run in comparison.runs:
        yield f"{run.label}  {run.path}: {steady_text(run)}"


def steady_text(run: MeasuredRun) -> str:
    """The part of a run that is compared."""
    if not run.steady_s:
        return "it has no load, so there is nothing to compare"
    text = f"{run.steady_s:.1f} s of steady state, after {run.cut_s:.1f} s of warm-up"
    return text if run.steady.settled else f"{text}; it never reached a steady state; treat its figures with caution"


def foot_lines(comparison: Comparison) -> Iterator[str]:
    """The differences of the runs, and how to read the table."""
    if comparison.machines:
        yield f"different machines, so not compared: {', '.join(map(str, comparison.machines))}"
    if comparison.bounds:
        yield f"limits differ (no effect on speed): {', '.join(map(str, comparison.bounds))}"
    if comparison.settings:
        yield f"scenarios differ: {', '.join(map(str, comparison.settings))}"
    if any(comparison.outcome(metric, run).verdict is DifferenceVerdict.SHORT
           for run in comparison.runs[1:] for metric in known_metrics(comparison.runs)):  # fmt: skip
        yield "too short: at least 10 s of steady state are needed to estimate the noise"
    yield (
        "Medians over the steady state (warm-up cut by MSER-5); spread: interquartile range; more and less: beyond "
        f"the {CONFIDENCE:.0%} interval of a moving-block bootstrap; run-to-run variation is not included"
    )
