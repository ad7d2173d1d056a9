"""A table as CSV: a head of names, then a line a row, as any spreadsheet takes it.

Invariant: a number is written with as many figures as it takes to read the same one back; what is not known is empty.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.export.table import Table
from workbench.output_file import whole_file


def write_csv(path: Path, table: Table) -> None:
    """Write it in UTF-8. A column of several values a row becomes a column each. Raises RunError."""
    names, columns = [], []
    for name, column in table.items():
        if column.ndim == 1:
            names.append(name)
            columns.append(_words(column))
        else:
            names += [f"{name}_{index}" for index in range(column.shape[1])]
            columns += [_words(column[:, index]) for index in range(column.shape[1])]
    with whole_file(path) as target, target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(zip(*columns, strict=True))


def _words(column: NDArray[Any]) -> list[str]:
    if column.dtype.kind == "M":
        return [f"{word}Z" for word in np.datetime_as_string(column, "us")]
    words: list[str] = column.astype(np.str_).tolist()
    return ["" if word == "nan" else word for word in words] if column.dtype.kind == "f" else words
