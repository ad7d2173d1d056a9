"""What can go wrong with a journal: a file that a server cannot continue from, and a disk that refuses to write.

The first ends the start of a server, with one line that names the remedy. The second may pass: the server waits, tries
again and reports why. Nothing above this package sees an `sqlite3.Error`.
"""

import sqlite3
from enum import IntEnum


class JournalError(Exception):
    """A server cannot continue from this file. The text is one line: the file, what is wrong, the remedy."""


class JournalState(IntEnum):
    """State of the server's journal, or of its part of a recording; `journal_state` in SERVER."""

    NONE = 0  # No journal.
    OK = 1
    WAITING = 2  # A tick that is due waits until the previous one is on disk.
    FAILED = 3  # A commit failed; it is tried again every second.


class DiskError(IntEnum):
    """Why the newest commit failed; `journal_trouble` in SERVER."""

    NONE = 0
    FULL = 1
    INPUT_OUTPUT = 2
    READ_ONLY = 3
    LOCKED = 4
    DAMAGED = 5
    OTHER = 6


_DESCRIPTIONS = {
    DiskError.FULL: "the disk is full; make room there",
    DiskError.INPUT_OUTPUT: "the disk reports an error, or a limit on the file's size is reached",
    DiskError.READ_ONLY: "the file or its folder cannot be written any more",
    DiskError.LOCKED: "another program holds the file locked",
    DiskError.DAMAGED: "the file was damaged while it was open",
    DiskError.OTHER: "SQLite refuses to write",
}
_ERRORS = {
    sqlite3.SQLITE_FULL: DiskError.FULL,
    sqlite3.SQLITE_IOERR: DiskError.INPUT_OUTPUT,
    sqlite3.SQLITE_READONLY: DiskError.READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: DiskError.READ_ONLY,
    sqlite3.SQLITE_BUSY: DiskError.LOCKED,
    sqlite3.SQLITE_LOCKED: DiskError.LOCKED,
    sqlite3.SQLITE_CORRUPT: DiskError.DAMAGED,
    sqlite3.SQLITE_NOTADB: DiskError.DAMAGED,
}


def disk_error_of(error: sqlite3.Error) -> DiskError:
    """The kind of an error of SQLite."""
    # The low byte is the primary code; the rest says which operation failed.
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return _ERRORS.get(primary, DiskError.OTHER)


def describe(disk_error: int) -> str:
    """A disk error as part of a sentence, with its remedy."""
    return _DESCRIPTIONS[DiskError(disk_error)]
