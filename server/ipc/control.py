"""What a session and its processes say to each other: frozen messages, one JSON object a line, over the child's pipes.

Commands go down the child's standard input, events come up its standard output. The end of the input means that the
parent is gone, whatever ended it: the child then ends too. That is the whole of "nothing is left running".
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

END_GRACE_S = 5.0
"""A child whose parent is gone ends in order within this time, or at once after it."""


class Progress(msgspec.Struct, frozen=True, tag=True):
    """Work before the run: `done` of `total` steps, now at `what`."""

    what: str
    done: int
    total: int


class Listening(msgspec.Struct, frozen=True, tag=True):
    """The server accepts connections at this address."""

    host: str
    port: int
    broker: str = ""
    """URL of the MQTT broker that it has started for its devices; "" where it has started none."""


class Phase(msgspec.Struct, frozen=True, tag=True):
    """A fleet reached a phase: "connected", "sending", "finished" (where arrivals end by themselves), "quiet" (all sent
    and seen), "checked"."""

    name: str


class News(msgspec.Struct, frozen=True, tag=True):
    """Something around the process has changed that is worth a marker on the panels: "broker ... is gone"."""

    text: str


class BrokerState(msgspec.Struct, frozen=True, tag=True):
    """How a server stands with its MQTT broker: told when that changes, and with each attempt that fails."""

    name: str
    """What it is: "mosquitto", where the server has started it, else its URL without the login."""
    is_connected: bool
    since_ns: int
    """Since when it is connected, or gone."""
    attempt_count: int = 0
    """Attempts to reach it that failed since then."""
    is_held: bool = False
    """It was started here, and is held still at present, as a fault."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The process cannot do what was asked, and ends. `reason` is one line for a person."""

    reason: str


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Command: drain and end in order."""


class StopSending(msgspec.Struct, frozen=True, tag=True):
    """Command to a fleet: send no more, see what is under way, then say "quiet"."""


class CheckViewers(msgspec.Struct, frozen=True, tag=True):
    """Command to a fleet: compare what every viewer holds with the canvas page, then say "checked"."""


class Adjust(msgspec.Struct, frozen=True, tag=True):
    """Command to a server: go by these settings from now on. What cannot change while it runs stays as it is.

    `server.config.LIVE_SETTINGS` lists what can.
    """

    config: ServerConfig


class CloseClients(msgspec.Struct, frozen=True, tag=True):
    """Command to a server, a fault: reset all connections of this loop at once."""

    loop: int


class PauseBroker(msgspec.Struct, frozen=True, tag=True):
    """Command to a server, a fault: hold the broker that it has started still for so long."""

    seconds: float


class Follow(msgspec.Struct, frozen=True, tag=True):
    """Command to server and fleet: note the journeys of the connection of this number; -1: of none."""

    number: int


class StartServer(msgspec.Struct, frozen=True, tag=True):
    """First line to a server process: its settings and the descriptors of its pages. `link_fd` is -1 without a link."""

    config: ServerConfig
    telemetry_fd: int
    canvas_fd: int
    link_fd: int = -1
    connections_fd: int = -1
    """Page of `connection_sections` with `config.connections_max` slots; without one, the server keeps its own."""


Event = Progress | Listening | Phase | News | BrokerState | Failed
Command = Stop | StopSending | CheckViewers | Adjust | CloseClients | PauseBroker | Follow

_encoder = msgspec.json.Encoder()
_output_lock = threading.Lock()


def line_of(message: msgspec.Struct) -> bytes:
    """A message as its line."""
    return _encoder.encode(message) + b"\n"


def write_line(stream: IO[bytes], message: msgspec.Struct) -> None:
    """Write one message and flush. Raises BrokenPipeError when the other side is gone."""
    stream.write(line_of(message))
    stream.flush()


def say(event: Event) -> None:
    """Tell the parent. A parent that is gone needs to hear nothing: the end of our input ends us."""
    with _output_lock, suppress(BrokenPipeError):
        # Past the interpreter's buffer, which would try to write once more at its end, and fail.
        write_line(io.FileIO(sys.stdout.fileno(), "wb", closefd=False), event)


def _open_orders() -> io.FileIO:
    """Standard input without a buffer.

    A thread that waits in a buffered read holds a lock that the interpreter's end needs: Python aborts there. Nor does
    anything read ahead, so the lines after the first are left for whoever follows them.
    """
    return io.FileIO(sys.stdin.fileno(), "rb", closefd=False)


def read_start(message_type: type[Any]) -> Any:
    """The first line of standard input, which says all that a child needs to begin."""
    with _open_orders() as orders:
        line = orders.readline()
    if not line:
        raise SystemExit("this program is started by the workbench and reads its orders from standard input")
    return msgspec.json.decode(line, type=message_type)


def follow_commands(on_command: Callable[[Any], None], command_type: Any = Command) -> threading.Thread:
    """Hand each command to `on_command` from a thread of its own; at the end of the input, `Stop` and a deadline.

    `command_type` is the union of the messages that this process takes.
    """

    def follow() -> None:
        decoder = msgspec.json.Decoder(command_type)
        with _open_orders() as orders:
            for line in orders:
                on_command(decoder.decode(line))
        on_command(Stop())
        clock.wait_s(END_GRACE_S)
        os._exit(1)  # The orderly end did not come in time, and nobody is left to ask.

    thread = threading.Thread(target=follow, name="commands", daemon=True)
    thread.start()
    return thread


def leave_signals_to_parent() -> None:
    """A terminal's Ctrl-C reaches the whole group; the parent alone decides how the session ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
