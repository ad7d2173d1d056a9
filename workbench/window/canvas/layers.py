"""The overlays of the canvas: its pixels, or a figure about them, as levels of a colour table. They draw nothing.

A layer reads the session's pages and returns levels for the canvas pixels it is asked for. So its cost grows with the
visible part, not with the canvas, except for figures that are kept by tile. `TileRates` turns the pages' counters,
which only grow, into rates; a rate is None or NaN, never 0, before there are two readings.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.kernels.layout import Phase
from server.wire import TILE_SIDE
from workbench.window.canvas.viewport import Sampling
from workbench.window.toolkit import ramp
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.theme import Color
from workbench.window.toolkit.wording import format_count

READ_INTERVAL_NS = 250_000_000
RATE_SPAN_NS = 1_000_000_000
# Latency is probed for few placements, so it is averaged over a longer time than counts.
DELAY_SPAN_NS = 5_000_000_000

# The fields of TILE that are read.
TILE_COUNTS = ("applied_count", "merged_count", "throttled_count")

Counts = dict[str, NDArray[np.int64]]


class TileRates:
    """Readings of a canvas's tiles, four per second. Arrays have the shape (tiles down, tiles across)."""

    def __init__(self) -> None:
        self._readings: deque[tuple[int, Counts]] = deque()

    def read(self, tiles: NDArray[Any], tile_latency: NDArray[Any], now_ns: int) -> bool:
        """Take a reading if one is due. `tiles`: TILE by place; `tile_latency`: TILE_LATENCY, at least as many.

        Use one object per canvas.
        """
        if self._readings and now_ns - self._readings[-1][0] < READ_INTERVAL_NS:
            return False
        counts = {name: tiles[name].copy() for name in TILE_COUNTS}
        latency = tile_latency[: tiles.size]
        counts |= {name: latency[name].reshape(tiles.shape).copy() for name in ("sum_us", "count")}
        # Copies: the page changes while it is read, and the difference of two readings must not.
        self._readings.append((now_ns, counts))
        # One reading older than the longest span is kept: differences reach back over the whole span.
        while len(self._readings) > 2 and now_ns - self._readings[1][0] >= DELAY_SPAN_NS:
            self._readings.popleft()
        return True

    def per_second(self, name: str) -> NDArray[np.float64] | None:
        """Growth of one of TILE_COUNTS in each tile, per second, over the last second; None before that is known."""
        pair = self._pair(RATE_SPAN_NS)
        if pair is None:
            return None
        (first_ns, first), (last_ns, last) = pair
        rates: NDArray[np.float64] = (last[name] - first[name]).astype(np.float64) * (1e9 / (last_ns - first_ns))
        return rates

    def overwritten_per_s(self) -> NDArray[np.float64] | None:
        """Placements per second that were applied but never broadcast: a newer one overwrote them within the tick."""
        applied, merged = self.per_second("applied_count"), self.per_second("merged_count")
        return None if applied is None or merged is None else np.maximum(applied - merged, 0.0)

    def delay_ms(self) -> NDArray[np.float64] | None:
        """Mean placement-to-view latency by tile; NaN where nothing was probed."""
        pair = self._pair(DELAY_SPAN_NS)
        if pair is None:
            return None
        (_, first), (_, last) = pair
        count = last["count"] - first["count"]
        sum_us = last["sum_us"] - first["sum_us"]
        # maximum() avoids a warning for the tiles that `where` makes NaN.
        return np.where(count > 0, sum_us / np.maximum(count, 1) / 1000, np.nan)

    def _pair(self, span_ns: int) -> tuple[tuple[int, Counts], tuple[int, Counts]] | None:
        """The newest reading that is at least `span_ns` older than the last, or else the oldest; and the last."""
        if len(self._readings) < 2:
            return None
        last = self._readings[-1]
        old = [reading for reading in self._readings if last[0] - reading[0] >= span_ns]
        return (old[-1] if old else self._readings[0]), last


def watchers_by_tile(connections: NDArray[Any], across: int, down: int) -> NDArray[np.int64]:
    """Number of subscriptions to each tile. `connections`: CONNECTION, any shape. Returns shape (down, across)."""
    flat = connections.reshape(-1)
    open_now = (flat["phase"] == Phase.FAST) | (flat["phase"] == Phase.SLOW)
    watching = open_now & (flat["subscribed"] == 1)
    left, right = (np.minimum(flat[name][watching], across).astype(np.int64) for name in ("tile_x0", "tile_x1"))
    top, bottom = (np.minimum(flat[name][watching], down).astype(np.int64) for name in ("tile_y0", "tile_y1"))
    # A rectangle adds 1 at its first corner and the opposite one, -1 at the other two: two running sums fill its area.
    # So the cost is O(connections + tiles), however large the rectangles are.
    stride, room = across + 1, (across + 1) * (down + 1)
    corners = np.zeros(room, np.int64)
    for y, x, sign in ((top, left, 1), (bottom, right, 1), (top, right, -1), (bottom, left, -1)):
        corners += sign * np.bincount(y * stride + x, minlength=room)
    return corners.reshape(down + 1, stride).cumsum(0).cumsum(1)[:down, :across]


