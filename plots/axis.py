"""Vertical axes: which limits they have, where a value lies, what their ticks say. No matplotlib here.

A limit moves only between the steps 1, 2 and 5 of a decade, up at once when a value needs it, down only when the values
would also fit with room to spare: the background of a plot is drawn anew only then.
Invariant: `unit` maps every value that was followed to 0..1, and NaN to NaN.
"""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

HEADROOM = 1.05
"""The largest value stays this factor below the limit, so that its line is seen."""
SLACK = 1.25
"""A limit comes down only when values this much larger would fit too."""

_SUFFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_TICK_OF_STEP = {1: 0.2, 2: 0.5, 5: 1.0}

NOTHING_SEEN = "\N{EN DASH}"
"""What a legend says instead of a number."""

Tick = tuple[float, str]
"""Where, 0..1, and what it says; a tick that says nothing is a faint line."""


def step_at_least(value: float) -> float:
    """The least of ..., 0.5, 1, 2, 5, 10, 20, ... that is not below `value`; `value` > 0."""
    exponent = math.floor(math.log10(value))
    candidates = (mantissa * 10.0**power for power in (exponent, exponent + 1) for mantissa in (1, 2, 5))
    # A hair of tolerance: 10**power is not exact for negative powers.
    return next(step for step in candidates if step >= value * (1 - 1e-12))


def next_limit(limit: float, peak: float, floor: float) -> float:
    """The upper limit after `limit` when the largest value shown is `peak`; never below `floor`, itself a step."""
    needed = step_at_least(max(peak * HEADROOM, floor))
    if needed > limit:
        return needed
    return min(limit, step_at_least(max(peak * HEADROOM * SLACK, floor)))


def short_number(value: float) -> str:
    """A tick's number with k, M or G: `short_number(1.5e6) == "1.5 M"`."""
    for size, suffix in _SUFFIXES:
        if abs(value) >= size:
            return f"{value / size:g} {suffix}"
    return f"{value:g}"


def _plain_number(value: float) -> str:
    return f"{value:g}" if value < 10_000 else short_number(value)


def count_digits(value: float) -> tuple[str, str]:
    """A legend's count: at most four characters, and its suffix ("", "k", "M", "G"). NaN is a dash.

    `count_digits(1234567) == ("1.23", "M")`.
    """
    if math.isnan(value):
        return NOTHING_SEEN, ""
    for size, suffix in _SUFFIXES:
        if value >= size * 0.9995:
            return _three_digits(value / size), suffix
    return f"{value:.0f}", ""


def measure_digits(value: float) -> tuple[str, str]:
    """A legend's measurement, of at most four characters: decimals below 100, thousands written out. NaN is a dash."""
    if math.isnan(value):
        return NOTHING_SEEN, ""
    return (_three_digits(value), "") if value < 9999.5 else count_digits(value)


def share_digits(value: float) -> tuple[str, str]:
    """A legend's share of a whole, in percent. NaN is a dash."""
    return (NOTHING_SEEN, "") if math.isnan(value) else (f"{100 * value:.0f}", "%")


def index_digits(value: float) -> tuple[str, str]:
    """A legend's index between 0 and 1. NaN is a dash."""
    return (NOTHING_SEEN if math.isnan(value) else f"{value:.2f}"), ""


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


class Axis(Protocol):
    """What a panel asks of its vertical axis."""

    high: float

    def follow(self, least: float, peak: float) -> bool:
        """Take in the smallest and largest value shown, NaN when there is none; True when a limit moved."""

    def unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Heights of `values`, any shape: 0 at the bottom, 1 at the top."""

    def ticks(self) -> list[Tick]:
        """The ticks, from below."""


class LinearAxis:
    """From zero up, for what is compared by its size."""

    def __init__(self, floor: float) -> None:
        self.floor = self.high = floor

    def follow(self, least: float, peak: float) -> bool:
        """See `Axis`."""
        before = self.high
        self.high = next_limit(before, 0.0 if math.isnan(peak) else peak, self.floor)
        return self.high != before

    def unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Axis`."""
        return values / self.high

    def ticks(self) -> list[Tick]:
        """Four or five steps of 1, 2 or 5, and zero."""
        decade = 10.0 ** math.floor(math.log10(self.high) + 1e-9)
        step = _TICK_OF_STEP[round(self.high / decade)] * decade
        return [(index * step / self.high, short_number(index * step)) for index in range(round(self.high / step) + 1)]


