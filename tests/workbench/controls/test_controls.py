"""Controls: changes are set, marked and undone; as TOML they reproduce the settings."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.controls.controls import LOAD_CURVE, MERGE_NS, SETTLE_NS, Controls
from workbench.controls.knob import GROUPS, KNOBS, Knob
from workbench.scenarios.fault import AT_S_MAX, FAULTS, LINK_FAULTS, Fault
from workbench.scenarios.load_curve import POINTS_MAX, drawn, factor_at
from workbench.scenarios.scenario import Scenario, builtin_names, load_scenario, scenario_text

LONG_NS = 10 * MERGE_NS


class Recorded:
    """Controls, and their callbacks."""

    def __init__(self, scenario: Scenario | None = None, **options: Any) -> None:
        self.carried_out: list[Scenario] = []
        self.marks: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self.first = scenario or load_scenario("first_light")
        self.controls = Controls(
            self.first,
            self.carried_out.append,
            lambda kind, text: self.marks.append((kind, text)),
            self.faults.append,
            **options,
        )


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


class TestTurning:
    def test_a_turn_is_set_and_carried_out(self, recorded: Recorded) -> None:
        recorded.controls.set("server.rate_per_s", 45, LONG_NS)
        assert recorded.controls.value("server.rate_per_s") == 45
        assert [scenario.server.rate_per_s for scenario in recorded.carried_out] == [45]

    def test_values_are_clamped_and_rounded(self, recorded: Recorded) -> None:
        for value, expected in ((-5, 1), (30.6, 31), (10**9, 1000)):
            recorded.controls.set("server.burst", value, LONG_NS)
            assert recorded.controls.value("server.burst") == expected

    def test_setting_the_same_value_is_no_change(self, recorded: Recorded) -> None:
        recorded.controls.set("server.rate_per_s", 30, LONG_NS)
        assert not recorded.carried_out and not recorded.controls.can_undo

    def test_an_unknown_choice_is_rejected(self, recorded: Recorded) -> None:
        with pytest.raises(ValueError, match=r"fleet\.pattern is 'waves'; it must be one of sensor_field"):
            recorded.controls.set("fleet.pattern", "waves", LONG_NS)

    def test_fewer_connections_lower_the_viewers(self) -> None:
        recorded = Recorded(load_scenario("first_light", ["fleet.viewers=900"]))
        recorded.controls.set("fleet.connections", 500, LONG_NS)
        assert recorded.controls.scenario.fleet.viewers == 500

    def test_mailbox_is_one_loop(self) -> None:
        fault = Fault(kind="kill loop clients", loop=2)
        recorded = Recorded(msgspec.structs.replace(load_scenario("first_light", ["server.loops=3"]), faults=(fault,)))
        recorded.controls.set("server.loop", "mailbox", LONG_NS)
        assert recorded.controls.scenario.server.loops == 1 and recorded.controls.scenario.faults[0].loop == 0
        recorded.controls.set("server.loops", 2, 2 * LONG_NS)
        assert recorded.controls.scenario.server.loop == "native"

    def test_a_restart_is_wanted_only_for_what_needs_one(self, recorded: Recorded) -> None:
        recorded.controls.set("fleet.connections", 2000, LONG_NS)
        assert not recorded.controls.restart_wanted
        recorded.controls.set("server.loops", 2, LONG_NS)
        assert recorded.controls.restart_wanted
        recorded.controls.reset_knob("server.loops", LONG_NS)
        assert not recorded.controls.restart_wanted

    def test_start_values_are_within_the_range_of_their_knobs(self) -> None:
        for name in builtin_names():
            controls = Recorded(load_scenario(name)).controls
            for knob in controls.knobs:
                value = controls.value(knob.key)
                assert value in knob.choices if knob.choices else knob.least <= value <= knob.most

    @pytest.mark.parametrize(
        ("name", "override"),
        [
            ("first_light", "seed=2"),
            ("first_light", "server.journal=a.journal"),
            ("first_light", "server.mqtt=embedded"),
            ("mqtt_sensors", "seed=2"),
            ("internet", "seed=2"),
            ("seed", "loop=mailbox"),
        ],
    )
    def test_every_end_and_choice_is_valid(self, name: str, override: str) -> None:
        first = load_scenario(name, [override])
        for knob in Recorded(first).controls.knobs:
            for value in knob.choices or (knob.least, knob.most):
                recorded = Recorded(first)
                recorded.controls.set(knob.key, value, LONG_NS)
                assert recorded.controls.value(knob.key) == value

    def test_only_knobs_with_an_effect_are_offered(self) -> None:
        linked = {knob.key for knob in Recorded(load_scenario("internet")).controls.knobs}
        assert "fleet.rate_per_s" in linked and not linked & {"fleet.connections", "fleet.region", "server.loop"}
        mailbox = {
            knob.key for knob in Recorded(load_scenario("seed", ["loop=mailbox"])).controls.knobs if knob.is_brake
        }
        assert mailbox == {"fleet.viewer_brake_us"}
        journal = {f"server.brakes.journal.{kind}" for kind in ("item_us", "batch_ms")}
        plain = {knob.key for knob in Recorded().controls.knobs}
        kept = {
            knob.key for knob in Recorded(load_scenario("first_light", ["server.journal=a.journal"])).controls.knobs
        }
        assert kept - plain == journal and not plain & journal
        elsewhere = Recorded(has_server=False).controls.knobs
        assert elsewhere and all(knob.key.startswith("fleet.") for knob in elsewhere)


class TestUndo:
    def test_a_drag_is_one_step(self, recorded: Recorded) -> None:
        for step in range(10):
            recorded.controls.set("server.rate_per_s", 31 + step, LONG_NS + step * MERGE_NS // 2)
        recorded.controls.undo(2 * LONG_NS)
        assert recorded.controls.scenario == recorded.first and not recorded.controls.can_undo

    def test_changes_with_a_pause_are_separate_steps(self, recorded: Recorded) -> None:
        recorded.controls.set("server.rate_per_s", 40, LONG_NS)
        recorded.controls.set("server.rate_per_s", 50, 2 * LONG_NS)
        recorded.controls.undo(3 * LONG_NS)
        assert recorded.controls.value("server.rate_per_s") == 40

    def test_an_undone_step_can_be_redone(self, recorded: Recorded) -> None:
        recorded.controls.set("server.tick_ms", 50, LONG_NS)
        turned = recorded.controls.scenario
        recorded.controls.undo(LONG_NS)
        assert recorded.controls.can_redo
        recorded.controls.redo(LONG_NS)
        assert recorded.controls.scenario == turned == recorded.carried_out[-1] and not recorded.controls.can_redo

    def test_a_turn_after_an_undo_is_a_step_of_its_own(self, recorded: Recorded) -> None:
        recorded.controls.set("server.tick_ms", 50, LONG_NS)
        recorded.controls.set("server.tick_ms", 60, 2 * LONG_NS)
        recorded.controls.undo(2 * LONG_NS)
        recorded.controls.set("server.tick_ms", 70, 2 * LONG_NS)
        assert not recorded.controls.can_redo
        recorded.controls.undo(2 * LONG_NS)
        assert recorded.controls.value("server.tick_ms") == 50

    def test_a_reset_can_be_undone(self, recorded: Recorded) -> None:
        recorded.controls.set("fleet.rate_per_s", 5, LONG_NS)
        recorded.controls.reset(LONG_NS)
        assert recorded.controls.scenario == recorded.first and not recorded.controls.changed
        recorded.controls.undo(LONG_NS)
        assert recorded.controls.value("fleet.rate_per_s") == 5

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["set", "undo", "redo", "reset", "brakes"]),
                st.sampled_from(KNOBS),
                st.floats(0, 1),
                st.integers(0, 2 * MERGE_NS),
            )
        )
    )
    @settings(deadline=None, max_examples=60)
    def test_undoing_all_restores_the_start(self, steps: list[tuple[str, Knob, float, int]]) -> None:
        recorded, now_ns = Recorded(), 0
        for step, knob, place, pause_ns in steps:
            now_ns += pause_ns
            if step == "set" and knob in recorded.controls.knobs:
                choice = knob.choices[int(place * (len(knob.choices) - 1))] if knob.choices else knob.value_at(place)
                recorded.controls.set(knob.key, choice, now_ns)
            elif step in ("undo", "redo", "reset"):
                getattr(recorded.controls, step)(now_ns)
            elif step == "brakes":
                recorded.controls.release_brakes(now_ns)
            recorded.controls.settle(now_ns)
        while recorded.controls.can_undo:
            recorded.controls.undo(now_ns)
        assert recorded.controls.scenario == recorded.first


class TestMarks:
    def test_a_drag_is_marked_once_with_both_ends(self, recorded: Recorded) -> None:
        for step in range(5):
            recorded.controls.set("server.rate_per_s", 30 - step, LONG_NS + step)
            recorded.controls.settle(LONG_NS + step)
        assert not recorded.marks
        recorded.controls.settle(LONG_NS + SETTLE_NS + 4)
        recorded.controls.settle(LONG_NS + 2 * SETTLE_NS)
        assert recorded.marks == [("knob", "rate limit 30 > 26 /s")]

    def test_another_knob_marks_the_first(self, recorded: Recorded) -> None:
        recorded.controls.set("server.brakes.apply.item_us", 20, LONG_NS)
        recorded.controls.set("fleet.greedy_ratio", 0.5, LONG_NS)
        assert recorded.marks == [("brake", "apply brake 0 > 20 us an item")]
        recorded.controls.settle(2 * LONG_NS)
        assert recorded.marks[1:] == [("knob", "greedy devices 4 % > 50 %")]

    def test_brakes_are_released_together(self, recorded: Recorded) -> None:
        recorded.controls.set("server.brakes.apply.item_us", 20, LONG_NS)
        recorded.controls.set("server.brakes.fan_out.batch_ms", 5, LONG_NS)
        assert [knob.label for knob in recorded.controls.brakes_on] == ["apply", "fan-out"]
        recorded.controls.release_brakes(LONG_NS)
        assert not recorded.controls.brakes_on and recorded.controls.scenario == recorded.first
        assert recorded.marks[-1] == ("brake", "all brakes released")


class TestFaults:
    @pytest.mark.parametrize("button", FAULTS, ids=lambda button: button.kind)
    def test_each_is_carried_out_or_says_why_not(self, recorded: Recorded, button: Any) -> None:
        reason = recorded.controls.fault(button.kind, LONG_NS)
        assert reason == button.unavailable
        assert [fault.kind for fault in recorded.faults] == ([] if reason else [button.kind])
        assert [kind for kind, _ in recorded.marks] == ([] if reason else ["fault"])

    def test_memory_links_have_no_connection_faults(self) -> None:
        recorded = Recorded(load_scenario("internet"))
        assert "linked in memory" in recorded.controls.fault("cut links", LONG_NS) and not recorded.faults


class TestResuming:
    def test_steps_before_a_restart_can_be_undone_and_may_need_another(self, recorded: Recorded) -> None:
        recorded.controls.set("server.rate_per_s", 45, LONG_NS)
        recorded.controls.set("server.loops", 2, 2 * LONG_NS)
        resumed = Recorded(recorded.controls.scenario)
        resumed.controls.resume(recorded.controls)
        assert resumed.controls.can_undo and not resumed.controls.restart_wanted and not resumed.controls.changed
        resumed.controls.undo(LONG_NS)
        assert resumed.controls.value("server.loops") == 1 and resumed.controls.restart_wanted
        resumed.controls.undo(LONG_NS)
        assert resumed.controls.scenario == recorded.first
        assert resumed.carried_out[-1].server.rate_per_s == 30
        resumed.controls.redo(LONG_NS)
        resumed.controls.redo(LONG_NS)
        assert resumed.controls.scenario == recorded.controls.scenario and not resumed.controls.restart_wanted

    def test_changes_after_a_restart_leave_the_earlier_controls_alone(self, recorded: Recorded) -> None:
        recorded.controls.set("server.loops", 2, LONG_NS)
        resumed = Recorded(recorded.controls.scenario)
        resumed.controls.resume(recorded.controls)
        resumed.controls.undo(LONG_NS)
        assert recorded.controls.can_undo and not recorded.controls.can_redo

    def test_the_mailbox_server_is_chosen_without_brakes(self, recorded: Recorded) -> None:
        recorded.controls.set("server.brakes.fan_out.item_us", 9, LONG_NS)
        recorded.controls.set("server.loop", "mailbox", 2 * LONG_NS)
        assert not recorded.controls.scenario.server.brakes.fan_out.is_on

    def test_a_knob_that_the_new_run_lacks_is_named_by_its_key(self, recorded: Recorded) -> None:
        recorded.controls.set("server.brakes.fan_out.item_us", 9, LONG_NS)
        recorded.controls.set("server.loop", "mailbox", 2 * LONG_NS)
        resumed = Recorded(recorded.controls.scenario)
        resumed.controls.resume(recorded.controls)
        resumed.controls.undo(LONG_NS)
        resumed.controls.undo(LONG_NS)
        assert resumed.marks == [("knob", "loop mailbox > native"), ("knob", "server.brakes.fan_out.item_us as before")]


class TestLoadCurve:
    def test_it_is_linear_between_points_and_even_beyond(self) -> None:
        curve = ((10.0, 1.0), (20.0, 3.0), (20.0, 0.0), (30.0, 0.5))
        for seconds, factor in ((0, 1), (10, 1), (15, 2), (20, 0), (25, 0.25), (30, 0.5), (99, 0.5)):
            assert factor_at(curve, seconds) == factor
        assert factor_at((), 5) == 1

    @given(st.lists(st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)), max_size=50))
    @settings(deadline=None)
    def test_any_drawing_is_a_curve(self, points: list[tuple[float, float]]) -> None:
        curve = drawn(points)
        assert Scenario(load_curve=curve).load_curve == curve and len(curve) == len(points)

    def test_too_many_points_are_thinned(self) -> None:
        curve = drawn([(float(second), 1.0) for second in range(3 * POINTS_MAX)])
        assert len(curve) == POINTS_MAX and curve[0][0] == 0 and curve[-1][0] == 3 * POINTS_MAX - 1

    def test_drawing_is_one_step_with_a_marker_and_undo(self, recorded: Recorded) -> None:
        for step in range(3):
            recorded.controls.set_load_curve([(0, 1), (step + 1, 2)], LONG_NS + step)
        assert recorded.controls.changed == (LOAD_CURVE,) and recorded.controls.load_curve == ((0, 1), (3, 2))
        recorded.controls.undo(LONG_NS)
        assert recorded.controls.scenario == recorded.first
        assert recorded.marks == [("knob", "load curve drawn"), ("knob", "load curve cleared")]


class TestKnobs:
    @pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: knob.key)
    def test_each_is_explained_and_stays_within_the_scenario(self, knob: Knob) -> None:
        assert knob.group in GROUPS and knob.meaning.endswith(".") and knob.label
        recorded = Recorded()
        for place in (0.0, 0.5, 1.0):
            if knob in recorded.controls.knobs and not knob.choices:
                value = knob.value_at(place)
                recorded.controls.set(knob.key, value, LONG_NS)
                assert recorded.controls.value(knob.key) == value
                assert abs(knob.position(value) - place) < 0.1

    def test_keys_are_unique(self) -> None:
        assert len({knob.key for knob in KNOBS}) == len(KNOBS)

    def test_words(self) -> None:
        by_key = {knob.key: knob for knob in KNOBS}
        assert by_key["fleet.connections"].text(17_000) == "17,000"
        assert by_key["fleet.slow_ratio"].change_text(0.0, 0.055) == "slow viewers 0 % > 5.5 %"
        assert by_key["fleet.rate_per_s"].text(2.5) == "2.5 /s each"


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
faults = st.builds(
    Fault,
    kind=st.sampled_from(["stall devices", "cut links", "kill loop clients"]),
    at_s=st.floats(0, 1e5),
    every_s=st.just(0.0) | st.floats(0.25, 100),
    share=st.floats(0, 1),
    seconds=st.floats(0, 3600),
)


class TestAsToml:
    def test_it_says_only_what_differs(self, recorded: Recorded) -> None:
        recorded.controls.set("server.brakes.fan_out.batch_ms", 5, LONG_NS)
        text = recorded.controls.as_toml()
        assert (
            text.startswith('name = "first_light"\n')
            and "\n\n[server.brakes.fan_out]\nbatch_ms = 5.0\n\n[fleet]" in text
        )
        assert "host" not in text and "link" not in text

    @given(
        st.sampled_from(builtin_names()),
        names,
        st.lists(st.tuples(st.sampled_from(KNOBS), st.floats(0, 1))),
        st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 10)), max_size=4),
        st.lists(faults, max_size=3),
    )
    @settings(deadline=None, max_examples=80)
    def test_it_reads_back_equal(
        self, tmp_path_factory: Any, name: str, title: str, turns: Any, curve: Any, found: list[Fault]
    ) -> None:
        first = load_scenario(name)
        suffered = [fault for fault in found if first.fleet.transport != "mqtt" or fault.kind not in LINK_FAULTS]
        scenario = msgspec.structs.replace(first, title=title, faults=() if first.link == "memory" else tuple(suffered))
        recorded = Recorded(scenario)
        for knob, place in turns:
            if knob in recorded.controls.knobs:
                choice = knob.choices[int(place * (len(knob.choices) - 1))] if knob.choices else knob.value_at(place)
                recorded.controls.set(knob.key, choice, 0)
        recorded.controls.set_load_curve(curve, 0)
        path = tmp_path_factory.getbasetemp() / "copied.toml"
        path.write_text(recorded.controls.as_toml(), encoding="utf-8")
        assert load_scenario(str(path)) == recorded.controls.scenario

    def test_faults_by_a_click_have_their_times(self, tmp_path: Path) -> None:
        planned = Fault(kind="cut links", at_s=5, share=0)
        clock = iter((0.0, 12.34, 1e9))
        recorded = Recorded(
            msgspec.structs.replace(load_scenario("first_light"), faults=(planned,)), run_seconds=lambda: next(clock)
        )
        recorded.controls.set_load_curve([(0, 1), (10, 2.5)], LONG_NS)
        for kind in ("stall devices", "kill loop clients", "cut links"):
            assert recorded.controls.fault(kind, LONG_NS) == ""
        path = tmp_path / "copied.toml"
        path.write_text(recorded.controls.as_toml(), encoding="utf-8")
        assert '\n[[faults]]\nkind = "kill loop clients"\nat_s = 12.3\n' in path.read_text(encoding="utf-8")
        read = load_scenario(str(path))
        assert read.faults == (
            planned,
            Fault(kind="stall devices"),
            Fault(kind="kill loop clients", at_s=12.3),
            Fault(kind="cut links", at_s=AT_S_MAX),
        )
        assert msgspec.structs.replace(read, faults=(planned,)) == recorded.controls.scenario
        assert recorded.faults == list(read.faults[1:])  # What is read does what the clicks did.

    def test_an_unavailable_fault_is_not_kept(self) -> None:
        recorded = Recorded(load_scenario("internet"))
        recorded.controls.fault("cut links", LONG_NS)
        assert "faults" not in recorded.controls.as_toml()

    def test_text_of_a_plain_scenario_is_its_name(self) -> None:
        assert scenario_text(Scenario(name="x")) == 'name = "x"\n'
