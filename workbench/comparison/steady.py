"""The steady state of a run: what is left of it when its warm-up is cut off, by the rule MSER-5.

MSER-5 (White, Cobb and Spratt, 2000): take the means of batches of five samples; for each number d of batches that
might be cut off, the squared standard error of the mean of the rest is sum((y - mean)^2) / (n - d)^2 over these n - d
batches; cut where it is least. When that would cut more than half, the series has not come to rest, and that is said.
It knows no figure and no file. Invariant: the steady state is one stretch of the samples it was given.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH = 5
RATE_SAMPLES = 10
"""Rates are over the last second: so many samples at each end of the load still see what was outside of it."""


@dataclass(frozen=True, slots=True)
class Steady:
    """A stretch of samples: [start, stop). Not `settled` when the warm-up took more than half of the load."""

    start: int
    stop: int
    settled: bool


def warm_up(values: NDArray[np.float64]) -> tuple[int, bool]:
    """How many of `values`, shape (n,), MSER-5 cuts off, and whether the rest is at rest.

    Unknown values (NaN) count as the mean of their batch's others; batches of nothing else are left out of the sums.
    """
    count = len(values) // BATCH
    if count < 2:
        return 0, False
    batches = values[: count * BATCH].reshape(count, BATCH)
    known = np.isfinite(batches)
    weights = known.sum(axis=1)
    seen = weights > 0
    means = np.divide(np.where(known, batches, 0.0).sum(axis=1), weights, out=np.zeros(count), where=seen)
    scale = float(np.abs(means).max()) or 1.0
    least = _least_error(means / scale, seen)
    return least * BATCH, least <= count // 2


def _least_error(means: NDArray[np.float64], seen: NDArray[np.bool_]) -> int:
    """How many batches to cut so that the standard error of the rest is least; of equals the fewest.

    At least a tenth of the batches, and five, stay: of the last few any two are alike by chance.
    """
    rest = np.cumsum(seen[::-1])[::-1].astype(np.float64)
    center = means[seen].mean() if seen.any() else 0.0
    offsets = np.where(seen, means - center, 0.0)  # Sums of squares around the mean lose no digits then.
    sums = np.cumsum(offsets[::-1])[::-1]
    squares = np.cumsum((offsets**2)[::-1])[::-1]
    stay = max(BATCH, len(means) // 10)
    candidates = max(len(means) - stay + 1, 1)
    rest, sums, squares = rest[:candidates], sums[:candidates], squares[:candidates]
    spread = np.maximum(squares - sums**2 / np.maximum(rest, 1), 0.0)
    errors = np.where(rest > 0, spread / np.maximum(rest, 1) ** 2, np.inf)
    # A constant series has errors of rounding only, of which none is less than another.
    return int(np.argmax(errors <= errors.min() + 1e-18))


def load_span(samples: NDArray[Any]) -> tuple[int, int]:
    """The samples [start, stop) that see nothing but the load: `samples` of dtype SAMPLE, shape (n,)."""
    is_loaded = np.flatnonzero((samples["offered_per_s"] > 0) | (samples["received_per_s"] > 0))
    if not len(is_loaded):
        return 0, 0
    start = int(is_loaded[0]) + RATE_SAMPLES
    stop = int(is_loaded[-1]) + 1
    if stop < len(samples):  # The load ended before the recording did: its last second sees the end.
        stop -= RATE_SAMPLES
    return (start, stop) if start < stop else (0, 0)


def steady_state(samples: NDArray[Any]) -> Steady:
    """The steady state of a run: its load without the warm-up of what was admitted and of how soon it was seen.

    `samples`: shape (n,), dtype SAMPLE. The longer of the two warm-ups is cut.
    """
    start, stop = load_span(samples)
    if start == stop:
        return Steady(0, 0, settled=False)
    cuts = [warm_up(samples[name][start:stop].astype(np.float64)) for name in ("admitted_per_s", "latency_ms_p50")]
    cut = max(count for count, _ in cuts)
    return Steady(start + cut, stop, settled=all(settled for _, settled in cuts))
