"""Makes a tick's blocks as short as they can be for a recording, which is kept for long and sent to nobody.

A device often paints a pixel in the colour that it has; the broadcast tells such pixels, a recording need not. And a
bitmap of the changed cells compresses better than their offsets. Invariant: applied in their order, the condensed
blocks give the canvas that the original ones give.
"""

import zlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from server.journal.schema import ZLIB
from server.journal.store import TickEntry
from server.protocol.blocks import changed_cells
from server.wire import BLOCK_HEAD, TILE_PIXELS, TILE_SIDE, BlockKind, tile_shape

_LEVEL = 6
"""Of zlib. A tick is condensed beside the loops, where a few milliseconds are at hand."""
_BYTES_MAX = 16 * 1024
"""Longer blocks are left as they are: much of the canvas changed, and to sort that out costs more than it saves."""


class DeltaCompressor:
    """Follows one canvas, tick by tick."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._pixels = np.zeros(width * height, np.uint8)

    def condense(self, entry: TickEntry) -> TickEntry:
        """The same tick, with what it changed only; or as it is where that is not shorter, or too long."""
        raw = zlib.decompress(entry.blocks) if entry.encoding == ZLIB else entry.blocks
        where, colors = changed_cells(raw, entry.tile_count, self._width, self._height)
        is_new = self._pixels[where] != colors
        self._pixels[where] = colors
        if entry.pixels is not None:
            self._pixels[:] = np.frombuffer(entry.pixels, np.uint8)
        if len(entry.blocks) > _BYTES_MAX:
            return entry
        blocks, tile_count = self._blocks(where[is_new], colors[is_new])
        packed = zlib.compress(blocks, _LEVEL)
        if len(packed) >= len(entry.blocks):
            return entry
        return replace(entry, encoding=ZLIB, tile_count=tile_count, blocks=packed)

    def _blocks(self, where: NDArray[np.int64], colors: NDArray[np.uint8]) -> tuple[bytes, int]:
        """Bitmap blocks of these cells, each given once, and how many blocks there are."""
        if not len(where):
            return b"", 0
        across, _ = tile_shape(self._width, self._height)
        y, x = np.divmod(where, self._width)
        cell = (y // TILE_SIDE * across + x // TILE_SIDE) * TILE_PIXELS + y % TILE_SIDE * TILE_SIDE + x % TILE_SIDE
        order = np.argsort(cell)
        tile, offset = np.divmod(cell[order], TILE_PIXELS)
        tiles, firsts = np.unique(tile, return_index=True)
        bits = np.zeros((len(tiles), TILE_PIXELS), np.uint8)
        bits[np.repeat(np.arange(len(tiles)), np.diff(firsts, append=len(tile))), offset] = 1
        bitmaps = np.packbits(bits, axis=1, bitorder="little")
        newest = colors[order].tobytes()
        ends = [*firsts[1:].tolist(), len(newest)]
        parts = [
            BLOCK_HEAD.pack(number, BlockKind.BITMAP) + bitmap.tobytes() + newest[first:end]
            for number, bitmap, first, end in zip(tiles.tolist(), bitmaps, firsts.tolist(), ends, strict=True)
        ]
        return b"".join(parts), len(parts)
