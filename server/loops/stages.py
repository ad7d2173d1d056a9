"""The stages as a loop in Python runs them: each compiled pass measured, within its brake and the room behind it.

It calls no socket; the native loop has the same in compiled code (`epoll_loop.run_stages`). Invariant: what a stage may
not serve now stays in its queue, in order.
"""

from collections.abc import Callable

from server.engine.engine import look, note
from server.kernels.admit import admit
from server.kernels.apply import apply, pass_request
from server.kernels.arrays import CanvasArrays, LoopArrays
from server.kernels.brake import settle, take_up
from server.kernels.decode import decode, waiting_bytes
from server.kernels.journey import note_admitted, note_applied, note_decoded
from server.kernels.layout import Stage, Wake
from server.kernels.queues import make_message_room, make_placement_room
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

    def _decode_some(self, canvas: CanvasArrays, now_ns: int) -> None:
        """Decode what the message queue has room for and the brake allows."""
        arrays, queues = self.arrays, self.arrays.queues[0]
        depth, room = waiting_bytes(arrays), make_message_room(arrays)
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
        """Let in or refuse what the placement queue has room for and the brake allows."""
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
        arrays = self.arrays
        depth = self._placements_waiting()
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
        """Apply so many of the queue, answering each PING in its place. True when it stands at a SUBSCRIBE."""
        arrays = self.arrays
        last = self._placements_waiting() - items_max
        while (index := apply(arrays, canvas, self._placements_waiting() - last)) >= 0:
            request = arrays.requests[index]
            if request["op"] != ClientOp.PING:
                return True
            self._pong(int(request["slot"]), int(request["nonce"]), now_ns)
            pass_request(arrays)
        return False

    def look(self, stage: Stage, depth: int) -> None:
        """Note what waits in front of a stage that can do nothing now."""
        look(self.arrays.stages[stage], depth)

    def note(self, stage: Stage, depth: int, items: int, busy_ns: int) -> None:
        """Add one batch to a stage's row of the telemetry page."""
        note(self.arrays.stages[stage], depth, items, busy_ns)
