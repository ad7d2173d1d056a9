"""The figures of a trial: how each is called in a table and how it is written.

Keys are those of a run's summary, and a few that only a benchmark has. Invariant: a figure that is not known is a dash,
never 0.
"""

from collections.abc import Callable
from dataclasses import dataclass


def amount(value: float) -> str:
    """A count or rate in three digits and a unit: 1.02M, 340k, 12.5."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit * 0.9995:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def _fixed(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:,.{digits}f}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One column."""

    heading: str
    write: Callable[[float], str] = amount


FIGURES: dict[str, Figure] = {
    "messages_per_core_s": Figure("messages/core-s"),
    "message_ns": Figure("ns/message", _fixed(0)),
    "offered_per_s": Figure("offered/s"),
    "received_per_s": Figure("received/s"),
    "admitted_per_s": Figure("admitted/s"),
    "deltas_per_s": Figure("deltas/s"),
    "deltas_per_core_s": Figure("deltas/core-s"),
    "deltas_per_viewer_per_s": Figure("deltas/s a viewer", _fixed(1)),
    "broadcast_bytes_per_s": Figure("broadcast B/s"),
    "placement_to_view_ms_p50": Figure("view ms p50", _fixed(0)),
    "placement_to_view_ms_p99": Figure("view ms p99", _fixed(0)),
    "tick_ms_p99": Figure("tick ms p99", _fixed(0)),
    "server_cpu_cores": Figure("server cores", _fixed(2)),
    "fleet_cpu_cores": Figure("fleet cores", _fixed(2)),
    "server_resident_bytes": Figure("server B"),
    "connects_per_s": Figure("connects/s"),
    "connects_per_core_s": Figure("connects/core-s"),
    "connect_seconds": Figure("all in s", _fixed(2)),
    "refused": Figure("refused", _fixed(0)),
    "decode_ns": Figure("decode ns", _fixed(1)),
    "admit_ns": Figure("admit ns", _fixed(1)),
    "apply_ns": Figure("apply ns", _fixed(1)),
    "tick_ms": Figure("tick ms", _fixed(2)),
}


def written(key: str, value: float | None) -> str:
    """A value as its column has it."""
    return "-" if value is None else FIGURES[key].write(value)
