"""A fleet's settings as arrays: which device sends, greedily or not, watches, or never reads.

Pure arithmetic: the same settings and seed give the same arrays. Send times are drawn in `kernels.schedule`.
"""

import numpy as np
from numpy.typing import NDArray

from devices.config import FleetConfig
from devices.fleet.patterns import draw_ridges
from devices.fleet.viewer import join_groups, new_tables
from devices.kernels import layout
from devices.kernels.layout import Arrays
from devices.kernels.patterns import scatter_bits
from devices.kernels.random import seeded
from server.ipc.page import Page

_SECOND_NS = 1_000_000_000
# One placement in eleven days: slower rates would leave the range of times.
_INTERVAL_NS_MAX = 10**15
# Fields of `Arrays` that are sections of the page, under the same names.
_PAGE_SECTIONS = (
    *("latency", "latency_max_us", "brushed_latency", "brushed_latency_max_us", "tile_latency"),
    *("journeys", "journey_head", "lateness", "lateness_max_us"),
)


def spread(count: int, of: int) -> NDArray[np.bool_]:
    """Choose `count` of `of` devices, evenly spread over their numbers. Shape (of,)."""
    # Device i is chosen where i * count / of passes a whole number: so are those of every prefix, evenly.
    index = np.arange(of, dtype=np.int64)
    return (index + 1) * count // max(of, 1) > index * count // max(of, 1)


def new_arrays(config: FleetConfig, width: int, height: int, seed: int, page: Page, board: NDArray[np.uint8]) -> Arrays:
    """The arrays of a fleet that is about to connect; `page` has `fleet_sections`."""
    count, frames = config.connections, config.frames_per_write
    epochs = np.zeros(layout.EPOCHS_MAX, layout.EPOCH)
    epochs[0] = new_epoch(config)
    settings, devices = _settings(config, width, height, seed), _blank_devices(count)
    devices["viewer"], devices["slow"] = watchers(config)
    devices["greedy"] = spread(int(epochs["greedy_count"][0]), count)
    devices["interval_ns"] = np.where(devices["greedy"], epochs["greedy_interval_ns"][0], epochs["interval_ns"][0])
    arrays = Arrays(
        devices=devices,
        due_ns=np.full(count, layout.NEVER_NS, np.int64),
        times=np.zeros((count, frames), np.int64),
        probes=np.zeros(layout.PROBES_MAX, layout.PROBE),
        probe_times=np.zeros((layout.PROBES_MAX, frames), np.int64),
        epochs=epochs,
        settings=settings,
        counters=page["fleet"],
        board=board,
        ridges=draw_ridges(width),
        **new_tables(settings, devices),
        **{name: page[name] for name in _PAGE_SECTIONS},
    )
    clear_probes(arrays)
    return arrays


def grown(arrays: Arrays, count: int, frames: int) -> Arrays:
    """The same fleet with room for at least `count` devices and `frames` placements per write; new ones are idle."""
    have = len(arrays.devices)
    count, frames = max(count, have), max(frames, arrays.times.shape[1])
    if (count, frames) == arrays.times.shape:
        return arrays
    # New arrays, not resized ones: kernels keep no pointer to them between calls.
    devices = _blank_devices(count)
    devices[:have] = arrays.devices
    join_groups(arrays.settings, devices, arrays.states, have)
    due_ns = np.full(count, layout.NEVER_NS, np.int64)
    due_ns[:have] = arrays.due_ns
    times, probe_times = _wider(arrays.times, count, frames), _wider(arrays.probe_times, layout.PROBES_MAX, frames)
    return arrays._replace(devices=devices, due_ns=due_ns, times=times, probe_times=probe_times)


def clear_probes(arrays: Arrays) -> None:
    """Drop all probes: every queue is empty, every row but the first is free."""
    for name in ("probe_first", "probe_waiting", "probe_last", "ping_nonce", "fenced"):
        arrays.devices[name] = 0
    arrays.probes["next"] = np.arange(1, layout.PROBES_MAX + 1) % layout.PROBES_MAX
    arrays.settings["probe_free"] = 1
    arrays.settings["probe_free_count"] = layout.PROBES_MAX - 1


def _wider(before: NDArray[np.int64], rows: int, columns: int) -> NDArray[np.int64]:
    wider = np.zeros((rows, columns), np.int64)
    wider[: before.shape[0], : before.shape[1]] = before
    return wider


def new_epoch(config: FleetConfig, rate_factor: float = 1.0) -> NDArray[np.void]:
    """The EPOCH of these settings, shape (), without an end."""
    epoch = np.zeros((), layout.EPOCH)
    rate_per_s = config.rate_per_s * rate_factor
    epoch["end_ns"] = layout.NEVER_NS
    epoch["interval_ns"] = _interval_ns(rate_per_s)
    epoch["greedy_interval_ns"] = _interval_ns(rate_per_s * config.greedy_factor)
    epoch["greedy_count"] = round(config.greedy_ratio * config.connections)
    epoch["device_count"] = config.connections
    epoch["burst_ratio"] = config.burst_ratio
    epoch["arrivals"] = layout.Arrivals[config.arrivals.upper()]
    return epoch


def watchers(config: FleetConfig) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which devices watch, and which of these never read. Shapes (connections,)."""
    viewers = spread(config.viewer_count, config.connections)
    # Slow ones are spread among the viewers, not taken from one end of the fleet.
    slow = np.zeros(config.connections, np.bool_)
    count = config.viewer_count - config.reading_count
    slow[np.flatnonzero(viewers)[spread(count, config.viewer_count)]] = True
    return viewers, slow


def write_settings(settings: NDArray[np.void], config: FleetConfig) -> None:
    """Write these settings for the kernels, except the schedule's epoch and the region."""
    settings["device_count"] = config.connections
    settings["frames_per_write"] = config.frames_per_write
    settings["arrivals"] = layout.Arrivals[config.arrivals.upper()]
    settings["pattern"] = layout.Pattern[config.pattern.upper()]
    settings["interval_ms"] = config.interval_ms
    settings["brake_ns"] = round(config.viewer_brake_us * 1000)


def _interval_ns(rate_per_s: float) -> int:
    return min(max(round(_SECOND_NS / rate_per_s), 1), _INTERVAL_NS_MAX) if rate_per_s > 0 else 0


def _blank_devices(count: int) -> NDArray[np.void]:
    devices = np.zeros(count, layout.DEVICE)
    devices["fd"] = -1
    for name in ("wake_ns", "send_next_ns", "offer_next_ns"):
        devices[name] = layout.NEVER_NS
    return devices


def _settings(config: FleetConfig, width: int, height: int, seed: int) -> NDArray[np.void]:
    settings = np.zeros(1, layout.SETTINGS)
    word = seed & (2**64 - 1)
    settings["seed"] = word
    # A stream of its own, so that masks and probe times do not disturb the schedules of the seed.
    settings["mask_word"] = seeded(np.uint64(word), np.uint64(2**63))
    settings["stop_ns"] = layout.NEVER_NS
    settings["followed"] = -1
    settings["width"], settings["height"] = width, height
    settings["scatter_bits"] = scatter_bits(width * height)
    settings["region"] = layout.Region[config.region.upper()]
    write_settings(settings, config)
    return settings
