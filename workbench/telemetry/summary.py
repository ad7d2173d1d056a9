"""What a run comes to, as one JSON object. It measures nothing: it divides what was counted by the time it took.

Only the steady state is told: from a second after all devices send until the load ends; latencies include what was
under way then.
Invariant: a figure that is not known is null, never 0.
"""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.telemetry.counters import NANOSECONDS, Counters, Span
from workbench.telemetry.view import Diagnosis

_STEADY_KEYS = (
    "seconds",
    "connections",
    "offered_per_s",
    "received_per_s",
    "admitted_per_s",
    "throttled_per_s",
    "merged_per_s",
    "delivered_per_s",
    "broadcast_deltas_per_s",
    "broadcast_bytes_per_s",
    "tick_ms_p50",
    "tick_ms_p99",
    "placement_to_view_ms_p50",
    "placement_to_view_ms_p99",
    "placement_to_view_ms_max",
    "server_cpu_cores",
    "fleet_cpu_cores",
    "window_fps",
)
"""What scripts may rely on, and only a steady state can tell."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The readings that a summary is made of."""

    connections: int | None
    """Connections asked for."""
    first: Counters | None
    """At the beginning of the steady state; None when there was none."""
    last: Counters | None
    """At the end of the load."""
    drained: Counters
    """When what was under way had arrived."""
    tick_intervals_ns: NDArray[np.int64] | None
    canvas_checksum: int | None
    setup_seconds: float | None
    """From the start to the first placement."""
    failures: Sequence[str] = ()
    hostile: Mapping[str, Any] | None = None
    """What became of those who misbehave, by kind; empty or None: nobody did."""
    diagnosis: Diagnosis | None = None
    """What the run was diagnosed with for the longest part of its steady state."""


def summarise(measured: Measured) -> dict[str, Any]:
    """The summary: its fixed keys first, then what else is worth knowing."""
    figures: dict[str, Any] = dict.fromkeys(_STEADY_KEYS)
    figures["connections"] = measured.connections
    extras: dict[str, Any] = {}
    if measured.first is not None and measured.last is not None:
        load = Span(measured.first, measured.last)
        figures |= _steady(load, Span(measured.first, measured.drained), measured.tick_intervals_ns)
        extras = _steady_extras(load, figures)
    figures |= _totals(measured.drained, measured.canvas_checksum)
    extras |= _total_extras(measured.drained)
    extras |= _diagnosed(measured.diagnosis)
    extras |= {"hostile": dict(measured.hostile)} if measured.hostile else {}
    extras |= {"setup_seconds": measured.setup_seconds, "failures": list(measured.failures)}
    return {key: _rounded(value) for key, value in (figures | {"machine": machine()} | extras).items()}


def _diagnosed(diagnosis: Diagnosis | None) -> dict[str, Any]:
    """The bottleneck by name, and as a sentence."""
    if diagnosis is None or not diagnosis.bottleneck:
        return {"bottleneck": None, "bottleneck_sentence": None}
    sentence = f"{diagnosis.bottleneck}: {diagnosis.sentence}"
    return {"bottleneck": diagnosis.bottleneck, "bottleneck_sentence": sentence}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()}",
    }


def _steady(load: Span, seen: Span, tick_intervals_ns: NDArray[np.int64] | None) -> dict[str, Any]:
    """Figures over the load; latencies over what was seen of it, which took a little longer."""
    return {
        "seconds": load.seconds,
        "offered_per_s": load.fleet_per_s("offered_count"),
        "received_per_s": load.loops_per_s("received_count"),
        "admitted_per_s": load.loops_per_s("admitted_count"),
        "throttled_per_s": load.loops_per_s("throttled_count"),
        "merged_per_s": load.server_per_s("merged_count"),
        "delivered_per_s": load.fleet_per_s("delta_pixel_count"),
        "broadcast_deltas_per_s": load.loops_per_s("delta_count"),
        "broadcast_bytes_per_s": load.loops_per_s("delta_bytes"),
        **_tick_ms(tick_intervals_ns),
        "placement_to_view_ms_p50": seen.latency_ms(0.5),
        "placement_to_view_ms_p99": seen.latency_ms(0.99),
        "placement_to_view_ms_max": seen.latency_ms_max(),
        "server_cpu_cores": load.server_cores(),
        "fleet_cpu_cores": load.fleet_cores(),
        "window_fps": load.window_fps(),
    }


