"""The processes of one session: started, told, heard and ended, and what a person must know of each.

It decides nothing and reads no page. A part that dies is named, and the rest stays alive until somebody ends it.
Invariant: `poll` never waits; only `wait` and `stop` do, and never longer than their bounds.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

import msgspec

from server.ipc.control import Failed, News, Phase, Progress, Stop
from server.ipc.page import Page
from workbench.session.process import Ended, Order, Process, ProcessEvent
from workbench.telemetry.view import Part

_SHOWING_PROGRESS = ("starting", "compiling", "connecting")


class Processes:
    """Children by name: "server", "fleet", "panels". `commands` are the programs behind them."""

    def __init__(self, commands: Mapping[str, Sequence[str]]) -> None:
        self._commands = commands
        self._heard: SimpleQueue[ProcessEvent] = SimpleQueue()
        self._inbox: list[ProcessEvent] = []
        self._children: dict[str, Process] = {}
        self._progress: dict[str, Progress] = {}
        self._failures: dict[str, str] = {}
        self._ended: set[str] = set()
        self._stopping: set[str] = set()
        self.phases: set[str] = set()
        """Names of the phases that the fleet has told."""
        self.news: list[str] = []
        """What they say has changed around them."""
        self.failed_ns = 0
        """When the first of them failed; 0: none has."""

    # --- What they are told ---

    def spawn(self, name: str, *pages: Page | None) -> Process:
        """Start a process that inherits these pages. It waits for its first line: `begin`."""
        descriptors = [page.descriptor for page in pages if page is not None]
        child = self._children[name] = Process(name, self._commands[name], descriptors, self._heard)
        return child

    def begin(self, name: str, start: msgspec.Struct) -> None:
        """Give a part its first line, which says all that it needs."""
        self._children[name].begin(start)

    def tell(self, name: str, order: Order) -> None:
        """Give an order, if the part was started and has not ended."""
        if self.lives(name):
            self._children[name].tell(order)

    def dismiss(self, name: str) -> None:
        """Ask a part to end, without waiting for it. One that has not begun is not asked: it would not understand."""
        if self.lives(name):
            self._stopping.add(name)
            if self._children[name].has_begun:
                self._children[name].tell(Stop())

    def stop(self, name: str, seconds: float) -> None:
        """End a part, if it was started: in order within `seconds`, or by force."""
        if name in self._children:
            self._stopping.add(name)
            self._children[name].stop(seconds)

    # --- What is heard of them ---

    def poll(self, now_ns: int) -> list[ProcessEvent]:
        """All that was said since the last time, in order. Progress, failures and ends are noted here.

        Orders that a part did not take at once are handed over as it goes on.
        """
        for child in self._children.values():
            child.hand_over()
        with suppress(Empty):
            while True:
                self._inbox.append(self._heard.get_nowait())
        heard, self._inbox = self._inbox, []
        for one in heard:
            self._note(one, now_ns)
        return heard

    def wait(self, seconds: float) -> None:
        """Return as soon as one of them says something, or `seconds` have passed."""
        with suppress(Empty):
            self._inbox.append(self._heard.get(timeout=seconds))

    def exists(self, name: str) -> bool:
        """Whether the part was started."""
        return name in self._children

    def has_begun(self, name: str) -> bool:
        """Whether the part was started and given its first line."""
        return name in self._children and self._children[name].has_begun

    def lives(self, name: str) -> bool:
        """Whether the part was started and is not known to have ended."""
        return name in self._children and name not in self._ended

    @property
    def failures(self) -> list[str]:
        """One line for each part that failed, but for a fleet whose server did: it has lost all it had."""
        names = [name for name in self._failures if name != "fleet" or "server" not in self._failures]
        return [f"{name}: {self._failures[name]}" for name in names]

    @property
    def tracebacks(self) -> list[str]:
        """What bugs in parts that failed left behind."""
        return [text for name in self._failures if (text := self._children[name].traceback())]

    def shown(self, name: str, state: str) -> Part:
        """The part as a person sees it; `state` is what its page says of it."""
        failure = self._failures.get(name, "")
        state = "failed" if failure else "stopped" if name in self._ended else state
        progress = self._progress.get(name)
        return Part(name, state, progress if state in _SHOWING_PROGRESS else None, failure)

    def _note(self, heard: ProcessEvent, now_ns: int) -> None:
        match heard.event:
            case Progress() as progress:
                self._progress[heard.name] = progress
            case Phase(name):
                self.phases.add(name)
            case News(text):
                if text not in self.news[-1:]:  # Server and fleet find the same cache damaged.
                    self.news.append(text)
            case Failed(reason):
                self._fail(heard.name, reason, now_ns)
            case Ended(exit_code):
                self._ended.add(heard.name)
                # A process that we ended, by a signal if need be, has no fault of its own to tell.
                if heard.name not in self._stopping or exit_code > 0:
                    self._fail(heard.name, self._children[heard.name].reason(), now_ns)

    def _fail(self, name: str, reason: str, now_ns: int) -> None:
        """Note the first reason of a part: what it says itself comes before how it ended."""
        self._failures.setdefault(name, reason)
        self.failed_ns = self.failed_ns or now_ns
