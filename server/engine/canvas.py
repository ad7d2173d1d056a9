"""The canvas: pixels in shared memory, the rules that the stages apply to it, and what of it may be shown."""

import numpy as np
from numpy.typing import NDArray

from server.config import Brakes, ServerConfig
from server.ipc.page import Page
from server.kernels.arrays import BroadcastArrays, CanvasArrays, new_broadcast_arrays
from server.kernels.encode import paint_blocks
from server.kernels.layout import BRAKE, HEAD_ROOM, RULES, STAGE_COUNT
from server.protocol.messages import Hello, Snapshot
from server.wire import TILE_SIDE, tile_shape

Region = tuple[int, int, int, int]
"""x, y, width, height in pixels."""

# Smaller snapshots are not compressed: that would cost more than their bytes do.
SNAPSHOT_COMPRESS_BYTES = 32 * 1024
NO_TOKENS_NS = 1 << 62
"""`full_ns` of a viewer's bucket: it holds no token, whatever the limits are. Far from the end of int64, because the
kernels add to it."""


def new_rules(config: ServerConfig) -> NDArray[np.void]:
    """The rules of a canvas before its first tick, shape (1,), dtype RULES."""
    rules = np.zeros(1, RULES)
    row = rules[0]
    set_limits(row, config)
    row["width"], row["height"] = config.width, config.height
    row["tiles_across"], row["tiles_down"] = tile_shape(config.width, config.height)
    row["tick_next"] = 1
    row["followed"] = -1
    return rules


