"""Where a replay is: playing or held, how fast, between which ends, and the marks that one jumps to.

It knows no recording and reads no clock: each step is told the time. Invariant: the position lies between the ends.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0)
"""Times the speed of the run."""
BACK_NS = 700_000_000
"""While it plays, the mark before is one that was passed longer ago: else one would never get past a mark."""


class Transport:
    """Plays through the time from `first_ns` to `last_ns` of a recording's clock. It begins held, at the first.

    `marks_ns`: ascending times to jump to; those beyond the ends are left out. Times are told to a person as how long
    after `origin_ns` they are, the beginning of the recording; None: after `first_ns`.
    """

    def __init__(self, first_ns: int, last_ns: int, marks_ns: Sequence[int] = (), origin_ns: int | None = None) -> None:
        assert first_ns <= last_ns, "a replay ends after it begins"
        self.first_ns, self.last_ns = first_ns, last_ns
        self.origin_ns = first_ns if origin_ns is None else origin_ns
        self.marks_ns = marks_ns
        self._position_ns = float(first_ns)
        self._stepped_ns: int | None = None
        self.playing = False
        self.speed = 1.0

    @property
    def position_ns(self) -> int:
        """The moment that is shown."""
        return int(self._position_ns)

    @property
    def duration_ns(self) -> int:
        """From end to end."""
        return self.last_ns - self.first_ns

    @property
    def at_end(self) -> bool:
        """Whether there is nothing left to play."""
        return self._position_ns >= self.last_ns

    @property
    def ratio(self) -> float:
        """How far it is, 0..1."""
        return (self._position_ns - self.first_ns) / self.duration_ns if self.duration_ns else 1.0

    def step(self, now_ns: int) -> int:
        """Go on by the time since the last step. Returns the position. `now_ns` is the time of whoever looks on."""
        passed_ns = 0 if self._stepped_ns is None else max(0, now_ns - self._stepped_ns)
        self._stepped_ns = now_ns
        if self.playing:
            self._go_to(self._position_ns + passed_ns * self.speed)
            self.playing = not self.at_end
        return self.position_ns

    def toggle(self) -> None:
        """Play, or hold. At the end, play again from the beginning."""
        if not self.playing and self.at_end:
            self._go_to(self.first_ns)
        self.playing = not self.playing and self.duration_ns > 0

    def seek(self, time_ns: float) -> None:
        """Be at this time, or at the nearest end; playing goes on from there."""
        self._go_to(time_ns)

    def seek_ratio(self, ratio: float) -> None:
        """Be so far, 0..1."""
        self._go_to(self.first_ns + ratio * self.duration_ns)

    def hold_at(self, time_ns: float) -> None:
        """Be at this time and stay there."""
        self.playing = False
        self._go_to(time_ns)

    def jump(self, step: int) -> None:
        """To the next mark (1) or the one before (-1), or where there is none to that end."""
        marks = self._marks_within()
        if step > 0:
            index = bisect_right(marks, self.position_ns)
            self._go_to(marks[index] if index < len(marks) else self.last_ns)
            return
        passed_ns = self.position_ns - (BACK_NS * self.speed if self.playing else 0)
        index = bisect_left(marks, passed_ns) - 1
        self._go_to(marks[index] if index >= 0 else self.first_ns)

    def change_speed(self, step: int) -> None:
        """The next higher speed (1) or the next lower (-1), as far as they go."""
        index = min(max(SPEEDS.index(self.speed) + step, 0), len(SPEEDS) - 1)
        self.speed = SPEEDS[index]

    def extend(self, last_ns: int) -> None:
        """The recording has grown: it ends here now."""
        self.last_ns = max(self.last_ns, last_ns)

    def _marks_within(self) -> list[int]:
        return [mark for mark in self.marks_ns if self.first_ns <= mark <= self.last_ns]

    def _go_to(self, time_ns: float) -> None:
        self._position_ns = min(max(float(time_ns), float(self.first_ns)), float(self.last_ns))
