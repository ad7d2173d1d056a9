"""Programs whose caller closed standard streams, as daemons, cron wrappers and supervisors do: all goes as ever."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pytest

from server.system import clock
from support.serving import PATIENCE_S, Client

ROOT = Path(__file__).parents[3]
RECORDINGS = [str(ROOT / "tests" / "recordings" / f"first_light_{number}.pxr") for number in (1, 2)]
SMALL = ["first_light", "--seconds", "1", "--set", "fleet.connections=20", "--headless"]
COMBINATIONS = [closed for count in (1, 2, 3) for closed in combinations((0, 1, 2), count)]
ALL = (0, 1, 2)

LOOK = """
import os, sys
from server.system import standard_streams
standard_streams.open_closed()
null = os.stat(os.devnull).st_rdev
opened = os.memfd_create("page")
found = [number for number in range(3) if os.fstat(number).st_rdev == null and os.get_inheritable(number)]
streams = [stream.fileno() for stream in (sys.stdin, sys.stdout, sys.stderr)]
print("said", flush=True)
print("written", file=sys.stderr, flush=True)
right = sorted(standard_streams.closed) == found and streams == [0, 1, 2] and opened > 2 and sys.stdin.read() == ""
os._exit(sum(1 << number for number in found) if right else 99)
"""


def closing(closed: Sequence[int], *command: str) -> list[str]:
    """The command as a shell starts it when these descriptors are closed."""
    signs = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in closed)
    return ["sh", "-c", f'exec "$@" {signs}', "sh", *command]


def workbench(closed: Sequence[int], *arguments: str) -> list[str]:
    return closing(closed, sys.executable, "-m", "workbench", *arguments)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """What it says where it can, with nothing in the way of what it reads."""
    reader, writer = os.pipe()  # Not the null device: what is found there was opened by the program.
    os.close(writer)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, stdin=reader, capture_output=True, text=True, check=False
        )
    finally:
        os.close(reader)


@pytest.mark.parametrize("closed", [(), *COMBINATIONS])
def test_what_was_closed_is_the_null_device(closed: tuple[int, ...], tmp_path: Path) -> None:
    done = run(closing(closed, sys.executable, "-c", LOOK), tmp_path)
    assert done.returncode == sum(1 << number for number in closed), done
    assert done.stdout == ("" if 1 in closed else "said\n")
    assert done.stderr == ("" if 2 in closed else "written\n")


@pytest.mark.parametrize(
    ("closed", "words", "code", "left"),
    [
        *((closed, ["scenarios"], 0, "") for closed in COMBINATIONS),
        *((closed, ["run", "nonesuch"], 2, "") for closed in COMBINATIONS),
        ((0, 2), ["run", *SMALL, "--summary", "-"], 0, ""),
        ((0, 1), ["run", *SMALL, "--summary", "-"], 2, ""),
        ((0,), ["run", *SMALL, "--summary", "run.json"], 0, "run.json"),
        ((1, 2), ["run", *SMALL, "--record", "run.pxr"], 0, "run.pxr"),
        (ALL, ["run", *SMALL, "--screenshot", "run.png", "--summary", "run.json"], 0, "run.json"),
        (ALL, ["doctor"], 0, ""),
        (ALL, ["compare", *RECORDINGS, "--json", "differ.json"], 0, "differ.json"),
        (ALL, ["report", RECORDINGS[0], "--out", "report.html"], 0, "report.html"),
        (ALL, ["export", RECORDINGS[0], "samples.csv"], 0, "samples.csv"),
        (ALL, ["replay", RECORDINGS[0], "--screenshot", "end.png"], 0, "end.png"),
        (ALL, ["bench", "engine", "--quick", "--out", "results"], 0, "results"),
    ],
)
def test_a_command_does_as_with_the_null_device(
    closed: tuple[int, ...], words: list[str], code: int, left: str, tmp_path: Path
) -> None:
    done = run(workbench(closed, *words), tmp_path)
    assert done.returncode == code, done
    assert len(done.stderr.splitlines()) == int(code == 2 and 2 not in closed), done.stderr
    assert "Traceback" not in done.stdout
    if left:
        assert (tmp_path / left).exists()
    if code == 0 and "--summary" in words:
        summary = json.loads((tmp_path / left).read_text() if left else done.stdout)
        assert summary["connections"] == 20 and not summary["viewers_wrong"] and not summary["connections_lost"]


@pytest.mark.parametrize(
    "module", ["server", "devices", "devices.hostile", "plots", "workbench.rerun", "workbench.bench.peers"]
)
def test_a_process_that_is_started_by_hand_says_what_it_is(module: str, tmp_path: Path) -> None:
    done = run(closing((0, 1), sys.executable, "-m", module, "websockets"), tmp_path)
    line = "this program is started by the workbench and reads its commands from standard input\n"
    assert (done.returncode, done.stderr) == (1, line)


def test_serve_and_a_fleet_without_any_stream(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = workbench(ALL, "serve", "--port", str(port), "--size", "64x64", "--summary", "serve.json")
    serving = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        await_listening(serving, port)
        with Client(port) as client:
            client.open()
            client.ping()
        url = f"ws://127.0.0.1:{port}/canvas"
        words = ["fleet", url, "--connections", "20", "--seconds", "1", "--summary", "fleet.json"]
        assert run(workbench(ALL, *words), tmp_path).returncode == 0
    finally:
        serving.send_signal(signal.SIGTERM)
        code = serving.wait(PATIENCE_S)
    assert code == 0
    assert json.loads((tmp_path / "serve.json").read_text())["connections"] >= 21
    fleet = json.loads((tmp_path / "fleet.json").read_text())
    assert fleet["connections"] == 20 and fleet["offered_per_s"] > 0 and not fleet["connections_lost"]


def await_listening(serving: subprocess.Popen[bytes], port: int) -> None:
    """Return once it accepts clients, which it cannot print; fail when it ends."""
    while True:
        assert serving.poll() is None, f"it ended with {serving.returncode}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        clock.wait_s(0.05)
