"""The canvas page of a replay: the recorded canvas at a moment, and of what changed shortly before, when.

It draws nothing and knows no clock. Invariant: after `show`, the pixels are the recorded canvas at that time, whatever
was shown before.
"""

import numpy as np

from server.ipc.page import Page
from server.wire import TILE_SIDE, tile_shape
from workbench.recording.film import Frame
from workbench.recording.reader import Recording

LOOK_BACK_NS = 3_000_000_000
"""After a jump, the ages of pixels are known that changed so shortly before; of all others they are not."""
FORWARD_NS_MAX = 10_000_000_000
"""A step forward up to this is played tick by tick, a longer one is a jump."""


class ReplayCanvas:
    """The one writer of the page: `page.canvas_sections()`. Who painted, and what was refused, no recording holds."""

    def __init__(self, page: Page, recording: Recording) -> None:
        self._page, self._recording = page, recording
        self._across, _ = tile_shape(recording.width, recording.height)
        self._shown_ns: int | None = None
        self.tick = 0
        """The last one that changed something, as far as was looked back."""

    def show(self, time_ns: int) -> None:
        """Be at this time. Raises UserError where the recording is damaged."""
        shown_ns, self._shown_ns = self._shown_ns, None  # Whatever fails, the next time is a jump.
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
        """Let one tick change what it changed."""
        pixels = frame.changes["pixel"].astype(np.int64)
        self._page["pixels"].ravel()[pixels] = frame.changes["color"]
        self._page["pixel_tick"].ravel()[pixels] = frame.tick
        rows, columns = np.divmod(pixels, self._recording.width)
        tiles = np.unique(rows // TILE_SIDE * self._across + columns // TILE_SIDE)
        self._page["tile_tick"].ravel()[tiles] = frame.tick
        self._page["tiles"].ravel()["merged_tick"][tiles] = frame.tick
        self.tick = frame.tick
