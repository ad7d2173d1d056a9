"""Journals in a temporary folder, and entries for them."""

import pytest

from server.config import ServerConfig
from server.journal import schema
from server.journal.recovery import TICK_RESERVED, recover
from server.journal.store import TickEntry
from server.protocol.blocks import Block, encode_blocks

WIDTH, HEIGHT = 70, 45


NOW_NS = 5_000_000_000


def config_of(path, **settings):
    return ServerConfig(**{"width": WIDTH, "height": HEIGHT, "journal": str(path)} | settings)


def entry(tick, *cells, time_ns=NOW_NS, pixels=None):
    """A tick that sets cells (x, y, colour), all in one tile."""
    tile = cells[0][1] // 32 * 3 + cells[0][0] // 32
    offsets = tuple(y % 32 * 32 + x % 32 for x, y, _ in cells)
    blocks = encode_blocks([Block(tile, offsets, bytes(color for *_, color in cells))])
    return TickEntry(tick, time_ns, len(cells), 1, schema.PLAIN, blocks, pixels)


@pytest.fixture
def path(tmp_path):
    """A journal in which ticks 1, 2, 3 and 5 set the pixels (tick, 0) to their number."""
    path = tmp_path / "canvas.pxj"
    store = recover(config_of(path), NOW_NS).store
    store.add([entry(tick, (tick, 0, tick)) for tick in (1, 2, 3, 5)], {TICK_RESERVED: "9"})
    store.close()
    return path
