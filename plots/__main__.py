"""The process that draws the panels: `python -m plots`, started by a session, never by hand.

It looks at the history page, draws when there is something new to see, and brings the picture to the front of the
picture page. It holds no state that anybody would miss: when it dies, the session may start another.
"""

import sys
import threading

from plots.history import History
from plots.panels import Panels
from plots.picture import Picture, fitting_size
from server import clock, control
from server.page import PageError

LOOK_S = 0.03
"""Between two looks at the history. A third of a sample's interval: no sample waits long, and none is missed."""
CORE_RATIO_MAX = 0.15
"""The share of a core that drawing may take: after a costly picture comes a longer rest."""
SCALE_LEAST, SCALE_MOST = 0.25, 8.0

Size = tuple[int, int, float]


class Orders:
    """What the session wants at the moment: a size, or an end. Written by the thread of commands."""

    def __init__(self, width: int, height: int, scale: float) -> None:
        self.stopped = threading.Event()
        self._set_size(width, height, scale)

    def take(self, command: control.Command) -> None:
        """Carry out a command. Those for fleets are none of ours."""
        match command:
            case control.Resize(width, height, scale):
                self._set_size(width, height, scale)
            case control.Stop():
                self.stopped.set()

    def _set_size(self, width: int, height: int, scale: float) -> None:
        # One assignment of one tuple: the drawing thread never sees half a size.
        self.size: Size = (*fitting_size(width, height), min(max(scale, SCALE_LEAST), SCALE_MOST))


class Artist:
    """Draws what is new in a history into a picture, at the size it is told."""

    def __init__(self, history: History, picture: Picture) -> None:
        self._history = history
        self._picture = picture
        self._panels: Panels | None = None
        self._size: Size | None = None
        self._head = -1

    def look(self, size: Size) -> bool:
        """Draw if there is a sample or a size that the last picture has not; True when there was."""
        head = self._history.head
        if self._panels is None or size != self._size:
            self._panels, self._size = Panels(*size), size
        elif head == self._head:
            return False
        self._head = head
        samples = self._history.newest(head)
        # The right edge is the newest sample, not the clock's present: the picture would tremble between samples.
        now_ns = int(samples["time_ns"][-1]) if len(samples) else 0
        self._picture.show(self._panels.draw(samples, now_ns))
        return True


def draw_until_stopped(artist: Artist, picture: Picture, orders: Orders) -> None:
    """Look and draw, once at least, until the session says `Stop` or is gone."""
    while True:
        before_ns = clock.process_cpu_ns()
        drawn = artist.look(orders.size)
        after_ns = clock.process_cpu_ns()
        picture.account(after_ns)
        cost_s = (after_ns - before_ns) * 1e-9 if drawn else 0.0
        if orders.stopped.wait(max(LOOK_S, cost_s * (1 / CORE_RATIO_MAX - 1))):
            return


def main() -> int:
    """Follow the session's orders. Returns the process's exit code."""
    control.leave_signals_to_parent()
    start: control.StartPanels = control.read_start(control.StartPanels)
    orders = Orders(start.width, start.height, start.scale)
    control.follow_commands(orders.take)
    try:
        history, picture = History.attach(start.history_fd), Picture.attach(start.picture_fd)
    except (PageError, OSError) as fault:
        control.say(control.Failed(f"the panels cannot share memory with the session: {fault}"))
        return 1
    draw_until_stopped(Artist(history, picture), picture, orders)
    return 0


if __name__ == "__main__":
    sys.exit(main())