class DepthAxis:
    """log(1 + value): zero has a place, and one item is seen beside a million."""

    CLEAR_OF_ZERO = 0.09
    """A tick below this height would have its letters touch those of zero in a small plot."""

    def __init__(self, floor: float) -> None:
        self.floor = self.high = floor

    def follow(self, least: float, peak: float) -> bool:
        """See `Axis`."""
        before = self.high
        self.high = next_limit(before, 0.0 if math.isnan(peak) else peak, self.floor)
        return self.high != before

    def unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Axis`. Below zero is zero."""
        heights: NDArray[np.float64] = np.log1p(np.maximum(values, 0.0)) / math.log1p(self.high)
        return heights

    def ticks(self) -> list[Tick]:
        """Zero and the decades, from the first that stands clear of zero."""
        values = [10.0**power for power in range(math.floor(math.log10(self.high) + 1e-9) + 1)]
        heights = [math.log1p(value) / math.log1p(self.high) for value in values]
        ticks = [
            (at, short_number(value)) for at, value in zip(heights, values, strict=True) if at > self.CLEAR_OF_ZERO
        ]
        return [(0.0, "0"), *ticks]


class LogAxis:
    """Decades, for what is compared by its ratio. The lower limit is a decade of its own accord."""

    LOW_LEAST, LOW_MOST = 0.1, 10.0
    """The lower limit stays between these, or `low_least`: closer than that nobody needs to look."""
    NUMBERED_DECADES = 2.1

    def __init__(self, low: float, floor: float, low_least: float = LOW_LEAST) -> None:
        self.low = low
        self._low_least = low_least
        self.floor = self.high = floor

    def follow(self, least: float, peak: float) -> bool:
        """See `Axis`."""
        before = (self.low, self.high)
        if not math.isnan(peak):
            self.high = next_limit(self.high, peak, self.floor)
            self.low = self._next_low(least)
        return (self.low, self.high) != before

    def _next_low(self, least: float) -> float:
        needed = self._decade_at_most(least)
        return needed if needed < self.low else max(self.low, self._decade_at_most(least / SLACK))

    def _decade_at_most(self, value: float) -> float:
        value = min(max(value, self._low_least), self.LOW_MOST)
        return float(10.0 ** math.floor(math.log10(value) + 1e-9))

    def unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Axis`. Below the lower limit is the lower limit."""
        heights: NDArray[np.float64] = np.log10(np.maximum(values, self.low) / self.low)
        return heights / math.log10(self.high / self.low)

    def place(self, value: float) -> float:
        """The height of one value > 0, which is below 0 or above 1 when it is outside of the limits."""
        return math.log10(value / self.low) / math.log10(self.high / self.low)

    def ticks(self) -> list[Tick]:
        """The decades, and 2 and 5 of each; these are numbered only where decades are few."""
        span = math.log10(self.high / self.low)
        ticks: list[Tick] = []
        for power in range(round(math.log10(self.low)), math.ceil(math.log10(self.high) - 1e-9) + 1):
            for mantissa in (1, 2, 5):
                value = mantissa * 10.0**power
                if value <= self.high * (1 + 1e-9):
                    label = _plain_number(value) if mantissa == 1 or span < self.NUMBERED_DECADES else ""
                    ticks.append((math.log10(value / self.low) / span, label))
        return ticks


class NoAxis:
    """Of a panel in which nothing is held against a scale."""

    high = 1.0

    def follow(self, least: float, peak: float) -> bool:
        """See `Axis`. It has no limits."""
        return False

    def unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Axis`."""
        return values

    def ticks(self) -> list[Tick]:
        """None."""
        return []


class ShareAxis:
    """From nothing to all of something, for layers that make up a whole."""

    high = 1.0

    def follow(self, least: float, peak: float) -> bool:
        """See `Axis`. A whole is a whole."""
        return False

    def unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Axis`. More than the whole, which clocks may claim by a hair, is the whole."""
        heights: NDArray[np.float64] = np.clip(values, 0.0, 1.0)
        return heights

    def ticks(self) -> list[Tick]:
        """Quarters, every other one with a number."""
        return [(0.0, "0 %"), (0.25, ""), (0.5, "50 %"), (0.75, ""), (1.0, "100 %")]
