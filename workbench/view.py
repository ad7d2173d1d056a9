"""The frozen state of a session that the window, the live table and the summary look at. Nobody waits for it.

A `Reading` holds rates over the last second; None where nothing is known yet, never 0 in its place.
"""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from server.control import Progress


@dataclass(frozen=True, slots=True)
class Reading:
    """All figures at a moment. Rates are placements or pixel changes a second over the last second."""

    offered_per_s: float | None = None
    received_per_s: float | None = None
    admitted_per_s: float | None = None
    throttled_per_s: float | None = None
    shed_per_s: float | None = None
    out_of_bounds_per_s: float | None = None
    merged_per_s: float | None = None
    delivered_per_s: float | None = None
    broadcast_deltas_per_s: float | None = None
    broadcast_bytes_per_s: float | None = None
    latency_ms_p50: float | None = None
    latency_ms_p99: float | None = None
    latency_ms_max: float | None = None
    lateness_ms_p99: float | None = None
    tick: int = 0
    tick_ms: float | None = None
    """The tick interval now; longer than `tick_ms_configured` while broadcasts do not fit into that."""
    tick_ms_configured: float | None = None
    connection_count: int = 0
    connection_target: int = 0
    loop_connection_counts: tuple[int, ...] = ()
    """Connections that each of the server's loops holds."""
    subscriber_count: int = 0
    lost_count: int = 0
    protocol_error_count: int = 0
    ledger_gap: int | None = None
    """Placements that the server's ledger of the last tick cannot account for: 0, or there is a bug."""
    server_cpu_cores: float | None = None
    fleet_cpu_cores: float | None = None
    panels_cpu_cores: float | None = None
    window_cpu_cores: float | None = None
    server_resident_bytes: int | None = None
    window_fps: float | None = None
    utilisation_ratio: float | None = None
    """Busy time of the server's busiest loop / elapsed time, 0..1."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the session as the window shows it: "server", "fleet" or "panels"."""

    name: str
    state: str
    """starting, compiling, connecting, running, draining, stopped, failed (words of `layout.State`)."""
    progress: Progress | None = None
    """What it is doing before it runs, e.g. compiling kernels 7 of 19."""
    failure: str = ""
    """Why it ended, one line, when it should not have."""


@dataclass(frozen=True, slots=True)
class View:
    """What there is to see now."""

    now_ns: int
    scenario_name: str
    scenario_title: str
    url: str
    """Where other clients can join, or "" before the server listens."""
    parts: tuple[Part, ...]
    reading: Reading
    pixels: NDArray[Any]
    """Shape (height, width), uint8 palette indices: the server's canvas itself, read-only, changing as one looks."""
    run_seconds: float
    """Since the load began; 0 before."""

    @property
    def failures(self) -> list[str]:
        """One line for each part that failed."""
        return [f"{part.name}: {part.failure}" for part in self.parts if part.failure]
