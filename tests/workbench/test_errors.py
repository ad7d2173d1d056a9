"""Running out of a resource is no bug, in this process or, by its last line of output, in another."""

import errno
import os
import resource
import sys
from queue import SimpleQueue

import numpy as np
import pytest

from support.serving import PATIENCE_S
from workbench.cli import app
from workbench.errors import line_of, shortage_of, shown
from workbench.session.processes import Process


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.EMFILE, "Too many open files"),
            "Too many open files; raise the limit on open files (ulimit -n)",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/a"),
            "No space left on device: '/a'; make room on the",
        ),
        (OSError(errno.EFBIG, "File too large"), "File too large; raise the limit on file sizes (ulimit -f)"),
        (MemoryError(), "out of memory; free memory, or raise the limit on it (ulimit -v)"),
        (
            "numpy._core._exceptions._ArrayMemoryError: Unable",
            "out of memory; free memory, or raise the limit on it",
        ),
        (
            RuntimeError("can't start new thread"),
            "no further thread can be started; raise the limits on",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No usable temporary directory found"),
            "no folder takes temporary files;",
        ),
        (OSError(errno.ECONNRESET, "Connection reset by peer"), ""),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), ""),
        (RuntimeError("dictionary changed size during iteration"), ""),
        (ValueError("[Errno 24] is no error of the system"), ""),
        (ImportError("cannot import name"), ""),
    ],
    ids=str,
)
def test_shortages(error: Exception | str, line: str) -> None:
    found = shortage_of(error)
    assert found.startswith(line) and bool(found) == bool(line)


def test_numpys_own_memory_error() -> None:
    with pytest.raises(MemoryError) as refusal:
        np.zeros(2**45)
    assert shortage_of(refusal.value).startswith("out of memory")


def test_a_library_that_cannot_be_loaded_is_a_shortage_only_under_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ImportError("libx.so: failed to map segment from shared object")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (2**28, 2**28))
    assert shortage_of(error) == "a library cannot be loaded; free memory, or raise the limit on it (ulimit -v)"


def test_a_command_says_it_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(app, "builtin_names", fail)
    assert app.run_main(["scenarios"]) == 1
    assert capsys.readouterr().err == "No space left on device; make room on the disk\n"


@pytest.mark.parametrize(
    ("program", "is_bug", "line"),
    [
        ("raise MemoryError", False, "ended with exit code 1: out of memory; free memory, or raise"),
        (
            "raise OSError(24, 'Too many open files')",
            False,
            "exit code 1: Too many open files; raise the limit",
        ),
        ("raise ValueError(1)", True, "ended with exit code 1: ValueError: 1"),
    ],
)
def test_a_child_that_ran_out_of_something_has_no_traceback(program: str, is_bug: bool, line: str) -> None:
    child = Process("server", [sys.executable, "-c", program], (), SimpleQueue())
    assert child.wait(PATIENCE_S)
    child.stop(0)
    assert line in child.reason() and bool(child.traceback()) == is_bug


def test_an_error_of_the_system_begins_with_its_file() -> None:
    assert line_of(OSError(errno.EACCES, "Permission denied", "/a")) == "/a: Permission denied"
    assert line_of(OSError(errno.EACCES, "Permission denied")) == "Permission denied"
    assert line_of(OSError("odd")) == "odd"


def test_undecodable_bytes_are_escaped() -> None:
    assert shown(os.fsdecode(b"a\xffb")) == "a\\udcffb"
    assert shown("Ümläut 空") == "Ümläut 空"
