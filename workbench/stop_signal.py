"""SIGINT and SIGTERM as a flag that loops check, so that every run ends in order: no signal raises an exception."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """Installs the handlers while it is entered. `on_stop` is called from the handler, and must be safe there."""

    def __init__(self, on_stop: Callable[[], None] | None = None) -> None:
        self.asked = False
        self._on_stop = on_stop
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignal":
        for number in SIGNALS:
            self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Restored: after a run, Ctrl-C interrupts again at once.
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self._on_stop is not None:
            self._on_stop()
