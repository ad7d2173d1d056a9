"""Settings in a replay: at every moment those of the run, after any changes, undo and restarts."""

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.journal import schema
from support import recorded
from support.recorded import STARTED_NS, time_of
from workbench.controls.controls import MERGE_NS, SETTLE_NS, Controls
from workbench.controls.knob import KNOBS, Knob, knobs_of
from workbench.errors import UserError
from workbench.recording.reader import Recording
from workbench.recording.rows import turn_row
from workbench.recording.schema import DIAGNOSES, TURNS
from workbench.recording.writer import RecordingWriter
from workbench.replay.session import ReplaySession
from workbench.replay.settings import RecordedKnobs, early_turns, value_in
from workbench.scenarios.scenario import (
    Scenario,
    builtin_names,
    changes_between,
    load_scenario,
    scenario_text,
    with_changes,
)
from workbench.session.session import Session
from workbench.telemetry.view import Marker, Turn

LONG_NS = 10 * MERGE_NS
STEPS = ["set", "curve", "undo", "redo", "release", "reset", "reset_knob", "restart"]
BRAKE = "server.brakes.apply.item_us"


class Run:
    """Recorded runs without processes, one after another; and their settings at each moment."""

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        self._folder = folder
        self.now_ns = STARTED_NS
        self.paths: list[Path] = []
        self.stood: list[dict[int, Scenario]] = []
        self._begin(scenario)

    def _begin(self, scenario: Scenario) -> None:
        path = self._folder / f"{len(self.paths)}.pxr"
        self.paths.append(path)
        facts = recorded.facts_of(scenario.server.width, scenario.server.height) | {
            "scenario": scenario_text(scenario),
            "started_ns": str(self.now_ns),
        }
        self._writer = RecordingWriter(path, facts)
        self._session = Session(scenario, with_panels=False, recording=self._writer)
        self._session.poll(self.now_ns)
        self.stood.append({self.now_ns: scenario})

    @property
    def controls(self) -> Controls:
        return self._session.controls

    def do(self, step: str, knob: Knob, place: float) -> None:
        """Take one step. A knob that this run lacks is skipped."""
        controls, now_ns = self.controls, self.now_ns
        has_knob = knob.key in {each.key for each in controls.knobs}
        match step:
            case "set" if has_knob:
                knob = controls.knob(knob.key)
                last = len(knob.choices) - 1
                controls.set(knob.key, knob.choices[round(place * last)] if last >= 0 else knob.value_at(place), now_ns)
            case "reset_knob" if has_knob:
                controls.reset_knob(knob.key, now_ns)
            case "curve":
                controls.set_load_curve([(place * 10, place), (place * 30, 1 / 3)] if place > 0.2 else (), now_ns)
            case "undo" | "redo" | "reset":
                getattr(controls, step)(now_ns)
            case "release":
                controls.release_brakes(now_ns)
            case "restart":
                before = controls
                self._end()
                self._begin(before.scenario)
                self.controls.resume(before)
        self.stood[-1][now_ns] = self.controls.scenario

    def pass_by(self, pause_ns: int) -> None:
        """Let time pass."""
        self.now_ns += pause_ns
        self._session.poll(self.now_ns)

    def end(self) -> None:
        """End the last run."""
        self.pass_by(SETTLE_NS)
        self._end()

    def _end(self) -> None:
        self._writer.close({})
        self._session.close()


def same_controls(first: Controls, second: Controls) -> bool:
    """Whether the column of knobs shows the same."""
    return first.scenario == second.scenario and [k.key for k in first.brakes_on] == [k.key for k in second.brakes_on]


steps = st.lists(
    st.tuples(st.sampled_from(STEPS), st.sampled_from(KNOBS), st.floats(0, 1), st.integers(0, 2 * MERGE_NS)),
    max_size=25,
)


@given(st.sampled_from(["first_light", "overload", "internet"]), steps)
@settings(deadline=None, max_examples=60)
def test_settings_are_those_of_the_run_at_every_moment(name: str, steps: list[tuple[str, Knob, float, int]]) -> None:
    with TemporaryDirectory() as folder:
        run = Run(Path(folder), load_scenario(name))
        for step, knob, place, pause_ns in steps:
            run.pass_by(pause_ns)
            run.do(step, knob, place)
        run.end()
        for path, stood in zip(run.paths, run.stood, strict=True):
            check(path, stood)


