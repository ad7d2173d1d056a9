"""The stages as a loop in Python runs them: each compiled pass measured, within its brake and the room behind it.

It calls no socket. The native loop has the same in compiled code (`epoll_loop.run_stages`). What a stage may not serve
now stays in its queue, in order.
"""

from collections.abc import Callable

import numpy as np

from server.engine.engine import look, note
from server.kernels.admit import admit
from server.kernels.apply import apply, pass_request
from server.kernels.arrays import BroadcastArrays, CanvasArrays, LoopArrays
from server.kernels.brake import held_until, is_resting, rest, settle, step_items, take_up
from server.kernels.decode import decode, decode_payload, hand_over, waiting_bytes
from server.kernels.due_frames import begin_sweep, sweep_rest
from server.kernels.encode import encode_region, encode_tick, paint_blocks, write_frame_head
from server.kernels.journey import note_admitted, note_applied, note_decoded, note_encoded, note_journaled
from server.kernels.kernel import Warm
from server.kernels.layout import Stage, Wake
from server.kernels.queues import make_arena_room, make_message_room, make_placement_room, waiting_placements
from server.system import clock
from server.wire import PLACE_FRAME_BYTES, ClientOp


class Stages:
    """Decode, admit and apply over one loop's arrays. `pong(slot, nonce, now_ns)` answers a PING."""

    def __init__(self, arrays: LoopArrays, pong: Callable[[int, int, int], None]) -> None:
        self.arrays = arrays
        self._pong = pong

    def run(self, canvas: CanvasArrays) -> int:
        """Decode, admit and apply what was read, as far as brakes allow, up to a SUBSCRIBE. Returns Wake bits."""
        queues = self.arrays.queues[0]
        if queues["segment_end"]:
            self._decode_some(canvas, clock.now_ns())
        if queues["message_end"]:
            self._admit_some(canvas, clock.now_ns())
        if queues["placement_end"] and self._apply_some(canvas, clock.now_ns()):
            return Wake.SUBSCRIBE
        return 0

    def look(self, stage: Stage, depth: int) -> None:
        """Note what waits in front of a stage that can do nothing now."""
        look(self.arrays.stages[stage], depth)

    def note(self, stage: Stage, depth: int, items: int, busy_ns: int) -> None:
        """Add one batch to a stage's row of the telemetry page."""
        note(self.arrays.stages[stage], depth, items, busy_ns)

    def _decode_some(self, canvas: CanvasArrays, now_ns: int) -> None:
        arrays, queues = self.arrays, self.arrays.queues[0]
        depth, room = waiting_bytes(arrays), make_message_room(arrays)
        # A brake counts messages, whose number is known only after decoding: it is guessed from the commonest message.
        guess = max(1, depth // PLACE_FRAME_BYTES)
        allowed = take_up(arrays, canvas, Stage.DECODE, guess, now_ns) if room else 0
        if allowed == 0:
            self.look(Stage.DECODE, depth)
            return
        before = int(queues["message_end"])
        decode(arrays, room if allowed == guess else allowed)
        settle(arrays, canvas, Stage.DECODE, allowed, int(queues["message_end"]) - before)
        self.note(Stage.DECODE, depth, depth - waiting_bytes(arrays), clock.now_ns() - now_ns)
        if canvas.rules["followed"][0] >= 0:
            note_decoded(arrays, clock.now_ns())

    def _admit_some(self, canvas: CanvasArrays, now_ns: int) -> None:
        arrays, queues = self.arrays, self.arrays.queues[0]
        depth, room = int(queues["message_end"] - queues["message_head"]), make_placement_room(arrays)
        allowed = take_up(arrays, canvas, Stage.ADMIT, min(depth, room), now_ns) if room else 0
        if allowed == 0:
            self.look(Stage.ADMIT, depth)
            return
        admit(arrays, canvas, now_ns, allowed)
        left = int(queues["message_end"] - queues["message_head"])
        self.note(Stage.ADMIT, depth, depth - left, clock.now_ns() - now_ns)
        if canvas.rules["followed"][0] >= 0:
            note_admitted(arrays, clock.now_ns())

    def _apply_some(self, canvas: CanvasArrays, now_ns: int) -> bool:
        """Apply what the brake allows. True when the queue stands at a SUBSCRIBE."""
        arrays, depth = self.arrays, self._placements_waiting()
        allowed = take_up(arrays, canvas, Stage.APPLY, depth, now_ns)
        if allowed == 0 and depth > 0:
            self.look(Stage.APPLY, depth)
            return False
        is_stopped = self._apply_up_to(canvas, allowed, now_ns)
        served = depth - self._placements_waiting()
        settle(arrays, canvas, Stage.APPLY, allowed, served)
        self.note(Stage.APPLY, depth, served, clock.now_ns() - now_ns)
        if canvas.rules["followed"][0] >= 0:
            note_applied(arrays, canvas, clock.now_ns())
        return is_stopped

    def _placements_waiting(self) -> int:
        queues = self.arrays.queues[0]
        return int(queues["placement_end"] - queues["placement_head"])

    def _apply_up_to(self, canvas: CanvasArrays, items_max: int, now_ns: int) -> bool:
        """Apply up to `items_max` of the queue, answering each PING in order. True when it stops at a SUBSCRIBE."""
        arrays = self.arrays
        last = self._placements_waiting() - items_max
        while (index := apply(arrays, canvas, self._placements_waiting() - last)) >= 0:
            request = arrays.requests[index]
            if request["op"] != ClientOp.PING:
                return True
            self._pong(int(request["slot"]), int(request["nonce"]), now_ns)
            pass_request(arrays)
        return False


def stage_kernels(loop: LoopArrays, canvas: CanvasArrays, broadcast: BroadcastArrays) -> list[Warm]:
    """The kernels that every kind of loop and the engine need, callees first, so that compiling shows small steps."""
    payload = np.frombuffer(b"\0", np.uint8)
    return [
        Warm("decode payload", decode_payload, lambda: (loop, 0, payload, 0, 1, 0)),
        Warm("hand over", hand_over, lambda: (loop, 0, 0, 0, 0)),
        Warm("decode", decode, lambda: (loop, 0)),
        Warm("admit", admit, lambda: (loop, canvas, 0, 0)),
        Warm("apply", apply, lambda: (loop, canvas, 0)),
        Warm("pass request", pass_request, lambda: (loop,)),
        Warm("note encoded", note_encoded, lambda: (loop, 0, 0)),
        Warm("note journaled", note_journaled, lambda: (loop, 0, 0)),
        Warm("paint blocks", paint_blocks, lambda: (broadcast.bytes, 0, broadcast.shown, 0)),
        Warm("encode region", encode_region, lambda: (canvas, (0, 0, 1, 1), 0, 0, loop.scratch)),
        Warm("encode tick", encode_tick, lambda: (canvas, broadcast, 0)),
        Warm("frame head", write_frame_head, lambda: (broadcast.bytes, 0, 0, 0, 0, 0)),
        Warm("ledger", waiting_placements, lambda: (loop,)),
        Warm("begin sweep", begin_sweep, lambda: (loop, 0)),
        Warm("sweep rest", sweep_rest, lambda: (loop,)),
        Warm("step items", step_items, lambda: (canvas, Stage.ACCEPT, 0)),
        Warm("take up", take_up, lambda: (loop, canvas, Stage.READ, 0, 0)),
        Warm("settle", settle, lambda: (loop, canvas, Stage.READ, 0, 0)),
        Warm("rest", rest, lambda: (loop, canvas, Stage.ACCEPT, 0, 0, 0)),
        Warm("is resting", is_resting, lambda: (loop, Stage.ACCEPT, 0)),
        Warm("held until", held_until, lambda: (loop, 0)),
        Warm("message room", make_message_room, lambda: (loop,)),
        Warm("placement room", make_placement_room, lambda: (loop,)),
        Warm("arena room", make_arena_room, lambda: (loop,)),
    ]
