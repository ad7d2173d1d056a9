"""What became of those who misbehave, by kind: counters on a page that their process alone writes.

Invariant: counts only grow, but for `connection_count`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.hostile.config import KINDS
from server.ipc.page import type_of_section

CODES = (400, 408, 426, 431, 503, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1013)
"""HTTP statuses and close codes that are counted each for itself; after them comes one place for all others."""

HOSTILE = np.dtype(
    [
        ("connection_count", "i8"),  # Sockets open now.
        ("opened_count", "i8"),  # Connections that TCP opened.
        ("upgraded_count", "i8"),  # Of these, let in: they had their HELLO.
        ("failed_count", "i8"),  # Dials that TCP did not open.
        ("left_count", "i8"),  # Connections that the client ended itself.
        ("dropped_count", "i8"),  # Connections that the server ended without a word: a reset.
        ("sent_bytes", "i8"),
        ("received_bytes", "i8"),
        ("placed_count", "i8"),  # Placements in the messages that were sent.
        ("throttled_count", "i8"),  # Of these, dropped for rate or bounds, as THROTTLED told.
        ("code_count", "i8", (len(CODES) + 1,)),  # Connections that the server ended with this status or code.
    ],
    align=True,
)
HOSTILE_SAMPLE = np.dtype(
    [
        ("sent_bytes", "i8"),  # Since the start.
        ("connection_count", "u4"),  # Open now.
        ("opened_count", "u4"),
        ("ended_count", "u4"),  # Connections that the server ended,
        ("codes", "u2", (2,)),  # and the HTTP statuses or close codes of most of these; 0: none.
    ],
    align=True,
)
"""What a sample of the history holds of one kind."""
HOSTILE_RESET, HOSTILE_OTHER = 1, 2
"""Instead of a status or close code: reset by the server, and closed with a code that has no counter of its own."""
_ENDS = np.array([HOSTILE_RESET, *CODES, HOSTILE_OTHER], HOSTILE_SAMPLE["codes"].base)
"""What `dropped_count` and then each of `code_count` is the count of, in a sample."""
PROCESS = np.dtype([("state", "i8"), ("cpu_ns", "i8"), ("resident_bytes", "i8")], align=True)


def hostile_sections() -> dict[str, type_of_section]:
    """Sections of the page: a row for each of `KINDS`, and one of the process that misbehaves."""
    return {"hostile": (HOSTILE, (len(KINDS),)), "process": (PROCESS, (1,))}


def count_end(row: NDArray[Any] | np.void, code: int) -> None:
    """The server ended a connection with this status or close code; 0: without one."""
    if code:
        row["code_count"][CODES.index(code) if code in CODES else len(CODES)] += 1
    else:
        row["dropped_count"] += 1


def hostile_sample(rows: NDArray[Any]) -> NDArray[Any]:
    """The counters as a sample has them. Shape (len(KINDS),), dtype HOSTILE_SAMPLE; `rows` likewise, dtype HOSTILE."""
    sample = np.zeros(len(rows), HOSTILE_SAMPLE)
    ends = np.column_stack([rows["dropped_count"], rows["code_count"]])
    order = np.argsort(-ends, axis=1, kind="stable")[:, : sample["codes"].shape[1]]
    sample["codes"] = np.where(np.take_along_axis(ends, order, 1) > 0, _ENDS[order], 0)
    sample["ended_count"] = ends.sum(axis=1)
    for name in ("connection_count", "opened_count", "sent_bytes"):
        sample[name] = rows[name]
    return sample


def by_kind(rows: NDArray[Any]) -> dict[str, dict[str, Any]]:
    """The counters as plain figures, of the kinds that were there; `closed_by_server` by code, where not 0."""
    figures: dict[str, dict[str, Any]] = {}
    labels = [*map(str, CODES), "other"]
    for kind, row in zip(KINDS, rows, strict=True):
        if row["opened_count"] or row["failed_count"]:
            plain = {name: int(row[name]) for name in HOSTILE.names or () if name != "code_count"}
            counts = zip(labels, row["code_count"].tolist(), strict=True)
            figures[kind] = plain | {"closed_by_server": {label: count for label, count in counts if count}}
    return figures
