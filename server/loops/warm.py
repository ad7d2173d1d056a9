"""Which kernels every loop calls, callees first, so that compiling them shows small steps instead of one long one."""

import numpy as np

from server.kernels import admit, apply, brake, decode, due_frames, encode, journey, queues
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
        Warm("admit", admit.admit, lambda: (loop, canvas, 0, 0)),
        Warm("apply", apply.apply, lambda: (loop, canvas, 0)),
        Warm("pass request", apply.pass_request, lambda: (loop,)),
        Warm("note encoded", journey.note_encoded, lambda: (loop, 0, 0)),
        Warm("note journaled", journey.note_journaled, lambda: (loop, 0, 0)),
        Warm("paint blocks", encode.paint_blocks, lambda: (broadcast.bytes, 0, broadcast.shown, 0)),
        Warm("encode region", encode.encode_region, lambda: (canvas, (0, 0, 1, 1), 0, 0, loop.scratch)),
        Warm("encode tick", encode.encode_tick, lambda: (canvas, broadcast, 0)),
        Warm("frame head", encode.write_frame_head, lambda: (broadcast.bytes, 0, 0, 0, 0, 0)),
        Warm("ledger", queues.waiting_placements, lambda: (loop,)),
        Warm("begin sweep", due_frames.begin_sweep, lambda: (loop, 0)),
        Warm("sweep rest", due_frames.sweep_rest, lambda: (loop,)),
        Warm("step items", brake.step_items, lambda: (canvas, Stage.ACCEPT, 0)),
        Warm("take up", brake.take_up, lambda: (loop, canvas, Stage.READ, 0, 0)),
        Warm("settle", brake.settle, lambda: (loop, canvas, Stage.READ, 0, 0)),
        Warm("rest", brake.rest, lambda: (loop, canvas, Stage.ACCEPT, 0, 0, 0)),
        Warm("is resting", brake.is_resting, lambda: (loop, Stage.ACCEPT, 0)),
        Warm("held until", brake.held_until, lambda: (loop, 0)),
        Warm("message room", queues.make_message_room, lambda: (loop,)),
        Warm("placement room", queues.make_placement_room, lambda: (loop,)),
        Warm("arena room", queues.make_arena_room, lambda: (loop,)),
    ]
