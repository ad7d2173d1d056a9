"""The pace of redraws: when the next is due, how many there were, and what they cost this process.

There are 60 a second while they are cheap and on time, else 30: the window must not take from what it shows.
Invariant: a late redraw is not made up for, so a busy machine gets fewer pictures and never a burst of them.
"""

from collections import deque

INTERVAL_NS = 33_333_333
"""30 redraws a second."""
FAST_INTERVAL_NS = 16_666_667
"""60 redraws a second."""
CHEAP_CORES, DEAR_CORES = 0.06, 0.10
"""30 a second that cost no more become 60, and 60 that cost more become 30. The gap keeps it from swaying: a redraw in
which nothing changed costs little, so 60 are far from twice as dear."""
LATE_RATIO = 0.9
"""Fewer than so many of 60 a second come: then the processor is wanted elsewhere."""
PATIENCE_NS = 5_000_000_000
"""After a change down it stays there for so long."""
SPAN_NS = 1_000_000_000
"""What `fps` and `cpu_cores` look back on."""


class Pace:
    """Counts redraws by the times it is told."""

    def __init__(self) -> None:
        self._due_ns = 0
        self._marks: deque[tuple[int, int]] = deque()
        self.interval_ns = INTERVAL_NS
        """From one redraw to the next."""
        self._kept_until_ns = 0

    def count(self, now_ns: int, cpu_ns: int) -> None:
        """A redraw begins. `cpu_ns`: processor time of this process so far."""
        self._marks.append((now_ns, cpu_ns))
        while now_ns - self._marks[0][0] > SPAN_NS:
            self._marks.popleft()
        self._choose(now_ns)
        on_time = now_ns - self._due_ns < self.interval_ns
        self._due_ns = (self._due_ns if on_time else now_ns) + self.interval_ns

    def _choose(self, now_ns: int) -> None:
        """60 or 30 a second, by what the last second's redraws cost and whether they came."""
        fps, cores = self.fps, self.cpu_cores
        if fps is None or cores is None or now_ns < self._kept_until_ns:
            return
        if self.interval_ns == INTERVAL_NS:
            if cores <= CHEAP_CORES and fps >= 30 * LATE_RATIO:
                self.interval_ns = FAST_INTERVAL_NS
                self._kept_until_ns = now_ns + SPAN_NS  # Look again after a second of 60.
        elif cores > DEAR_CORES or fps < 60 * LATE_RATIO:
            self.interval_ns = INTERVAL_NS
            self._kept_until_ns = now_ns + PATIENCE_NS

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
