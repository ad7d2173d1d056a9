"""The report of several recordings, held against the first of them.

Invariant: it says no more of a difference than the comparison does.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from workbench.comparison.command import overlay_runs
from workbench.comparison.comparison import Comparison, Difference, compare, known_figures
from workbench.comparison.measured import Measured, measure
from workbench.comparison.noise import CONFIDENCE
from workbench.comparison.table import ratio_text, spread_text, steady_text, value_text, verdict_text
from workbench.recording.reader import Recording
from workbench.report.figures import overlay
from workbench.report.lapse import last_still
from workbench.report.markup import (
    Cell,
    Markup,
    data_uri,
    element,
    joined,
    paragraph,
    picture,
    section,
    table,
    text,
)
from workbench.report.page import page_of
from workbench.report.single import clock, footer, machine_tables

_MARKS = {True: "good", False: "bad", None: None}


def comparison_report(files: Sequence[Path]) -> bytes:
    """The file. Raises UserError where a recording is damaged."""
    with ExitStack() as stack:
        recordings = [stack.enter_context(Recording.open(path)) for path in files]
        comparison = compare([measure(recording, index) for index, recording in enumerate(recordings)])
        title = " / ".join(run.path.name for run in comparison.runs)
        return page_of(
            f"{title}: compared",
            _head(comparison),
            section("Figures", "figures", *_figures(comparison)),
            section("Over time", "overlay", overlay(overlay_runs(comparison))),
            section("In what they differ", "differences", *_differences(comparison)),
            section("The canvas at the end", "canvas", _canvases(recordings, comparison.runs)),
            section("Machines", "machines", *_machines(comparison)),
            footer(),
        )


def _head(comparison: Comparison) -> Markup:
    items = (element("li", text(f"{run.title}: {steady_text(run)}")) for run in comparison.runs)
    parts = [element("h1", text("Runs compared")), element("ul", joined(items))]
    if comparison.machines:
        parts.append(paragraph("They ran on unlike machines, and are not ranked; see in what they differ."))
    return element("header", *parts)


def _figures(comparison: Comparison) -> Iterator[Markup]:
    rows = []
    for figure in known_figures(comparison.runs):
        for index, run in enumerate(comparison.runs):
            outcome = comparison.outcome(figure, run)
            held = ("", "") if index == 0 else (
                ratio_text(outcome), Cell(verdict_text(outcome), _MARKS[outcome.is_better])
            )  # fmt: skip
            rows.append((f"{figure.name}, {run.label}", value_text(outcome), spread_text(outcome), *held))
    heads = ("figure, run", "median", "spread", f"ratio to A ({CONFIDENCE:.0%} interval)", "verdict")
    caption = (
        "Spread: between the quartiles. More and less: beyond the interval of a moving-block bootstrap, which knows "
        "the noise within a run only."
    )
    yield table(caption, heads, rows)


def _differences(comparison: Comparison) -> Iterator[Markup]:
    yield _differing("Their machines", comparison.runs, comparison.machines)
    if comparison.bounds:
        yield _differing("Their limits, which slow nothing", comparison.runs, comparison.bounds)
    yield _differing("Their scenarios", comparison.runs, comparison.settings)


def _differing(caption: str, runs: Sequence[Measured], differences: Sequence[Difference]) -> Markup:
    if not differences:
        return paragraph(f"{caption} are alike.")
    rows = ((one.name, *one.values) for one in differences)
    return table(caption, ("", *(run.label for run in runs)), rows, figures=False)


def _canvases(recordings: Sequence[Recording], runs: Sequence[Measured]) -> Markup:
    stills = []
    for recording, run in zip(recordings, runs, strict=True):
        moment = last_still(recording)
        words = f"{run.title}, at {clock(recording, moment.time_ns)}"
        image = picture(data_uri(moment.png, "image/png"), f"The canvas of {words}.", moment.size, class_="canvas")
        stills.append(element("figure", image, element("figcaption", text(words))))
    return element("div", joined(stills), class_="canvases")


def _machines(comparison: Comparison) -> Iterator[Markup]:
    if not comparison.machines and not comparison.bounds:
        yield from machine_tables(comparison.runs[0])
        return
    for run in comparison.runs:
        yield element("h3", text(run.title))
        yield from machine_tables(run)
