"""`workbench report`: one recording, or several compared with the first, as one HTML file.

The file is written whole or not at all, and never over a recording. Every value has its unit, and an unknown value is
shown as that.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from plots.number import percent, whole, with_unit
from workbench.comparison.command import overlay_runs
from workbench.comparison.comparison import Comparison, Difference, compare
from workbench.comparison.metric import METRICS_BY_KEY, MeasuredRun, measure
from workbench.comparison.table import HEADS, metric_rows, steady_text
from workbench.output_file import require_outputs, talk_file, write_atomically
from workbench.recording.reader import Recording
from workbench.report import tables
from workbench.report.html import (
    Cell,
    Markup,
    data_uri,
    element,
    joined,
    page_of,
    paragraph,
    picture,
    section,
    table,
    text,
)
from workbench.report.pictures import PICTURE_COUNT, CanvasPictures, Still, canvas_pictures, last_still, overlay, panels
from workbench.scenarios.scenario import scenario_text


def run_report(files: Sequence[Path], out: Path) -> int:
    """Write the report and print where it is. Returns the exit code."""
    require_outputs({"--out": out}, files)
    if len(files) == 1:
        with Recording.open(files[0]) as recording:
            data = single_report(recording)
    else:
        data = comparison_report(files)
    write_atomically(out, data)
    print(f"{out}: {len(data) / 1e6:.1f} MB written; open it in a browser", file=talk_file(out))
    return 0


UNKNOWN = "not known"
_CARDS = (
    "offered_per_s", "admitted_per_s", "throttled_per_s", "merged_per_s", "delivered_per_s", "placement_to_view_ms_p50",
    "placement_to_view_ms_p99", "tick_ms_p50", "server_cpu_cores", "fleet_cpu_cores",
)  # fmt: skip
_PLAIN_STILL = "(prefers-reduced-motion: reduce)"


def single_report(recording: Recording) -> bytes:
    """The report of one recording, as a file. Raises UserError where the recording is damaged."""
    run = measure(recording)
    title = f"{recording.scenario.name or recording.path.name}: a recorded run"
    # The shutdown after the load would only compress the plots.
    loaded = run.samples[: run.load[1] or None]
    return page_of(
        title,
        _head(recording, run),
        section("Summary", "summary", *_summary(recording, run)),
        section("Bottlenecks over time", "bottleneck", *_bottleneck(recording)),
        section("Over time", "panels", panels(loaded, recording.markers())),
        section("Stages", "stages", *_stages(recording, run)),
        section("Placement-to-view latency", "latency", *_latency(run)),
        section("The canvas", "canvas", *_canvas(recording, run)),
        section("Events", "markers", _markers(recording)),
        section("Machine", "machine", *machine_tables(run)),
        section("Scenario", "scenario", element("pre", text(scenario_text(recording.scenario)), tabindex=0)),
        footer(),
    )


def clock(recording: Recording, time_ns: int) -> str:
    """A time of the run in minutes and seconds since its start."""
    minutes, seconds = divmod(max(time_ns - recording.first_ns, 0) // 1_000_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


def machine_tables(run: MeasuredRun) -> Iterator[Markup]:
    """The machine and the package versions of a run."""
    yield table("The machine", ("fact", "value"), run.machine.items(), figures=False)
    if run.versions:
        yield table("Versions", ("package", "version"), run.versions.items(), figures=False)


def footer() -> Markup:
    """How to read the report."""
    words = (
        "Medians cover the steady state: the load without its warm-up, which the rule MSER-5 cuts. Latencies count "
        "from the intended send time. Made by the Pixel Canvas workbench."
    )
    return element("footer", paragraph(words))


def _head(recording: Recording, run: MeasuredRun) -> Markup:
    scenario = recording.scenario
    created = recording.meta.get("created_utc", UNKNOWN)
    seed = recording.meta.get("seed", UNKNOWN)
    facts = f"{recording.path.name}, recorded {created}, {recording.duration_s:,.1f} s, seed {seed}"
    parts = [element("h1", text(scenario.name or recording.path.name))]
    if scenario.title:
        parts.append(paragraph(scenario.title, class_="lead"))
    parts += [paragraph(facts, class_="muted"), paragraph(f"Metrics cover {steady_text(run)}.", class_="muted")]
    if recording.summary is None:
        parts.append(
            paragraph("The recording was not closed cleanly, or is still running: it has no summary of the whole run.")
        )
    return element("header", *parts)


def _summary(recording: Recording, run: MeasuredRun) -> Iterator[Markup]:
    cards = []
    for metric in (METRICS_BY_KEY[key] for key in _CARDS):
        estimate = run.estimates[metric.key]
        value = UNKNOWN if estimate is None else with_unit(estimate.value, metric.unit)
        cards.append(element("div", element("dt", text(metric.name)), element("dd", text(value))))
    yield element("dl", *cards, class_="cards")
    if recording.summary:
        yield element("h3", text("The whole run"))
        yield table("Whole run, including start-up and shutdown", ("metric", "value"), _plain(recording.summary))


def _plain(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The numbers of a summary as rows; what has a section of its own is left out."""
    for key, value in summary.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            continue
        if value is None:
            yield key, UNKNOWN
        elif key == "canvas_checksum":
            # Compared digit by digit, so it has no commas.
            yield key, str(value)
        else:
            yield key, f"{value:,.4g}" if isinstance(value, float) and value < 1000 else whole(value)


