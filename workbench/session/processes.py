"""The child processes of a session: started, sent orders, read and stopped. What to run is the session's choice.

`Process` is one child, `Processes` all of one session by name, `PanelsPart` the one that draws the panels.
"""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec

from devices.config import FleetCommand
from plots.ipc import PanelsCommand, Resize, ShowPanels, StartPanels
from server.ipc.control import Command, Event, Failed, News, Phase, Progress, Stop, line_of
from server.ipc.page import Page
from workbench.errors import RunError, shortage_of
from workbench.telemetry.view import Part

_ROOT = Path(__file__).parents[2]
# More than a long traceback has, and a bound on memory for a child that prints without end.
_STDERR_LINES_MAX = 60
# Time between SIGTERM and SIGKILL.
TERMINATE_WAIT_S = 1.5
KILL_WAIT_S = 2.0
Order = Command | FleetCommand | PanelsCommand


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event of a child: its exit code, or minus the signal that ended it."""

    exit_code: int


@dataclass(frozen=True, slots=True)
class ProcessEvent:
    """One event of one child, or its exit."""

    name: str
    event: Event | Ended


class Process:
    """One child process, shown to the user as `name`.

    Orders go to its standard input, events come from its standard output, and the last lines of its standard error are
    kept to explain a crash. Two threads read; both end with the process. `inbox` receives its events in order, `Ended`
    last. `descriptors` are those of the pages it inherits. It loads its libraries at once and waits for `begin`.
    A child never outlives this process, because it exits when its standard input closes; sending an order
    never blocks, even if the child has stopped reading.
    """

    def __init__(
        self, name: str, command: Sequence[str], descriptors: Sequence[int], inbox: "SimpleQueue[ProcessEvent]"
    ) -> None:
        self.name = name
        self._begun = False
        self._inbox = inbox
        self._stderr_lines: deque[str] = deque(maxlen=_STDERR_LINES_MAX)
        self._stderr_lock = threading.Lock()
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            env=_environment(),
            process_group=0,  # A terminal's Ctrl-C goes to the parent only, which then stops the session in order.
        )
        assert self.process.stdin is not None
        self._orders_fd = self.process.stdin.fileno()
        # A child that has stopped reading must not block the session: what the pipe does not take waits in `_unsent`.
        os.set_blocking(self._orders_fd, False)
        self._unsent = bytearray()
        self._threads = [
            threading.Thread(target=self._read_errors, name=f"{name} errors", daemon=True),
            threading.Thread(target=self._read_events, name=f"{name} events", daemon=True),
        ]
        try:
            for thread in self._threads:
                thread.start()
        # No thread could be started: without readers the child would block on full pipes, and its exit go unnoticed.
        except RuntimeError:
            self.process.kill()
            self.process.wait()
            raise

    @property
    def has_begun(self) -> bool:
        """Whether its start line was sent."""
        return self._begun

    def begin(self, start: msgspec.Struct) -> None:
        """Send the start line, which holds all its settings."""
        # Before writing: a child that has its start line reads `Stop`, and is asked before it is terminated.
        self._begun = True
        self._write(start)

    def send(self, order: Order) -> None:
        """Send an order. Orders to a child that has exited are dropped; its `Ended` event reports the exit."""
        self._write(order)

    def flush(self) -> None:
        """Write queued orders as far as the pipe has room. Never blocks; call it regularly."""
        try:
            while self._unsent:
                del self._unsent[: os.write(self._orders_fd, self._unsent)]
        except BlockingIOError:
            return  # The pipe is full: the child does not read at the moment.
        except BrokenPipeError:
            self._unsent.clear()  # The child has exited; the event reader reports it.

    def wait(self, seconds: float) -> bool:
        """Wait for the exit at most this long. True when it has exited and all its output was read."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        for thread in self._threads:
            thread.join(KILL_WAIT_S)
        return True

    def stop(self, seconds: float) -> None:
        """Stop it: send `Stop`, after `seconds` SIGTERM, then SIGKILL. Returns when it has exited."""
        if self._begun:
            self.send(Stop())
        # Without a start line it waits on its input, where it does not expect `Stop`.
        if not self._begun or not self.wait(seconds):
            self.process.terminate()
            if not self.wait(TERMINATE_WAIT_S):
                self.process.kill()
                self.wait(KILL_WAIT_S)
        self._close()

    def reason(self) -> str:
        """Why it exited, in one line: signal or exit code, and the last line of its standard error."""
        code = self.process.returncode
        if code is None:
            return "still running"
        text = f"ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        last = self._last_line()
        return f"{text}: {shortage_of(last) or last}" if last else text

    def traceback(self) -> str:
        """Its traceback when a bug ended it, else ""."""
        text = "\n".join(self._last_lines())
        # Out of memory also prints a traceback, but is no bug: `reason` says what is missing.
        is_bug = "Traceback (most recent call last)" in text and not shortage_of(self._last_line())
        return text if is_bug else ""

    def _last_line(self) -> str:
        lines = [line.strip() for line in self._last_lines() if line.strip()]
        return lines[-1] if lines else ""

    def _last_lines(self) -> list[str]:
        """The last lines of its standard error. Safe while the reader thread adds more."""
        # A deque must not be iterated while another thread appends.
        with self._stderr_lock:
            return list(self._stderr_lines)

    def _write(self, message: msgspec.Struct) -> None:
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            self._unsent += line_of(message)
            self.flush()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._stderr_lock:
                self._stderr_lines.append(line.decode(errors="replace").rstrip("\n"))

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        decoder = msgspec.json.Decoder(Event)
        # Ends when the child closes its output, at the latest when it exits.
        for line in self.process.stdout:
            self._inbox.put(ProcessEvent(self.name, _decoded(decoder, line)))
        exit_code = self.process.wait()
        self._threads[0].join(KILL_WAIT_S)  # `reason` must find the last error lines once `Ended` is read.
        self._inbox.put(ProcessEvent(self.name, Ended(exit_code)))

    def _close(self) -> None:
        self._unsent.clear()  # The descriptor's number may be reused for another file.
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def module_command(module: str) -> list[str]:
    """The command that runs a package of this project as a child of this interpreter.

    `-P` keeps modules in the current folder from shadowing `server` or `devices`.
    """
    return [sys.executable, "-P", "-m", module]


