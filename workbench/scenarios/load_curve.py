"""The load curve: the multiplier of the offered load over time, as points (seconds since the load began, factor).

The points are ordered by time. The factor is linear between them, and constant before the first and after the last.
"""

from collections.abc import Sequence
from itertools import pairwise

LoadCurve = tuple[tuple[float, float], ...]

FACTOR_MAX = 10.0
SECONDS_MAX = 7 * 86_400.0
POINTS_MAX = 2000


def check_curve(curve: LoadCurve) -> None:
    """Raise ValueError, one line, for points out of order or out of range."""
    if len(curve) > POINTS_MAX:
        raise ValueError(f"load_curve has {len(curve)} points; at most {POINTS_MAX} are allowed")
    before_s = 0.0
    for seconds, factor in curve:
        if not before_s <= seconds <= SECONDS_MAX:
            raise ValueError(
                f"load_curve has a point at {seconds:g} s; points must go forward from 0 to {SECONDS_MAX:g} s"
            )
        if not 0 <= factor <= FACTOR_MAX:
            raise ValueError(f"load_curve has the factor {factor:g}; it must be 0 to {FACTOR_MAX:g}")
        before_s = seconds


def factor_at(curve: LoadCurve, seconds: float) -> float:
    """The factor at this time; 1 without a curve. Two points at one time are a step: the last applies."""
    if not curve:
        return 1.0
    if seconds < curve[0][0]:
        return curve[0][1]
    # Half open: at a step, two points at one time, the later one applies.
    for (start_s, first), (end_s, second) in pairwise(curve):
        if start_s <= seconds < end_s:
            return first + (second - first) * (seconds - start_s) / (end_s - start_s)
    return curve[-1][1]


def drawn(points: Sequence[tuple[float, float]]) -> LoadCurve:
    """A valid curve from drawn points: sorted, clamped, and thinned evenly if there are too many."""
    inside = sorted(
        ((min(max(seconds, 0.0), SECONDS_MAX), min(max(factor, 0.0), FACTOR_MAX)) for seconds, factor in points),
        key=lambda point: point[0],
    )
    if len(inside) > POINTS_MAX:
        last = len(inside) - 1
        inside = [inside[round(index * last / (POINTS_MAX - 1))] for index in range(POINTS_MAX)]
    return tuple(inside)
