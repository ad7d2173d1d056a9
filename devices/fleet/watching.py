"""Who watches what: the groups of viewers that share a region, and the tables of what they see.

Viewers of the whole canvas are one group. Invariant: a device's group is the region that it subscribes to, and every
device begins in its group's first state, which is no canvas.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.kernels import layout
from devices.kernels.patterns import home_pixel
from server.wire import TILE_SIDE, tile_shape


def new_tables(settings: NDArray[Any], devices: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The fields of `layout.Arrays` that tell what viewers see. Writes group and state of `devices`, and `settings`.

    There is a group for each region that any device may ever watch. Pages of memory that none touches cost nothing.
    """
    width, height = int(settings["width"][0]), int(settings["height"][0])
    groups = np.zeros(1, layout.GROUP)
    groups["width"], groups["height"] = width, height
    frames, states, payloads, regions = layout.FRAMES_MAX, layout.STATES_MAX, (1, 1), (1, 1, 1)
    if settings["region"][0] == layout.Region.AROUND:
        groups = _regions(width, height)
        frames, states = layout.REGION_FRAMES_MAX, layout.REGION_STATES_MAX
        payloads = (len(groups) * frames, layout.REGION_PAYLOAD_BYTES_MAX)
        regions = (len(groups) * states, layout.REGION_SIDE, layout.REGION_SIDE)
    settings["frames_a_group"], settings["states_a_group"] = frames, states
    rows = np.zeros(len(groups) * states, layout.STATE)
    join_groups(settings, devices, rows, 0)
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


def join_groups(settings: NDArray[Any], devices: NDArray[Any], states: NDArray[Any], first: int) -> None:
    """Put the devices from number `first` on into their groups, in the state that is no canvas."""
    joining = devices[first:]
    joining["group"] = 0
    if settings["region"][0] == layout.Region.AROUND:
        joining["group"] = _groups_around(settings, first, len(devices))
    joining["state"] = joining["group"] * int(settings["states_a_group"][0])
    np.add.at(states["holders"], joining["state"], 1)


def _corners(tiles: int) -> int:
    """How many places two tiles side by side have, along one side of a canvas of `tiles` tiles."""
    return max(tiles - 1, 1)


def _regions(width: int, height: int) -> NDArray[Any]:
    """All regions of two by two tiles, dtype GROUP, row by row; smaller where the canvas is."""
    across, down = (_corners(tiles) for tiles in tile_shape(width, height))
    numbers = np.arange(across * down)
    groups = np.zeros(across * down, layout.GROUP)
    groups["x"], groups["y"] = numbers % across * TILE_SIDE, numbers // across * TILE_SIDE
    groups["width"] = np.minimum(groups["x"] + layout.REGION_SIDE, width) - groups["x"]
    groups["height"] = np.minimum(groups["y"] + layout.REGION_SIDE, height) - groups["y"]
    return groups


def _groups_around(settings: NDArray[Any], first: int, end: int) -> NDArray[np.int64]:
    """Which of the regions is the one around the pixel of each device from `first` to before `end`."""
    width, height = int(settings["width"][0]), int(settings["height"][0])
    pixels = np.array([home_pixel(settings[0], d) for d in range(first, end)], np.int64)
    across, down = tile_shape(width, height)
    tile_x, tile_y = _first_tile(pixels % width, across), _first_tile(pixels // width, down)
    return tile_y * _corners(across) + tile_x


def _first_tile(pixel: NDArray[np.int64], tiles: int) -> NDArray[np.int64]:
    """The first of the two tiles around a pixel, along one side of a canvas of `tiles` tiles."""
    return np.clip((pixel + TILE_SIDE // 2) // TILE_SIDE - 1, 0, max(tiles - 2, 0))
