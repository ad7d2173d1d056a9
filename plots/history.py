"""The history page: the samples and markers of a run, written by the session and read by the panels.

`SAMPLE` is the row of every figure over time: panels, recordings, reports and comparisons all read it. The page holds
two rings. The writer counts a row as begun, writes it, then counts it in the head. Readers leave the oldest rows of a
ring alone, and after `holds` know that what they read under the same heads is whole.
"""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.hostile.config import KINDS as HOSTILE_KINDS
from devices.hostile.counters import HOSTILE_SAMPLE
from plots.figures import SAMPLED
from server.ipc.page import Page, Section
from server.kernels.layout import STAGE_COUNT

LATENCY_BANDS = 48
LATENCY_BAND_LEAST_US = 100
LATENCY_BANDS_PER_OCTAVE = 3
# Bands of the latency heat map: band b is from edge b to edge b + 1. The first band also counts everything below, the
# last everything above (about 5 s). A band is made of whole buckets of the fleet's histogram.
LATENCY_BAND_EDGES_MS = LATENCY_BAND_LEAST_US / 1000 * 2.0 ** (np.arange(LATENCY_BANDS + 1) / LATENCY_BANDS_PER_OCTAVE)

# The figures of a tenth of a second: one number each, then one for each stage, band and kind of hostile client.
SAMPLE = np.dtype(
    [
        ("time_ns", "i8"),
        # Counts since the start are exact in 64 bits; of a rate, 32 show more digits than a screen.
        *((figure.column, "f8" if figure.is_whole else "f4") for figure in SAMPLED),
        ("depth_peak", "f4", (STAGE_COUNT,)),
        ("utilisation_ratio", "f4", (STAGE_COUNT,)),
        ("service_us", "f4", (STAGE_COUNT,)),  # Per item, over the last second; NaN where none was served.
        ("waiting_ms", "f4", (STAGE_COUNT,)),  # Waiting time in front of each stage, by Little's law.
        ("latency_counts", "u4", (LATENCY_BANDS,)),  # Placements seen since the previous sample, by latency band.
        ("hostile", HOSTILE_SAMPLE, (len(HOSTILE_KINDS),)),
    ],
    align=True,
)
# Rows of the sample ring, ten per second: a little over ten minutes. Row of sample n is n % SAMPLE_ROWS.
SAMPLE_ROWS = 6144
SAMPLE_INTERVAL_NS = 100_000_000

# An event of the run, shown as a line on the panels' time axis. `text` is UTF-8: "rate limit 60 > 30".
MARKER = np.dtype([("time_ns", "i8"), ("kind", "i8"), ("text", "S72")], align=True)
MARKER_ROWS = 512


class MarkerKind(IntEnum):
    """What kind of event."""

    KNOB = 0
    FAULT = 1
    BRAKE = 2
    NOTE = 3  # Anything else worth a line, e.g. "broker back".


# The oldest rows, which the writer may overwrite while they are read: three seconds of samples.
SPARE_ROWS = 32
MARKERS_READ = MARKER_ROWS - 16


def history_sections() -> dict[str, Section]:
    """Sections of the history page: two rings, of samples and of markers.

    `head` and `marker_head` are the numbers of rows written so far, `begun` and `marker_begun` those of rows that the
    writer has begun to write. A reader's copy of rows is whole if afterwards none of them is begun again.
    """
    return {
        "begun": (np.dtype("i8"), (1,)),
        "head": (np.dtype("i8"), (1,)),
        "samples": (SAMPLE, (SAMPLE_ROWS,)),
        "marker_begun": (np.dtype("i8"), (1,)),
        "marker_head": (np.dtype("i8"), (1,)),
        "markers": (MARKER, (MARKER_ROWS,)),
    }


class HistoryReader:
    """Reads the page of `history_sections` while another process writes it."""

    def __init__(self, page: Page) -> None:
        self._begun, self._marker_begun = page["begun"], page["marker_begun"]
        self._head = page["head"]
        self._samples = page["samples"]
        self._marker_head = page["marker_head"]
        self._markers = page["markers"]

    @classmethod
    def attach(cls, descriptor: int) -> "HistoryReader":
        """The history behind an inherited descriptor. Raises PageError or OSError when there is none."""
        return cls(Page.attach(descriptor, history_sections()))

    @property
    def head(self) -> int:
        """Number of samples written so far."""
        return int(self._head[0])

    @property
    def marker_head(self) -> int:
        """Number of markers written so far."""
        return int(self._marker_head[0])

    def newest_ns(self, head: int) -> int:
        """The time of the last of the first `head` samples; 0 when there is none."""
        return int(self._samples["time_ns"][(head - 1) % SAMPLE_ROWS]) if head else 0

    def oldest_ns(self, head: int) -> int:
        """The time of the oldest sample that can be read; 0 when there is none."""
        return int(self._samples["time_ns"][_oldest(head) % SAMPLE_ROWS]) if head else 0

    def between(self, head: int, first_ns: int, last_ns: int) -> NDArray[Any]:
        """Of the first `head` samples those from `first_ns` to `last_ns`, both included, oldest first.

        Shape (n,), dtype SAMPLE, a copy. Samples that the ring no longer holds are left out.
        """
        oldest = _oldest(head)
        times_ns = _ordered(self._samples["time_ns"], oldest, head)
        first = oldest + int(np.searchsorted(times_ns, first_ns))
        last = oldest + int(np.searchsorted(times_ns, last_ns, side="right"))
        return _ordered(self._samples, first, last)

    def markers(self, head: int) -> NDArray[Any]:
        """Of the first `head` markers the newest MARKERS_READ, oldest first; shape (n,), dtype MARKER, a copy.

        A replay that went back leaves rows of time 0, which are skipped.
        """
        found = _ordered(self._markers, _oldest_marker(head), head)
        return found[found["time_ns"] > 0]

    def holds(self, head: int, marker_head: int) -> bool:
        """Whether what was read of the first `head` samples and `marker_head` markers is whole.

        False when the writer has begun to overwrite some of it, as a replay does that goes back: read again.
        """
        samples_end, markers_end = _oldest(head) + SAMPLE_ROWS, _oldest_marker(marker_head) + MARKER_ROWS
        # Compared with what the writer has begun, not finished: a half-written row is already lost.
        return int(self._begun[0]) <= samples_end and int(self._marker_begun[0]) <= markers_end


def _oldest(head: int) -> int:
    return max(head - (SAMPLE_ROWS - SPARE_ROWS), 0)


def _oldest_marker(head: int) -> int:
    return max(head - MARKERS_READ, 0)


def _ordered(ring: NDArray[Any], first: int, last: int) -> NDArray[Any]:
    """Rows number `first` up to `last` of a ring, in order; a copy."""
    start, count = first % len(ring), last - first
    assert 0 <= count <= len(ring), f"{count} rows of a ring of {len(ring)}"
    return np.concatenate([ring[start : start + count], ring[: max(start + count - len(ring), 0)]])
