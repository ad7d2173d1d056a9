"""The memory loop: serves a fleet that shares memory with the server instead of sockets. Above it, all is the same.

The fleet writes its frames into blocks, which the stages decode in place, in the order in which they were filled. The
newest broadcast is copied to a view from which the fleet takes it, and conflated while it does not. Devices are
connections that are open from the start, and send PLACE and PLACE_MANY only. The fleet is ours: it is trusted to write
segments within its blocks. Linux only.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from server.engine.engine import Engine, look, note
from server.ipc.page import Page
from server.kernels.apply import pass_request
from server.kernels.arrays import CanvasArrays, LoopArrays
from server.kernels.brake import is_resting, rest, take_up
from server.kernels.encode import encode_region
from server.kernels.epoll_loop import run_stages
from server.kernels.journey import note_reads, note_sent
from server.kernels.kernel import Warm
from server.kernels.layout import Phase, Stage, Wake
from server.kernels.link import BlockState
from server.kernels.ring import await_state, count_bytes
from server.system import clock

LOOK_NS = 10_000_000
"""How long it waits for a block before it looks at the tick and the view again."""
# Time between two looks while a brake holds a stage back.
NAP_S = 0.001
_NO_SOCKET = -1


@dataclass(slots=True)
class _Taken:
    """A block that is being served, and the loop's counts at which a stage is done with it; -1: not known yet."""

    index: int
    decoded_count: int = -1
    admitted_count: int = -1


