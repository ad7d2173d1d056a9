"""What a diagnosis rests on: the figures of one moment, and the questions that the rule asks of them.

It names nothing as a bottleneck. Thresholds stand here, each with its reason; one that was crossed holds until the
figure is clearly back (`STAY_RATIO`), so that what hovers about it does not flicker.
Invariant: a figure that is not known crosses no threshold.
"""

from dataclasses import dataclass

from workbench.diagnosis.phrase import plural
from workbench.telemetry.pipeline import VIEWERS
from workbench.telemetry.view import Reading, StageReading

BROKER = "broker"
SATURATED_RATIO = 0.9
"""A thread that is busy so much has no room for an uneven load: queues grow in its bad moments."""
FULL_RATIO = 0.8
"""A queue whose mean depth is so near its limit is full most of the time."""
QUEUE_LEAST = 16
"""Queues with a lower limit than this are full as soon as they are used."""
STRETCH_RATIO = 1.25
"""Ticks that begin so much further apart than configured do not fit their interval; one late tick in ten does not
count."""
IDLE_RATIO = 0.2
"""Whatever puts ticks off by a quarter takes a fifth of the time at least. A stage that takes less did not."""
CORE_RATIO = 0.9
"""A single-threaded process that takes so much of a core cannot do more."""
MACHINE_RATIO = 0.93
"""Above so much of all cores, processes wait for each other rather than for work."""
STARVED_RATIO = 0.3
"""A loop that is busy for so much more than its processor time waits for a core."""
STARVED_BUSY_RATIO = 0.5
"""Of a loop that is less busy than this, it is not worth saying."""
LATE_MS = 100.0
"""Sends so late (p99) are not those that were intended. A fleet that is well is late by a few milliseconds."""
SHORTFALL_RATIO = 0.1
"""A fleet that sends so much less than it intends falls behind."""
LAGGING_RATIO = 0.1
"""Share of viewers that lack several broadcasts, or of deltas made for laggards, above which viewers are slow."""
BRAKED_RATIO = 0.8
"""A viewers' brake that takes so much of the fleet's time leaves it too little to send."""
BRAKED_RATIO_LATE = 0.3
"""The same of a fleet that is late already."""
REFUSED_RATIO = 0.15
"""Share of what arrives that the rate limit refuses, above which it shapes the run. Below, it stops a few."""
FPS_LEAST = 24.0
"""Fewer pictures a second are seen to stutter."""
STAY_RATIO = 0.85
"""What was named stays named down to so much of its threshold."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One moment. `held` is what is named at present: its thresholds are those to stay."""

    stages: tuple[StageReading, ...]
    reading: Reading
    core_count: float
    held: str = ""

    def exceeds(self, value: float | None, threshold: float, *names: str) -> bool:
        """Whether a figure that speaks for one of `names` is at its threshold, or stays there."""
        return value is not None and value >= threshold * (STAY_RATIO if self.held in names else 1.0)

    # --- The server ---

    @property
    def server_stages(self) -> tuple[StageReading, ...]:
        """All stages but the viewers, who are the fleet's."""
        return tuple(stage for stage in self.stages if stage.name != VIEWERS)

    @property
    def viewers(self) -> StageReading | None:
        """The viewers' stage."""
        return next((stage for stage in self.stages if stage.name == VIEWERS), None)

    @property
    def loop_ratio(self) -> float | None:
        """How busy the busiest loop is: by its stages, or by its processor time, which has what no stage counts.

        A brake's time passes while other stages work: a braked stage is as busy as it is alone.
        """
        busy, cores = self.reading.utilisation_ratio, self.reading.server_cpu_cores
        if busy is None:
            return None
        alone = [stage.utilisation_ratio or 0.0 for stage in self.server_stages if stage.brake]
        if alone:
            shared = sum(stage.utilisation_ratio or 0.0 for stage in self.server_stages if not stage.brake)
            busy = max(shared, *alone)
        return max(busy, (cores or 0.0) / max(1, len(self.reading.loop_connection_counts)))

    @property
    def tick_ratio(self) -> float:
        """Tick interval as it is / as configured; 1 when not known."""
        reading = self.reading
        configured = reading.tick_ms_configured
        return max(reading.tick_ms or 0, reading.tick_ms_mean or 0, configured) / configured if configured else 1.0

    @property
    def tick_work_ratio(self) -> float:
        """Encode's and fan-out's time in a tick / the configured interval: above 1 they do not fit."""
        shares = (stage.utilisation_ratio or 0 for stage in self.stages if stage.name in ("encode", "fan-out"))
        return sum(shares) * self.tick_ratio

    @property
    def headroom_ratio(self) -> float | None:
        """What the busiest loop and the tick leave free, whichever is less; None without a server."""
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
        """What the server receives / what the broker takes from the fleet; None without a broker, or when it idles."""
        reading = self.reading
        if not reading.is_behind_broker or not reading.sent_per_s or reading.received_per_s is None:
            return None
        return reading.received_per_s / reading.sent_per_s

    @property
    def is_held_up_by_broker(self) -> bool:
        """The fleet sends less than it intends, though it has time to: the broker takes no more."""
        reading, sent = self.reading, self.sent_ratio
        has_time = (
            (reading.fleet_cpu_cores or 0) < CORE_RATIO and not self.is_machine_full and not reading.stalled_count
        )
        falls_short = sent is not None and self.exceeds(1 - sent, SHORTFALL_RATIO, BROKER)
        return reading.is_behind_broker and has_time and falls_short

    @property
    def lagging_ratio(self) -> float:
        """The larger of: viewers that lag, of all; deltas made for laggards, of all."""
        reading = self.reading
        lagging = reading.lagging_count / reading.watching_count if reading.watching_count else 0.0
        deltas = reading.broadcast_deltas_per_s
        conflated = (reading.conflated_per_s or 0.0) / deltas if deltas else 0.0
        return min(1.0, max(lagging, conflated))

    @property
    def is_held_up_by_viewers(self) -> bool:
        """The fleet's time goes to what the viewers' brake adds to each delta."""
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
    def cores(self) -> float:
        """Cores that all processes of the session use."""
        reading = self.reading
        parts = (
            reading.server_cpu_cores,
            reading.fleet_cpu_cores,
            reading.panels_cpu_cores,
            reading.window_cpu_cores,
        )
        return sum(part or 0.0 for part in parts)

    @property
    def is_machine_full(self) -> bool:
        """All cores are in use."""
        return self.cores >= MACHINE_RATIO * self.core_count

    @property
    def is_server_starved(self) -> bool:
        """The loops' work takes much longer than the processor works on it: they wait for a core. Brakes wait too."""
        busy, cores = self.reading.utilisation_ratio, self.reading.server_cpu_cores
        if busy is None or cores is None or any(stage.brake for stage in self.server_stages):
            return False
        return busy - cores / max(1, len(self.reading.loop_connection_counts)) >= STARVED_RATIO

    @property
    def is_server_idle(self) -> bool:
        """Nothing that the server does takes long: a tick that comes late all the same came late to a core."""
        busiest = max((stage.utilisation_ratio or 0.0 for stage in self.server_stages), default=0.0)
        return busiest < IDLE_RATIO and (self.loop_ratio or 0.0) < STARVED_BUSY_RATIO

    @property
    def machine_phrase(self) -> tuple[str, ...]:
        """Said where processes wait for each other, or for other programs."""
        if self.is_machine_full:
            return (f"all {plural(self.core_count, 'core')} of this machine are in use",)
        if self.is_server_starved and (self.loop_ratio or 0) >= STARVED_BUSY_RATIO:
            cores = self.reading.server_cpu_cores or 0.0
            return (f"but the server gets only {cores:.2f} core: the machine is busy otherwise",)
        return ()
