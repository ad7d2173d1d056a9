"""The pipeline's figures: throughput, utilisation, service and waiting time, and the queue of each stage.

The stages of a loop share one thread, so utilisation is that of the busiest loop, where the stages' shares add up; not
for a braked stage, whose added time passes while others work. Waiting time is Little's law: mean depth / throughput.
What was not served in the last second has no service time, rather than 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plots.number import none_if_nan
from server.config import Brake, ServerConfig
from server.kernels.layout import STAGE_COUNT, Stage, stage_names
from workbench.telemetry.counters import NANOSECONDS, Counters, Span
from workbench.telemetry.view import StageReading

# The items of each stage, in the order of `layout.Stage`.
ITEM_NAMES = ("handshakes", "sockets", "bytes", "messages", "placements", "commits", "tiles", "deltas")
VIEWERS = "viewers"
_PER_TICK = (Stage.ENCODE, Stage.FANOUT)

# The items by the stages' names; the viewers, which take deltas, are last.
ITEMS = dict(zip((*stage_names(), VIEWERS), (*ITEM_NAMES, ITEM_NAMES[-1]), strict=True))

assert len(ITEM_NAMES) == STAGE_COUNT


@dataclass(frozen=True, slots=True)
class StageFigures:
    """All stages over the time between the first and the last counters; each of shape (STAGE_COUNT,), float64."""

    throughput_per_s: NDArray[Any]
    utilisation_ratio: NDArray[Any]
    """Of the busiest loop."""
    service_us: NDArray[Any]
    """NaN where nothing was served."""
    waiting_ms: NDArray[Any]
    """NaN where nothing was served."""
    depth: NDArray[Any]
    growth_per_s: NDArray[Any]


def stage_figures(recent: Sequence[Counters], depth_peak: NDArray[Any]) -> StageFigures | None:
    """Figures over the time of `recent`, oldest first; None when they cannot be known.

    `depth_peak`: shape (STAGE_COUNT,), the most that waited in that time.
    """
    if len(recent) < 2 or not recent[-1].server_alive or recent[-1].time_ns <= recent[0].time_ns:
        return None
    first, last = recent[0], recent[-1]
    span = Span(first, last)
    busy = last.stages["busy_ns"] - first.stages["busy_ns"]
    busiest = busy[int(np.argmax(span.loop_busy_ns()))].copy()
    busiest[Stage.ENCODE] = busy[0, Stage.ENCODE]
    utilisation = np.minimum(busiest / (span.seconds * NANOSECONDS), 1.0)
    items = (last.stages["item_count"] - first.stages["item_count"]).sum(axis=0)
    throughput = items / span.seconds
    depth = _mean_depth(first, last, depth_peak)
    waiting = depth.copy()
    # The queues of encode and fan-out exist only during a tick's work. Their mean depth over all the time is what waits
    # then, times the share of the time that the work takes.
    waiting[list(_PER_TICK)] *= utilisation[list(_PER_TICK)]
    service_us = _per(busy.sum(axis=0) / 1000, items)
    assert (items >= 0).all() and (busy >= 0).all(), "counters only grow"
    return StageFigures(
        throughput, utilisation, service_us, 1000 * _per(waiting, throughput), depth, _growth(recent, depth_peak)
    )


def stage_readings(
    figures: StageFigures | None,
    recent: Sequence[Counters],
    depth_peak: NDArray[Any],
    server: ServerConfig,
    viewer_brake_us: float,
    lacked_count: int,
) -> tuple[StageReading, ...]:
    """The stages in their real order, the viewers last; the journal only when there is one. Empty without a server.

    `depth_peak`: as in `stage_figures`. `lacked_count`: deltas that all viewers together lack.
    """
    if figures is None:
        return ()
    last = recent[-1]
    drops = _drops(Span(recent[0], last))
    limits = last.stages["depth_max"].sum(axis=0)
    has_journal = bool(last.stages["batch_count"][:, Stage.JOURNAL].any())
    readings = [
        StageReading(
            name=name,
            item_name=item_name,
            throughput_per_s=float(figures.throughput_per_s[stage]),
            utilisation_ratio=float(figures.utilisation_ratio[stage]),
            service_us=none_if_nan(figures.service_us[stage]),
            waiting_ms=none_if_nan(figures.waiting_ms[stage]),
            depth=float(figures.depth[stage]),
            depth_peak=int(depth_peak[stage]),
            depth_max=int(limits[stage]),
            growth_per_s=float(figures.growth_per_s[stage]),
            drops_per_s=tuple((reason, rate) for reason, rate in drops[stage].items() if rate > 0),
            brake=brake_text(brake),
        )
        for stage, name, item_name, brake in zip(
            Stage, stage_names(), ITEM_NAMES, server.brakes.in_order(), strict=True
        )
        if stage != Stage.JOURNAL or has_journal
    ]
    return (*readings, _viewers(Span(recent[0], last), viewer_brake_us, lacked_count))


def brake_text(brake: Brake) -> str:
    """A brake as text: "+ 20 us an item, 5 ms a batch"; "" when it is off."""
    added = [f"{brake.item_us:g} us an item"] if brake.item_us else []
    added += [f"{brake.batch_ms:g} ms a batch"] if brake.batch_ms else []
    return "+ " + ", ".join(added) if added else ""


def _viewers(span: Span, brake_us: float, lacked_count: int) -> StageReading:
    """The viewers. Their queue is what they lack; their utilisation is known only through their brake."""
    throughput = span.fleet_per_s("delta_count")
    is_braked = brake_us > 0 and throughput is not None
    return StageReading(
        name=VIEWERS,
        item_name="deltas",
        throughput_per_s=throughput,
        utilisation_ratio=min(1.0, throughput * brake_us / 1e6) if throughput is not None and is_braked else None,
        service_us=brake_us or None,
        waiting_ms=1000 * lacked_count / throughput if throughput else None,
        depth=lacked_count,
        depth_peak=lacked_count,
        brake=f"+ {brake_us:g} us a delta" if brake_us else "",
    )


def _mean_depth(first: Counters, last: Counters, depth_peak: NDArray[Any]) -> NDArray[Any]:
    """What waited when a batch began, the mean over the batches, summed over loops."""
    batches = last.stages["batch_count"] - first.stages["batch_count"]
    sums = last.stages["depth_sum"] - first.stages["depth_sum"]
    # A stage that began no batch is blocked, and its last depth still waits; or it is idle, if nothing waited at all.
    still = np.where(depth_peak > 0, last.stages["depth"], 0)
    mean: NDArray[Any] = np.where(batches > 0, sums / np.maximum(batches, 1), still).sum(axis=0)
    return mean


def _growth(recent: Sequence[Counters], depth_peak: NDArray[Any]) -> NDArray[Any]:
    """How fast queues grow: the mean depth of the second half minus that of the first, over half the time."""
    # The difference of the newest and the oldest depth would depend on the moments of a tick at which they were read.
    middle = recent[len(recent) // 2]
    apart_s = (recent[-1].time_ns - recent[0].time_ns) / 2 / NANOSECONDS
    if middle is recent[0] or middle is recent[-1]:
        return np.zeros(STAGE_COUNT)
    later, before = _mean_depth(middle, recent[-1], depth_peak), _mean_depth(recent[0], middle, depth_peak)
    growth: NDArray[Any] = (later - before) / apart_s
    return growth


def _drops(span: Span) -> list[dict[str, float]]:
    """Drops per second of each stage, by reason."""
    rows = (span.last.stages["drop_count"] - span.first.stages["drop_count"]).sum(axis=0) / span.seconds
    drops = [{"overload": float(rate)} for rate in rows]
    elsewhere = sum(float(rows[stage]) for stage in Stage if stage not in (Stage.ADMIT, Stage.FANOUT))
    drops[Stage.ADMIT] = {
        "rate": span.loops_per_s("throttled_count") or 0.0,
        "out of bounds": span.loops_per_s("out_of_bounds_count") or 0.0,
        "overload": max(0.0, (span.loops_per_s("shed_count") or 0.0) - elsewhere),
    }
    drops[Stage.FANOUT] = {"conflated": span.loops_per_s("conflated_count") or 0.0}
    return drops


def _per(total: NDArray[Any], count: NDArray[Any]) -> NDArray[Any]:
    """`total` / `count`, NaN where `count` is 0."""
    return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)