def _bottleneck(recording: Recording) -> Iterator[Markup]:
    periods = tables.bottleneck_periods(recording.diagnoses(), recording.last_ns)
    if not periods:
        yield paragraph("No bottleneck was detected.")
        return
    total = sum(period.duration_s for period in periods) or 1.0
    rows = [(name, f"{seconds:,.1f} s", percent(seconds / total)) for name, seconds in tables.total_times(periods)]
    yield table("Total time as the bottleneck", ("bottleneck", "time", "share"), rows)
    shown = tables.longest_periods(periods)
    yield _log(
        (clock(recording, one.start_ns), f"{one.bottleneck}, for {one.duration_s:,.1f} s: {one.sentence}")
        for one in shown
    )
    if len(shown) < len(periods):
        yield paragraph(f"The {len(shown)} longest of {len(periods)} changes.", class_="muted")


def _stages(recording: Recording, run: MeasuredRun) -> Iterator[Markup]:
    times_ns = run.steady_samples["time_ns"].tolist()
    rows = list(tables.stage_table_rows(recording.stage_samples(times_ns[0], times_ns[-1]))) if times_ns else []
    if rows:
        yield table(tables.STAGE_CAPTION, tables.STAGE_HEADS, rows)
    else:
        yield paragraph("No stage was active in the steady state.")


def _latency(run: MeasuredRun) -> Iterator[Markup]:
    sides = [tables.percentiles_of(samples) for samples in (run.samples, run.steady_samples)]
    if sides[0] is None:
        yield paragraph("No device saw one of its placements.")
        return
    columns = [{} if side is None else tables.percentile_texts(side) for side in sides]
    rows = [(name, *(column.get(name, UNKNOWN) for column in columns)) for name in columns[0]]
    yield table("Upper bounds; bucket error at most 20 %", ("percentile", "whole run", "steady state"), rows)


def _canvas(recording: Recording, run: MeasuredRun) -> Iterator[Markup]:
    start_ns = int(run.load_samples["time_ns"][0]) if len(run.load_samples) else recording.first_ns
    pictures = canvas_pictures(recording, start_ns, recording.last_ns)
    times = [clock(recording, still.time_ns) for still in pictures.stills]
    stills = (_figure(still, f"at {time}", time) for still, time in zip(pictures.stills, times, strict=True))
    yield element("div", joined(stills), class_="strip")
    yield _animated(pictures)


def _figure(still: Still, words: str, caption: str) -> Markup:
    """The canvas as a picture. `words`: which canvas it is, for the text alternative."""
    image = picture(data_uri(still.png, "image/png"), f"The canvas {words}.", still.size, class_="canvas")
    return element("figure", image, element("figcaption", text(caption)))


