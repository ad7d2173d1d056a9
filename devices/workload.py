"""Who sends what when: a fleet's settings turned into arrays.

Pure arithmetic; the draws themselves are in `kernels.arrivals`. Invariant: the same settings and seed give the same
arrays.
"""

import numpy as np
from numpy.typing import NDArray

from devices.config import FleetConfig
from devices.kernels import layout
from devices.kernels.chance import seeded
from devices.kernels.layout import Arrays
from devices.kernels.patterns import scatter_bits
from devices.patterns import draw_ridges
from devices.watching import new_tables
from server.page import Page

_SECOND_NS = 1_000_000_000


def spread(count: int, of: int) -> NDArray[np.bool_]:
    """Which `count` of `of` devices, evenly spread over their numbers. Shape (of,)."""
    index = np.arange(of, dtype=np.int64)
    return (index + 1) * count // max(of, 1) > index * count // max(of, 1)


def new_arrays(config: FleetConfig, width: int, height: int, seed: int, page: Page, board: NDArray[np.uint8]) -> Arrays:
    """The arrays of a fleet that is about to connect; `page` has `fleet_sections`. See `layout.Arrays`."""
    count, frames = config.connections, config.frames_per_write
    settings, devices = _settings(config, width, height, seed), _devices(config)
    tables = new_tables(config, settings, devices)
    return Arrays(
        devices=devices,
        due_ns=np.full(count, layout.NEVER_NS, np.int64),
        times=np.zeros((count, frames), np.int64),
        probe_times=np.zeros((count, frames), np.int64),
        settings=settings,
        counters=page["fleet"],
        latency=page["latency"],
        latency_max_us=page["latency_max_us"],
        lateness=page["lateness"],
        lateness_max_us=page["lateness_max_us"],
        board=board,
        ridges=draw_ridges(width),
        **tables,
    )


def _devices(config: FleetConfig) -> NDArray[np.void]:
    count = config.connections
    devices = np.zeros(count, layout.DEVICE)
    devices["fd"] = -1
    devices["wake_ns"] = layout.NEVER_NS
    devices["send_next_ns"] = layout.NEVER_NS
    devices["offer_next_ns"] = layout.NEVER_NS
    devices["viewer"] = spread(config.viewer_count, count)
    slow = spread(round(config.slow_ratio * config.viewer_count), config.viewer_count)
    devices["slow"][np.flatnonzero(devices["viewer"])[slow]] = 1
    greedy = spread(round(config.greedy_ratio * count), count)
    devices["greedy"] = greedy
    if config.rate_per_s > 0:
        rates = config.rate_per_s * np.where(greedy, config.greedy_factor, 1.0)
        devices["interval_ns"] = np.maximum(np.rint(_SECOND_NS / rates), 1).astype(np.int64)
    return devices


def _settings(config: FleetConfig, width: int, height: int, seed: int) -> NDArray[np.void]:
    settings = np.zeros(1, layout.SETTINGS)
    word = seed & (2**64 - 1)
    settings["seed"] = word
    settings["mask_word"] = seeded(np.uint64(word), np.uint64(2**63))
    settings["stop_ns"] = layout.NEVER_NS
    settings["device_count"] = config.connections
    settings["width"], settings["height"] = width, height
    settings["scatter_bits"] = scatter_bits(width * height)
    settings["frames_per_write"] = config.frames_per_write
    settings["arrivals"] = layout.Arrivals[config.arrivals.upper()]
    settings["pattern"] = layout.Pattern[config.pattern.upper()]
    settings["region"] = layout.Region[config.region.upper()]
    return settings
