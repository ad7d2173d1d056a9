"""Percentiles of all placements that were seen, from the bands in which a recording counts them.

Invariant: a percentile is never told as less than it was: the upper edge of its band, at most 26 % above, and never
above the maximum.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plots.history import LATENCY_BAND_EDGES_MS
from workbench.comparison.figure import format_value

PERCENTS = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)

_UPPER_MS = LATENCY_BAND_EDGES_MS[1:]


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How long placements took to be seen."""

    count: int
    most_ms: tuple[tuple[float, float], ...]
    """(percent, at most so many milliseconds) for those of PERCENTS that so many placements can tell."""
    max_ms: float


def percentile_texts(told: Percentiles) -> dict[str, str]:
    """By name, as a table says them: the percentiles, the maximum and the count."""
    texts = {f"p{percent:g}": format_value(most, "ms") for percent, most in told.most_ms}
    return texts | {"maximum": format_value(told.max_ms, "ms"), "count": f"{told.count:,}"}


def percentiles_of(samples: NDArray[Any]) -> Percentiles | None:
    """Of all placements seen in these samples, shape (n,), dtype SAMPLE; None when there were none."""
    counts = samples["latency_counts"].sum(axis=0, dtype=np.int64)
    total = int(counts.sum())
    maxima = samples["latency_ms_max"][np.isfinite(samples["latency_ms_max"])]
    if not total or not len(maxima):
        return None
    max_ms = float(maxima.max())
    reached = np.cumsum(counts)
    told = [percent for percent in PERCENTS if round(total * (100 - percent), 6) >= 100]
    ranks = [int(np.ceil(percent / 100 * total)) for percent in told]
    edges = [float(_UPPER_MS[np.searchsorted(reached, rank)]) for rank in ranks]
    edges = [max_ms if edge >= _UPPER_MS[-1] else min(edge, max_ms) for edge in edges]
    return Percentiles(total, tuple(zip(told, edges, strict=True)), max_ms)
