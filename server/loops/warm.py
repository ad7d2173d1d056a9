"""Which kernels every loop calls, callees first, so that compiling them shows small steps instead of one long one."""

import numpy as np

from server.kernels import brake, buckets, decode, dues, journey, ledger, pixels, room, shown, tiles
from server.kernels.arrays import BroadcastArrays, CanvasArrays, LoopArrays
from server.kernels.kernel import Warm
from server.kernels.layout import Stage


def stage_kernels(loop: LoopArrays, canvas: CanvasArrays, broadcast: BroadcastArrays) -> list[Warm]:
    """The stages and the encoder: what every kind of loop needs."""
    payload = np.frombuffer(b"\0", np.uint8)
    return [
        Warm("decode payload", decode.decode_payload, lambda: (loop, 0, payload, 0, 1, 0)),
        Warm("hand over", decode.hand_over, lambda: (loop, 0, 0, 0, 0)),
        Warm("decode", decode.decode, lambda: (loop, 0)),
        Warm("admit", buckets.admit, lambda: (loop, canvas, 0, 0)),
        Warm("apply", pixels.apply, lambda: (loop, canvas, 0)),
        Warm("pass request", pixels.pass_request, lambda: (loop,)),
        Warm("note encoded", journey.note_encoded, lambda: (loop, 0, 0)),
        Warm("note journaled", journey.note_journaled, lambda: (loop, 0, 0)),
        Warm("paint blocks", shown.paint_blocks, lambda: (broadcast.bytes, 0, broadcast.shown, 0)),
        Warm("encode region", tiles.encode_region, lambda: (canvas, (0, 0, 1, 1), 0, 0, loop.scratch)),
        Warm("encode tick", tiles.encode_tick, lambda: (canvas, broadcast, 0)),
        Warm("frame head", tiles.write_frame_head, lambda: (broadcast.bytes, 0, 0, 0, 0, 0)),
        Warm("ledger", ledger.waiting_placements, lambda: (loop,)),
        Warm("begin sweep", dues.begin_sweep, lambda: (loop, 0)),
        Warm("sweep rest", dues.sweep_rest, lambda: (loop,)),
        Warm("step items", brake.step_items, lambda: (canvas, Stage.ACCEPT, 0)),
        Warm("take up", brake.take_up, lambda: (loop, canvas, Stage.READ, 0, 0)),
        Warm("settle", brake.settle, lambda: (loop, canvas, Stage.READ, 0, 0)),
        Warm("rest", brake.rest, lambda: (loop, canvas, Stage.ACCEPT, 0, 0, 0)),
        Warm("is resting", brake.is_resting, lambda: (loop, Stage.ACCEPT, 0)),
        Warm("held until", brake.held_until, lambda: (loop, 0)),
        Warm("message room", room.make_message_room, lambda: (loop,)),
        Warm("placement room", room.make_placement_room, lambda: (loop,)),
        Warm("arena room", room.make_arena_room, lambda: (loop,)),
    ]
