"""A part of a session that does nothing but speak its messages: `python fake_part.py PART MANNER`.

Manners: `good`; `bug` ends with a traceback; `failed` says that it cannot; `vanish` ends with 0 and without a word;
`news` finds something changed around it; `stubborn` hears neither Stop nor SIGTERM;
`chatty` says what is no event; `unquiet` is a fleet that never comes to rest; `wrong` is a fleet with a wrong viewer,
`lossy` one that lost two connections, `gap` a server whose ledger does not add up. With FAKE_PIDS it leaves a file
named for its process there.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from devices.config import AdjustFleet, Cut, FleetCommand, StartFleet
from plots.history import history_sections
from plots.ipc import StartPanels, picture_sections
from server.ipc import control
from server.ipc.page import Page, canvas_sections, fleet_sections, telemetry_sections
from server.kernels.layout import State
from server.system import clock

PLACEMENTS = 1000


def write_server(start: control.StartServer, state: State) -> None:
    page = Page.attach(start.telemetry_fd, telemetry_sections(start.config.loops))
    canvas = Page.attach(start.canvas_fd, canvas_sections(start.config.width, start.config.height))
    canvas["pixels"][:] = 7
    page["loops"][0]["received_count"] = page["loops"][0]["admitted_count"] = PLACEMENTS
    page["server"][0]["resident_bytes"] = 2**20
    page["server"][0]["heartbeat_ns"] = clock.now_ns()
    page["server"][0]["state"] = state


def write_fleet(start: StartFleet, state: State, checked: int = 0) -> None:
    page = Page.attach(start.telemetry_fd, fleet_sections())
    page["fleet"][0]["connection_count"] = start.config.connections
    page["fleet"][0]["offered_count"] += PLACEMENTS
    page["fleet"][0]["viewer_checked_count"] = checked
    page["fleet"][0]["heartbeat_ns"] = clock.now_ns()
    page["fleet"][0]["state"] = state


def be_server(manner: str, done: threading.Event) -> None:
    start = control.read_start(control.StartServer)
    write_server(start, State.COMPILING)
    control.say(control.Progress("decode", 1, 2))
    misbehave(manner)

    def obey(command: Any) -> None:
        if isinstance(command, control.Adjust):
            page = Page.attach(start.telemetry_fd, telemetry_sections(start.config.loops))
            page["server"][0]["tick_interval_ns"] = command.config.tick_ms * 10**6
        elif isinstance(command, control.Stop):
            done.set()

    control.follow_commands(obey)
    write_server(start, State.RUNNING)
    Page.attach(start.telemetry_fd, telemetry_sections(start.config.loops))["server"][0]["ledger_gap"] = manner == "gap"
    control.say(control.Listening("127.0.0.1", 4321))


def be_fleet(manner: str, done: threading.Event) -> None:
    start = control.read_start(StartFleet)
    misbehave(manner)

    def obey(command: Any) -> None:
        if isinstance(command, control.StopSending):
            if manner != "unquiet":
                control.say(control.Phase("quiet"))
        elif isinstance(command, control.CheckViewers):
            write_fleet(start, State.DRAINING, checked=start.config.viewer_count)
            counters["viewer_wrong_count"] = manner == "wrong"
            control.say(control.Phase("checked"))
        elif isinstance(command, AdjustFleet):
            counters["connection_count"] = command.config.connections
        elif isinstance(command, Cut):
            counters["cut_count"] += 1
        elif isinstance(command, control.Stop):
            done.set()

    counters = Page.attach(start.telemetry_fd, fleet_sections())["fleet"][0]
    write_fleet(start, State.RUNNING)
    counters["lost_count"] = 2 * (manner == "lossy")
    control.follow_commands(obey, FleetCommand)
    control.say(control.Phase("connected"))
    control.say(control.Phase("sending"))


def be_panels(manner: str, done: threading.Event) -> None:
    start = control.read_start(StartPanels)
    Page.attach(start.history_fd, history_sections())
    picture = Page.attach(start.picture_fd, picture_sections())
    picture["size"][:] = 8
    picture["serial"][0] = 1
    misbehave(manner)
    follow(done)


def follow(done: threading.Event) -> None:
    control.follow_commands(lambda command: done.set() if isinstance(command, control.Stop) else None)


def misbehave(manner: str) -> None:
    if manner == "bug":
        raise RuntimeError("the wheel came off")
    if manner == "failed":
        control.say(control.Failed("no room on the shelf"))
        sys.exit(1)
    if manner == "vanish":
        sys.exit(0)
    if manner == "news":
        control.say(control.News("some compiled kernels are damaged"))
    if manner == "chatty":
        print("hello", flush=True)
    if manner == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def main() -> None:
    part, manner = sys.argv[1:]
    control.leave_signals_to_parent()
    if "FAKE_PIDS" in os.environ:
        (Path(os.environ["FAKE_PIDS"]) / f"{part}-{os.getpid()}").touch()
    done = threading.Event()
    {"server": be_server, "fleet": be_fleet, "panels": be_panels}[part](manner, done)
    done.wait()
    if manner == "stubborn":
        threading.Event().wait()


if __name__ == "__main__":
    main()
