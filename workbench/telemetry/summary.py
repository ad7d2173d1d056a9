"""The summary of a run as one JSON object: what was counted, divided by the time that it took.

It covers the steady state: from a second after all devices send until the load ends. Latencies include the placements
that were under way then. A figure that is not known is null, never 0.
"""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plots.figures import FIGURES
from workbench.telemetry.counters import NANOSECONDS, Counters, Span
from workbench.telemetry.view import Diagnosis

# Promised to scripts: they come first, in this order, and are there without a steady state too. Others may come.
_FIXED_KEYS = (
    "seconds", "connections", "offered_per_s", "received_per_s", "admitted_per_s", "throttled_per_s", "merged_per_s",
    "delivered_per_s", "broadcast_deltas_per_s", "broadcast_bytes_per_s", "tick_ms_p50", "tick_ms_p99",
    "placement_to_view_ms_p50", "placement_to_view_ms_p99", "placement_to_view_ms_max", "server_cpu_cores",
    "fleet_cpu_cores", "window_fps",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """The readings that a summary is made from."""

    connections: int | None
    """Connections that the scenario asks for."""
    first: Counters | None
    """At the beginning of the steady state; None when there was none."""
    last: Counters | None
    """At the end of the load."""
    drained: Counters
    """When the placements under way had arrived."""
    tick_intervals_ns: NDArray[np.int64] | None
    canvas_checksum: int | None
    setup_seconds: float | None
    """From the start to the first placement."""
    failures: Sequence[str] = ()
    hostile: Mapping[str, Any] | None = None
    """Outcomes of hostile clients, by kind; empty or None without any."""
    diagnosis: Diagnosis | None = None
    """The diagnosis of the longest part of the steady state."""


def summarise(measured: Measured) -> dict[str, Any]:
    """The summary: its fixed keys first, then the others."""
    figures: dict[str, Any] = dict.fromkeys(_FIXED_KEYS)
    figures["connections"] = measured.connections
    extras: dict[str, Any] = {}
    if measured.first is not None and measured.last is not None:
        load = Span(measured.first, measured.last)
        steady = _steady(load, Span(measured.first, measured.drained), measured.tick_intervals_ns)
        figures |= {key: value for key, value in steady.items() if key in _FIXED_KEYS}
        extras = {key: value for key, value in steady.items() if key not in _FIXED_KEYS}
    figures |= _totals(measured.drained, measured.canvas_checksum)
    extras |= _total_extras(measured.drained)
    extras |= _diagnosed(measured.diagnosis)
    extras |= {"hostile": dict(measured.hostile)} if measured.hostile else {}
    extras |= {"setup_seconds": measured.setup_seconds, "failures": list(measured.failures)}
    assert not figures.keys() & extras.keys()
    return {key: _rounded(value) for key, value in (figures | {"machine": machine()} | extras).items()}


def _diagnosed(diagnosis: Diagnosis | None) -> dict[str, Any]:
    """The bottleneck by name, and as a sentence."""
    if diagnosis is None or not diagnosis.bottleneck:
        return {"bottleneck": None, "bottleneck_sentence": None}
    sentence = f"{diagnosis.bottleneck}: {diagnosis.sentence}"
    return {"bottleneck": diagnosis.bottleneck, "bottleneck_sentence": sentence}


def machine() -> dict[str, Any]:
    """The machine that the figures were measured on."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()}",
    }


def _steady(load: Span, seen: Span, tick_intervals_ns: NDArray[np.int64] | None) -> dict[str, Any]:
    """The steady state: the keys of the table of figures, and what is derived from them."""
    last = load.last
    figures = {one.key: load.measure(one) for one in FIGURES if one.key}
    # A placement of the load is seen a little later: latencies are over the time until all had arrived.
    figures |= {one.key: seen.measure(one) for one in FIGURES if one.key.startswith("placement_to_view_")}
    viewers = _viewers(last)
    return {
        "seconds": load.seconds,
        **_tick_ms(tick_intervals_ns),
        **figures,
        "admitted_ratio": _ratio(figures["admitted_per_s"], figures["received_per_s"]),
        "merge_ratio": _ratio(figures["admitted_per_s"], figures["merged_per_s"]),
        "frames_per_write": _ratio(figures["sent_per_s"], load.fleet_per_s("write_count")),
        "viewers": viewers,
        "connections_per_loop": last.loops["connection_count"].tolist() if last.server_alive else None,
        "deltas_per_viewer_per_s": _ratio(load.fleet_per_s("delta_count"), viewers),
        "bytes_per_viewer_per_s": _ratio(figures["broadcast_bytes_per_s"], viewers),
        "tick_count": int(last.server["tick"] - load.first.server["tick"]) if last.server_alive else None,
    }


def _viewers(last: Counters) -> int | None:
    """How many watch, as the fleet counts them, or as the server does where there is no fleet."""
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
    # That no viewer was wrong says nothing when none was checked.
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
    """Where every placement went since the start. `gap`: those that the server's own ledger cannot account for."""
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
    # No clock here is more precise than four digits after the point.
    return round(value, 4) if isinstance(value, float) else value


def _cpu_name() -> str:
    """The processor as the system names it; its architecture where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []  # Not Linux.
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
