"""Shared memory pages: arrays that one process writes and others read, without waiting.

A page is an anonymous file that is inherited by its descriptor. So it has no name, needs no cleaning up, and disappears
with the last process that has it open. Its head identifies the layout, so that a reader with another layout refuses it.
Counters need no lock (see `kernels.layout`).

    OFFSET  SIZE  FIELD    MEANING
         0     8  magic    b"PXCANVAS"
         8     4  version  LAYOUT_VERSION
        12     4  size     bytes of the page, head included
        16    32  digest   SHA-256 over names, dtypes and shapes of the sections
        64        sections, each at the next multiple of 64
"""

import hashlib
import mmap
import os
import struct
import tempfile
import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.kernels import layout, link
from server.wire import FULL_BLOCK_BYTES, TILES_MAX, tile_shape

_HEAD = struct.Struct("<8sII32s")
_ALIGNMENT = 64

Section = tuple[np.dtype[Any], tuple[int, ...]]

assert _HEAD.size <= _ALIGNMENT


class PageError(Exception):
    """A descriptor of something else than a page, or of a page with another layout."""


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _anonymous_file(size: int) -> int:
    """A descriptor of a file without a name, of `size` zero bytes."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pixel-canvas", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:  # Unlinked at once: nameless on every POSIX system.
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


class Page:
    """Named arrays over one shared mapping. The creator makes it; others attach by descriptor."""

    def __init__(self, descriptor: int, sections: Mapping[str, Section], *, create: bool) -> None:
        self.descriptor = descriptor
        # The creator's descriptor is closed with the object. An inherited one is closed by `close` only: the number
        # belongs to the caller.
        self._close_descriptor = (
            weakref.finalize(self, os.close, descriptor) if create else partial(os.close, descriptor)
        )
        self._mapping = mmap.mmap(descriptor, self.size_bytes(sections))
        digest = self._digest(sections)
        if create:
            _HEAD.pack_into(self._mapping, 0, b"PXCANVAS", layout.LAYOUT_VERSION, len(self._mapping), digest)
        else:
            magic, version, size, found = _HEAD.unpack_from(self._mapping, 0)
            if magic != b"PXCANVAS":
                raise PageError(f"descriptor {descriptor} holds no page (it begins with {magic!r})")
            if (version, size, found) != (layout.LAYOUT_VERSION, len(self._mapping), digest):
                raise PageError(f"page has layout {version} of {size} bytes, this program has {layout.LAYOUT_VERSION}")
        self._arrays: dict[str, NDArray[Any]] = {}
        offset = _ALIGNMENT
        for name, (dtype, shape) in sections.items():
            count = int(np.prod(shape))
            # An array keeps the mapping alive, so it stays valid after `close`.
            flat = np.frombuffer(self._mapping, dtype, count, offset)
            self._arrays[name] = flat.reshape(shape)
            offset = _aligned(offset + count * dtype.itemsize)

    @classmethod
    def create(cls, sections: Mapping[str, Section]) -> "Page":
        """A new page of zeros. `sections`: name to (dtype, shape)."""
        return cls(_anonymous_file(cls.size_bytes(sections)), sections, create=True)

    @classmethod
    def attach(cls, descriptor: int, sections: Mapping[str, Section]) -> "Page":
        """The page of an inherited descriptor. Raises PageError if it has another layout."""
        size, needed = os.fstat(descriptor).st_size, cls.size_bytes(sections)
        if size < needed:
            raise PageError(f"descriptor {descriptor} has {size} bytes, the page needs {needed}")
        return cls(descriptor, sections, create=False)

    @staticmethod
    def size_bytes(sections: Mapping[str, Section]) -> int:
        """Bytes of a page with these sections, head included."""
        offset = _ALIGNMENT
        for dtype, shape in sections.values():
            offset = _aligned(offset + int(np.prod(shape)) * dtype.itemsize)
        return offset

    @staticmethod
    def _digest(sections: Mapping[str, Section]) -> bytes:
        # `descr` includes names, types and padding, so that any change of a layout is noticed.
        text = ";".join(f"{name}:{dtype.descr}:{shape}" for name, (dtype, shape) in sections.items())
        return hashlib.sha256(text.encode()).digest()

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def close(self) -> None:
        """Close the descriptor. The memory is unmapped with the last array."""
        self._arrays.clear()
        if self.descriptor >= 0:
            self._close_descriptor()
            self.descriptor = -1


def newest_rows(ring: NDArray[Any], head: NDArray[np.int64], since: int = 0) -> NDArray[Any]:
    """A copy of the rows of a ring from row number `since` on, oldest first.

    The writer writes a row and then counts it in `head`, shape (1,). Rows that it has overwritten meanwhile, or may be
    overwriting, are left out.
    """
    end, size = int(head[0]), len(ring)
    # `head` is read before the rows, so each of them was complete then.
    first = max(end - size, since, 0)
    rows: NDArray[Any] = ring[np.arange(first, end) % size]
    # Read again after the copy. The row after the newest may be half written, so the oldest one is lost, too.
    oldest = int(head[0]) + 1 - size
    return rows[max(oldest - first, 0) :]


def telemetry_sections(loop_count: int) -> dict[str, Section]:
    """Sections of the server's telemetry page."""
    return {
        "server": (layout.SERVER, (1,)),
        "loops": (layout.LOOP, (loop_count,)),
        "stages": (layout.STAGE, (loop_count, layout.STAGE_COUNT)),
        "ticks": (layout.TICK, (layout.TICK_ROWS,)),
    }


