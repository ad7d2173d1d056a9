"""A session with fake parts: it starts them, handles their events and stops them; no process outlives it."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import msgspec
import pytest

from plots.ipc import Resize
from server.ipc.control import News, Stop
from server.system import clock
from support.serving import PATIENCE_S
from support.session_parts import FAKE, SCENARIO, commands, make, pump, started
from workbench.address import Address
from workbench.run.show import Outputs, run_scenario
from workbench.scenarios.fault import Fault
from workbench.session.processes import Process, ProcessEvent, module_command
from workbench.session.session import MEASURED_NS_LEAST, Session
from workbench.telemetry.summary import summarise

ROOT = Path(__file__).parents[3]


@pytest.fixture
def ended() -> Iterator[Callable[[Session], Session]]:
    """`ended(session)` registers a session that is ended whatever the test does."""
    sessions: list[Session] = []

    def register(session: Session) -> Session:
        sessions.append(session)
        return session

    yield register
    for session in sessions:
        session.end()
        session.close()


def wait_until_gone(pid: int) -> None:
    """Wait until any process has exited, a child or not; fail on timeout."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with os.fdopen(descriptor):
        ready, _, _ = select.select([descriptor], [], [], PATIENCE_S)
        assert ready, f"process {pid} is still alive"


class TestOrder:
    def test_load_begins_when_the_fleet_sends(self, ended: Callable[[Session], Session]) -> None:
        session = ended(started(make()))
        assert session.view().run_seconds == 0
        pump(session, lambda: session.load_started_ns > 0)
        view = session.view()
        assert view.url == "ws://127.0.0.1:4321/canvas"
        assert [(part.name, part.state) for part in view.parts] == [("server", "running"), ("fleet", "running")]

    def test_progress_is_shown_until_it_runs(self, ended: Callable[[Session], Session]) -> None:
        session = ended(started(make()))
        pump(session, lambda: session.view().parts[0].progress is not None or session.load_started_ns > 0)
        pump(session, lambda: session.load_started_ns > 0)
        assert session.view().parts[0].progress is None

    def test_view_shows_the_canvas_itself_read_only(self, ended: Callable[[Session], Session]) -> None:
        session = ended(started(make()))
        pump(session, lambda: session.load_started_ns > 0)
        pixels = session.view().pixels
        assert pixels.shape == (30, 40) and (pixels == 7).all()
        with pytest.raises(ValueError, match="read-only"):
            pixels[0, 0] = 1

    def test_end_drains_checks_and_stops(self) -> None:
        session = started(make(with_panels=True))
        pump(session, lambda: session.load_started_ns > 0)
        session.end()
        assert not session.failed, session.failures
        assert [part.state for part in session.view().parts] == ["stopped"] * 3
        measured = session.measured()
        assert int(measured.drained.fleet["viewer_checked_count"]) == 5
        assert measured.canvas_checksum is not None

    def test_end_is_idempotent(self) -> None:
        session = started(make())
        pump(session, lambda: session.load_started_ns > 0)
        session.end()
        session.end()
        assert not session.failed

    def test_end_before_anything_listens(self) -> None:
        session = started(make(server="stubborn"))
        session.end()
        assert not session.failed
        assert session.measured().first is None

    def test_a_part_that_does_not_stop_is_terminated(self) -> None:
        session = started(make(fleet="stubborn"))
        pump(session, lambda: session.load_started_ns > 0)
        session.end()
        assert not session.failed, "a part that we had to stop by force has not failed"
        assert session.view().parts[1].state == "stopped"

    def test_a_fleet_alone_connects_to_a_remote_server(self, ended: Callable[[Session], Session]) -> None:
        session = ended(started(make(address=Address("127.0.0.1", 9, "/canvas"))))
        pump(session, lambda: session.load_started_ns > 0)
        assert [part.name for part in session.view().parts] == ["fleet"]
        session.end()
        assert session.measured().canvas_checksum is None
        assert session.view().reading.received_per_s is None, "counters of a remote server are unknown"

    def test_steady_state_begins_a_second_after_the_load(self) -> None:
        session = started(make())
        pump(session, lambda: session.steady_ns >= MEASURED_NS_LEAST)
        session.end()
        first, last = session.measured().first, session.measured().last
        assert first is not None and first.time_ns >= session.load_started_ns + 10**9
        assert last is not None and last.time_ns - first.time_ns >= MEASURED_NS_LEAST

    def test_a_steady_state_too_short_for_a_rate_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        session = started(make())
        pump(session, lambda: session.steady_ns > 0)
        session.end()
        monkeypatch.setattr("workbench.session.session.MEASURED_NS_LEAST", session.steady_ns + 1)
        measured = session.measured()
        assert measured.first is measured.last is measured.tick_intervals_ns is None
        assert all(summarise(measured)[key] is None for key in ("seconds", "offered_per_s", "server_cpu_cores"))


