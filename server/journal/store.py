"""The file: the one connection through which a process writes to it, and what it writes there.

Each method of `Store` is one transaction: it is done as a whole, or raises `sqlite3.Error` and changes nothing. What
`add` has written survives the end of the process with `sync` "normal", and a loss of power with "full". A `Store` knows
neither threads nor time.
"""

import fcntl
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server.journal.fault import JournalError
from server.journal.schema import ADD_SNAPSHOT, ADD_TICK, MARKERS, SET_META, row_crc
from server.protocol.blocks import changed_cells
from server.wire import BLOCK_HEAD, TILE_PIXELS, TILE_SIDE, BlockKind, Encoding, tile_shape

# Longest wait for another program that writes to the same file.
BUSY_S = 5.0
# The log beside the file is moved into the file when it has grown by this much.
CHECKPOINT_BYTES = 4 << 20
# A log that has grown beyond this while it was being read is truncated to it.
WAL_BYTES_KEPT = 16 << 20
# A row takes at least a page of the log.
ROW_BYTES = 4096
# Level of zlib for recordings: the journal's thread has a few milliseconds per tick.
_LEVEL = 6
# Longer blocks are not compressed again: much of the canvas changed, and sorting the cells costs more than it saves.
_COMPRESSED_BYTES_MAX = 16 * 1024


@dataclass(frozen=True, slots=True)
class TickEntry:
    """The changes of one tick, as in its whole-canvas DELTA."""

    tick: int
    time_ns: int
    pixel_count: int
    tile_count: int
    encoding: int
    blocks: bytes
    pixels: bytes | None = None
    """The whole canvas after the tick, if a snapshot is due."""
    lost: tuple[int, int] | None = None
    """The first and last of the ticks before this one that were dropped because the disk was too slow."""


