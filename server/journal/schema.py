"""The tables that a server writes, to an SQLite file: a journal or a recording.

A journal has the first three tables, a recording all of them and the figures of `workbench.recording.schema`. Each row
has a checksum over its other columns in its last column, so that a changed row is detected, not read as a wrong figure;
`meta` has one checksum in all. Nothing here opens a file.

    TABLE      ONE ROW IS
    meta       a fact about the file: a key and its value
    ticks      the changes of one tick: the tile blocks of its whole-canvas DELTA, as sent or shorter
    snapshots  the whole canvas after a tick, rows top to bottom, zlib
    markers    an event of the run: a changed setting, a fault, missing ticks
"""

import sqlite3
import struct
import zlib
from collections.abc import Sequence
from typing import Any

Column = tuple[str, str]
"""Name and type of a column: INTEGER, REAL, TEXT or BLOB."""

# The bytes "PXRC", at offset 68 of the file, which distinguish it from other SQLite files.
APPLICATION_ID = 0x50585243
# Of the tables; a file of a newer version is not opened. Before 2, figures had no checksums and there was no table
# `readings`; before 3, there was no table `turns`.
USER_VERSION = 3
# The values of "kind" in `meta`.
JOURNAL, RECORDING = "journal", "recording"

_NAN = float("nan")
_CHECKED = struct.Struct("<4q")


class RowChecksum:
    """The checksum of the rows of one table. `columns`: those that it covers, in the table's order."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._start = zlib.crc32(",".join(name for name, _ in columns).encode())
        self._is_real = tuple(kind == "REAL" for _, kind in columns)
        self._numbers = struct.Struct("<" + "".join("d" if is_real else "q" for is_real in self._is_real))
        self._bytes_at = tuple(index for index, (_, kind) in enumerate(columns) if kind in ("TEXT", "BLOB"))

    def of(self, row: Sequence[Any]) -> int:
        """CRC-32 of the names joined by commas, one number per column, and all texts and blobs.

        A number has 8 bytes, little-endian: an integer, a double if the column is REAL (NULL is NaN), or the length of
        a text or blob (NULL is -1). Raises TypeError, ValueError or struct.error for values of another type.
        """
        # SQLite does not store the sign of zero. Adding 0.0 removes it here, too.
        values = [(_NAN if value is None else value + 0.0) if is_real else value
                  for value, is_real in zip(row, self._is_real, strict=True)]  # fmt: skip
        parts = [_replaced_by_length(values, index) for index in self._bytes_at]
        crc = zlib.crc32(self._numbers.pack(*values), self._start)
        return zlib.crc32(b"".join(parts), crc)


class CheckedTable:
    """A table whose rows have a checksum. `keys`: its primary key; without one, rows are numbered by `id`."""

    def __init__(self, name: str, keys: Sequence[str], columns: Sequence[Column]) -> None:
        names = [column for column, _ in columns]
        typed = [f"{column} {kind}" for column, kind in columns]
        head = [] if keys else ["id INTEGER PRIMARY KEY"]
        tail = [f"PRIMARY KEY ({', '.join(keys)})"] if keys else []
        suffix = " WITHOUT ROWID" if len(keys) > 1 else ""
        self.create = f"CREATE TABLE {name} ({', '.join([*head, *typed, 'crc INTEGER', *tail])}){suffix}"
        places = ", ".join("?" * (len(columns) + 1))
        self.add = f"INSERT INTO {name} ({', '.join([*names, 'crc'])}) VALUES ({places})"
        self._checksum = RowChecksum(columns)

    def row(self, *values: Any) -> tuple[Any, ...]:
        """A row for the statement `add`: these values and their checksum."""
        return (*values, self._checksum.of(values))


def _replaced_by_length(values: list[Any], index: int) -> bytes:
    """Replace a text or blob by its length. Returns its bytes."""
    value = values[index]
    data: bytes = value.encode() if isinstance(value, str) else b"" if value is None else value
    values[index] = -1 if value is None else len(data)
    return data


MARKERS = CheckedTable("markers", (), (("time_ns", "INTEGER"), ("kind", "TEXT"), ("text", "TEXT")))

_META = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID"
_TICKS = (
    "CREATE TABLE ticks (tick INTEGER PRIMARY KEY, time_ns INTEGER, pixel_count INTEGER, tile_count INTEGER, "
    "encoding INTEGER, blocks BLOB, crc INTEGER)"
)
_SNAPSHOTS = (
    "CREATE TABLE snapshots (tick INTEGER PRIMARY KEY, time_ns INTEGER, encoding INTEGER, pixels BLOB, crc INTEGER)"
)

JOURNAL_TABLES = (_META, _TICKS, _SNAPSHOTS)
# The tables of a recording that its server writes to.
SERVER_TABLES = (*JOURNAL_TABLES, MARKERS.create)

ADD_TICK = "INSERT INTO ticks VALUES (?, ?, ?, ?, ?, ?, ?)"
ADD_SNAPSHOT = "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)"
SET_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"


def row_crc(tick: int, time_ns: int, encoding: int, tile_count: int, data: bytes | memoryview) -> int:
    """The checksum of a row of `ticks`, or of `snapshots` with a `tile_count` of 0."""
    return zlib.crc32(data, zlib.crc32(_CHECKED.pack(tick, time_ns, encoding, tile_count)))


def create_tables(connection: sqlite3.Connection, tables: tuple[str, ...]) -> None:
    """Mark an empty file as one of ours and create `tables` in it, in one transaction, in WAL mode.

    A file that has tables is left as it is. connection: in autocommit mode (`isolation_level=None`). Raises
    sqlite3.Error.
    """
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # Takes effect only in a file without tables.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    # The server and the session both create a recording's tables: the other one may have been quicker.
    if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None:
        connection.execute("ROLLBACK")
        return
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {USER_VERSION}")
    for table in tables:
        connection.execute(table)
    connection.execute("COMMIT")


def marks_of(connection: sqlite3.Connection) -> tuple[int, int]:
    """Application id and version of the tables of a file. Raises sqlite3.DatabaseError for other files."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (user_version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(application_id), int(user_version)
