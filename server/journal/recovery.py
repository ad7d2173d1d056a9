"""Opens a journal: checks that the file is one and undamaged, and reads the canvas and the tick to continue from.

It reads the newest undamaged snapshot and all ticks after it. Damage at the end is cut off, with a note. Damage with
good ticks after it is refused, because continuing from before it would lose these. After recovery the file contains
nothing newer than the canvas that is returned.
"""

import json
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.config import ServerConfig
from server.journal import schema
from server.journal.fault import JournalError, describe, disk_error_of
from server.journal.log import loss_in
from server.journal.store import Store
from server.palette import hex_colors
from server.protocol.blocks import changed_cells
from server.protocol.websocket import ProtocolViolation
from server.system import clock
from server.wire import Encoding

# The fact that no client has seen a tick above this number; see `journal.TICKS_RESERVED`.
TICK_RESERVED = "tick_reserved"

_MAGIC = b"SQLite format 3\0"


@dataclass
class Recovered:
    """An open store, and what to continue from."""

    store: Store
    tick: int
    """The last tick whose number clients may have seen; the next one is above it."""
    time_ns: int
    """Time of the last tick in the file, by the file's clock."""
    pixels: NDArray[np.uint8]
    """Shape (height, width)."""
    notes: list[str] = field(default_factory=list)
    """What was lost, one line each."""


def recover(config: ServerConfig, now_ns: int) -> Recovered:
    """Open or create the journal that `config` names. Raises JournalError."""
    path = Path(config.journal)
    is_new = _is_new(path)
    loss = loss_in(path)  # Before SQLite opens the file: it may overwrite the log.
    with _opened(path, config) as store:
        store.claim()
        if is_new or _is_unused(store):
            _create(store, config, now_ns)
        recovered = _read(store, config)
        if loss is not None:
            recovered.notes.insert(0, f"journal {path}: its log {path.name}-wal was {loss}; everything before is there")
        _add_snapshot(recovered, now_ns)
    return recovered


def open_recording(config: ServerConfig, now_ns: int) -> Store:
    """Open the recording that `config` names, for this server's ticks. Raises JournalError."""
    path = Path(config.journal)
    _is_new(path)
    with _opened(path, config) as store:
        # The session writes to this file, too, and may have created the tables.
        facts = _facts(config, schema.RECORDING, now_ns)
        schema.create_tables(store.connection, schema.SERVER_TABLES)
        with store.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", facts.items())
        if store.connection.execute("SELECT 1 FROM ticks LIMIT 1").fetchone() is not None:
            raise JournalError(f"recording {path} holds a run already; name another file")
        store.add_snapshot(0, now_ns, bytes(config.width * config.height))
    return store


@contextmanager
def _opened(path: Path, config: ServerConfig) -> Iterator[Store]:
    """An open store, closed again on an exception. Raises JournalError for errors of SQLite."""
    store: Store | None = None
    try:
        store = Store(path, config.journal_sync)
        yield store
    except BaseException as error:
        if store is not None:
            store.abandon()
        if isinstance(error, sqlite3.Error):
            raise cannot_open(path, error) from None
        if isinstance(error, UnicodeDecodeError):  # The message of SQLite quotes a damaged schema.
            raise JournalError(
                f"journal {path} is damaged: a text in it is no text; restore a copy, or name another file"
            ) from None
        raise