def set_limits(rules: np.void, config: ServerConfig) -> None:
    """Write the limits of connections into a row of dtype RULES. They may change between steps."""
    rules["token_ns"] = max(1, 1_000_000_000 // config.rate_per_s)
    rules["burst_ns"] = rules["token_ns"] * config.burst
    rules["stall_ns"] = int(config.stall_s * 1e9)
    rules["evict_ns"] = int(config.evict_after_s * 1e9)


def refill(
    full_ns: NDArray[np.int64], before: tuple[int, int], after: tuple[int, int], now_ns: int
) -> NDArray[np.int64]:
    """When buckets will be full again (see kernels/admit) under new limits. No bucket gains or loses a token by that.

    full_ns: any shape, 0 for a bucket that was never used, which stays full; NO_TOKENS_NS stays too. before, after:
    (token_ns, burst_ns). A bucket that becomes smaller keeps what it can hold.
    """
    (old_token_ns, old_burst_ns), (new_token_ns, new_burst_ns) = before, after
    old_burst, new_burst = old_burst_ns // old_token_ns, new_burst_ns // new_token_ns
    # In tokens, as fractions: what the old bucket lacks, and what the new one lacks with the same tokens in it.
    missing = np.clip((full_ns - now_ns) / old_token_ns, 0, old_burst)
    lacking = np.clip(new_burst - (old_burst - missing), 0, new_burst)
    refilled = now_ns + np.rint(lacking * new_token_ns).astype(np.int64)
    kept: NDArray[np.int64] = np.where((full_ns == 0) | (full_ns == NO_TOKENS_NS), full_ns, refilled)
    return kept


def new_brakes(brakes: Brakes) -> NDArray[np.void]:
    """What stages add to their service time, shape (STAGE_COUNT,), dtype BRAKE."""
    rows = np.zeros(STAGE_COUNT, BRAKE)
    for row, brake in zip(rows, brakes.in_order(), strict=True):
        row["item_ns"], row["batch_ns"] = round(brake.item_us * 1e3), round(brake.batch_ms * 1e6)
    return rows


def new_hello(config: ServerConfig, connection: int, *, is_viewer: bool = False) -> Hello:
    """The first message to a connection. For one that may only view, rate and burst are 0."""
    return Hello(
        width=config.width,
        height=config.height,
        tile=TILE_SIDE,
        tick_ms=config.tick_ms,
        rate_per_s=0 if is_viewer else config.rate_per_s,
        burst=0 if is_viewer else config.burst,
        connection=connection & 0xFFFFFFFF,
    )


def snapshot_of(pixels: NDArray[np.uint8], region: Region, tick: int) -> Snapshot:
    """The region's pixels now, pixels having shape (height, width). Later deltas bring what changes after `tick`."""
    x, y, width, height = region
    data = pixels[y : y + height, x : x + width].tobytes()
    return Snapshot(tick=tick, x=x, y=y, width=width, height=height, pixels=data)


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The message as it is sent, compressed where that is worth it."""
    return snapshot.encode(compress=len(snapshot.pixels) >= SNAPSHOT_COMPRESS_BYTES)


class Canvas:
    """The server's canvas. `arrays` is what kernels get; `pixels` is the same memory, shape (height, width)."""

    def __init__(self, config: ServerConfig, page: Page) -> None:
        self.width, self.height = config.width, config.height
        self.tiles_across, self.tiles_down = tile_shape(config.width, config.height)
        self.pixels: NDArray[np.uint8] = page["pixels"]
        self.arrays = CanvasArrays(
            pixels=page["pixels"].reshape(-1),
            pixel_tick=page["pixel_tick"].reshape(-1),
            tile_tick=page["tile_tick"].reshape(-1),
            rules=new_rules(config),
            pixel_painter=page["pixel_painter"].reshape(-1),
            tiles=page["tiles"].reshape(-1),
            brakes=new_brakes(config.brakes),
        )

    @property
    def tile_count(self) -> int:
        """Tiles of the canvas, edge tiles included."""
        return self.tiles_across * self.tiles_down

    def clip(self, x: int, y: int, width: int, height: int) -> Region:
        """The part of a region that is on the canvas; 0 x 0 asks for the whole. May be empty."""
        if width == 0 and height == 0:
            return 0, 0, self.width, self.height
        x0, y0 = min(x, self.width), min(y, self.height)
        return x0, y0, min(x + width, self.width) - x0, min(y + height, self.height) - y0

    def tiles_of(self, region: Region) -> tuple[int, int, int, int]:
        """The tiles that a region touches: x0, y0, x1, y1, half open."""
        x, y, width, height = region
        if width == 0 or height == 0:
            return 0, 0, 0, 0
        return x // TILE_SIDE, y // TILE_SIDE, *tile_shape(x + width, y + height)


class VisibleCanvas:
    """The canvas and the broadcast as clients may see them. Changed only while no loop runs.

    Without a journal that is the canvas itself. With one it is a copy: a tick is encoded beside the broadcast that is
    being sent, and shown once it is committed; then its blocks bring the copy up to it.
    """

    def __init__(self, canvas: Canvas, *, is_copy: bool, tick: int) -> None:
        """`is_copy`: a tick is shown later than it is encoded. `tick`: the last one before the start."""
        arrays = canvas.arrays
        if is_copy:
            copies = {name: getattr(arrays, name).copy() for name in ("pixels", "pixel_tick", "tile_tick")}
            arrays = arrays._replace(**copies)
        # The last tick that is shown.
        self.tick = tick
        self.pixels: NDArray[np.uint8] = arrays.pixels.reshape(canvas.height, canvas.width)
        # What loops send.
        self.broadcast: BroadcastArrays = new_broadcast_arrays(arrays)
        # Where the encoder puts the next one.
        self.encoded: BroadcastArrays = new_broadcast_arrays(arrays) if is_copy else self.broadcast
        for broadcast in (self.broadcast, self.encoded):
            broadcast.head["since"] = broadcast.head["tick"] = tick

    def show(self, tick: int) -> None:
        """Let clients see `tick`, which is encoded."""
        self.tick = tick
        head = self.encoded.head[0]
        if self.encoded is self.broadcast or head["tick"] != tick:
            return
        end = int(head["frame_end"])
        self.broadcast.bytes[:end] = self.encoded.bytes[:end]
        for target, source in zip(self.broadcast[2:4], self.encoded[2:4], strict=True):
            target[:] = source
        self.broadcast.head[:] = self.encoded.head
        blocks = self.encoded.bytes[HEAD_ROOM : int(self.encoded.block_start[-1])]
        is_well_formed = paint_blocks(blocks, int(head["tile_count"]), self.broadcast.shown, tick)
        assert is_well_formed, "the encoder wrote blocks that cannot be read"
