"""How a session's parts are brought to their ends: each step with a bound, while somebody looks on and may hurry it.

In which order is the session's to say. Invariant: nothing here waits longer than its bound, and what is hurried is not
waited for any more.
"""

from collections.abc import Callable

from server.ipc.control import CheckViewers, StopSending
from server.system import clock
from workbench.session.processes import Processes
from workbench.telemetry.counters import NANOSECONDS

QUIET_WAIT_S = 4.0
"""For what is under way to arrive. Longer than the longest stretched tick and a full socket buffer take."""
CHECK_WAIT_S = 2.5
STOP_WAIT_S = 3.5
"""For one process to close its connections in order, which they bound by 3 s. All bounds together stay under the 15 s
that a person grants a Ctrl-C."""
UNASKED_PATIENCE = 4.0
"""By so much longer may each take where nobody has asked for the end: it came by itself, and its figures are wanted."""
ATTEND_S = 1 / 30
"""Whoever looks on is asked at least so often."""

Attend = Callable[[str], bool]
"""Is told what is waited for. False: do not wait for it."""


def with_patience(step: str) -> bool:
    """Nobody looks on: all is waited for."""
    return True


class Ending:
    """Ends `parts`. `turn(seconds)` waits so long at most for what they say, and takes note of it.

    `patience`: what all bounds are multiplied by, asked anew all the time.
    """

    def __init__(
        self,
        parts: Processes,
        turn: Callable[[float], None],
        attend: Attend = with_patience,
        patience: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._parts, self._turn, self._attend, self._patience = parts, turn, attend, patience
        self._is_hurried = False

    def quieten(self) -> None:
        """Stop the load, let what is under way arrive, and have the viewers checked."""
        phases, parts = self._parts.phases, self._parts
        parts.tell("fleet", StopSending())
        is_quiet = self._until(lambda: "quiet" in phases, "fleet", QUIET_WAIT_S, "waiting for the fleet to be quiet")
        if is_quiet and parts.lives("server"):
            parts.tell("fleet", CheckViewers())
            self._until(lambda: "checked" in phases, "fleet", CHECK_WAIT_S, "comparing what viewers hold")

    def stop(self, name: str) -> None:
        """End a part, if it was started: in order within `STOP_WAIT_S`, or by force."""
        self._parts.dismiss(name)
        if self._parts.has_begun(name):
            what = f"waiting for the {name} to end"
            self._until(lambda: not self._parts.lives(name), name, STOP_WAIT_S, what)
        self._parts.stop(name, 0.0)

    def _until(self, condition: Callable[[], bool], name: str, seconds: float, step: str) -> bool:
        """Go on until the condition holds; False when the time is over, it is hurried or the part is gone."""
        began_ns = clock.now_ns()
        while not condition() and self._parts.lives(name) and not self._is_hurried:
            left_s = seconds * self._patience() - (clock.now_ns() - began_ns) / NANOSECONDS
            if left_s <= 0:
                return False
            self._turn(min(left_s, ATTEND_S))
            self._is_hurried = not self._attend(step)
        return condition()
