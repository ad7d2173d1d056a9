"""The canvas: pixels in shared memory, the ticks that changed them, and the rules that the stages go by."""

import numpy as np
from numpy.typing import NDArray

from server.config import Brakes, ServerConfig
from server.ipc.page import Page
from server.kernels.arrays import CanvasArrays
from server.kernels.layout import BRAKE, RULES, STAGE_COUNT
from server.protocol.messages import Hello, Snapshot
from server.wire import TILE_SIDE, tile_shape

Region = tuple[int, int, int, int]
"""x, y, width, height in pixels."""


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
    """Write what connections are held to, which may change between steps, into a row of dtype RULES."""
    rules["token_ns"] = max(1, 1_000_000_000 // config.rate_per_s)
    rules["burst_ns"] = rules["token_ns"] * config.burst
    rules["stall_ns"] = int(config.stall_s * 1e9)
    rules["evict_ns"] = int(config.evict_after_s * 1e9)


def new_brakes(brakes: Brakes) -> NDArray[np.void]:
    """What stages add to their service time, shape (STAGE_COUNT,), dtype BRAKE."""
    rows = np.zeros(STAGE_COUNT, BRAKE)
    for row, brake in zip(rows, brakes.in_order(), strict=True):
        row["item_ns"], row["batch_ns"] = round(brake.item_us * 1e3), round(brake.batch_ms * 1e6)
    return rows


def new_hello(config: ServerConfig, connection: int, *, is_viewer: bool = False) -> Hello:
    """The first message to a connection: the canvas, its rules, and the connection's number.

    To one that may only look on, rate and burst are 0.
    """
    return Hello(
        width=config.width,
        height=config.height,
        tile=TILE_SIDE,
        tick_ms=config.tick_ms,
        rate_per_s=0 if is_viewer else config.rate_per_s,
        burst=0 if is_viewer else config.burst,
        connection=connection & 0xFFFFFFFF,
    )


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

    def snapshot(self, region: Region, tick: int) -> Snapshot:
        """The region's pixels now. `tick` is the last finished one: later deltas bring what changes from here."""
        x, y, width, height = region
        pixels = self.pixels[y : y + height, x : x + width].tobytes()
        return Snapshot(tick=tick, x=x, y=y, width=width, height=height, pixels=pixels)
