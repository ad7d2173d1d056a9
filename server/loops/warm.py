"""Which kernels every loop calls, callees first, so that compiling them shows small steps instead of one long one."""

import numpy as np

from server.kernels import buckets, decode, dues, ledger, pixels, tiles
from server.kernels.arrays import BroadcastArrays, CanvasArrays, LoopArrays
from server.kernels.kernel import Warm


def stage_kernels(loop: LoopArrays, canvas: CanvasArrays, broadcast: BroadcastArrays) -> list[Warm]:
    """The stages and the encoder: what every kind of loop needs."""
    payload = np.frombuffer(b"\0", np.uint8)
    return [
        Warm("decode payload", decode.decode_payload, lambda: (loop, 0, payload, 0, 1, 0)),
        Warm("hand over", decode.hand_over, lambda: (loop, 0, 0, 0, 0)),
        Warm("decode", decode.decode, lambda: (loop,)),
        Warm("admit", buckets.admit, lambda: (loop, canvas, 0)),
        Warm("apply", pixels.apply, lambda: (loop, canvas)),
        Warm("pass request", pixels.pass_request, lambda: (loop,)),
        Warm("encode region", tiles.encode_region, lambda: (canvas, (0, 0, 1, 1), 0, 0, loop.scratch)),
        Warm("encode tick", tiles.encode_tick, lambda: (canvas, broadcast, 0)),
        Warm("frame head", tiles.write_frame_head, lambda: (broadcast.bytes, 0, 0, 0, 0, 0)),
        Warm("ledger", ledger.waiting_placements, lambda: (loop,)),
        Warm("begin sweep", dues.begin_sweep, lambda: (loop,)),
        Warm("sweep rest", dues.sweep_rest, lambda: (loop,)),
    ]
