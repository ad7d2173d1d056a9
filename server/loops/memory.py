"""The memory loop: serves a fleet that shares memory with the server instead of sockets. Above it, all is the same.

The fleet writes its frames into blocks, which the stages decode in place; the newest broadcast is copied to a view from
which the fleet takes it, and conflated while it does not. Devices are connections that are open from the start, and
send PLACE and PLACE_MANY only. It trusts the fleet, which is ours, to write segments within its blocks. Linux only.
Invariant: blocks are served in the order in which they were filled.
"""

import numpy as np

from server import clock
from server.engine import Engine
from server.kernels.arrays import LoopArrays
from server.kernels.epoll_loop import run_stages
from server.kernels.kernel import Warm
from server.kernels.layout import Phase, Stage, Wake
from server.kernels.link import BlockState
from server.kernels.pixels import pass_request
from server.kernels.ring import await_state
from server.kernels.tiles import encode_region
from server.page import Page

LOOK_NS = 10_000_000
"""How long it waits for a block before it looks at the tick and the view again."""
_NO_SOCKET = -1


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
        self._next = 0
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
        return [Warm("await block", await_state, lambda: (self._blocks, 0, 0, 0))]

    def open(self, now_ns: int) -> None:
        """Open all connections."""
        connections = self.arrays.connections
        connections["fd"] = _NO_SOCKET
        connections["phase"] = Phase.FAST
        connections["opened_ns"] = now_ns
        self._counts["connection_count"] = self._link["device_count"]
        self._counts["subscriber_count"] = self._link["viewer_count"]

    def stop_listening(self) -> None:
        """Nobody comes over a link who is not there."""

    def close_clients(self, now_ns: int) -> None:
        """All are gone: no good-bye can be said over a link."""
        self._counts["connection_count"] = 0
        self._counts["subscriber_count"] = 0

    def ring(self) -> None:
        """It looks at the tick often enough."""

    def release(self) -> None:
        """It holds nothing but memory."""

    def serve(self) -> int:
        """Serve until the tick is due. Returns the time then, in nanoseconds."""
        engine = self._engine
        while True:
            self._show()
            now_ns = clock.now_ns()
            if engine.is_hurried or now_ns >= engine.next_tick_ns:
                self._counts["cpu_ns"] = clock.thread_cpu_ns()
                return now_ns
            until_ns = min(engine.next_tick_ns, now_ns + LOOK_NS)
            if await_state(self._blocks, self._next, BlockState.FULL, until_ns):
                self._serve_block()

    def _serve_block(self) -> None:
        """Run the stages over the next block and give it back."""
        arrays, block = self._over_blocks[self._next], self._blocks[self._next]
        queues = arrays.queues[0]
        queues["segment_head"], queues["segment_end"] = 0, block["segment_count"]
        self._note_read(int(arrays.segments[block["segment_count"] - 1]["end"]))
        while queues["segment_end"] or queues["message_end"] or queues["placement_end"]:
            if run_stages(arrays, self._engine.canvas.arrays, _NO_SOCKET) & Wake.SUBSCRIBE:
                pass_request(arrays)  # The fleet sends none: its viewers watch from the start.
        if queues["handover_count"]:
            # No device has a slow path. What it sends from now on is handed over, and so dropped, as a whole.
            self._counts["protocol_error_count"] += queues["handover_count"]
            queues["handover_count"] = 0
        block["tick"] = self._engine.tick_number
        block["state"] = BlockState.FREE
        self._next = (self._next + 1) % len(self._blocks)

    def _note_read(self, size: int) -> None:
        self._counts["read_count"] += 1
        self._counts["received_bytes"] += size
        stage, depth = self.arrays.stages[Stage.READ], int(np.count_nonzero(self._blocks["state"]))
        stage["batch_count"] += 1
        stage["item_count"] += 1
        stage["depth"] = depth
        stage["depth_sum"] += depth
        stage["depth_peak"] = max(stage["depth_peak"], depth)

    def _show(self) -> None:
        """Put what the viewers lack into the view, once they have taken what was there."""
        link, head = self._link, self._engine.broadcast.head[0]
        viewers, newest = int(link["viewer_count"]), int(head["tick"])
        if not viewers or self._cursor >= newest or link["view_taken"] != link["view_serial"]:
            return
        begun_ns = clock.now_ns()
        frame, start, end, pixels = self._engine.broadcast.bytes, head["frame_start"], head["frame_end"], 0
        if self._cursor >= head["since"]:
            pixels = int(head["pixel_count"])
        else:
            canvas, frame = self._engine.canvas, self.arrays.conflated
            tiles = (0, 0, canvas.tiles_across, canvas.tiles_down)
            start, end, pixels = encode_region(canvas.arrays, tiles, self._cursor, newest, frame)
            self._counts["conflated_count"] += 1
        self._cursor = newest
        size = int(end - start)
        if not size:
            return  # What had changed since has changed in a tick that is yet to come.
        self._view[:size] = frame[start:end]
        link["view_bytes"] = size
        link["view_serial"] += 1
        self._counts["delta_count"] += viewers
        self._counts["delta_bytes"] += viewers * size
        self._counts["delta_pixel_count"] += viewers * pixels
        self._note_view(viewers, clock.now_ns() - begun_ns)

    def _note_view(self, viewers: int, busy_ns: int) -> None:
        stage = self.arrays.stages[Stage.FANOUT]
        stage["busy_ns"] += busy_ns
        stage["batch_count"] += 1
        stage["item_count"] += viewers
