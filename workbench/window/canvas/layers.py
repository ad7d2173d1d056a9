"""What the canvas can be painted with: its pixels, or something measured about them, as levels of a colour table.

A layer reads the session's pages and gives palette indices for the canvas pixels it is asked for; it draws nothing.
Invariant: its cost grows with what is seen, not with the canvas, but for what is kept by tile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from server.wire import TILE_SIDE
from workbench.window.canvas.viewport import Sampling
from workbench.window.readings.connection_row import watchers_by_tile
from workbench.window.readings.tile_rates import TileRates
from workbench.window.toolkit import ramp
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.theme import Color
from workbench.window.toolkit.wording import format_count

CHANGE_TICKS = 16
"""A change has faded after so many ticks."""
AGE_TICKS = 4096
_ROW_BYTES_A_COLUMN = 16
"""Rows are copied whole where that is at most so many bytes for each column looked at."""
_NO_VALUES: NDArray[Any] = np.zeros(0)


@dataclass(frozen=True, slots=True)
class Legend:
    """What the colours mean. Without end texts, each colour is a name and there is no scale."""

    title: str
    least: str = ""
    most: str = ""
    nothing: str = ""
    """What the colour of level 0 means."""


class Layer(Protocol):
    """One way to see the canvas."""

    name: str
    meaning: str
    colors: list[Color]

    def renew(self, readings: "Readings", scene: Scene) -> None:
        """Take note of what the pages say now. Called when a tick has passed or a reading was taken."""
        ...

    def levels(self, readings: "Readings", scene: Scene, columns: Sampling, rows: Sampling) -> NDArray[np.uint8]:
        """Palette indices of the pixels looked at, shape (rows, columns)."""
        ...

    def legend(self) -> Legend | None:
        """What its colours mean; None: they are the canvas's own."""
        ...


class Readings:
    """What layers look at: the canvas page, held still while the window is, and what happened by tile."""

    def __init__(self) -> None:
        self.rates = TileRates()
        self._held: dict[str, NDArray[Any]] = {}

    def canvas(self, scene: Scene, name: str) -> NDArray[Any]:
        """A section of the canvas page. Of a paused view: as it was when it was first looked at."""
        if not scene.paused:
            self._held.clear()
            return scene.session.canvas_page[name]
        if name not in self._held:
            self._held[name] = scene.session.canvas_page[name].copy()
        return self._held[name]

    def read(self, scene: Scene) -> bool:
        """Take a reading of the tiles when one is due. True then."""
        session = scene.session
        tiles, latency = session.canvas_page["tiles"], session.fleet_page["tile_latency"]
        return not scene.paused and self.rates.read(tiles, latency, scene.view.now_ns)


def sampled(array: NDArray[Any], columns: Sampling, rows: Sampling) -> NDArray[Any]:
    """The pixels looked at, shape (rows, columns); a view where that can be."""
    if isinstance(columns.taken, slice):
        return array[rows.taken][:, columns.taken]
    if array.itemsize * array.shape[1] <= _ROW_BYTES_A_COLUMN * len(columns.taken):
        return array[rows.taken].take(columns.taken, axis=1)  # Whole rows first: they lie together in memory.
    return array[np.ix_(rows.places, columns.taken)]


class PixelsLayer:
    """The canvas as the server holds it."""

    name, meaning = "pixels", "The canvas as the server holds it now"
    colors = ramp.CANVAS_COLORS

    def renew(self, readings: Readings, scene: Scene) -> None:
        """Nothing to keep; see `Layer`."""

    def levels(self, readings: Readings, scene: Scene, columns: Sampling, rows: Sampling) -> NDArray[np.uint8]:
        """The pixels' own colours."""
        return sampled(scene.pixels, columns, rows)

    def legend(self) -> Legend | None:
        """None: see `Layer`."""
        return None


class AgeLayer:
    """Ticks since each pixel was last changed: bright is new, on a linear or a logarithmic scale."""

    colors = ramp.AMOUNT_COLORS

    def __init__(self, name: str, meaning: str, span_ticks: int, *, is_log: bool) -> None:
        self.name, self.meaning, self._span = name, meaning, span_ticks
        ages = np.arange(span_ticks + 1)
        levels = ramp.levels_of(ages, span_ticks, is_log=is_log)
        self._level_of_age: NDArray[np.uint8] = (ramp.LEVEL_LEAST + ramp.LEVEL_MOST - levels).astype(np.uint8)

    def renew(self, readings: Readings, scene: Scene) -> None:
        """Nothing to keep; see `Layer`."""

    def levels(self, readings: Readings, scene: Scene, columns: Sampling, rows: Sampling) -> NDArray[np.uint8]:
        """Levels by age; what was never changed is not known."""
        changed = sampled(readings.canvas(scene, "pixel_tick"), columns, rows)
        # The page runs ahead of the reading by some ticks: what is changed after it is as new as can be.
        age = np.int32(scene.view.reading.tick) - changed.astype(np.int32)
        levels: NDArray[np.uint8] = self._level_of_age.take(np.clip(age, 0, self._span))
        levels[changed == 0] = ramp.LEVEL_NONE
        return levels

    def legend(self) -> Legend | None:
        """Old to new."""
        return Legend(f"{self.name}: ticks since a change", f"{self._span:,} or more", "now", "never changed")


