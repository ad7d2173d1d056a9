"""The connections view: all connections as a dense map, a cell each, coloured by how each does.

Built with array operations, four times a second. Invariant: a cell keeps its place while its connection lives, and its
colour means the same for all.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.window.canvas.canvas_marks import draw_scale
from workbench.window.connections.connection_map import Grid, Snapshots, grid_for, is_closing, paint_cells, values_of
from workbench.window.toolkit import ramp, theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.tool_bar import Tool
from workbench.window.toolkit.view import Drawable
from workbench.window.toolkit.wording import format_count, format_ms, format_whole

MEASURES = (
    Tool("lag", "Ticks that each connection is behind the newest broadcast. One that watches nothing has none"),
    Tool("rate", "Placements a second that each connection had admitted over the last second"),
    Tool("drops", "Placements a second of each connection that were not let in: throttled, shed, out of bounds"),
    Tool("age", "How long each connection has been open"),
)
_UNITS = {"lag": "ticks behind", "rate": "admitted a second", "drops": "dropped a second", "age": "seconds open"}
_NONE = {"lag": "watches nothing", "rate": "just come", "drops": "just come", "age": ""}
_LEAST_TOP = {"lag": 5.0, "rate": 10.0, "drops": 10.0, "age": 10.0}
_HEAD, _BAR_WIDTH, _BAR, _CELL_MAX = 40, 120, 8, 32


class ConnectionsView(Drawable):
    """Draws the map in its box, and knows whose cell is where."""

    def __init__(self) -> None:
        self.measure = MEASURES[0].name
        self.chosen: int | None = None
        """Number of the connection whose cell is ringed."""
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
        """How the map is divided, as last drawn."""
        return self._grid

    @property
    def map_box(self) -> pygame.Rect:
        """Where the cells are."""
        return self._map

    def number_at(self, position: tuple[int, int]) -> int | None:
        """The number of the connection whose cell is under a point; None where there is none."""
        newest = self._snapshots.newest
        if newest is None or self._drawn is None or not self._map.collidepoint(position):
            return None
        index = self._grid.index_at(position[0] - self._map.left, position[1] - self._map.top)
        return int(newest.number[index]) if index is not None and index < len(newest.number) else None

    def describe(self, position: tuple[int, int]) -> list[str]:
        """What the cell under a point stands for, and how that connection does."""
        newest, number = self._snapshots.newest, self.number_at(position)
        if newest is None or number is None:
            return []
        index = int(np.flatnonzero(newest.number == number)[0])
        value = float(self._values[index]) if index < len(self._values) else float("nan")
        told = _NONE[self.measure] if np.isnan(value) else f"{format_count(value, '')} {_UNITS[self.measure]}"
        age = format_ms(max(0, newest.time_ns - int(newest.opened_ns[index])) / 1e6)
        return [f"connection {format_whole(number)}", told, f"open for {age}", "click to open and follow it"]

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
        count = max(len(newest.slot), scene.reading.connection_target, 1)
        self._grid = grid_for(count, self._map.width, self._map.height, self._pen.px(_CELL_MAX))
        self._values = values_of(self.measure, self._snapshots, scene.view.reading.tick)
        known = self._values[~np.isnan(self._values)]
        top = self._tops[self.measure].cover(float(known.max()) if len(known) else 0.0)
        levels = ramp.levels_of(self._values, top, is_log=self.measure == "age")
        picture = paint_cells(levels, self._grid)
        surface = pygame.image.frombuffer(picture.data, (picture.shape[1], picture.shape[0]), "P")
        surface.set_palette(ramp.AMOUNT_COLORS)
        surface.set_colorkey(ramp.AMOUNT_COLORS[ramp.LEVEL_NOBODY])  # The ground shows between cells.
        target.blit(surface, self._map)
        for index in np.flatnonzero(is_closing(newest)).tolist() if self._grid.side >= 4 else []:
            self._ring(target, index, self._pen.theme.vermilion)
        for index in np.flatnonzero(newest.number == self.chosen).tolist() if self.chosen is not None else []:
            self._ring(target, index, self._pen.theme.text)

    def _ring(self, target: pygame.Surface, index: int, color: theme.Color) -> None:
        left, top = self._grid.corner(index)
        cell = pygame.Rect(self._map.left + left, self._map.top + top, self._grid.side, self._grid.side)
        pygame.draw.rect(target, color, cell.inflate(self._pen.px(4), self._pen.px(4)), width=self._pen.px(2))

    def _draw_head(self, target: pygame.Surface) -> None:
        """How many there are, what the colours mean, and the ends of the scale."""
        pen, newest = self._pen, self._snapshots.newest
        count = len(newest.slot) if newest else 0
        upper = pygame.Rect(self._head.left, self._head.top, self._head.width, self._head.height // 2)
        lower = upper.move(0, self._head.height // 2)
        pen.write(target, f"{format_whole(count)} connections, a cell each", upper, theme.TITLE)
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