class MemoryLoop:
    """One loop, a thread's whole work, over one link: a page with `link_sections`."""

    def __init__(self, engine: Engine, link: Page) -> None:
        self._engine = engine
        self._link = link["link"][0]
        self._blocks = link["blocks"]
        self._view = link["view"]
        self.arrays: LoopArrays = engine.new_loop(max(1, int(self._link["device_count"])), 1)
        self._over_blocks = [
            self.arrays._replace(arena=arena, segments=segments)
            for arena, segments in zip(link["arenas"], link["segments"], strict=True)
        ]
        # The block to be taken next.
        self._next = 0
        self._taken: deque[_Taken] = deque()
        canvas = engine.canvas.arrays
        self._unbraked = canvas._replace(brakes=np.zeros_like(canvas.brakes))
        self._cursor = 0
        self._counts = self.arrays.counts[0]
        self.arrays.stages[Stage.READ]["depth_max"] = len(self._blocks)
        self.arrays.stages[Stage.DECODE]["depth_max"] = link["arenas"].shape[1]

    @property
    def client_count(self) -> int:
        """Connections to wait for when the server drains: none."""
        return 0

    def warms(self) -> list[Warm]:
        """The kernels that it calls beside those of the loops for sockets."""
        arrays, canvas = self._over_blocks[0], self._engine.canvas.arrays
        return [
            Warm("await block", await_state, lambda: (self._blocks, 0, 0, 0)),
            Warm("count bytes", count_bytes, lambda: (arrays.connections, arrays.segments, 0)),
            Warm("note reads", note_reads, lambda: (arrays, canvas, 0, 0)),
            Warm("note sent", note_sent, lambda: (arrays, canvas, 0)),
        ]

    def open(self, now_ns: int) -> None:
        """Open all connections."""
        connections = self.arrays.connections
        connections["fd"] = _NO_SOCKET
        connections["phase"] = Phase.FAST
        connections["opened_ns"] = now_ns
        # There is no HELLO: the fleet counts its devices in the same way.
        connections["number"] = self._engine.take_numbers(len(connections)) + np.arange(len(connections))
        connections["tile_x1"] = self._engine.canvas.tiles_across
        connections["tile_y1"] = self._engine.canvas.tiles_down
        self._counts["connection_count"] = self._link["device_count"]
        self._counts["subscriber_count"] = self._link["viewer_count"]

    def stop_listening(self) -> None:
        """Do nothing: no device joins a link later."""

    def close_clients(self, now_ns: int) -> None:
        """Count all connections as closed. A link has no close handshake."""
        self._counts["connection_count"] = 0
        self._counts["subscriber_count"] = 0

    def reset_clients(self, now_ns: int) -> None:
        """Do nothing: a device at a link has no connection that could be reset."""

    def notify(self, message: bytes, now_ns: int) -> None:
        """Do nothing: only placements and deltas go over a link."""

    def wake(self) -> None:
        """Do nothing: it looks at the tick often enough."""

    def release(self) -> None:
        """Do nothing: it holds only memory."""

    def serve(self) -> int:
        """Serve until the tick is due. Returns the time then, in nanoseconds."""
        engine = self._engine
        while True:
            self._show()
            now_ns = clock.now_ns()
            if engine.is_ending:
                self._drain()
            if engine.is_hurried or now_ns >= engine.next_tick_ns:
                self._counts["cpu_ns"] = clock.thread_cpu_ns()
                return now_ns
            if not self.step(now_ns):
                self._wait(min(engine.next_tick_ns, now_ns + LOOK_NS))

    def step(self, now_ns: int) -> bool:
        """Take the next block if it is full, and run the stages as far as brakes allow. False when nothing happened."""
        queues = self.arrays.queues[0]
        # What has changed shows there: queues are a few words, and no stage reports what it did.
        before = queues.tobytes(), self._next
        if not queues["segment_end"]:
            self._take_block(now_ns)
        self._run_stages(self._engine.canvas.arrays)
        self._give_back()
        return (queues.tobytes(), self._next) != before

    def _wait(self, until_ns: int) -> None:
        """Wait for a block, or a little while for what a brake holds back."""
        if self._taken or is_resting(self.arrays, Stage.READ, clock.now_ns()):
            clock.wait_s(NAP_S)
        else:
            await_state(self._blocks, self._next, BlockState.FULL, until_ns)

    def _drain(self) -> None:
        """Serve what was taken, without brakes."""
        while self._taken:
            self._run_stages(self._unbraked)
            self._give_back()

    def _take_block(self, now_ns: int) -> None:
        """Have the next block's segments decoded, once it is full."""
        block = self._blocks[self._next]
        # The next block may be one that is being served already, when the ring is full.
        if len(self._taken) == len(self._blocks) or block["state"] != BlockState.FULL:
            return
        depth = int(np.count_nonzero(self._blocks["state"])) - len(self._taken)
        if take_up(self.arrays, self._engine.canvas.arrays, Stage.READ, 1, now_ns) == 0:
            look(self.arrays.stages[Stage.READ], depth)
            return
        self._taken.append(_Taken(self._next))
        segments = self._over_blocks[self._next].segments
        queues = self.arrays.queues[0]
        queues["segment_head"], queues["segment_end"] = 0, block["segment_count"]
        self._note_read(depth, int(segments[block["segment_count"] - 1]["end"]))
        count_bytes(self.arrays.connections, segments, int(block["segment_count"]))
        if self._engine.is_following:
            note_reads(self._over_blocks[self._next], self._engine.canvas.arrays, 0, clock.now_ns())
        self._next = (self._next + 1) % len(self._blocks)

    def _run_stages(self, canvas: CanvasArrays) -> None:
        """Run the stages over the block that was taken last, and what is left of earlier ones."""
        arrays = self._over_blocks[self._taken[-1].index] if self._taken else self.arrays
        if run_stages(arrays, canvas, _NO_SOCKET) & Wake.SUBSCRIBE:
            pass_request(arrays)  # The fleet sends none: its viewers watch from the start.
        queues = arrays.queues[0]
        if queues["handover_count"]:
            # Devices at a link have no slow path. One that was handed over stays so, and all that it sends is dropped.
            self._counts["protocol_error_count"] += queues["handover_count"]
            queues["handover_count"] = 0

    def _give_back(self) -> None:
        """Give back the blocks of which every placement is refused or on the canvas, the oldest first."""
        # Counts only grow, so a block is through with a stage once a count has passed what it was behind the block.
        queues, counts = self.arrays.queues[0], self._counts
        judged = int(counts["received_count"] - (queues["message_end"] - queues["message_head"]))
        for taken in self._taken:
            if taken.decoded_count < 0 and not (taken is self._taken[-1] and queues["segment_end"]):
                taken.decoded_count = int(counts["received_count"])
            if taken.admitted_count < 0 and 0 <= taken.decoded_count <= judged:
                taken.admitted_count = int(counts["admitted_count"])
        while self._taken and 0 <= self._taken[0].admitted_count <= counts["applied_count"]:
            block = self._blocks[self._taken.popleft().index]
            block["tick"] = self._engine.tick_number
            block["state"] = BlockState.FREE

    def _note_read(self, depth: int, size: int) -> None:
        self._counts["read_count"] += 1
        self._counts["received_bytes"] += size
        note(self.arrays.stages[Stage.READ], depth, 1, 0)

    def _show(self) -> None:
        """Put what the viewers lack into the view, once they have taken what it held."""
        link, head = self._link, self._engine.broadcast.head[0]
        viewers, newest = int(link["viewer_count"]), int(head["tick"])
        # The view is one buffer. While the fleet has not taken it, changes are conflated into the next delta.
        if not viewers or self._cursor >= newest or link["view_taken"] != link["view_serial"]:
            return
        begun_ns = clock.now_ns()
        if is_resting(self.arrays, Stage.FANOUT, begun_ns):
            look(self.arrays.stages[Stage.FANOUT], viewers)
            return
        frame, start, end, pixels = self._engine.broadcast.bytes, head["frame_start"], head["frame_end"], 0
        if self._cursor >= head["since"]:
            pixels = int(head["pixel_count"])
        else:
            canvas, frame = self._engine.canvas, self.arrays.conflated
            tiles = (0, 0, canvas.tiles_across, canvas.tiles_down)
            start, end, pixels = encode_region(self._engine.broadcast.shown, tiles, self._cursor, newest, frame)
            self._counts["conflated_count"] += 1
        self._cursor = newest
        size = int(end - start)
        if not size:
            return  # All that changed has changed again since, in the tick that is yet to come.
        self._view[:size] = frame[start:end]
        if self._engine.is_following:
            self._note_sent(clock.now_ns())
        link["view_bytes"] = size
        link["view_serial"] += 1
        self._counts["delta_count"] += viewers
        self._counts["delta_bytes"] += viewers * size
        self._counts["delta_pixel_count"] += viewers * pixels
        self._note_view(viewers, clock.now_ns() - begun_ns)

    def _note_sent(self, now_ns: int) -> None:
        """Note that the followed device was sent a delta, as all viewers are."""
        slot = int(self.arrays.following[0]["slot"])
        self.arrays.connections[slot]["cursor"] = self._cursor
        note_sent(self.arrays, self._engine.canvas.arrays, now_ns)

    def _note_view(self, viewers: int, busy_ns: int) -> None:
        note(self.arrays.stages[Stage.FANOUT], viewers, viewers, busy_ns)
        rest(self.arrays, self._engine.canvas.arrays, Stage.FANOUT, viewers, 0, clock.now_ns())
