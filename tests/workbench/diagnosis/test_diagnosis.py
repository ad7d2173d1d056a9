"""The diagnosis: the cases of its rule, and every braked stage of a modelled server."""

import dataclasses

import pytest

from devices.config import FleetConfig
from server.config import Brake, Brakes, ServerConfig
from support.pipeline_model import PipelineModel
from workbench.diagnosis.rule import HOLD_NS, Diagnostician, diagnose
from workbench.scenarios.scenario import Scenario
from workbench.telemetry.pages import SessionPages
from workbench.telemetry.sampler import Sampler
from workbench.telemetry.view import Reading, StageReading

MS = 1_000_000
NAMES = ("accept", "read", "decode", "admit", "apply", "encode", "fan-out", "viewers")
WELL = Reading(
    offered_per_s=10_000,
    sent_per_s=10_000,
    received_per_s=10_000,
    admitted_per_s=10_000,
    throttled_per_s=0,
    broadcast_deltas_per_s=1000,
    conflated_per_s=0,
    latency_ms_p50=100,
    lateness_ms_p99=3,
    tick_ms=100,
    tick_ms_configured=100,
    tick_ms_mean=100,
    rate_limit_per_s=60,
    connection_count=1000,
    loop_connection_counts=(1000,),
    subscriber_count=100,
    watching_count=100,
    server_cpu_cores=0.5,
    fleet_cpu_cores=0.4,
    utilisation_ratio=0.35,
)


def reading(**changes: object) -> Reading:
    """A healthy run but for these figures. By default a busy loop takes as much processor time."""
    if "utilisation_ratio" in changes:
        changes = {"server_cpu_cores": changes["utilisation_ratio"]} | changes
    return dataclasses.replace(WELL, **changes)  # type: ignore[arg-type]


def stages(**changes: dict[str, object]) -> tuple[StageReading, ...]:
    """All stages at 5 %, but for these fields of named stages; `fan_out` is fan-out."""
    plain = [StageReading(name, "items", 10_000, 0.05, 5.0, 1.0, depth_max=1000) for name in NAMES]
    by_name = {name.replace("_", "-"): fields for name, fields in changes.items()}
    return tuple(dataclasses.replace(stage, **by_name.get(stage.name, {})) for stage in plain)  # type: ignore[arg-type]


