"""Exports of one small recording, for tests that read the files."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support import recorded
from workbench.export.command import ExportOptions, export_recording

TICKS = 12
SIZE = (71, 51)
CREATED_NS = 1_767_323_045 * 10**9
"""2026-01-02T03:04:05Z, as in `recorded`."""
USUAL = ExportOptions()
Canvases = dict[int, NDArray[np.uint8]]


def make_source(folder: Path) -> Canvases:
    """Make a small recording in `folder`. Returns the canvas after each tick."""
    path = source_in(folder)
    path.parent.mkdir()
    (folder / "out").mkdir()
    return recorded.make(path, TICKS, size=SIZE)


def source_in(folder: Path) -> Path:
    """The path of the recording."""
    return folder / "in" / "a.pxr"


def change(path: Path, query: str, *values: Any) -> None:
    """Change a recording by an SQL statement."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute(query, values)


def export(folder: Path, ending: str, options: ExportOptions = USUAL) -> Path:
    """Export the recording. Returns the file, which is alone in its folder."""
    target = folder / "out" / f"b{ending}"
    assert export_recording(source_in(folder), target, options) == 0
    assert list(target.parent.iterdir()) == [target]
    return target
