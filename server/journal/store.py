"""The store: one SQLite file and the one connection through which this process writes to it.

Every method is one transaction: done whole, or not at all and raising `sqlite3.Error`. It knows no thread and no
clock; the journal's thread calls it. Invariant: what `add` has returned from is on disk as far as `sync` promises:
"normal" survives the end of the process, however it ends, "full" also that of the machine.
"""

import fcntl
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.journal.fault import JournalError
from server.journal.schema import ADD_SNAPSHOT, ADD_TICK, MARKERS, SET_META, ZLIB, row_crc

BUSY_S = 5.0
"""How long to wait for another program that writes to the same file."""
CHECKPOINT_BYTES = 4 << 20
"""So much is written to the log beside the file before it is moved into the file."""
WAL_BYTES_KEPT = 16 << 20
"""To this the log is cut back once it has grown beyond, while it was being read."""
ROW_BYTES = 4096
"""What a row costs at least: a page of the log."""


@dataclass(frozen=True, slots=True)
class TickEntry:
    """One tick's changes, as the whole-canvas DELTA of that tick holds them."""

    tick: int
    time_ns: int
    pixel_count: int
    tile_count: int
    encoding: int
    blocks: bytes
    pixels: bytes | None = None
    """The whole canvas after the tick, when a snapshot of it is due."""
    lost: tuple[int, int] | None = None
    """The first and last of the ticks before this that were given up, because the disk was too slow."""


class Store:
    """An open file with the tables of `schema`."""

    def __init__(self, path: Path, sync: str) -> None:
        """Raises sqlite3.Error."""
        self.path = path
        self.connection = sqlite3.connect(path, BUSY_S, isolation_level=None, check_same_thread=False)
        self.connection.execute(f"PRAGMA synchronous = {sync}")
        self.connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
        self._lock_fd = -1
        self._logged_bytes = 0

    def claim(self) -> None:
        """Be the only server that writes here, until `close`. Raises JournalError when there is another."""
        # A lock of another kind than SQLite's own, which a `close` of any descriptor of the file would give up.
        self._lock_fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(
                f"journal {self.path} is in use by another server; stop that one, or name another file"
            ) from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def add(self, entries: Sequence[TickEntry], facts: dict[str, str]) -> None:
        """Write ticks and facts, in one commit."""
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
        """Say in a recording which ticks are not in it."""
        text = f"ticks {first} to {last} are missing: the disk was too slow or full"
        connection.execute(MARKERS.add, MARKERS.row(time_ns, "lost", text))

    def add_snapshot(self, tick: int, time_ns: int, pixels: bytes) -> None:
        """Write the whole canvas after a tick."""
        packed = zlib.compress(pixels, 1)
        with self.transaction() as connection:
            crc = row_crc(tick, time_ns, ZLIB, 0, packed)
            connection.execute(ADD_SNAPSHOT, (tick, time_ns, ZLIB, packed, crc))
        self._logged_bytes += len(packed) + ROW_BYTES

    def retire(self, before_ns: int, bytes_max: int) -> None:
        """Give up what is older than `before_ns`, and more while the file is above `bytes_max`; 0: no limit.

        The newest snapshot and all after it stay, so that a server can always go on from the file.
        """
        while (tick := self._retired(before_ns, bytes_max)) is not None:
            with self.transaction() as connection:
                connection.execute("DELETE FROM ticks WHERE tick <= ?", (tick,))
                connection.execute("DELETE FROM snapshots WHERE tick < ?", (tick,))
            self.connection.execute("PRAGMA incremental_vacuum").fetchall()
            self._logged_bytes += ROW_BYTES

    def _retired(self, before_ns: int, bytes_max: int) -> int | None:
        """The tick of the second oldest snapshot when what is before it is to go."""
        query = "SELECT tick, time_ns FROM snapshots ORDER BY tick LIMIT 2"
        oldest = self.connection.execute(query).fetchall()
        if len(oldest) < 2:
            return None
        tick, time_ns = oldest[1]
        is_old = before_ns > 0 and time_ns <= before_ns
        return int(tick) if is_old or 0 < bytes_max < self.file_bytes() else None

    def file_bytes(self) -> int:
        """Bytes in use in the file, the log beside it left out."""
        pages, free, size = (
            int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def checkpoint(self) -> None:
        """Move the log into the file when it has grown. Waits for nobody who reads."""
        if self._logged_bytes >= CHECKPOINT_BYTES:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._logged_bytes = 0

    def close(self) -> None:
        """Move all of the log into the file, so that one file remains, and give it back."""
        try:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Give the file back as it is."""
        self.connection.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)  # After SQLite's own descriptors, whose locks this would take away.
            self._lock_fd = -1
