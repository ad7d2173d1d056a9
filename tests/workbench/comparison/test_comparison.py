"""Comparing runs: the start of the steady state, noise intervals, verdicts and conditions."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plots.history import SAMPLE
from plots.number import with_unit
from plots.overlay import PLOTS, draw_overlay
from support import recorded_run
from workbench.cli.app import run_main
from workbench.comparison import statistics
from workbench.comparison.command import compare_files, overlay_runs, run_compare, tree_of
from workbench.comparison.comparison import Comparison, DifferenceVerdict, parse_condition
from workbench.comparison.metric import METRICS, METRICS_BY_KEY
from workbench.comparison.statistics import BATCH, difference, estimate, load_span, ratio, steady_state, warm_up
from workbench.comparison.table import foot_lines
from workbench.errors import RunError, UserError

RUNS = {
    "a": {},
    "same": {"seed": 9},
    "slower": {"seed": 19, "admitted_per_s": 900.0},
    "slightly": {"seed": 29, "admitted_per_s": 999.5},
    "short": {"seed": 39, "count": 150},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    paths = {
        name: recorded_run.write_run(folder / f"{name}.pxr", recorded_run.samples_of_run(**how))
        for name, how in RUNS.items()
    }
    machine = recorded_run.MACHINE | {"cores": 8}
    paths["elsewhere"] = recorded_run.write_run(folder / "elsewhere.pxr", machine=machine)
    return paths


@cache
def comparison_of(*paths: Path) -> Comparison:
    return compare_files(list(paths))


def compared(files: dict[str, Path], *names: str) -> Comparison:
    """Read and worked out once for all tests: nothing of it can be changed."""
    return comparison_of(*(files[name] for name in names))


def verdict(comparison: Comparison, key: str, index: int = 1) -> DifferenceVerdict:
    return comparison.outcome(METRICS_BY_KEY[key], comparison.runs[index]).verdict


# --- The steady state ---


@given(st.lists(st.integers(0, 50), min_size=30, max_size=200), st.integers(0, 60))
@settings(deadline=None)
def test_the_cut_follows_the_definition(rest: list[int], climb: int) -> None:
    values = [float(step) for step in range(climb)] + [60.0 + value for value in rest]
    means = np.array(values[: len(values) // BATCH * BATCH]).reshape(-1, BATCH).mean(axis=1)
    cut, _ = warm_up(np.array(values))
    stay = max(BATCH, len(means) // 10)
    errors = [np.var(means[first:]) / len(means[first:]) for first in range(len(means) - stay + 1)]
    assert errors[cut // BATCH] == pytest.approx(min(errors), abs=1e-9)


def test_a_ramp_is_cut_and_a_constant_is_not() -> None:
    level = recorded_run.correlated(500, 100.0, 1.0, 3)
    assert warm_up(np.full(300, 7.0)) == (0, True)
    assert warm_up(level)[0] <= 50
    cut, settled = warm_up(np.concatenate([np.linspace(0, 100, 80), level]))
    assert 70 <= cut <= 130
    assert settled


def test_a_series_that_never_settles_is_reported() -> None:
    assert not warm_up(np.concatenate([np.zeros(400), np.linspace(0, 100, 60), np.full(100, 100.0)]))[1]
    assert warm_up(np.zeros(4)) == (0, False)


def test_unknown_values_are_ignored() -> None:
    values = np.concatenate([np.linspace(0, 100, 80), recorded_run.correlated(500, 100.0, 1.0, 3)])
    with_gaps = values.copy()
    with_gaps[200:230] = np.nan
    assert abs(warm_up(with_gaps)[0] - warm_up(values)[0]) <= 4 * BATCH
    assert warm_up(np.full(100, np.nan))[0] == 0


def test_the_steady_state_lies_within_the_load() -> None:
    rows = recorded_run.samples_of_run(900)
    start, stop = load_span(rows)
    assert (start, stop) == (recorded_run.IDLE + 10, 900 - recorded_run.DRAIN - 10)
    steady = steady_state(rows)
    assert steady.settled
    assert steady.stop == stop
    assert recorded_run.WARM_UP - 10 <= steady.start - recorded_run.IDLE <= recorded_run.WARM_UP + 60
    assert load_span(np.zeros(50, SAMPLE)) == (0, 0)
    assert steady_state(np.zeros(0, SAMPLE)).stop == 0


# --- Noise ---


def test_the_interval_covers_the_true_value_as_often_as_claimed() -> None:
    held = 0
    for seed in range(60):
        found = estimate(recorded_run.correlated(600, 100.0, 5.0, seed), 0.1, seed=seed)
        assert found is not None
        assert found.interval is not None
        held += found.interval.contains(100.0)
    assert held >= 54  # 99 % is meant; few blocks make it a little less.


def test_without_blocks_noise_would_look_like_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks keep the correlation of neighbours, which widens the interval."""
    values = recorded_run.correlated(600, 100.0, 5.0, 1)
    blocks = estimate(values, 0.1)
    assert blocks is not None and blocks.interval is not None
    monkeypatch.setattr(statistics, "BLOCK_S", 0.1)
    monkeypatch.setattr(statistics, "BLOCKS_MOST", len(values))
    single = estimate(values, 0.1)
    assert single is not None and single.interval is not None
    assert blocks.interval.high - blocks.interval.low > 1.5 * (single.interval.high - single.interval.low)


