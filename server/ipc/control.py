"""Messages between a session and its processes: frozen structs, as JSON lines over the child's pipes.

Commands go down the child's standard input, events come up its standard output. The end of the input means that the
parent has ended, for whatever reason: then the child ends, too, so that no process is left running.
"""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

import msgspec

from server.config import ServerConfig
from server.system import clock

# Time for an orderly end of a child whose parent has ended; after that it exits at once.
END_GRACE_S = 5.0


class Progress(msgspec.Struct, frozen=True, tag=True):
    """Progress before the run: `done` of `total` steps, the current one is `what`."""

    what: str
    done: int
    total: int


class Listening(msgspec.Struct, frozen=True, tag=True):
    """The server accepts connections at this address."""

    host: str
    port: int
    broker: str = ""
    """URL of the MQTT broker that the server has started; "" if it has started none."""


class Phase(msgspec.Struct, frozen=True, tag=True):
    """A fleet reached a phase: "connected", "sending", "finished" (if arrivals end by themselves), "quiet" (everything
    sent has been seen), or "checked"."""

    name: str


class News(msgspec.Struct, frozen=True, tag=True):
    """A change around the process that deserves a marker on the panels, such as "broker ... is gone"."""

    text: str


class BrokerState(msgspec.Struct, frozen=True, tag=True):
    """State of the connection to the MQTT broker, sent when it changes and with each failed attempt."""

    name: str
    """Kind of the broker if the server has started it, else its URL without the login."""
    is_connected: bool
    since_ns: int
    """When it was connected, or lost."""
    attempt_count: int = 0
    """Failed attempts to connect since then."""
    is_held: bool = False
    """The server has started it and holds it stopped, as a fault."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The process cannot do what was asked, and ends. `reason` is one line for the user."""

    reason: str


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Command: drain and end."""


class StopSending(msgspec.Struct, frozen=True, tag=True):
    """Command to a fleet: stop sending, wait until everything sent has come back, then report "quiet"."""


class CheckViewers(msgspec.Struct, frozen=True, tag=True):
    """Command to a fleet: compare every viewer's canvas with the canvas page, then report "checked"."""


class Adjust(msgspec.Struct, frozen=True, tag=True):
    """Command to a server: use these settings from now on, as far as they are in `server.config.LIVE_SETTINGS`."""

    config: ServerConfig


class CloseClients(msgspec.Struct, frozen=True, tag=True):
    """Command to a server, as a fault: reset all connections of this loop at once."""

    loop: int


class PauseBroker(msgspec.Struct, frozen=True, tag=True):
    """Command to a server, as a fault: stop the broker that it has started for this time."""

    seconds: float


class Follow(msgspec.Struct, frozen=True, tag=True):
    """Command to server and fleet: record the journeys of the connection with this number; -1: of none."""

    number: int


class StartServer(msgspec.Struct, frozen=True, tag=True):
    """First line to a server process: its settings and the descriptors of its pages, -1 for none."""

    config: ServerConfig
    telemetry_fd: int
    canvas_fd: int
    link_fd: int = -1
    connections_fd: int = -1
    """Page of `connection_sections` with `config.connections_max` slots. Without it, the server makes its own."""


Event = Progress | Listening | Phase | News | BrokerState | Failed
Command = Stop | StopSending | CheckViewers | Adjust | CloseClients | PauseBroker | Follow

_encoder = msgspec.json.Encoder()
_output_lock = threading.Lock()


def line_of(message: msgspec.Struct) -> bytes:
    """A message as a JSON line."""
    return _encoder.encode(message) + b"\n"


def write_line(stream: IO[bytes], message: msgspec.Struct) -> None:
    """Write one message and flush. Raises BrokenPipeError if the other end has closed the pipe."""
    stream.write(line_of(message))
    stream.flush()


def say(event: Event) -> None:
    """Send an event to the parent, if it still runs."""
    # Events come from several threads; a line must not be torn. A parent that has ended ends this process, too.
    with _output_lock, suppress(BrokenPipeError):
        # Without the interpreter's buffer, whose flush at exit would fail once more.
        write_line(io.FileIO(sys.stdout.fileno(), "wb", closefd=False), event)


def _open_orders() -> io.FileIO:
    """Standard input without a buffer."""
    # A thread that waits in a buffered read holds a lock that Python needs at exit: it would abort. And a buffer would
    # read ahead: the lines after the first must stay for `follow_commands`.
    return io.FileIO(sys.stdin.fileno(), "rb", closefd=False)


def read_start(message_type: type[Any]) -> Any:
    """The first line of standard input, which contains all that a child needs to start."""
    with _open_orders() as orders:
        line = orders.readline()
    if not line:
        raise SystemExit("this program is started by the workbench and reads its commands from standard input")
    return msgspec.json.decode(line, type=message_type)


def follow_commands(on_command: Callable[[Any], None], command_type: Any = Command) -> threading.Thread:
    """Pass each command to `on_command`, from a thread of its own; at the end of the input, `Stop`.

    `command_type` is the union of the messages that this process accepts.
    """

    def follow() -> None:
        # An unknown command is a bug of the session and ends this thread with a traceback.
        decoder = msgspec.json.Decoder(command_type)
        with _open_orders() as orders:
            for line in orders:
                on_command(decoder.decode(line))
        on_command(Stop())
        clock.wait_s(END_GRACE_S)
        # The orderly end did not come in time, and there is no parent to end this process.
        os._exit(1)

    # A daemon: a process that ends by itself does not wait for its parent.
    thread = threading.Thread(target=follow, name="commands", daemon=True)
    thread.start()
    return thread


def leave_signals_to_parent() -> None:
    """Ignore Ctrl-C, which a terminal sends to the whole process group: the parent decides how a session ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
