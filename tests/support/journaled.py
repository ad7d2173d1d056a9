"""Journals in a temporary folder, and entries for them."""

from server.config import ServerConfig
from server.journal.store import TickEntry
from server.protocol.blocks import Block, encode_blocks
from server.wire import Encoding

WIDTH, HEIGHT = 70, 45


NOW_NS = 5_000_000_000


def config_of(path, **settings):
    return ServerConfig(**{"width": WIDTH, "height": HEIGHT, "journal": str(path)} | settings)


def entry(tick, *cells, time_ns=NOW_NS, pixels=None):
    """A tick that sets cells (x, y, colour), all in one tile."""
    tile = cells[0][1] // 32 * 3 + cells[0][0] // 32
    offsets = tuple(y % 32 * 32 + x % 32 for x, y, _ in cells)
    blocks = encode_blocks([Block(tile, offsets, bytes(color for *_, color in cells))])
    return TickEntry(tick, time_ns, len(cells), 1, Encoding.RAW, blocks, pixels)
