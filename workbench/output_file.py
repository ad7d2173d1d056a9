"""Files that a run leaves behind: checked before it begins, written whole or not at all.

Invariant: a reader of the file never sees a half of it.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from workbench.errors import RunError, UserError


def require_writable(path: Path | None, option: str) -> None:
    """Raise UserError when `path`, given as `option`, could not be written later. None is fine."""
    if path is None:
        return
    folder = path.parent
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder; give the name of a file")
    if not folder.exists():
        raise UserError(f"{option} {path}: there is no folder {folder}; make it first")
    if not folder.is_dir():
        raise UserError(f"{option} {path}: {folder} is a file, not a folder; choose another place")
    if not os.access(folder, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise UserError(f"{option} {path} cannot be written; choose a place where you may write")


@contextmanager
def whole_file(path: Path, remedy: str = "make room, or choose another place") -> Iterator[Path]:
    """A file beside `path`, of the same suffix, to be written by name. When all went well it takes its place.

    After an error, Ctrl-C included, it is gone and `path` is as it was. Raises RunError when the disk refuses.
    """
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix, delete=False
        ) as file:
            temporary = Path(file.name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}; {remedy}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` beside `path` and put it in its place. Raises RunError when the disk refuses."""
    with whole_file(path, "the run itself has ended in order") as temporary:
        temporary.write_bytes(data)


def write_json(path: Path | None, tree: dict[str, Any]) -> None:
    """Write `tree`, indented for people, where a file was asked for. Raises RunError when the disk refuses."""
    if path is not None:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(tree), indent=2) + b"\n")


def _umask() -> int:
    """The mask of new files' permissions, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