class PaintersLayer:
    """Who painted each pixel last: a colour a connection."""

    name, meaning = "painters", "Who painted it last: a colour a connection; point at a pixel to see its number"
    colors = ramp.NAME_COLORS

    def renew(self, readings: Readings, scene: Scene) -> None:
        """Nothing to keep; see `Layer`."""

    def levels(self, readings: Readings, scene: Scene, columns: Sampling, rows: Sampling) -> NDArray[np.uint8]:
        """Colours by number."""
        return ramp.name_levels(sampled(readings.canvas(scene, "pixel_painter"), columns, rows))

    def legend(self) -> Legend | None:
        """Names, no scale."""
        return Legend("painters: a colour a connection", nothing="nobody yet")


class TileLayer:
    """An amount by tile, from `values(readings, scene)`: shape (tiles down, tiles across), NaN or None: not known."""

    colors = ramp.AMOUNT_COLORS

    def __init__(
        self,
        name: str,
        meaning: str,
        unit: str,
        values: Callable[[Readings, Scene], NDArray[Any] | None],
        *,
        least_top: float = 10.0,
        nothing: str = "not known yet",
    ) -> None:
        self.name, self.meaning, self._unit, self._values, self._nothing = name, meaning, unit, values, nothing
        self._top = ramp.Top(least_top)
        self._levels: NDArray[np.uint8] | None = None
        self.values: NDArray[Any] = _NO_VALUES
        """As of the last `renew`; empty when nothing is known."""

    def renew(self, readings: Readings, scene: Scene) -> None:
        """Look at the amounts anew."""
        found = self._values(readings, scene)
        self.values = _NO_VALUES if found is None else found
        if found is None:
            self._levels = np.zeros(readings.canvas(scene, "tile_tick").shape, np.uint8)
            return
        known = found[found >= 0]
        self._levels = ramp.levels_of(found, self._top.cover(float(known.max()) if known.size else 0.0))

    def levels(self, readings: Readings, scene: Scene, columns: Sampling, rows: Sampling) -> NDArray[np.uint8]:
        """Each pixel has its tile's level."""
        if self._levels is None:
            self.renew(readings, scene)
        assert self._levels is not None
        return self._levels.take(rows.places // TILE_SIDE, axis=0).take(columns.places // TILE_SIDE, axis=1)

    def legend(self) -> Legend | None:
        """0 to the top of the scale."""
        return Legend(f"{self.name}: {self._unit}", "0", format_count(self._top.value, ""), self._nothing)


def _delay(readings: Readings, scene: Scene) -> NDArray[Any] | None:
    return readings.rates.delay_ms()


def _throttled(readings: Readings, scene: Scene) -> NDArray[Any] | None:
    return readings.rates.per_second("throttled_count")


def _overwritten(readings: Readings, scene: Scene) -> NDArray[Any] | None:
    return readings.rates.overwritten_per_s()


def _watchers(readings: Readings, scene: Scene) -> NDArray[Any] | None:
    down, across = scene.session.canvas_page["tiles"].shape
    return watchers_by_tile(scene.session.connections_page["connections"], across, down)


class SentTilesLayer(TileLayer):
    """Tiles that the newest ticks broadcast: bright is the newest. It has a scale of its own."""

    FADED_TICKS = 8

    def __init__(self) -> None:
        meaning = "Tiles in the newest broadcast; a tile that fades was last in one some ticks ago"
        super().__init__("tiles", meaning, "broadcast", self._newness, least_top=self.FADED_TICKS)

    def _newness(self, readings: Readings, scene: Scene) -> NDArray[Any] | None:
        merged = readings.canvas(scene, "tiles")["merged_tick"]
        newness = np.clip(self.FADED_TICKS - (int(merged.max()) - merged), 0, self.FADED_TICKS)
        return np.where(merged > 0, newness, -1)

    def legend(self) -> Legend | None:
        """Old to new."""
        return Legend("tiles: ticks since broadcast", f"{self.FADED_TICKS} or more", "the newest", "never broadcast")


def all_layers() -> tuple[Layer, ...]:
    """Every layer, in the order of their buttons."""
    return (
        PixelsLayer(),
        AgeLayer("changes", "Changes as they come: a changed pixel flashes, and fades", CHANGE_TICKS, is_log=False),
        AgeLayer("age", "How long ago each pixel was last changed, in ticks", AGE_TICKS, is_log=True),
        TileLayer(
            "delay",
            "Placement-to-view latency by tile: from the intended send time until a viewer has it. "
            "Mean of what was probed in the last 5 s",
            "mean ms until seen",
            _delay,
            nothing="nothing probed",
        ),
        TileLayer("drops", "Placements refused by the rate limit, by tile", "throttled a second", _throttled),
        TileLayer(
            "overwrites",
            "Placements that a newer one covered before any tick could broadcast them, by tile",
            "covered a second",
            _overwritten,
        ),
        SentTilesLayer(),
        TileLayer("regions", "How many subscriptions watch each tile", "subscriptions", _watchers, nothing=""),
        PaintersLayer(),
    )
