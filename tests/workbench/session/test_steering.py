"""Steering and director: what is wanted is told once, to whoever has begun, and what is due is done at its time."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.config import AdjustFleet, Brush, Cut, Stall
from server.ipc.control import Adjust, CloseClients, Follow, PauseBroker
from workbench.scenarios.fault import Fault
from workbench.scenarios.load_curve import LoadCurve, factor_at
from workbench.scenarios.scenario import Scenario, load_scenario
from workbench.session.schedule import FACTOR_INTERVAL_S, Director
from workbench.session.steering import TELL_INTERVAL_NS, Steering, live_settings
from workbench.telemetry.view import TileBox


def scenario_with(*faults: Fault, curve: LoadCurve = ()) -> Scenario:
    return msgspec.structs.replace(load_scenario("first_light"), faults=faults, load_curve=curve)


class TestDirector:
    def test_each_fault_comes_at_its_time_and_once(self) -> None:
        director = Director(scenario_with(Fault(kind="cut links", at_s=2), Fault(kind="stall devices", at_s=1)))
        told = [[fault.kind for fault in director.due(seconds)] for seconds in (0, 0.99, 1, 1.5, 2.5, 99)]
        assert told == [[], [], ["stall devices"], [], ["cut links"], []]

    def test_a_fault_repeats_and_what_was_missed_is_not_made_up_for(self) -> None:
        director = Director(scenario_with(Fault(kind="cut links", at_s=1, every_s=2)))
        told = [seconds for seconds in (0, 1, 2, 3, 4, 8, 8.5, 9, 10) if director.due(seconds)]
        assert told == [1, 3, 8, 9]

    @given(st.floats(0, 20), st.just(0.0) | st.floats(0.25, 5), st.lists(st.floats(0, 60), max_size=40))
    @settings(deadline=None)
    def test_no_turn_is_given_out_twice(self, at_s: float, every_s: float, moments: Sequence[float]) -> None:
        director = Director(scenario_with(Fault(kind="cut links", at_s=at_s, every_s=every_s)))
        told = [seconds for seconds in sorted(moments) if director.due(seconds)]
        turns = {int((seconds - at_s) / every_s) if every_s else 0 for seconds in told}
        assert len(turns) == len(told) and all(seconds >= at_s for seconds in told)

    def test_the_factor_follows_the_curve_in_few_steps(self) -> None:
        curve = ((0.0, 1.0), (10.0, 3.0))
        director, told = Director(scenario_with(curve=curve)), []
        for moment in range(1000):
            director.due(moment / 100)
            if not told or told[-1] != director.load_factor:
                told.append(director.load_factor)
            assert abs(director.load_factor - factor_at(curve, moment / 100)) <= 0.2 * (FACTOR_INTERVAL_S + 0.01)
        assert len(told) <= 10 / FACTOR_INTERVAL_S + 1

    def test_a_curve_drawn_anew_is_followed(self) -> None:
        director = Director(scenario_with())
        director.due(5)
        director.adopt(scenario_with(curve=((0.0, 0.5),)))
        director.due(6)
        assert director.load_factor == 0.5


class SlowPath:
    """Steering, and what it told to whom."""

    def __init__(self, scenario: Scenario | None = None) -> None:
        self.told: list[tuple[str, Any]] = []
        self.marks: list[tuple[str, str]] = []
        self.scenario = scenario or load_scenario("first_light")
        self.steering = Steering(
            self.scenario,
            lambda name, order: self.told.append((name, order)),
            lambda kind, text: self.marks.append((kind, text)),
        )
        self.now_ns = 0

    def begin(self) -> "SlowPath":
        self.steering.server_began(self.scenario.server)
        self.steering.fleet_began(self.scenario.fleet)
        return self

    def poll(self, run_seconds: float | None = None) -> list[tuple[str, Any]]:
        self.now_ns += TELL_INTERVAL_NS
        self.steering.poll(self.now_ns, run_seconds)
        told, self.told = self.told, []
        return told

    def turn(self, **changes: dict[str, Any]) -> Scenario:
        parts = {name: msgspec.structs.replace(getattr(self.scenario, name), **new) for name, new in changes.items()}
        self.scenario = msgspec.structs.replace(self.scenario, **parts)
        self.steering.want(self.scenario)
        return self.scenario


class TestSteering:
    def test_nobody_is_told_before_it_has_begun(self) -> None:
        desk = SlowPath()
        desk.turn(server={"burst": 7}, fleet={"rate_per_s": 3.0})
        desk.steering.inflict(Fault(kind="cut links"))
        desk.steering.follow(4)
        desk.steering.brush(TileBox(0, 0, 1, 1))
        assert desk.poll() == []

    def test_who_begins_late_begins_right(self) -> None:
        desk = SlowPath()
        started = desk.scenario
        desk.turn(server={"burst": 7}, fleet={"rate_per_s": 3.0})
        desk.steering.follow(4)
        desk.steering.brush(TileBox(1, 2, 3, 4))
        desk.steering.server_began(started.server)
        desk.steering.fleet_began(started.fleet)
        assert desk.told == [("server", Follow(4)), ("fleet", Brush(1, 2, 3, 4)), ("fleet", Follow(4))]
        assert desk.poll()[3:] == [
            ("server", Adjust(desk.scenario.server)),
            ("fleet", AdjustFleet(desk.scenario.fleet)),
        ]

    def test_only_who_is_meant_is_told_and_once(self) -> None:
        desk = SlowPath().begin()
        assert desk.poll() == []
        desk.turn(fleet={"greedy_ratio": 0.5})
        assert [name for name, _ in desk.poll()] == ["fleet"]
        desk.turn(server={"tick_ms": 50})
        assert [name for name, _ in desk.poll()] == ["server"]
        assert desk.poll() == []

    def test_a_drag_costs_few_orders_and_ends_where_it_ends(self) -> None:
        desk = SlowPath().begin()
        for step in range(100):
            desk.turn(server={"burst": 100 + step})
            desk.steering.poll(TELL_INTERVAL_NS + step * TELL_INTERVAL_NS // 20, None)
        desk.now_ns = 10 * TELL_INTERVAL_NS
        told = desk.poll()
        assert len(told) <= 6 and told[-1] == ("server", Adjust(desk.scenario.server))

    def test_what_needs_a_restart_is_not_told(self) -> None:
        desk = SlowPath().begin()
        running = desk.scenario.server
        wanted = desk.turn(server={"loops": 4, "burst": 9}).server
        (_, order), *_ = desk.poll()
        assert order == Adjust(live_settings(running, wanted)) and order.config.loops == 1 and order.config.burst == 9

    @pytest.mark.parametrize(
        ("fault", "name", "order"),
        [
            (Fault(kind="cut links", share=0.5), "fleet", Cut(0.5)),
            (Fault(kind="stall devices", share=0.1, seconds=2), "fleet", Stall(0.1, 2)),
            (Fault(kind="kill loop clients"), "server", CloseClients(0)),
        ],
    )
    def test_faults_go_to_whom_they_harm(self, fault: Fault, name: str, order: Any) -> None:
        desk = SlowPath(scenario_with(msgspec.structs.replace(fault, at_s=5))).begin()
        desk.steering.inflict(fault)
        assert desk.poll() == [(name, order)] and not desk.marks
        assert desk.poll(5.0) == [(name, order)] and desk.marks == [("fault", fault.text)]

    def test_the_server_holds_the_broker_still(self) -> None:
        desk = SlowPath().begin()
        desk.steering.inflict(Fault(kind="pause broker", seconds=2))
        assert desk.poll() == [("server", PauseBroker(2))]

    def test_a_curve_is_told_as_a_factor(self) -> None:
        desk = SlowPath(scenario_with(curve=((0.0, 0.5), (10.0, 0.5), (20.0, 1.0)))).begin()
        assert desk.poll(None) == [("fleet", AdjustFleet(desk.scenario.fleet, 0.5))]
        assert desk.poll(9.0) == []
        assert desk.poll(20.0) == [("fleet", AdjustFleet(desk.scenario.fleet, 1.0))]

    def test_a_brush_is_put_away(self) -> None:
        desk = SlowPath().begin()
        desk.steering.brush(None)
        desk.steering.follow(None)
        assert desk.poll() == [("fleet", Brush(0, 0, 0, 0)), ("server", Follow(-1)), ("fleet", Follow(-1))]
