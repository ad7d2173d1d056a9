"""The steady state of a run, and how much of a difference between two runs is noise.

Intervals are of 99 %: at 95 %, a table of twenty metrics would have one false alarm. They cover the noise within a run;
the variation from run to run only repetitions show. Draws come from a seed: the same series give the same intervals.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Noise is estimated by bootstrap intervals of medians and percentiles. Samples are averages over a second, taken ten
# times per second, so neighbours are correlated: blocks of neighbours are drawn instead of samples (moving-block
# bootstrap, Kuensch 1989), of `BLOCK_S`, twice the second that a rate covers, or of a fiftieth of the series if that
# is longer, which keeps slow drift together too.
BLOCK_S = 2.0
BLOCKS_LEAST = 5
BLOCKS_MOST = 50
CONFIDENCE = 0.99
DRAWS = 1000
# Longer series are thinned: neighbouring samples overlap by nine tenths, so little is lost.
POINTS_MOST = 1500
# Points of resamples per call of numpy: few enough for the processor's cache, and for memory when a run is long.
BATCH_POINTS = 1 << 17
SEED = 1


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval that contains the true value with probability `CONFIDENCE`."""

    low: float
    high: float

    def contains(self, value: float) -> bool:
        """Whether `value` is consistent with the data."""
        return self.low <= value <= self.high


@dataclass(frozen=True, eq=False)
class Estimate:
    """A quantile of a series, and its noise, which is computed on first use."""

    value: float
    spread: float
    """From the 25th to the 75th percentile of the series itself."""
    series: NDArray[np.float64]
    """Shape (n,), without NaN."""
    step_s: float
    quantile: float
    seed: int

    @cached_property
    def draws(self) -> NDArray[np.float64] | None:
        """The quantile of each of `DRAWS` resamples; None when the series is too short to estimate its noise."""
        return _draws(self.series, self.step_s, self.quantile, self.seed)

    @property
    def interval(self) -> Interval | None:
        """Of `value`."""
        return None if self.draws is None else _interval(self.draws)


def estimate(values: NDArray[np.float64], step_s: float, quantile: float = 0.5, seed: int = SEED) -> Estimate | None:
    """Estimate a quantile of `values`, shape (n,), `step_s` apart; None when all are NaN, which means unknown.

    Use different seeds for two series that are compared: their noise is independent.
    """
    known = values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return None
    value, low, high = np.quantile(known, [quantile, 0.25, 0.75])
    return Estimate(float(value), float(high - low), known, step_s, quantile, seed)


def difference(one: Estimate, other: Estimate) -> Interval | None:
    """Of `other` minus `one`; None when either is too short."""
    if one.draws is None or other.draws is None:
        return None
    return _interval(other.draws - one.draws)


def ratio(one: Estimate, other: Estimate) -> Interval | None:
    """Of `other` / `one`; None when either is too short, or when `one` may be 0."""
    if one.draws is None or other.draws is None or not np.all(one.draws > 0):
        return None
    return _interval(other.draws / one.draws)


def _draws(known: NDArray[np.float64], step_s: float, quantile: float, seed: int) -> NDArray[np.float64] | None:
    """The quantile of `DRAWS` series as long as `known`, each assembled from random blocks of it."""
    # Fewer than BLOCKS_LEAST blocks would resample into nearly the same series again and again.
    block_s = max(BLOCK_S, len(known) * step_s / BLOCKS_MOST)
    if len(known) * step_s < BLOCKS_LEAST * block_s:
        return None
    # A thinned series keeps its median, but a tail quantile needs every point.
    stride = -(-len(known) // POINTS_MOST) if quantile == 0.5 else 1
    points = known[::stride]
    block = min(max(round(block_s / (step_s * stride)), 1), len(points))
    count = -(-len(points) // block)
    starts = np.random.default_rng(seed).integers(0, len(points) - block + 1, (DRAWS, count))
    batch = max(BATCH_POINTS // len(points), 1)
    draws = np.empty(DRAWS)
    for first in range(0, DRAWS, batch):
        indices = starts[first : first + batch, :, None] + np.arange(block)
        resamples = points[indices.reshape(len(indices), -1)[:, : len(points)]]
        draws[first : first + batch] = np.quantile(resamples, quantile, axis=1)
    return draws


def _interval(draws: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))


BATCH = 5
# Rates cover the last second: this many samples at each end of the load include time outside it.
RATE_SAMPLES = 10


@dataclass(frozen=True, slots=True)
class SteadyState:
    """A range of samples: [start, stop). Not `settled` when the warm-up took more than half of the load."""

    start: int
    stop: int
    settled: bool


# The steady state is found by the rule MSER-5 (White, Cobb and Spratt, 2000). Take means of batches of five samples;
# for each number d of batches that might be cut, the squared standard error of the mean of the rest is
# sum((y - mean)^2) / (n - d)^2 over these n - d batches; cut where it is least. When that would cut more than half, the
# series has not settled, and the result says so.
def warm_up(values: NDArray[np.float64]) -> tuple[int, bool]:
    """How many of `values`, shape (n,), MSER-5 cuts, and whether the rest is steady.

    Unknown values (NaN) count as the mean of the known ones in their batch; batches without any are left out.
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
    """How many batches to cut so that the standard error of the rest is least; the fewest, where equal.

    At least a tenth of the batches, and five, stay: the last few may be alike by chance.
    """
    rest = np.cumsum(seen[::-1])[::-1].astype(np.float64)
    center = means[seen].mean() if seen.any() else 0.0
    # Around the mean, sums of squares lose no digits to cancellation.
    offsets = np.where(seen, means - center, 0.0)
    sums = np.cumsum(offsets[::-1])[::-1]
    squares = np.cumsum((offsets**2)[::-1])[::-1]
    stay = max(BATCH, len(means) // 10)
    candidates = max(len(means) - stay + 1, 1)
    rest, sums, squares = rest[:candidates], sums[:candidates], squares[:candidates]
    spread = np.maximum(squares - sums**2 / np.maximum(rest, 1), 0.0)
    errors = np.where(rest > 0, spread / np.maximum(rest, 1) ** 2, np.inf)
    # A constant series differs by rounding errors only, which must not decide.
    return int(np.argmax(errors <= errors.min() + 1e-18))


def load_span(samples: NDArray[Any]) -> tuple[int, int]:
    """The samples [start, stop) whose whole last second was under load. `samples`: dtype SAMPLE, shape (n,)."""
    is_loaded = np.flatnonzero((samples["offered_per_s"] > 0) | (samples["received_per_s"] > 0))
    if not len(is_loaded):
        return 0, 0
    start = int(is_loaded[0]) + RATE_SAMPLES
    stop = int(is_loaded[-1]) + 1
    if stop < len(samples):
        # The load ended before the recording: its last second includes idle time.
        stop -= RATE_SAMPLES
    return (start, stop) if start < stop else (0, 0)


def steady_state(samples: NDArray[Any]) -> SteadyState:
    """The steady state of a run: the load without the warm-up of the admitted rate and of the latency.

    `samples`: shape (n,), dtype SAMPLE. The longer of the two warm-ups is cut.
    """
    start, stop = load_span(samples)
    if start == stop:
        return SteadyState(0, 0, settled=False)
    cuts = [warm_up(samples[name][start:stop].astype(np.float64)) for name in ("admitted_per_s", "latency_ms_p50")]
    cut = max(count for count, _ in cuts)
    return SteadyState(start + cut, stop, settled=all(settled for _, settled in cuts))
