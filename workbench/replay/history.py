"""The history page of a replay: the samples up to a moment of the recording, as the panels would have seen them then.

The panels read the newest rows before the head. Going on appends rows; going back appends as many as the ring holds, so
that the panels see that there is something else to draw, and nothing of what was there. Invariant: the rows before the
head, but for the oldest that readers leave alone, are of ascending times and end at the moment.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plots.history import MARKER, MARKER_ROWS, SAMPLE, SAMPLE_INTERVAL_NS, SAMPLE_ROWS
from server.ipc.page import Page
from workbench.recording.reader import Recording
from workbench.telemetry.history import history_rings, marker_rows, sample_of
from workbench.telemetry.view import Marker

BLOCK_NS = 30_000_000_000
"""Samples are read from the file in blocks of so long, and kept."""
LEAD_NS = 5_000_000_000
"""What the panels want before their left edge."""
_ROWS = SAMPLE_ROWS
REACH_NS = _ROWS * SAMPLE_INTERVAL_NS
"""What the ring holds."""

Samples = NDArray[np.void]


class ReplayHistory:
    """The one writer of the page: `page.history_sections()`."""

    def __init__(self, page: Page, recording: Recording) -> None:
        self._samples, self._marked = history_rings(page)
        self._recording = recording
        self.markers: Sequence[Marker] = ()
        """All of them, oldest first; those up to the moment are shown."""
        self._blocks: dict[int, Samples] = {}
        self._shown_ns: int | None = None
        self._passed: tuple[Marker, ...] = ()
        """The markers that the page has."""
        self._held_from_ns = 0
        """The ring holds all samples from here to the moment."""
        self.span_ns = 0
        """What the panels look back on. What is written at once covers it."""

    def show(self, time_ns: int, *, ended_ns: int) -> None:
        """Be at this time. `ended_ns`: up to here the file will not change any more. Raises UserError."""
        shown_ns, self._shown_ns = self._shown_ns, None  # Whatever fails, the next time all is written anew.
        wanted_ns = max(time_ns - self.span_ns - LEAD_NS, self._recording.first_ns - 1)
        is_further = shown_ns is not None and shown_ns <= time_ns < shown_ns + REACH_NS // 2
        if shown_ns is not None and is_further and wanted_ns >= self._held_from_ns:
            self._samples.append(self._between(shown_ns, time_ns, ended_ns))
        else:
            self._rewrite(self._between(wanted_ns, time_ns, ended_ns))
            self._held_from_ns = wanted_ns
        self._show_markers(time_ns)
        self._shown_ns = time_ns

    def look_further_back(self, *, ended_ns: int) -> None:
        """Read one more block of the past, if the ring has room for it: to be called when there is time for it."""
        until_ns, from_ns = self._held_from_ns, self._held_from_ns - BLOCK_NS
        if self._shown_ns is None or until_ns < self._recording.first_ns or self._shown_ns - from_ns > REACH_NS:
            return
        self._rewrite(self._between(from_ns, self._shown_ns, ended_ns))
        self._held_from_ns = from_ns

    def newest(self, time_ns: int, *, ended_ns: int) -> Samples | None:
        """The last sample at or before a time, shape (), dtype SAMPLE; None before the first of the second before."""
        found = self._between(time_ns - 1_000_000_000, time_ns, ended_ns)
        return found[-1] if len(found) else None

    # --- Inside ---

    def _between(self, after_ns: int, until_ns: int, ended_ns: int) -> Samples:
        """The samples of (after_ns, until_ns]."""
        first = self._recording.first_ns
        numbers = range((after_ns - first) // BLOCK_NS, (until_ns - first) // BLOCK_NS + 1)
        blocks = [self._block(number, ended_ns) for number in numbers if number >= 0]
        if not blocks:
            return np.zeros(0, SAMPLE)
        found = np.concatenate(blocks)
        low, high = np.searchsorted(found["time_ns"], (after_ns, until_ns), side="right")
        return found[low:high]

    def _block(self, number: int, ended_ns: int) -> Samples:
        """The samples of one block, from the file where they may have become more."""
        found = self._blocks.get(number)
        if found is None:
            # The end of a span is in it, and its beginning is not: a block begins one nanosecond early.
            start_ns = self._recording.first_ns + number * BLOCK_NS - 1
            found = self._recording.samples(start_ns, start_ns + BLOCK_NS)
            if start_ns + BLOCK_NS <= ended_ns:
                self._blocks[number] = found
        return found

    def _rewrite(self, samples: Samples) -> None:
        """Fill the ring: before these samples come rows of unknown figures, each a little earlier."""
        kept = samples[-_ROWS:]
        rows = np.full(_ROWS, sample_of({}))
        first_ns = int(kept["time_ns"][0]) if len(kept) else self._recording.first_ns
        missing = _ROWS - len(kept)
        rows["time_ns"][:missing] = first_ns + np.arange(-missing, 0)
        rows[missing:] = kept
        self._samples.append(rows)

    def _show_markers(self, time_ns: int) -> None:
        """The page's markers are those up to the moment, behind rows of time 0 where there were others."""
        passed = tuple(marker for marker in self.markers if marker.time_ns <= time_ns)
        known = self._passed
        if passed[: len(known)] == known:
            self._marked.append(marker_rows(passed[len(known) :]))
        else:
            kept = marker_rows(passed[-MARKER_ROWS:])
            self._marked.append(np.concatenate([np.zeros(MARKER_ROWS - len(kept), MARKER), kept]))
        self._passed = passed
