"""Where compiled kernels are kept between runs. Imports no compiler, so that anyone may look without waiting for one.

Invariant: a folder belongs to one set of kernel sources and one version of numba. Changed sources get a folder of
their own, because numba looks only at a kernel's own file, not at the files it calls into.
"""

import hashlib
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

_SOURCES = ("server", "devices")


def _source_digest() -> str:
    """A digest of all kernel sources and the compiler's version, 16 hexadecimal digits."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256(version("numba").encode())
    for package in _SOURCES:
        for path in sorted((root / package / "kernels").glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where compiled kernels are kept: in NUMBA_CACHE_DIR, else the user's cache, else a temporary folder.

    Makes the folder. Raises OSError when no place can be written to.
    """
    name = f"kernels-{_source_digest()}"
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        folder = Path(chosen) / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for parent in (base, Path(tempfile.gettempdir()) / f"pixel-canvas-{os.getuid()}"):
        folder = parent / "pixel-canvas" / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue  # A read-only or missing home: the next place will do.
        if os.access(folder, os.W_OK):
            return folder
    raise OSError(f"no folder to keep compiled kernels in: tried {base} and the temporary folder; set NUMBA_CACHE_DIR")


def compiled_count(folder: Path) -> int:
    """Kernels that `folder` holds in compiled form: numba writes one index file for each."""
    return sum(1 for _ in folder.rglob("*.nbi"))
