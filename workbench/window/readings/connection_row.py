"""One connection as the server's page shows it, in terms of a person: found by its number, read as a frozen record.

The server writes the page as it works, and nobody waits: a row may be read half of now and half of a moment ago.
Invariants: a slot that is free is never taken for connection 0; a row is of one connection.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.kernels.layout import Phase

_PHASE_WORDS = {Phase.FREE: "gone", Phase.SLOW: "slow path", Phase.FAST: "fast path", Phase.DEAD: "closing"}


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """All there is to know of one connection; counts since it was opened, bytes as the socket moved them."""

    number: int
    loop: int
    phase: str
    watches: bool
    cursor: int
    """The tick up to which it has been sent everything."""
    tokens: float
    """Left in its bucket."""
    outbox_bytes: int
    opened_ns: int
    received_count: int
    admitted_count: int
    throttled_count: int
    shed_count: int
    out_of_bounds_count: int
    received_bytes: int
    sent_bytes: int

    @property
    def dropped_count(self) -> int:
        """Placements not let in, for whatever reason."""
        return self.throttled_count + self.shed_count + self.out_of_bounds_count


def tokens_left(full_ns: int, now_ns: int, rate_per_s: float, burst: int) -> float:
    """Tokens in a bucket that will be full again at `full_ns`: 0 to `burst`."""
    return float(min(max(burst - max(full_ns - now_ns, 0) * rate_per_s / 1e9, 0.0), burst))


def place_of(connections: NDArray[Any], number: int) -> tuple[int, int] | None:
    """Loop and slot of the connection of this number; None when it is gone. Shape of `connections`: (loops, slots)."""
    for loop, slot in np.argwhere(connections["number"] == number).tolist():
        if connections[loop, slot]["phase"] != Phase.FREE:
            return loop, slot
    return None


def first_number(connections: NDArray[Any]) -> int | None:
    """The number of the first connection on the fast path, to follow when nobody was chosen; None: there is none."""
    flat = connections.reshape(-1)
    found = np.flatnonzero((flat["phase"] == Phase.FAST) & (flat["received_count"] > 0))
    return int(flat["number"][found[0]]) if len(found) else None


def read_row(
    connections: NDArray[Any], number: int, now_ns: int, rate_per_s: float, burst: int
) -> ConnectionRow | None:
    """The connection of this number; None when it is gone."""
    place = place_of(connections, number)
    if place is None:
        return None
    row = connections[place]
    counts = ("received_count", "admitted_count", "throttled_count", "shed_count", "out_of_bounds_count")
    found = ConnectionRow(
        number=number,
        loop=place[0],
        phase=_PHASE_WORDS[Phase(int(row["phase"]))],
        watches=bool(row["subscribed"]),
        cursor=int(row["cursor"]),
        tokens=tokens_left(int(row["full_ns"]), now_ns, rate_per_s, burst),
        outbox_bytes=int(row["outbox_end"]) - int(row["outbox_start"]),
        opened_ns=int(row["opened_ns"]),
        received_bytes=int(row["received_bytes"]),
        sent_bytes=int(row["sent_bytes"]),
        **{name: int(row[name]) for name in counts},
    )
    return found if row["number"] == number else None  # Else it was another's before all was read.


def watchers_by_tile(connections: NDArray[Any], across: int, down: int) -> NDArray[np.int64]:
    """How many subscriptions watch each tile. `connections`: CONNECTION, any shape. Returns shape (down, across).

    A rectangle adds one at its first corner and at the one across, and takes one at the others; two running sums make
    that its area. O(connections + tiles).
    """
    flat = connections.reshape(-1)
    open_now = (flat["phase"] == Phase.FAST) | (flat["phase"] == Phase.SLOW)
    watching = open_now & (flat["subscribed"] == 1)
    left, right = (np.minimum(flat[name][watching], across).astype(np.int64) for name in ("tile_x0", "tile_x1"))
    top, bottom = (np.minimum(flat[name][watching], down).astype(np.int64) for name in ("tile_y0", "tile_y1"))
    stride, room = across + 1, (across + 1) * (down + 1)
    corners = np.zeros(room, np.int64)
    for y, x, sign in ((top, left, 1), (bottom, right, 1), (top, right, -1), (bottom, left, -1)):
        corners += sign * np.bincount(y * stride + x, minlength=room)
    return corners.reshape(down + 1, stride).cumsum(0).cumsum(1)[:down, :across]
