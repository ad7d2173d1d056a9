"""Writes the history that the panels draw: ten minutes of samples, and the markers on their time axis.

It measures nothing. Invariant: a row is written before the head that makes it visible; what is not known is NaN.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.kernels import layout
from server.kernels.layout import MarkerKind
from server.page import Page
from workbench.view import Marker

MARKERS_SHOWN = 64
"""The newest so many are told to a view."""
_TEXT_BYTES = layout.MARKER["text"].itemsize
_ABSENT = {name: float("nan") if layout.SAMPLE[name].base.kind == "f" else 0 for name in layout.SAMPLE.names or ()}
"""What a field holds that is not known."""


class History:
    """The one writer of a history page."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._markers: deque[Marker] = deque(maxlen=MARKERS_SHOWN)
        self.markers: tuple[Marker, ...] = ()
        """The newest, oldest first."""

    def write(self, sample: NDArray[Any]) -> None:
        """Write one sample, shape (), dtype SAMPLE."""
        head = self._page["head"]
        self._page["samples"][int(head[0]) % layout.SAMPLE_ROWS] = sample
        head[0] += 1

    def mark(self, time_ns: int, kind: str, text: str) -> None:
        """Note what was done to the run. `kind`: knob, fault, brake or note; `text` is cut to the room of a row."""
        head = self._page["marker_head"]
        marker = Marker(time_ns, kind, text)
        fill_marker(self._page["markers"][int(head[0]) % layout.MARKER_ROWS], marker)
        head[0] += 1
        self._markers.append(marker)
        self.markers = tuple(self._markers)


def sample_of(fields: Mapping[str, Any]) -> NDArray[Any]:
    """A sample of SAMPLE fields by name, shape (). None, and a float field that is not named, is NaN."""
    sample = np.zeros((), layout.SAMPLE)
    for name in layout.SAMPLE.names or ():
        value = fields.get(name)
        sample[name] = _ABSENT[name] if value is None else value
    return sample


def fill_marker(row: Any, marker: Marker) -> None:
    """Write a marker into its row, dtype MARKER."""
    row["time_ns"], row["kind"], row["text"] = marker.time_ns, MarkerKind[marker.kind.upper()], _bytes_of(marker.text)


def _bytes_of(text: str) -> bytes:
    """A marker's text as its row holds it: UTF-8, cut before the first letter that does not fit whole."""
    return text.encode()[:_TEXT_BYTES].decode(errors="ignore").encode()