def check(path: Path, stood: dict[int, Scenario]) -> None:
    """Go to each moment of a recording, forwards and back, and compare the controls of the replay."""
    with Recording.open(path) as recording, closing(ReplaySession(recording, with_panels=False)) as replay:
        ends_ns = [*list(stood)[1:], replay.transport.last_ns + 1]
        for since_ns, until_ns in [*zip(stood, ends_ns, strict=True), (next(iter(stood)), ends_ns[0])]:
            for time_ns in (since_ns, max(since_ns, until_ns - 1)):
                replay.transport.hold_at(time_ns)
                replay.poll(0)
                if replay.transport.position_ns == time_ns:
                    assert replay.controls.scenario == stood[since_ns]
                    assert replay.view().failures == []


def test_values_that_marker_texts_round_are_exact(tmp_path: Path) -> None:
    run = Run(tmp_path, load_scenario("first_light"))
    moments = []
    for step in (
        lambda: run.controls.set(BRAKE, 40.0, run.now_ns),
        lambda: run.controls.set("fleet.greedy_ratio", 0.0456789, run.now_ns),
        lambda: run.controls.set_load_curve([(0, 1), (5, 2.5)], run.now_ns),
        lambda: run.controls.release_brakes(run.now_ns),
        lambda: run.controls.undo(run.now_ns),
        lambda: run.controls.reset(run.now_ns),
        lambda: run.controls.undo(run.now_ns),
    ):
        run.pass_by(LONG_NS)
        step()
        moments.append((run.now_ns, run.controls.scenario))
    run.end()
    with Recording.open(run.paths[0]) as recording:
        turns = recording.turns()
        assert turns is not None
        knobs = RecordedKnobs(recording.scenario, turns)
        for time_ns, scenario in moments:
            assert knobs.at(time_ns) == scenario
    last = moments[-1][1]
    assert last.server.brakes.apply.item_us == 40.0 and last.fleet.greedy_ratio == 0.0456789
    assert last.load_curve == ((0.0, 1.0), (5.0, 2.5))


