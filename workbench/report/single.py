"""The report of one recording: what it came to, on what, how, and what it looked like.

Invariant: every figure has its unit, and what is not known is told as that.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from workbench.comparison.figure import FIGURES, format_value
from workbench.comparison.measured import Measured, measure
from workbench.comparison.table import steady_text
from workbench.recording.reader import Recording
from workbench.report.bottleneck import longest, shares_of, stretches_of
from workbench.report.figures import panels
from workbench.report.lapse import MOMENTS, Lapse, Moment, lapse_of
from workbench.report.markup import Markup, data_uri, element, joined, paragraph, picture, section, table, text
from workbench.report.page import page_of
from workbench.report.percentile import percentile_texts, percentiles_of
from workbench.report.stage import CAPTION, HEADS, stage_table_rows
from workbench.scenarios.text import scenario_text

UNKNOWN = "not known"
_CARDS = (
    ("offered_per_s", "offered"), ("admitted_per_s", "admitted"), ("throttled_per_s", "throttled"),
    ("merged_per_s", "merged"), ("delivered_per_s", "delivered"), ("placement_to_view_ms_p50", "view p50"),
    ("placement_to_view_ms_p99", "view p99"), ("tick_ms_p50", "tick p50"), ("server_cpu_cores", "server"),
    ("fleet_cpu_cores", "fleet"),
)  # fmt: skip
_PLAIN_STILL = "(prefers-reduced-motion: reduce)"


def single_report(recording: Recording) -> bytes:
    """The file. Raises UserError where the recording is damaged."""
    run = measure(recording)
    title = f"{recording.scenario.name or recording.path.name}: a recorded run"
    return page_of(
        title,
        _head(recording, run),
        section("Summary", "summary", *_summary(recording, run)),
        section("What limited it", "bottleneck", *_bottleneck(recording)),
        section("Over time", "panels", panels(run.samples[: run.load[1] or None], recording.markers())),
        section("Stages", "stages", *_stages(recording, run)),
        section("Placement-to-view latency", "latency", *_latency(run)),
        section("The canvas", "canvas", *_canvas(recording, run)),
        section("What was done to it", "markers", _markers(recording)),
        section("Machine", "machine", *machine_tables(run)),
        section("Scenario", "scenario", element("pre", text(scenario_text(recording.scenario)), tabindex=0)),
        footer(),
    )


def clock(recording: Recording, time_ns: int) -> str:
    """A moment of the run: minutes and seconds since it began."""
    seconds = max(time_ns - recording.first_ns, 0) / 1e9
    whole = int(seconds)
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return f"{hours}{whole // 60 % 60:02}:{whole % 60:02}"


def machine_tables(run: Measured) -> Iterator[Markup]:
    """What a run was made on and with."""
    yield table("The machine", ("fact", "value"), run.machine.items(), figures=False)
    if run.versions:
        yield table("Versions", ("package", "version"), run.versions.items(), figures=False)


def footer() -> Markup:
    """How the figures are to be read."""
    words = (
        "Medians are over the steady state: the load without its warm-up, which the rule MSER-5 cuts. Latencies count "
        "from the intended send time. Made by the Pixel Canvas workbench."
    )
    return element("footer", paragraph(words))


def _head(recording: Recording, run: Measured) -> Markup:
    scenario = recording.scenario
    created = recording.meta.get("created_utc", UNKNOWN)
    seed = recording.meta.get("seed", UNKNOWN)
    facts = f"{recording.path.name}, recorded {created}, {recording.duration_s:,.1f} s, seed {seed}"
    parts = [element("h1", text(scenario.name or recording.path.name))]
    if scenario.title:
        parts.append(paragraph(scenario.title, class_="lead"))
    parts += [paragraph(facts, class_="muted"), paragraph(f"Figures are of {steady_text(run)}.", class_="muted")]
    if recording.summary is None:
        parts.append(paragraph("The recording was not ended in order, or goes on: it has no summary of the whole run."))
    return element("header", *parts)


def _summary(recording: Recording, run: Measured) -> Iterator[Markup]:
    units = {figure.key: figure.unit for figure in FIGURES}
    cards = []
    for key, name in _CARDS:
        estimate = run.figures[key]
        value = UNKNOWN if estimate is None else format_value(estimate.value, units[key])
        cards.append(element("div", element("dt", text(name)), element("dd", text(value))))
    yield element("dl", *cards, class_="cards")
    if recording.summary:
        yield element("h3", text("The whole run"))
        yield table("As its summary tells it, set-up and end included", ("figure", "value"), _plain(recording.summary))


def _plain(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The summary's figures as rows; what has a section of its own is left out."""
    for key, value in summary.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            continue
        told = (
            UNKNOWN
            if value is None
            else f"{value:,.4g}"
            if isinstance(value, float) and value < 1000
            else f"{value:,.0f}"
        )
        yield key, str(value) if key == "canvas_checksum" and value is not None else told


