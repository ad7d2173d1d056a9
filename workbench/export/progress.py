"""The progress of an export as a bar on standard error, only when that is a terminal."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

_Item = TypeVar("_Item")


class ExportProgress:
    """The steps of an export, shown by a bar or, when there is none, not at all."""

    def __init__(self, bar: "Progress | None") -> None:
        self._bar = bar

    def each(self, items: Iterable[_Item], text: str, total: int) -> Iterator[_Item]:
        """Yield the items and count them; `total` are expected."""
        return iter(items) if self._bar is None else iter(self._bar.track(items, total, description=text))

    def begin(self, text: str) -> None:
        """Show a step of unknown length."""
        if self._bar is not None:
            self._bar.add_task(text, total=None)


@contextmanager
def export_progress() -> Iterator[ExportProgress]:
    """The progress of an export, which is shown during the body."""
    if not sys.stderr.isatty():
        yield ExportProgress(None)
        return
    # Imported only for a terminal: it is slow to import.
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield ExportProgress(bar)