def test_the_same_series_give_the_same_interval() -> None:
    values = recorded_run.correlated(600, 100.0, 5.0, 1)
    one, other = estimate(values, 0.1), estimate(values, 0.1)
    assert one is not None and other is not None
    assert one.interval == other.interval


def test_an_unknown_estimate_is_none() -> None:
    assert estimate(np.full(10, np.nan), 0.1) is None
    short, long = estimate(np.ones(50), 0.1), estimate(np.ones(500), 0.1)
    zero = estimate(np.zeros(500), 0.1)
    assert short is not None and long is not None and zero is not None
    assert short.interval is None
    assert difference(short, long) is None
    assert ratio(zero, long) is None
    assert difference(zero, long) is not None


def test_thinning_a_long_series_keeps_its_interval() -> None:
    long = estimate(recorded_run.correlated(20_000, 100.0, 5.0, 4), 0.1)
    assert long is not None and long.interval is not None
    assert long.interval.contains(100.0)
    assert long.interval.high - long.interval.low < 1.0


# --- Comparison ---


def test_a_difference_is_distinguished_from_noise(files: dict[str, Path]) -> None:
    comparison = compared(files, "a", "same", "slower", "slightly")
    assert [verdict(comparison, "admitted_per_s", index) for index in (1, 2, 3)] == [
        DifferenceVerdict.NOISE,
        DifferenceVerdict.LESS,
        DifferenceVerdict.NOISE,
    ]
    outcome = comparison.outcome(METRICS_BY_KEY["admitted_per_s"], comparison.runs[2])
    assert outcome.is_better is False
    assert outcome.ratio == pytest.approx(0.9, abs=0.01)
    assert outcome.ratio_interval is not None
    assert outcome.ratio_interval.contains(0.9)
    assert verdict(comparison, "placement_to_view_ms_p99", 2) is DifferenceVerdict.NOISE
    assert verdict(comparison, "shed_per_s") is DifferenceVerdict.NOISE


def test_different_machines_are_not_compared(files: dict[str, Path]) -> None:
    comparison = compared(files, "a", "elsewhere")
    assert {verdict(comparison, metric.key) for metric in METRICS} <= {
        DifferenceVerdict.UNLIKE,
        DifferenceVerdict.UNKNOWN,
    }
    assert [str(one) for one in comparison.machines] == ["cores (2 / 8)"]
    assert comparison.settings == ()


def test_a_cpu_quota_prevents_a_verdict_and_a_file_limit_does_not(tmp_path: Path) -> None:
    base = recorded_run.MACHINE | {"core_quota": 2, "open_files": 20_000}
    machines = {
        "a": base,
        "quota": base | {"core_quota": 1.5},
        "files": base | {"core_quota": 2.0, "open_files": 4096},
        "earlier": recorded_run.MACHINE,
    }
    paths = {name: recorded_run.write_run(tmp_path / f"{name}.pxr", machine=facts) for name, facts in machines.items()}
    unlike = compared(paths, "a", "quota")
    assert [str(one) for one in unlike.machines] == ["core_quota (2 / 1.5)"]
    assert verdict(unlike, "admitted_per_s") is DifferenceVerdict.UNLIKE
    alike = compared(paths, "a", "files", "earlier")
    assert alike.machines == ()
    assert [str(one) for one in alike.bounds] == ["open_files (20000 / 4096 / not recorded)"]
    assert {verdict(alike, "admitted_per_s", index) for index in (1, 2)} == {DifferenceVerdict.NOISE}
    assert any("open_files (20000 / 4096 / not recorded)" in line for line in foot_lines(alike))


def test_a_short_run_has_no_verdict(files: dict[str, Path]) -> None:
    assert verdict(compared(files, "a", "short"), "admitted_per_s") is DifferenceVerdict.SHORT


def test_one_recording_is_rejected(files: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="1 recording given; compare needs two or more"):
        compare_files([files["a"]])


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1_019_000, "/s", "1.02 M/s"),
        (0, "/s", "0/s"),
        (41.23, "ms", "41.2 ms"),
        (0.6, "%", "60 %"),
        (0.012, "%", "1.2 %"),
    ],
)
def test_values_as_text(value: float, unit: str, text: str) -> None:
    assert with_unit(value, unit) == text


# --- Conditions ---


