"""Who watches what: the groups of viewers that share a region, and the tables of what they see.

Viewers of the whole canvas are one group. Invariant: a device's group is the region that it subscribes to, and every
device begins in its group's first state, which is no canvas.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.config import FleetConfig
from devices.kernels import layout
from devices.kernels.patterns import home_pixel
from server.kernels.layout import TILE_SIDE, tile_shape

_SPARE_STATES = 2
"""Beside one state for each viewer of a region: no canvas, and the one that a frame leads to."""


def new_tables(config: FleetConfig, settings: NDArray[Any], devices: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The fields of `layout.Arrays` that tell what viewers see. Writes group and state of `devices`, and `settings`."""
    width, height = int(settings["width"][0]), int(settings["height"][0])
    groups = np.zeros(1, layout.GROUP)
    groups["width"], groups["height"] = width, height
    frames, states, payloads, regions = layout.FRAMES_MAX, layout.STATES_MAX, (1, 1), (1, 1, 1)
    if config.region == "around" and config.connections:
        groups, devices["group"] = _regions_around(config, settings, width, height)
        sharing = int(np.bincount(devices["group"]).max()) + _SPARE_STATES
        frames, states = min(layout.REGION_FRAMES_MAX, sharing), min(layout.REGION_STATES_MAX, sharing)
        payloads = (len(groups) * frames, layout.REGION_PAYLOAD_BYTES_MAX)
        regions = (len(groups) * states, layout.REGION_SIDE, layout.REGION_SIDE)
    settings["frames_a_group"], settings["states_a_group"] = frames, states
    devices["state"] = devices["group"] * states
    rows = np.zeros(len(groups) * states, layout.STATE)
    np.add.at(rows["holders"], devices["state"], 1)
    branches = np.zeros((len(rows), layout.BRANCHES), layout.BRANCH)
    branches["frame"] = -1
    return {
        "groups": groups,
        "frames": np.zeros(len(groups) * frames, layout.FRAME),
        "states": rows,
        "branches": branches,
        "payloads": np.zeros(payloads, np.uint8),
        "regions": np.zeros(regions, np.uint8),
    }


def _regions_around(
    config: FleetConfig, settings: NDArray[Any], width: int, height: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The two by two tiles around each device's pixel: the different ones, dtype GROUP, and which is whose."""
    pixels = np.array([home_pixel(settings[0], d) for d in range(config.connections)], np.int64)
    across, down = tile_shape(width, height)
    tile_x, tile_y = (_first_tile(pixels % width, across), _first_tile(pixels // width, down))
    corners, members = np.unique(tile_y * across + tile_x, return_inverse=True)
    groups = np.zeros(len(corners), layout.GROUP)
    groups["x"], groups["y"] = corners % across * TILE_SIDE, corners // across * TILE_SIDE
    groups["width"] = np.minimum(groups["x"] + layout.REGION_SIDE, width) - groups["x"]
    groups["height"] = np.minimum(groups["y"] + layout.REGION_SIDE, height) - groups["y"]
    return groups, members.reshape(-1)


def _first_tile(pixel: NDArray[np.int64], tiles: int) -> NDArray[np.int64]:
    """The first of the two tiles around a pixel, along one side of a canvas of `tiles` tiles."""
    return np.clip((pixel + TILE_SIDE // 2) // TILE_SIDE - 1, 0, max(tiles - 2, 0))
