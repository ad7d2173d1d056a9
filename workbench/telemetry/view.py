"""The frozen state of a session that the window, the live table and the summary look at. Nobody waits for it.

A `Reading` holds rates over the last second; None where nothing is known yet, never 0 in its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from server.ipc.control import BrokerState, Progress


@dataclass(frozen=True, slots=True)
class Reading:
    """All figures at a moment. Rates are placements or pixel changes a second over the last second."""

    offered_per_s: float | None = None
    sent_per_s: float | None = None
    """What the kernel took from the fleet; less than offered while the fleet, or what it writes to, cannot keep up."""
    received_per_s: float | None = None
    admitted_per_s: float | None = None
    throttled_per_s: float | None = None
    shed_per_s: float | None = None
    out_of_bounds_per_s: float | None = None
    merged_per_s: float | None = None
    delivered_per_s: float | None = None
    conflated_per_s: float | None = None
    """Deltas made for one laggard."""
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
    tick_ms_mean: float | None = None
    """How far apart the last second's ticks really began, or how long none has; None before the first."""
    rate_limit_per_s: int | None = None
    """Placements a second that the server lets in from each connection."""
    connection_count: int | None = None
    connection_target: int = 0
    loop_connection_counts: tuple[int, ...] = ()
    """Connections that each of the server's loops holds."""
    subscriber_count: int = 0
    watching_count: int = 0
    """Connections that watch by the server's books: also those that never read, and other clients."""
    lagging_count: int = 0
    """Viewers that lack several broadcasts."""
    over_limit_count: int | None = None
    """Connections that the rate limit refused something in the last second."""
    is_behind_broker: bool = False
    """Devices reach the server through an MQTT broker."""
    stalled_count: int = 0
    """Devices that a fault holds still now."""
    lost_count: int | None = None
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
    """Busy time of the server's busiest loop / elapsed time, 0..1; the tick's encoding holds up every loop."""


@dataclass(frozen=True, slots=True)
class StageReading:
    """One stage of the pipeline over the last second. The last of them are the viewers, who are the fleet's."""

    name: str
    """As shown: "accept", "read", ... "fan-out", "viewers"."""
    item_name: str
    """What it serves, plural: "placements"."""
    throughput_per_s: float | None = None
    utilisation_ratio: float | None = None
    """Busy time / time, 0..1, of the busiest loop."""
    service_us: float | None = None
    """Service time an item."""
    waiting_ms: float | None = None
    """Waiting time in the queue before it: by Little's law its mean depth / throughput."""
    depth: float = 0
    """Items waiting, the mean over the last second."""
    depth_peak: int = 0
    """High-water mark of the last second."""
    depth_max: int = 0
    """The queue's limit, in the same items; 0: not bounded by a number."""
    growth_per_s: float = 0
    """How fast the queue grows, in items a second; negative when it empties."""
    drops_per_s: tuple[tuple[str, float], ...] = ()
    """By reason: ("rate", 8130.0); without those that are 0."""
    brake: str = ""
    """What is added to it: "+ 20 us an item"; "" when the brake is off."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What limits the run, in words. Made by `workbench.diagnosis.rule` from a documented rule."""

    bottleneck: str
    """A stage's name, "machine", "broker", "viewers", "fleet", "window", "rate limit", or "none"; "" before it can be
    told."""
    sentence: str = ""
    """With the evidence: "94 % busy; its queue holds 3.1 s of work and grows; 71 % of view latency is waiting here"."""
    runner_up: str = ""
    """What would be next: "apply, 38 % busy"."""
    headroom_ratio: float | None = None
    """How much more of the present load fits, 0..1 of what is offered; None when it cannot be told."""
    explanation: tuple[str, ...] = ()
    """The rule's steps as they came out here, a line each: what "why?" opens."""


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that was done to the run."""

    time_ns: int
    kind: str
    """knob, fault, brake or note (words of `plots.history.MarkerKind`)."""
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of the settings while a run goes on."""

    time_ns: int
    changes: Mapping[str, Any]
    """Dotted keys of a scenario and what each is set to from then on."""


@dataclass(frozen=True, slots=True)
class TileBox:
    """Tiles from (x0, y0) up to, not including, (x1, y1)."""

    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True, slots=True)
class Journey:
    """One sampled placement, from when it was intended until it was seen. Times in ns of one clock; None: not yet, or
    not told."""

    number: int
    """Of the connection."""
    x: int
    y: int
    intended_ns: int
    sent_ns: int | None = None
    read_ns: int | None = None
    decoded_ns: int | None = None
    admitted_ns: int | None = None
    applied_ns: int | None = None
    journaled_ns: int | None = None
    encoded_ns: int | None = None
    fanned_out_ns: int | None = None
    """Taken by the viewer's socket."""
    seen_ns: int | None = None


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
class RecordingState:
    """How the recording of a run goes."""

    path: str
    seconds: float = 0.0
    """Since it began; until it stopped, where it failed."""
    bytes: int = 0
    """Of the file, and of the log beside it."""
    failure: str = ""
    """Why it stopped, with the remedy, as a part of a sentence; the run itself goes on."""


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
    stages: tuple[StageReading, ...] = ()
    """In their real order; the journal only when there is one."""
    diagnosis: Diagnosis = Diagnosis("")
    markers: tuple[Marker, ...] = ()
    """The newest, oldest first."""
    recording: RecordingState | None = None
    """None when the run is not recorded."""
    page_url: str = ""
    """What a browser opens to look on and paint, or "" where there is nothing to open."""
    is_open_to_network: bool = False
    """Whether other machines can."""
    broker: BrokerState | None = None
    """How the server stands with its MQTT broker; None without one, and before it is known."""

    @property
    def broker_text(self) -> str:
        """The broker in a few words, with "held still" or "gone for 3 s, 4 attempts" where it is; "" without one."""
        state = self.broker
        if state is not None and state.is_held:
            return f"{state.name} held still"
        if state is None or state.is_connected:
            return "" if state is None else state.name
        away_s = max(0, self.now_ns - state.since_ns) / 1e9
        plural = "" if state.attempt_count == 1 else "s"
        return f"{state.name} gone for {away_s:.0f} s, {state.attempt_count} attempt{plural}"

    @property
    def failures(self) -> list[str]:
        """One line for each part that failed."""
        return [f"{part.name}: {part.failure}" for part in self.parts if part.failure]
