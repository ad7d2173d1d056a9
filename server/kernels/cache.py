"""Where compiled kernels are kept between runs. Imports no compiler, so that anyone may look without waiting for one.

A file holds one kernel for one signature and one processor:

    OFFSET  SIZE  FIELD    MEANING
         0    32  digest   SHA-256 over the file's name and the payload
        32        payload  what the compiler made
"""

import errno
import hashlib
import os
import stat
import sysconfig
import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

_ROOT = Path(__file__).parents[2]
# Everything that a kernel is compiled from: a constant becomes part of the machine code.
_SOURCES = ("server/kernels/*.py", "devices/kernels/*.py", "server/wire.py", "server/palette.py")
_COMPILER = ("numba", "llvmlite", "numpy")
_SUFFIX = ".kernel"
_DIGEST_BYTES = 32
_NAME_CHARACTERS_MAX = 100
REMEDY = "set NUMBA_CACHE_DIR to a folder that can be written"


@dataclass(frozen=True, slots=True)
class Place:
    """Where compiled kernels are kept. Without a folder, each process compiles its own."""

    folder: Path | None
    fault: str = ""
    """One line for a person where the first choice cannot be used; else ""."""


def find_place() -> Place:
    """In NUMBA_CACHE_DIR, else the user's cache, else a temporary folder: the first that is of use. Makes it."""
    name, fault = f"kernels-{_digest()}", ""
    for parent in (_chosen, _user_cache, _temporary):
        try:
            if (base := parent()) is None:
                continue
            folder = base / name
            folder.mkdir(parents=True, exist_ok=True)
            if not _is_of_use(folder):
                raise _denied(folder, "it cannot be written")
        except OSError as error:
            fault = fault or f"{error.filename}: {error.strerror}"
            continue
        return Place(folder, f"{fault}; compiled kernels are kept in {folder}" if fault else "")
    return Place(None, f"{fault}; compiled kernels cannot be kept, so each start compiles them: {REMEDY}")


def compiled_count(folder: Path) -> int:
    """Kernels that `folder` holds in compiled form, for any processor."""
    return sum(1 for _ in folder.glob(f"*{_SUFFIX}"))


class Store:
    """Compiled kernels by name. A fault in the files is only noted, because the kernels can be compiled."""

    def __init__(self, place: Place) -> None:
        self._folder = place.folder
        self._noted: list[str] = []
        self._untold: list[str] = []
        self._note(place.fault)

    def load(self, name: str) -> bytes | None:
        """What was saved under this name; None when there is nothing, or nothing that can be trusted."""
        if self._folder is None:
            return None
        path = self._path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            self.note_damage()
            return None
        # Damaged machine code ends the process or computes something else; so would another kernel under this name.
        digest, payload = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if digest != _seal(path, payload):
            self.note_damage()
            return None
        return payload

    def save(self, name: str, payload: bytes) -> None:
        """Keep this under the name. Others that save or load at the same time see a whole file, old or new."""
        if self._folder is None:
            return
        path, written = self._path(name), self._folder / f"saving-{uuid.uuid4().hex}"
        try:
            written.write_bytes(_seal(path, payload) + payload)
            written.replace(path)
        except OSError as error:
            with suppress(OSError):
                written.unlink()
            self._note(f"compiled kernels cannot be kept in {self._folder}: {error.strerror}; make room, or {REMEDY}")

    def note_damage(self) -> None:
        """A file is there, and cannot be used."""
        self._note(f"some compiled kernels in {self._folder} are damaged or cannot be read; they are compiled again")

    def take_notes(self) -> list[str]:
        """What was found wrong since the last time: one line for each kind of fault, once per process."""
        notes, self._untold = self._untold, []
        return notes

    def _note(self, text: str) -> None:
        if text and text not in self._noted:
            self._noted.append(text)
            self._untold.append(text)

    def _path(self, name: str) -> Path:
        """A readable beginning, and a digest of all of the name."""
        assert self._folder is not None
        readable = name.partition(" ")[0][:_NAME_CHARACTERS_MAX]
        return self._folder / f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:24]}{_SUFFIX}"


def _seal(path: Path, payload: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + b"\0" + payload).digest()


def _digest(root: Path = _ROOT) -> str:
    """A digest of all kernel sources, the compiler's version and the interpreter's, 16 hexadecimal digits."""
    # NUMBA_BOUNDSCHECK makes other machine code of the same sources; see `kernel`.
    checks = os.environ.get("NUMBA_BOUNDSCHECK", "0")
    tools = [sysconfig.get_config_var("SOABI"), checks, *(f"{package} {version(package)}" for package in _COMPILER)]
    digest = hashlib.sha256("\n".join(map(str, tools)).encode())
    for sources in _SOURCES:
        for path in sorted(root.glob(sources)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _chosen() -> Path | None:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    return Path(chosen) if chosen else None


def _user_cache() -> Path:
    chosen = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(chosen or Path.home() / ".cache") / "pixel-canvas"
    except RuntimeError:
        raise FileNotFoundError(errno.ENOENT, "no home folder is known", "HOME") from None


def _temporary() -> Path:
    """In the temporary folder, which others write to as well: what they made there is never loaded."""
    folder = Path(tempfile.gettempdir()) / f"pixel-canvas-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & stat.S_IWOTH:
        raise _denied(folder, "other users can write it")
    return folder / "pixel-canvas"


def _is_of_use(folder: Path) -> bool:
    """It can be written, or holds kernels already, as in the image of a container."""
    return os.access(folder, os.R_OK | os.X_OK) and (os.access(folder, os.W_OK) or compiled_count(folder) > 0)


def _denied(folder: Path, why: str) -> PermissionError:
    return PermissionError(errno.EACCES, why, str(folder))
