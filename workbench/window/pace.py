"""The pace of redraws: when the next is due, how many there were, and what they cost this process.

Invariant: a late redraw is not made up for, so a busy machine gets fewer pictures and never a burst of them.
"""

from collections import deque

INTERVAL_NS = 33_333_333
"""30 redraws a second."""
SPAN_NS = 1_000_000_000
"""What `fps` and `cpu_cores` look back on."""


class Pace:
    """Counts redraws by the times it is told."""

    def __init__(self) -> None:
        self._due_ns = 0
        self._marks: deque[tuple[int, int]] = deque()

    def count(self, now_ns: int, cpu_ns: int) -> None:
        """A redraw begins. `cpu_ns`: processor time of this process so far."""
        self._marks.append((now_ns, cpu_ns))
        while now_ns - self._marks[0][0] > SPAN_NS:
            self._marks.popleft()
        on_time = now_ns - self._due_ns < INTERVAL_NS
        self._due_ns = (self._due_ns if on_time else now_ns) + INTERVAL_NS

    def rest_s(self, now_ns: int) -> float:
        """Seconds from now until the next redraw is due; 0 when it is late."""
        return max(0, self._due_ns - now_ns) / 1e9

    @property
    def fps(self) -> float | None:
        """Redraws a second over the last second; None before there are enough to tell."""
        span_ns = self._span_ns()
        return (len(self._marks) - 1) * 1e9 / span_ns if span_ns >= SPAN_NS / 2 else None

    @property
    def cpu_cores(self) -> float | None:
        """Processor time / time over the last second; None before that can be told."""
        span_ns = self._span_ns()
        return (self._marks[-1][1] - self._marks[0][1]) / span_ns if span_ns >= SPAN_NS / 2 else None

    def _span_ns(self) -> int:
        return self._marks[-1][0] - self._marks[0][0] if self._marks else 0
