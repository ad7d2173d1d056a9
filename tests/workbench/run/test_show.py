"""Tour and show: the table is valid, and sessions run one after another in one window or none."""

import json
import re
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.session_parts import SCENARIO, commands, pump
from workbench.address import address_of
from workbench.cli.gallery import make_gallery
from workbench.controls.controls import Controls
from workbench.errors import RunError, UserError
from workbench.run import show
from workbench.run import show as run_command
from workbench.run.show import Outputs, Show, run_scenario, run_tour, scenario_of_leg
from workbench.run.tour import TOUR, Cue, Guide, Leg, tour_for
from workbench.scenarios.scenario import Scenario
from workbench.stop_signal import StopSignal
from workbench.window.toolkit.display import NoDisplay

HEADLESS = Outputs(headless=True)


class TestTour:
    def test_it_takes_three_minutes_through_five_scenarios(self) -> None:
        assert len({leg.scenario for leg in TOUR}) == 5
        assert 150 <= sum(leg.seconds for leg in TOUR) <= 200

    @pytest.mark.parametrize("leg", [*TOUR, tour_for(0, 1)[-1]], ids=lambda leg: leg.scenario)
    def test_each_leg_loads_and_all_its_settings_change_something(self, leg: Leg) -> None:
        scenario = scenario_of_leg(leg)
        controls = Controls(scenario, lambda _: None, lambda *_: None)
        assert scenario.seconds == leg.seconds and leg.cues[0].at_s == 0
        assert [cue.at_s for cue in leg.cues] == sorted(cue.at_s for cue in leg.cues)
        for cue in leg.cues:
            assert cue.at_s < leg.seconds - 5 and cue.caption.endswith(".")
            for key, value in cue.settings:
                assert controls.value(key) != value
                controls.set(key, value, 0)
                assert controls.value(key) == value and not controls.knob(key).needs_restart

    def test_captions_can_be_read_in_their_time(self) -> None:
        for leg in TOUR:
            ends = [cue.at_s for cue in leg.cues[1:]] + [leg.seconds]
            for cue, end_s in zip(leg.cues, ends, strict=True):
                assert len(cue.caption) / (end_s - cue.at_s) <= 25, f"{leg.scenario}: {cue.caption}"

    def test_a_small_machine_gets_the_crowd(self) -> None:
        assert [leg.scenario for leg in tour_for(20_000, 2)][-1] == "million"
        assert [leg.scenario for leg in tour_for(5_000, 2)][-1] == "crowd"
        assert [leg.scenario for leg in tour_for(20_000, 1)][-1] == "crowd"

    def test_the_guide_returns_each_cue_once(self) -> None:
        guide = Guide(Leg("x", 9, (Cue(0, "a."), Cue(2, "b."), Cue(3, "c."))), "1 of 5")
        shown = [[cue.caption for cue in guide.due(seconds)] for seconds in (0, 1, 5, 9)]
        assert shown == [["1 of 5, x: a."], [], ["1 of 5, x: b.", "1 of 5, x: c."], []]


class FakeWindow:
    """A window whose person wants what a test says, one wish a session."""

    wishes: list[Scenario | int | None]

    def __init__(self, session: Any, *, headless: bool) -> None:
        self.wanted: Scenario | None = None
        self.guided, self.leg_step = False, 0
        self.caption = ""
        self.closed = False
        self.is_open = True
        self.shown = [session.scenario.name]
        self.session = session
        type(self).last = self

    last: "FakeWindow"

    def show(self, session: Any) -> None:
        self.wanted, self.leg_step = None, 0
        self.shown.append(session.scenario.name)
        self.session = session

    def run(self, until: Any) -> None:
        wish = self.wishes.pop(0)
        if isinstance(wish, int):
            self.leg_step = wish if self.guided else 0
        else:
            self.wanted, self.closed = wish, wish is None

    def attend(self, caption: str) -> bool:
        return True

    def ask(self) -> None:
        self.shown.append("?")

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def wishes(monkeypatch: pytest.MonkeyPatch) -> list[Scenario | int | None]:
    from workbench.window.shell import window

    monkeypatch.setattr(window, "Window", FakeWindow)
    FakeWindow.wishes = []
    return FakeWindow.wishes


def named(name: str) -> Scenario:
    return Scenario(name=name, server=SCENARIO.server, fleet=SCENARIO.fleet)


