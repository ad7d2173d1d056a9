"""The history page as the panels read it: the newest minute of samples, in order.

The session writes a sample before the head that counts it, and the ring is ten times as long as what is read here: no
row that is read is being written.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.kernels import layout
from server.page import Page, history_sections

READ_ROWS = 620
"""A minute at ten samples a second, and the block of time before it that lines come in from."""

assert 2 * READ_ROWS < layout.SAMPLE_ROWS


class History:
    """A reader's view of the page of `page.history_sections`."""

    def __init__(self, page: Page) -> None:
        self._head = page["head"]
        self._samples = page["samples"]

    @classmethod
    def attach(cls, descriptor: int) -> "History":
        """The history behind an inherited descriptor. Raises PageError or OSError when there is none."""
        return cls(Page.attach(descriptor, history_sections()))

    @property
    def head(self) -> int:
        """How many samples were ever written."""
        return int(self._head[0])

    def newest(self, head: int) -> NDArray[Any]:
        """The samples before number `head`, READ_ROWS at most, oldest first; shape (n,), dtype SAMPLE, a copy."""
        rows = np.arange(max(head - READ_ROWS, 0), head) % layout.SAMPLE_ROWS
        samples: NDArray[Any] = self._samples[rows]
        return samples
