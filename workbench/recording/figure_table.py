"""One table of a recording's figures, as this file has it: which columns there are, and rows that were checked.

It knows no figure by name. Invariant: a row that is returned is what was written, as its checksum tells; only a file of
version 1 has none. A column that an earlier version did not write is None in every row.
"""

import struct
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from server.journal.sealed_table import Column, Seal
from workbench.recording.database import Database

_UNSEALED = 1
"""The last version of a file whose figures have no checksums."""
_CRC, _ID = "crc", "id"


class FigureTable:
    """Reads one table. Any thread."""

    def __init__(self, database: Database, name: str) -> None:
        """Raises UserError for a file that lacks what its version has."""
        self._database, self._name = database, name
        columns = database.columns(name)
        self._columns = [column for column, _ in columns]
        self._is_sealed = _CRC in self._columns
        if not columns and database.version > _UNSEALED:
            raise database.damaged(f"it has no table {name}")
        if columns and not self._is_sealed and database.version > _UNSEALED:
            raise database.damaged(f"the rows of {name} have no checksums")
        sealed: list[Column] = [column for column in columns if column[0] not in (_CRC, _ID)]
        self._seal = Seal(sealed)
        self._query = f"SELECT {', '.join([column for column, _ in sealed] + [_CRC] * self._is_sealed)} FROM {name}"

    def rows(self, names: Sequence[str], tail: str = "", values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The values of these columns, two at least. `tail`: the query's conditions and order.

        Raises UserError where a row is not what was written.
        """
        if not self._columns:
            return []
        order = [column for column in self._columns if column not in (_CRC, _ID)]
        places = [order.index(name) if name in order else -1 for name in names]
        pick = itemgetter(*places)
        return [pick((*row, None)) for row in self._checked(tail, values)]

    # --- Inside ---

    def _checked(self, tail: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """The rows without their checksums, once these are found right."""
        for row in self._database.rows(f"{self._query} {tail}", values):
            if not self._is_sealed:
                yield row
                continue
            try:
                is_right = self._seal.of(row[:-1]) == row[-1]
            except (TypeError, ValueError, struct.error):
                is_right = False
            if not is_right:
                raise self._database.damaged(f"row {row[0]} of {self._name} is not what was written")
            yield row[:-1]
