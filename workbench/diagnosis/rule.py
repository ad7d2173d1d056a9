"""The diagnosis: what limits the run, in one sentence with its evidence. The first step that answers decides:

1. A STAGE, when the server is saturated: its busiest loop is at least 90 % busy, or a queue is full, or ticks begin
   25 % further apart than configured. Which stage: the one behind the full queue nearest to the end, because it blocks
   all before it; else a stage that its brake keeps busy; else, as the stages of a loop share one thread, the one that
   takes most of it; and if only the tick does not fit, encode or fan-out, whichever takes longer, unless another stage
   takes more than twice as much. But the MACHINE, when ticks are late and nothing else is wrong, and no stage takes a
   fifth of a loop: then the loops get no core in time.
2. The BROKER that devices publish through, when the server receives 10 % less than the broker takes from them, or when
   the broker takes 10 % less than they intend to send though the fleet has time to send more.
3. VIEWERS, when 10 % of them lack several broadcasts, or 10 % of the deltas are conflated, though the fleet's thread
   has time to read; or when that time goes to their brake.
4. The FLEET, when it sends at least 10 % less than it intends or 100 ms late (p99): a server that is not saturated
   takes everything. Or when a fault stalls a tenth of its devices.
5. The WINDOW, when it shows fewer than 24 pictures per second.
6. The RATE LIMIT, when it refuses 15 % of what arrives.
7. "none", with the headroom: what the busiest loop, and encode and fan-out in their tick, leave free.

Thresholds and their reasons are in `workbench.diagnosis.evidence`. Utilisation is measured, not guessed from rates;
waiting times are Little's law: depth / throughput. A name is shown for at least `HOLD_NS`.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from plots.number import count_text, duration, percent, plural, whole
from workbench.diagnosis.evidence import (
    BROKER,
    CORE_RATIO,
    FPS_LEAST,
    FULL_RATIO,
    LAGGING_RATIO,
    LATE_MS,
    QUEUE_LEAST,
    REFUSED_RATIO,
    SATURATED_RATIO,
    SHORTFALL_RATIO,
    STAY_RATIO,
    STRETCH_RATIO,
    Evidence,
)
from workbench.telemetry.view import Diagnosis, Reading, StageReading

NONE, FLEET, WINDOW, RATE_LIMIT, VIEWERS = "none", "fleet", "window", "rate limit", "viewers"
MACHINE = "machine"
# Another name must be found for this time before it is shown.
HOLD_NS = 600_000_000
# The figures of a sentence do not change within this time, or they could not be read.
REFRESH_NS = 400_000_000
_PHRASES_MAX = 4
# For a stage that takes less of its loop, the sentence mentions the loop too.
_MOST_RATIO = 0.85
# A stage that takes less of its loop is not what keeps the queue before it full.
_BLOCKED_RATIO = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one step of the rule: a line for "why?", and a name if it found the bottleneck."""

    line: str
    name: str = ""
    phrases: tuple[str, ...] = ()


def diagnose(stages: tuple[StageReading, ...], reading: Reading, core_count: float, held: str = "") -> Diagnosis:
    """Apply the rule once. `held`: the name that is shown now, or ""."""
    evidence = Evidence(stages, reading, core_count, held)
    if not reading.connection_count and not reading.received_per_s:
        return Diagnosis("")  # No device has connected yet.
    answers = [answer for step in _STEPS if (answer := step(evidence)).line]
    found = next((answer for answer in answers if answer.name), None) or _nothing(evidence)
    phrases = (*found.phrases[:_PHRASES_MAX], *evidence.machine_phrase)
    return Diagnosis(
        bottleneck=found.name,
        sentence="; ".join(phrases),
        runner_up=_runner_up(evidence, found.name),
        headroom_ratio=evidence.headroom_ratio,
        explanation=tuple(f"{number}. {answer.line}" for number, answer in enumerate(answers, 1)),
    )


