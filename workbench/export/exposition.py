"""The last figures of an excerpt in Prometheus' text format, as its textfile collector takes them.

It is no time series: each figure once, without a time. Invariant: names and units follow Prometheus' conventions, and
what is not known is left out.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from workbench.errors import UserError
from workbench.export.excerpt import Excerpt
from workbench.output_file import whole_file
from workbench.recording.schema import SAMPLE_COLUMNS, STAGE_SAMPLE_COLUMNS

_UNITS = (
    ("_per_s", "_per_second", 1.0),
    ("_us", "_seconds", 1e-6),
    ("_count", "_total", 1.0),
)
"""Endings of our names, those of Prometheus' base units, and what a figure is multiplied by."""

_Row = tuple[tuple[str, ...], Any]
"""Values of labels, and a figure."""


def write_exposition(path: Path, excerpt: Excerpt) -> int:
    """Write the figures of the last sample. Returns how many lines hold one. Raises UserError without a sample."""
    registry = CollectorRegistry()
    registry.register(_LastState(excerpt))
    text = generate_latest(registry)
    with whole_file(path) as target:
        target.write_bytes(text)
    return sum(1 for line in text.splitlines() if not line.startswith(b"#"))


def outside_name(name: str) -> tuple[str, float]:
    """What a figure is called outside, and what it is multiplied by: "latency_ms_p99" is "..._latency_seconds_p99"."""
    if "_ms" in name:
        return f"pixelcanvas_{name.replace('_ms', '_seconds')}", 1e-3
    if name == "in_flight_count":
        return "pixelcanvas_in_flight_placements", 1.0  # The one count that also falls.
    for ending, unit, scale in _UNITS:
        if name.endswith(ending):
            return f"pixelcanvas_{name.removesuffix(ending)}{unit}", scale
    return f"pixelcanvas_{name}", 1.0


class _LastState(Collector):
    """The last sample and its stages, as families of metrics."""

    def __init__(self, excerpt: Excerpt) -> None:
        recording = excerpt.recording
        samples = recording.samples(excerpt.after_ns, excerpt.to_ns)
        if not len(samples):
            raise UserError(f"{recording.path} has no samples between --from and --to; choose another span")
        self._sample = samples[-1]
        last_ns = int(self._sample["time_ns"])
        self._stages = recording.stage_samples(last_ns - 1, last_ns)
        self._info = {
            "scenario": recording.scenario.name,
            "seed": recording.meta.get("seed", ""),
            "created": recording.meta.get("created_utc", ""),
        }

    def describe(self) -> list[Metric]:
        """Nothing: the names are known to be free."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield InfoMetricFamily("pixelcanvas_recording", "What was recorded.", self._info)
        for column in SAMPLE_COLUMNS:
            yield from _family(column, (), [((), self._sample[column])])
        for column in STAGE_SAMPLE_COLUMNS:
            rows: list[_Row] = [((str(row["stage"]),), row[column]) for row in self._stages]
            yield from _family(f"stage_{column}", ("stage",), rows)


def _family(column: str, labels: tuple[str, ...], rows: list[_Row]) -> Iterator[Metric]:
    name, scale = outside_name(column)
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    family = kind(name, f"{column.replace('_', ' ')}, at the end of the recorded span.", labels=labels)
    known = [(values, float(figure) * scale) for values, figure in rows if math.isfinite(figure)]
    for values, figure in known:
        family.add_metric(values, figure)
    if known:
        yield family
