"""The two ways in which a command refuses, told in one line each. A bug is neither: it keeps its traceback.

    CommandError   exit code
      UserError        2       asked wrongly: names the fault, the value and the remedy; nothing was started
      RunError         1       asked rightly, but it could not be done

Nor is it a bug when the machine has no more of something, though any line of code may be the one that finds out:
`shortage_of`. Invariant: a message is one line for a person, without a full stop at its end.
"""

import errno
import re
import resource
import traceback

_MEMORY = "free memory, or raise the limit on it (ulimit -v)"
_DISK = "make room on the disk"
_REMEDIES = {
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "have other programs open fewer files",
    errno.ENOMEM: _MEMORY,
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.ENOSPC: _DISK,
    errno.EDQUOT: _DISK,
}
_SYSTEM_ERROR = re.compile(r"OSError: \[Errno (\d+)\] (.+)")
_NO_THREAD = "can't start new thread"
_NOT_LOADED = ("ImportError: ", "OSError: Could not find/load shared object")
"""How it looks when a library finds no room in memory, and also when it is not there."""


class CommandError(Exception):
    """What a command tells a person before it ends with `exit_code`."""

    exit_code = 1


class UserError(CommandError):
    """The command line or a file that it names asks for something that cannot be."""

    exit_code = 2


class RunError(CommandError):
    """What was asked for was begun, or could have been, and did not come to its end."""

    exit_code = 1


def line_of(error: Exception) -> str:
    """An error as one line; one of the system begins with its file, where it names one."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def shown(text: object) -> str:
    """A path, or a message with one, as text for any output. Bytes that are no letters, which Python keeps apart, are
    spelt out."""
    return str(text).encode(errors="backslashreplace").decode()


def shortage_of(error: Exception | str) -> str:
    """What the machine, or a limit on this process, has no more of, with the remedy; "" for any other error.

    `error` may be the last line of a traceback, which is all that is known of another process.
    """
    line = error if isinstance(error, str) else traceback.format_exception_only(error)[-1].strip()
    kind = line.partition(":")[0]
    if kind.endswith("MemoryError"):
        return f"out of memory; {_MEMORY}"
    if _NO_THREAD in line:
        return "no further thread can be started; raise the limits on threads and memory (ulimit -u, ulimit -v)"
    if "No usable temporary directory" in line or "writable cache directory" in line:
        return "no folder takes temporary files; set TMPDIR to one that can be written"
    if line.startswith(_NOT_LOADED) and resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return f"a library cannot be loaded; {_MEMORY}"
    found = _SYSTEM_ERROR.match(line)
    remedy = _REMEDIES.get(int(found[1])) if found else None
    return f"{found[2]}; {remedy}" if found and remedy else ""
