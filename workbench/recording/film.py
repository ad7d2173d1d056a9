"""The canvas of a recording at any of its moments: the snapshot before, and the changes since.

The canvas at a time and the changes from there to a later time make the canvas at that later time.
"""

import threading
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from server.journal.schema import row_crc
from server.protocol.blocks import changed_cells
from server.protocol.messages import read_body
from server.wire import BLOCK_BYTES_MAX
from workbench.recording.database import Database

# A pixel, y * width + x, and its new colour.
CHANGE = np.dtype([("pixel", "i4"), ("color", "u1")])

# Ticks read at once: few, because each may be as large as a canvas.
_READ_ROWS = 32
_TICKS = "SELECT tick, time_ns, tile_count, encoding, blocks, crc FROM ticks WHERE tick > ? AND tick <= ? ORDER BY tick"
_LAST_TICK = "SELECT tick, time_ns, encoding, tile_count, blocks, crc FROM ticks ORDER BY tick DESC LIMIT 1"
_SNAPSHOT = "SELECT tick, time_ns, encoding, pixels, crc FROM snapshots WHERE tick <= ? ORDER BY tick DESC LIMIT 1"


class Frame(NamedTuple):
    """What one tick changed."""

    tick: int
    time_ns: int
    changes: NDArray[Any]
    """The pixels whose colours differ now: shape (n,), dtype CHANGE, in no order."""


class Film:
    """Reads the canvas. Any thread may."""

    def __init__(self, database: Database, width: int, height: int) -> None:
        self._database = database
        self._width, self._height = width, height
        self._lock = threading.Lock()
        # The last canvas that was asked for: a later one is mostly near it.
        self._held_tick = 0
        self._held = np.zeros(width * height, np.uint8)

    @property
    def last_ns(self) -> int | None:
        """The time of the last tick that changed something; None before the first. Raises UserError where damaged."""
        row = self._database.first(_LAST_TICK)
        if row is None:
            return None
        self._require_written(f"tick {row[0]}", row)
        return int(row[1])

    def at(self, time_ns: int) -> NDArray[np.uint8]:
        """The canvas at this time, shape (height, width), a copy. Raises UserError where rows are damaged."""
        return self._of_tick(self._tick_at(time_ns)).reshape(self._height, self._width)

    def frames(self, from_ns: int, to_ns: int) -> Iterator[Frame]:
        """The ticks after `from_ns`, up to and including `to_ns`, that changed something. Raises UserError."""
        tick, last = self._tick_at(from_ns), self._tick_at(to_ns)
        pixels = self._of_tick(tick)
        for number, time_ns, where, colors in self._ticks(tick, last):
            before = pixels[where]
            pixels[where] = colors
            # A block has all pixels of its tile; most keep their colours.
            where = where[before != pixels[where]]
            changes = np.empty(len(where), CHANGE)
            changes["pixel"], changes["color"] = where, pixels[where]
            yield Frame(number, time_ns, changes)

    # --- Inside ---

    def _tick_at(self, time_ns: int) -> int:
        """The last tick at or before this time that has a row or a snapshot; 0 before the first."""
        found = (self._database.number_at(table, "tick", time_ns) for table in ("ticks", "snapshots"))
        return max(tick or 0 for tick in found)

    def _of_tick(self, tick: int) -> NDArray[np.uint8]:
        """The pixels after a tick, shape (width * height,)."""
        with self._lock:
            known, pixels = self._snapshot(tick)
            for _, _, where, colors in self._ticks(known, tick):
                pixels[where] = colors
            self._held_tick, self._held = tick, pixels
            return pixels.copy()

    def _snapshot(self, tick: int) -> tuple[int, NDArray[np.uint8]]:
        """The nearest canvas at or before a tick, and its tick: a snapshot, or the one that is held."""
        row = self._database.first("SELECT max(tick) FROM snapshots WHERE tick <= ?", (tick,))
        written = -1 if row is None or row[0] is None else row[0]
        if written <= self._held_tick <= tick:
            return self._held_tick, self._held.copy()
        if written < 0:
            return 0, np.zeros(self._width * self._height, np.uint8)
        found = self._database.first(_SNAPSHOT, (tick,))
        assert found is not None
        number, time_ns, encoding, data, crc = found
        raw = self._checked(
            f"the snapshot of tick {number}", (number, time_ns, encoding, 0, data, crc), len(self._held)
        )
        if len(raw) != len(self._held):
            raise self._database.damaged(f"the snapshot of tick {number} has {len(raw)} of {len(self._held)} pixels")
        return number, np.frombuffer(raw, np.uint8).copy()

    def _ticks(self, after: int, last: int) -> Iterator[tuple[int, int, NDArray[np.int64], NDArray[np.uint8]]]:
        """(tick, time_ns, pixels, colours) of each tick in (after, last]."""
        while rows := self._database.rows(f"{_TICKS} LIMIT {_READ_ROWS}", (after, last)):
            for tick, time_ns, tile_count, encoding, blocks, crc in rows:
                room = (tile_count if isinstance(tile_count, int) else 0) * BLOCK_BYTES_MAX
                row = (tick, time_ns, encoding, tile_count, blocks, crc)
                raw = self._checked(f"tick {tick}", row, room)
                with self._database.decoding():
                    where, colors = changed_cells(raw, tile_count, self._width, self._height)
                yield tick, time_ns, where, colors
                after = tick

    def _checked(self, name: str, row: tuple[Any, ...], bytes_max: int) -> bytes:
        """The decoded bytes of a row of (tick, time_ns, encoding, tile_count, bytes, crc). Raises UserError."""
        self._require_written(name, row)
        with self._database.decoding():
            return read_body(name, row[2], row[4], bytes_max)

    def _require_written(self, name: str, row: tuple[Any, ...]) -> None:
        """Raise UserError unless a row of (tick, time_ns, encoding, tile_count, bytes, crc) is what was written."""
        tick, time_ns, encoding, tile_count, data, crc = row
        numbers = (tick, time_ns, encoding, tile_count)
        is_typed = all(isinstance(number, int) for number in numbers) and isinstance(data, bytes)
        if not is_typed or row_crc(tick, time_ns, encoding, tile_count, data) != crc:
            raise self._database.damaged(f"{name} is not what was written")


def checksum_of(pixels: NDArray[np.uint8]) -> int:
    """CRC-32 of a canvas, as a summary's `canvas_checksum`."""
    return zlib.crc32(pixels.tobytes())
