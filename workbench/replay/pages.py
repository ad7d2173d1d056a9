"""The pages of a replay at a moment of the recording: the canvas, and the history that the panels draw.

The panels read the newest rows before the history's head. Playing on appends rows. Going back appends as many rows as
the ring holds, so that the panels see that the history has changed, and no row of what was there before.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plots.history import MARKER, MARKER_ROWS, SAMPLE, SAMPLE_INTERVAL_NS, SAMPLE_ROWS
from server.ipc.page import Page
from server.wire import TILE_SIDE, tile_shape
from workbench.recording.film import Frame
from workbench.recording.reader import Recording
from workbench.telemetry.history import history_rings, marker_rows, sample_of
from workbench.telemetry.view import Marker

# After a jump, the ages of pixels are known that changed within this time before; other ages are not.
LOOK_BACK_NS = 3_000_000_000
# A step forward up to this is played tick by tick, a longer one is a jump.
FORWARD_NS_MAX = 10_000_000_000


class ReplayCanvas:
    """The one writer of the canvas page. A recording does not hold who painted, or what was throttled."""

    def __init__(self, page: Page, recording: Recording) -> None:
        self._page, self._recording = page, recording
        self._across, _ = tile_shape(recording.width, recording.height)
        self._shown_ns: int | None = None
        self.tick = 0
        """The last tick that changed something; 0 if that was before LOOK_BACK_NS."""

    def show(self, time_ns: int) -> None:
        """Show the canvas at this time. Raises UserError where the recording is damaged."""
        shown_ns, self._shown_ns = self._shown_ns, None  # If this fails, the next call jumps.
        if shown_ns is None or not shown_ns <= time_ns <= shown_ns + FORWARD_NS_MAX:
            shown_ns = time_ns - LOOK_BACK_NS
            self._jump(shown_ns)
        if time_ns > shown_ns:
            for frame in self._recording.frames(shown_ns, time_ns):
                self._play(frame)
        self._shown_ns = time_ns

    def _jump(self, time_ns: int) -> None:
        self._page["pixels"][:] = self._recording.canvas_at(time_ns)
        for name in ("pixel_tick", "tile_tick"):
            self._page[name][:] = 0
        self._page["tiles"][:] = np.zeros((), self._page["tiles"].dtype)
        self.tick = 0

    def _play(self, frame: Frame) -> None:
        """Apply the changes of one tick."""
        pixels = frame.changes["pixel"].astype(np.int64)
        self._page["pixels"].ravel()[pixels] = frame.changes["color"]
        self._page["pixel_tick"].ravel()[pixels] = frame.tick
        rows, columns = np.divmod(pixels, self._recording.width)
        tiles = np.unique(rows // TILE_SIDE * self._across + columns // TILE_SIDE)
        self._page["tile_tick"].ravel()[tiles] = frame.tick
        self._page["tiles"].ravel()["merged_tick"][tiles] = frame.tick
        self.tick = frame.tick


# Samples are read from the file in blocks of this length, and kept.
BLOCK_NS = 30_000_000_000
# The panels need samples from this long before their left edge.
LEAD_NS = 5_000_000_000
_ROWS = SAMPLE_ROWS
# The time that the ring holds.
REACH_NS = _ROWS * SAMPLE_INTERVAL_NS

Samples = NDArray[np.void]


class ReplayHistory:
    """The one writer of the history page."""

    def __init__(self, page: Page, recording: Recording) -> None:
        self._samples, self._marked = history_rings(page)
        self._recording = recording
        self.markers: Sequence[Marker] = ()
        """All markers, oldest first; those up to the moment are shown."""
        self._blocks: dict[int, Samples] = {}
        self._shown_ns: int | None = None
        self._passed: tuple[Marker, ...] = ()
        """The markers on the page."""
        self._held_from_ns = 0
        """The ring holds all samples after this time, up to the moment."""
        self.span_ns = 0
        """The time that the panels show, all of which `show` writes at once."""

    def show(self, time_ns: int, *, ended_ns: int) -> None:
        """Show the history up to this time. `ended_ns`: the file does not change before it. Raises UserError."""
        shown_ns, self._shown_ns = self._shown_ns, None  # If this fails, the next call writes all again.
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
        """Read one more block of the past, if the ring has room for it. Call it when there is time."""
        until_ns, from_ns = self._held_from_ns, self._held_from_ns - BLOCK_NS
        if self._shown_ns is None or until_ns < self._recording.first_ns or self._shown_ns - from_ns > REACH_NS:
            return
        self._rewrite(self._between(from_ns, self._shown_ns, ended_ns))
        self._held_from_ns = from_ns

    def newest(self, time_ns: int, *, ended_ns: int) -> Samples | None:
        """The last sample of the second up to this time, shape (), dtype SAMPLE; None when there is none."""
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
        """The samples of one block; read from the file again while it may get more."""
        found = self._blocks.get(number)
        if found is None:
            # A span excludes its start, so that a block starts one nanosecond early.
            start_ns = self._recording.first_ns + number * BLOCK_NS - 1
            found = self._recording.samples(start_ns, start_ns + BLOCK_NS)
            if start_ns + BLOCK_NS <= ended_ns:
                self._blocks[number] = found
        return found

    def _rewrite(self, samples: Samples) -> None:
        """Fill the whole ring: these samples, and before them rows of unknown figures."""
        kept = samples[-_ROWS:]
        rows = np.full(_ROWS, sample_of({}))
        first_ns = int(kept["time_ns"][0]) if len(kept) else self._recording.first_ns
        missing = _ROWS - len(kept)
        # Readers search by time: the times of the rows before must ascend too.
        rows["time_ns"][:missing] = first_ns + np.arange(-missing, 0)
        rows[missing:] = kept
        assert (np.diff(rows["time_ns"]) > 0).all(), "the history is in the order of time"
        self._samples.append(rows)

    def _show_markers(self, time_ns: int) -> None:
        """Show the markers up to the moment. When that is earlier than before, rows of time 0 replace the others."""
        passed = tuple(marker for marker in self.markers if marker.time_ns <= time_ns)
        known = self._passed
        if passed[: len(known)] == known:
            self._marked.append(marker_rows(passed[len(known) :]))
        else:
            kept = marker_rows(passed[-MARKER_ROWS:])
            self._marked.append(np.concatenate([np.zeros(MARKER_ROWS - len(kept), MARKER), kept]))
        self._passed = passed