def canvas_sections(width: int, height: int) -> dict[str, Section]:
    """Sections of the canvas page: colours, the ticks of the last changes, painters, and counters of tiles.

    `pixel_painter` is the number of the connection that last painted a pixel, plus one; 0: none yet.
    """
    across, down = tile_shape(width, height)
    return {
        "pixels": (np.dtype("u1"), (height, width)),
        "pixel_tick": (np.dtype("u4"), (height, width)),
        "tile_tick": (np.dtype("u4"), (down, across)),
        "pixel_painter": (np.dtype("u4"), (height, width)),
        "tiles": (layout.TILE, (down, across)),
    }


def connection_sections(loop_count: int, slots: int) -> dict[str, Section]:
    """Sections of the connections page: the connections that each loop works on, and records of a followed one.

    `journeys` is a ring of the outcomes of the followed connection's reads, `messages` one of its last decoded
    messages; their heads count all rows ever written. Memory of slots that were never used costs nothing.
    """
    return {
        "connections": (layout.CONNECTION, (loop_count, slots)),
        "journeys": (layout.JOURNEY, (layout.JOURNEY_ROWS,)),
        "journey_head": (np.dtype("i8"), (1,)),
        "messages": (layout.MESSAGE, (layout.FOLLOWED_MESSAGES,)),
        "message_head": (np.dtype("i8"), (1,)),
    }


def fleet_sections() -> dict[str, Section]:
    """Sections of a fleet's telemetry page: placement-to-view latency and lateness of sends, in microseconds.

    `brushed_latency` counts placements in the brushed tiles only; `tile_latency` has sums by tile number; `journeys` is
    a ring of the followed device's probes, whose head counts all of them.
    """
    return {
        "fleet": (layout.FLEET, (1,)),
        "latency": (layout.HISTOGRAM, (layout.HISTOGRAM_BUCKETS,)),
        "latency_max_us": (np.dtype("i8"), (1,)),
        "lateness": (layout.HISTOGRAM, (layout.HISTOGRAM_BUCKETS,)),
        "lateness_max_us": (np.dtype("i8"), (1,)),
        "brushed_latency": (layout.HISTOGRAM, (layout.HISTOGRAM_BUCKETS,)),
        "brushed_latency_max_us": (np.dtype("i8"), (1,)),
        "tile_latency": (layout.TILE_LATENCY, (TILES_MAX,)),
        "journeys": (layout.FLEET_JOURNEY, (layout.JOURNEY_ROWS,)),
        "journey_head": (np.dtype("i8"), (1,)),
    }


def link_sections(width: int, height: int) -> dict[str, Section]:
    """Sections of a memory link: a ring of blocks of client frames, and a view of the newest broadcast.

    A block is `arenas[i]`; each row of `segments[i]` locates the bytes of one device in it. `view` has room for a frame
    of the whole canvas.
    """
    across, down = tile_shape(width, height)
    return {
        "link": (link.LINK, (1,)),
        "blocks": (link.BLOCK, (link.LINK_BLOCKS,)),
        "segments": (layout.SEGMENT, (link.LINK_BLOCKS, link.LINK_SEGMENTS)),
        "arenas": (np.dtype("u1"), (link.LINK_BLOCKS, link.LINK_BYTES)),
        "view": (np.dtype("u1"), (layout.HEAD_ROOM + across * down * FULL_BLOCK_BYTES,)),
    }