# A change fades over this many ticks.
CHANGE_TICKS = 16
AGE_TICKS = 4096
# Rows are copied whole if that costs at most this many bytes per sampled column.
_ROW_BYTES_A_COLUMN = 16
_NO_VALUES: NDArray[Any] = np.zeros(0)


@dataclass(frozen=True, slots=True)
class Legend:
    """What the colours mean. Without `least` and `most` there is no scale: each colour is a name."""

    title: str
    least: str = ""
    most: str = ""
    nothing: str = ""
    """The meaning of level 0."""


class Layer:
    """One way to show the canvas."""

    name: str
    meaning: str
    colors: list[Color]

    def renew(self, readings: "Readings", scene: Scene) -> None:
        """Update what it keeps. Called after each tick and each reading."""

    def levels(self, readings: "Readings", scene: Scene, columns: Sampling, rows: Sampling) -> NDArray[np.uint8]:
        """Levels of the sampled pixels, shape (rows, columns)."""
        raise NotImplementedError

    def legend(self) -> Legend | None:
        """What its colours mean; None: they are the colours of the canvas."""
        return None


class Readings:
    """What layers read: the canvas page, frozen while the window is paused, and the rates of the tiles."""

    def __init__(self) -> None:
        self.rates = TileRates()
        self._held: dict[str, NDArray[Any]] = {}

    def canvas(self, scene: Scene, name: str) -> NDArray[Any]:
        """A section of the canvas page. While paused: a copy, made on first use."""
        # While paused, layers that are chosen later must show the same moment as the pixels.
        if not scene.paused:
            self._held.clear()
            return scene.session.canvas_page[name]
        if name not in self._held:
            self._held[name] = scene.session.canvas_page[name].copy()
        return self._held[name]

    def read(self, scene: Scene) -> bool:
        """Take a reading of the tiles if one is due. True if it was."""
        session = scene.session
        tiles, latency = session.canvas_page["tiles"], session.fleet_page["tile_latency"]
        return not scene.paused and self.rates.read(tiles, latency, scene.view.now_ns)


def sampled(array: NDArray[Any], columns: Sampling, rows: Sampling) -> NDArray[Any]:
    """The sampled pixels, shape (rows, columns); a view if possible."""
    # Slices are views: at a zoom above 1, nothing is copied here.
    if isinstance(columns.taken, slice):
        return array[rows.taken][:, columns.taken]
    if array.itemsize * array.shape[1] <= _ROW_BYTES_A_COLUMN * len(columns.taken):
        return array[rows.taken].take(columns.taken, axis=1)  # Whole rows first: they are contiguous in memory.
    return array[np.ix_(rows.places, columns.taken)]


class PixelsLayer(Layer):
    """The canvas as the server holds it."""

    name, meaning = "pixels", "The canvas as the server holds it now"
    colors = ramp.CANVAS_COLORS

    def levels(self, readings: Readings, scene: Scene, columns: Sampling, rows: Sampling) -> NDArray[np.uint8]:
        return sampled(scene.pixels, columns, rows)


class AgeLayer(Layer):
    """Ticks since each pixel last changed: bright is new. The scale is linear or logarithmic."""

    colors = ramp.AMOUNT_COLORS

    def __init__(self, name: str, meaning: str, span_ticks: int, *, is_log: bool) -> None:
        self.name, self.meaning, self._span = name, meaning, span_ticks
        ages = np.arange(span_ticks + 1)
        levels = ramp.levels_of(ages, span_ticks, is_log=is_log)
        # Precomputed: an age is looked up for each visible pixel at every tick.
        self._level_of_age: NDArray[np.uint8] = (ramp.LEVEL_LEAST + ramp.LEVEL_MOST - levels).astype(np.uint8)

    def levels(self, readings: Readings, scene: Scene, columns: Sampling, rows: Sampling) -> NDArray[np.uint8]:
        changed = sampled(readings.canvas(scene, "pixel_tick"), columns, rows)
        # The page is some ticks ahead of the reading, so an age can be negative: `clip` makes it the newest.
        age = np.int32(scene.view.reading.tick) - changed.astype(np.int32)
        levels: NDArray[np.uint8] = self._level_of_age.take(np.clip(age, 0, self._span))
        levels[changed == 0] = ramp.LEVEL_NONE
        return levels

    def legend(self) -> Legend | None:
        return Legend(f"{self.name}: ticks since a change", f"{self._span:,} or more", "now", "never changed")


