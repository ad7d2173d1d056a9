"""Standard input, output and error of a process whose caller closed some of them, as daemons and cron wrappers do.

Each process that the project starts calls `open_closed` before it opens anything. Otherwise the next file, which may be
shared memory, gets the number of a standard stream, and what is meant for the stream is written there.
"""

import os
import sys

# By descriptor.
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
closed: set[int] = set()
"""Descriptors that the caller of this process has closed."""


def open_closed() -> None:
    """Open the null device for each standard stream that is closed; children inherit it."""
    for descriptor, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            closed.add(descriptor)
            # The lowest free number is this one, as those below are open by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            stream = os.fdopen(descriptor, mode, encoding="utf-8", errors="backslashreplace", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
