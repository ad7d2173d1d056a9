"""A recording's file opened for reading: what it is, whether it is whole, and the checked rows of its tables.

A file that is not a recording, or not whole, raises a UserError of one line, whatever SQLite or a decoder reported: no
caller sees an sqlite3.Error. It knows no figure by name.
"""

import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from server.journal import schema
from server.journal.log import loss_in
from server.journal.schema import Column, RowChecksum
from server.protocol.websocket import ProtocolViolation
from workbench.errors import UserError
from workbench.recording.facts import CHECKS, fault_in

_SQLITE_HEAD = b"SQLite format 3\x00"
_HEAD_BYTES = 100
_BUSY_S = 5.0
# The last version of a file without checksums of its facts and figures.
_UNCHECKED = 1
_NO_TEXT = "a text in it is not UTF-8"
_FACTS_NEEDED = ("kind", "width", "height", "started_ns")


class Database:
    """The file, read-only. Any thread may read it, also while another process writes it."""

    def __init__(self, path: Path) -> None:
        """Raises UserError."""
        self.path = path
        self.version = 0
        """Of the file's format."""
        _check_head(path)
        _check_log(path)
        try:
            self._connection = _connect(path)
        except UnicodeDecodeError:
            raise self.damaged(_NO_TEXT) from None
        except sqlite3.Error as error:
            raise UserError(f"{path} cannot be opened: {error}; {_whole_copy(path)}") from None
        try:
            self._check_marks()
            self.facts = self._read_facts()
            self._check_facts()
        except UserError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Report what fails inside as a damaged file."""
        try:
            yield
        except UnicodeDecodeError:
            raise self.damaged(_NO_TEXT) from None
        except (sqlite3.DatabaseError, ProtocolViolation, msgspec.MsgspecError) as error:
            raise self.damaged(str(error)) from None

    def damaged(self, what: str) -> UserError:
        """The error of a file that is not whole."""
        return UserError(f"{self.path} is damaged: {what}; {_whole_copy(self.path)}")

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises UserError where the file is damaged."""
        with self.decoding():
            return self._connection.execute(query, values).fetchall()

    def first(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        with self.decoding():
            row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        return row

    def fact(self, key: str) -> str | None:
        """A fact as the file has it now. Raises UserError where facts are not what was written."""
        facts = self._read_facts()
        self._require_right(facts)
        return facts.get(key)

    def columns(self, table: str) -> list[tuple[str, str]]:
        """Name and type of each column of a table, in order; none where there is no such table."""
        return [(str(row[1]), str(row[2])) for row in self.rows(f"PRAGMA table_info({table})")]

    def number_at(self, table: str, key: str, time_ns: int) -> int | None:
        """The key of the last row of a table at or before this time; None when there is none."""
        # Time grows with the key, and mostly evenly, so that the search reads a few rows and needs no index.
        # Asked for both ends in one SELECT, SQLite would read the whole table.
        row = self.first(f"SELECT (SELECT min({key}) FROM {table}), (SELECT max({key}) FROM {table})")
        if row is None or row[0] is None:
            return None
        low, high = row
        time = "start_ns" if table == "tick_log" else "time_ns"
        before = f"SELECT {key}, {time} FROM {table} WHERE {key} <= ? ORDER BY {key} DESC LIMIT 1"
        (_, low_ns), (last, high_ns) = self._probe(before, low), self._probe(before, high)
        if low_ns > time_ns:
            return None
        if high_ns <= time_ns:
            return last
        turn = 0
        while high - low > 1:  # The row at or before `low` is not later than the time; that of `high` is.
            turn += 1
            even = (time_ns - low_ns) * (high - low) // (high_ns - low_ns)
            # Where time does not grow evenly, every fourth step halves, which bounds the search.
            middle = low + min(max((high - low) // 2 if turn % 4 == 0 else even, 1), high - low - 1)
            number, then_ns = self._probe(before, middle)
            if then_ns <= time_ns:
                low, low_ns = middle, then_ns
            else:
                high, high_ns = number, then_ns
        return int(self._probe(before, low)[0])

    # --- Inside ---

    def _probe(self, query: str, key: int) -> tuple[int, int]:
        row = self.first(query, (key,))
        if row is None or not isinstance(row[1], int):
            raise self.damaged(f"a row before {key} has no time")
        return row[0], row[1]

    def _check_marks(self) -> None:
        try:
            application_id, version = schema.marks_of(self._connection)
        except sqlite3.OperationalError as error:
            raise UserError(f"{self.path} cannot be read: {error}; {_whole_copy(self.path)}") from None
        except sqlite3.DatabaseError as error:
            raise self.damaged(str(error)) from None
        if application_id != schema.APPLICATION_ID:
            raise UserError(f"{self.path} is an SQLite file, but no recording; give one made with 'run --record'")
        self.version = version
        if version > schema.USER_VERSION:
            raise UserError(
                f"{self.path} was made by a newer version (format {version}; this one reads up to "
                f"{schema.USER_VERSION}); update the workbench"
            )

    def _check_facts(self) -> None:
        """Reject a file that is not a recording, and facts that are not what was written."""
        if self.facts.get("kind") != schema.RECORDING:
            if self.facts.get("kind") == schema.JOURNAL:
                raise UserError(f"{self.path} is a server's journal, not a recording; serve it with 'serve --journal'")
            raise self.damaged("it does not say what it is")
        if self.version > _UNCHECKED and CHECKS not in self.facts:
            raise self.damaged("its facts have no checksums")
        self._require_right(self.facts)
        for key in _FACTS_NEEDED:
            if key not in self.facts:
                raise self.damaged(f"it lacks its {key}")

    def _read_facts(self) -> dict[str, str]:
        return {str(key): str(value) for key, value in self.rows("SELECT key, value FROM meta")}

    def _require_right(self, facts: Mapping[str, str]) -> None:
        with self.decoding():
            fault = fault_in(facts)
        if fault:
            raise self.damaged(fault)


def _check_head(path: Path) -> None:
    """Reject what the first bytes show to be no recording, or a file shorter than its head says."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        size = path.stat().st_size
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give a recording's file") from None
    except FileNotFoundError:
        raise UserError(f"no file {str(path)!r}; make one with 'workbench run --record {path}'") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; give a recording you may read") from None
    if not head:
        raise UserError(f"{path} is empty; it holds no recording")
    if not _SQLITE_HEAD.startswith(head[: len(_SQLITE_HEAD)]):
        raise UserError(f"{path} is no recording (it is no SQLite file); give one made with 'run --record'")
    if len(head) < _HEAD_BYTES:
        raise UserError(f"{path} is damaged: it ends after {len(head)} bytes; {_whole_copy(path)}")
    (page_size,), (page_count,) = struct.unpack_from(">H", head, 16), struct.unpack_from(">I", head, 28)
    whole = (65536 if page_size == 1 else page_size) * page_count
    if size < whole and not _has_log(path):
        raise UserError(f"{path} is damaged: it ends after {size} of {whole} bytes; {_whole_copy(path)}")


def _check_log(path: Path) -> None:
    """Reject a file whose write-ahead log lost committed pages."""
    # SQLite would show the state before these, without a warning.
    loss = loss_in(path)
    if loss is not None:
        raise UserError(
            f"{path} is damaged: its log {path.name}-wal is {loss}; {_whole_copy(path)}, or give that up: "
            f"sqlite3 {path} 'PRAGMA wal_checkpoint(TRUNCATE)'"
        )


def _has_log(path: Path) -> bool:
    """Whether there is a write-ahead log that is not empty. The file itself may lack its pages."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _whole_copy(path: Path) -> str:
    log = f" together with {path.name}-wal" if _has_log(path) else ""
    return f"take a whole copy of it{log}"


def _connect(path: Path) -> sqlite3.Connection:
    """Open read-only."""
    uri = path.absolute().as_uri()
    connection = _read_only(f"{uri}?mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        if _has_log(path):
            raise
        # In a read-only folder SQLite cannot make its lock files. Without a log no process writes the file.
        return _read_only(f"{uri}?mode=ro&immutable=1")
    except (sqlite3.DatabaseError, UnicodeDecodeError):  # SQLite quotes a damaged schema, which may not be UTF-8.
        with closing(connection):
            raise
    return connection


def _read_only(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)


_CRC, _ID = "crc", "id"


class FigureTable:
    """Reads one table. Any thread may.

    A row is checked against its checksum. A column that an earlier version did not write is None in every row.
    """

    def __init__(self, database: Database, name: str) -> None:
        """Raises UserError for a file that lacks what its version has."""
        self._database, self._name = database, name
        columns = database.columns(name)
        self._columns = [column for column, _ in columns]
        self._is_sealed = _CRC in self._columns
        if not columns and database.version > _UNCHECKED:
            raise database.damaged(f"it has no table {name}")
        if columns and not self._is_sealed and database.version > _UNCHECKED:
            raise database.damaged(f"the rows of {name} have no checksums")
        sealed: list[Column] = [column for column in columns if column[0] not in (_CRC, _ID)]
        self._checksum = RowChecksum(sealed)
        self._query = f"SELECT {', '.join([column for column, _ in sealed] + [_CRC] * self._is_sealed)} FROM {name}"

    def rows(self, names: Sequence[str], tail: str = "", values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The values of these columns, two at least. `tail`: the query's conditions and order.

        Raises UserError where a row is not what was written.
        """
        if not self._columns:
            return []
        order = [column for column in self._columns if column not in (_CRC, _ID)]
        places = [order.index(name) if name in order else -1 for name in names]
        pick = itemgetter(*places)
        return [pick((*row, None)) for row in self._checked(tail, values)]

    # --- Inside ---

    def _checked(self, tail: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """The rows without their checksums, which were compared."""
        for row in self._database.rows(f"{self._query} {tail}", values):
            if not self._is_sealed:
                yield row
                continue
            try:
                is_right = self._checksum.of(row[:-1]) == row[-1]
            except (TypeError, ValueError, struct.error):
                is_right = False
            if not is_right:
                raise self._database.damaged(f"row {row[0]} of {self._name} is not what was written")
            yield row[:-1]
