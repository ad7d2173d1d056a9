"""What a mailbox server shows: counters, a row for each connection, and counts for each tile, on shared pages.

While it works it counts in plain Python numbers. A number of a page costs three times as much to add to, and those
who read it look ten times a second.
"""

import numpy as np
from numpy.typing import NDArray

from server.ipc.page import Page
from server.kernels.layout import CONNECTION, LOOP, STAGE, STAGE_COUNT, Phase, Stage
from server.mailbox.client import MailboxClient
from server.wire import TILE_SIDE

# What a client and a row of dtype CONNECTION call by the same name.
_SAME = [name for name in CONNECTION.names or () if name in MailboxClient.__slots__]


class Tally:
    """The LOOP row and the STAGE rows of the one loop. depths_max: the limits of the queues before the stages."""

    def __init__(self, telemetry: Page, depths_max: dict[Stage, int]) -> None:
        self.counts: dict[str, int] = dict.fromkeys(LOOP.names or (), 0)
        self.stages: list[dict[str, int]] = [dict.fromkeys(STAGE.names or (), 0) for _ in range(STAGE_COUNT)]
        for index, row in enumerate(self.stages):
            row["depth_max"] = depths_max.get(Stage(index), 1)
        self._page = telemetry

    def queued(self, stage: Stage, depth: int) -> None:
        """Count a batch of a stage, with `depth` items in the queue before it."""
        row = self.stages[stage]
        row["batch_count"] += 1
        row["depth"] = depth
        row["depth_sum"] += depth
        row["depth_peak"] = max(row["depth_peak"], depth)

    def served(self, stage: Stage, items: int, busy_ns: int) -> None:
        """Count what a stage has done."""
        row = self.stages[stage]
        row["item_count"] += items
        row["busy_ns"] += busy_ns

    def take_peaks(self) -> list[int]:
        """The longest queue before each stage since the last call."""
        peaks = [row["depth_peak"] for row in self.stages]
        for row in self.stages:
            row["depth_peak"] = 0
        return peaks

    def unaccounted(self) -> int:
        """Placements received that are neither admitted nor refused. Anything but 0 is a bug."""
        counts = self.counts
        refused = counts["throttled_count"] + counts["shed_count"] + counts["out_of_bounds_count"]
        return abs(counts["received_count"] - counts["admitted_count"] - refused)

    def publish(self) -> None:
        """Write the rows of the page."""
        self._page["loops"][0] = tuple(self.counts.values())
        self._page["stages"][0] = [tuple(row.values()) for row in self.stages]


class ClientRows:
    """The rows of `slots` clients, on a page with `connection_sections` if there is one."""

    def __init__(self, page: Page | None, slots: int) -> None:
        self._rows: NDArray[np.void] = np.zeros(slots, CONNECTION) if page is None else page["connections"][0][:slots]
        self._free = list(range(slots - 1, -1, -1))
        self._slots: dict[MailboxClient, int] = {}

    def enter(self, client: MailboxClient) -> None:
        """Give a client a row. There is one for each that the server accepts."""
        self._slots[client] = self._free.pop()

    def leave(self, client: MailboxClient) -> None:
        """Clear a client's row, for the next."""
        slot = self._slots.pop(client)
        self._rows[slot] = np.zeros((), CONNECTION)
        self._free.append(slot)

    def write(self) -> None:
        """Write all rows, a column at a time. Cost: O(clients)."""
        clients, slots = list(self._slots), list(self._slots.values())
        for name in _SAME:
            self._rows[name][slots] = [getattr(client, name) for client in clients]
        self._rows["phase"][slots] = [Phase.FAST if client.opened_ns else Phase.SLOW for client in clients]
        self._rows["subscribed"][slots] = [client.tiles is not None for client in clients]
        self._rows["outbox_end"][slots] = [client.owed_bytes for client in clients]
        for index, name in enumerate(("tile_x0", "tile_y0", "tile_x1", "tile_y1")):
            self._rows[name][slots] = [client.tiles[index] if client.tiles else 0 for client in clients]


class TileCounts:
    """What became of the placements in each tile, by its number, on a page with `canvas_sections`."""

    def __init__(self, page: Page) -> None:
        self._tiles, self._pixel_tick, self._tile_tick = page["tiles"], page["pixel_tick"], page["tile_tick"]
        self._across: int = self._tiles.shape[1]
        self.applied = [0] * self._tiles.size
        self.throttled = [0] * self._tiles.size

    def tile_of(self, x: int, y: int) -> int:
        """The number of the tile that a pixel is in."""
        return y // TILE_SIDE * self._across + x // TILE_SIDE

    def write(self, tick: int) -> None:
        """Write all counts, and what `tick` merged. To be called once a tick, at its end. Cost: O(tiles)."""
        self._tiles["applied_count"] = np.reshape(self.applied, self._tiles.shape)
        self._tiles["throttled_count"] = np.reshape(self.throttled, self._tiles.shape)
        for tile_y, tile_x in np.argwhere(self._tile_tick == tick).tolist():
            top, left = tile_y * TILE_SIDE, tile_x * TILE_SIDE
            merged = self._pixel_tick[top : top + TILE_SIDE, left : left + TILE_SIDE] == tick
            self._tiles["merged_count"][tile_y, tile_x] += np.count_nonzero(merged)
            self._tiles["merged_tick"][tile_y, tile_x] = tick
