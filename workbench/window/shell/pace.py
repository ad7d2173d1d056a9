"""The redraw rate: when the next redraw is due, how many there were, and their CPU cost.

It is 60 per second while redraws are cheap and on time, otherwise 30: the window must not slow what it measures.
A late redraw is not made up for, so a busy machine gets fewer redraws and never a burst.
"""

from collections import deque

# 30 redraws per second.
INTERVAL_NS = 33_333_333
# 60 redraws per second.
FAST_INTERVAL_NS = 16_666_667
# CPU cores. At 30 per second, a cost up to the first raises the rate; at 60, a cost above the second lowers it. The gap
# is hysteresis: a redraw in which nothing changed is cheap, so 60 per second cost far less than twice as much.
CHEAP_CORES, EXPENSIVE_CORES = 0.06, 0.10
# With fewer redraws than this ratio of the wanted rate, the CPU is needed elsewhere.
LATE_RATIO = 0.9
# After lowering the rate, it is kept for this long.
PATIENCE_NS = 5_000_000_000
# Rates and `cpu_cores` are measured over this time.
SPAN_NS = 1_000_000_000


class Pace:
    """Measures and schedules redraws. Time is passed in."""

    def __init__(self) -> None:
        self._due_ns = 0
        self._marks: deque[tuple[int, int, int]] = deque()
        self.interval_ns = INTERVAL_NS
        """Time between redraws."""
        self._kept_until_ns = 0

    def count(self, now_ns: int, cpu_ns: int, picture_count: int = 0) -> None:
        """Count a redraw. `cpu_ns`: CPU time of this process so far; `picture_count`: pictures shown so far."""
        self._marks.append((now_ns, cpu_ns, picture_count))
        while now_ns - self._marks[0][0] > SPAN_NS:
            self._marks.popleft()
        self._choose(now_ns)
        on_time = now_ns - self._due_ns < self.interval_ns
        # From the due time, not from now: small delays do not add up to a lower rate.
        self._due_ns = (self._due_ns if on_time else now_ns) + self.interval_ns

    def _choose(self, now_ns: int) -> None:
        """Choose 60 or 30 per second, by cost and number of the redraws of the last second."""
        redraws_per_s, cores = self.redraws_per_s, self.cpu_cores
        if redraws_per_s is None or cores is None or now_ns < self._kept_until_ns:
            return
        if self.interval_ns == INTERVAL_NS:
            # Late redraws at 30 per second mean that a core is missing: more redraws would take it from the server.
            if cores <= CHEAP_CORES and redraws_per_s >= 30 * LATE_RATIO:
                self.interval_ns = FAST_INTERVAL_NS
                self._kept_until_ns = now_ns + SPAN_NS  # Re-evaluate after one second at 60.
        elif cores > EXPENSIVE_CORES or redraws_per_s < 60 * LATE_RATIO:
            self.interval_ns = INTERVAL_NS
            self._kept_until_ns = now_ns + PATIENCE_NS

    def rest_s(self, now_ns: int) -> float:
        """Seconds until the next redraw is due; 0 when it is late."""
        return max(0, self._due_ns - now_ns) / 1e9

    @property
    def fps(self) -> float | None:
        """Pictures shown per second over the last second: the redraws that changed something. None as for these."""
        span_ns = self._span_ns()
        return (self._marks[-1][2] - self._marks[0][2]) * 1e9 / span_ns if span_ns >= SPAN_NS / 2 else None

    @property
    def redraws_per_s(self) -> float | None:
        """Redraws per second over the last second; None before half a second has passed."""
        span_ns = self._span_ns()
        return (len(self._marks) - 1) * 1e9 / span_ns if span_ns >= SPAN_NS / 2 else None

    @property
    def cpu_cores(self) -> float | None:
        """CPU time / time over the last second; None before half a second has passed."""
        span_ns = self._span_ns()
        return (self._marks[-1][1] - self._marks[0][1]) / span_ns if span_ns >= SPAN_NS / 2 else None

    def _span_ns(self) -> int:
        return self._marks[-1][0] - self._marks[0][0] if self._marks else 0