class Diagnostician:
    """Applies the rule to each sample, and shows a name only if it lasts. Counts how long each was shown."""

    def __init__(self, core_count: float) -> None:
        self._core_count = core_count
        self._others: deque[tuple[int, Diagnosis]] = deque()
        self._refreshed_ns = 0
        self._stepped_ns = 0
        self._shown_ns: Counter[str] = Counter()
        self._last: dict[str, Diagnosis] = {}
        self.diagnosis = Diagnosis("")

    def step(
        self, now_ns: int, stages: tuple[StageReading, ...], reading: Reading, *, is_counted: bool = False
    ) -> Diagnosis:
        """Diagnose a new sample. `is_counted`: the run is in its steady state."""
        found = diagnose(stages, reading, self._core_count, self.diagnosis.bottleneck)
        if self._is_to_be_shown(found, now_ns):
            self.diagnosis, self._refreshed_ns = found, now_ns
        if is_counted:
            self._shown_ns[self.diagnosis.bottleneck] += now_ns - self._stepped_ns
            self._last[self.diagnosis.bottleneck] = self.diagnosis
        self._stepped_ns = now_ns
        return self.diagnosis

    @property
    def longest(self) -> Diagnosis | None:
        """The newest diagnosis with the name that was shown longest in the steady state; None before that."""
        return self._last[self._shown_ns.most_common(1)[0][0]] if self._shown_ns else None

    def _is_to_be_shown(self, found: Diagnosis, now_ns: int) -> bool:
        """Whether it is the same name with newer figures, or another name that has lasted."""
        if found.bottleneck == self.diagnosis.bottleneck:
            self._others.clear()
            return now_ns - self._refreshed_ns >= REFRESH_NS
        self._others.append((now_ns, found))
        if self.diagnosis.bottleneck == "":
            return True
        if now_ns - self._others[0][0] < HOLD_NS:
            return False
        names = Counter(other.bottleneck for _, other in self._others)
        if found.bottleneck != names.most_common(1)[0][0]:
            # The most frequent name is shown, with figures of a moment at which it was found: it soon will be.
            return False
        self._others.clear()
        return True


# --- The steps of the rule ---


def _stage(evidence: Evidence) -> Answer:
    stages = evidence.server_stages
    if evidence.loop_ratio is None or not stages:
        return Answer("This session has no server of its own.")
    names = (*(stage.name for stage in stages), MACHINE)
    full = [stage for stage in stages if _is_full(stage, evidence)]
    is_busy = evidence.exceeds(evidence.loop_ratio, SATURATED_RATIO, *names)
    is_stretched = evidence.exceeds(evidence.tick_ratio, STRETCH_RATIO, *names) and evidence.tick_ratio > 1.05
    line = _stage_line(evidence, full)
    if not (is_busy or full or is_stretched):
        return Answer(f"{line} The server is not saturated.")
    if not (is_busy or full) and evidence.is_server_idle:
        return Answer(f"{line} No stage is busy: the loops get no core in time.", MACHINE, _machine_phrases(evidence))
    culprit = _culprit(evidence, full, only_tick=is_stretched and not is_busy)
    return Answer(f"{line} Saturated: {culprit.name}.", culprit.name, _stage_phrases(culprit, evidence))


def _viewers(evidence: Evidence) -> Answer:
    reading, viewers = evidence.reading, evidence.viewers
    if viewers is None or not (reading.subscriber_count or reading.watching_count):
        return Answer("No viewers.")
    lagging = evidence.lagging_ratio
    line = (
        f"Viewers: {whole(reading.lagging_count)} of {whole(reading.watching_count)} lack several broadcasts, "
        f"{count_text(reading.conflated_per_s or 0)} deltas per second are made for laggards."
    )
    is_slow = evidence.exceeds(lagging, LAGGING_RATIO, VIEWERS)
    is_the_fleet = not viewers.brake and (reading.fleet_cpu_cores or 0) >= CORE_RATIO
    if evidence.is_held_up_by_viewers:
        return Answer(f"{line} Their brake takes the time.", VIEWERS, _viewer_phrases(viewers, reading))
    if not is_slow or is_the_fleet:
        return Answer(line + (" The fleet has no time to read for them." if is_slow else ""))
    return Answer(f"{line} Slow: viewers.", VIEWERS, _viewer_phrases(viewers, reading))


