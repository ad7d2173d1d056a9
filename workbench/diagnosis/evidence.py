"""The evidence of a diagnosis: the figures of one moment, the questions that the rule asks of them, and the thresholds.

A threshold that was crossed holds until the figure is clearly back (`STAY_RATIO`), so that a figure near it does not
flicker. An unknown figure crosses no threshold.
"""

from dataclasses import dataclass

from plots.number import plural
from workbench.telemetry.pipeline import VIEWERS
from workbench.telemetry.view import Reading, StageReading

BROKER = "broker"
# A thread as busy as this has no room for an uneven load: queues grow at its peaks.
SATURATED_RATIO = 0.9
# A queue whose mean depth is this near its limit is full most of the time.
FULL_RATIO = 0.8
# Queues with a limit below this are full as soon as they are used.
QUEUE_LEAST = 16
# Ticks this much further apart than configured do not fit their interval. One late tick in ten stays below it.
STRETCH_RATIO = 1.25
# What delays ticks by a quarter takes at least a fifth of the time. A stage that takes less is not the cause.
IDLE_RATIO = 0.2
# A single-threaded process that takes this much of a core cannot do more.
CORE_RATIO = 0.9
# Above this share of all cores, processes wait for each other rather than for work.
MACHINE_RATIO = 0.93
# A loop whose busy time exceeds its processor time by this share waits for a core.
STARVED_RATIO = 0.3
# For a loop that is less busy than this, waiting for a core does not matter.
STARVED_BUSY_RATIO = 0.5
# Sends this late (p99) are not the intended load. A healthy fleet is late by a few milliseconds.
LATE_MS = 100.0
# A fleet that sends this much less than it intends falls behind.
SHORTFALL_RATIO = 0.1
# Share of viewers that lack several broadcasts, or of deltas made for laggards, above which viewers are slow.
LAGGING_RATIO = 0.1
# A viewers' brake that takes this share of the fleet's time leaves too little to send.
BRAKED_RATIO = 0.8
# The same for a fleet that is already late.
BRAKED_RATIO_LATE = 0.3
# Share of what arrives that the rate limit refuses, above which it shapes the run. Below, it affects a few devices.
REFUSED_RATIO = 0.15
# Fewer pictures per second visibly stutter.
FPS_LEAST = 24.0
# A name is kept down to this share of its threshold.
STAY_RATIO = 0.85


