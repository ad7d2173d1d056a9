"""What can go wrong with a journal: a file that cannot be gone on from, and a disk that takes nothing just now.

The first is told to whoever starts the server, in one line with its remedy. The second passes: the server waits and
tries again, and says meanwhile why. Invariant: nothing above this package sees an `sqlite3.Error`.
"""

import sqlite3
from enum import IntEnum


class JournalError(Exception):
    """A file that cannot be gone on from. Its text is one line: the file, what is wrong, the remedy."""


class JournalState(IntEnum):
    """How the server's journal, or its end of a recording, is doing; `journal_state` in SERVER."""

    NONE = 0  # There is none.
    OK = 1
    WAITING = 2  # A tick that is due waits for the one before it to be on disk.
    FAILED = 3  # The disk does not take it; tried again every second.


class DiskError(IntEnum):
    """Why the newest commit did not succeed; `journal_trouble` in SERVER."""

    NONE = 0
    FULL = 1
    INPUT_OUTPUT = 2
    READ_ONLY = 3
    LOCKED = 4
    DAMAGED = 5
    OTHER = 6


_WORDS = {
    DiskError.FULL: "the disk is full; make room there",
    DiskError.INPUT_OUTPUT: "the disk reports an error, or a limit on the file's size is reached",
    DiskError.READ_ONLY: "the file or its folder cannot be written any more",
    DiskError.LOCKED: "another program holds the file locked",
    DiskError.DAMAGED: "the file was damaged while it was open",
    DiskError.OTHER: "SQLite refuses to write",
}
_TROUBLES = {
    sqlite3.SQLITE_FULL: DiskError.FULL,
    sqlite3.SQLITE_IOERR: DiskError.INPUT_OUTPUT,
    sqlite3.SQLITE_READONLY: DiskError.READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: DiskError.READ_ONLY,
    sqlite3.SQLITE_BUSY: DiskError.LOCKED,
    sqlite3.SQLITE_LOCKED: DiskError.LOCKED,
    sqlite3.SQLITE_CORRUPT: DiskError.DAMAGED,
    sqlite3.SQLITE_NOTADB: DiskError.DAMAGED,
}


def trouble_of(error: sqlite3.Error) -> DiskError:
    """What an error of SQLite means for us."""
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return _TROUBLES.get(primary, DiskError.OTHER)


def words_of(trouble: int) -> str:
    """A trouble as a part of a sentence, with its remedy."""
    return _WORDS[DiskError(trouble)]
