"""Writes the history that the panels draw: ten minutes of samples, and the markers on their time axis."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plots.history import MARKER, SAMPLE, MarkerKind
from server.ipc.page import Page
from workbench.telemetry.view import Marker

# How many of the newest a view has.
MARKERS_SHOWN = 64
_TEXT_BYTES = MARKER["text"].itemsize
# The value of a field that is not known.
_ABSENT = {name: float("nan") if SAMPLE[name].base.kind == "f" else 0 for name in SAMPLE.names or ()}


class Ring:
    """The one writer of a ring of a history page. `prefix`: of the names of its counts' sections."""

    def __init__(self, page: Page, rows: str, prefix: str = "") -> None:
        self._rows = page[rows]
        self._begun, self._head = page[f"{prefix}begun"], page[f"{prefix}head"]

    def append(self, rows: NDArray[Any]) -> None:
        """Append rows; of more than the ring holds, the last."""
        kept, head = rows[-len(self._rows) :], int(self._head[0])
        assert int(self._begun[0]) == head, "a ring has one writer"
        # The order is the protocol: a reader must know which of the oldest rows change before they do, and must see a
        # new row in the head only when it is whole.
        self._begun[0] = head + len(kept)
        self._rows[(head + np.arange(len(kept))) % len(self._rows)] = kept
        self._head[0] = head + len(kept)


class History:
    """The one writer of a history page."""

    def __init__(self, page: Page) -> None:
        self._samples, self._marked = history_rings(page)
        self._markers: deque[Marker] = deque(maxlen=MARKERS_SHOWN)
        self.markers: tuple[Marker, ...] = ()
        """The newest, oldest first."""

    def write(self, sample: NDArray[Any]) -> None:
        """Write one sample, shape (), dtype SAMPLE."""
        self._samples.append(sample.reshape(1))

    def mark(self, time_ns: int, kind: str, text: str) -> None:
        """Add a marker. `kind`: knob, fault, brake or note; `text` is cut to the room of a row."""
        marker = Marker(time_ns, kind, text)
        self._marked.append(marker_rows([marker]))
        self._markers.append(marker)
        self.markers = tuple(self._markers)


def history_rings(page: Page) -> tuple[Ring, Ring]:
    """The rings of samples and of markers of a page of `page.history_sections()`."""
    return Ring(page, "samples"), Ring(page, "markers", "marker_")


def sample_of(fields: Mapping[str, Any]) -> NDArray[Any]:
    """A sample of SAMPLE fields by name, shape (). None, and a float field that is not named, is NaN."""
    sample = np.zeros((), SAMPLE)
    for name in SAMPLE.names or ():
        value = fields.get(name)
        sample[name] = _ABSENT[name] if value is None else value
    return sample


def marker_rows(markers: Sequence[Marker]) -> NDArray[Any]:
    """Markers as rows, shape (n,), dtype MARKER."""
    # A text that is too long for its row is cut before the first character that does not fit whole.
    texts = (marker.text.encode()[:_TEXT_BYTES].decode(errors="ignore").encode() for marker in markers)
    kinds = (MarkerKind[marker.kind.upper()] for marker in markers)
    return np.array(list(zip((marker.time_ns for marker in markers), kinds, texts, strict=True)), MARKER)
