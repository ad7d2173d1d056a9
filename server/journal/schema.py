"""The tables that a server writes: an SQLite file, a journal or a recording, which anything that reads SQLite can open.

A journal holds the first three tables, a recording all of them and the figures of `workbench.recording.schema`. Nothing
here opens a file. Each row holds a checksum over its other columns, so that a truncated or changed row is detected; the
rows of `meta` share one.

    TABLE      ONE ROW IS
    meta       a fact about the file: a key and its value
    ticks      what one tick changed: the tile blocks of its whole-canvas DELTA, as they were sent or zlib
    snapshots  the whole canvas after a tick, rows top to bottom, zlib
    markers    an event of the run: a setting that was changed, a fault, ticks that are missing
"""

import sqlite3
import struct
import zlib

from server.journal.sealed_table import SealedTable

APPLICATION_ID = 0x50585243
"""The bytes "PXRC", at offset 68 of the file: what tells it from other SQLite files."""
USER_VERSION = 3
"""Of the tables below. A program opens no file of a newer one. Before 2, figures had no checksums and no `readings`;
before 3, there were no `turns`."""

JOURNAL, RECORDING = "journal", "recording"
"""What `meta` has under "kind"."""
PLAIN, ZLIB = 0, 1
"""Encodings of bytes."""


MARKERS = SealedTable("markers", (), (("time_ns", "INTEGER"), ("kind", "TEXT"), ("text", "TEXT")))

_META = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID"
_TICKS = (
    "CREATE TABLE ticks (tick INTEGER PRIMARY KEY, time_ns INTEGER, pixel_count INTEGER, tile_count INTEGER, "
    "encoding INTEGER, blocks BLOB, crc INTEGER)"
)
_SNAPSHOTS = (
    "CREATE TABLE snapshots (tick INTEGER PRIMARY KEY, time_ns INTEGER, encoding INTEGER, pixels BLOB, crc INTEGER)"
)

JOURNAL_TABLES = (_META, _TICKS, _SNAPSHOTS)
SERVER_TABLES = (*JOURNAL_TABLES, MARKERS.create)
"""The tables of a recording that its server writes to."""

ADD_TICK = "INSERT INTO ticks VALUES (?, ?, ?, ?, ?, ?, ?)"
ADD_SNAPSHOT = "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)"
SET_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"

_CHECKED = struct.Struct("<4q")


def row_crc(tick: int, time_ns: int, encoding: int, tile_count: int, data: bytes | memoryview) -> int:
    """The checksum of a row of `ticks`, or of `snapshots` with a `tile_count` of 0."""
    return zlib.crc32(data, zlib.crc32(_CHECKED.pack(tick, time_ns, encoding, tile_count)))


def create_tables(connection: sqlite3.Connection, tables: tuple[str, ...]) -> None:
    """Mark an empty file as one of ours and create `tables` in it, in one transaction, in WAL mode.

    A file that has tables is left as it is: another process may have been quicker. connection: in autocommit mode
    (`isolation_level=None`). Raises sqlite3.Error.
    """
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # Only a file without any table takes it.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None:
        connection.execute("ROLLBACK")
        return
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {USER_VERSION}")
    for table in tables:
        connection.execute(table)
    connection.execute("COMMIT")


def marks_of(connection: sqlite3.Connection) -> tuple[int, int]:
    """A file's application id and version of tables. Raises sqlite3.DatabaseError for what is no SQLite file."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (user_version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(application_id), int(user_version)
