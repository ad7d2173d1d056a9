"""The last moments of the program: what it printed is written out, and its exit code is what it came to.

It knows no command. Invariant: from here on no signal and no output that fails ends it with a traceback.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from workbench.stop_signal import SIGNALS

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""What is wrong with a disk that takes no more."""


def exit_after(work: Callable[[], int]) -> NoReturn:
    """Do the work and end the program with the code that it returns; with 0 when a signal interrupts it."""
    try:
        for which in SIGNALS:
            if signal.getsignal(which) is not signal.SIG_IGN:
                signal.signal(which, signal.default_int_handler)
        code = work()
        sys.stdout.flush()
        _heed_no_more()
    except KeyboardInterrupt:
        code = 0
        _heed_no_more()
    except OSError as error:
        code = _leave_unwritten(error)
    sys.exit(code)


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
        what = error.filename or "standard output"
        print(f"{what} cannot be written: {error.strerror}; make room, or send it elsewhere", file=sys.stderr)
    return 1
