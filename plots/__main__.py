"""The process that draws the panels: `python -m plots`, started by a session, never by hand.

It polls the history page, draws when something new is visible, and brings the picture to the front of the picture page.
It keeps no state of its own: when it dies, the session may start another.
"""

import sys
import threading
from dataclasses import dataclass, replace

import msgspec

from plots.history import HistoryReader
from plots.ipc import PanelsCommand, Picture, Resize, ShowPanels, StartPanels, fitting_size
from plots.panels import Panels
from plots.series import DEFAULT_NAMES
from plots.style import THEMES
from plots.timeline import TimeSpan
from server.ipc import control
from server.ipc.page import PageError
from server.system import clock, standard_streams

# Time between polls of the history: a third of a sample's interval, so that no sample waits long.
LOOK_S = 0.03
# Share of a core that drawing may take: after an expensive picture the process waits longer.
CORE_RATIO_MAX = 0.15
SCALE_LEAST, SCALE_MOST = 0.25, 8.0


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """The picture that is wanted: its size, its panels and their time."""

    width: int
    height: int
    scale: float
    show: ShowPanels

    def resized(self, width: int, height: int, scale: float) -> "PictureRequest":
        """The same at another size, or at the nearest that can be drawn."""
        return PictureRequest(*fitting_size(width, height), min(max(scale, SCALE_LEAST), SCALE_MOST), self.show)

    def new_panels(self) -> Panels:
        """Panels that draw it. Raises KeyError for an unknown panel or theme."""
        show = self.show
        return Panels(self.width, self.height, self.scale, show.names, THEMES[show.theme], show.note)

    def same_panels(self, other: "PictureRequest") -> bool:
        """Whether the other differs only in its time."""
        show = msgspec.structs.replace(self.show, end_ns=other.show.end_ns, span_s=other.show.span_s)
        return other == replace(self, show=show)


class Orders:
    """The session's present orders: what to draw, and when to stop. Written by the command thread."""

    def __init__(self, width: int, height: int, scale: float) -> None:
        self.stopped = threading.Event()
        # Each change is one assignment of one frozen object, so the drawing thread never sees half a change.
        self.request = PictureRequest(width, height, scale, ShowPanels(DEFAULT_NAMES)).resized(width, height, scale)

    def take(self, command: PanelsCommand) -> None:
        """Carry out a command."""
        match command:
            case Resize(width, height, scale):
                self.request = self.request.resized(width, height, scale)
            case ShowPanels():
                self.request = replace(self.request, show=command)
            case control.Stop():
                self.stopped.set()


class Renderer:
    """Draws the history into the picture, as requested."""

    def __init__(self, history: HistoryReader, picture: Picture) -> None:
        self._history = history
        self._picture = picture
        self._panels: Panels | None = None
        self._request: PictureRequest | None = None
        self._drawn: object = None

    def draw(self, request: PictureRequest) -> bool:
        """Draw unless the last picture already shows all of it. Returns whether it drew.

        Samples that were overwritten while they were read are not drawn: the next call reads again.
        """
        head, marker_head = self._history.head, self._history.marker_head
        span = self._span(request.show, head)
        # A fixed span shows no new samples; only its labels, which count from the newest one, change.
        drawn = (request, span.end_ns, marker_head, head if span.live else span.tick_labels())
        if drawn == self._drawn:
            return False
        samples, markers = self._history.between(head, span.first_ns, span.end_ns), self._history.markers(marker_head)
        if not self._history.holds(head, marker_head):
            return False
        self._drawn = drawn
        if self._panels is None or self._request is None or not request.same_panels(self._request):
            self._panels = request.new_panels()
        self._request = request
        self._picture.show(self._panels.draw(samples, span, markers))
        return True

    def _span(self, show: ShowPanels, head: int) -> TimeSpan:
        newest_ns = self._history.newest_ns(head)
        if show.end_ns == 0:
            return TimeSpan.live_at(newest_ns, show.span_s)
        end_ns = min(max(show.end_ns, self._history.oldest_ns(head)), newest_ns)
        return TimeSpan.still_at(end_ns, show.span_s, origin_ns=newest_ns)


def draw_until_stopped(renderer: Renderer, picture: Picture, orders: Orders) -> None:
    """Draw at least once, and until the session sends `Stop` or is gone."""
    while True:
        before_ns = clock.process_cpu_ns()
        drawn = renderer.draw(orders.request)
        after_ns = clock.process_cpu_ns()
        picture.account(after_ns)
        # Processor time, not wall time: a picture that waited for a core has cost nothing.
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