def _is_new(path: Path) -> bool:
    """Whether the file is empty or missing. Raises JournalError for a file of another kind."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise JournalError(f"journal {path}: there is no folder {path.parent}; make it first") from None
        return True
    except OSError as error:
        raise JournalError(f"journal {path} cannot be opened: {error.strerror}; name another file") from None
    if head and head != _MAGIC:
        raise JournalError(f"journal {path} is another kind of file (it begins with {head[:8]!r}); name another file")
    return not head


def cannot_open(path: Path, error: sqlite3.Error) -> JournalError:
    """Why a file cannot be used now, although it may be undamaged."""
    why = describe(disk_error_of(error))
    return JournalError(f"journal {path} cannot be used: {why} (SQLite: {error}); mend that, or name another file")


def _facts(config: ServerConfig, kind: str, now_ns: int) -> dict[str, str]:
    return {
        "kind": kind,
        "width": str(config.width),
        "height": str(config.height),
        "palette": json.dumps(hex_colors()),
        "created_utc": clock.utc(),
        "started_ns": str(now_ns),
    }


def _create(store: Store, config: ServerConfig, now_ns: int) -> None:
    """Write the tables of a new journal, its facts, and its first snapshot: an empty canvas."""
    schema.create_tables(store.connection, schema.JOURNAL_TABLES)
    store.add([], _facts(config, schema.JOURNAL, now_ns))
    store.add_snapshot(0, now_ns, bytes(config.width * config.height))


def _is_unused(store: Store) -> bool:
    """Whether the file contains no canvas, because the process that made it ended before (as on a full disk)."""
    names = {name for (name,) in store.connection.execute("SELECT name FROM sqlite_master")}
    application_id, _ = schema.marks_of(store.connection)
    if application_id != schema.APPLICATION_ID:
        return not names and application_id == 0
    if not names >= {"meta", "ticks", "snapshots"}:
        return False
    kinds = store.connection.execute("SELECT value FROM meta WHERE key = 'kind'").fetchall()
    began = store.connection.execute("SELECT tick FROM snapshots UNION ALL SELECT tick FROM ticks LIMIT 1").fetchone()
    return kinds in ([], [(schema.JOURNAL,)]) and began is None


def _read(store: Store, config: ServerConfig) -> Recovered:
    """Check the file and read the canvas."""
    facts = _check(store, config)
    notes: list[str] = []
    # Rows of older ticks may be damaged: the snapshot makes up for them.
    tick, time_ns, pixels = _newest_snapshot(store, config, notes)
    rows = store.connection.execute(
        "SELECT tick, time_ns, encoding, tile_count, blocks, crc FROM ticks WHERE tick > ? ORDER BY tick", (tick,)
    ).fetchall()
    cells = [_cells(row, config) for row in rows]
    damaged = [index for index, found in enumerate(cells) if found is None]
    if damaged:
        cut = damaged[0]
        # Only if every row from the first damaged one on is damaged, nothing good is lost by cutting there.
        if len(damaged) < len(cells) - cut:
            raise _damaged_middle(store.path, rows, cut, len(cells) - cut - len(damaged))
        first, last = rows[cut][0], rows[-1][0]
        with store.transaction() as connection:
            connection.execute("DELETE FROM ticks WHERE tick >= ?", (first,))
        notes.append(
            f"journal {store.path}: ticks {first} to {last} were damaged and are lost; everything before is there"
        )
        rows, cells = rows[:cut], cells[:cut]
    for row, found in zip(rows, cells, strict=True):
        assert found is not None
        where, colors = found
        pixels.reshape(-1)[where] = colors
        tick, time_ns = int(row[0]), int(row[1])
    reserved = facts.get(TICK_RESERVED, "0")
    return Recovered(store, max(tick, int(reserved) if reserved.isdecimal() else 0), time_ns, pixels, notes)


def _add_snapshot(recovered: Recovered, now_ns: int) -> None:
    """Write what was read as a snapshot, so that the next start reads less."""
    store = recovered.store
    (snapshot_tick,) = store.connection.execute("SELECT max(tick) FROM snapshots").fetchone()
    if snapshot_tick < recovered.tick:
        time_ns = max(now_ns, recovered.time_ns + 1)
        store.add_snapshot(recovered.tick, time_ns, recovered.pixels.tobytes())
        recovered.time_ns = time_ns


def _check(store: Store, config: ServerConfig) -> dict[str, str]:
    """The facts of the file. Raises JournalError if it is not a journal, or not for this `config`."""
    path = store.path
    application_id, version = schema.marks_of(store.connection)
    if application_id != schema.APPLICATION_ID:
        raise JournalError(f"journal {path} is another program's SQLite file; name another file")
    if version > schema.USER_VERSION:
        raise JournalError(
            f"journal {path} has version {version}, but this program knows {schema.USER_VERSION}; update the program"
        )
    facts = {str(key): str(value) for key, value in store.connection.execute("SELECT key, value FROM meta")}
    if facts.get("kind") != schema.JOURNAL:
        raise JournalError(f"journal {path} is a {facts.get('kind', 'damaged file')}, not a journal; name another file")
    size, wanted = (facts.get("width"), facts.get("height")), (str(config.width), str(config.height))
    if size != wanted:
        raise JournalError(
            f"journal {path} holds a canvas of {size[0]}x{size[1]}, but the server's is {wanted[0]}x{wanted[1]}; "
            f"serve that size, or name another file"
        )
    return facts


def _newest_snapshot(store: Store, config: ServerConfig, notes: list[str]) -> tuple[int, int, NDArray[np.uint8]]:
    """Tick, time and canvas of the newest undamaged snapshot."""
    query = "SELECT tick, time_ns, encoding, pixels, crc FROM snapshots ORDER BY tick DESC"
    for tick, time_ns, encoding, packed, crc in store.connection.execute(query):
        size = config.width * config.height
        raw = _unpacked(tick, time_ns, encoding, 0, packed, crc)
        if raw is not None and len(raw) == size:
            return tick, time_ns, np.frombuffer(raw, np.uint8).reshape(config.height, config.width).copy()
        notes.append(f"journal {store.path}: the snapshot of tick {tick} is damaged; the one before it is used")
    raise JournalError(
        f"journal {store.path} is damaged: it holds no undamaged snapshot; restore a copy, or name another file"
    )


def _cells(row: tuple[Any, ...], config: ServerConfig) -> tuple[NDArray[np.int64], NDArray[np.uint8]] | None:
    """Pixels and colours in a row of `ticks`; None if the row is damaged."""
    tick, time_ns, encoding, tile_count, blocks, crc = row
    raw = _unpacked(tick, time_ns, encoding, tile_count, blocks, crc)
    if raw is None:
        return None
    try:
        return changed_cells(raw, tile_count, config.width, config.height)
    except ProtocolViolation:
        return None


def _unpacked(tick: Any, time_ns: Any, encoding: Any, tile_count: Any, data: Any, crc: Any) -> bytes | None:
    """The uncompressed bytes of a row; None if the row is damaged."""
    try:
        if schema.row_crc(tick, time_ns, encoding, tile_count, data) != crc:
            return None
        if encoding == Encoding.RAW:
            return bytes(data)
        return zlib.decompress(data)
    except (TypeError, struct.error, zlib.error):  # SQLite columns can hold values of any type.
        return None


def _damaged_middle(path: Path, rows: list[tuple[Any, ...]], cut: int, good_count: int) -> JournalError:
    tick = rows[cut][0]
    before = rows[cut - 1][0] if cut else "the snapshot before it"
    return JournalError(
        f"journal {path} is damaged at tick {tick}, with {good_count} undamaged ticks after it; restore a copy, or "
        f"give those up and continue from {before}: sqlite3 {path} 'DELETE FROM ticks WHERE tick >= {tick}'"
    )