class TestStage:
    def test_the_stage_that_takes_most_of_a_full_loop(self) -> None:
        found = diagnose(stages(read={"utilisation_ratio": 0.6}), reading(utilisation_ratio=0.95), 4)
        assert found.bottleneck == "read"
        assert found.sentence == "60 % busy; the loop that it shares 95 %"
        assert found.runner_up.endswith("5 % busy")
        assert found.headroom_ratio == pytest.approx(0.05)

    def test_a_loop_that_is_full_by_its_processor_time_alone(self) -> None:
        found = diagnose(stages(apply={"utilisation_ratio": 0.4}), reading(server_cpu_cores=0.97), 4)
        assert found.bottleneck == "apply", "processor time that no stage counts is time that the loop lacks"

    def test_the_full_queue_nearest_to_the_end(self) -> None:
        found = diagnose(
            stages(
                decode={"utilisation_ratio": 0.3, "depth": 990},
                admit={"utilisation_ratio": 0.25, "depth": 1000, "waiting_ms": 3100},
                read={"utilisation_ratio": 0.4},
            ),
            reading(utilisation_ratio=0.95),
            4,
        )
        assert found.bottleneck == "admit", "what comes before it is merely blocked by it"
        assert "its queue holds 3.1 s of work and is full (1,000 items)" in found.sentence

    def test_a_full_queue_before_an_idle_stage_is_not_the_cause(self) -> None:
        found = diagnose(
            stages(admit={"utilisation_ratio": 0.02, "depth": 1000}, read={"utilisation_ratio": 0.9}),
            reading(utilisation_ratio=0.95),
            4,
        )
        assert found.bottleneck == "read"

    def test_an_overflowing_queue_is_mentioned(self) -> None:
        found = diagnose(
            stages(
                decode={"utilisation_ratio": 0.5},
                apply={"depth": 500, "waiting_ms": 1100, "drops_per_s": (("overload", 21_700.0),)},
            ),
            reading(utilisation_ratio=0.95),
            4,
        )
        assert found.bottleneck == "decode"
        assert found.sentence.endswith(
            "the queue before apply holds 1.1 s of work and overflows: 21.7 k per second are shed"
        )

    def test_a_tick_that_does_not_fit(self) -> None:
        found = diagnose(
            stages(fan_out={"utilisation_ratio": 0.7}), reading(utilisation_ratio=0.8, tick_ms_mean=260), 4
        )
        assert found.bottleneck == "fan-out"
        assert "ticks come every 260 ms instead of 100 ms" in found.sentence
        assert found.headroom_ratio == 0

    def test_a_tick_that_another_stage_delays(self) -> None:
        late = stages(accept={"utilisation_ratio": 0.4}, fan_out={"utilisation_ratio": 0.1})
        assert diagnose(late, reading(tick_ms_mean=200), 4).bottleneck == "accept"

    def test_late_ticks_of_an_idle_server_are_blamed_on_the_machine(self) -> None:
        starved = reading(tick_ms_mean=200, utilisation_ratio=0.05)
        found = diagnose(stages(apply={"utilisation_ratio": 0.06}), starved, 4)
        assert found.bottleneck == "machine"
        assert found.sentence == (
            "ticks come every 200 ms instead of 100 ms; no stage is more than 6 % busy; the server gets no core in time"
        )
        assert "No stage is busy" in found.explanation[0]
        held = dataclasses.replace(starved, tick_ms_mean=115)
        assert diagnose(stages(), held, 4, held="machine").bottleneck == "machine", "it hovers about its threshold"
        assert diagnose(stages(), held, 4).bottleneck == "none"
        uncounted = reading(tick_ms_mean=200, server_cpu_cores=0.6)
        assert diagnose(stages(), uncounted, 4).bottleneck != "machine", "the server does something, no stage counts it"

    def test_a_brake_comes_first(self) -> None:
        many = stages(read={"utilisation_ratio": 0.97}, apply={"utilisation_ratio": 0.93, "brake": "+ 20 us an item"})
        found = diagnose(many, reading(utilisation_ratio=1.0), 4)
        assert found.bottleneck == "apply"
        assert found.sentence == "93 % busy with its brake of 20 us an item"

    def test_a_brake_that_leaves_room_is_not_blamed(self) -> None:
        many = stages(read={"utilisation_ratio": 0.5}, apply={"utilisation_ratio": 0.45, "brake": "+ 20 us an item"})
        found = diagnose(many, reading(utilisation_ratio=1.0, server_cpu_cores=0.5), 4)
        assert found.bottleneck == "none", "its added time passes while others work, and both have room"

    def test_waiting_is_compared_with_view_latency(self) -> None:
        found = diagnose(
            stages(apply={"utilisation_ratio": 0.9, "waiting_ms": 710, "growth_per_s": 2000}),
            reading(utilisation_ratio=0.96, latency_ms_p50=1000),
            4,
        )
        assert found.sentence == (
            "90 % busy; its queue holds 710 ms of work and grows 200 ms each second; "
            "71 % of view latency is waiting here"
        )

    def test_a_loop_that_waits_for_a_core_is_mentioned(self) -> None:
        starved = reading(utilisation_ratio=0.95, server_cpu_cores=0.3)
        found = diagnose(stages(read={"utilisation_ratio": 0.9}), starved, 4)
        assert found.sentence == "90 % busy; but the server gets only 0.30 core: the machine is busy otherwise"
        braked = stages(read={"utilisation_ratio": 0.9, "brake": "+ 5 us an item"})
        assert "gets only" not in diagnose(braked, starved, 4).sentence, "a brake waits without a core"

    def test_a_machine_without_free_cores_is_mentioned(self) -> None:
        found = diagnose(
            stages(read={"utilisation_ratio": 0.9}), reading(utilisation_ratio=0.95, fleet_cpu_cores=1.45), 2
        )
        assert found.sentence.endswith("all 2 cores of this machine are in use")


