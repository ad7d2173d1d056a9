"""A table whose rows hold a checksum: a flipped bit makes a row that is known as damaged, not a wrong figure.

It opens no file. Invariants: the names of the columns are part of the checksum, and NULL is another value than 0 or an
empty text; `crc` is a row's last column.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

Column = tuple[str, str]
"""A column's name and its type: INTEGER, REAL, TEXT or BLOB."""

_NAN = float("nan")


class Seal:
    """The checksums of one table's rows. `columns`: all that are sealed, in the table's order."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._start = zlib.crc32(",".join(name for name, _ in columns).encode())
        self._is_real = tuple(kind == "REAL" for _, kind in columns)
        self._numbers = struct.Struct("<" + "".join("d" if is_real else "q" for is_real in self._is_real))
        self._bytes_at = tuple(index for index, (_, kind) in enumerate(columns) if kind in ("TEXT", "BLOB"))

    def of(self, row: Sequence[Any]) -> int:
        """CRC-32 of the names joined by commas, a number a column, and the texts and blobs.

        A number is 8 bytes, little-endian: an integer, or a double where the column is REAL, NULL as NaN; of a text or
        blob the number is its length, -1 for NULL. Raises TypeError, ValueError or struct.error for values of another
        type.
        """
        # SQLite keeps no sign of a zero, which the addition takes away here too.
        values = [(_NAN if value is None else value + 0.0) if is_real else value
                  for value, is_real in zip(row, self._is_real, strict=True)]  # fmt: skip
        parts = [_replaced_by_length(values, index) for index in self._bytes_at]
        crc = zlib.crc32(self._numbers.pack(*values), self._start)
        return zlib.crc32(b"".join(parts), crc)


class SealedTable:
    """One table. `keys`: the columns that are its primary key; without any its rows are numbered by `id`."""

    def __init__(self, name: str, keys: Sequence[str], columns: Sequence[Column]) -> None:
        names = [column for column, _ in columns]
        typed = [f"{column} {kind}" for column, kind in columns]
        head = [] if keys else ["id INTEGER PRIMARY KEY"]
        tail = [f"PRIMARY KEY ({', '.join(keys)})"] if keys else []
        suffix = " WITHOUT ROWID" if len(keys) > 1 else ""
        self.create = f"CREATE TABLE {name} ({', '.join([*head, *typed, 'crc INTEGER', *tail])}){suffix}"
        """The statement that makes it."""
        places = ", ".join("?" * (len(columns) + 1))
        self.add = f"INSERT INTO {name} ({', '.join([*names, 'crc'])}) VALUES ({places})"
        """The statement that adds what `row` returns."""
        self._seal = Seal(columns)

    def row(self, *values: Any) -> tuple[Any, ...]:
        """A row of all columns: these values and their checksum."""
        return (*values, self._seal.of(values))


def _replaced_by_length(values: list[Any], index: int) -> bytes:
    """Take a text's or blob's bytes, and leave their length in their place."""
    value = values[index]
    data: bytes = value.encode() if isinstance(value, str) else b"" if value is None else value
    values[index] = -1 if value is None else len(data)
    return data
