"""Outcomes of hostile clients by kind: counters on a page that only their process writes.

Counts only grow, except `connection_count`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.hostile.config import KINDS
from server.ipc.page import Section

# HTTP statuses and close codes with a counter each; one counter for all others follows.
CODES = (400, 408, 426, 431, 503, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1013)

HOSTILE = np.dtype(
    [
        ("connection_count", "i8"),  # Open now.
        ("opened_count", "i8"),  # Connections opened by TCP.
        ("upgraded_count", "i8"),  # Of these, those that received HELLO.
        ("failed_count", "i8"),  # Connects that failed.
        ("left_count", "i8"),  # Ended by the client.
        ("dropped_count", "i8"),  # Ended by the server without status or code: a reset.
        ("sent_bytes", "i8"),
        ("received_bytes", "i8"),
        ("placed_count", "i8"),  # Placements in the messages sent.
        ("throttled_count", "i8"),  # Of these, dropped for rate or bounds, according to THROTTLED.
        ("code_count", "i8", (len(CODES) + 1,)),  # Ended by the server with this status or code.
    ],
    align=True,
)
# One kind in a sample of the history.
HOSTILE_SAMPLE = np.dtype(
    [
        ("sent_bytes", "i8"),  # Since the start.
        ("connection_count", "u4"),  # Open now.
        ("opened_count", "u4"),
        ("ended_count", "u4"),  # Ended by the server,
        ("codes", "u2", (2,)),  # and their two most frequent HTTP statuses or close codes; 0: none.
    ],
    align=True,
)
# In place of a code: reset by the server, and closed with a code that has no counter of its own.
HOSTILE_RESET, HOSTILE_OTHER = 1, 2
# The codes that a sample uses for `dropped_count` and then each of `code_count`.
_ENDS = np.array([HOSTILE_RESET, *CODES, HOSTILE_OTHER], HOSTILE_SAMPLE["codes"].base)
PROCESS = np.dtype([("state", "i8"), ("cpu_ns", "i8"), ("resident_bytes", "i8")], align=True)


def hostile_sections() -> dict[str, Section]:
    """Sections of the page: a row for each of `KINDS`, and one for the process."""
    return {"hostile": (HOSTILE, (len(KINDS),)), "process": (PROCESS, (1,))}


def count_end(row: NDArray[Any] | np.void, code: int) -> None:
    """Count a connection that the server ended with this status or close code; 0: without one."""
    if code:
        row["code_count"][CODES.index(code) if code in CODES else len(CODES)] += 1
    else:
        row["dropped_count"] += 1


def hostile_sample(rows: NDArray[Any]) -> NDArray[Any]:
    """The counters as in a sample: shape (len(KINDS),), dtype HOSTILE_SAMPLE; `rows` likewise, dtype HOSTILE."""
    sample = np.zeros(len(rows), HOSTILE_SAMPLE)
    ends = np.column_stack([rows["dropped_count"], rows["code_count"]])
    order = np.argsort(-ends, axis=1, kind="stable")[:, : sample["codes"].shape[1]]
    sample["codes"] = np.where(np.take_along_axis(ends, order, 1) > 0, _ENDS[order], 0)
    sample["ended_count"] = ends.sum(axis=1)
    for name in ("connection_count", "opened_count", "sent_bytes"):
        sample[name] = rows[name]
    return sample


def by_kind(rows: NDArray[Any]) -> dict[str, dict[str, Any]]:
    """The counters as plain numbers, for kinds with any connection; `closed_by_server` by code, where not 0."""
    figures: dict[str, dict[str, Any]] = {}
    labels = [*map(str, CODES), "other"]
    for kind, row in zip(KINDS, rows, strict=True):
        if row["opened_count"] or row["failed_count"]:
            plain = {name: int(row[name]) for name in HOSTILE.names or () if name != "code_count"}
            counts = zip(labels, row["code_count"].tolist(), strict=True)
            figures[kind] = plain | {"closed_by_server": {label: count for label, count in counts if count}}
    return figures