class TestOthers:
    def test_slow_viewers(self) -> None:
        slow = reading(lagging_count=20, conflated_per_s=150)
        found = diagnose(stages(viewers={"throughput_per_s": 1000}), slow, 4)
        assert (found.bottleneck, found.sentence) == (
            "viewers",
            "20 viewers of 100 lack several broadcasts; 150 deltas per second are conflated for them",
        )

    def test_viewers_that_a_busy_fleet_cannot_read_for_are_not_blamed(self) -> None:
        late = reading(lagging_count=50, fleet_cpu_cores=0.97, sent_per_s=7000, lateness_ms_p99=800)
        found = diagnose(stages(), late, 4)
        assert found.bottleneck == "fleet"
        assert found.sentence.startswith("sends 70 % of what it intends; 800 ms late (p99)")

    def test_braked_viewers_that_take_the_fleets_time(self) -> None:
        braked = {"brake": "+ 500 us a delta", "throughput_per_s": 1800, "utilisation_ratio": 0.9}
        busy = reading(broadcast_deltas_per_s=3000, sent_per_s=6000, lateness_ms_p99=900)
        found = diagnose(stages(viewers=braked), busy, 4)
        assert (found.bottleneck, found.sentence) == (
            "viewers",
            "90 % of their time goes to a brake of 500 us a delta; they take 1.80 k of 3.00 k deltas per second",
        )

    def test_a_viewers_brake_that_leaves_time_is_not_blamed(self) -> None:
        braked = {"brake": "+ 200 us a delta", "utilisation_ratio": 0.6}
        assert diagnose(stages(viewers=braked), WELL, 4).bottleneck == "none"

    def test_a_fleet_that_only_batches_placements_is_not_blamed(self) -> None:
        assert diagnose(stages(), reading(sent_per_s=8000), 4).bottleneck == "none"

    def test_a_broker_that_does_not_hand_on_what_it_takes(self) -> None:
        found = diagnose(stages(), reading(is_behind_broker=True, received_per_s=4000, conflated_per_s=500), 4)
        assert found.bottleneck == "broker"
        assert found.sentence.startswith(
            "hands on 4.00 k of 10.0 k placements per second; the rest waits in it, or is lost"
        )
        assert found.explanation[1].startswith("2. Broker: hands on 40 % of what it takes.")

    def test_a_broker_that_takes_less_than_devices_intend(self) -> None:
        held_up = reading(is_behind_broker=True, sent_per_s=6000, received_per_s=6000, lateness_ms_p99=900)
        assert diagnose(stages(), held_up, 4).sentence.startswith(
            "takes 60 % of what devices intend; 900 ms late (p99)"
        )
        busy = dataclasses.replace(held_up, fleet_cpu_cores=0.97)
        assert diagnose(stages(), busy, 4).bottleneck == "fleet", "it has no time to send more"

    def test_a_broker_that_hands_on_all_is_not_blamed_and_none_has_no_line(self) -> None:
        carried = diagnose(stages(), reading(is_behind_broker=True), 4)
        assert carried.bottleneck == "none" and "hands on 100 %" in carried.explanation[1]
        assert not any("roker" in line for line in diagnose(stages(), WELL, 4).explanation)

    def test_stalled_devices_are_blamed_on_the_fleet(self) -> None:
        found = diagnose(stages(), reading(stalled_count=300, lateness_ms_p99=2000), 4)
        assert (found.bottleneck, found.sentence) == (
            "fleet",
            "a fault stalls 300 devices; 2.0 s late (p99)",
        )

    def test_window(self) -> None:
        found = diagnose(stages(), reading(redraws_per_s=11, window_cpu_cores=0.98), 4)
        assert (found.bottleneck, found.sentence) == (
            "window",
            "redraws 11 times per second; its process takes 0.98 core",
        )

    def test_rate_limit(self) -> None:
        found = diagnose(stages(), reading(throttled_per_s=3100, over_limit_count=40), 4)
        assert found.bottleneck == "rate limit"
        assert found.sentence == (
            "refuses 31 % of what arrives, 3.10 k per second; 40 devices above their 60 per second; "
            "the server has 50 % headroom"
        )

    def test_none(self) -> None:
        found = diagnose(stages(), reading(utilisation_ratio=0.59, server_cpu_cores=0.4), 4)
        assert (found.bottleneck, found.sentence) == ("none", "41 % headroom; the busiest loop is 59 % busy")
        assert found.headroom_ratio == pytest.approx(0.41)
        assert [line[:2] for line in found.explanation] == ["1.", "2.", "3.", "4.", "5."]

    def test_the_tick_bounds_the_headroom(self) -> None:
        many = stages(encode={"utilisation_ratio": 0.1}, fan_out={"utilisation_ratio": 0.6})
        found = diagnose(many, reading(utilisation_ratio=0.65, tick_ms_mean=110), 4)
        assert found.sentence == "23 % headroom; encode and fan-out fill 77 % of the tick"

    def test_before_the_first_connection_there_is_no_diagnosis(self) -> None:
        assert diagnose((), Reading(), 4).bottleneck == ""

    def test_without_a_server_of_its_own_only_fleet_and_window_are_diagnosed(self) -> None:
        far = Reading(offered_per_s=1000, sent_per_s=1000, lateness_ms_p99=2, connection_count=5)
        found = diagnose((), far, 4)
        assert (found.bottleneck, found.headroom_ratio) == ("none", None)
        late = dataclasses.replace(far, sent_per_s=500, lateness_ms_p99=900, fleet_cpu_cores=1.0)
        assert diagnose((), late, 4).bottleneck == "fleet"


