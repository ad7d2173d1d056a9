"""The tables of one run: its stages, its bottlenecks over time, and its latency percentiles."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plots.history import LATENCY_BAND_EDGES_MS
from plots.number import whole, with_unit
from workbench.recording.reader import Diagnosed
from workbench.telemetry.pipeline import ITEMS

STAGE_HEADS = ("stage", "busy", "throughput", "service", "waiting", "queue", "queue peak", "queue limit", "drops")
STAGE_CAPTION = (
    "Medians over the steady state; the queue peak is its maximum. Items: "
    f"{'; '.join(f'{name} {items}' for name, items in ITEMS.items())}."
)
UNKNOWN = "-"
_UPPER_MS = LATENCY_BAND_EDGES_MS[1:]
PERCENTS = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)
# A run that alternates between two bottlenecks has hundreds of changes: the longest ones are listed.
LINES_MAX = 40


def stage_table_rows(stages: NDArray[Any]) -> Iterator[tuple[str, ...]]:
    """A row for each stage that was active, in the order of the pipeline. `stages`: dtype STAGE_SAMPLE."""
    for name in ITEMS:
        own = stages[stages["stage"] == name]
        if len(own) and any(
            np.nansum(own[field]) > 0 for field in ("utilisation_ratio", "throughput_per_s", "depth_peak")
        ):
            yield (
                name,
                _median(own["utilisation_ratio"], "%"),
                _median(own["throughput_per_s"], "/s"),
                _median(own["service_us"], "us"),
                _median(own["waiting_ms"], "ms"),
                _items(own["depth"], np.median),
                _items(own["depth_peak"], np.max),
                _items(own["depth_max"], np.max, at_zero="unlimited"),
                _median(own["drops_per_s"], "/s"),
            )


def _median(values: NDArray[np.float64], unit: str) -> str:
    known = values[np.isfinite(values)]
    return with_unit(float(np.median(known)), unit) if len(known) else UNKNOWN


def _items(values: NDArray[np.float64], of: Callable[[NDArray[np.float64]], Any], at_zero: str = "0") -> str:
    """A number of items: `of` the known values."""
    known = values[np.isfinite(values)]
    if not len(known):
        return UNKNOWN
    value = float(of(known))
    return at_zero if value == 0 else whole(value) if value >= 9.95 else f"{value:.1f}"


class BottleneckPeriod(NamedTuple):
    """A period with one diagnosis."""

    start_ns: int
    duration_s: float
    bottleneck: str
    sentence: str


def bottleneck_periods(diagnoses: Sequence[Diagnosed], end_ns: int) -> list[BottleneckPeriod]:
    """The time from each change of the bottleneck to the next, oldest first. A new sentence alone is not a change."""
    changes: list[Diagnosed] = []
    for diagnosis in diagnoses:
        if diagnosis.bottleneck and (not changes or changes[-1].bottleneck != diagnosis.bottleneck):
            changes.append(diagnosis)
    ends = [*(change.time_ns for change in changes), end_ns][1:]
    return [
        BottleneckPeriod(change.time_ns, max(end - change.time_ns, 0) / 1e9, change.bottleneck, change.sentence)
        for change, end in zip(changes, ends, strict=True)
    ]


def total_times(periods: Sequence[BottleneckPeriod]) -> list[tuple[str, float]]:
    """Each bottleneck and its total time in seconds, the longest first."""
    seconds: dict[str, float] = {}
    for period in periods:
        seconds[period.bottleneck] = seconds.get(period.bottleneck, 0.0) + period.duration_s
    return sorted(seconds.items(), key=lambda item: -item[1])


def longest_periods(periods: Sequence[BottleneckPeriod]) -> list[BottleneckPeriod]:
    """The `LINES_MAX` longest ones, in the order of time."""
    kept = sorted(periods, key=lambda period: -period.duration_s)[:LINES_MAX]
    return sorted(kept, key=lambda period: period.start_ns)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of the placement-to-view latency, as upper bounds.

    A recording counts placements in latency bands, so a percentile is the upper edge of its band: at most 26 % too
    high, never too low, and never above the maximum.
    """

    count: int
    bounds_ms: tuple[tuple[float, float], ...]
    """(percent, upper bound) for those of PERCENTS that at least one placement lies above."""
    max_ms: float


def percentile_texts(found: Percentiles) -> dict[str, str]:
    """The percentiles, the maximum and the count as texts, by name."""
    texts = {f"p{percent:g}": with_unit(bound, "ms") for percent, bound in found.bounds_ms}
    return texts | {"maximum": with_unit(found.max_ms, "ms"), "count": f"{found.count:,}"}


def percentiles_of(samples: NDArray[Any]) -> Percentiles | None:
    """Of all placements seen in these samples, shape (n,), dtype SAMPLE; None when there are none."""
    counts = samples["latency_counts"].sum(axis=0, dtype=np.int64)
    total = int(counts.sum())
    maxima = samples["latency_ms_max"][np.isfinite(samples["latency_ms_max"])]
    if not total or not len(maxima):
        return None
    max_ms = float(maxima.max())
    reached = np.cumsum(counts)
    # Of 50 placements there is no p99: at least one must lie above. Rounded, because 99.9 is not exact in binary.
    known = [percent for percent in PERCENTS if round(total * (100 - percent), 6) >= 100]
    ranks = [int(np.ceil(percent / 100 * total)) for percent in known]
    edges = [float(_UPPER_MS[np.searchsorted(reached, rank)]) for rank in ranks]
    # The last band has no upper edge: only the maximum bounds it.
    edges = [max_ms if edge >= _UPPER_MS[-1] else min(edge, max_ms) for edge in edges]
    return Percentiles(total, tuple(zip(known, edges, strict=True)), max_ms)
