"""The tables of an excerpt as named columns: the one shape from which each table format is written.

It writes nothing. Invariant: all columns of a table are equally long; times come first, and what is not known is NaN.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import UserError
from workbench.export.excerpt import Excerpt
from workbench.recording.schema import SAMPLE_COLUMNS, STAGE_COLUMNS, TICK_LOG_COLUMNS

Table = Mapping[str, NDArray[Any]]
"""Names to columns, shape (n,); `latency_counts` has shape (n, LATENCY_BANDS)."""


def _times(excerpt: Excerpt, time_ns: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """A row's time since the recording's beginning, of the day in UTC, and on the run's own clock."""
    return {
        "time_s": (time_ns - excerpt.recording.first_ns) / 1e9,
        "time_utc": (time_ns + excerpt.utc_ns(0)).astype("datetime64[ns]"),
        "time_ns": time_ns,
    }


def _samples(excerpt: Excerpt) -> Table:
    rows = excerpt.recording.samples(excerpt.after_ns, excerpt.to_ns)
    figures = {name: rows[name] for name in (*SAMPLE_COLUMNS, "latency_counts")}
    return _times(excerpt, rows["time_ns"]) | figures


def _stages(excerpt: Excerpt) -> Table:
    rows = excerpt.recording.stage_samples(excerpt.after_ns, excerpt.to_ns)
    return _times(excerpt, rows["time_ns"]) | {name: rows[name] for name in rows.dtype.names or () if name != "time_ns"}


def _ticks(excerpt: Excerpt) -> Table:
    rows = excerpt.recording.tick_log(excerpt.after_ns, excerpt.to_ns)
    peaks = {f"depth_peak_{stage}": rows["depth_peak"][:, index] for index, stage in enumerate(STAGE_COLUMNS)}
    figures = {name: rows[name] for name in TICK_LOG_COLUMNS if name != "start_ns" and name not in peaks}
    return _times(excerpt, rows["start_ns"]) | figures | peaks


def _markers(excerpt: Excerpt) -> Table:
    rows = [marker for marker in excerpt.recording.markers() if excerpt.holds(marker.time_ns)]
    words = {name: np.array([getattr(row, name) for row in rows], np.str_) for name in ("kind", "text")}
    return _times(excerpt, np.array([row.time_ns for row in rows], np.int64)) | words


_TABLES: dict[str, Callable[[Excerpt], Table]] = {
    "samples": _samples,
    "stages": _stages,
    "ticks": _ticks,
    "markers": _markers,
}
TABLE_NAMES = tuple(_TABLES)


def require_table(name: str) -> None:
    """Raise UserError when there is no such table."""
    if name not in _TABLES:
        raise UserError(f"--table is {name!r}; it must be one of {', '.join(TABLE_NAMES)}")


def table_of(excerpt: Excerpt, name: str) -> Table:
    """A table of the excerpt. Raises UserError where the recording is damaged."""
    return _TABLES[name](excerpt)


def row_count(table: Table) -> int:
    """Rows of it."""
    return len(table["time_ns"])
