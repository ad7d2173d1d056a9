"""The process that draws the panels: `python -m plots`, started by a session, never by hand.

It looks at the history page, draws when there is something new to see, and brings the picture to the front of the
picture page. It holds no state that anybody would miss: when it dies, the session may start another.
"""

import sys
import threading
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from plots.history import HistoryReader
from plots.ipc import PanelsCommand, Picture, Resize, ShowPanels, StartPanels, fitting_size
from plots.panels import Panels
from plots.series import DEFAULT_NAMES
from plots.span import Span
from plots.style import THEMES
from server.ipc import control
from server.ipc.page import PageError
from server.system import clock, standard_streams

LOOK_S = 0.03
"""Between two looks at the history. A third of a sample's interval: no sample waits long, and none is missed."""
CORE_RATIO_MAX = 0.15
"""The share of a core that drawing may take: after a costly picture comes a longer rest."""
SCALE_LEAST, SCALE_MOST = 0.25, 8.0


@dataclass(frozen=True, slots=True)
class Look:
    """What is to be drawn: at which size, and what of it."""

    width: int
    height: int
    scale: float
    show: ShowPanels

    def resized(self, width: int, height: int, scale: float) -> "Look":
        """The same at another size, or the nearest that can be drawn."""
        return Look(*fitting_size(width, height), min(max(scale, SCALE_LEAST), SCALE_MOST), self.show)

    def new_panels(self) -> Panels:
        """Panels that look so. Raises KeyError for a panel or theme of no known name."""
        show = self.show
        return Panels(self.width, self.height, self.scale, show.names, THEMES[show.theme], show.note)

    def same_panels(self, other: "Look") -> bool:
        """Whether the other differs in nothing but its span."""
        return other == replace(self, show=msgspec.structs.replace(self.show, **_span_of(other.show)))


def _span_of(show: ShowPanels) -> dict[str, Any]:
    return {"end_ns": show.end_ns, "span_s": show.span_s}


class Orders:
    """What the session wants at the moment: a look, or an end. Written by the thread of commands."""

    def __init__(self, width: int, height: int, scale: float) -> None:
        self.stopped = threading.Event()
        # Each change is one assignment of one object: the drawing thread never sees half of it.
        self.look = Look(width, height, scale, ShowPanels(DEFAULT_NAMES)).resized(width, height, scale)

    def take(self, command: PanelsCommand) -> None:
        """Carry out a command. Those for other processes are none of ours."""
        match command:
            case Resize(width, height, scale):
                self.look = self.look.resized(width, height, scale)
            case ShowPanels():
                self.look = replace(self.look, show=command)
            case control.Stop():
                self.stopped.set()


class Renderer:
    """Draws what is new in a history into a picture, as it is told to look."""

    def __init__(self, history: HistoryReader, picture: Picture) -> None:
        self._history = history
        self._picture = picture
        self._panels: Panels | None = None
        self._look: Look | None = None
        self._drawn: object = None

    def look(self, look: Look) -> bool:
        """Draw if there is anything that the last picture does not show; True when there was.

        What was written over while it was read is not drawn, but what is there at the next look.
        """
        head, marker_head = self._history.head, self._history.marker_head
        span = self._span(look.show, head)
        # A span that stands still shows no new samples; only what its axis says grows older.
        drawn = (look, span.end_ns, marker_head, head if span.live else span.tick_labels())
        if drawn == self._drawn:
            return False
        samples, markers = self._history.between(head, span.first_ns, span.end_ns), self._history.markers(marker_head)
        if not self._history.holds(head, marker_head):
            return False
        self._drawn = drawn
        if self._panels is None or self._look is None or not look.same_panels(self._look):
            self._panels = look.new_panels()
        self._look = look
        self._picture.show(self._panels.draw(samples, span, markers))
        return True

    def _span(self, show: ShowPanels, head: int) -> Span:
        newest_ns = self._history.newest_ns(head)
        if show.end_ns == 0:
            return Span.live_at(newest_ns, show.span_s)
        end_ns = min(max(show.end_ns, self._history.oldest_ns(head)), newest_ns)
        return Span.still_at(end_ns, show.span_s, origin_ns=newest_ns)


def draw_until_stopped(artist: Renderer, picture: Picture, orders: Orders) -> None:
    """Look and draw, once at least, until the session says `Stop` or is gone."""
    while True:
        before_ns = clock.process_cpu_ns()
        drawn = artist.look(orders.look)
        after_ns = clock.process_cpu_ns()
        picture.account(after_ns)
        cost_s = (after_ns - before_ns) * 1e-9 if drawn else 0.0
        if orders.stopped.wait(max(LOOK_S, cost_s * (1 / CORE_RATIO_MAX - 1))):
            return


def main() -> int:
    """Follow the session's orders. Returns the process's exit code."""
    standard_streams.open_closed()
    control.leave_signals_to_parent()
    start: StartPanels = control.read_start(StartPanels)
    orders = Orders(start.width, start.height, start.scale)
    control.follow_commands(orders.take, PanelsCommand)
    try:
        history, picture = HistoryReader.attach(start.history_fd), Picture.attach(start.picture_fd)
    except (PageError, OSError) as fault:
        control.say(control.Failed(f"the panels cannot share memory with the session: {fault}"))
        return 1
    draw_until_stopped(Renderer(history, picture), picture, orders)
    return 0


if __name__ == "__main__":
    sys.exit(main())
