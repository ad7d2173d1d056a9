"""Writes the history that the panels draw: ten minutes of samples, and the markers on their time axis.

It measures nothing. Invariant: a row is written before the head that makes it visible; what is not known is NaN.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

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

    def write(self, fields: Mapping[str, Any]) -> None:
        """Write one sample: SAMPLE fields by name. None, and a float field that is not named, is NaN."""
        head = self._page["head"]
        row = self._page["samples"][int(head[0]) % layout.SAMPLE_ROWS]
        for name in layout.SAMPLE.names or ():
            value = fields.get(name)
            row[name] = _ABSENT[name] if value is None else value
        head[0] += 1

    def mark(self, time_ns: int, kind: str, text: str) -> None:
        """Note what was done to the run. `kind`: knob, fault, brake or note; `text` is cut to the room of a row."""
        head = self._page["marker_head"]
        row = self._page["markers"][int(head[0]) % layout.MARKER_ROWS]
        row["time_ns"] = time_ns
        row["kind"] = MarkerKind[kind.upper()]
        row["text"] = _cut(text)
        head[0] += 1
        self._markers.append(Marker(time_ns, kind, text))
        self.markers = tuple(self._markers)


def _cut(text: str) -> bytes:
    """UTF-8, cut before the first letter that does not fit whole."""
    return text.encode()[:_TEXT_BYTES].decode(errors="ignore").encode()