class TestFailure:
    @pytest.mark.parametrize(
        ("part", "manner", "reason"),
        [
            ("server", "failed", "no room on the shelf"),
            ("server", "bug", "ended with exit code 1: RuntimeError: the wheel came off"),
            ("fleet", "failed", "no room on the shelf"),
            ("fleet", "bug", "ended with exit code 1: RuntimeError: the wheel came off"),
            ("server", "vanish", "ended with exit code 0"),
            ("fleet", "vanish", "ended with exit code 0"),
            ("server", "chatty", "sent an invalid event: b'hello\\n'"),
        ],
    )
    def test_a_failed_part_reports_its_reason(
        self, ended: Callable[[Session], Session], part: str, manner: str, reason: str
    ) -> None:
        session = ended(started(make(**{part: manner})))
        pump(session, lambda: session.failed)
        assert session.failures == [f"{part}: {reason}"]
        assert [p.failure for p in session.view().parts if p.name == part] == [reason]

    @pytest.mark.parametrize("part", ["server", "fleet", "panels"])
    def test_a_run_of_which_a_part_vanishes_is_no_success(self, part: str, capsys: pytest.CaptureFixture[str]) -> None:
        programs = commands(**{part: "vanish"})
        # A screenshot starts the panels in a headless run; without it there are none.
        outputs = Outputs(headless=True, screenshot=Path(os.devnull) if part == "panels" else None)
        assert run_scenario(SCENARIO, outputs, commands=programs) == 1
        assert capsys.readouterr().err == f"{part}: ended with exit code 0\n"

    def test_what_changed_around_parts_is_said_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        scenario = msgspec.structs.replace(SCENARIO, seconds=0.1)
        programs = commands(server="news", fleet="news")
        assert run_scenario(scenario, Outputs(headless=True), commands=programs) == 0
        assert capsys.readouterr().err == "some compiled kernels are damaged\n"

    @pytest.mark.parametrize("victim", ["server", "fleet", "panels"])
    def test_a_killed_part_is_named_and_the_others_keep_running(
        self, ended: Callable[[Session], Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
    ) -> None:
        monkeypatch.setenv("FAKE_PIDS", str(tmp_path))
        session = ended(started(make(with_panels=True)))
        pump(session, lambda: session.load_started_ns > 0 and len(list(tmp_path.iterdir())) == 3)
        os.kill(pid_of(tmp_path, victim), signal.SIGKILL)
        pump(session, lambda: session.failed)
        assert session.failures == [f"{victim}: ended by SIGKILL"]
        for other in {"server", "fleet", "panels"} - {victim}:
            os.kill(pid_of(tmp_path, other), 0)

    def test_a_fleet_that_lost_its_server_is_not_reported(
        self, ended: Callable[[Session], Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FAKE_PIDS", str(tmp_path))
        session = ended(started(make()))
        pump(session, lambda: session.load_started_ns > 0)
        for part in ("fleet", "server"):
            os.kill(pid_of(tmp_path, part), signal.SIGKILL)
            wait_until_gone(pid_of(tmp_path, part))
        pump(session, lambda: [part.state for part in session.view().parts] == ["failed", "failed"])
        assert session.failures == ["server: ended by SIGKILL"]

    def test_a_bug_keeps_its_traceback(self, ended: Callable[[Session], Session]) -> None:
        session = ended(started(make(server="bug")))
        pump(session, lambda: session.failed)
        session.end()
        assert len(session.tracebacks) == 1
        assert "Traceback (most recent call last)" in session.tracebacks[0]

    def test_a_killed_part_has_no_traceback(self, ended: Callable[[Session], Session]) -> None:
        session = ended(started(make(server="failed")))
        pump(session, lambda: session.failed)
        session.end()
        assert session.tracebacks == []


# --- As a process of its own ----------------------------------------------------------------------------------------

RUN = """
import sys
from devices.config import FleetConfig
from pathlib import Path
from workbench.run.show import run_scenario
from workbench.run.show import Outputs
from workbench.scenarios.scenario import Scenario
commands = {part: [sys.executable, sys.argv[1], part, "good"] for part in ("server", "fleet", "panels")}
scenario = Scenario(name="small", fleet=FleetConfig(connections=5))
sys.exit(run_scenario(scenario, Outputs(headless=True, summary=Path(sys.argv[2])), commands=commands))
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run without a window whose load has begun; its parts' process files are in `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, FAKE, str(tmp_path / "summary.json")],
        cwd=ROOT,
        env={**os.environ, "FAKE_PIDS": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "offered" in line:
            break
    yield process
    process.kill()
    process.communicate()


def pid_of(folder: Path, part: str) -> int:
    (path,) = folder.glob(f"{part}-*")
    return int(path.name.partition("-")[2])


def assert_nothing_left(folder: Path) -> None:
    for part in ("server", "fleet"):
        wait_until_gone(pid_of(folder, part))
    assert [path.name for path in Path("/dev/shm").iterdir() if "pixel" in path.name] == []


class TestLeftovers:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_it_in_order(
        self, running: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
    ) -> None:
        running.send_signal(number)
        _, errors = running.communicate(timeout=PATIENCE_S)
        assert running.returncode == 0
        assert re.fullmatch(
            r"nothing was measured: the load ran \d\.\d s, and figures need at least 1\.5 s.*\n", errors
        )
        assert_nothing_left(tmp_path)
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert summary["connections"] == summary["viewers_checked"] == 5
        assert [path.name for path in tmp_path.iterdir() if "summary" in path.name] == ["summary.json"]

    def test_kill_of_the_parent_leaves_nothing(self, running: subprocess.Popen[str], tmp_path: Path) -> None:
        running.kill()
        running.wait(PATIENCE_S)
        assert_nothing_left(tmp_path)

    def test_death_of_the_server_ends_it_with_one_line(self, running: subprocess.Popen[str], tmp_path: Path) -> None:
        os.kill(pid_of(tmp_path, "server"), signal.SIGKILL)
        _, errors = running.communicate(timeout=PATIENCE_S)
        assert (running.returncode, errors) == (1, "server: ended by SIGKILL\n")
        assert_nothing_left(tmp_path)


class TestControls:
    def test_a_knob_reaches_the_part_and_is_marked(self, ended: Callable[[Session], Session]) -> None:
        session = ended(started(make()))
        pump(session, lambda: session.load_started_ns > 0)
        session.controls.set("fleet.connections", 12, clock.now_ns())
        session.controls.set("server.tick_ms", 40, clock.now_ns())
        pump(session, lambda: session.view().reading.connection_count == 12)
        pump(session, lambda: session.view().reading.tick_ms == 40)
        pump(session, lambda: len(session.view().markers) == 2)
        assert [marker.text for marker in session.view().markers] == ["connections 5 > 12", "tick 100 > 40 ms"]

    def test_settings_changed_before_the_start_apply(self, ended: Callable[[Session], Session]) -> None:
        session = ended(make())
        session.controls.set("fleet.connections", 9, clock.now_ns())
        started(session)
        pump(session, lambda: session.view().reading.connection_count == 9)

    def test_faults_come_by_click_and_by_schedule(self, ended: Callable[[Session], Session]) -> None:
        scenario = msgspec.structs.replace(SCENARIO, faults=(Fault(kind="cut links", at_s=0, share=0.5),))
        session = ended(started(Session(scenario, with_panels=False, commands=commands())))
        pump(session, lambda: session.load_started_ns > 0)
        assert session.controls.fault("cut links", clock.now_ns()) == ""
        pump(session, lambda: int(session.fleet_page["fleet"]["cut_count"][0]) == 2)
        assert {marker.text for marker in session.view().markers} == {"cut 50 % of links", "cut 25 % of links"}


LATE_READER = """
import sys
from server.ipc import control
open(sys.argv[1]).close()
orders = []
for line in sys.stdin.buffer:
    orders.append(line)
    if b"Stop" in line:
        break
control.say(control.News(" ".join(str(b'"width":%d,' % number in line) for number, line in enumerate(orders[:-1]))))
"""


def test_sending_to_a_stalled_part_never_blocks_and_keeps_the_order(tmp_path: Path) -> None:
    gate, heard, count = tmp_path / "gate", SimpleQueue[ProcessEvent](), 5000
    os.mkfifo(gate)
    child = Process("server", [sys.executable, "-c", LATE_READER, str(gate)], [], heard)

    def order_all() -> None:
        for number in range(count):
            child.send(Resize(number, 1, 1.0))
        child.send(Stop())

    # More than a pipe holds: a blocking write would never return.
    sender = threading.Thread(target=order_all, daemon=True)
    sender.start()
    sender.join(PATIENCE_S)
    is_blocked = sender.is_alive()
    gate.write_text("")  # Blocks until the part opens the FIFO.
    deadline_ns = clock.now_ns() + PATIENCE_S * 10**9
    while heard.empty() and clock.now_ns() < deadline_ns:
        child.flush()
        child.wait(0.01)
    assert not is_blocked
    assert heard.get(timeout=PATIENCE_S).event == News(" ".join(["True"] * count))
    child.stop(PATIENCE_S)
    child.send(Stop())  # The child has exited: the order is dropped without an error.


def test_children_are_not_shadowed_by_the_folder_they_start_in(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text("raise SystemExit('shadowed')")
    command = module_command("server")
    assert command[1:] == ["-P", "-m", "server"]
    found = subprocess.run(
        [*command[:2], "-c", "import server; print(server.__file__)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()) == ROOT / "server" / "__init__.py"
