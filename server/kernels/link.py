"""The layout of a memory link: a ring of blocks from a fleet to its server, and a view of the broadcast back.

Imports no compiler. Each word has one writer at any time, and the word that gives something away is written last.
"""

from enum import IntEnum

import numpy as np


class BlockState(IntEnum):
    """Whose a block of a memory link is."""

    FREE = 0  # The fleet's, to fill.
    FULL = 1  # The server's, to serve.


BLOCK = np.dtype(
    [
        ("state", "i8"),  # A BlockState. Written last, by the side that gives the block away.
        ("segment_count", "i8"),  # Rows of its segments in use.
        ("tick", "i8"),  # Last finished tick when it was served: what it holds is in a DELTA after it.
    ],
    align=True,
)

LINK = np.dtype(
    [
        ("device_count", "i8"),  # Connections, open from the start: device d has slot d.
        ("viewer_count", "i8"),  # Of these, watch the whole canvas.
        ("tick_ms", "i8"),
        ("view_serial", "i8"),  # DELTAs put into the view so far. Written last.
        ("view_bytes", "i8"),  # Length of the newest, WebSocket header included.
        ("view_taken", "i8"),  # DELTAs that the fleet has taken out; the view is the server's when all are.
    ],
    align=True,
)

LINK_BLOCKS = 16
# A block's arena: what becomes of it between the stages still fits the cache of one core.
LINK_BYTES = 256 * 1024
LINK_SEGMENTS = 4096

assert BLOCK.itemsize == 24
assert LINK.itemsize == 48
