"""The history page as the panels read it: the samples of a span of time and the markers, in order.

The session counts the rows that it begins, writes them, and then counts them in the head. The oldest rows of the ring
are left alone here, so that little of what is read is written meanwhile. Invariant: after `holds`, what was read before
it under the same heads is whole.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.ipc.page import Page, history_sections
from server.kernels import layout

SPARE_ROWS = 32
"""The oldest rows, which the writer may overwrite while they are read: three seconds of samples."""
MARKERS_READ = layout.MARKER_ROWS - 16


class History:
    """A reader's view of the page of `page.history_sections`."""

    def __init__(self, page: Page) -> None:
        self._begun, self._marker_begun = page["begun"], page["marker_begun"]
        self._head = page["head"]
        self._samples = page["samples"]
        self._marker_head = page["marker_head"]
        self._markers = page["markers"]

    @classmethod
    def attach(cls, descriptor: int) -> "History":
        """The history behind an inherited descriptor. Raises PageError or OSError when there is none."""
        return cls(Page.attach(descriptor, history_sections()))

    @property
    def head(self) -> int:
        """How many samples were ever written."""
        return int(self._head[0])

    @property
    def marker_head(self) -> int:
        """How many markers were ever written."""
        return int(self._marker_head[0])

    def newest_ns(self, head: int) -> int:
        """The time of the last of the first `head` samples; 0 when there is none."""
        return int(self._samples["time_ns"][(head - 1) % layout.SAMPLE_ROWS]) if head else 0

    def oldest_ns(self, head: int) -> int:
        """The time of the oldest sample that can be read; 0 when there is none."""
        return int(self._samples["time_ns"][_oldest(head) % layout.SAMPLE_ROWS]) if head else 0

    def between(self, head: int, first_ns: int, last_ns: int) -> NDArray[Any]:
        """Of the first `head` samples those from `first_ns` to `last_ns`, both included, oldest first.

        Shape (n,), dtype SAMPLE, a copy. Those that the ring has no more are left out.
        """
        oldest = _oldest(head)
        times_ns = _ordered(self._samples["time_ns"], oldest, head)
        first = oldest + int(np.searchsorted(times_ns, first_ns))
        last = oldest + int(np.searchsorted(times_ns, last_ns, side="right"))
        return _ordered(self._samples, first, last)

    def markers(self, head: int) -> NDArray[Any]:
        """Of the first `head` markers the newest MARKERS_READ, oldest first; shape (n,), dtype MARKER, a copy.

        A replay that went back leaves rows of time 0, which are none.
        """
        found = _ordered(self._markers, _oldest_marker(head), head)
        return found[found["time_ns"] > 0]

    def holds(self, head: int, marker_head: int) -> bool:
        """Whether what was read of the first `head` samples and `marker_head` markers is whole.

        False where the writer has begun to write over some of it, as a replay does that goes back: look again.
        """
        samples_end, markers_end = _oldest(head) + layout.SAMPLE_ROWS, _oldest_marker(marker_head) + layout.MARKER_ROWS
        return int(self._begun[0]) <= samples_end and int(self._marker_begun[0]) <= markers_end


def _oldest(head: int) -> int:
    return max(head - (layout.SAMPLE_ROWS - SPARE_ROWS), 0)


def _oldest_marker(head: int) -> int:
    return max(head - MARKERS_READ, 0)


def _ordered(ring: NDArray[Any], first: int, last: int) -> NDArray[Any]:
    """Rows number `first` up to `last` of a ring, at most as many as it has; a copy."""
    start, count = first % len(ring), last - first
    return np.concatenate([ring[start : start + count], ring[: max(start + count - len(ring), 0)]])
