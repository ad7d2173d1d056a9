"""Which kernels a loop calls, callees first, so that compiling them shows small steps instead of one long one."""

import numpy as np

from server.kernels import buckets, decode, dues, epoll_loop, fanout, offers, outbox, pixels, tiles
from server.kernels.kernel import Warm
from server.kernels.layout import ARRIVAL, OFFER, BroadcastArrays, CanvasArrays, LoopArrays


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
        Warm("begin sweep", dues.begin_sweep, lambda: (loop,)),
        Warm("sweep rest", dues.sweep_rest, lambda: (loop,)),
    ]


def native_kernels(loop: LoopArrays, canvas: CanvasArrays, broadcast: BroadcastArrays) -> list[Warm]:
    """All that a native loop and its engine call."""
    data = np.frombuffer(b"\0", np.uint8)
    return [
        *stage_kernels(loop, canvas, broadcast),
        Warm("release", outbox.release, lambda: (loop, loop.connections[0])),
        Warm("flush", outbox.flush, lambda: (loop, 0, 0, 0)),
        Warm("post", outbox.post, lambda: (loop, 0, 0, data, 0)),
        Warm("fan out", fanout.fan_out, lambda: (loop, canvas, broadcast, 0, 0, 0)),
        Warm("patrol", fanout.patrol, lambda: (loop, canvas, 0, 0)),
        Warm("run stages", epoll_loop.run_stages, lambda: (loop, canvas, 0)),
        Warm("run", epoll_loop.run, lambda: (loop, canvas, broadcast, 0, 0)),
    ]


def portable_kernels(loop: LoopArrays, canvas: CanvasArrays, broadcast: BroadcastArrays) -> list[Warm]:
    """All that a portable loop and its engine call; none of it needs the C library."""
    arrivals, frames = np.zeros(1, ARRIVAL), np.zeros(1, OFFER)
    return [
        *stage_kernels(loop, canvas, broadcast),
        Warm("waiting bytes", decode.waiting_bytes, lambda: (loop,)),
        Warm("take arrivals", offers.take_arrivals, lambda: (loop, arrivals, 0)),
        Warm("choose offers", offers.choose_offers, lambda: (loop, canvas, broadcast, 0, frames)),
        Warm("settle offers", offers.settle_offers, lambda: (loop, broadcast, frames, 0, 0)),
        Warm("patrol", offers.patrol_dues, lambda: (loop, canvas, 0, frames)),
    ]
