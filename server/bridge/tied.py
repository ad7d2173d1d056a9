"""Becomes another program that ends with whoever started it, whatever ends that: no broker outlives its server.

    python -m server.bridge.tied PARENT PROGRAM ARGUMENTS...

Linux sends the signal that is asked for here when the parent is gone, and keeps that across `exec`. Elsewhere the
program is ended by an orderly parent only. Invariant: a parent that was gone already is noticed too.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Tie this process to its parent and become the program."""
    parent, program = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the parent is gone")
    os.execvp(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
