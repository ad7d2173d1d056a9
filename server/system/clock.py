"""The clock, and the process's use of processor and memory. The only module that reads clocks.

`now_ns` is the clock of the compiled loops too (CLOCK_MONOTONIC), so times of all processes on one machine compare.
"""

import resource
import time
from pathlib import Path


def now_ns() -> int:
    """Nanoseconds of CLOCK_MONOTONIC: the same zero in every process of this machine."""
    return time.monotonic_ns()


def utc() -> str:
    """The date and time of day, UTC, as "2026-01-31T23:59:58Z". For people: it may be set back at any time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def process_cpu_ns() -> int:
    """Nanoseconds of processor time, user and system, all threads of this process since it started."""
    return time.process_time_ns()


def thread_cpu_ns() -> int:
    """Nanoseconds of processor time of the calling thread since it started."""
    return time.thread_time_ns()


def resident_bytes() -> int:
    """Memory of this process that is in RAM, in bytes; its peak so far where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize()


def wait_s(seconds: float) -> None:
    """Sleep for at least this long. For pacing, never for waiting on a condition."""
    time.sleep(seconds)
