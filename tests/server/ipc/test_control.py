"""Messages between a session and its processes: one JSON object per line, and an end of input that ends the child."""

import io
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from server.config import ServerConfig
from server.ipc import control
from server.ipc.control import (
    CheckViewers,
    Failed,
    Follow,
    Listening,
    Phase,
    Progress,
    StartServer,
    Stop,
    StopSending,
    write_line,
)
from support.serving import PATIENCE_S

ROOT = Path(__file__).parents[3]
EVENTS = [Progress("compiling", 3, 19), Listening("127.0.0.1", 80), Phase("quiet"), Failed("no é\nline")]
COMMANDS = [Stop(), StopSending(), CheckViewers(), Follow(7)]


@pytest.mark.parametrize("message", [*EVENTS, *COMMANDS], ids=lambda message: type(message).__name__)
def test_a_message_is_one_line_that_gives_it_back(message):
    stream = io.BytesIO()
    write_line(stream, message)
    line = stream.getvalue()
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    kind = control.Event if message in EVENTS else control.Command
    assert msgspec.json.decode(line, type=kind) == message


@pytest.mark.parametrize(
    "start",
    [StartServer(ServerConfig(width=9, origins=("https://a.example",)), 3, 4), StartServer(ServerConfig(), 5, 6, 7, 8)],
)
def test_a_start_gives_it_back(start):
    assert msgspec.json.decode(msgspec.json.encode(start), type=type(start)) == start


def test_a_line_of_another_kind_is_refused():
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(Stop()), type=control.Event)


CHILD = """
import sys, threading
from server.system import clock
from server.ipc import control
from server.ipc.control import Phase, StartServer

clock.wait_s = lambda seconds: None if {is_hasty} else threading.Event().wait()
done = threading.Event()
start = control.read_start(StartServer)
control.say(Phase(f"{{start.telemetry_fd}}"))

def obey(command):
    control.say(Phase(type(command).__name__))
    if isinstance(command, control.Stop) and not {is_deaf}:
        done.set()

control.leave_signals_to_parent()
control.follow_commands(obey)
done.wait()
"""


def child(*, is_deaf=False, is_hasty=False):
    """A process that follows commands and reports each one."""
    code = CHILD.format(is_deaf=is_deaf, is_hasty=is_hasty)
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def talk(process, *messages):
    """Send messages and the end of the input; returns what it said, by name, and its exit code."""
    text = b"".join(msgspec.json.encode(message) + b"\n" for message in messages)
    output, errors = process.communicate(text, timeout=PATIENCE_S)
    assert errors == b""
    return [msgspec.json.decode(line, type=control.Event).name for line in output.splitlines()], process.returncode


START = StartServer(ServerConfig(), 77, 0)


class TestChild:
    def test_it_receives_all_commands_in_order(self):
        said, code = talk(child(), START, CheckViewers(), StopSending())
        assert (said, code) == (["77", "CheckViewers", "StopSending", "Stop"], 0)

    def test_the_end_of_the_input_is_a_stop(self):
        said, code = talk(child(), START)
        assert (said, code) == (["77", "Stop"], 0)

    def test_a_child_that_does_not_end_in_time_exits(self):
        said, code = talk(child(is_deaf=True, is_hasty=True), START)
        assert (said, code) == (["77", "Stop"], 1)

    def test_a_child_started_by_hand_says_so(self):
        process = child()
        _, errors = process.communicate(b"", timeout=PATIENCE_S)
        assert process.returncode == 1
        assert b"is started by the workbench" in errors

    def test_a_closed_pipe_to_the_parent_is_no_error(self):
        process = child()
        process.stdout.close()
        process.stdin.write(msgspec.json.encode(START) + b"\n")
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0
        assert b"Traceback" not in process.stderr.read()
        process.stderr.close()

    def test_an_interrupt_of_the_terminal_is_left_to_the_parent(self):
        process = child()
        process.stdin.write(msgspec.json.encode(START) + b"\n" + msgspec.json.encode(CheckViewers()) + b"\n")
        process.stdin.flush()
        assert [process.stdout.readline() != b"" for _ in range(2)] == [True, True]
        process.send_signal(2)
        said, code = talk(process)
        assert (said, code) == (["Stop"], 0)