def _steady_extras(load: Span, figures: dict[str, Any]) -> dict[str, Any]:
    last = load.last
    viewers = _viewers(last)
    sent = load.fleet_per_s("sent_count")
    return {
        "sent_per_s": sent,
        "shed_per_s": load.loops_per_s("shed_count"),
        "out_of_bounds_per_s": load.loops_per_s("out_of_bounds_count"),
        "admitted_ratio": _ratio(figures["admitted_per_s"], figures["received_per_s"]),
        "merge_ratio": _ratio(figures["admitted_per_s"], figures["merged_per_s"]),
        "frames_per_write": _ratio(sent, load.fleet_per_s("write_count")),
        "viewers": viewers,
        "connections_per_loop": last.loops["connection_count"].tolist() if last.server_alive else None,
        "deltas_per_viewer_per_s": _ratio(load.fleet_per_s("delta_count"), viewers),
        "bytes_per_viewer_per_s": _ratio(figures["broadcast_bytes_per_s"], viewers),
        "lateness_ms_p99": load.lateness_ms(0.99),
        "panels_cpu_cores": load.panels_cores(),
        "window_cpu_cores": load.window_cores(),
        "utilisation_ratio": load.busiest_loop_ratio(),
        "tick_count": int(last.server["tick"] - load.first.server["tick"]) if last.server_alive else None,
    }


def _viewers(last: Counters) -> int | None:
    """Who watches, by the fleet's books, or by the server's where there is none."""
    if last.fleet_alive:
        return int(last.fleet["subscriber_count"])
    return last.loop_sum("subscriber_count") if last.server_alive else None


def _totals(drained: Counters, canvas_checksum: int | None) -> dict[str, Any]:
    """The fixed keys that are true of the whole run."""
    fleet = drained.fleet
    errors = [drained.loop_sum("protocol_error_count")] if drained.server_alive else []
    errors += [int(fleet["protocol_error_count"])] if drained.fleet_alive else []
    return {
        "connections_lost": int(fleet["lost_count"]) if drained.fleet_alive else None,
        "protocol_errors": sum(errors) if errors else None,
        "canvas_checksum": canvas_checksum,
    }


def _total_extras(drained: Counters) -> dict[str, Any]:
    fleet, server, alive = drained.fleet, drained.server, drained.server_alive
    checked = int(fleet["viewer_checked_count"])
    return {
        "connections_refused": int(fleet["refused_count"]) if drained.fleet_alive else None,
        "viewers_checked": checked or None,
        "viewers_wrong": int(fleet["viewer_wrong_count"]) if checked else None,
        "conflated_count": drained.loop_sum("conflated_count") if alive else None,
        "evicted_count": drained.loop_sum("evicted_count") if alive else None,
        "tick_stretch_count": int(server["tick_stretch_count"]) if alive else None,
        "ledger": _ledger(drained) if alive else None,
        "server_resident_bytes": int(server["resident_bytes"]) or None,
        "fleet_resident_bytes": int(fleet["resident_bytes"]) or None,
    }


def _ledger(drained: Counters) -> dict[str, int | None]:
    """Where every placement went, since the start. `gap`: those that the server's own books cannot account for."""
    fleet = drained.fleet if drained.fleet_alive else None
    sides = {name: None if fleet is None else int(fleet[f"{name}_count"]) for name in ("offered", "sent")}
    for name in ("received", "admitted", "throttled", "shed", "out_of_bounds", "applied"):
        sides[name] = drained.loop_sum(f"{name}_count")
    return sides | {"gap": int(drained.server["ledger_gap"])}


def _tick_ms(intervals_ns: NDArray[np.int64] | None) -> dict[str, float | None]:
    if intervals_ns is None or not len(intervals_ns):
        return {"tick_ms_p50": None, "tick_ms_p99": None}
    p50, p99 = np.percentile(intervals_ns, [50, 99]) / (NANOSECONDS / 1000)
    return {"tick_ms_p50": float(p50), "tick_ms_p99": float(p99)}


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _rounded(value: Any) -> Any:
    """Four digits after the point are more than any clock here can tell."""
    return round(value, 4) if isinstance(value, float) else value


def _cpu_name() -> str:
    """The processor as the system names it; its architecture where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []  # Not Linux: the architecture has to do.
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