class PaintersLayer(Layer):
    """Who painted each pixel last: one colour per connection."""

    name, meaning = "painters", "Who painted it last: one colour per connection; point at a pixel to see its number"
    colors = ramp.NAME_COLORS

    def levels(self, readings: Readings, scene: Scene, columns: Sampling, rows: Sampling) -> NDArray[np.uint8]:
        return ramp.name_levels(sampled(readings.canvas(scene, "pixel_painter"), columns, rows))

    def legend(self) -> Legend | None:
        return Legend("painters: one colour per connection", nothing="unpainted")


class TileLayer(Layer):
    """A figure by tile, from `values(readings, scene)`: shape (tiles down, tiles across); NaN or None: unknown."""

    colors = ramp.AMOUNT_COLORS

    def __init__(
        self,
        name: str,
        meaning: str,
        unit: str,
        values: Callable[[Readings, Scene], NDArray[Any] | None],
        *,
        least_top: float = 10.0,
        nothing: str = "unknown yet",
    ) -> None:
        self.name, self.meaning, self._unit, self._values, self._nothing = name, meaning, unit, values, nothing
        self._top = ramp.Top(least_top)
        self._levels: NDArray[np.uint8] | None = None
        self.values: NDArray[Any] = _NO_VALUES
        """As of the last `renew`; empty if unknown."""

    def renew(self, readings: Readings, scene: Scene) -> None:
        found = self._values(readings, scene)
        self.values = _NO_VALUES if found is None else found
        if found is None:
            self._levels = np.zeros(readings.canvas(scene, "tile_tick").shape, np.uint8)
            return
        # NaN is not >= 0, so it does not count.
        known = found[found >= 0]
        self._levels = ramp.levels_of(found, self._top.cover(float(known.max()) if known.size else 0.0))

    def levels(self, readings: Readings, scene: Scene, columns: Sampling, rows: Sampling) -> NDArray[np.uint8]:
        if self._levels is None:
            self.renew(readings, scene)
        assert self._levels is not None
        # Levels are by tile; pixels look theirs up, so a large canvas costs no more.
        return self._levels.take(rows.places // TILE_SIDE, axis=0).take(columns.places // TILE_SIDE, axis=1)

    def legend(self) -> Legend | None:
        return Legend(f"{self.name}: {self._unit}", "0", format_count(self._top.value, ""), self._nothing)


def _watchers(readings: Readings, scene: Scene) -> NDArray[Any] | None:
    down, across = scene.session.canvas_page["tiles"].shape
    return watchers_by_tile(scene.session.connections_page["connections"], across, down)


class SentTilesLayer(TileLayer):
    """Tiles in the newest broadcasts: bright is the newest. Its scale is fixed."""

    FADED_TICKS = 8

    def __init__(self) -> None:
        meaning = "Tiles in the newest broadcast; a tile fades over the next ticks"
        super().__init__("tiles", meaning, "broadcast", self._newness, least_top=self.FADED_TICKS)

    def _newness(self, readings: Readings, scene: Scene) -> NDArray[Any] | None:
        merged = readings.canvas(scene, "tiles")["merged_tick"]
        # Counted from the newest broadcast, not from the present tick: a quiet canvas does not fade to nothing.
        newness = np.clip(self.FADED_TICKS - (int(merged.max()) - merged), 0, self.FADED_TICKS)
        return np.where(merged > 0, newness, -1)

    def legend(self) -> Legend | None:
        return Legend("tiles: ticks since broadcast", f"{self.FADED_TICKS} or more", "newest", "never broadcast")


def all_layers() -> tuple[Layer, ...]:
    """Every layer, in the order of their buttons."""
    return (
        PixelsLayer(),
        AgeLayer("changes", "Live changes: a changed pixel flashes and fades", CHANGE_TICKS, is_log=False),
        AgeLayer("age", "Ticks since each pixel last changed", AGE_TICKS, is_log=True),
        TileLayer(
            "delay",
            "Placement-to-view latency by tile: from the intended send time until a viewer has it. "
            "Mean of the probes of the last 5 s",
            "mean latency, ms",
            lambda readings, _: readings.rates.delay_ms(),
            nothing="nothing probed",
        ),
        TileLayer(
            "drops",
            "Placements rejected by the rate limit, by tile",
            "throttled per second",
            lambda readings, _: readings.rates.per_second("throttled_count"),
        ),
        TileLayer(
            "overwrites",
            "Placements overwritten within the same tick, never broadcast, by tile",
            "overwritten per second",
            lambda readings, _: readings.rates.overwritten_per_s(),
        ),
        SentTilesLayer(),
        TileLayer("regions", "Number of subscriptions to each tile", "subscriptions", _watchers, nothing=""),
        PaintersLayer(),
    )
