"""A process that does nothing but use its core, so that a nicer one beside it gets a small and steady share.

That is how a server is made slow enough to be overloaded by a fleet on the same machine. Linux only. Invariant: a
burner ends with the process that started it, whatever ended that.
"""

import os
from pathlib import Path

from server.system import clock

_SPINS = 100_000
_LOOK_S = 0.02


def start_burner() -> int:
    """Fork a burner on the cores of this process, at its present niceness. Returns the burner's process id.

    It begins to burn when this process has a socket: loading and compiling before that is not to be slowed.
    """
    parent = os.getpid()
    burner = os.fork()
    if burner:
        return burner
    while os.getppid() == parent and not _has_socket(parent):
        clock.wait_s(_LOOK_S)
    while os.getppid() == parent:
        for _ in range(_SPINS):
            pass
    os._exit(0)


def _has_socket(process_id: int) -> bool:
    folder = Path(f"/proc/{process_id}/fd")
    try:
        return any(str(file.readlink()).startswith("socket:") for file in folder.iterdir())
    except FileNotFoundError:
        return False  # A file was closed, or the process ended, while we looked.
