"""Stops a session's parts step by step, each step with a time limit that the user may cut short.

The session chooses the order. No step waits longer than its limit, and none waits after the user hurries.
"""

from collections.abc import Callable

from server.ipc.control import CheckViewers, StopSending
from server.system import clock
from workbench.session.processes import Processes
from workbench.telemetry.counters import NANOSECONDS

# For messages in flight. Longer than the longest stretched tick and a full socket buffer take.
QUIET_WAIT_S = 4.0
CHECK_WAIT_S = 2.5
# For one process to close its connections in order, which it limits to 3 s. All limits together stay under 15 s, the
# longest that Ctrl-C may take.
STOP_WAIT_S = 3.5
# Multiplies each limit when the run ended by itself: the user did not ask to stop and wants the results.
UNASKED_PATIENCE = 4.0
# Longest time between two calls of `attend`.
ATTEND_S = 1 / 30

# Called with the current step while it is waited for. False: stop waiting.
Attend = Callable[[str], bool]


def wait_for_all(step: str) -> bool:
    """An `Attend` that waits for every step: no user watches."""
    return True


class Shutdown:
    """Stops `parts`. `turn(seconds)` waits at most this long for their events and handles them.

    `patience()` multiplies all limits. It is called again on every turn, because it changes when the user asks to stop.
    """

    def __init__(
        self,
        parts: Processes,
        turn: Callable[[float], None],
        attend: Attend = wait_for_all,
        patience: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._parts, self._turn, self._attend, self._patience = parts, turn, attend, patience
        self._is_hurried = False

    def drain(self) -> None:
        """Stop the load, wait for messages in flight, and have the viewers checked."""
        phases, parts = self._parts.phases, self._parts
        parts.send("fleet", StopSending())
        is_quiet = self._until(lambda: "quiet" in phases, "fleet", QUIET_WAIT_S, "waiting for the fleet to be quiet")
        # Viewers are compared with the server's canvas: while messages are in flight, they may still differ.
        if is_quiet and parts.is_alive("server"):
            parts.send("fleet", CheckViewers())
            self._until(lambda: "checked" in phases, "fleet", CHECK_WAIT_S, "comparing what viewers hold")

    def stop(self, name: str) -> None:
        """Stop a part, if it was started: in order within `STOP_WAIT_S`, or by force."""
        self._parts.request_stop(name)
        if self._parts.has_begun(name):
            what = f"waiting for the {name} to end"
            self._until(lambda: not self._parts.is_alive(name), name, STOP_WAIT_S, what)
        # Also after an orderly exit: it closes the pipes and collects the process.
        self._parts.stop(name, 0.0)

    def _until(self, condition: Callable[[], bool], name: str, seconds: float, step: str) -> bool:
        """Wait until the condition holds. False on timeout, when hurried, or when the part has exited."""
        began_ns = clock.now_ns()
        while not condition() and self._parts.is_alive(name) and not self._is_hurried:
            # Asked again on every turn: a user who presses Ctrl-C now shortens a wait that has begun.
            left_s = seconds * self._patience() - (clock.now_ns() - began_ns) / NANOSECONDS
            if left_s <= 0:
                return False
            self._turn(min(left_s, ATTEND_S))
            self._is_hurried = not self._attend(step)
        return condition()
