"""The playhead of a replay: its position between the ends, playing or held, its speed, and the marks to jump to.

It knows no recording and reads no clock.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

# Times the speed of the run.
SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0)
# While it plays, a jump back skips a mark passed less than this ago; it would always come back to the same one.
BACK_NS = 700_000_000


class Transport:
    """Plays from `first_ns` to `last_ns` of a recording's clock. It begins held, at the first.

    `marks_ns`: ascending times to jump to; those beyond the ends are ignored. Times are shown relative to `origin_ns`,
    the start of the recording; None: to `first_ns`.
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
        """The time that is shown."""
        return int(self._position_ns)

    @property
    def duration_ns(self) -> int:
        """The time between the ends."""
        return self.last_ns - self.first_ns

    @property
    def at_end(self) -> bool:
        """Whether the position is the last."""
        return self._position_ns >= self.last_ns

    @property
    def ratio(self) -> float:
        """The position, 0..1."""
        return (self._position_ns - self.first_ns) / self.duration_ns if self.duration_ns else 1.0

    def step(self, now_ns: int) -> int:
        """Play on by the time since the last step. Returns the position. `now_ns`: of the viewer's clock."""
        # The first step only starts the clock: nothing was played before it.
        passed_ns = 0 if self._stepped_ns is None else max(0, now_ns - self._stepped_ns)
        self._stepped_ns = now_ns
        if self.playing:
            self._go_to(self._position_ns + passed_ns * self.speed)
            self.playing = not self.at_end
        return self.position_ns

    def toggle(self) -> None:
        """Play, or hold. At the end, play from the beginning."""
        if not self.playing and self.at_end:
            self._go_to(self.first_ns)
        self.playing = not self.playing and self.duration_ns > 0

    def seek(self, time_ns: float) -> None:
        """Go to this time, or to the nearest end; keep playing if it plays."""
        self._go_to(time_ns)

    def seek_ratio(self, ratio: float) -> None:
        """Go to this position, 0..1."""
        self._go_to(self.first_ns + ratio * self.duration_ns)

    def hold_at(self, time_ns: float) -> None:
        """Go to this time and hold."""
        self.playing = False
        self._go_to(time_ns)

    def jump(self, step: int) -> None:
        """Go to the next mark (1) or the one before (-1), or without one to that end."""
        marks = [mark for mark in self.marks_ns if self.first_ns <= mark <= self.last_ns]
        if step > 0:
            index = bisect_right(marks, self.position_ns)
            self._go_to(marks[index] if index < len(marks) else self.last_ns)
            return
        # BACK_NS is time of the viewer: at a higher speed it is more of the recording.
        passed_ns = self.position_ns - (BACK_NS * self.speed if self.playing else 0)
        index = bisect_left(marks, passed_ns) - 1
        self._go_to(marks[index] if index >= 0 else self.first_ns)

    def change_speed(self, step: int) -> None:
        """The next higher speed (1) or the next lower (-1), if there is one."""
        index = min(max(SPEEDS.index(self.speed) + step, 0), len(SPEEDS) - 1)
        self.speed = SPEEDS[index]

    def extend(self, last_ns: int) -> None:
        """Move the last end on: the recording has grown."""
        self.last_ns = max(self.last_ns, last_ns)

    def _go_to(self, time_ns: float) -> None:
        self._position_ns = min(max(float(time_ns), float(self.first_ns)), float(self.last_ns))
        assert self.first_ns <= self._position_ns <= self.last_ns
