"""The last moments of the program: what it printed is written out, and its exit code is what it came to.

It knows no command. Invariant: from here on no signal and no output that fails ends it with a traceback.
"""

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from workbench.stop_signal import SIGNALS

STANDARD_OUTPUT = "standard output"


class _Output(io.FileIO):
    """Standard output whose errors name it, so that no other file's are taken for its own."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = STANDARD_OUTPUT
            raise


def exit_after(work: Callable[[], int]) -> NoReturn:
    """Do the work and end the program with the code that it returns; with 0 when a signal interrupts it."""
    try:
        for which in SIGNALS:
            if signal.getsignal(which) is not signal.SIG_IGN:
                signal.signal(which, signal.default_int_handler)
        _name_output()
        code = work()
        sys.stdout.flush()
        _heed_no_more()
    except KeyboardInterrupt:
        code = 0
        _heed_no_more()
    except OSError as error:
        code = _leave_unwritten(error)
    sys.exit(code)


def _name_output() -> None:
    """Have errors of standard output name it, and letters that it cannot say, as of an odd file name, spelt out."""
    former: Any = sys.stdout
    raw = _Output(former.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        raw if former.write_through else io.BufferedWriter(raw),
        former.encoding,
        "backslashreplace",
        line_buffering=former.line_buffering,
        write_through=former.write_through,
    )


def _heed_no_more() -> None:
    """All is done: the interpreter's own end is no time to be interrupted."""
    for which in SIGNALS:
        signal.signal(which, signal.SIG_IGN)


def _leave_unwritten(error: OSError) -> int:
    """Something could not be written. Where that was our output, let the interpreter's last flush go nowhere."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):  # Who reads no more is told nothing.
        what = error.filename or STANDARD_OUTPUT
        print(f"{what} cannot be written: {error.strerror}; make room, or send it elsewhere", file=sys.stderr)
    return 1