def _viewer_phrases(viewers: StageReading, reading: Reading) -> tuple[str, ...]:
    """The evidence against the viewers."""
    phrases = []
    if viewers.brake:
        busy = percent(viewers.utilisation_ratio or 0)
        phrases.append(f"{busy} of their time goes to a brake of {viewers.brake.removeprefix('+ ')}")
    taken, sent = viewers.throughput_per_s or 0, reading.broadcast_deltas_per_s or 0
    if taken < (1 - SHORTFALL_RATIO) * sent:
        phrases.append(f"they take {count_text(taken)} of {count_text(sent)} deltas per second")
    if reading.lagging_count:
        total = whole(reading.watching_count)
        phrases.append(f"{plural(reading.lagging_count, 'viewer')} of {total} lack several broadcasts")
    if (reading.conflated_per_s or 0) >= 1:
        phrases.append(f"{count_text(reading.conflated_per_s or 0)} deltas per second are conflated for them")
    return tuple(phrases)


def _broker(evidence: Evidence) -> Answer:
    """What the broker takes and does not hand on; no line without a broker."""
    reading, handed_on, sent = evidence.reading, evidence.handed_on_ratio, evidence.sent_ratio
    if handed_on is None:
        return Answer("")
    line = f"Broker: hands on {percent(min(1.0, handed_on))} of what it takes."
    keeps = evidence.exceeds(1 - handed_on, SHORTFALL_RATIO, BROKER)
    if not keeps and not evidence.is_held_up_by_broker:
        return Answer(line)
    phrases = []
    if keeps:
        rates = (
            f"{count_text(reading.received_per_s or 0)} of {count_text(reading.sent_per_s or 0)} placements per second"
        )
        phrases.append(f"hands on {rates}; the rest waits in it, or is lost")
    if evidence.is_held_up_by_broker:
        phrases.append(f"takes {percent(sent or 0)} of what devices intend")
    phrases += _late_phrase(evidence)
    if (spare := evidence.headroom_ratio) is not None:
        phrases.append(f"the server has {percent(spare)} headroom")
    return Answer(f"{line} It cannot carry what devices publish.", BROKER, tuple(phrases))


def _fleet(evidence: Evidence) -> Answer:
    reading, sent = evidence.reading, evidence.sent_ratio
    stalled = reading.stalled_count
    if stalled and stalled >= 0.1 * max(1, reading.connection_count or 0):
        line = f"Fleet: a fault stalls {plural(stalled, 'device')}."
        return Answer(line, FLEET, (f"a fault stalls {plural(stalled, 'device')}", *_late_phrase(evidence)))
    if sent is None:
        return Answer("The fleet offers nothing.")
    line = (
        f"Fleet: sends {percent(min(1.0, sent))} of what it intends, {duration(reading.lateness_ms_p99 or 0)} late "
        f"(p99), with {reading.fleet_cpu_cores or 0:.2f} core."
    )
    falls_short = evidence.exceeds(1 - sent, SHORTFALL_RATIO, FLEET)
    is_late = evidence.exceeds(reading.lateness_ms_p99, LATE_MS, FLEET)
    is_short_of_time = (reading.fleet_cpu_cores or 0) >= CORE_RATIO or evidence.is_machine_full
    if not is_late or not (falls_short or is_short_of_time):
        return Answer(line)
    phrases = [f"sends {percent(sent)} of what it intends"] if falls_short else []
    phrases += [*_late_phrase(evidence), f"its thread takes {reading.fleet_cpu_cores or 0:.2f} core"]
    if (spare := evidence.headroom_ratio) is not None:
        phrases.append(f"the server has {percent(spare)} headroom")
    return Answer(f"{line} It cannot offer what it intends.", FLEET, tuple(phrases))


def _window(evidence: Evidence) -> Answer:
    # Not the pictures shown, which are few where little changes.
    redraws_per_s, cores = evidence.reading.redraws_per_s, evidence.reading.window_cpu_cores
    if redraws_per_s is None:
        return Answer("No window is open.")
    line = f"Window: {redraws_per_s:.0f} redraws per second, {cores or 0:.2f} core."
    if redraws_per_s >= (FPS_LEAST / STAY_RATIO if evidence.held == WINDOW else FPS_LEAST):
        return Answer(line)
    phrases = (f"redraws {redraws_per_s:.0f} times per second", f"its process takes {cores or 0:.2f} core")
    return Answer(f"{line} It stutters.", WINDOW, phrases)


