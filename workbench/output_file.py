"""The files that a command writes: checked before it starts, and replaced as a whole, so that none is half written.

A recording or a journal cannot be made again: it is never overwritten, and a recording never overwrites anything. Any
other file is replaced when the new one is complete, through a link the file that it leads to. What is not a regular
file is written into: a device, a pipe, or what a process has open, such as /dev/stdout. `-` is standard output.
"""

import errno
import fcntl
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import msgspec

from server.system import clock, standard_streams
from workbench.errors import RunError, UserError, shown

STANDARD_OUTPUT = Path("-")
# The default remedy of a message about a full disk.
MAKE_ROOM = "make room, or choose another place"
_START_ELSEWHERE = "start the program in another one"
# How long to wait for the reader of a named pipe.
READER_WAIT_NS = 10_000_000_000
# The first bytes of recordings, journals and their logs. No other output is a database.
_MEASURED_HEADS = (b"SQLite format 3\x00", b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_DESCRIPTORS = re.compile(r"/proc/(\d+)(?:/task/\d+)?/fd")
_LINKS_MAX = 40

# A descriptor of this process, or a path that is opened for appending.
_Stream = int | Path


def require_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[Path] = ()) -> None:
    """Raise UserError if one of `outputs`, by option, cannot be written, or would overwrite what must stay.

    That is a recording or a journal, one of the `inputs` of the command, or another of its outputs. None is valid.
    """
    read = {_place_of(source) for source in inputs}
    taken: dict[Hashable, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        try:
            _check(path, option)
        except FileNotFoundError:  # A relative path in a folder that was removed.
            raise UserError(f"{option} {path}: the current folder is gone; {_START_ELSEWHERE}") from None
        except OSError as error:
            raise UserError(f"{option} {path} cannot be accessed: {error.strerror}; choose another place") from None
        place = _place_of(path)
        if place is None:
            continue
        if place in read:
            raise UserError(f"{option} {path} is read by this command; choose another name")
        if place in taken:
            raise UserError(f"{taken[place]} and {option} both name {path}; choose two names")
        taken[place] = option


def current_folder() -> Path:
    """The current folder. Raises RunError if it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise RunError(f"the current folder is gone; {_START_ELSEWHERE}") from None


def require_database(path: Path | None, option: str) -> None:
    """Raise UserError if `path`, given as `option`, cannot be a recording or a journal. None is valid."""
    if path is None:
        return
    try:
        is_stream = _stream_at(path) is not None
    except OSError:
        return  # Opening it gives the error.
    if is_stream:
        raise UserError(f"{option} {path} is not a regular file; give the name of a file")


def require_new(path: Path | None, option: str) -> None:
    """Raise UserError if a recording cannot be created at `path`: it exists, or is not writable. None is valid."""
    if path is None:
        return
    require_database(path, option)
    with suppress(OSError):
        if shown(path.absolute()) != str(path.absolute()):  # The recording and the server get it as UTF-8.
            raise UserError(f"{option} {path}: its name, or a folder's, cannot be read as text; choose another place")
    for one in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):  # `require_outputs` gives the error.
            if one.is_file() and one.stat().st_size > 0:
                raise UserError(f"{option} {one} already exists; choose another name, or move it away")
    require_outputs({option: path})


def require_package(name: str, format_name: str) -> None:
    """Raise UserError if a package that a format needs is not installed. `name`: as in an import."""
    if find_spec(name) is None:
        distribution = name.replace("_", "-")
        raise UserError(
            f"writing {format_name} needs the package {distribution}, which is not installed: pip install "
            f"'{distribution}', or all formats with pip install -e '.[export]'"
        )


def leads_to_stdout(path: Path | None) -> bool:
    """Whether `path` is the same file or pipe as standard output."""
    stream = _stream_at(path) if path is not None else None
    return isinstance(stream, int) and (stream == 1 or _is_same(stream, 1))


def talk_file(*outputs: Path | None) -> TextIO:
    """The stream for all other messages of a command: standard error if one of its outputs is standard output."""
    return sys.stderr if any(map(leads_to_stdout, outputs)) else sys.stdout


@contextmanager
def whole_file(path: Path, remedy: str = MAKE_ROOM) -> Iterator[Path]:
    """A temporary file with the same suffix, to be written by name; it replaces `path` at the end.

    If `path` is not a regular file, the data is copied into it. After an error, also Ctrl-C, `path` is unchanged.
    Raises RunError when the disk fails, or `path` is a recording.
    """
    temporary: Path | None = None
    try:
        stream = _stream_at(path)
        target = _target_of(path)
        folder = target.parent if stream is None else None
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{path.stem}.", suffix=path.suffix, delete=False) as file:
            temporary = Path(file.name)
        yield temporary
        if stream is not None:
            with temporary.open("rb") as written:
                _pour(written, stream)
        else:
            # Checked again: a recording may have appeared during the run.
            if fault := _measured_fault(target):
                raise RunError(f"{path} {fault}")
            # A temporary file is private; the output gets the permissions of any new file.
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
            temporary = None
    except OSError as error:
        raise RunError(f"{_name_of(path)} cannot be written: {error.strerror or error}; {remedy}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes, remedy: str = MAKE_ROOM) -> None:
    """Replace `path` by `data`, or write into it. Raises RunError, which ends with `remedy`."""
    try:
        stream = _stream_at(path)
        if stream is not None:
            _pour(BytesIO(data), stream)
            return
    except OSError as error:
        raise RunError(f"{_name_of(path)} cannot be written: {error.strerror or error}; {remedy}") from None
    with whole_file(path, remedy) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path | None, tree: dict[str, Any], remedy: str = MAKE_ROOM) -> None:
    """Write `tree` as indented JSON; None: nothing. Raises like `write_atomically`."""
    if path is not None:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(tree), indent=2) + b"\n", remedy)


# --- Checks --------------------------------------------------------------------------------------------------


def _check(path: Path, option: str) -> None:
    """Raise UserError if `path` cannot be written; OSError if it cannot be accessed."""
    stream = _stream_at(path)
    if isinstance(stream, int):
        _check_descriptor(stream, path, option)
        return
    target = _target_of(path)
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder; give the name of a file")
    if not target.parent.exists():
        raise UserError(f"{option} {path}: there is no folder {target.parent}; make it first")
    if not target.parent.is_dir():
        raise UserError(f"{option} {path}: {target.parent} is a file, not a folder; choose another place")
    if stream is not None and not _takes_bytes(path.stat().st_mode):
        raise UserError(f"{option} {path} is neither a file nor a pipe; choose another place")
    has_room = stream is not None or os.access(target.parent, os.W_OK | os.X_OK)
    if not has_room or (path.exists() and not os.access(path, os.W_OK)):
        raise UserError(f"{option} {path} cannot be written; choose a place where you may write")
    if stream is None and (fault := _measured_fault(target)):
        raise UserError(f"{option} {path} {fault}")


def _check_descriptor(descriptor: int, path: Path, option: str) -> None:
    """Raise UserError if the descriptor is not open for writing."""
    try:
        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        mode = os.O_RDONLY
    if mode == os.O_RDONLY or descriptor in standard_streams.closed:
        raise UserError(f"{option} {path}: nothing is open there to be written to; redirect it, or name a file")


def _takes_bytes(mode: int) -> bool:
    """Whether it takes a stream of bytes. Block devices must not be overwritten, and sockets have a protocol."""
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISREG(mode)


def _measured_fault(target: Path) -> str:
    """Why `target`, a regular file or none, must not be replaced; "" if it may be."""
    if not target.is_file():
        return ""
    try:
        with target.open("rb") as file:
            head = file.read(len(_MEASURED_HEADS[0]))
    except OSError:
        return ""  # Not readable, so not known: the user may still write it.
    is_measured = head.startswith(_MEASURED_HEADS)
    return "holds a recording or a journal, which is never overwritten; choose another name" if is_measured else ""


def _target_of(path: Path) -> Path:
    """The target of links, or the path itself if they form a loop."""
    return Path(os.path.realpath(path))


def _place_of(path: Path) -> Hashable:
    """Identifies a file: equal for two paths of one file. None for a device, which any number may write."""
    try:
        stream = _stream_at(path)
        found = os.fstat(stream) if isinstance(stream, int) else path.stat()
    except OSError:
        with suppress(FileNotFoundError):  # The current folder was removed: nothing in it can conflict.
            path = _target_of(path)
        return str(path)
    return None if stat.S_ISCHR(found.st_mode) else (found.st_dev, found.st_ino)


def _stream_at(path: Path) -> _Stream | None:
    """The stream at this path; None for a regular file, a folder, or nothing. Raises OSError."""
    descriptor = _descriptor_at(path)
    if descriptor is not None:
        return descriptor
    if not path.exists() or path.is_dir():
        return None
    if path.is_file() or path.is_fifo():
        # A file that our own output goes to must not be replaced: write into it.
        own = next((number for number in (1, 2) if _is_same(number, path)), None)
        return own if own is not None or path.is_file() else path
    return path


def _descriptor_at(path: Path) -> _Stream | None:
    """The descriptor that `path` names, also through links: a number for this process, a path for another."""
    if path == STANDARD_OUTPUT:
        return 1
    for _ in range(_LINKS_MAX):
        folder = os.path.realpath(path.parent)
        found = _DESCRIPTORS.fullmatch(folder)
        if found and path.name.isdecimal():
            return int(path.name) if int(found[1]) == os.getpid() else _of_another(path)
        if not path.is_symlink():
            return None
        # Step by step, not realpath: /dev/stdout leads to a descriptor, whose target would be opened again.
        path = Path(folder) / path.readlink()
    return None


def _of_another(path: Path) -> _Stream:
    """A descriptor of another process. If we have the same file open, ours has the right position."""
    return next((number for number in (1, 2) if _is_same(number, path)), path)


def _is_same(descriptor: int, other: int | Path) -> bool:
    """Whether both are the same file or pipe."""
    try:
        found = other.stat() if isinstance(other, Path) else os.fstat(other)
        return os.path.samestat(os.fstat(descriptor), found)
    except OSError:
        return False


# --- Streams --------------------------------------------------------------------------------------------------


def _pour(source: BinaryIO, stream: _Stream) -> None:
    """Append all of `source`, after what was printed before. Raises OSError."""
    sys.stdout.flush()
    sys.stderr.flush()
    with os.fdopen(os.dup(stream) if isinstance(stream, int) else _opened(stream), "wb") as target:
        shutil.copyfileobj(source, target)


def _opened(path: Path) -> int:
    """A descriptor that appends to `path`. Raises OSError, also for a pipe without a reader."""
    deadline_ns = clock.now_ns() + READER_WAIT_NS
    while True:
        try:
            # A blocking open could wait forever: signals only set a flag while a run ends.
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno != errno.ENXIO or not path.is_fifo():
                raise
            if clock.now_ns() > deadline_ns:
                raise OSError(errno.ENXIO, "it has no reader") from None
            clock.wait_s(0.05)
        else:
            # Only the open must not block; writing may.
            os.set_blocking(descriptor, True)
            return descriptor


def _name_of(path: Path) -> str:
    return "standard output" if path == STANDARD_OUTPUT else str(path)


def _umask() -> int:
    """The umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
