"""The stages of a run over its steady state, as rows of a table.

Invariant: the order is that of the pipeline, and what is not known is a dash.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.comparison.figure import format_value
from workbench.telemetry.pipeline import ITEMS

HEADS = ("stage", "busy", "throughput", "service", "waiting", "queue", "queue peak", "queue limit", "drops")
CAPTION = (
    "Medians over the steady state; the peak is the most that ever waited then. Items: "
    f"{'; '.join(f'{name} {items}' for name, items in ITEMS.items())}."
)
UNKNOWN = "-"


def stage_table_rows(stages: NDArray[Any]) -> Iterator[tuple[str, ...]]:
    """A row a stage that did anything. `stages`: dtype STAGE_SAMPLE."""
    for name in ITEMS:
        own = stages[stages["stage"] == name]
        if len(own) and any(
            np.nansum(own[field]) > 0 for field in ("utilisation_ratio", "throughput_per_s", "depth_peak")
        ):
            yield (
                name,
                _told(_median(own["utilisation_ratio"]), "%"),
                _told(_median(own["throughput_per_s"]), "/s"),
                _told(_median(own["service_us"]), "us"),
                _told(_median(own["waiting_ms"]), "ms"),
                _count(_median(own["depth"])),
                _count(_most(own["depth_peak"])),
                _count(_most(own["depth_max"]), unbounded="no number"),
                _told(_median(own["drops_per_s"]), "/s"),
            )


def _median(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def _most(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else None


def _told(value: float | None, unit: str) -> str:
    return UNKNOWN if value is None else format_value(value, unit)


def _count(value: float | None, unbounded: str = "0") -> str:
    if value is None:
        return UNKNOWN
    return unbounded if value == 0 else f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"
