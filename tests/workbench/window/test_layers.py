"""The overlays of the canvas, by pixel and by tile, against naive versions."""

from dataclasses import replace

import numpy as np
import pytest

from server.kernels.layout import CONNECTION, TILE, TILE_LATENCY, Phase
from support.window_stage import READING, FakeSession, heat_map
from workbench.window.canvas.layers import (
    AGE_TICKS,
    CHANGE_TICKS,
    READ_INTERVAL_NS,
    Layer,
    Readings,
    TileRates,
    all_layers,
    watchers_by_tile,
)
from workbench.window.canvas.viewport import Viewport
from workbench.window.connections.connection_card import tokens_left
from workbench.window.toolkit import ramp
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.scene import Scene

TICK = READING.tick


def scene_of(session: FakeSession, *, paused: bool = False) -> Scene:
    view = session.view()
    return Scene(session, view, view.reading, view.pixels, session.picture, paused, None, None)


def layer_of(name: str) -> Layer:
    return next(layer for layer in all_layers() if layer.name == name)


def levels_of(layer: Layer, readings: Readings, session: FakeSession, *, paused: bool = False) -> np.ndarray:
    """A level for each pixel of the canvas."""
    scene = scene_of(session, paused=paused)
    height, width = session.shown.pixels.shape
    columns, rows = Viewport((width, height), pygame.Rect(0, 0, width, height)).samplings()
    layer.renew(readings, scene)
    return layer.levels(readings, scene, columns, rows).take(columns.shown, axis=1).take(rows.shown, axis=0)


def read_twice(session: FakeSession, **grown: int) -> Readings:
    """Readings of a canvas whose first tile's counters grew by so much in one second."""
    readings = Readings()
    readings.read(scene_of(session))
    for name, amount in grown.items():
        session.canvas_page["tiles"][name][0, 0] += amount
    session.change(now_ns=session.shown.now_ns + 1_000_000_000)
    assert readings.read(scene_of(session))
    return readings


# --- Scales -----------------------------------------------------------------------------------------------------------


def test_levels_go_from_least_to_most_and_leave_out_what_is_not_known() -> None:
    levels = ramp.levels_of(np.array([0, 5, 10, 99, np.nan, -1]), 10.0)
    assert levels.tolist() == [1, 32, 64, 64, 0, 0] or levels.tolist() == [1, 33, 64, 64, 0, 0]
    growing = ramp.levels_of(np.arange(1000), 999, is_log=True)
    assert growing[0] == 1 and growing[-1] == 64 and (np.diff(growing.astype(int)) >= 0).all()
    assert int(growing[31]) == pytest.approx(32, abs=1)  # Half of the way there is the root of the whole.


@pytest.mark.parametrize(("value", "nice"), [(0, 0), (0.7, 1), (1, 1), (1.1, 2), (4, 5), (51, 100), (2e6, 2e6)])
def test_scales_end_at_a_round_number(value: float, nice: float) -> None:
    assert ramp.nice_above(value) == pytest.approx(nice)


def test_a_scale_grows_at_once_and_shrinks_seldom() -> None:
    top = ramp.Top(10)
    assert [top.cover(value) for value in (3, 45, 20, 12, 9, 0)] == [10, 50, 50, 50, 10, 10]


def test_neighbouring_names_have_different_colours() -> None:
    levels = ramp.name_levels(np.arange(1, 600, dtype=np.uint32))
    colors = np.array(ramp.NAME_COLORS)[levels].astype(int)
    assert (np.abs(np.diff(colors, axis=0)).sum(axis=1) > 60).all()
    assert ramp.name_levels(np.zeros(1, np.uint32))[0] == ramp.LEVEL_NONE


# --- By pixel ---------------------------------------------------------------------------------------------------------


def test_pixels_are_the_canvas() -> None:
    session = FakeSession(heat_map(80, 64))
    assert np.array_equal(levels_of(layer_of("pixels"), Readings(), session), session.shown.pixels)


@pytest.mark.parametrize(("name", "span"), [("changes", CHANGE_TICKS), ("age", AGE_TICKS)])
def test_newer_changes_are_brighter(name: str, span: int) -> None:
    session = FakeSession(heat_map(64, 64))
    changed = session.canvas_page["pixel_tick"]
    changed[0, :6] = [0, 1, TICK - 3, TICK - 1, TICK, TICK + 1]
    row = levels_of(layer_of(name), Readings(), session)[0, :6].astype(int)
    assert row[0] == ramp.LEVEL_NONE
    assert row[1] < row[2] < row[3] < row[4] == ramp.LEVEL_MOST and row[5] == ramp.LEVEL_MOST
    changed[0, 1] = 1
    session.change(reading=replace(READING, tick=span + 1))
    assert levels_of(layer_of(name), Readings(), session)[0, 1] == ramp.LEVEL_LEAST


