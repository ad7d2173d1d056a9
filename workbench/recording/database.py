"""A recording's file, opened to be read: what it is, whether it is whole, and its rows.

It writes nothing, and knows no figure by name. Invariant: a file that is not ours, or not whole, is told in one line as
a UserError, whatever SQLite or a decoder had to say of it; nobody above this sees an sqlite3.Error.
"""

import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from server.journal import schema
from server.journal.log import loss_in
from server.protocol.websocket import ProtocolViolation
from workbench.errors import UserError
from workbench.recording.fact_check import CHECKS, fault_in

_SQLITE_HEAD = b"SQLite format 3\x00"
_HEAD_BYTES = 100
_BUSY_S = 5.0
_UNCHECKED = 1
"""The last version of a file whose facts have no checksums."""
_NO_TEXT = "a text in it is no text"
_FACTS_NEEDED = ("kind", "width", "height", "started_ns")


class Database:
    """The file, read-only. May be read from any thread, and while another process writes it."""

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
        """Give the file back."""
        self._connection.close()

    @contextmanager
    def told(self) -> Iterator[None]:
        """What fails inside is a damaged file, and told as that."""
        try:
            yield
        except UnicodeDecodeError:
            raise self.damaged(_NO_TEXT) from None
        except (sqlite3.DatabaseError, ProtocolViolation, msgspec.MsgspecError) as error:
            raise self.damaged(str(error)) from None

    def damaged(self, what: str) -> UserError:
        """The one line about a file that is not whole."""
        return UserError(f"{self.path} is damaged: {what}; {_whole_copy(self.path)}")

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises UserError where the file is damaged."""
        with self.told():
            return self._connection.execute(query, values).fetchall()

    def first(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        with self.told():
            row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        return row

    def fact(self, key: str) -> str | None:
        """A fact as it is in the file now. Raises UserError where facts are not what was written."""
        facts = self._read_facts()
        self._require_right(facts)
        return facts.get(key)

    def columns(self, table: str) -> list[tuple[str, str]]:
        """Name and type of each column of a table, in order; none where there is no such table."""
        return [(str(row[1]), str(row[2])) for row in self.rows(f"PRAGMA table_info({table})")]

    def number_at(self, table: str, key: str, time_ns: int) -> int | None:
        """The last row of a table at or before this time, by its key; None when there is none.

        Time grows with the key, and mostly evenly: no index is needed, and a search costs a few rows.
        """
        # Asked for both at once, SQLite would read the whole table.
        row = self.first(f"SELECT (SELECT min({key}) FROM {table}), (SELECT max({key}) FROM {table})")
        if row is None or row[0] is None:
            return None
        low, high = row
        before = f"SELECT {key}, {self._time_column(table)} FROM {table} WHERE {key} <= ? ORDER BY {key} DESC LIMIT 1"
        (_, low_ns), (last, high_ns) = self._probe(before, low), self._probe(before, high)
        if low_ns > time_ns:
            return None
        if high_ns <= time_ns:
            return last
        turn = 0
        while high - low > 1:  # The row at or before `low` is not later than the time, that of `high` is.
            turn += 1
            even = (time_ns - low_ns) * (high - low) // (high_ns - low_ns)
            # Where time does not grow evenly, halves now and then bound the search.
            middle = low + min(max((high - low) // 2 if turn % 4 == 0 else even, 1), high - low - 1)
            number, then_ns = self._probe(before, middle)
            if then_ns <= time_ns:
                low, low_ns = middle, then_ns
            else:
                high, high_ns = number, then_ns
        return int(self._probe(before, low)[0])

    # --- Inside ---

    @staticmethod
    def _time_column(table: str) -> str:
        return "start_ns" if table == "tick_log" else "time_ns"

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
        """Refuse what is no recording, and facts that are not what was written."""
        if self.facts.get("kind") != schema.RECORDING:
            if self.facts.get("kind") == schema.JOURNAL:
                raise UserError(f"{self.path} is a server's journal, not a recording; serve it with 'serve --journal'")
            raise self.damaged("it does not say what it is")
        if self.version > _UNCHECKED and CHECKS not in self.facts:
            raise self.damaged("its facts have no checksums")
        self._require_right(self.facts)
        for key in _FACTS_NEEDED:
            if key not in self.facts:
                raise self.damaged(f"it does not tell its {key}")

    def _read_facts(self) -> dict[str, str]:
        return {str(key): str(value) for key, value in self.rows("SELECT key, value FROM meta")}

    def _require_right(self, facts: Mapping[str, str]) -> None:
        with self.told():
            fault = fault_in(facts)
        if fault:
            raise self.damaged(fault)


def _check_head(path: Path) -> None:
    """Refuse what can be told from the first bytes. A file cut short lacks pages that its head counts."""
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
    """Refuse a file whose log lost what was committed: SQLite would show what is before that, and not say so."""
    loss = loss_in(path)
    if loss is not None:
        raise UserError(
            f"{path} is damaged: its log {path.name}-wal is {loss}; {_whole_copy(path)}, or give that up: "
            f"sqlite3 {path} 'PRAGMA wal_checkpoint(TRUNCATE)'"
        )


def _has_log(path: Path) -> bool:
    """Whether there is a write-ahead log with something in it, whose pages the file itself may still lack."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _whole_copy(path: Path) -> str:
    log = f" together with {path.name}-wal" if _has_log(path) else ""
    return f"take a whole copy of it{log}"


def _connect(path: Path) -> sqlite3.Connection:
    """Read-only. In a folder where nothing may be written, a file without a log is opened as one that nobody writes."""
    uri = path.absolute().as_uri()
    connection = _read_only(f"{uri}?mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        if _has_log(path):
            raise
        return _read_only(f"{uri}?mode=ro&immutable=1")
    except (sqlite3.DatabaseError, UnicodeDecodeError):  # Of a damaged schema, SQLite quotes what it cannot read.
        with closing(connection):
            raise
    return connection


def _read_only(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
