"""The panels' process as a session has it, live or replayed: started with what it was told before, told what is new.

It knows nothing of what the panels show. Invariant: a process that is started later shows what was asked for last.
"""

from plots.ipc import Resize, ShowPanels, StartPanels
from server.ipc.page import Page
from workbench.session.processes import Processes

NAME = "panels"
_SIZE_FIRST = (900, 700, 1.0)


class PanelsPart:
    """One panels' process among the parts of a session, between a history page and a picture page."""

    def __init__(self, parts: Processes, history: Page, picture: Page) -> None:
        self._parts, self._history, self._picture = parts, history, picture
        self._size = _SIZE_FIRST
        self._order: ShowPanels | None = None

    @property
    def order(self) -> ShowPanels | None:
        """What was asked for last; None before anything was."""
        return self._order

    def start(self) -> None:
        """Start the process."""
        orders = StartPanels(self._history.descriptor, self._picture.descriptor, *self._size)
        self._parts.spawn(NAME, self._history, self._picture).begin(orders)
        if self._order is not None:
            self._parts.tell(NAME, self._order)

    def resize(self, width: int, height: int, scale: float) -> None:
        """Have them drawn at this size in pixels from now on; `scale` 2 doubles letters and lines."""
        self._size = (width, height, scale)
        self._parts.tell(NAME, Resize(width, height, scale))

    def show(self, order: ShowPanels) -> None:
        """Have them show this from now on."""
        self._order = order
        self._parts.tell(NAME, order)

    @property
    def state(self) -> str:
        """What the picture says of the process."""
        return "running" if int(self._picture["serial"][0]) else "starting"