@pytest.mark.parametrize(
    ("text", "name", "holds"),
    [
        ("admitted_per_s < 0.95x", "slower", True),
        ("admitted_per_s<0.95x", "same", False),
        ("admitted_per_s < 0.9x", "slower", False),  # As much below as above: noise fails no build.
        ("admitted_per_s >= 0.85x", "slower", True),
        ("admitted_per_s > 1.1x", "slower", False),
        ("admitted_per_s <= 950", "slower", True),
        ("admitted_per_s <= 950", "same", False),
        ("admitted_per_s < 950", "elsewhere", False),  # A plain number needs no likeness.
        ("placement_to_view_ms_p99 > 1.5e2", "same", False),
        ("utilisation_ratio_apply > .5", "same", True),
        ("throttled_per_s > 0", "same", True),
    ],
)
def test_a_condition_holds_beyond_the_noise(files: dict[str, Path], text: str, name: str, holds: bool) -> None:
    lines = parse_condition(text).broken_by(compared(files, "a", name))
    assert len(lines) == holds
    assert all(str(files[name]) in line and "\n" not in line for line in lines)


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        ("admitted_per_s < 0.95x", "elsewhere", r"different machine: cores \(2 / 8\)"),
        ("admitted_per_s < 0.95x", "short", "too short"),
        ("admitted_per_s < 950", "short", "too short"),
        ("shed_per_s > 2x", "same", "is 0"),
    ],
)
def test_an_undecided_condition_is_an_error(files: dict[str, Path], text: str, name: str, why: str) -> None:
    with pytest.raises(RunError, match=why):
        parse_condition(text).broken_by(compared(files, "a", name))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected METRIC < NUMBER"),
        ("admitted_per_s", "expected METRIC < NUMBER"),
        ("admitted_per_s = 5", "expected METRIC < NUMBER"),
        ("admitted_per_s < fast", "expected METRIC < NUMBER"),
        ("admitted_per_s < 5 x 3", "expected METRIC < NUMBER"),
        ("admited_per_s < 5", "did you mean 'admitted_per_s'"),
        ("q < 5", "there are offered_per_s"),
        ("admitted_per_s < 0x", "is not a limit"),
        ("admitted_per_s < 1e999", "is not a limit"),
    ],
)
def test_an_invalid_condition_is_reported_in_one_line(text: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as caught:
        parse_condition(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
@settings(deadline=None)
def test_any_text_is_a_condition_or_a_one_line_error(text: str) -> None:
    try:
        parse_condition(text)
    except UserError as error:
        assert "\n" not in str(error) or "\n" in text


# --- The command ---


def test_the_table_shows_everything(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["compare", str(files["a"]), str(files["slower"])]) == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.lstrip().startswith("admitted"))
    assert "998/s" in row
    assert "less, worse" in out
    assert "MSER-5" in out


def test_the_exit_code_follows_the_condition(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", str(files["a"]), str(files["slower"]), "--fail-if"]
    assert run_main([*words, "admitted_per_s < 0.95x", "--fail-if", "offered_per_s > 9x"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "admitted_per_s < 0.95x holds for" in line
    assert run_main([*words, "admitted_per_s < 0.5x"]) == 0
    assert run_main([*words, "what?"]) == 2
    assert run_main(["compare", str(files["a"]), str(files["elsewhere"]), "--fail-if", "admitted_per_s < 0.9x"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_json_and_plot_are_written(files: dict[str, Path], tmp_path: Path) -> None:
    json_file, plot = tmp_path / "c.json", tmp_path / "c.png"
    assert run_compare([files["a"], files["slower"]], json_file=json_file, plot=plot) == 0
    tree: dict[str, Any] = json.loads(json_file.read_text())
    first, second = (run["figures"]["admitted_per_s"] for run in tree["runs"])
    assert "ratio" not in first
    assert second["verdict"] == "less"
    assert second["ratio_interval"][0] < 0.9 < second["ratio_interval"][1]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert tree == json.loads(json.dumps(tree_of(compared(files, "a", "slower"))))


def test_invalid_outputs_are_rejected_first(files: dict[str, Path], tmp_path: Path) -> None:
    both = [files["a"], files["same"]]
    with pytest.raises(UserError, match=r"it must be \.png or \.svg"):
        run_compare(both, plot=tmp_path / "a.jpg")
    with pytest.raises(UserError, match="holds a recording or a journal"):
        run_compare(both, json_file=files["a"])
    with pytest.raises(UserError, match="there is no folder"):
        run_compare(both, json_file=tmp_path / "none" / "a.json")


def test_the_overlay_is_deterministic(files: dict[str, Path]) -> None:
    runs = overlay_runs(compared(files, "a", "slower"))
    one, other = (draw_overlay(runs, tuple(PLOTS)) for _ in range(2))
    assert one == other
    assert b"<svg" in one
    assert one != draw_overlay(runs[:1], tuple(PLOTS))


def test_runs_share_the_time_axis(files: dict[str, Path]) -> None:
    for run in overlay_runs(compared(files, "a", "short")):
        assert run.seconds[recorded_run.IDLE + 10] == 0
        assert run.steady[0] > 0