def _rate_limit(evidence: Evidence) -> Answer:
    reading, refused = evidence.reading, evidence.refused_ratio
    if refused is None:
        return Answer("Nothing arrives that the rate limit could refuse.")
    line = f"Rate limit: refuses {percent(refused)} of what arrives."
    if not evidence.exceeds(refused, REFUSED_RATIO, RATE_LIMIT):
        return Answer(line)
    limit = f"{whole(reading.rate_limit_per_s)} per second" if reading.rate_limit_per_s else "limit"
    phrases = [f"refuses {percent(refused)} of what arrives, {count_text(reading.throttled_per_s or 0)} per second"]
    over = reading.over_limit_count
    phrases.append(f"{plural(over, 'device')} above their {limit}" if over else f"the limit is {limit} a device")
    if evidence.headroom_ratio is not None:
        phrases.append(f"the server has {percent(evidence.headroom_ratio)} headroom")
    return Answer(f"{line} It works as intended.", RATE_LIMIT, tuple(phrases))


_STEPS: tuple[Callable[[Evidence], Answer], ...] = (_stage, _broker, _viewers, _fleet, _window, _rate_limit)


def _nothing(evidence: Evidence) -> Answer:
    headroom, loop = evidence.headroom_ratio, evidence.loop_ratio
    if headroom is None or loop is None:
        return Answer("", NONE, ("the fleet offers what it intends, on time",))
    phrases = [f"{percent(headroom)} headroom", f"the busiest loop is {percent(loop)} busy"]
    braked = max((s for s in evidence.server_stages if s.brake), key=lambda s: s.utilisation_ratio or 0, default=None)
    if braked is not None and braked.utilisation_ratio == loop:
        phrases[1] = f"{braked.name} is {percent(loop)} busy with its brake of {braked.brake.removeprefix('+ ')}"
    elif evidence.tick_work_ratio > loop:
        phrases[1] = f"encode and fan-out fill {percent(evidence.tick_work_ratio)} of the tick"
    return Answer("", NONE, tuple(phrases))


# --- About one stage ---


def _is_full(stage: StageReading, evidence: Evidence) -> bool:
    """Whether its queue is full most of the time."""
    # A tick fills the queues of encode and fan-out at once, and empties them: their depth says nothing.
    if stage.name in ("encode", "fan-out") or stage.depth_max < QUEUE_LEAST:
        return False
    is_kept_full = (stage.utilisation_ratio or 0) >= _BLOCKED_RATIO
    return is_kept_full and evidence.exceeds(stage.depth / stage.depth_max, FULL_RATIO, stage.name)


def _culprit(evidence: Evidence, full: list[StageReading], *, only_tick: bool) -> StageReading:
    """The stage that limits, by the order of the rule."""
    if full:
        return full[-1]
    stages = evidence.server_stages
    if only_tick:
        most = max(stage.utilisation_ratio or 0 for stage in stages)
        per_tick = tuple(stage for stage in stages if stage.name in ("encode", "fan-out"))
        stages = tuple(stage for stage in per_tick if (stage.utilisation_ratio or 0) >= most / 2) or stages
    held_up = [s for s in stages if s.brake and evidence.exceeds(s.utilisation_ratio, SATURATED_RATIO, s.name)]
    return max(held_up or stages, key=lambda stage: stage.utilisation_ratio or 0)


def _stage_line(evidence: Evidence, full: list[StageReading]) -> str:
    """The figures of the first step of the rule."""
    ordered = sorted(evidence.server_stages, key=lambda stage: stage.utilisation_ratio or 0, reverse=True)
    shares = ", ".join(f"{stage.name} {percent(stage.utilisation_ratio or 0)}" for stage in ordered[:3])
    queues = ", ".join(stage.name for stage in full) or "none"
    reading = evidence.reading
    tick = ""
    if reading.tick_ms_configured:
        interval = duration(evidence.tick_ratio * reading.tick_ms_configured)
        tick = f" Ticks: {interval} apart, {duration(reading.tick_ms_configured)} configured."
    return f"Busiest loop: {percent(evidence.loop_ratio or 0)} busy ({shares}). Full queues: {queues}.{tick}"


