"""A disk that fails on demand: SQLite's own file functions, with writes, syncs and truncations in between.

It replaces the default VFS of this process while it is in use, so that what is tested opens its files as ever. It works
where `_sqlite3` uses a library of its own, as on most systems. Invariant: a fault is of the file's main part or of its
log; everything else goes its usual way.
"""

import ctypes
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

IOERR_WRITE, IOERR_FSYNC, IOERR_TRUNCATE, FULL = 778, 1034, 1546, 13
_MAIN_OR_LOG = 0x100 | 0x80000
_P = ctypes.c_void_p
_OPEN = ctypes.CFUNCTYPE(ctypes.c_int, _P, _P, _P, ctypes.c_int, _P)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _P, _P, ctypes.c_int, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _P, ctypes.c_int)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _P, ctypes.c_int64)


class _Vfs(ctypes.Structure):
    """sqlite3_vfs, version 3."""

    _fields_: ClassVar[Any] = [
        ("version", ctypes.c_int), ("file_bytes", ctypes.c_int), ("path_bytes", ctypes.c_int), ("next", _P),
        ("name", ctypes.c_char_p), ("app_data", _P), ("open", _P), ("others", _P * 15),
    ]  # fmt: skip


class _Methods(ctypes.Structure):
    """sqlite3_io_methods, version 3."""

    _fields_: ClassVar[Any] = [
        ("version", ctypes.c_int), ("close", _P), ("read", _P), ("write", _P), ("truncate", _P), ("sync", _P),
        ("others", _P * 13),
    ]  # fmt: skip


class _File(ctypes.Structure):
    _fields_: ClassVar[Any] = [("methods", ctypes.POINTER(_Methods))]


@dataclass(frozen=True)
class Fault:
    """What fails: the `number`-th write, sync or truncation, from 1, and `count` of them in all."""

    operation: str
    """write, sync or truncate."""
    code: int
    number: int
    count: int = 1
    is_short: bool = False
    """Half of a write's bytes are written before it fails."""


class FaultyDisk:
    """Use it by `faulty_disk`; `fault` is set and taken away at will."""

    def __init__(self, library: ctypes.CDLL) -> None:
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        self._library = library
        self._usual = library.sqlite3_vfs_find(None)
        self._usual_open = _OPEN(self._usual.contents.open)
        self._vfs = _Vfs.from_buffer_copy(self._usual.contents)
        self._own_open = _OPEN(self._open)  # Kept for as long as C may call it.
        self._vfs.name, self._vfs.next = b"faulty", None
        self._vfs.open = ctypes.cast(self._own_open, _P)
        self._patched: dict[tuple[int, bool], tuple[_Methods, tuple[Any, ...]]] = {}
        self._names: tuple[bytes, ...] = ()
        self._fault: Fault | None = None
        self._seen = 0
        self.failed_count = 0

    def fail(self, path: Path, fault: Fault | None) -> None:
        """Count from zero, and fail so with this file and its log when they are opened from now on."""
        self._names = (os.fsencode(path), os.fsencode(f"{path}-wal"))
        self._fault, self._seen, self.failed_count = fault, 0, 0

    def register(self, *, is_on: bool) -> None:
        """Be what files are opened with from now on, or no more."""
        if is_on:
            assert self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1) == 0
        else:
            assert self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs)) == 0
            assert self._library.sqlite3_vfs_register(self._usual, 1) == 0

    # --- Inside ---

    def _open(self, _vfs: int, name: int, file: int, flags: int, out_flags: int) -> int:
        code = int(self._usual_open(ctypes.cast(self._usual, _P), name, file, flags, out_flags))
        if code == 0 and flags & _MAIN_OR_LOG:
            opened = ctypes.cast(file, ctypes.POINTER(_File)).contents
            may_fail = ctypes.string_at(name) in self._names
            opened.methods = ctypes.pointer(self._patch(opened.methods.contents, may_fail=may_fail))
        return code

    def _patch(self, usual: _Methods, *, may_fail: bool) -> _Methods:
        """The same functions, but for those that may fail. No sync is a real one, which takes most of a test's time."""
        key = ctypes.addressof(usual), may_fail
        if key not in self._patched:
            write, truncate = _WRITE(usual.write), _TRUNCATE(usual.truncate)

            def own_write(file: int, data: int, size: int, at: int) -> int:
                code, is_short = self._code("write") if may_fail else (0, False)
                if code and is_short:
                    write(file, data, size // 2, at)
                return code or int(write(file, data, size, at))

            def own_sync(_file: int, _flags: int) -> int:
                return self._code("sync")[0] if may_fail else 0

            def own_truncate(file: int, size: int) -> int:
                return (may_fail and self._code("truncate")[0]) or int(truncate(file, size))

            kept = (_WRITE(own_write), _SYNC(own_sync), _TRUNCATE(own_truncate))
            methods = _Methods.from_buffer_copy(usual)
            methods.write, methods.sync, methods.truncate = (ctypes.cast(function, _P) for function in kept)
            self._patched[key] = methods, (*kept, write, truncate)
        return self._patched[key][0]

    def _code(self, operation: str) -> tuple[int, bool]:
        fault = self._fault
        if fault is None or fault.operation != operation:
            return 0, False
        self._seen += 1
        if not fault.number <= self._seen < fault.number + fault.count:
            return 0, False
        self.failed_count += 1
        return fault.code, fault.is_short


def sqlite_library() -> ctypes.CDLL | None:
    """The library that `sqlite3` uses; None where it is part of Python itself."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    path = next((line.split(maxsplit=5)[5] for line in lines if "libsqlite3" in line), None)
    if path is None:
        return None
    library = ctypes.CDLL(path)
    library.sqlite3_libversion.restype = ctypes.c_char_p
    assert library.sqlite3_libversion().decode() == sqlite3.sqlite_version
    return library


@cache
def _disk() -> FaultyDisk | None:
    """The only one: a connection that a failed test left open calls its functions until the process ends."""
    library = sqlite_library()
    return FaultyDisk(library) if library is not None else None


@contextmanager
def faulty_disk() -> Iterator[FaultyDisk | None]:
    """Have SQLite open its files on a disk that may fail; None where that cannot be."""
    disk = _disk()
    if disk is None:
        yield None
        return
    disk.register(is_on=True)
    try:
        yield disk
    finally:
        disk.register(is_on=False)
