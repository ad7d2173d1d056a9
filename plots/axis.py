"""Vertical axes: their limits, the height of a value, and the ticks. No matplotlib here.

A limit moves only between the steps 1, 2 and 5 of a decade: up at once when a value needs it, down only when the values
would also fit with room to spare. So the background of a plot is redrawn only when a limit moves.
"""

import math

import numpy as np
from numpy.typing import NDArray

from plots.number import short_number

# The largest value stays this factor below the limit, so that its line is visible.
HEADROOM = 1.05
# A limit comes down only when values this much larger would fit too.
SLACK = 1.25

_TICK_OF_STEP = {1: 0.2, 2: 0.5, 5: 1.0}

# Height, 0..1, and label; a tick without a label is a faint grid line.
Tick = tuple[float, str]


def step_at_least(value: float) -> float:
    """The least of ..., 0.5, 1, 2, 5, 10, 20, ... that is not below `value`; `value` > 0."""
    exponent = math.floor(math.log10(value))
    candidates = (mantissa * 10.0**power for power in (exponent, exponent + 1) for mantissa in (1, 2, 5))
    # A small tolerance: 10**power is not exact for negative powers.
    return next(step for step in candidates if step >= value * (1 - 1e-12))


def next_limit(limit: float, peak: float, floor: float) -> float:
    """The upper limit after `limit` when the largest value shown is `peak`; never below `floor`, itself a step."""
    needed = step_at_least(max(peak * HEADROOM, floor))
    if needed > limit:
        return needed
    return min(limit, step_at_least(max(peak * HEADROOM * SLACK, floor)))


class Axis:
    """The vertical axis of a panel. As it is, it has no scale: values are heights, and no limit moves."""

    high = 1.0

    def follow(self, least: float, peak: float) -> bool:
        """Adapt to the smallest and largest value shown, NaN when there is none. Returns whether a limit moved."""
        return False

    def unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Heights of `values`, any shape: 0 at the bottom, 1 at the top. NaN stays NaN."""
        return values

    def ticks(self) -> list[Tick]:
        """The ticks, from the bottom up."""
        return []


class LinearAxis(Axis):
    """From zero up, for values that are compared by their size."""

    def __init__(self, floor: float) -> None:
        self.floor = self.high = floor

    def follow(self, least: float, peak: float) -> bool:
        before = self.high
        self.high = next_limit(before, 0.0 if math.isnan(peak) else peak, self.floor)
        assert not peak > self.high
        return self.high != before

    def unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values / self.high

    def ticks(self) -> list[Tick]:
        decade = 10.0 ** math.floor(math.log10(self.high) + 1e-9)
        step = _TICK_OF_STEP[round(self.high / decade)] * decade
        return [(index * step / self.high, short_number(index * step)) for index in range(round(self.high / step) + 1)]


class DepthAxis(LinearAxis):
    """log(1 + value): zero has a height, and one item is visible beside a million."""

    CLEAR_OF_ZERO = 0.09
    """The label of a tick below this height would touch the label of zero in a small plot."""

    def unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        heights: NDArray[np.float64] = np.log1p(np.maximum(values, 0.0)) / math.log1p(self.high)
        return heights

    def ticks(self) -> list[Tick]:
        """Zero, and the decades whose labels do not touch its label."""
        values = [10.0**power for power in range(math.floor(math.log10(self.high) + 1e-9) + 1)]
        heights = [math.log1p(value) / math.log1p(self.high) for value in values]
        ticks = [
            (at, short_number(value)) for at, value in zip(heights, values, strict=True) if at > self.CLEAR_OF_ZERO
        ]
        return [(0.0, "0"), *ticks]


class LogAxis(Axis):
    """Decades, for values that are compared by their ratio. The lower limit is always a decade."""

    LOW_LEAST, LOW_MOST = 0.1, 10.0
    """The lower limit stays between these, or above `low_least`: finer differences do not matter."""
    NUMBERED_DECADES = 2.1

    def __init__(self, low: float, floor: float, low_least: float = LOW_LEAST) -> None:
        self.low = low
        self._low_least = low_least
        self.floor = self.high = floor

    def follow(self, least: float, peak: float) -> bool:
        before = (self.low, self.high)
        if not math.isnan(peak):
            self.high = next_limit(self.high, peak, self.floor)
            self.low = self._next_low(least)
            assert self.low < self.high
        return (self.low, self.high) != before

    def _next_low(self, least: float) -> float:
        # Down at once, up only with room to spare: the mirror image of the upper limit.
        needed = self._decade_at_most(least)
        return needed if needed < self.low else max(self.low, self._decade_at_most(least / SLACK))

    def _decade_at_most(self, value: float) -> float:
        value = min(max(value, self._low_least), self.LOW_MOST)
        return float(10.0 ** math.floor(math.log10(value) + 1e-9))

    def unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        heights: NDArray[np.float64] = np.log10(np.maximum(values, self.low) / self.low)
        return heights / math.log10(self.high / self.low)

    def height(self, value: float) -> float:
        """The height of one value > 0; below 0 or above 1 when the value is outside the limits."""
        return math.log10(value / self.low) / math.log10(self.high / self.low)

    def ticks(self) -> list[Tick]:
        """The decades, and 2 and 5 of each, which are labelled only when there are few decades."""
        span = math.log10(self.high / self.low)
        ticks: list[Tick] = []
        for power in range(round(math.log10(self.low)), math.ceil(math.log10(self.high) - 1e-9) + 1):
            for mantissa in (1, 2, 5):
                value = mantissa * 10.0**power
                if value <= self.high * (1 + 1e-9):
                    is_labelled = mantissa == 1 or span < self.NUMBERED_DECADES
                    # Below 10,000 in full: decades of milliseconds read better as 1000 than as 1 k.
                    label = f"{value:g}" if value < 10_000 else short_number(value)
                    ticks.append((math.log10(value / self.low) / span, label if is_labelled else ""))
        return ticks


class ShareAxis(Axis):
    """From 0 to 100 %, for layers that make up a whole."""

    def unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        # Clocks may measure slightly more than the whole, which is drawn as the whole.
        heights: NDArray[np.float64] = np.clip(values, 0.0, 1.0)
        return heights

    def ticks(self) -> list[Tick]:
        """Quarters, every other one labelled."""
        return [(0.0, "0 %"), (0.25, ""), (0.5, "50 %"), (0.75, ""), (1.0, "100 %")]