def _animated(pictures: CanvasPictures) -> Markup:
    last = pictures.stills[-1]
    image = picture(
        data_uri(pictures.animation, "image/webp"),
        f"The canvas over the run, an animation of {PICTURE_COUNT} pictures.",
        last.size,
        sources=[(_PLAIN_STILL, data_uri(last.png, "image/png"))],
        class_="canvas",
    )
    return element("figure", image, element("figcaption", text("Time-lapse")), class_="lapse animated")


def _markers(recording: Recording) -> Markup:
    markers = recording.markers()
    if not markers:
        return paragraph("No settings were changed and no faults injected.")
    return _log((clock(recording, marker.time_ns), f"{marker.kind}: {marker.text}") for marker in markers)


def _log(lines: Any) -> Markup:
    """A list of texts with their times."""
    items = (
        element("li", element("span", text(time), class_="time"), Markup(" "), text(words)) for time, words in lines
    )
    return element("ol", joined(items), class_="log")


_MARKS = {True: "good", False: "bad", None: None}


def comparison_report(files: Sequence[Path]) -> bytes:
    """The report of several recordings, as a file. Raises UserError where one is damaged."""
    with ExitStack() as stack:
        recordings = [stack.enter_context(Recording.open(path)) for path in files]
        comparison = compare([measure(recording, index) for index, recording in enumerate(recordings)])
        title = " / ".join(run.path.name for run in comparison.runs)
        return page_of(
            f"{title}: compared",
            _comparison_head(comparison),
            section("Metrics", "figures", *_metrics(comparison)),
            section("Over time", "overlay", overlay(overlay_runs(comparison))),
            section("Differences", "differences", *_differences(comparison)),
            section("The canvas at the end", "canvas", _canvases(recordings, comparison.runs)),
            section("Machines", "machines", *_machines(comparison)),
            footer(),
        )


def _comparison_head(comparison: Comparison) -> Markup:
    items = (element("li", text(f"{run.title}: {steady_text(run)}")) for run in comparison.runs)
    parts = [element("h1", text("Runs compared")), element("ul", joined(items))]
    if comparison.machines:
        parts.append(paragraph("The runs are from different machines and are not compared; see Differences."))
    return element("header", *parts)


def _metrics(comparison: Comparison) -> Iterator[Markup]:
    rows = (
        (f"{row.metric}, {row.run}", row.median, row.spread, row.ratio, Cell(row.verdict, _MARKS[row.is_better]))
        for row in metric_rows(comparison)
    )
    caption = (
        "Spread: interquartile range. More and less: beyond the interval of a moving-block bootstrap; run-to-run "
        "variation is not included."
    )
    yield table(caption, ("metric, run", *HEADS), rows)


def _differences(comparison: Comparison) -> Iterator[Markup]:
    yield _differing("Machines", comparison.runs, comparison.machines)
    if comparison.bounds:
        yield _differing("Limits (no effect on speed)", comparison.runs, comparison.bounds)
    yield _differing("Scenarios", comparison.runs, comparison.settings)


def _differing(caption: str, runs: Sequence[MeasuredRun], differences: Sequence[Difference]) -> Markup:
    if not differences:
        return paragraph(f"{caption}: no differences.")
    rows = ((one.name, *one.values) for one in differences)
    return table(caption, ("", *(run.label for run in runs)), rows, figures=False)


def _canvases(recordings: Sequence[Recording], runs: Sequence[MeasuredRun]) -> Markup:
    stills = []
    for recording, run in zip(recordings, runs, strict=True):
        still = last_still(recording)
        words = f"{run.title}, at {clock(recording, still.time_ns)}"
        stills.append(_figure(still, f"of {words}", words))
    return element("div", joined(stills), class_="canvases")


def _machines(comparison: Comparison) -> Iterator[Markup]:
    if not comparison.machines and not comparison.bounds:
        yield from machine_tables(comparison.runs[0])
        return
    for run in comparison.runs:
        yield element("h3", text(run.title))
        yield from machine_tables(run)
