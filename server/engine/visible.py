"""What of the canvas may be shown: everything without a journal, with one the canvas as it is on disk.

Without a journal all of this is the canvas itself and costs nothing. With one, a tick is encoded beside the broadcast
that is being sent, and shown once it is committed: then its blocks bring the copy of the canvas up to it. Invariant:
SNAPSHOTs, pictures and the frames of laggards are made from what is here, which with a journal never holds more than
`tick`.
"""

import numpy as np
from numpy.typing import NDArray

from server.engine.canvas import Canvas, Region
from server.kernels.arrays import BroadcastArrays, new_broadcast_arrays
from server.kernels.encode import paint_blocks
from server.kernels.layout import HEAD_ROOM
from server.protocol.messages import Snapshot


class VisibleCanvas:
    """The canvas and the broadcast as clients may see them. Changed only while no loop runs."""

    def __init__(self, canvas: Canvas, *, is_copy: bool, tick: int) -> None:
        """`is_copy`: a tick is shown later than it is encoded. `tick`: the last one before the start."""
        arrays = canvas.arrays
        if is_copy:
            copies = {name: getattr(arrays, name).copy() for name in ("pixels", "pixel_tick", "tile_tick")}
            arrays = arrays._replace(**copies)
        self.tick = tick
        """The last tick that is shown."""
        self.pixels: NDArray[np.uint8] = arrays.pixels.reshape(canvas.height, canvas.width)
        self.broadcast: BroadcastArrays = new_broadcast_arrays(arrays)
        """What loops send."""
        self.encoded: BroadcastArrays = new_broadcast_arrays(arrays) if is_copy else self.broadcast
        """Where the encoder puts the next one."""
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

    def snapshot(self, region: Region) -> Snapshot:
        """The region's pixels as they may be shown; later deltas bring what changes from here."""
        x, y, width, height = region
        pixels = self.pixels[y : y + height, x : x + width].tobytes()
        return Snapshot(tick=self.tick, x=x, y=y, width=width, height=height, pixels=pixels)