@dataclass(frozen=True, slots=True)
class Evidence:
    """The figures of one moment. `held`: the name shown now, whose thresholds are lowered to those for staying."""

    stages: tuple[StageReading, ...]
    reading: Reading
    core_count: float
    held: str = ""

    def exceeds(self, value: float | None, threshold: float, *names: str) -> bool:
        """Whether a figure that is evidence for one of `names` reaches its threshold, or the one for staying."""
        return value is not None and value >= threshold * (STAY_RATIO if self.held in names else 1.0)

    # --- The server ---

    @property
    def server_stages(self) -> tuple[StageReading, ...]:
        """All stages but the viewers, which belong to the fleet."""
        return tuple(stage for stage in self.stages if stage.name != VIEWERS)

    @property
    def viewers(self) -> StageReading | None:
        """The viewers' stage."""
        return next((stage for stage in self.stages if stage.name == VIEWERS), None)

    @property
    def loop_ratio(self) -> float | None:
        """Utilisation of the busiest loop: by its stages, or by its processor time, which includes uncounted work."""
        busy, cores = self.reading.utilisation_ratio, self.reading.server_cpu_cores
        if busy is None:
            return None
        # A brake's time passes while other stages work, so a braked stage is not added to the others.
        alone = [stage.utilisation_ratio or 0.0 for stage in self.server_stages if stage.brake]
        if alone:
            shared = sum(stage.utilisation_ratio or 0.0 for stage in self.server_stages if not stage.brake)
            busy = max(shared, *alone)
        return max(busy, (cores or 0.0) / max(1, len(self.reading.loop_connection_counts)))

    @property
    def tick_ratio(self) -> float:
        """Actual tick interval / configured one; 1 when not known."""
        reading = self.reading
        configured = reading.tick_ms_configured
        return max(reading.tick_ms or 0, reading.tick_ms_mean or 0, configured) / configured if configured else 1.0

    @property
    def tick_work_ratio(self) -> float:
        """Time of encode and fan-out per tick / configured interval: above 1 they do not fit."""
        shares = (stage.utilisation_ratio or 0 for stage in self.stages if stage.name in ("encode", "fan-out"))
        return sum(shares) * self.tick_ratio

    @property
    def headroom_ratio(self) -> float | None:
        """The share that the busiest loop or the tick leaves free, whichever is less; None without a server."""
        loop = self.loop_ratio
        return None if loop is None else min(1.0, max(0.0, 1 - max(loop, self.tick_work_ratio)))

    # --- The fleet and the machine ---

    @property
    def sent_ratio(self) -> float | None:
        """Sent / offered; None when nothing is offered."""
        reading = self.reading
        if not reading.offered_per_s or reading.sent_per_s is None:
            return None
        return reading.sent_per_s / reading.offered_per_s

    @property
    def handed_on_ratio(self) -> float | None:
        """Received by the server / taken by the broker from the fleet; None without a broker, or when it idles."""
        reading = self.reading
        if not reading.is_behind_broker or not reading.sent_per_s or reading.received_per_s is None:
            return None
        return reading.received_per_s / reading.sent_per_s

    @property
    def is_held_up_by_broker(self) -> bool:
        """Whether the fleet sends less than it intends although it has time: the broker takes no more."""
        reading, sent = self.reading, self.sent_ratio
        has_time = (
            (reading.fleet_cpu_cores or 0) < CORE_RATIO and not self.is_machine_full and not reading.stalled_count
        )
        falls_short = sent is not None and self.exceeds(1 - sent, SHORTFALL_RATIO, BROKER)
        return reading.is_behind_broker and has_time and falls_short

    @property
    def lagging_ratio(self) -> float:
        """The share of viewers that lag, or of deltas that are conflated, whichever is larger."""
        reading = self.reading
        lagging = reading.lagging_count / reading.watching_count if reading.watching_count else 0.0
        deltas = reading.broadcast_deltas_per_s
        conflated = (reading.conflated_per_s or 0.0) / deltas if deltas else 0.0
        return min(1.0, max(lagging, conflated))

    @property
    def is_held_up_by_viewers(self) -> bool:
        """Whether the viewers' brake takes the fleet's time."""
        viewers = self.viewers
        if viewers is None or not viewers.brake:
            return False
        is_late = self.exceeds(self.reading.lateness_ms_p99, LATE_MS, VIEWERS)
        least = BRAKED_RATIO_LATE if is_late else BRAKED_RATIO
        return self.exceeds(viewers.utilisation_ratio, least, VIEWERS)

    @property
    def refused_ratio(self) -> float | None:
        """Refused for rate / received."""
        reading = self.reading
        return (reading.throttled_per_s or 0.0) / reading.received_per_s if reading.received_per_s else None

    @property
    def is_machine_full(self) -> bool:
        """Whether the processes of the session use all cores."""
        one = self.reading
        parts = (one.server_cpu_cores, one.fleet_cpu_cores, one.panels_cpu_cores, one.window_cpu_cores)
        return sum(part or 0.0 for part in parts) >= MACHINE_RATIO * self.core_count

    @property
    def is_server_starved(self) -> bool:
        """Whether the loops wait for a core: their work takes much longer than their processor time."""
        # A brake waits too, so with one this cannot be known.
        busy, cores = self.reading.utilisation_ratio, self.reading.server_cpu_cores
        if busy is None or cores is None or any(stage.brake for stage in self.server_stages):
            return False
        return busy - cores / max(1, len(self.reading.loop_connection_counts)) >= STARVED_RATIO

    @property
    def is_server_idle(self) -> bool:
        """Whether no stage takes long. If a tick is late all the same, its loop got no core in time."""
        busiest = max((stage.utilisation_ratio or 0.0 for stage in self.server_stages), default=0.0)
        return busiest < IDLE_RATIO and (self.loop_ratio or 0.0) < STARVED_BUSY_RATIO

    @property
    def machine_phrase(self) -> tuple[str, ...]:
        """A phrase for processes that wait for each other or for other programs; none otherwise."""
        if self.is_machine_full:
            return (f"all {plural(self.core_count, 'core')} of this machine are in use",)
        if self.is_server_starved and (self.loop_ratio or 0) >= STARVED_BUSY_RATIO:
            cores = self.reading.server_cpu_cores or 0.0
            return (f"but the server gets only {cores:.2f} core: the machine is busy otherwise",)
        return ()
