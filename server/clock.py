"""The one module that reads clocks. Everything else is told the time.

Invariant: `now_ns` is the clock of the compiled loops too (CLOCK_MONOTONIC), so that times of all processes on one
machine can be subtracted from each other.
"""

import time


def now_ns() -> int:
    """Nanoseconds of CLOCK_MONOTONIC: the same zero in every process of this machine."""
    return time.monotonic_ns()


def process_cpu_ns() -> int:
    """Nanoseconds of processor time, user and system, all threads of this process since it started."""
    return time.process_time_ns()


def wait_s(seconds: float) -> None:
    """Give the processor away for at least this many seconds. For pacing pictures, never for waiting on a condition."""
    time.sleep(seconds)
