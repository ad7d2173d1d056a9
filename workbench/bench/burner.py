"""A process that does nothing but use its core, so that a nicer one beside it gets a small and steady share.

That is how a server is made slow enough to be overloaded by a fleet on the same machine. Invariant: a burner ends with
the process that started it, whatever ended that.
"""

import os

_SPINS = 100_000


def start_burner() -> int:
    """Fork a burner on the cores of this process, at its present niceness. Returns the burner's process id."""
    parent = os.getpid()
    burner = os.fork()
    if burner:
        return burner
    while os.getppid() == parent:
        for _ in range(_SPINS):
            pass
    os._exit(0)
