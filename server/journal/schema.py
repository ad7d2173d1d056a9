"""The tables of a journal and of a recording: one SQLite file, which anything that reads SQLite can open.

A journal holds the first three tables, a recording all of them. Nothing here opens a file. Invariant: a row holds a
checksum over all else in it, so that a row which was cut or changed is known as such; those of `meta` share one.

    TABLE          ONE ROW IS
    meta           a fact about the file: a key and its value
    ticks          what one tick changed: the tile blocks of its whole-canvas DELTA, as they were sent or zlib
    snapshots      the whole canvas after a tick, rows top to bottom, zlib
    tick_log       the figures of a tick: layout.TICK
    samples        the figures of a tenth of a second: layout.SAMPLE without its arrays
    stage_samples  of these, the figures of one stage
    hostile_samples  of these, the figures of one kind of client that misbehaves
    readings       what else was to be seen at a sample
    markers        something that was done to the run
    turns          a change of the settings
    diagnoses      from this sample on, the bottleneck
"""

import sqlite3
import struct
import zlib

from server.journal.sealed_table import Column, SealedTable
from server.kernels.layout import SAMPLE, Stage

APPLICATION_ID = 0x50585243
"""The bytes "PXRC", at offset 68 of the file: what tells it from other SQLite files."""
USER_VERSION = 3
"""Of the tables below. A program opens no file of a newer one. Before 2, figures had no checksums and no `readings`;
before 3, there were no `turns`."""

JOURNAL, RECORDING = "journal", "recording"
"""What `meta` has under "kind"."""
PLAIN, ZLIB = 0, 1
"""Encodings of bytes."""

STAGE_COLUMNS = tuple(stage.name.lower().replace("fanout", "fan_out") for stage in Stage)
"""The stages as columns and rows name them, in their order."""
SAMPLE_COLUMNS = tuple(
    name for name in SAMPLE.names or () if name != "time_ns" and SAMPLE.fields is not None and not SAMPLE[name].shape
)
"""The fields of a sample that are one number each, but for its time."""
TICK_LOG_COLUMNS = (
    "tick", "start_ns", "lateness_ns", "interval_ns", "encode_ns", "tile_count", "pixel_count", "frame_bytes",
    "admitted_count", "in_flight_count", *(f"depth_peak_{stage}" for stage in STAGE_COLUMNS),
)  # fmt: skip
STAGE_SAMPLE_COLUMNS = (
    "throughput_per_s", "utilisation_ratio", "service_us", "waiting_ms", "depth", "depth_peak", "depth_max",
    "drops_per_s", "growth_per_s",
)  # fmt: skip
HOSTILE_SAMPLE_COLUMNS = ("connection_count", "opened_count", "ended_count", "code_most", "code_next", "sent_bytes")
READING_COLUMNS = (
    "sent_per_s", "conflated_per_s", "broadcast_deltas_per_s", "broadcast_bytes_per_s", "lateness_ms_p99", "tick_ms",
    "connection_count", "subscriber_count", "watching_count", "lagging_count", "over_limit_count", "stalled_count",
    "lost_count", "protocol_error_count", "ledger_gap", "server_resident_bytes", "window_fps", "utilisation_ratio",
)  # fmt: skip


def _typed(names: tuple[str, ...], kind: str) -> tuple[Column, ...]:
    return tuple((name, kind) for name in names)


TICK_LOG = SealedTable("tick_log", ("tick",), _typed(TICK_LOG_COLUMNS, "INTEGER"))
SAMPLES = SealedTable(
    "samples",
    ("number",),
    (*_typed(("number", "time_ns"), "INTEGER"), *_typed(SAMPLE_COLUMNS, "REAL"), ("latency_counts", "BLOB")),
)
STAGE_SAMPLES = SealedTable(
    "stage_samples",
    ("number", "stage"),
    (("number", "INTEGER"), ("stage", "TEXT"), *_typed(STAGE_SAMPLE_COLUMNS, "REAL")),
)
HOSTILE_SAMPLES = SealedTable(
    "hostile_samples",
    ("number", "kind"),
    (("number", "INTEGER"), ("kind", "TEXT"), *_typed(HOSTILE_SAMPLE_COLUMNS, "INTEGER")),
)
READINGS = SealedTable(
    "readings",
    ("number",),
    (("number", "INTEGER"), *_typed(READING_COLUMNS, "REAL"), ("loop_connection_counts", "TEXT")),
)
MARKERS = SealedTable("markers", (), (("time_ns", "INTEGER"), *_typed(("kind", "text"), "TEXT")))
TURNS = SealedTable("turns", (), (("time_ns", "INTEGER"), ("changes", "TEXT")))
DIAGNOSES = SealedTable(
    "diagnoses",
    ("number",),
    (
        ("number", "INTEGER"),
        *_typed(("bottleneck", "sentence", "runner_up"), "TEXT"),
        ("headroom_ratio", "REAL"),
        ("explanation", "TEXT"),
    ),
)

_META = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID"
_TICKS = (
    "CREATE TABLE ticks (tick INTEGER PRIMARY KEY, time_ns INTEGER, pixel_count INTEGER, tile_count INTEGER, "
    "encoding INTEGER, blocks BLOB, crc INTEGER)"
)
_SNAPSHOTS = (
    "CREATE TABLE snapshots (tick INTEGER PRIMARY KEY, time_ns INTEGER, encoding INTEGER, pixels BLOB, crc INTEGER)"
)

JOURNAL_TABLES = (_META, _TICKS, _SNAPSHOTS)
RECORDING_TABLES = (
    *JOURNAL_TABLES,
    *(
        table.create
        for table in (TICK_LOG, SAMPLES, STAGE_SAMPLES, HOSTILE_SAMPLES, READINGS, MARKERS, TURNS, DIAGNOSES)
    ),
)

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
