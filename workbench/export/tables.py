"""The tables of an excerpt as named columns, and their files: CSV and Parquet.

All columns of a table have the same length. Times come first. Unknown values are NaN here, empty in CSV and null in
Parquet.
"""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import UserError
from workbench.export.excerpt import Excerpt
from workbench.output_file import whole_file
from workbench.recording.schema import SAMPLE_COLUMNS, STAGE_COLUMNS, TICK_LOG_COLUMNS

# Columns by name, shape (n,); `latency_counts` has shape (n, LATENCY_BANDS).
Table = Mapping[str, NDArray[Any]]


def _times(excerpt: Excerpt, time_ns: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The time of each row: since the recording's start, in UTC, and on the run's clock."""
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
    """Raise UserError when there is no table with this name."""
    if name not in _TABLES:
        raise UserError(f"--table is {name!r}; it must be one of {', '.join(TABLE_NAMES)}")


def table_of(excerpt: Excerpt, name: str) -> Table:
    """A table of the excerpt. Raises UserError where the recording is damaged."""
    return _TABLES[name](excerpt)


def row_count(table: Table) -> int:
    """Number of rows."""
    return len(table["time_ns"])


def write_csv(path: Path, table: Table, _facts: Mapping[str, str]) -> None:
    """Write a table in UTF-8, without facts. A column with several values per row becomes several columns."""
    flat: dict[str, NDArray[Any]] = {}
    for name, column in table.items():
        flat |= {name: column} if column.ndim == 1 else {f"{name}_{i}": part for i, part in enumerate(column.T)}
    with whole_file(path) as target, target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(flat)
        writer.writerows(zip(*(_texts(column) for column in flat.values()), strict=True))


def _texts(column: NDArray[Any]) -> list[str]:
    if column.dtype.kind == "M":
        return [f"{text}Z" for text in np.datetime_as_string(column, "us")]
    # numpy writes the shortest digits that give the same float32 again; Python's float would write nine more.
    texts: list[str] = column.astype(np.str_).tolist()
    return ["" if text == "nan" else text for text in texts] if column.dtype.kind == "f" else texts


def write_parquet(path: Path, table: Table, facts: Mapping[str, str]) -> None:
    """Write a table, zstd-compressed. `facts` become metadata with keys under "pixelcanvas.". Raises RunError."""
    import pyarrow as pa  # Optional, and slow to import.
    import pyarrow.parquet as pq

    columns = {name: _arrow_column(column) for name, column in table.items()}
    metadata = {f"pixelcanvas.{key}": value for key, value in facts.items()}
    # Opened here, because pyarrow takes a path such as "a:b.parquet" for a URL.
    with whole_file(path) as target, target.open("wb") as file:
        pq.write_table(pa.table(columns, metadata=metadata), file, compression="zstd")


def _arrow_column(column: NDArray[Any]) -> Any:
    import pyarrow as pa

    if column.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(column.ravel()), column.shape[1])
    if column.dtype.kind == "M":
        return pa.array(column, pa.timestamp("ns", "UTC"))
    if column.dtype.kind == "U":
        return pa.array(column.tolist(), pa.string())
    return pa.array(column, from_pandas=True)  # NaN becomes null.