def _stage_phrases(stage: StageReading, evidence: Evidence) -> tuple[str, ...]:
    """The evidence against a stage, the strongest first."""
    busy = f"{percent(min(1.0, stage.utilisation_ratio or 0))} busy"
    busy += f" with its brake of {stage.brake.removeprefix('+ ')}" if stage.brake else ""
    phrases = [busy]
    if not stage.brake and (stage.utilisation_ratio or 0) < _MOST_RATIO * (evidence.loop_ratio or 0):
        phrases.append(f"the loop that it shares {percent(min(1.0, evidence.loop_ratio or 0))}")
    phrases += _queue_phrase(stage) or _other_queue_phrase(stage, evidence)
    if evidence.tick_ratio >= STRETCH_RATIO and stage.name in ("encode", "fan-out"):
        phrases.append(_tick_phrase(evidence))
    latency = evidence.reading.latency_ms_p50
    if stage.waiting_ms is not None and latency and stage.waiting_ms >= 0.1 * latency:
        phrases.append(f"{percent(min(1.0, stage.waiting_ms / latency))} of view latency is waiting here")
    sent = evidence.sent_ratio
    if sent is not None and sent < 1 - SHORTFALL_RATIO:
        phrases.append(f"devices send {percent(sent)} of what they intend")
    return tuple(phrases)


def _tick_phrase(evidence: Evidence) -> str:
    configured = evidence.reading.tick_ms_configured or 0
    return f"ticks come every {duration(evidence.tick_ratio * configured)} instead of {duration(configured)}"


def _machine_phrases(evidence: Evidence) -> tuple[str, ...]:
    """The evidence against the machine: ticks are late, and no stage is busy."""
    most = max(stage.utilisation_ratio or 0 for stage in evidence.server_stages)
    return _tick_phrase(evidence), f"no stage is more than {percent(most)} busy", "the server gets no core in time"


def _queue_phrase(stage: StageReading) -> list[str]:
    """How much work the queue holds, whether it is full and whether it grows; nothing for a short queue."""
    is_per_tick = stage.name in ("encode", "fan-out")
    if stage.waiting_ms is None or stage.waiting_ms < 20 or is_per_tick:
        return []
    held = f"its queue holds {duration(stage.waiting_ms)} of work"
    if stage.depth_max >= QUEUE_LEAST and stage.depth >= FULL_RATIO * stage.depth_max:
        return [f"{held} and is full ({whole(stage.depth)} {stage.item_name})"]
    grows = stage.growth_per_s / stage.throughput_per_s if stage.throughput_per_s else 0.0
    return [f"{held} and grows {duration(1000 * grows)} each second" if grows >= 0.05 else held]


def _other_queue_phrase(stage: StageReading, evidence: Evidence) -> list[str]:
    """Another stage's queue that holds most work: the loop has no time for that stage."""
    others = [other for other in evidence.server_stages if other is not stage and _queue_phrase(other)]
    if not others:
        return []
    most = max(others, key=lambda other: other.waiting_ms or 0)
    shed = dict(most.drops_per_s).get("overload", 0)
    overflow = f" and overflows: {count_text(shed)} per second are shed" if shed >= 1 else ""
    return [f"the queue before {most.name} holds {duration(most.waiting_ms or 0)} of work{overflow}"]


def _late_phrase(evidence: Evidence) -> list[str]:
    late = evidence.reading.lateness_ms_p99
    return [f"{duration(late)} late (p99)"] if late is not None and late >= LATE_MS else []


def _runner_up(evidence: Evidence, named: str) -> str:
    """The stage that is busiest after the named one."""
    others = [stage for stage in evidence.server_stages if stage.name != named and stage.utilisation_ratio]
    if not others:
        return ""
    most = max(others, key=lambda stage: stage.utilisation_ratio or 0)
    return f"{most.name}, {percent(most.utilisation_ratio or 0)} busy"
