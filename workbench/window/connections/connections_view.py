"""The connections view: all connections as a map of cells, coloured by one figure.

It is computed with array operations, four times per second. A connection keeps its cell while others come and go, as
long as all fit; a rate is shown only for connections that existed at both ends of its time span.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.kernels.layout import Phase
from workbench.window.canvas.canvas_marks import draw_scale
from workbench.window.toolkit import ramp, theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.tool_bar import Tool
from workbench.window.toolkit.view import Drawable
from workbench.window.toolkit.wording import format_count, format_ms, format_whole

READ_INTERVAL_NS = 250_000_000
SPAN_NS = 1_000_000_000
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The open connections at one time, ordered by loop and slot: arrays of one length."""

    time_ns: int
    slot: NDArray[np.int64]
    """Index into the flat connections page."""
    number: NDArray[np.int64]
    """UNKNOWN where the slot was reused while it was read."""
    phase: NDArray[np.uint8]
    watches: NDArray[np.bool_]
    cursor: NDArray[np.int64]
    admitted: NDArray[np.int64]
    dropped: NDArray[np.int64]
    opened_ns: NDArray[np.int64]


def take_snapshot(connections: NDArray[Any], now_ns: int) -> Snapshot:
    """Read all connections. `connections`: CONNECTION, shape (loops, slots). O(slots)."""
    flat = connections.reshape(-1)
    slot = np.flatnonzero(flat["phase"])  # FREE is 0.
    # Column by column: numpy copies whole records one by one, at many times the cost.
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
    # The server may have reused a slot in between: its columns then belong to two connections.
    return replace(snapshot, number=np.where(flat["number"][slot] == number, number, UNKNOWN))


class Snapshots:
    """The snapshots of the last second, four per second."""

    def __init__(self) -> None:
        self._kept: deque[Snapshot] = deque()

    @property
    def newest(self) -> Snapshot | None:
        """The last snapshot."""
        return self._kept[-1] if self._kept else None

    def read(self, connections: NDArray[Any], now_ns: int) -> bool:
        """Take a snapshot if one is due. True if it was."""
        if self._kept and 0 <= now_ns - self._kept[-1].time_ns < READ_INTERVAL_NS:
            return False
        self._kept.append(take_snapshot(connections, now_ns))
        while len(self._kept) > 2 and now_ns - self._kept[1].time_ns >= SPAN_NS:
            self._kept.popleft()
        return True

    def per_second(self, name: str) -> NDArray[np.float64]:
        """Growth of `admitted` or `dropped` per second, of each connection; NaN for a new one."""
        newest = self._kept[-1]
        rates = np.full(len(newest.slot), np.nan)
        oldest = self._kept[0]
        if oldest is newest or not len(oldest.slot):
            return rates
        # Slots are ascending in both snapshots: a binary search finds the old place of each slot.
        place = np.minimum(np.searchsorted(oldest.slot, newest.slot), len(oldest.slot) - 1)
        # The same slot with another number is another connection: it was reused in between.
        same = (oldest.slot[place] == newest.slot) & (oldest.number[place] == newest.number)
        same &= newest.number != UNKNOWN
        grown = (getattr(newest, name) - getattr(oldest, name)[place])[same]
        rates[same] = grown * (1e9 / (newest.time_ns - oldest.time_ns))
        return rates


@dataclass(frozen=True, slots=True)
class Grid:
    """Square cells in rows."""

    columns: int
    rows: int
    side: int
    """Pixels of a cell including the gap."""

    @property
    def gap(self) -> int:
        """Pixels between cells: none where they are small."""
        return 1 if self.side >= 4 else 0

    def index_at(self, x: int, y: int) -> int | None:
        """The cell at a point of the map; None outside all cells."""
        column, row = x // self.side, y // self.side
        inside = 0 <= column < self.columns and 0 <= row < self.rows
        return row * self.columns + column if inside else None

    def corner(self, index: int) -> tuple[int, int]:
        """The upper left corner of a cell."""
        return index % self.columns * self.side, index // self.columns * self.side


