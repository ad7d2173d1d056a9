"""The progress of an export as a bar on standard error, only when that is a terminal."""

import sys
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

_Item = TypeVar("_Item")


class ExportProgress:
    """A context manager that shows the bar."""

    def __init__(self) -> None:
        self._bar = _new_bar() if sys.stderr.isatty() else None

    def __enter__(self) -> "ExportProgress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def each(self, items: Iterable[_Item], text: str, total: int) -> Iterator[_Item]:
        """Yield the items and count them; `total` are expected."""
        task = self._bar.add_task(text, total=total) if self._bar is not None else None
        for item in items:
            yield item
            if self._bar is not None and task is not None:
                self._bar.advance(task)

    def begin(self, text: str) -> None:
        """Show a step of unknown length."""
        if self._bar is not None:
            self._bar.add_task(text, total=None)


def _new_bar() -> "Progress":
    # Imported only for a terminal: it is slow to import.
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True), transient=True)