def test_painters_have_a_colour_each() -> None:
    session = FakeSession(heat_map(64, 64))
    session.canvas_page["pixel_painter"][0, :4] = [0, 1, 2, 1]
    row = levels_of(layer_of("painters"), Readings(), session)[0, :4].tolist()
    assert row[0] == ramp.LEVEL_NONE and row[1] == row[3] != row[2]


def test_a_paused_view_holds_what_it_looks_at() -> None:
    session, readings = FakeSession(heat_map(64, 64)), Readings()
    painters = session.canvas_page["pixel_painter"]
    painters[:] = 5
    before = levels_of(layer_of("painters"), readings, session, paused=True)
    painters[:] = 6
    assert np.array_equal(levels_of(layer_of("painters"), readings, session, paused=True), before)
    assert not np.array_equal(levels_of(layer_of("painters"), readings, session), before)


# --- By tile ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "grown", "value"),
    [
        ("drops", {"throttled_count": 40}, 40.0),
        ("overwrites", {"applied_count": 100, "merged_count": 30}, 70.0),
    ],
)
def test_rates_are_in_their_tile(name: str, grown: dict[str, int], value: float) -> None:
    session, layer = FakeSession(heat_map(80, 64)), layer_of(name)
    readings = read_twice(session, **grown)
    levels = levels_of(layer, readings, session)
    assert layer.values[0, 0] == pytest.approx(value)  # type: ignore[attr-defined]
    assert len(set(levels[:32, :32].ravel())) == 1 and levels[0, 0] > levels[40, 40] == ramp.LEVEL_LEAST
    assert levels.shape == (64, 80)  # The last column of tiles is half a tile.


def test_before_two_readings_nothing_is_known() -> None:
    session = FakeSession(heat_map(64, 64))
    assert (levels_of(layer_of("drops"), Readings(), session) == ramp.LEVEL_NONE).all()


def test_delay_is_the_mean_of_what_was_probed() -> None:
    rates, tiles = TileRates(), np.zeros((1, 3), TILE)
    latency = np.zeros(8, TILE_LATENCY)
    latency["sum_us"][0], latency["count"][0] = 5_000_000, 10
    assert rates.read(tiles, latency, 0)
    latency["sum_us"][:2] += [600_000, 90_000]
    latency["count"][:2] += [3, 1]
    assert not rates.read(tiles, latency, READ_INTERVAL_NS - 1)
    assert rates.read(tiles, latency, READ_INTERVAL_NS)
    found = rates.delay_ms()
    assert found is not None
    assert found[0, :2].tolist() == [200.0, 90.0] and np.isnan(found[0, 2])


def test_a_rate_is_that_of_the_last_second() -> None:
    rates, tiles, latency = TileRates(), np.zeros((2, 2), TILE), np.zeros(4, TILE_LATENCY)
    for step in range(40):
        tiles["applied_count"][0, 0] += 10 if step < 30 else 50
        rates.read(tiles, latency, step * READ_INTERVAL_NS)
    found = rates.per_second("applied_count")
    assert found is not None and found[0, 0] == pytest.approx(200.0) and found[1, 1] == 0
    assert len(rates._readings) < 30


def test_tiles_of_the_newest_broadcast_are_brightest() -> None:
    session = FakeSession(heat_map(96, 32))
    session.canvas_page["tiles"]["merged_tick"][0] = [0, TICK, TICK - 4]
    row = levels_of(layer_of("tiles"), Readings(), session)[0, ::32].astype(int).tolist()
    assert row[0] == ramp.LEVEL_NONE and row[1] == ramp.LEVEL_MOST and 1 < row[2] < 64


def naive_watchers(connections: np.ndarray, across: int, down: int) -> np.ndarray:
    counts = np.zeros((down, across), int)
    for row in connections.ravel():
        if row["phase"] in (Phase.FAST, Phase.SLOW) and row["subscribed"]:
            counts[row["tile_y0"] : row["tile_y1"], row["tile_x0"] : row["tile_x1"]] += 1
    return counts


@pytest.mark.parametrize("seed", range(4))
def test_watchers_by_tile_are_those_of_the_naive_twin(seed: int) -> None:
    draw = np.random.default_rng(seed)
    across, down = int(draw.integers(1, 9)), int(draw.integers(1, 9))
    connections = np.zeros((2, 60), CONNECTION)
    connections["phase"] = draw.integers(0, 4, (2, 60))
    connections["subscribed"] = draw.integers(0, 2, (2, 60))
    for axis, count in (("x", across), ("y", down)):
        connections[f"tile_{axis}0"] = draw.integers(0, count + 1, (2, 60))
        connections[f"tile_{axis}1"] = draw.integers(connections[f"tile_{axis}0"], count + 1)
    assert np.array_equal(watchers_by_tile(connections, across, down), naive_watchers(connections, across, down))


def test_a_bucket_refills_at_its_rate_up_to_its_burst() -> None:
    assert tokens_left(0, 10**9, 60, 120) == 120
    assert tokens_left(3 * 10**9, 2 * 10**9, 60, 120) == pytest.approx(60)
    assert tokens_left(9 * 10**9, 0, 60, 120) == 0
