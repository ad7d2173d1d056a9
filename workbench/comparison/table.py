"""A comparison as a table in a terminal: a row a figure and run, then in what machines and scenarios differ.

It computes nothing. Invariant: whoever reads a ratio sees whether it is more than noise, in words too.
"""

from collections.abc import Iterator
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workbench.comparison.comparison import Comparison, Outcome, Verdict, known_figures
from workbench.comparison.figure import format_value
from workbench.comparison.measured import Measured
from workbench.comparison.noise import CONFIDENCE

UNKNOWN = "-"


def print_comparison(comparison: Comparison, file: TextIO | None = None) -> None:
    """Print all of it, to standard output where no other file is named."""
    console = Console(file=file)
    if not console.is_terminal:  # A pipe has no width of its own, and a build's log wraps where it likes.
        console = Console(file=console.file, width=max(console.width, 110), no_color=True)
    for line in head_lines(comparison):
        console.print(escape(line), highlight=False, soft_wrap=True)
    console.print(table_of(comparison))
    for line in foot_lines(comparison):
        console.print(escape(line), highlight=False, soft_wrap=True)


def table_of(comparison: Comparison) -> Table:
    """The figures."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("figure")
    table.add_column("run")
    for name in ("median", "spread", f"ratio to A ({CONFIDENCE:.0%} interval)"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for figure in known_figures(comparison.runs):
        for index, run in enumerate(comparison.runs):
            outcome = comparison.outcome(figure, run)
            table.add_row("" if index else figure.name, *_cells(run, outcome, first=index == 0))
    return table


def value_text(outcome: Outcome) -> str:
    """What a figure came to."""
    return UNKNOWN if outcome.estimate is None else format_value(outcome.estimate.value, outcome.figure.unit)


def spread_text(outcome: Outcome) -> str:
    """How far its series spreads."""
    return UNKNOWN if outcome.estimate is None else format_value(outcome.estimate.spread, outcome.figure.unit)


def ratio_text(outcome: Outcome) -> str:
    """Its ratio to the first run, with its interval where that can be told."""
    if outcome.ratio is None:
        return UNKNOWN
    interval = outcome.ratio_interval
    if outcome.verdict is Verdict.UNLIKE or interval is None:
        return f"{outcome.ratio:.3f}x"
    return f"{outcome.ratio:.3f}x ({interval.low:.3f} to {interval.high:.3f})"


def verdict_text(outcome: Outcome) -> str:
    """In words, with whether it is a gain."""
    gain = {True: ", better", False: ", worse", None: ""}[outcome.is_better]
    return f"{outcome.verdict.value}{gain}"


def _cells(run: Measured, outcome: Outcome, *, first: bool) -> tuple[str, ...]:
    figures = (run.label, value_text(outcome), spread_text(outcome))
    if first:
        return (*figures, "", "")
    style = {True: "green", False: "red", None: ""}[outcome.is_better]
    verdict = verdict_text(outcome)
    return (*figures, ratio_text(outcome), f"[{style}]{verdict}[/{style}]" if style else verdict)


def head_lines(comparison: Comparison) -> Iterator[str]:
    """The runs, and what of them is compared."""
    for run in comparison.runs:
        yield f"{run.label}  {run.path}: {steady_text(run)}"


def steady_text(run: Measured) -> str:
    """What of a run is compared."""
    if not run.steady_s:
        return "no load in it, nothing to compare"
    text = f"{run.steady_s:.1f} s of steady state, after {run.cut_s:.1f} s of warm-up"
    return text if run.steady.settled else f"{text}; it never came to rest, so read its figures with care"


def foot_lines(comparison: Comparison) -> Iterator[str]:
    """In what the runs differ, and how the table is to be read."""
    if comparison.machines:
        yield f"unlike machines, so not ranked: {', '.join(map(str, comparison.machines))}"
    if comparison.bounds:
        yield f"limits differ, which slow nothing: {', '.join(map(str, comparison.bounds))}"
    if comparison.settings:
        yield f"scenarios differ: {', '.join(map(str, comparison.settings))}"
    if any(comparison.outcome(figure, run).verdict is Verdict.SHORT
           for run in comparison.runs[1:] for figure in known_figures(comparison.runs)):  # fmt: skip
        yield "too short to tell: the noise takes 10 s of steady state to be known; record longer"
    yield (
        "Medians over the steady state (warm-up cut by MSER-5); spread: between its quartiles; more and less: beyond "
        f"the {CONFIDENCE:.0%} interval of a moving-block bootstrap, which knows the noise within a run only"
    )
