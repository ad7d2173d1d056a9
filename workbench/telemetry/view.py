"""The frozen state of a session, as the window, the live table and the summary read it without blocking.

Unknown figures are None, never 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from plots.figures import Figures
from server.ipc.control import BrokerState, Progress


@dataclass(frozen=True, slots=True)
class Reading(Figures):
    """The figures at a moment (the table of `plots.figures`), and what only a view shows beside them."""

    tick: int = 0
    tick_ms_configured: float | None = None
    tick_ms_mean: float | None = None
    """Between the starts of the last second's ticks, or since the last; None before the first."""
    redraws_per_s: float | None = None
    """Times per second that the window looked for something to redraw; None without one."""
    rate_limit_per_s: int | None = None
    """Placements per second that the server admits from each connection."""
    connection_target: int = 0
    loop_connection_counts: tuple[int, ...] = ()
    """Connections of each of the server's loops."""
    is_behind_broker: bool = False
    """Devices reach the server through an MQTT broker."""


@dataclass(frozen=True, slots=True)
class StageReading:
    """One stage of the pipeline over the last second. The last is the viewers, which belong to the fleet."""

    name: str
    """As shown: "accept", "read", ... "fan-out", "viewers"."""
    item_name: str
    """What it serves, plural: "placements"."""
    throughput_per_s: float | None = None
    utilisation_ratio: float | None = None
    """Busy time / time, 0..1, of the busiest loop."""
    service_us: float | None = None
    """Service time per item."""
    waiting_ms: float | None = None
    """Waiting time in the queue before it: by Little's law its mean depth / throughput."""
    depth: float = 0
    """Items waiting, the mean over the last second."""
    depth_peak: int = 0
    """High-water mark of the last second."""
    depth_max: int = 0
    """The queue's limit, in the same items; 0: not bounded by a number."""
    growth_per_s: float = 0
    """How fast the queue grows, in items per second; negative when it empties."""
    drops_per_s: tuple[tuple[str, float], ...] = ()
    """By reason: ("rate", 8130.0); without those that are 0."""
    brake: str = ""
    """Added service time: "+ 20 us an item"; "" when the brake is off."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What limits the run, in words. Made by `workbench.diagnosis.rule` from a documented rule."""

    bottleneck: str
    """A stage's name, "machine", "broker", "viewers", "fleet", "window", "rate limit" or "none"; "": not known yet."""
    sentence: str = ""
    """With the evidence: "94 % busy; its queue holds 3.1 s of work and grows; 71 % of view latency is waiting here"."""
    runner_up: str = ""
    """The next bottleneck: "apply, 38 % busy"."""
    headroom_ratio: float | None = None
    """How much more of the present load fits, 0..1 of what is offered; None when not known."""
    explanation: tuple[str, ...] = ()
    """One line per step of the rule, as "why?" shows them."""


@dataclass(frozen=True, slots=True)
class Marker:
    """An event of the run: a setting that was changed, a fault, or a note."""

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
    """One sampled placement, from its intended send time until it was seen. Times are of one clock; None: not known."""

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
    """Before it runs: for example compiling kernels, 7 of 19."""
    failure: str = ""
    """Why it ended unexpectedly, in one line."""


@dataclass(frozen=True, slots=True)
class RecordingState:
    """The state of a run's recording."""

    path: str
    seconds: float = 0.0
    """Since it began; up to its failure, if it failed."""
    bytes: int = 0
    """Of the file, and of the log beside it."""
    failure: str = ""
    """Why it stopped, with the remedy, as a part of a sentence; the run itself goes on."""


@dataclass(frozen=True, slots=True)
class View:
    """The state of a session at a moment."""

    now_ns: int
    scenario_name: str
    scenario_title: str
    url: str
    """Where other clients can join, or "" before the server listens."""
    parts: tuple[Part, ...]
    reading: Reading
    pixels: NDArray[Any]
    """The server's canvas itself, read-only: it changes while it is read. Shape (height, width), palette indices."""
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
    """The web page for a browser, or "" without one."""
    is_open_to_network: bool = False
    """Whether other machines can connect."""
    broker: BrokerState | None = None
    """The server's link to its MQTT broker; None without one, and before it is known."""

    @property
    def broker_text(self) -> str:
        """The broker's name, with "held still" or "gone for 3 s, 4 attempts" where that is so; "" without a broker."""
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