def _bottleneck(recording: Recording) -> Iterator[Markup]:
    stretches = stretches_of(recording.diagnoses(), recording.last_ns)
    if not stretches:
        yield paragraph("No bottleneck was told while it was recorded.")
        return
    whole = sum(stretch.duration_s for stretch in stretches) or 1.0
    rows = [(name, f"{seconds:,.1f} s", f"{seconds / whole:.0%}") for name, seconds in shares_of(stretches)]
    yield table("How long each was the bottleneck", ("bottleneck", "time", "share"), rows)
    shown = longest(stretches)
    yield _log(
        (clock(recording, one.start_ns), f"{one.bottleneck}, for {one.duration_s:,.1f} s: {one.sentence}")
        for one in shown
    )
    if len(shown) < len(stretches):
        yield paragraph(f"The {len(shown)} longest of {len(stretches)} changes.", class_="muted")


def _stages(recording: Recording, run: Measured) -> Iterator[Markup]:
    inside = run.steady_samples
    rows = []
    if len(inside):
        rows = list(stage_table_rows(recording.stage_samples(int(inside["time_ns"][0]), int(inside["time_ns"][-1]))))
    yield table(CAPTION, HEADS, rows) if rows else paragraph("No stage did anything in a steady state.")


def _latency(run: Measured) -> Iterator[Markup]:
    sides = [percentiles_of(samples) for samples in (run.samples, run.steady_samples)]
    if sides[0] is None:
        yield paragraph("No placement was seen by its device.")
        return
    columns = [{} if side is None else percentile_texts(side) for side in sides]
    rows = [(name, *(column.get(name, UNKNOWN) for column in columns)) for name in columns[0]]
    yield table("At most so long, and less by a fifth at most", ("percentile", "whole run", "steady state"), rows)


def _canvas(recording: Recording, run: Measured) -> Iterator[Markup]:
    start_ns = int(run.load_samples["time_ns"][0]) if len(run.load_samples) else recording.first_ns
    lapse = lapse_of(recording, start_ns, recording.last_ns)
    stills = joined(_still(recording, moment) for moment in lapse.stills)
    yield element("div", stills, class_="strip")
    yield _animated(lapse)


def _still(recording: Recording, moment: Moment) -> Markup:
    time = clock(recording, moment.time_ns)
    image = picture(data_uri(moment.png, "image/png"), f"The canvas at {time}.", moment.size, class_="canvas")
    return element("figure", image, element("figcaption", text(time)))


def _animated(lapse: Lapse) -> Markup:
    last = lapse.stills[-1]
    image = picture(
        data_uri(lapse.animation, "image/webp"),
        f"The canvas over the run, an animation of {MOMENTS} pictures.",
        last.size,
        sources=[(_PLAIN_STILL, data_uri(last.png, "image/png"))],
        class_="canvas",
    )
    return element("figure", image, element("figcaption", text("Time-lapse")), class_="lapse animated")


def _markers(recording: Recording) -> Markup:
    markers = recording.markers()
    if not markers:
        return paragraph("Nothing: no knob was turned, and no fault was made.")
    return _log((clock(recording, marker.time_ns), f"{marker.kind}: {marker.text}") for marker in markers)


def _log(lines: Any) -> Markup:
    """Lines with their times."""
    items = (
        element("li", element("span", text(time), class_="time"), Markup(" "), text(words)) for time, words in lines
    )
    return element("ol", joined(items), class_="log")
