"""The end of the program: standard output is flushed, and the exit code set. It knows no command.

From here on, no signal and no failing output ends the program with a traceback.
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
    """Standard output whose errors name it, to tell them from those of other files."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = STANDARD_OUTPUT
            raise


def exit_after(work: Callable[[], int]) -> NoReturn:
    """Do the work and exit with the code that it returns; with 0 if a signal interrupts it."""
    try:
        for which in SIGNALS:
            if signal.getsignal(which) is not signal.SIG_IGN:
                signal.signal(which, signal.default_int_handler)
        _name_output()
        code = work()
        # Here, where an error still becomes a message: the interpreter's own flush would print a traceback.
        sys.stdout.flush()
        _ignore_signals()
    except KeyboardInterrupt:
        code = 0
        _ignore_signals()
    except OSError as error:
        code = _report_unwritten(error)
    sys.exit(code)


def _name_output() -> None:
    """Make errors of standard output name it, and escape characters that its encoding lacks (of odd file names)."""
    former: Any = sys.stdout
    raw = _Output(former.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        # Unbuffered only if Python was started with -u: otherwise each print would be a system call.
        raw if former.write_through else io.BufferedWriter(raw),
        former.encoding,
        "backslashreplace",
        line_buffering=former.line_buffering,
        write_through=former.write_through,
    )


def _ignore_signals() -> None:
    """Ignore signals: they must not interrupt the interpreter's shutdown."""
    for which in SIGNALS:
        signal.signal(which, signal.SIG_IGN)


def _report_unwritten(error: OSError) -> int:
    """Report what could not be written. Returns the exit code."""
    try:
        sys.stdout.flush()
    except OSError:  # The interpreter flushes once more at its end: that must go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):  # A reader that has ended needs no message.
        what = error.filename or STANDARD_OUTPUT
        print(f"{what} cannot be written: {error.strerror}; make room, or send it elsewhere", file=sys.stderr)
    return 1