def test_a_drag_is_followed_before_it_is_marked(tmp_path: Path) -> None:
    run = Run(tmp_path, load_scenario("first_light"))
    for step in range(5):
        run.pass_by(SETTLE_NS // 3)
        run.controls.set("server.rate_per_s", 40 + step, run.now_ns)
    last_ns = run.now_ns
    run.end()
    with Recording.open(run.paths[0]) as recording:
        knobs = RecordedKnobs(recording.scenario, recording.turns() or ())
        assert knobs.at(last_ns - 1).server.rate_per_s == 43 and knobs.at(last_ns).server.rate_per_s == 44
        assert [marker.time_ns > last_ns for marker in recording.markers()] == [True]


def add_turn(path: Path, turn: Turn) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(TURNS.add, turn_row(turn))


def test_brakes_of_the_moment_are_shown_by_knobs_at_once_and_by_cards_with_the_next_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.pxr"
    recorded.make(path, 20)
    for tick, value in ((6.5, 40.0), (9.5, 0.0), (12, 0.125)):
        add_turn(path, Turn(round(STARTED_NS + tick * recorded.TICK_NS), {"server.brakes.admit.item_us": value}))
    with Recording.open(path) as recording, closing(ReplaySession(recording, with_panels=False)) as replay:
        for tick, knob, card in (
            (6.4, 0, ""),
            (6.6, 40, ""),
            (7, 40, "+ 40 us an item"),
            (9.6, 0, "+ 40 us an item"),
            (10, 0, ""),
            (12, 0.125, ""),
            (13, 0.125, "+ 0.125 us an item"),
            (6.6, 40, ""),
        ):
            replay.transport.hold_at(STARTED_NS + tick * recorded.TICK_NS)
            replay.poll(0)
            cards = {stage.name: stage.brake for stage in replay.view().stages}
            assert (replay.controls.value("server.brakes.admit.item_us"), cards["admit"]) == (knob, card), tick


def test_turns_during_the_replay_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.pxr"
    recorded.make(path, 20)
    with Recording.open(path) as recording, closing(ReplaySession(recording, with_panels=False)) as replay:
        replay.transport.hold_at(time_of(15))
        replay.poll(1)
        assert replay.controls.value(BRAKE) == 0
        add_turn(path, Turn(time_of(12), {BRAKE: 25.0}))
        with closing(sqlite3.connect(path)) as file, file:
            file.execute(schema.MARKERS.add, schema.MARKERS.row(time_of(12), "brake", "apply brake 0 > 25 us an item"))
            file.execute(DIAGNOSES.add, DIAGNOSES.row(14, "read", "busy", "", None, "[]"))
        replay.poll(10**10)
        assert replay.controls.value(BRAKE) == 25
        assert [marker.time_ns for marker in replay.view().markers] == [time_of(2), time_of(12)]
        assert replay.view().diagnosis.bottleneck == "read"
        replay.transport.jump(-1)
        assert replay.transport.position_ns == time_of(12)


# --- Changes as data ---


@pytest.mark.parametrize("name", builtin_names())
def test_changes_lead_from_one_scenario_to_the_other(name: str) -> None:
    first, second = load_scenario("first_light"), load_scenario(name)
    changes = changes_between(first, second)
    read = msgspec.json.decode(msgspec.json.encode(changes))
    assert with_changes(first, changes, "a") == with_changes(first, read, "a") == second
    assert changes_between(second, second) == {}


@pytest.mark.parametrize(
    "changes",
    [{"server.speed": 1}, {"server": 1}, {"seed.a": 1}, {"server.rate_per_s": "x"}, {"fleet.viewer_count": 3},
     {"fleet.slow_ratio": 2.0}, {"": 0}, {"link": "memory", "server.loop": "mailbox"}],
)  # fmt: skip
def test_impossible_changes_are_reported_in_one_line(changes: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"^its turns: [^\n]+$"):
        with_changes(load_scenario("first_light"), changes, "its turns")


def test_an_impossible_turn_holds_the_replay(tmp_path: Path) -> None:
    path = tmp_path / "a.pxr"
    recorded.make(path, 20)
    add_turn(path, Turn(time_of(10), {"server.rate_per_s": -1}))
    with Recording.open(path) as recording, closing(ReplaySession(recording, with_panels=False)) as replay:
        replay.transport.hold_at(time_of(12))
        replay.poll(0)
        assert f"{path} is damaged: its turns: " in replay.view().failures[0]
        replay.transport.hold_at(time_of(9))
        replay.poll(0)
        assert replay.view().failures == [] and replay.controls.value("server.rate_per_s") == 30


# --- What earlier versions recorded ---


def test_every_turn_of_every_knob_can_be_read_from_its_marker() -> None:
    scenario = load_scenario("first_light")
    controls = Controls(scenario, lambda _: None, lambda _kind, _text: None)
    for knob in controls.knobs:
        before = controls.value(knob.key)
        after = next(c for c in knob.choices if c != before) if knob.choices else knob.value_at(0.37)
        text = knob.change_text(before, after)
        read = {other.key: value for other in controls.knobs if (value := value_in(other, text)) is not None}
        assert list(read) == [knob.key], text
        assert read[knob.key] == (pytest.approx(after, rel=0.01) if not knob.choices else after)


@pytest.mark.parametrize("text", ["", "reset", "rate limit 60", "rate limit high > low /s", "stall 5 % for 2 s > 1"])
def test_other_texts_are_no_turn(text: str) -> None:
    assert all(value_in(knob, text) is None for knob in knobs_of(Scenario()))


WITHOUT_DRAWING = st.tuples(
    st.sampled_from(["set", "undo", "redo", "release", "reset"]),
    st.sampled_from([knob for knob in KNOBS if knob.is_whole or knob.choices or knob.is_brake]),
    st.floats(0, 1),
)


@given(st.lists(WITHOUT_DRAWING, max_size=20))
@settings(deadline=None, max_examples=60)
def test_markers_of_undone_steps_are_understood(steps: list[tuple[str, Knob, float]]) -> None:
    """Each step is marked before the next, so that whole numbers and choices are known from the texts."""
    first, now_ns = load_scenario("first_light"), 0
    markers: list[Marker] = []
    controls = Controls(first, lambda _: None, lambda kind, text: markers.append(Marker(now_ns, kind, text)))
    for step, knob, place in steps:
        now_ns += LONG_NS
        if step == "set" and knob.key in {each.key for each in controls.knobs}:
            last = len(knob.choices) - 1
            value = knob.choices[round(place * last)] if last >= 0 else float(f"{knob.value_at(place):.2g}")
            controls.set(knob.key, value, now_ns)
        elif step == "release":
            controls.release_brakes(now_ns)
        elif step != "set":
            getattr(controls, step)(now_ns)
        controls.settle(now_ns + SETTLE_NS)
        assert RecordedKnobs(first, early_turns(first, markers)).at(now_ns) == controls.scenario
