"""Benchmarks: which programs run in which order, what tables show, and quick runs from start to file."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conftest import give_up, is_ci
from server.config import ServerConfig
from workbench.bench import command, program, result
from workbench.bench.case import case_names, case_of
from workbench.bench.command import Terms, list_cases, run_bench, run_case
from workbench.bench.engine import run_engine
from workbench.bench.program import OURS, PEERS, PORTABLE, SINK, Place
from workbench.bench.result import BenchResult, CaseResult, Row
from workbench.bench.table import FIGURES, amount, case_text, warnings
from workbench.bench.trial import Outcome, Work, run_trial
from workbench.errors import RunError, UserError
from workbench.scenarios.scenario import Scenario, scenario_of


def outcome(value: float | None, *, faults: tuple[str, ...] = (), **figures: float) -> Outcome:
    return Outcome({"messages_per_core_s": value, **figures}, Work(100, 100, 100, "cafe0001", faults))


def row(program: str, *values: float | None, step: str = "full") -> Row:
    return Row(step, program, tuple(outcome(value) for value in values))


def case_result(*rows: Row, notes: tuple[str, ...] = ()) -> CaseResult:
    return CaseResult("quiet", "a title", "messages_per_core_s", 5.0, "server on core 0", rows, notes)


def terms(**changes: Any) -> Terms:
    values = {
        "trials": 2,
        "quick": True,
        "peers": False,
        "show_progress": lambda text: None,
        "is_stopped": lambda: False,
    }
    return Terms(**{**values, **changes})


class TestCases:
    @pytest.mark.parametrize("name", case_names())
    @pytest.mark.parametrize("quick", [True, False])
    def test_every_step_is_a_scenario(self, name: str, quick: bool) -> None:
        case = case_of(name, quick=quick)
        assert case.name == name and {case.primary, *case.columns} <= set(FIGURES)
        for step in case.steps:
            scenario = scenario_of(step.tree, name)
            server, fleet = scenario.server, scenario.fleet
            assert server.rate_per_s >= min(fleet.rate_per_s, 65535), "the bucket must not be what is measured"
            assert fleet.connections <= (300 if quick else 17_000)

    def test_list_names_each_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert list_cases() == 0
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == case_names()

    @pytest.mark.parametrize(
        ("case", "options", "line"),
        [
            ("quite", {}, "no case 'quite'; did you mean 'quiet'? 'workbench bench --list' names them"),
            ("quiet", {"trials": 0}, "--trials is 0; it must be 1 to 99"),
            (
                "quiet",
                {"out": Path(__file__)},
                f"--out {__file__} cannot be a folder: File exists; choose another place",
            ),
        ],
    )
    def test_mistakes_are_reported_before_anything_runs(self, case: str, options: dict[str, Any], line: str) -> None:
        with pytest.raises(UserError) as error:
            run_bench(case, **{"quick": True, "peers": False, "trials": None, "out": None, **options})
        assert str(error.value) == line


class TestPrograms:
    def test_programs_that_only_count_have_no_viewers(self) -> None:
        scenario = Scenario()
        assert program.adapted(scenario, OURS) == scenario
        assert program.adapted(scenario, SINK).server.counts_only
        assert program.adapted(scenario, PORTABLE).server.loop == "portable"
        for name in (SINK, *PEERS):
            assert program.adapted(scenario, name).fleet.viewers == "none"

    def test_peers_are_not_overloaded(self) -> None:
        step = case_of("quiet", quick=False).steps[0]
        scenario = scenario_of(step.tree, "quiet")
        assert program.adapted(scenario, "picows").fleet.rate_per_s == 60
        fleet = program.adapted(scenario, "websockets").fleet
        assert fleet.rate_per_s * fleet.connections == pytest.approx(100_000)

    def test_a_missing_program_has_a_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        monkeypatch.setattr("shutil.which", lambda name: None)
        assert [program.missing(name) for name in (OURS, SINK)] == ["", ""]
        assert program.missing("picows") == "picows is not installed: pip install picows"
        assert program.missing("Node ws").endswith("install Node.js")

    def test_parts_are_put_on_their_cores(self) -> None:
        commands = program.commands("picows", Place(3, 4, 10))
        assert commands["server"][-5:] == ["workbench.bench.pinned", "3", "10", "workbench.bench.peers", "picows"]
        assert commands["fleet"][-3:] == ["4", "0", "devices"]


class TestOrder:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The programs, in order, instead of running them; the sink fails at its second trial."""
        programs: list[str] = []

        def pretend(
            scenario: Scenario, commands: Any, seconds: float, is_stopped: Callable[[], bool], *, overloads: bool
        ) -> Outcome:
            programs.append(SINK if scenario.server.counts_only else OURS)
            if programs[-1] == SINK and programs.count(SINK) == 2:
                raise RunError("server: ended by SIGKILL")
            return outcome(5.0, admitted_per_s=50_000.0)

        monkeypatch.setattr(command, "run_trial", pretend)
        return programs

    def test_trials_are_interleaved_and_a_failure_is_left_out(self, asked: list[str]) -> None:
        found = run_case(case_of("headline", quick=True), terms(trials=3))
        assert asked == [OURS, SINK, OURS, SINK, OURS], "a program that failed is not tried again"
        assert [(row.program, len(row.outcomes)) for row in found.rows] == [(OURS, 3), (SINK, 1)]
        assert found.notes == (f"left out: sink ({found.rows[0].step}): server: ended by SIGKILL",)
        assert found.has_failed

    def test_a_failed_program_is_no_success(self, asked: list[str]) -> None:
        assert run_bench("headline", quick=True, peers=False, trials=1, out=None) == 0
        assert run_bench("headline", quick=True, peers=False, trials=2, out=None) == 1

    def test_stopping_ends_it(self, asked: list[str]) -> None:
        found = run_case(case_of("headline", quick=True), terms(is_stopped=lambda: len(asked) == 1))
        assert asked == [OURS] and len(found.rows) == 1

    def test_the_load_is_scaled_to_the_capacity(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rates: list[float] = []

        def pretend(scenario: Scenario, *others: object, overloads: bool = False) -> Outcome:
            rates.append(scenario.fleet.rate_per_s)
            return outcome(5.0, admitted_per_s=50_000.0)

        monkeypatch.setattr(command, "run_trial", pretend)
        monkeypatch.setattr(program, "place", lambda slowed: Place(0, 1, 10))
        run_case(case_of("overload", quick=True), terms(trials=1))
        assert rates[1:] == [500.0, 1000.0, 2000.0] and rates[0] > 2000

    def test_an_impossible_case_is_one_line(self, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        case = case_of("quiet", quick=True)
        case.steps[0].tree["fleet"]["colour"] = "red"
        found = run_case(case, terms())
        assert asked == [] and found.rows == ()
        (note,) = found.notes
        assert note.startswith("skipped: bench quiet: $.fleet.colour is not a known key")


class TestStatistics:
    def test_median_and_spread(self) -> None:
        assert row(OURS, 90.0, 100.0, 120.0).median("messages_per_core_s") == 100
        assert row(OURS, 90.0, 100.0, 120.0).spread("messages_per_core_s") == pytest.approx(0.3)

    def test_an_unknown_figure_is_none(self) -> None:
        assert row(OURS, None).median("messages_per_core_s") is None
        assert row(OURS, 5.0).spread("messages_per_core_s") is None

    @pytest.mark.parametrize(
        ("value", "text"), [(1_020_000, "1.02M"), (999_999, "1M"), (12.34, "12.3"), (89_400, "89.4k"), (0.0, "0")]
    )
    def test_amounts_have_three_digits(self, value: float, text: str) -> None:
        assert amount(value) == text


class TestTable:
    def test_ratios_are_to_the_sink_and_to_peers(self) -> None:
        text = case_text(case_result(row(OURS, 50.0), row(SINK, 100.0), row("picows", 20.0)), (), quick=False)
        lines = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("    ")}
        assert lines[OURS][1:] == ["50", "-", "0.50x"]
        assert lines[SINK][1:] == ["100", "-", "1.00x"]
        assert lines["picows"][1:] == ["20", "-", "0.20x", "2.50x"]

    def test_without_a_sink_ratios_are_to_the_first_row(self) -> None:
        rows = row(OURS, 50.0, step="all read"), row(OURS, 60.0, step="some do not")
        text = case_text(case_result(*rows), (), quick=False)
        assert "of first" in text and "1.20x" in text

    def test_columns_are_aligned(self) -> None:
        text = case_text(case_result(row(OURS, 50.0), row(SINK, 1e9)), ("server_cpu_cores",), quick=False)
        heads, *others = (line for line in text.splitlines() if line.startswith("    "))
        assert {len(line) for line in others} == {len(heads)}

    def test_a_wide_spread_is_warned_of_with_a_command(self) -> None:
        assert warnings(case_result(row(OURS, 100.0, 105.0, 100.0))) == []
        (line,) = warnings(case_result(row(OURS, 100.0, 120.0, 100.0)))
        assert "workbench (full) spreads over 20%" in line and "workbench bench quiet --trials 7" in line

    def test_faults_and_notes_are_shown(self) -> None:
        wrong = Row("full", OURS, (outcome(1.0, faults=("3 connections lost",)),))
        text = case_text(case_result(wrong, notes=("left out: picows is not installed",)), (), quick=True)
        assert "fault: workbench (full): 3 connections lost" in text
        assert "left out: picows is not installed" in text and "quick run" in text
        assert "work: 100 of 100 messages sent were read; checksum cafe0001" in text


class TestFile:
    def test_every_trial_is_kept(self, tmp_path: Path) -> None:
        whole = result.new_result(
            result.utc_now(), quick=True, trials=2, cases=(case_result(row(OURS, 1.0, 2.0), row(SINK, None)),)
        )
        path = result.keep(tmp_path, whole)
        assert re.fullmatch(r"bench-\d{8}-\d{6}\.json", path.name)
        read = msgspec.json.decode(path.read_bytes(), type=BenchResult)
        assert read == whole
        assert read.machine["cores"] > 0 and "numpy" in read.versions

    def test_the_folder_is_created(self, tmp_path: Path) -> None:
        result.require_folder(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").is_dir()


# --- The real thing, small ------------------------------------------------------------------------------------------


class TestEngine:
    CONFIG = ServerConfig(width=32, height=8, rate_per_s=65535, burst=65535)

    def run(self, seed: int) -> Outcome:
        found = run_engine(self.CONFIG, 64, 12, 3, seed, lambda: False)
        assert found is not None
        return found

    def test_the_same_work_gives_the_same_canvas(self) -> None:
        first, second, other = (self.run(seed) for seed in (1, 1, 2))
        assert first.work == second.work
        assert first.work.checksum != other.work.checksum
        assert first.work.admitted == 64 * 12 * 4 and not first.work.faults
        assert all(value is not None and value > 0 for value in first.figures.values())

    def test_rejected_placements_are_a_fault(self) -> None:
        tight = msgspec.structs.replace(self.CONFIG, burst=12)
        found = run_engine(tight, 64, 12, 3, 1, lambda: False)
        assert found is not None and found.work.faults

    @pytest.mark.parametrize("questions", [0, 3, 10_000])
    def test_a_stop_does_not_wait_for_the_end(self, questions: int) -> None:
        asked = itertools.count(1)
        found = run_engine(self.CONFIG, 64, 12, 10**9, 1, lambda: next(asked) > questions)
        assert found is None and next(asked) == questions + 2


def small_scenario() -> Scenario:
    tree = {"server": {"width": 32, "height": 4}, "fleet": {"connections": 50, "rate_per_s": 60, "viewers": "none"}}
    return scenario_of(tree, "small")


class TestTrials:
    def test_a_quick_case_from_start_to_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_bench("headline", quick=True, peers=False, trials=None, out=tmp_path) == 0
        (path,) = tmp_path.iterdir()
        (case,) = msgspec.json.decode(path.read_bytes(), type=BenchResult).cases
        assert [row.program for row in case.rows] == [OURS, SINK] and case.notes == ()
        for row_ in case.rows:
            (one,) = row_.outcomes
            assert one.work.sent == one.work.received == one.work.admitted > 200 * 60 and one.work.faults == ()
            assert one.figures["messages_per_core_s"] is not None
        text = capsys.readouterr().out
        assert "every one of them watching" in text and "1.00x" in text and str(path) in text

    def test_connecting_is_measured(self) -> None:
        found = run_case(case_of("connect_storm", quick=True), terms(trials=1))
        assert found.notes == () and [row.program for row in found.rows] == [OURS, SINK]
        for row_ in found.rows:
            assert (row_.median("connects_per_s") or 0) > 0 and row_.median("refused") == 0

    @pytest.mark.parametrize("name", PEERS)
    def test_a_peer_counts_every_message(self, name: str) -> None:
        if why := program.missing(name):
            give_up(name, why, in_ci=is_ci())
        scenario = program.adapted(small_scenario(), name)
        found = run_trial(scenario, program.commands(name, Place()), 0.5, lambda: False)
        assert found is not None
        assert found.work.sent == found.work.received > 0 and found.work.faults == ()
        assert (found.figures["messages_per_core_s"] or 0) > 0

    def test_a_failed_process_is_named(self) -> None:
        commands = dict(program.commands(OURS, Place()))
        commands["server"] = [*commands["server"][:-1], "no_such_module"]
        with pytest.raises(RunError, match=r"^server: ended with exit code 1: .*no_such_module"):
            run_trial(small_scenario(), commands, 1.0, lambda: False)

    def test_stopping_before_the_load_leaves_no_outcome(self) -> None:
        assert run_trial(small_scenario(), program.commands(OURS, Place()), 60.0, lambda: True) is None
