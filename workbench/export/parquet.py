"""A table as Parquet, with the recording's facts beside it: the only module that imports `pyarrow`.

Invariant: every column keeps its type, and what is not known is null.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from workbench.export.table import Table
from workbench.output_file import whole_file


def write_parquet(path: Path, table: Table, facts: Mapping[str, str]) -> None:
    """Write it, zstd. `facts` become the file's metadata, each under "pixelcanvas." and its key. Raises RunError."""
    columns = {name: _column(column) for name, column in table.items()}
    metadata = {f"pixelcanvas.{key}": value for key, value in facts.items()}
    with whole_file(path) as target:
        pq.write_table(pa.table(columns, metadata=metadata), target, compression="zstd")


def _column(column: NDArray[Any]) -> Any:
    if column.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(column.ravel()), column.shape[1])
    if column.dtype.kind == "M":
        return pa.array(column, pa.timestamp("ns", "UTC"))
    if column.dtype.kind == "U":
        return pa.array(column.tolist(), pa.string())
    return pa.array(column, from_pandas=True)  # NaN becomes null.
