"""How much of a difference is noise: bootstrap intervals of medians and percentiles of a series in time.

Samples ten times a second of averages over a second are alike to their neighbours. So blocks of neighbours are drawn,
not samples (moving-block bootstrap, Kuensch 1989): `BLOCK_S`, or a fiftieth of the series if that is longer, which
keeps slow drift together too. Intervals are of 99 %: a table of twenty figures would have one false alarm at 95 %.
They tell the noise within a run; how much two runs of the same differ, only a repetition tells.
Invariant: the same series give the same intervals, for lots are drawn from a seed.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

BLOCK_S = 2.0
"""Twice the second that a rate looks back on."""
BLOCKS_LEAST = 5
BLOCKS_MOST = 50
CONFIDENCE = 0.99
DRAWS = 1000
POINTS_MOST = 1500
"""Longer series are thinned: of samples that overlap by nine tenths, some tell nearly all."""
SEED = 1


@dataclass(frozen=True, slots=True)
class Interval:
    """What lies with `CONFIDENCE` between `low` and `high`."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether `value` is one of those that cannot be told from noise."""
        return self.low <= value <= self.high


@dataclass(frozen=True, eq=False)
class Estimate:
    """A quantile of a series, and its noise, which is only worked out where it is asked for."""

    value: float
    spread: float
    """From the 25th to the 75th percentile of the series itself."""
    series: NDArray[np.float64]
    """Shape (n,), all known."""
    step_s: float
    quantile: float
    seed: int

    @cached_property
    def draws(self) -> NDArray[np.float64] | None:
        """What it came to in each of `DRAWS` resamples; None when the series is too short to tell its noise."""
        return _draws(self.series, self.step_s, self.quantile, self.seed)

    @property
    def interval(self) -> Interval | None:
        """Of the value."""
        return None if self.draws is None else _interval(self.draws)


def estimate(values: NDArray[np.float64], step_s: float, quantile: float = 0.5, seed: int = SEED) -> Estimate | None:
    """Estimate a quantile of `values`, shape (n,), that are `step_s` apart; None when none is known. NaN is left out.

    A different `seed` for each of two series that are compared: their noise has nothing in common.
    """
    known = values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return None
    value, low, high = np.quantile(known, [quantile, 0.25, 0.75])
    return Estimate(float(value), float(high - low), known, step_s, quantile, seed)


def difference(one: Estimate, other: Estimate) -> Interval | None:
    """Of `other` less `one`; None where either is too short to tell."""
    if one.draws is None or other.draws is None:
        return None
    return _interval(other.draws - one.draws)


def ratio(one: Estimate, other: Estimate) -> Interval | None:
    """Of `other` / `one`; None where either is too short to tell, or where `one` may be 0."""
    if one.draws is None or other.draws is None or not np.all(one.draws > 0):
        return None
    return _interval(other.draws / one.draws)


def _draws(known: NDArray[np.float64], step_s: float, quantile: float, seed: int) -> NDArray[np.float64] | None:
    """The quantile of `DRAWS` series as long as `known`, put together from blocks of it."""
    block_s = max(BLOCK_S, len(known) * step_s / BLOCKS_MOST)
    if len(known) * step_s < BLOCKS_LEAST * block_s:
        return None
    stride = -(-len(known) // POINTS_MOST) if quantile == 0.5 else 1
    points = known[::stride]
    block = min(max(round(block_s / (step_s * stride)), 1), len(points))
    count = -(-len(points) // block)
    starts = np.random.default_rng(seed).integers(0, len(points) - block + 1, (DRAWS, count))
    draws = np.empty(DRAWS)
    for draw, firsts in enumerate(starts):
        draws[draw] = np.quantile(points[(firsts[:, None] + np.arange(block)).ravel()[: len(points)]], quantile)
    return draws


def _interval(draws: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))