class TestDiagnostician:
    FULL = (stages(apply={"utilisation_ratio": 0.9}), reading(utilisation_ratio=0.96))
    FREE = (stages(), WELL)

    def shown(self, *moments: tuple[tuple[StageReading, ...], Reading]) -> list[str]:
        diagnostician = Diagnostician(4)
        return [diagnostician.step(i * 100 * MS, *moment).bottleneck for i, moment in enumerate(moments)]

    def test_the_first_is_shown_at_once(self) -> None:
        assert self.shown(self.FULL) == ["apply"]

    def test_another_name_is_shown_when_it_lasts(self) -> None:
        names = self.shown(*[self.FREE] * 3, *[self.FULL] * 8)
        assert names == ["none"] * (3 + HOLD_NS // (100 * MS)) + ["apply"] * 2

    def test_a_brief_name_is_not_shown(self) -> None:
        assert set(self.shown(*[self.FREE] * 3, *[self.FULL] * 5, self.FREE, *[self.FULL] * 5)) == {"none"}

    def test_a_figure_near_a_threshold_does_not_flicker(self) -> None:
        low = (self.FULL[0], reading(utilisation_ratio=0.84))
        assert set(self.shown(self.FULL, *[low] * 20)) == {"apply"}

    def test_of_two_that_alternate_one_is_shown(self) -> None:
        other = (stages(read={"utilisation_ratio": 0.9}), reading(utilisation_ratio=0.96))
        names = self.shown(self.FREE, *[self.FULL, other, self.FULL] * 5)
        assert names[-1] == "apply" and "read" not in names

    def test_figures_of_a_sentence_do_not_change_too_often(self) -> None:
        diagnostician = Diagnostician(4)
        sentences = [
            diagnostician.step(i * 100 * MS, stages(), reading(utilisation_ratio=0.5 + i / 100)).sentence
            for i in range(8)
        ]
        assert len(set(sentences)) == 2

    def test_the_longest_of_the_steady_state_is_reported(self) -> None:
        diagnostician = Diagnostician(4)
        assert diagnostician.longest is None
        for i in range(40):
            moment = self.FULL if i < 12 else self.FREE
            diagnostician.step(i * 100 * MS, *moment, is_counted=i >= 5)
        assert diagnostician.longest is not None and diagnostician.longest.bottleneck == "none"


BRAKED = {
    "accept": ({"handshakes_per_s": 3000}, Brake(item_us=500)),
    "read": ({}, Brake(item_us=400)),
    "decode": ({}, Brake(item_us=100)),
    "admit": ({}, Brake(item_us=100)),
    "apply": ({}, Brake(item_us=100)),
    "encode": ({}, Brake(batch_ms=300)),
    "fan_out": ({}, Brake(item_us=400)),
}


class Modelled:
    """A modelled server whose samples are diagnosed as a session's are."""

    def __init__(self, **load: float) -> None:
        self.scenario = Scenario(server=ServerConfig(width=64, height=64), fleet=FleetConfig(connections=500))
        self.pages = SessionPages.create(self.scenario.server)
        self.model = PipelineModel(self.pages, **load)
        self.sampler = Sampler(self.pages, self.scenario)
        self.diagnostician = Diagnostician(4)

    def brake(self, brakes: Brakes, viewer_brake_us: float = 0.0) -> None:
        self.model.brakes, self.model.viewer_brake_us = brakes, viewer_brake_us
        self.sampler.scenario = Scenario(
            server=ServerConfig(width=64, height=64, brakes=brakes),
            fleet=FleetConfig(connections=500, viewer_brake_us=viewer_brake_us),
        )

    def seconds_until(self, *names: str) -> float:
        """Run until one of these is shown; the virtual time that it took."""
        begun_ns = self.model.now_ns
        while self.diagnostician.diagnosis.bottleneck not in names:
            assert self.model.now_ns < begun_ns + 20 * 10**9, self.diagnostician.diagnosis
            self.run(0.1)
        return (self.model.now_ns - begun_ns) / 1e9

    def run(self, seconds: float) -> None:
        self.model.run(seconds, self.sample)

    def sample(self, now_ns: int) -> None:
        self.sampler.take(now_ns)
        self.diagnostician.step(now_ns, self.sampler.stages, self.sampler.reading)


class TestModel:
    @pytest.mark.parametrize("stage", BRAKED)
    def test_a_braked_stage_is_named_and_clears(self, stage: str) -> None:
        load, brake = BRAKED[stage]
        modelled = Modelled(**load)
        modelled.run(3)
        assert modelled.diagnostician.diagnosis.bottleneck == "none"
        modelled.brake(Brakes(**{stage: brake}))
        assert modelled.seconds_until(stage.replace("_", "-")) < 2.6
        modelled.run(3)
        assert modelled.diagnostician.diagnosis.bottleneck == stage.replace("_", "-"), "it stays named"
        modelled.brake(Brakes())
        assert modelled.seconds_until("none") < 4

    def test_braked_viewers_are_named_and_clear(self) -> None:
        modelled = Modelled()
        modelled.run(3)
        modelled.brake(Brakes(), viewer_brake_us=500)
        assert modelled.seconds_until("viewers") < 2.6
        modelled.brake(Brakes())
        assert modelled.seconds_until("none") < 4

    def test_an_overload_without_a_brake_is_blamed_on_the_busiest_stage(self) -> None:
        modelled = Modelled(messages_per_s=1_500_000)
        modelled.run(3)
        assert modelled.diagnostician.diagnosis.bottleneck == "read"