def _environment() -> dict[str, str]:
    """This process's environment, with this project's folder on PYTHONPATH: the packages may not be installed."""
    # First on the path: an installed package of the same name must not be run instead.
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _decoded(decoder: "msgspec.json.Decoder[Event]", line: bytes) -> Event:
    try:
        return decoder.decode(line)
    except msgspec.DecodeError:
        return Failed(f"sent an invalid event: {line[:80]!r}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_STATES_WITH_PROGRESS = ("starting", "compiling", "connecting")


class Processes:
    """The child processes of one session by name: "server", "fleet", "panels". `commands`: how to run each.

    When one fails, the others keep running until they are stopped.
    `poll` never blocks; `wait` and `stop` do, within their bounds.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]]) -> None:
        self._commands = commands
        self._events: SimpleQueue[ProcessEvent] = SimpleQueue()
        self._inbox: list[ProcessEvent] = []
        self._children: dict[str, Process] = {}
        self._progress: dict[str, Progress] = {}
        self._failures: dict[str, str] = {}
        self._ended: set[str] = set()
        self._stopping: set[str] = set()
        self.phases: set[str] = set()
        """Names of the phases the fleet has reported."""
        self.news: list[str] = []
        """Notices of the parts about changes around them, such as a damaged cache."""
        self.failed_ns = 0
        """When the first process failed; 0: none has."""

    # --- Orders ---

    def spawn(self, name: str, *pages: Page | None) -> Process:
        """Start a process that inherits these pages. It waits for `begin`. Raises RunError when the system refuses."""
        descriptors = [page.descriptor for page in pages if page is not None]
        try:
            child = self._children[name] = Process(name, self._commands[name], descriptors, self._events)
        except (OSError, RuntimeError) as error:
            why = shortage_of(error) or str(error)
            if isinstance(error, BlockingIOError):  # EAGAIN comes only from fork here.
                why = f"{error.strerror}; raise the limit on processes (ulimit -u)"
            raise RunError(f"the {name} cannot be started: {why}") from None
        return child

    def begin(self, name: str, start: msgspec.Struct) -> None:
        """Send a part its start line, which holds all its settings."""
        self._children[name].begin(start)

    def send(self, name: str, order: Order) -> None:
        """Send an order, if the part is alive."""
        if self.is_alive(name):
            assert self._children[name].has_begun, f"an order to the {name} before its start line"
            self._children[name].send(order)

    def request_stop(self, name: str) -> None:
        """Ask a part to stop, without waiting. A part without its start line cannot read `Stop` and is not asked."""
        if self.is_alive(name):
            self._stopping.add(name)
            if self._children[name].has_begun:
                self._children[name].send(Stop())

    def stop(self, name: str, seconds: float) -> None:
        """Stop a part, if it was started: in order within `seconds`, or by force."""
        if name in self._children:
            self._stopping.add(name)
            self._children[name].stop(seconds)

    # --- Events and states ---

    def poll(self, now_ns: int) -> list[ProcessEvent]:
        """All events since the last call, in order. Records progress, failures and exits, and flushes queued orders."""
        # Orders that a full pipe did not take before.
        for child in self._children.values():
            child.flush()
        with suppress(Empty):
            while True:
                self._inbox.append(self._events.get_nowait())
        events, self._inbox = self._inbox, []
        for event in events:
            self._record(event, now_ns)
        return events

    def wait(self, seconds: float) -> None:
        """Return when an event arrives or `seconds` have passed."""
        with suppress(Empty):
            self._inbox.append(self._events.get(timeout=seconds))

    def exists(self, name: str) -> bool:
        """Whether the part was started."""
        return name in self._children

    def has_begun(self, name: str) -> bool:
        """Whether the part was started and its start line sent."""
        return name in self._children and self._children[name].has_begun

    def is_alive(self, name: str) -> bool:
        """Whether the part was started and is not known to have exited."""
        return name in self._children and name not in self._ended

    @property
    def failures(self) -> list[str]:
        """One line per failed part. A fleet that failed along with its server is left out: it lost its connections."""
        names = [name for name in self._failures if name != "fleet" or "server" not in self._failures]
        return [f"{name}: {self._failures[name]}" for name in names]

    @property
    def tracebacks(self) -> list[str]:
        """The tracebacks of failed parts."""
        return [text for name in self._failures if (text := self._children[name].traceback())]

    def part(self, name: str, state: str) -> Part:
        """The part as shown to the user; `state` is that of its page."""
        failure = self._failures.get(name, "")
        # What is known of the process outweighs its page, which keeps the last state of a dead one.
        state = "failed" if failure else "stopped" if name in self._ended else state
        progress = self._progress.get(name)
        return Part(name, state, progress if state in _STATES_WITH_PROGRESS else None, failure)

    def _record(self, process_event: ProcessEvent, now_ns: int) -> None:
        match process_event.event:
            case Progress() as progress:
                self._progress[process_event.name] = progress
            case Phase(name):
                self.phases.add(name)
            case News(text):
                if text not in self.news[-1:]:  # Server and fleet find the same cache damaged.
                    self.news.append(text)
            case Failed(reason):
                self._fail(process_event.name, reason, now_ns)
            case Ended(exit_code):
                self._ended.add(process_event.name)
                # A process that we stopped, by a signal if need be, has not failed.
                if process_event.name not in self._stopping or exit_code > 0:
                    self._fail(process_event.name, self._children[process_event.name].reason(), now_ns)

    def _fail(self, name: str, reason: str, now_ns: int) -> None:
        """Record a part's first reason: its own `Failed` event comes before its exit code."""
        self._failures.setdefault(name, reason)
        self.failed_ns = self.failed_ns or now_ns


PANELS = "panels"
_SIZE_FIRST = (900, 700, 1.0)


class PanelsPart:
    """The panels' process of a live or replayed session: reads a history page and draws into a picture page.

    A process started after `resize` or `show` gets the last size and order.
    """

    def __init__(self, parts: Processes, history: Page, picture: Page) -> None:
        self._parts, self._history, self._picture = parts, history, picture
        self._size = _SIZE_FIRST
        self._order: ShowPanels | None = None

    @property
    def order(self) -> ShowPanels | None:
        """The last order; None before the first."""
        return self._order

    def start(self) -> None:
        """Start the process."""
        orders = StartPanels(self._history.descriptor, self._picture.descriptor, *self._size)
        self._parts.spawn(PANELS, self._history, self._picture).begin(orders)
        # A renderer that was restarted knows nothing of earlier orders.
        if self._order is not None:
            self._parts.send(PANELS, self._order)

    def resize(self, width: int, height: int, scale: float) -> None:
        """Set the size in pixels. `scale` 2 doubles text size and line width."""
        self._size = (width, height, scale)
        self._parts.send(PANELS, Resize(width, height, scale))

    def show(self, order: ShowPanels) -> None:
        """Set what the panels show."""
        self._order = order
        self._parts.send(PANELS, order)

    @property
    def state(self) -> str:
        """The process's state, from the picture page."""
        return "running" if int(self._picture["serial"][0]) else "starting"
