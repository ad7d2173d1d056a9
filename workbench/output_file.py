"""Files that a run leaves behind: checked before it begins, written whole or not at all.

What is there already and is no file, a device or a pipe, is written into: nothing ever takes its place.
Invariant: a reader of a file never sees a half of it.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from workbench.errors import RunError, UserError

MAKE_ROOM = "make room, or choose another place"
"""What a message about a full disk ends with, unless there is more to say."""


def require_writable(path: Path | None, option: str) -> None:
    """Raise UserError when `path`, given as `option`, could not be written later. None is fine."""
    if path is None:
        return
    try:
        _look_at(path, option)
    except OSError as error:
        raise UserError(f"{option} {path} cannot be looked at: {error.strerror}; choose another place") from None


def require_other(path: Path | None, option: str, sources: Iterable[Path]) -> None:
    """Raise UserError when `path`, given as `option` and writable, is one of the recordings that are read."""
    if path is None or not path.exists():
        return
    for source in sources:
        with suppress(OSError):  # What cannot be looked at is another file, and is refused when it is opened.
            if path.samefile(source):
                raise UserError(f"{option} {path} is one of the recordings; choose another name")


def _look_at(path: Path, option: str) -> None:
    """Raise UserError when what is at `path` and around it cannot be written; OSError when nobody may look there."""
    folder = _target_of(path).parent
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder; give the name of a file")
    if not folder.exists():
        raise UserError(f"{option} {path}: there is no folder {folder}; make it first")
    if not folder.is_dir():
        raise UserError(f"{option} {path}: {folder} is a file, not a folder; choose another place")
    has_room = _is_stream(path) or os.access(folder, os.W_OK | os.X_OK)
    if not has_room or (path.exists() and not os.access(path, os.W_OK)):
        raise UserError(f"{option} {path} cannot be written; choose a place where you may write")


@contextmanager
def whole_file(path: Path, remedy: str = MAKE_ROOM) -> Iterator[Path]:
    """A file beside `path`, of the same suffix, to be written by name. When all went well it takes its place.

    Where `path` is a link, it takes the place of what that leads to. After an error, Ctrl-C included, it is gone and
    `path` is as it was. Raises RunError when the disk refuses.
    """
    temporary: Path | None = None
    target = _target_of(path)
    folder = None if _is_stream(path) else target.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{path.stem}.", suffix=path.suffix, delete=False) as file:
            temporary = Path(file.name)
        yield temporary
        if folder is None:
            _pour(temporary, path)
        else:
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
            temporary = None
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}; {remedy}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes, remedy: str = MAKE_ROOM) -> None:
    """Write `data` beside `path` and put it in its place. Raises RunError, with `remedy` at its end."""
    with whole_file(path, remedy) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path | None, tree: dict[str, Any], remedy: str = MAKE_ROOM) -> None:
    """Write `tree`, indented for people, where a file was asked for. Raises as `write_atomically`."""
    if path is not None:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(tree), indent=2) + b"\n", remedy)


def _target_of(path: Path) -> Path:
    """What links lead to; where they lead in a circle, the path itself."""
    return Path(os.path.realpath(path))


def _is_stream(path: Path) -> bool:
    """Whether something is there that is neither file nor folder, like /dev/null or a pipe."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _pour(source: Path, target: Path) -> None:
    with source.open("rb") as written, target.open("wb") as stream:
        shutil.copyfileobj(written, stream)


def _umask() -> int:
    """The mask of new files' permissions, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
