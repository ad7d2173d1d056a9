"""The load curve: by what the offered load is multiplied as a run goes on, as points in time.

A curve is a tuple of (seconds since the load began, factor), in the order of time; the factor is linear in between, and
before the first and after the last point it is theirs. Invariant: a checked curve has a factor at every moment.
"""

from collections.abc import Sequence
from itertools import pairwise

LoadCurve = tuple[tuple[float, float], ...]

FACTOR_MAX = 10.0
SECONDS_MAX = 7 * 86_400.0
POINTS_MAX = 2000


def check_curve(curve: LoadCurve) -> None:
    """Raises ValueError, one line, for points out of order or out of range."""
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
    """The factor at this moment; 1 without a curve. Of points at one moment, the last decides: a step."""
    if not curve:
        return 1.0
    if seconds < curve[0][0]:
        return curve[0][1]
    for (start_s, first), (end_s, second) in pairwise(curve):
        if start_s <= seconds < end_s:
            return first + (second - first) * (seconds - start_s) / (end_s - start_s)
    return curve[-1][1]


def drawn(points: Sequence[tuple[float, float]]) -> LoadCurve:
    """A curve from points as a hand drew them: in order, within range, and of two at one moment both kept.

    More points than a curve may have are thinned evenly; the first and the last stay.
    """
    inside = sorted(
        ((min(max(seconds, 0.0), SECONDS_MAX), min(max(factor, 0.0), FACTOR_MAX)) for seconds, factor in points),
        key=lambda point: point[0],
    )
    if len(inside) > POINTS_MAX:
        last = len(inside) - 1
        inside = [inside[round(index * last / (POINTS_MAX - 1))] for index in range(POINTS_MAX)]
    return tuple(inside)
