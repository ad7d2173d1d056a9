"""The last values of an excerpt in the Prometheus text format, for its textfile collector.

It is not a time series: each metric has one value, without a timestamp. Names and units follow the conventions of
Prometheus; unknown values are left out.
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

# Suffixes of our names, those of Prometheus' base units, and the factor between them.
_UNITS = (("_per_s", "_per_second", 1.0), ("_us", "_seconds", 1e-6), ("_count", "_total", 1.0))

# Label values, and a value.
_Row = tuple[tuple[str, ...], Any]


def write_exposition(path: Path, excerpt: Excerpt) -> int:
    """Write the values of the last sample. Returns how many. Raises UserError when there is no sample."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_LastState(excerpt))
    text = generate_latest(registry)
    # The collector may read at any time, so the file appears complete or not at all.
    with whole_file(path) as target:
        target.write_bytes(text)
    return sum(1 for line in text.splitlines() if not line.startswith(b"#"))


def prometheus_name(name: str) -> tuple[str, float]:
    """The Prometheus name of a column, and the factor of its values: "latency_ms_p99" is "..._latency_seconds_p99"."""
    if "_ms" in name:
        return f"pixelcanvas_{name.replace('_ms', '_seconds')}", 1e-3
    if name == "in_flight_count":
        # The only count that can also fall, so it is a gauge.
        return "pixelcanvas_in_flight_placements", 1.0
    # A name ends in one unit only, so that the order of the endings does not matter.
    for ending, unit, scale in _UNITS:
        if name.endswith(ending):
            return f"pixelcanvas_{name.removesuffix(ending)}{unit}", scale
    return f"pixelcanvas_{name}", 1.0


class _LastState(Collector):
    """The last sample and its stages as metric families."""

    def __init__(self, excerpt: Excerpt) -> None:
        samples = excerpt.recording.samples(excerpt.after_ns, excerpt.to_ns)
        if not len(samples):
            raise UserError(f"{excerpt.recording.path} has no samples between --from and --to; choose another span")
        self._recording, self._sample = excerpt.recording, samples[-1]

    def collect(self) -> Iterator[Metric]:
        """All families."""
        recording, last_ns = self._recording, int(self._sample["time_ns"])
        facts = {"seed": recording.meta.get("seed", ""), "created": recording.meta.get("created_utc", "")}
        info = {"scenario": recording.scenario.name, **facts}
        yield InfoMetricFamily("pixelcanvas_recording", "What was recorded.", info)
        for column in SAMPLE_COLUMNS:
            yield from _family(column, (), [((), self._sample[column])])
        stages = recording.stage_samples(last_ns - 1, last_ns)
        for column in STAGE_SAMPLE_COLUMNS:
            rows: list[_Row] = [((str(row["stage"]),), row[column]) for row in stages]
            yield from _family(f"stage_{column}", ("stage",), rows)


def _family(column: str, labels: tuple[str, ...], rows: list[_Row]) -> Iterator[Metric]:
    name, scale = prometheus_name(column)
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    family = kind(name, f"{column.replace('_', ' ')}, at the end of the recorded span.", labels=labels)
    known = [(values, float(value) * scale) for values, value in rows if math.isfinite(value)]
    for values, value in known:
        family.add_metric(values, value)
    if known:
        yield family
