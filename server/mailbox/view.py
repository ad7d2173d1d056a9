"""What the mailbox server lets others see beside its counters: a row for each connection, and what became of each tile.

It is gathered now and then from where the work is done in plain Python, a column at a time: an array is slow to touch
once a placement. Invariant: rows and tiles say what was true at the last `write`, and a slot has one client at a time.
"""

import numpy as np
from numpy.typing import NDArray

from server.ipc.page import Page
from server.kernels.layout import CONNECTION, TILE_SIDE, Phase
from server.mailbox.client import MailboxClient

_SAME = (
    "number", "cursor", "interval_ns", "due_ns", "full_ns", "over_ns", "over_since_ns", "progress_ns",
    "received_count", "admitted_count", "throttled_count", "shed_count", "out_of_bounds_count", "delta_count",
    "opened_ns", "received_bytes", "sent_bytes",
)  # fmt: skip
"""What a client and a row call by the same name."""


class ClientRows:
    """The rows of `slots` clients, on a page with `connection_sections` if there is one."""

    def __init__(self, page: Page | None, slots: int) -> None:
        self._rows: NDArray[np.void] = np.zeros(slots, CONNECTION) if page is None else page["connections"][0][:slots]
        self._free = list(range(slots - 1, -1, -1))
        self._slots: dict[MailboxClient, int] = {}

    def enter(self, client: MailboxClient) -> None:
        """Give a client a row. There is one: so many clients are let in at most."""
        self._slots[client] = self._free.pop()

    def leave(self, client: MailboxClient) -> None:
        """Clear a client's row, for the next."""
        slot = self._slots.pop(client)
        self._rows[slot] = np.zeros((), CONNECTION)
        self._free.append(slot)

    def write(self) -> None:
        """Write what all clients are and have done by now. Cost: O(clients)."""
        clients, slots = list(self._slots), list(self._slots.values())
        for name in _SAME:
            self._rows[name][slots] = [getattr(client, name) for client in clients]
        self._rows["phase"][slots] = [Phase.FAST if client.opened_ns else Phase.SLOW for client in clients]
        self._rows["subscribed"][slots] = [client.tiles is not None for client in clients]
        self._rows["outbox_end"][slots] = [client.owed_bytes for client in clients]
        for index, name in enumerate(("tile_x0", "tile_y0", "tile_x1", "tile_y1")):
            self._rows[name][slots] = [client.tiles[index] if client.tiles else 0 for client in clients]


class TileCounts:
    """What became of the placements in each tile, on a page with `canvas_sections`."""

    def __init__(self, page: Page) -> None:
        self._tiles, self._pixel_tick, self._tile_tick = page["tiles"], page["pixel_tick"], page["tile_tick"]
        self.across: int = self._tiles.shape[1]
        self.applied = [0] * self._tiles.size
        """Placements written to each tile so far, by its number."""
        self.throttled = [0] * self._tiles.size
        """The same of those refused for rate."""

    def tile_of(self, x: int, y: int) -> int:
        """The number of the tile in which a pixel is."""
        return (y >> 5) * self.across + (x >> 5)

    def write(self, tick: int) -> None:
        """Write all counts, and what `tick` merged. To be called once a tick, at its end. Cost: O(tiles)."""
        self._tiles["applied_count"] = np.reshape(self.applied, self._tiles.shape)
        self._tiles["throttled_count"] = np.reshape(self.throttled, self._tiles.shape)
        for tile_y, tile_x in np.argwhere(self._tile_tick == tick).tolist():
            top, left = tile_y * TILE_SIDE, tile_x * TILE_SIDE
            merged = self._pixel_tick[top : top + TILE_SIDE, left : left + TILE_SIDE] == tick
            self._tiles["merged_count"][tile_y, tile_x] += np.count_nonzero(merged)
            self._tiles["merged_tick"][tile_y, tile_x] = tick
