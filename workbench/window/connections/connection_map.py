"""All connections as cells: which there are, how each does, and where its cell is. It draws nothing.

Invariant: a connection keeps its place while others come and go, as long as their number fits the cells; a rate is
told only of a connection that was there at both ends of its span.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.kernels.layout import Phase
from workbench.window.toolkit import ramp

READ_INTERVAL_NS = 250_000_000
SPAN_NS = 1_000_000_000
NOBODY = -1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The open connections at a moment, in the order of loop and slot: arrays of one length."""

    time_ns: int
    slot: NDArray[np.int64]
    """Index into the flat connections page."""
    number: NDArray[np.int64]
    """NOBODY where the slot was given on while it was looked at."""
    phase: NDArray[np.uint8]
    watches: NDArray[np.bool_]
    cursor: NDArray[np.int64]
    admitted: NDArray[np.int64]
    dropped: NDArray[np.int64]
    opened_ns: NDArray[np.int64]


def take_snapshot(connections: NDArray[Any], now_ns: int) -> Snapshot:
    """Look at all connections once. `connections`: CONNECTION, shape (loops, slots). O(slots)."""
    flat = connections.reshape(-1)
    slot = np.flatnonzero(flat["phase"])  # FREE is 0.
    # Column by column: whole records would be copied one by one, at many times the cost.
    number = flat["number"][slot]
    dropped = sum(flat[name][slot] for name in ("throttled_count", "shed_count", "out_of_bounds_count"))
    snapshot = Snapshot(
        now_ns,
        slot,
        number,
        flat["phase"][slot],
        flat["subscribed"][slot] == 1,
        flat["cursor"][slot],
        flat["admitted_count"][slot],
        np.asarray(dropped),
        flat["opened_ns"][slot],
    )
    # What was read of a slot that another connection got meanwhile is of neither.
    return replace(snapshot, number=np.where(flat["number"][slot] == number, number, NOBODY))


class Snapshots:
    """The snapshots of the last second, four a second."""

    def __init__(self) -> None:
        self._kept: deque[Snapshot] = deque()

    @property
    def newest(self) -> Snapshot | None:
        """As of the last `read`."""
        return self._kept[-1] if self._kept else None

    def read(self, connections: NDArray[Any], now_ns: int) -> bool:
        """Take a snapshot when one is due. True then."""
        if self._kept and 0 <= now_ns - self._kept[-1].time_ns < READ_INTERVAL_NS:
            return False
        self._kept.append(take_snapshot(connections, now_ns))
        while len(self._kept) > 2 and now_ns - self._kept[1].time_ns >= SPAN_NS:
            self._kept.popleft()
        return True

    def per_second(self, name: str) -> NDArray[np.float64]:
        """How fast `admitted` or `dropped` of each connection grew over the last second; NaN where it is new."""
        newest = self._kept[-1]
        rates = np.full(len(newest.slot), np.nan)
        oldest = self._kept[0]
        if oldest is newest or not len(oldest.slot):
            return rates
        place = np.minimum(np.searchsorted(oldest.slot, newest.slot), len(oldest.slot) - 1)
        same = (oldest.slot[place] == newest.slot) & (oldest.number[place] == newest.number)
        same &= newest.number != NOBODY
        grown = (getattr(newest, name) - getattr(oldest, name)[place])[same]
        rates[same] = grown * (1e9 / (newest.time_ns - oldest.time_ns))
        return rates


@dataclass(frozen=True, slots=True)
class Grid:
    """Square cells in rows."""

    columns: int
    rows: int
    side: int
    """Pixels of a cell, the gap to the next included."""

    @property
    def gap(self) -> int:
        """Pixels between cells: none where they are small."""
        return 1 if self.side >= 4 else 0

    def index_at(self, x: int, y: int) -> int | None:
        """The cell at a point of the map; None beside all of them."""
        column, row = x // self.side, y // self.side
        inside = 0 <= column < self.columns and 0 <= row < self.rows
        return row * self.columns + column if inside else None

    def corner(self, index: int) -> tuple[int, int]:
        """Where a cell begins."""
        return index % self.columns * self.side, index // self.columns * self.side


def grid_for(count: int, width: int, height: int, side_max: int) -> Grid:
    """The largest cells of which `count` fit into so many pixels; one pixel to `side_max` each."""
    for side in range(side_max, 0, -1):
        columns, rows = width // side, height // side
        if columns * rows >= count:
            return Grid(max(1, columns), max(1, rows), side)
    return Grid(max(1, width), max(1, height), 1)


def paint_cells(levels: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """The map as levels, shape (rows x side, columns x side): cell by cell in reading order, `ramp.LEVEL_NOBODY`
    between and beside them."""
    cells = np.full(grid.columns * grid.rows, ramp.LEVEL_NOBODY, np.uint8)
    count = min(len(levels), len(cells))
    cells[:count] = levels[:count]
    board = cells.reshape(grid.rows, grid.columns)
    picture = board.repeat(grid.side, axis=0).repeat(grid.side, axis=1)
    if grid.gap:
        picture[grid.side - 1 :: grid.side, :] = ramp.LEVEL_NOBODY
        picture[:, grid.side - 1 :: grid.side] = ramp.LEVEL_NOBODY
    return picture


def values_of(name: str, snapshots: Snapshots, tick: int) -> NDArray[np.float64]:
    """What the map shows of each open connection: "lag" in ticks, "rate" or "drops" a second, "age" in seconds.

    NaN where there is none: the lag of one that watches nothing, the rate of one that has just come.
    """
    newest = snapshots.newest
    assert newest is not None
    if name == "lag":
        return np.where(newest.watches, np.maximum(tick - newest.cursor, 0), np.nan)
    if name == "age":
        return np.maximum(newest.time_ns - newest.opened_ns, 0) / 1e9
    return snapshots.per_second("admitted" if name == "rate" else "dropped")


def is_closing(snapshot: Snapshot) -> NDArray[np.bool_]:
    """Which of them have ended and wait to be closed."""
    dead: NDArray[np.bool_] = snapshot.phase == Phase.DEAD
    return dead