def grid_for(count: int, width: int, height: int, side_max: int) -> Grid:
    """The largest cells, from 1 to `side_max` pixels, of which `count` fit into the map."""
    # At most `side_max` steps, each constant: cheaper than solving for the side, and exact.
    for side in range(side_max, 0, -1):
        columns, rows = width // side, height // side
        if columns * rows >= count:
            return Grid(max(1, columns), max(1, rows), side)
    return Grid(max(1, width), max(1, height), 1)


def paint_cells(levels: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """The map as levels, shape (rows x side, columns x side), cells in reading order; gaps are `LEVEL_NOBODY`."""
    cells = np.full(grid.columns * grid.rows, ramp.LEVEL_NOBODY, np.uint8)
    count = min(len(levels), len(cells))
    cells[:count] = levels[:count]
    board = cells.reshape(grid.rows, grid.columns)
    picture = board.repeat(grid.side, axis=0).repeat(grid.side, axis=1)
    # The gap is inside of each cell, at its right and lower edge, so that cells fill the map evenly.
    if grid.gap:
        picture[grid.side - 1 :: grid.side, :] = ramp.LEVEL_NOBODY
        picture[:, grid.side - 1 :: grid.side] = ramp.LEVEL_NOBODY
    return picture


def values_of(name: str, snapshots: Snapshots, tick: int) -> NDArray[np.float64]:
    """The figure of each open connection: "lag" in ticks, "rate" or "drops" per second, "age" in seconds.

    NaN: the lag of one without a subscription, the rate of a new one.
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


MEASURES = (
    Tool("lag", "Ticks that each connection is behind the newest broadcast; none without a subscription"),
    Tool("rate", "Placements admitted per second, by connection"),
    Tool("drops", "Placements rejected per second, by connection: throttled, shed, out of bounds"),
    Tool("age", "Time since each connection was opened"),
)
_UNITS = {"lag": "ticks behind", "rate": "admitted per second", "drops": "dropped per second", "age": "seconds open"}
_NONE = {"lag": "not subscribed", "rate": "new", "drops": "new", "age": ""}
_LEAST_TOP = {"lag": 5.0, "rate": 10.0, "drops": 10.0, "age": 10.0}
_HEAD, _BAR_WIDTH, _BAR, _CELL_MAX = 40, 120, 8, 32


class ConnectionsView(Drawable):
    """Draws the map in its box, and maps points to connections."""

    def __init__(self) -> None:
        self.measure = MEASURES[0].name
        self.chosen: int | None = None
        """Number of the selected connection, whose cell has a ring."""
        self._begin()

    def _begin(self) -> None:
        self._snapshots = Snapshots()
        self._tops = {name: ramp.Top(least) for name, least in _LEAST_TOP.items()}
        self._values: NDArray[Any] = np.zeros(0)
        self._session: object = None
        self.forget()

    def _lay_out(self) -> None:
        box, pen = self._box, self._pen
        head = pen.px(_HEAD)
        self._head = pygame.Rect(box.left, box.top, box.width, head)
        self._map = pygame.Rect(box.left, box.top + head, box.width, max(1, box.height - head))

    @property
    def grid(self) -> Grid:
        """The cells as last drawn."""
        return self._grid

    @property
    def map_box(self) -> pygame.Rect:
        """The part of the box with the cells."""
        return self._map

    def number_at(self, position: tuple[int, int]) -> int | None:
        """The number of the connection at a point; None where there is none."""
        newest = self._snapshots.newest
        if newest is None or self._drawn is None or not self._map.collidepoint(position):
            return None
        index = self._grid.index_at(position[0] - self._map.left, position[1] - self._map.top)
        return int(newest.number[index]) if index is not None and index < len(newest.number) else None

    def describe(self, position: tuple[int, int]) -> list[str]:
        """The lines of the tooltip of the cell at a point."""
        newest, number = self._snapshots.newest, self.number_at(position)
        if newest is None or number is None:
            return []
        index = int(np.flatnonzero(newest.number == number)[0])
        value = float(self._values[index]) if index < len(self._values) else float("nan")
        text = _NONE[self.measure] if np.isnan(value) else f"{format_count(value, '')} {_UNITS[self.measure]}"
        age = format_ms(max(0, newest.time_ns - int(newest.opened_ns[index])) / 1e6)
        return [f"connection {format_whole(number)}", text, f"open for {age}", "click to open and follow it"]

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        if scene.session is not self._session:
            self._begin()
            self._session = scene.session
        is_new = not scene.paused and self._snapshots.read(
            scene.session.connections_page["connections"], scene.view.now_ns
        )
        state = (self.measure, self.chosen)
        if state == self._drawn and not is_new:
            return []
        if self._snapshots.newest is None:
            self._snapshots.read(scene.session.connections_page["connections"], scene.view.now_ns)
        self._drawn = state
        target.fill(self._pen.theme.background, self._box)
        self._draw_map(target, scene)
        self._draw_head(target)
        return [self._box]

    def _draw_map(self, target: pygame.Surface, scene: Scene) -> None:
        newest = self._snapshots.newest
        assert newest is not None
        # Room for all that are intended: cells do not shrink while connections are still being opened.
        count = max(len(newest.slot), scene.reading.connection_target, 1)
        self._grid = grid_for(count, self._map.width, self._map.height, self._pen.px(_CELL_MAX))
        self._values = values_of(self.measure, self._snapshots, scene.view.reading.tick)
        known = self._values[~np.isnan(self._values)]
        top = self._tops[self.measure].cover(float(known.max()) if len(known) else 0.0)
        levels = ramp.levels_of(self._values, top, is_log=self.measure == "age")
        picture = paint_cells(levels, self._grid)
        surface = pygame.image.frombuffer(picture.data, (picture.shape[1], picture.shape[0]), "P")
        surface.set_palette(ramp.AMOUNT_COLORS)
        surface.set_colorkey(ramp.AMOUNT_COLORS[ramp.LEVEL_NOBODY])  # The background shows between cells.
        target.blit(surface, self._map)
        # Rings need space between cells; on a dense map they would cover the neighbours.
        for index in np.flatnonzero(is_closing(newest)).tolist() if self._grid.side >= 4 else []:
            self._ring(target, index, self._pen.theme.vermilion)
        for index in np.flatnonzero(newest.number == self.chosen).tolist() if self.chosen is not None else []:
            self._ring(target, index, self._pen.theme.text)

    def _ring(self, target: pygame.Surface, index: int, color: theme.Color) -> None:
        left, top = self._grid.corner(index)
        cell = pygame.Rect(self._map.left + left, self._map.top + top, self._grid.side, self._grid.side)
        pygame.draw.rect(target, color, cell.inflate(self._pen.px(4), self._pen.px(4)), width=self._pen.px(2))

    def _draw_head(self, target: pygame.Surface) -> None:
        """The number of connections, the meaning of the colours, and the scale."""
        pen, newest = self._pen, self._snapshots.newest
        count = len(newest.slot) if newest else 0
        upper = pygame.Rect(self._head.left, self._head.top, self._head.width, self._head.height // 2)
        lower = upper.move(0, self._head.height // 2)
        pen.write(target, f"{format_whole(count)} connections, one cell each", upper, theme.TITLE)
        title = pen.write(target, f"{self.measure}: {_UNITS[self.measure]}", lower, theme.LABEL)
        left = pen.write(
            target, "0", pygame.Rect(title.right + pen.px(14), lower.top, pen.px(12), lower.height), theme.LABEL
        )
        bar = pygame.Rect(left.right + pen.px(5), lower.centery - pen.px(_BAR) // 2, pen.px(_BAR_WIDTH), pen.px(_BAR))
        draw_scale(target, bar, ramp.AMOUNT_COLORS)
        top = format_count(self._tops[self.measure].value, "")
        right = pygame.Rect(bar.right + pen.px(5), lower.top, pen.px(48), lower.height)
        letters = pen.write(target, top, right, theme.LABEL)
        if _NONE[self.measure]:
            swatch = pygame.Rect(letters.right + pen.px(12), bar.top, pen.px(12), bar.height)
            pygame.draw.rect(target, ramp.AMOUNT_COLORS[ramp.LEVEL_NONE], swatch)
            pygame.draw.rect(target, pen.theme.faint, swatch, width=1)
            rest = pygame.Rect(swatch.right + pen.px(6), lower.top, 0, lower.height)
            rest.width = max(0, self._head.right - rest.left)
            pen.write(target, _NONE[self.measure], rest, theme.LABEL)
