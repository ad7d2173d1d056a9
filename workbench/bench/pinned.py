"""Runs a module of this project on one core: `python -m workbench.bench.pinned CORE NICE MODULE [WORDS...]`.

The core is set first, so that every thread of the module stays on it; CORE "-" leaves the choice to the system. With a
NICE above 0, a burner process takes most of the core: that makes a server slow enough to be overloaded by a fleet on
the same machine. Linux only.
"""

import os
import runpy
import sys
from pathlib import Path

from server.system import clock

_SPINS = 100_000
_CHECK_S = 0.02


def main() -> None:
    """Set core and niceness, then run the module."""
    core, nice, module, *words = sys.argv[1:]
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    if int(nice) > 0:
        _start_burner()
        os.nice(int(nice))
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _start_burner() -> None:
    """Fork a process that does nothing but use this core, at the present niceness. It ends with this process."""
    parent = os.getpid()
    if os.fork():
        return
    # Loading and compiling, before the first socket is opened, are not to be slowed.
    while os.getppid() == parent and not _has_socket(parent):
        clock.wait_s(_CHECK_S)
    # An orphan has another parent, however its parent ended.
    while os.getppid() == parent:
        for _ in range(_SPINS):
            pass
    os._exit(0)


def _has_socket(process_id: int) -> bool:
    try:
        return any(str(file.readlink()).startswith("socket:") for file in Path(f"/proc/{process_id}/fd").iterdir())
    except FileNotFoundError:
        return False  # A file was closed, or the process ended, between listing and reading.


if __name__ == "__main__":
    main()
