"""What changed on a canvas since a tick, as one DELTA in plain Python: the obvious form of the compiled encoder.

Invariant: the tiles of a region, in their order, each as the shortest of its three kinds.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from server.kernels.layout import TILE_SIDE
from server.protocol.blocks import encode_block, tile_colors
from server.protocol.body import write_body
from server.protocol.messages import DELTA, ServerOp

COMPRESS_BYTES_MIN = 512
"""Below this a zlib stream saves less than a client pays to open it."""


def encode_changes(
    pixels: NDArray[np.uint8], pixel_tick: NDArray[np.uint32], tiles: tuple[int, int, int, int], since: int, tick: int
) -> tuple[bytes, int]:
    """The DELTA message of `tick` with all that changed after tick `since` in the tiles (x0, y0, x1, y1), half open.

    pixels, pixel_tick: shape (height, width). Returns the message and its number of pixels; b"" when nothing changed.
    """
    x0, y0, x1, y1 = tiles
    across = -(-pixels.shape[1] // TILE_SIDE)
    numbers = (tile_y * across + tile_x for tile_y in range(y0, y1) for tile_x in range(x0, x1))
    return encode_tiles(pixels, pixel_tick, numbers, since, tick)


def encode_tiles(
    pixels: NDArray[np.uint8], pixel_tick: NDArray[np.uint32], numbers: Iterable[int], since: int, tick: int
) -> tuple[bytes, int]:
    """As `encode_changes`, of the tiles with these numbers, ascending. Cost: O(tiles)."""
    across = -(-pixels.shape[1] // TILE_SIDE)
    blocks, pixel_count = [], 0
    for tile in numbers:
        top, left = tile // across * TILE_SIDE, tile % across * TILE_SIDE
        area = np.s_[top : top + TILE_SIDE, left : left + TILE_SIDE]
        rows, columns = np.nonzero(pixel_tick[area] > since)
        if len(rows):
            colors = pixels[area][rows, columns].tobytes()
            offsets = (rows * TILE_SIDE + columns).tolist()
            blocks.append(encode_block(tile, offsets, colors, tile_colors(pixels, tile)))
            pixel_count += len(offsets)
    if not blocks:
        return b"", 0
    raw = b"".join(blocks)
    encoding, body = write_body(raw, compress=len(raw) >= COMPRESS_BYTES_MIN)
    return DELTA.pack(ServerOp.DELTA, encoding, len(blocks), tick & 0xFFFFFFFF) + body, pixel_count
