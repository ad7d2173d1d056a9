"""The start and the end of the program: signals, and an output without a reader or without space."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.serving import PATIENCE_S
from workbench.cli import app as cli
from workbench.cli import exit

ROOT = Path(__file__).parents[3]


def test_a_closed_pipe_gives_no_message() -> None:
    reader, writer = os.pipe()
    os.close(reader)  # Before the first line is written, however slow this test is.
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", "scenarios"], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_full_disk_is_one_line(buffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "workbench", "scenarios"],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": buffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    line = "standard output cannot be written: No space left on device; make room, or send it elsewhere\n"
    assert (done.returncode, done.stderr) == (1, line)


@pytest.fixture
def handlers():
    """Signals are heard, though a shell may have tests in the background ignore them; and all is undone."""
    former = [signal.signal(number, signal.default_int_handler) for number in exit.SIGNALS]
    yield
    for number, handler in zip(exit.SIGNALS, former, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_ctrl_c_before_or_after_a_session(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "builtin_names", lambda: signal.raise_signal(signal.SIGINT))
    assert cli.run_main(["scenarios"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_imports(number: signal.Signals) -> None:
    """Whichever module is being loaded: the first that the command line asks for sends it."""
    program = f"""
import signal, sys
from workbench.__main__ import main

class Interrupter:
    def find_spec(self, name, path, target=None):
        if name == "workbench.cli.app":
            signal.raise_signal({int(number)})

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupter())
sys.argv = ["workbench", "fly"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("number", exit.SIGNALS)
@pytest.mark.usefixtures("handlers")
def test_a_signal_ends_it_with_0_and_none_comes_after_it(number: signal.Signals) -> None:
    with pytest.raises(SystemExit) as ended:
        exit.exit_after(lambda: signal.raise_signal(number))
    signal.raise_signal(number)  # Or this would end the tests.
    assert ended.value.code == 0


@pytest.mark.usefixtures("handlers")
def test_a_signal_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with pytest.raises(SystemExit) as ended:
        exit.exit_after(lambda: (signal.raise_signal(signal.SIGINT), 3)[1])
    assert ended.value.code == 3