class Store:
    """An open file with the tables of `schema`. Opening raises sqlite3.Error."""

    def __init__(self, path: Path, sync: str) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, BUSY_S, isolation_level=None, check_same_thread=False)
        self.connection.execute(f"PRAGMA synchronous = {sync}")
        self.connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
        self._lock_fd = -1
        self._logged_bytes = 0

    def claim(self) -> None:
        """Lock the file against other servers until `close`. Raises JournalError if another one has it."""
        # Not a POSIX lock, as SQLite's own: closing any descriptor of the file would release those.
        self._lock_fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(
                f"journal {self.path} is in use by another server; stop that one, or name another file"
            ) from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed at the end, rolled back on an exception."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            # SQLite has already rolled back after some errors, such as a full disk.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def add(self, entries: Sequence[TickEntry], facts: dict[str, str]) -> None:
        """Write ticks and facts in one commit."""
        with self.transaction() as connection:
            for entry in entries:
                if entry.lost is not None:
                    self._mark_lost(connection, entry.time_ns, *entry.lost)
                crc = row_crc(entry.tick, entry.time_ns, entry.encoding, entry.tile_count, entry.blocks)
                counts = entry.pixel_count, entry.tile_count, entry.encoding
                connection.execute(ADD_TICK, (entry.tick, entry.time_ns, *counts, entry.blocks, crc))
            connection.executemany(SET_META, facts.items())
        self._logged_bytes += sum(len(entry.blocks) + ROW_BYTES for entry in entries) + ROW_BYTES

    @staticmethod
    def _mark_lost(connection: sqlite3.Connection, time_ns: int, first: int, last: int) -> None:
        """Mark the ticks that are missing in a recording."""
        text = f"ticks {first} to {last} are missing: the disk was too slow or full"
        connection.execute(MARKERS.add, MARKERS.row(time_ns, "lost", text))

    def add_snapshot(self, tick: int, time_ns: int, pixels: bytes) -> None:
        """Write the whole canvas after a tick."""
        packed = zlib.compress(pixels, 1)
        with self.transaction() as connection:
            crc = row_crc(tick, time_ns, Encoding.ZLIB, 0, packed)
            connection.execute(ADD_SNAPSHOT, (tick, time_ns, Encoding.ZLIB, packed, crc))
        self._logged_bytes += len(packed) + ROW_BYTES

    def retire(self, before_ns: int, bytes_max: int) -> None:
        """Delete what is older than `before_ns`, and more while the file is larger than `bytes_max`; 0: no limit.

        The newest snapshot and all ticks after it stay, so that a server can always continue from the file.
        """
        while (tick := self._retired(before_ns, bytes_max)) is not None:
            with self.transaction() as connection:
                connection.execute("DELETE FROM ticks WHERE tick <= ?", (tick,))
                connection.execute("DELETE FROM snapshots WHERE tick < ?", (tick,))
            # Fetch all rows: the statement frees one page per step.
            self.connection.execute("PRAGMA incremental_vacuum").fetchall()
            self._logged_bytes += ROW_BYTES

    def _retired(self, before_ns: int, bytes_max: int) -> int | None:
        """The tick of the second oldest snapshot, if what is before it is to be deleted."""
        query = "SELECT tick, time_ns FROM snapshots ORDER BY tick LIMIT 2"
        oldest = self.connection.execute(query).fetchall()
        if len(oldest) < 2:
            return None
        tick, time_ns = oldest[1]
        is_old = before_ns > 0 and time_ns <= before_ns
        return int(tick) if is_old or 0 < bytes_max < self.file_bytes() else None

    def file_bytes(self) -> int:
        """Bytes in use in the file, without the log."""
        pages, free, size = (
            int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def checkpoint(self) -> None:
        """Move the log into the file when it has grown. Does not wait for readers."""
        if self._logged_bytes >= CHECKPOINT_BYTES:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._logged_bytes = 0

    def close(self) -> None:
        """Move all of the log into the file, so that one file remains, and close it."""
        try:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file as it is."""
        self.connection.close()
        if self._lock_fd >= 0:
            # After SQLite's own descriptors: closing this one releases their locks.
            os.close(self._lock_fd)
            self._lock_fd = -1


class DeltaCompressor:
    """Shortens the ticks of a recording, which is kept for long and sent to no client.

    A broadcast includes pixels that were painted in the colour that they had; a recording need not. And a bitmap of the
    changed cells compresses better than their offsets. The shorter blocks give the same canvas, tick by tick.
    """

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._pixels = np.zeros(width * height, np.uint8)

    def compress(self, entry: TickEntry) -> TickEntry:
        """The tick with real changes only, or as it is if that is not shorter."""
        raw = zlib.decompress(entry.blocks) if entry.encoding == Encoding.ZLIB else entry.blocks
        # Each cell occurs once per tick, because a tile has one block.
        where, colors = changed_cells(raw, entry.tile_count, self._width, self._height)
        is_new = self._pixels[where] != colors
        self._pixels[where] = colors
        if entry.pixels is not None:
            self._pixels[:] = np.frombuffer(entry.pixels, np.uint8)
        if len(entry.blocks) > _COMPRESSED_BYTES_MAX:
            return entry
        blocks, tile_count = self._blocks(where[is_new], colors[is_new])
        packed = zlib.compress(blocks, _LEVEL)
        if len(packed) >= len(entry.blocks):
            return entry
        return replace(entry, encoding=Encoding.ZLIB, tile_count=tile_count, blocks=packed)

    def _blocks(self, where: NDArray[np.int64], colors: NDArray[np.uint8]) -> tuple[bytes, int]:
        """Bitmap blocks of these cells, each given once, and the number of blocks."""
        if not len(where):
            return b"", 0
        across, _ = tile_shape(self._width, self._height)
        y, x = np.divmod(where, self._width)
        cell = (y // TILE_SIDE * across + x // TILE_SIDE) * TILE_PIXELS + y % TILE_SIDE * TILE_SIDE + x % TILE_SIDE
        order = np.argsort(cell)
        tile, offset = np.divmod(cell[order], TILE_PIXELS)
        tiles, firsts = np.unique(tile, return_index=True)
        bits = np.zeros((len(tiles), TILE_PIXELS), np.uint8)
        bits[np.repeat(np.arange(len(tiles)), np.diff(firsts, append=len(tile))), offset] = 1
        bitmaps = np.packbits(bits, axis=1, bitorder="little")
        newest = colors[order].tobytes()
        ends = [*firsts[1:].tolist(), len(newest)]
        parts = [
            BLOCK_HEAD.pack(number, BlockKind.BITMAP) + bitmap.tobytes() + newest[first:end]
            for number, bitmap, first, end in zip(tiles.tolist(), bitmaps, firsts.tolist(), ends, strict=True)
        ]
        return b"".join(parts), len(parts)