class TestShow:
    def test_what_is_picked_is_shown_next_in_the_same_window(self, wishes: list[Scenario | int | None]) -> None:
        wishes += [named("second"), named("third"), None]
        assert run_scenario(named("first"), Outputs(headless=False), commands=commands()) == 0
        assert FakeWindow.last.shown == ["first", "second", "third"] and not FakeWindow.last.is_open

    def test_an_impossible_next_run_is_refused_while_this_one_runs(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        from workbench.window.shell import window

        refusals = []

        class Asking(FakeWindow):
            require: Any

            def run(self, until: Any) -> None:
                (tmp_path / "a-2.pxr").write_text("another's")
                with pytest.raises(UserError) as refusal:
                    self.require(named("next"))
                refusals.append(str(refusal.value))
                (tmp_path / "a-2.pxr").unlink()
                self.require(named("next"))
                self.closed = True

        monkeypatch.setattr(window, "Window", Asking)
        outputs = Outputs(headless=False, record=tmp_path / "a.pxr")
        assert run_scenario(named("first"), outputs, commands=commands()) == 0
        assert [line.partition(";")[0] for line in refusals] == [f"--record {tmp_path}/a-2.pxr already exists"]

    def test_the_port_of_what_runs_is_free_for_what_is_run_next(self) -> None:
        with StopSignal() as stop, socket.create_server(("127.0.0.1", 0)) as taken:
            server = msgspec.structs.replace(SCENARIO.server, port=taken.getsockname()[1])
            scenario = msgspec.structs.replace(SCENARIO, server=server)
            asked = Show(HEADLESS, stop)
            with pytest.raises(UserError, match="cannot listen"):
                asked._require(scenario)
            asked._require(scenario, running=scenario)

    def test_the_picker_opens_once(self, wishes: list[Scenario | int | None]) -> None:
        wishes += [named("second"), None]
        assert run_scenario(named("first"), Outputs(headless=False), commands=commands(), asks=True) == 0
        assert FakeWindow.last.shown == ["first", "?", "second"]

    def test_a_restart_keeps_the_undo_history(
        self, wishes: list[Scenario | int | None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        undoable = []

        class Turning(FakeWindow):
            def run(self, until: Any) -> None:
                controls = self.session.controls
                undoable.append(controls.can_undo)
                controls.set("server.loops", len(undoable) + 1, 0)
                self.wanted = [controls.scenario, named("picked"), None][len(undoable) - 1]
                self.closed = self.wanted is None

        from workbench.window.shell import window

        monkeypatch.setattr(window, "Window", Turning)
        assert run_scenario(named("first"), Outputs(headless=False), commands=commands()) == 0
        assert undoable == [False, True, False]

    def test_picking_a_scenario_ends_the_tour(
        self, wishes: list[Scenario | int | None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(run_command, "load_scenario", lambda name, overrides: named(name))
        wishes += [named("mine"), None]
        assert run_tour(Outputs(headless=False), commands=commands()) == 0
        assert FakeWindow.last.shown == ["first_light", "mine"]

    def test_page_keys_move_through_the_tour(
        self, wishes: list[Scenario | int | None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(run_command, "load_scenario", lambda name, overrides: named(name))
        wishes += [1, 1, -1, -1, -1, None]
        assert run_tour(Outputs(headless=False), commands=commands()) == 0
        order = [leg.scenario for leg in TOUR]
        assert FakeWindow.last.shown == [order[index] for index in (0, 1, 2, 1, 0, 0)]

    def test_a_headless_tour_prints_its_captions(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        legs = (Leg("a", 0.05, (Cue(0, "One.", (("fleet.rate_per_s", 7.0),)),)), Leg("b", 0.05, (Cue(0, "Two."),)))
        monkeypatch.setattr(run_command, "tour_for", lambda *_: legs)
        monkeypatch.setattr(run_command, "load_scenario", lambda name, overrides: named(name))
        assert run_tour(HEADLESS, commands=commands()) == 0
        shown = [line for line in capsys.readouterr().out.splitlines() if " of 2, " in line]
        assert shown == ["1 of 2, a: One.", "2 of 2, b: Two."]

    def test_a_part_that_fails_ends_it_all(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_tour(HEADLESS, ["fleet.connections=5"], commands=commands(fleet="failed")) == 1
        assert capsys.readouterr().err == "fleet: no room on the shelf\n"

    @pytest.mark.parametrize(
        ("manners", "line"),
        [
            ({"fleet": "wrong"}, "viewers: 1 of 5 differ from the server's canvas at the end"),
            ({"fleet": "lossy"}, "connections: 2 lost, and neither a fault nor a setting asked for it"),
            ({"server": "gap"}, "ledger: 1 placements are unaccounted for at the end"),
        ],
    )
    def test_a_check_that_fails_ends_with_1(
        self, manners: dict[str, str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path, scenario = tmp_path / "a.json", msgspec.structs.replace(SCENARIO, seconds=0.6)
        assert run_scenario(scenario, Outputs(headless=True, summary=path), commands=commands(**manners)) == 1
        assert capsys.readouterr().err == f"{line}\n"
        assert json.loads(path.read_text())["failures"] == [line]

    def test_a_check_that_fails_in_the_window_is_heard_and_the_next_scenario_runs(
        self,
        wishes: list[Scenario | int | None],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        wishes += [named("second"), None]

        class Patient(FakeWindow):
            def run(self, until: Any) -> None:
                pump(self.session, lambda: self.session.load_started_ns > 0)
                super().run(until)

        monkeypatch.setattr("workbench.window.shell.window.Window", Patient)
        assert run_scenario(named("first"), Outputs(headless=False), commands=commands(fleet="lossy")) == 1
        assert capsys.readouterr().err.count("connections: 2 lost") == 2
        assert Patient.last.shown == ["first", "second"]

    def test_failures_are_printed_even_if_the_summary_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def refuse(path: Path, tree: Any, remedy: str) -> None:
            raise RunError(f"{path} cannot be written; {remedy}")

        monkeypatch.setattr(show, "write_json", refuse)
        with pytest.raises(RunError, match="cannot be written; the run itself has ended"):
            run_scenario(SCENARIO, Outputs(headless=True, summary=tmp_path / "a"), commands=commands(server="failed"))
        assert "server: " in capsys.readouterr().err

    def test_seconds_are_those_that_are_measured(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path, scenario = tmp_path / "a.json", msgspec.structs.replace(SCENARIO, seconds=0.6)
        assert run_scenario(scenario, Outputs(headless=True, summary=path), commands=commands()) == 0
        assert json.loads(path.read_text())["seconds"] >= 0.6 and capsys.readouterr().err == ""

    def test_a_run_too_short_says_so_and_has_null_figures(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("workbench.session.session.MEASURED_NS_LEAST", 10**18)  # However long it really takes.
        path, scenario = tmp_path / "a.json", msgspec.structs.replace(SCENARIO, seconds=0.01)
        assert run_scenario(scenario, Outputs(headless=True, summary=path), commands=commands()) == 0
        assert json.loads(path.read_text())["seconds"] is None
        line = r"nothing was measured: the load ran [1-9]\.\d s, and figures need at least 1\.5 s, .* warm-up\n"
        assert re.fullmatch(line, capsys.readouterr().err)

    @pytest.mark.parametrize(
        ("token", "warning"), [("", "OPEN TO THE NETWORK: "), ("12345678", "NOT ENCRYPTED: "), (None, "")]
    )
    def test_it_warns_as_serve_does(self, token: str | None, warning: str, capsys: pytest.CaptureFixture[str]) -> None:
        server = msgspec.structs.replace(
            SCENARIO.server, host="127.0.0.1" if token is None else "0.0.0.0", token=token or ""
        )
        scenario = msgspec.structs.replace(SCENARIO, seconds=0.1, server=server)
        assert run_scenario(scenario, HEADLESS, commands=commands()) == 0
        assert capsys.readouterr().err.startswith(warning)
        text = address_of(server).warning
        assert text.startswith(warning) and ":0/" not in text and "12345678" not in text

    def test_a_window_that_does_not_open_leaves_no_recording(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise NoDisplay("no display")

        monkeypatch.setattr("workbench.window.shell.window.Window", refuse)
        with pytest.raises(UserError, match="no display"):
            run_scenario(SCENARIO, Outputs(headless=False, record=tmp_path / "a.pxr"), commands=commands())
        assert list(tmp_path.iterdir()) == []

    def test_a_session_is_ended_whatever_happens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ended = []

        class Broken(show.Session):
            def start(self, now_ns: int) -> None:
                raise KeyError("a bug")

            def end(self, **manner: Any) -> None:
                super().end(**manner)
                ended.append(self)

        monkeypatch.setattr(show, "Session", Broken)
        with StopSignal() as stop, pytest.raises(KeyError):
            Show(HEADLESS, stop, commands=commands()).play(named("x"))
        assert len(ended) == 1


class TestGallery:
    def test_it_writes_a_picture_of_every_view(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from workbench.cli import gallery
        from workbench.window.shell.layout import VIEWS

        monkeypatch.setattr(gallery, "RUNS", (("first_light", ()),))
        monkeypatch.setattr(gallery, "_PATIENCE_S", 0.0)  # These panels draw nothing.
        folder = tmp_path / "new"
        make_gallery(folder, ["fleet.connections=5"], commands(), load_s=0, sizes=[(1280, 720)])
        expected = sorted(f"first_light-{view}-1280x720.png" for view in VIEWS)
        assert sorted(path.name for path in folder.iterdir()) == expected
        assert len(capsys.readouterr().out.splitlines()) == len(VIEWS)

    def test_an_impossible_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for folder, words in ((tmp_path / "file", "is a file"), (tmp_path / "no" / "folder", "there is no folder")):
            with pytest.raises(UserError, match=words):
                make_gallery(folder)
