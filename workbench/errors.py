"""The errors that a command prints in one line, without a full stop. A bug is none of them, and keeps its traceback.

    CommandError   exit code
      UserError        2       an impossible request: names the fault, the value and the remedy
      RunError         1       a valid request that failed

Running out of a resource of the machine is not a bug either, although any line of code may notice it: `shortage_of`.
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
# A library is missing, or there is no memory to load it: both look the same.
_NOT_LOADED = ("ImportError: ", "OSError: Could not find/load shared object")


class CommandError(Exception):
    """The message that a command prints before it exits with `exit_code`."""

    exit_code = 1


class UserError(CommandError):
    """The command line, or a file that it names, asks for something impossible. Nothing was started."""

    exit_code = 2


class RunError(CommandError):
    """A valid request failed."""

    exit_code = 1


def line_of(error: Exception) -> str:
    """An error as one line. A system error begins with its file, if it has one."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def shown(text: object) -> str:
    """A path, or a message with one, as text for any output: undecodable bytes of file names are escaped."""
    return str(text).encode(errors="backslashreplace").decode()


def shortage_of(error: Exception | str) -> str:
    """What the machine or a limit of this process has run out of, with the remedy; "" for any other error.

    `error` may be the last line of a traceback, which is all that is known of another process.
    """
    line = error if isinstance(error, str) else traceback.format_exception_only(error)[-1].strip()
    # Also numpy's MemoryError subclass, whose name has a prefix.
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
