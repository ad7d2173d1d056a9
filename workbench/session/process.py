"""One process of a session: started with its pages and orders, heard, and ended. What it says is judged elsewhere.

Orders go down its standard input, events come up its standard output, and the last lines of its standard error are
kept, so that its death can be told in one line. Two threads read; both end with the process.
Invariants: a child never outlives this process: it ends by itself when its standard input does; and one that stands
still, and reads no orders, holds nobody up who gives some.
"""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import msgspec

from devices.config import FleetCommand
from plots.ipc import PanelsCommand
from server.ipc.control import Command, Event, Failed, Stop, line_of

_ROOT = Path(__file__).parents[2]
_STDERR_LINES_MAX = 60
"""More than a long traceback has; a child that chatters costs no memory."""
TERMINATE_WAIT_S = 1.5
"""How long SIGTERM has to work before SIGKILL does."""
KILL_WAIT_S = 2.0
Order = Command | FleetCommand | PanelsCommand


@dataclass(frozen=True, slots=True)
class Ended:
    """The last that is heard of a child: its exit code, or minus the signal that ended it."""

    exit_code: int


@dataclass(frozen=True, slots=True)
class ProcessEvent:
    """One event of one child, or its end."""

    name: str
    event: Event | Ended


class Process:
    """A process of this project's `module`, named `name` in what a person reads.

    `heard` receives all its events in their order, `Ended` last. `descriptors` are the pages it inherits. Until it is
    told to `begin` it loads what it needs, and waits.
    """

    def __init__(
        self, name: str, command: Sequence[str], descriptors: Sequence[int], heard: "SimpleQueue[ProcessEvent]"
    ) -> None:
        self.name = name
        self._begun = False
        self._heard = heard
        self._stderr_lines: deque[str] = deque(maxlen=_STDERR_LINES_MAX)
        self._stderr_lock = threading.Lock()
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            env=_environment(),
            process_group=0,  # A terminal's Ctrl-C is for the parent, which then ends the session in order.
        )
        assert self.process.stdin is not None
        self._orders_fd = self.process.stdin.fileno()
        os.set_blocking(self._orders_fd, False)
        self._unsent = bytearray()
        self._threads = [
            threading.Thread(target=self._read_errors, name=f"{name} errors", daemon=True),
            threading.Thread(target=self._read_events, name=f"{name} events", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def has_begun(self) -> bool:
        """Whether it was given its first line."""
        return self._begun

    def begin(self, start: msgspec.Struct) -> None:
        """Give it its first line, which says all that it needs."""
        self._begun = True
        self._write(start)

    def tell(self, order: Order) -> None:
        """Give an order. A child that is gone is not told; its `Ended` says so."""
        self._write(order)

    def hand_over(self) -> None:
        """Hand over the orders that its pipe had no room for, as far as it has now. To be called every now and then."""
        try:
            while self._unsent:
                del self._unsent[: os.write(self._orders_fd, self._unsent)]
        except BlockingIOError:
            return  # It reads nothing at the moment.
        except BrokenPipeError:
            self._unsent.clear()  # It is gone; its end is told by the reader of its events.

    def wait(self, seconds: float) -> bool:
        """Wait for the end, at most so long. True when it has ended and all it said was heard."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        for thread in self._threads:
            thread.join(KILL_WAIT_S)
        return True

    def stop(self, seconds: float) -> None:
        """End it: ask, and after `seconds` without an answer SIGTERM, then SIGKILL. Returns when it is gone."""
        if self._begun:
            self.tell(Stop())
        if not self._begun or not self.wait(seconds):
            self.process.terminate()
            if not self.wait(TERMINATE_WAIT_S):
                self.process.kill()
                self.wait(KILL_WAIT_S)
        self._close()

    def reason(self) -> str:
        """Why it ended, in a line: the signal or the exit code, and the last it said on standard error."""
        code = self.process.returncode
        if code is None:
            return "still running"
        text = f"ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        lines = [line for line in self._last_lines() if line.strip()]
        return f"{text}: {lines[-1].strip()}" if lines else text

    def traceback(self) -> str:
        """Its traceback, when a bug ended it; else ""."""
        text = "\n".join(self._last_lines())
        return text if "Traceback (most recent call last)" in text else ""

    def _last_lines(self) -> list[str]:
        """What it said last on standard error, also while it says more."""
        with self._stderr_lock:
            return list(self._stderr_lines)

    def _write(self, message: msgspec.Struct) -> None:
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            self._unsent += line_of(message)
            self.hand_over()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._stderr_lock:
                self._stderr_lines.append(line.decode(errors="replace").rstrip("\n"))

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        decoder = msgspec.json.Decoder(Event)
        for line in self.process.stdout:
            self._heard.put(ProcessEvent(self.name, _decoded(decoder, line)))
        exit_code = self.process.wait()
        self._threads[0].join(KILL_WAIT_S)  # So that whoever hears the end finds its last words too.
        self._heard.put(ProcessEvent(self.name, Ended(exit_code)))

    def _close(self) -> None:
        self._unsent.clear()  # The number of its pipe may soon be that of another file.
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def module_command(module: str) -> list[str]:
    """The command that runs a package of this project as a child of this interpreter.

    `-P` keeps the folder that the user happens to be in from shadowing `server` or `devices`.
    """
    return [sys.executable, "-P", "-m", module]


def _environment() -> dict[str, str]:
    """Ours, and the place where this project's packages are, installed or not."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _decoded(decoder: "msgspec.json.Decoder[Event]", line: bytes) -> Event:
    try:
        return decoder.decode(line)
    except msgspec.DecodeError:
        return Failed(f"said what is no event: {line[:80]!r}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
