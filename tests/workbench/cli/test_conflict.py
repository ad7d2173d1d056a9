"""Conflicting options: each pair of the table is refused in one line, and no other."""

from pathlib import Path
from typing import Any

import pytest
import typer.main

from workbench.cli import app as cli
from workbench.cli.option import CONFLICTS
from workbench.run import show as run_command

VALUES = {
    "SCENARIO": "crowd",
    "CASE": "quiet",
    "--gallery": "--gallery pictures",
    "--from-recording": "--from-recording a.pxr",
    "--record": "--record b.pxr",
    "--screenshot": "--screenshot a.png",
    "--summary": "--summary a.json",
    "--video": "--video a.mp4",
    "--seconds": "--seconds 1",
    "--seed": "--seed 1",
    "--trials": "--trials 2",
    "--out": "--out results",
}
"""How each is written that is not a name alone."""
FIRST = {"replay": "replay kept.pxr"}
"""A command with what it always takes."""
PAIRS = [
    (command, conflict.option, other)
    for command, conflicts in CONFLICTS.items()
    for conflict in conflicts
    for other in conflict.others
]


@pytest.mark.parametrize(("command", "option", "other"), PAIRS)
def test_a_pair_is_refused_in_one_line(
    command: str,
    option: str,
    other: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for pair in ((option, other), (other, option)):
        words = " ".join([FIRST.get(command, command), *(VALUES.get(name, name) for name in pair)])
        assert cli.run_main(words.split()) == 2
        out, err = capsys.readouterr()
        assert out == "" and len(err.splitlines()) == 1
        assert f"{option} and {other} conflict: " in err and "leave one of them out" in err
    assert list(tmp_path.iterdir()) == []


def test_the_table_names_options_that_there_are() -> None:
    commands: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    for command, conflicts in CONFLICTS.items():
        known = {name for param in commands[command].params for name in (*param.opts, param.metavar)}
        assert {name for conflict in conflicts for name in (conflict.option, *conflict.others)} <= known


def test_options_outside_the_table_do_not_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(run_command, "run_tour", lambda *given: asked.append(given) or 0)
    words = (
        "run --tour --headless --seconds 2 --seed 3 --port 0 --set loops=2 --record a.pxr --summary a --screenshot b"
    )
    assert cli.run_main(words.split()) == 0
    ((outputs, overrides),) = asked
    assert (outputs.headless, outputs.record, outputs.summary) == (True, Path("a.pxr"), Path("a"))
    assert overrides == ["loops=2", "seconds=2.0", "seed=3", "server.port=0"]


def test_an_environment_variable_conflicts_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(run_command, "run_scenario", lambda *given, **how: asked.append(given) or 0)
    monkeypatch.setenv("PIXELCANVAS_TOKEN", "of-the-environment")
    assert cli.run_main(["fleet", "ws://h:1/canvas?token=of-the-address"]) == 0
    assert asked[0][2].token == "of-the-address"
