"""The programs that are measured: our server, the sink, and peers; where they run, and whether they are installed.

Each obeys the commands of a session's server, so one session runs any of them. Only ours has viewers: the others read
and count.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from workbench.bench.peers.servers import module_folders
from workbench.errors import RunError
from workbench.scenarios.scenario import Scenario

OURS, SINK, PORTABLE, MAILBOX = "workbench", "sink", "portable", "mailbox"
# Loops of our own server, by program.
_LOOPS: dict[str, Literal["native", "portable", "mailbox"]] = {
    OURS: "native",
    SINK: "native",
    PORTABLE: "portable",
    MAILBOX: "mailbox",
}
# Names of peers in tables, and on the command line of their process.
_PEERS = {"websockets": "websockets", "picows": "picows", "aiohttp": "aiohttp", "Node ws": "node"}
# Most messages per second offered to these, over all connections: half of what one core of theirs handles. With more,
# on thousands of sockets, they read without end and deliver nothing, and no cost can be measured.
_OFFERED_PER_S_MAX = {"websockets": 100_000, "aiohttp": 150_000}
# Its scheduler weight is about a ninth of a burner's.
_SLOW_NICE = 10
PEERS = tuple(_PEERS)


@dataclass(frozen=True, slots=True)
class Place:
    """Cores for server and fleet, None for any, and the niceness of the server beside a burner on its core."""

    server_core: int | None = None
    fleet_core: int | None = None
    server_nice: int = 0

    def __str__(self) -> str:
        if self.server_core is None:
            return "server and fleet on any core"
        share = f" (nice {self.server_nice}, beside a process that uses the rest)" if self.server_nice else ""
        return f"server on core {self.server_core}{share}, fleet on core {self.fleet_core}"


def place(*, slowed: bool) -> Place:
    """One core each for server and fleet, where there are two.

    A slowed server gets about a tenth of its core, so that a fleet on the other can overload it. Raises RunError where
    there is no second core for that.
    """
    # Of the cores that this process may use, which in a container need not be the first ones.
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if slowed and len(cores) < 2:
        raise RunError("an overload needs a core for the fleet and one for the server; this machine has one")
    return Place(cores[0], cores[1], _SLOW_NICE if slowed else 0) if len(cores) > 1 else Place()


def missing(program: str) -> str:
    """Why a program cannot run here, with the remedy; "" when it can."""
    if program in _LOOPS:
        return ""
    if program != "Node ws":
        found = importlib.util.find_spec(_PEERS[program]) is not None
        return "" if found else f"{program} is not installed: pip install {program}"
    if shutil.which("node") is None:
        return "Node ws: there is no node on PATH; install Node.js"
    if not any((folder / "ws").is_dir() for folder in module_folders()):
        return "Node ws: its module ws is not found: npm install ws here, or name its folder in NODE_PATH"
    return ""


def adapted(scenario: Scenario, program: str) -> Scenario:
    """The scenario as this program runs it: programs that only count have no viewers, and some are offered less."""
    server, fleet = scenario.server, scenario.fleet
    if program in _LOOPS:
        server = msgspec.structs.replace(server, loop=_LOOPS[program], counts_only=program == SINK)
    if program == SINK or program not in _LOOPS:
        fleet = msgspec.structs.replace(fleet, viewers="none")
    # Fewer placements per second, in writes of the same size: the cost of a message stays comparable.
    if program in _OFFERED_PER_S_MAX:
        rate = min(fleet.rate_per_s, _OFFERED_PER_S_MAX[program] / max(fleet.connections, 1))
        fleet = msgspec.structs.replace(fleet, rate_per_s=rate)
    return msgspec.structs.replace(scenario, server=server, fleet=fleet)


def commands(program: str, where: Place) -> Mapping[str, Sequence[str]]:
    """The command lines of a session's processes."""
    server = ["server"] if program in _LOOPS else ["workbench.bench.peers", _PEERS[program]]
    return {
        "server": _pinned(where.server_core, where.server_nice, *server),
        "fleet": _pinned(where.fleet_core, 0, "devices"),
    }


def _pinned(core: int | None, nice: int, *words: str) -> list[str]:
    where = "-" if core is None else str(core)
    return [sys.executable, "-P", "-m", "workbench.bench.pinned", where, str(nice), *words]
