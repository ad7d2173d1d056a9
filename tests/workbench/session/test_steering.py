"""Steering and schedule: changes are sent once, only to parts that have started, and faults come on time."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.config import AdjustFleet, Brush, Cut, Stall
from server import config
from server.ipc.control import Adjust, CloseClients, Follow, PauseBroker
from workbench.controls.knob import KNOBS
from workbench.scenarios.fault import Fault
from workbench.scenarios.load_curve import LoadCurve, factor_at
from workbench.scenarios.scenario import Scenario, load_scenario
from workbench.session.steering import FACTOR_INTERVAL_S, ORDER_INTERVAL_NS, Schedule, Steering
from workbench.telemetry.view import TileBox


def scenario_with(*faults: Fault, curve: LoadCurve = ()) -> Scenario:
    return msgspec.structs.replace(load_scenario("first_light"), faults=faults, load_curve=curve)


class TestSchedule:
    def test_each_fault_comes_once_and_on_time(self) -> None:
        schedule = Schedule(scenario_with(Fault(kind="cut links", at_s=2), Fault(kind="stall devices", at_s=1)))
        sent = [[fault.kind for fault in schedule.due(seconds)] for seconds in (0, 0.99, 1, 1.5, 2.5, 99)]
        assert sent == [[], [], ["stall devices"], [], ["cut links"], []]

    def test_a_fault_repeats_and_missed_repetitions_are_skipped(self) -> None:
        schedule = Schedule(scenario_with(Fault(kind="cut links", at_s=1, every_s=2)))
        sent = [seconds for seconds in (0, 1, 2, 3, 4, 8, 8.5, 9, 10) if schedule.due(seconds)]
        assert sent == [1, 3, 8, 9]

    @given(st.floats(0, 20), st.just(0.0) | st.floats(0.25, 5), st.lists(st.floats(0, 60), max_size=40))
    @settings(deadline=None)
    def test_no_repetition_is_returned_twice(self, at_s: float, every_s: float, moments: Sequence[float]) -> None:
        schedule = Schedule(scenario_with(Fault(kind="cut links", at_s=at_s, every_s=every_s)))
        sent = [seconds for seconds in sorted(moments) if schedule.due(seconds)]
        turns = {int((seconds - at_s) / every_s) if every_s else 0 for seconds in sent}
        assert len(turns) == len(sent) and all(seconds >= at_s for seconds in sent)

    def test_the_factor_follows_the_curve_in_few_steps(self) -> None:
        curve = ((0.0, 1.0), (10.0, 3.0))
        schedule, sent = Schedule(scenario_with(curve=curve)), []
        for moment in range(1000):
            schedule.due(moment / 100)
            if not sent or sent[-1] != schedule.load_factor:
                sent.append(schedule.load_factor)
            assert abs(schedule.load_factor - factor_at(curve, moment / 100)) <= 0.2 * (FACTOR_INTERVAL_S + 0.01)
        assert len(sent) <= 10 / FACTOR_INTERVAL_S + 1

    def test_a_changed_curve_is_followed(self) -> None:
        schedule = Schedule(scenario_with())
        schedule.due(5)
        schedule.set_curve(scenario_with(curve=((0.0, 0.5),)))
        schedule.due(6)
        assert schedule.load_factor == 0.5


class Bench:
    """A Steering, and the orders it sent."""

    def __init__(self, scenario: Scenario | None = None) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.marks: list[tuple[str, str]] = []
        self.scenario = scenario or load_scenario("first_light")
        self.steering = Steering(
            self.scenario,
            lambda name, order: self.sent.append((name, order)),
            lambda kind, text: self.marks.append((kind, text)),
        )
        self.now_ns = 0

    def begin(self) -> "Bench":
        self.steering.server_began(self.scenario.server)
        self.steering.fleet_began(self.scenario.fleet)
        return self

    def poll(self, run_seconds: float | None = None) -> list[tuple[str, Any]]:
        self.now_ns += ORDER_INTERVAL_NS
        self.steering.poll(self.now_ns, run_seconds)
        sent, self.sent = self.sent, []
        return sent

    def turn(self, **changes: dict[str, Any]) -> Scenario:
        parts = {name: msgspec.structs.replace(getattr(self.scenario, name), **new) for name, new in changes.items()}
        self.scenario = msgspec.structs.replace(self.scenario, **parts)
        self.steering.set_scenario(self.scenario)
        return self.scenario


class TestSteering:
    def test_no_order_is_sent_before_a_part_starts(self) -> None:
        bench = Bench()
        bench.turn(server={"burst": 7}, fleet={"rate_per_s": 3.0})
        bench.steering.apply_fault(Fault(kind="cut links"))
        bench.steering.follow(4)
        bench.steering.brush(TileBox(0, 0, 1, 1))
        assert bench.poll() == []

    def test_a_part_that_starts_late_gets_the_current_settings(self) -> None:
        bench = Bench()
        started = bench.scenario
        bench.turn(server={"burst": 7}, fleet={"rate_per_s": 3.0})
        bench.steering.follow(4)
        bench.steering.brush(TileBox(1, 2, 3, 4))
        bench.steering.server_began(started.server)
        bench.steering.fleet_began(started.fleet)
        assert bench.sent == [("server", Follow(4)), ("fleet", Brush(1, 2, 3, 4)), ("fleet", Follow(4))]
        assert bench.poll()[3:] == [
            ("server", Adjust(bench.scenario.server)),
            ("fleet", AdjustFleet(bench.scenario.fleet)),
        ]

    def test_a_change_is_sent_once_to_the_part_it_concerns(self) -> None:
        bench = Bench().begin()
        assert bench.poll() == []
        bench.turn(fleet={"greedy_ratio": 0.5})
        assert [name for name, _ in bench.poll()] == ["fleet"]
        bench.turn(server={"tick_ms": 50})
        assert [name for name, _ in bench.poll()] == ["server"]
        assert bench.poll() == []

    def test_a_drag_costs_few_orders_and_ends_with_the_last_value(self) -> None:
        bench = Bench().begin()
        for step in range(100):
            bench.turn(server={"burst": 100 + step})
            bench.steering.poll(ORDER_INTERVAL_NS + step * ORDER_INTERVAL_NS // 20, None)
        bench.now_ns = 10 * ORDER_INTERVAL_NS
        sent = bench.poll()
        assert len(sent) <= 6 and sent[-1] == ("server", Adjust(bench.scenario.server))

    def test_settings_that_need_a_restart_are_not_sent(self) -> None:
        bench = Bench().begin()
        running = bench.scenario.server
        wanted = bench.turn(server={"loops": 4, "burst": 9}).server
        (_, order), *_ = bench.poll()
        assert order == Adjust(running.adjusted(wanted)) and order.config.loops == 1 and order.config.burst == 9

    def test_a_new_live_setting_is_named_in_one_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        knob = next(knob for knob in KNOBS if knob.key == "server.loops")
        assert knob.needs_restart
        monkeypatch.setattr(config, "LIVE_SETTINGS", (*config.LIVE_SETTINGS, "loops"))
        bench = Bench().begin()
        assert not knob.needs_restart
        bench.turn(server={"loops": 4})
        assert bench.poll() == [("server", Adjust(bench.scenario.server))]

    @pytest.mark.parametrize(
        ("fault", "name", "order"),
        [
            (Fault(kind="cut links", share=0.5), "fleet", Cut(0.5)),
            (Fault(kind="stall devices", share=0.1, seconds=2), "fleet", Stall(0.1, 2)),
            (Fault(kind="kill loop clients"), "server", CloseClients(0)),
        ],
    )
    def test_faults_go_to_the_part_they_target(self, fault: Fault, name: str, order: Any) -> None:
        bench = Bench(scenario_with(msgspec.structs.replace(fault, at_s=5))).begin()
        bench.steering.apply_fault(fault)
        assert bench.poll() == [(name, order)] and not bench.marks
        assert bench.poll(5.0) == [(name, order)] and bench.marks == [("fault", fault.text)]

    def test_the_server_pauses_the_broker(self) -> None:
        bench = Bench().begin()
        bench.steering.apply_fault(Fault(kind="pause broker", seconds=2))
        assert bench.poll() == [("server", PauseBroker(2))]

    def test_a_curve_is_sent_as_a_factor(self) -> None:
        bench = Bench(scenario_with(curve=((0.0, 0.5), (10.0, 0.5), (20.0, 1.0)))).begin()
        assert bench.poll(None) == [("fleet", AdjustFleet(bench.scenario.fleet, 0.5))]
        assert bench.poll(9.0) == []
        assert bench.poll(20.0) == [("fleet", AdjustFleet(bench.scenario.fleet, 1.0))]

    def test_brush_and_follow_are_cleared(self) -> None:
        bench = Bench().begin()
        bench.steering.brush(None)
        bench.steering.follow(None)
        assert bench.poll() == [("fleet", Brush(0, 0, 0, 0)), ("server", Follow(-1)), ("fleet", Follow(-1))]
