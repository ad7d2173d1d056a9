"""A fleet that shares memory with its server: the same frames as over sockets, without system calls to carry them.

Frames go into a ring of blocks, each of which the server returns once it is served; blocks are filled and returned in
one order. All viewers see the same, so one stands for all of them: it takes each broadcast from the link's view,
decodes and checks it as it would from a socket, and what it counts is counted for each. Probed batches are answered by
the tick with which their block is returned, as a PING behind them would be; they are all in that viewer's queue.
Rate, arrivals, pattern and frames per write
may change while it runs; there are no connections here that could come, go or fail. Linux only.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.config import LINK_SETTINGS, FleetConfig
from devices.fleet.fleet import STEP_NS, Fleet
from devices.kernels.layout import Phase
from devices.kernels.probes import answer_probes
from devices.link import FleetLink
from server.ipc.page import Page
from server.kernels.link import BlockState
from server.kernels.ring import await_state
from server.protocol.messages import Snapshot
from server.protocol.websocket import ProtocolViolation, parse_head
from server.system import clock

# Settings of connections.
_FIXED = ("connections", "viewers", "connect_per_s", "churn_s", *LINK_SETTINGS)
_NO_LINKS = "devices without sockets have no links that could fail"
# Longest wait for a block before it looks at the view again.
LOOK_NS = 5_000_000


class MemoryLink(FleetLink):
    """`link`: a page with `link_sections`, shared with the server."""

    def __init__(self, fleet: Fleet, link: Page) -> None:
        super().__init__(fleet)
        self._link = link["link"][0]
        self.tick_ms = int(self._link["tick_ms"])
        self._blocks, self._segments, self._view = link["blocks"], link["segments"], link["view"]
        self._words = link["arenas"].view(np.uint32)
        # Numbers of the blocks, which are the nonces of their probes.
        self._serials = [0] * len(self._blocks)
        self._next = self._oldest = self._under_way = 0
        # Viewers that never read get nothing over memory either.
        self._viewers = np.flatnonzero(fleet.arrays.devices["viewer"] > fleet.arrays.devices["slow"])
        # The viewer that stands for all, in whose queue all probes are.
        self._viewer = int(self._viewers[0]) if len(self._viewers) else 0

    @property
    def is_complete(self) -> bool:
        return self.open_count == self.fleet.config.connections

    def dial(self, now_ns: int) -> None:
        if self.is_complete:
            return
        # All at once. Viewers begin with the canvas as it was before the first tick.
        fleet, devices = self.fleet, self.fleet.arrays.devices
        devices["phase"] = Phase.FAST
        devices["number"] = np.arange(1, len(devices) + 1)  # As the server counts them: there is no HELLO.
        self._counters["connection_count"] = fleet.config.connections
        if len(self._viewers):
            blank = Snapshot(0, 0, 0, fleet.width, fleet.height, bytes(fleet.width * fleet.height))
            self._receive(blank.encode(compress=True), now_ns)
            devices["seen"][self._viewers] = 1
            self._counters["subscriber_count"] = len(self._viewers)

    def adjust(self, config: FleetConfig, rate_factor: float, now_ns: int) -> str:
        before = self.fleet.config
        changed = [name for name in _FIXED if getattr(config, name) != getattr(before, name)]
        self.fleet.adjust(
            msgspec.structs.replace(config, **{name: getattr(before, name) for name in _FIXED}), rate_factor, now_ns
        )
        return f"without sockets, these stay as they were: {', '.join(changed)}" if changed else ""

    def stall(self, share: float, seconds: float, now_ns: int) -> str:
        return _NO_LINKS

    def cut(self, share: float, now_ns: int) -> str:
        return _NO_LINKS

    def drive(self, until_ns: int) -> None:
        while True:
            self._take_back()
            self._read_view()
            now_ns = clock.now_ns()
            if now_ns >= until_ns:
                return
            pause_until_ns = min(self.fleet.resume_ns, until_ns)
            if now_ns < pause_until_ns:
                clock.wait_s(min(pause_until_ns - now_ns, STEP_NS) / 1e9)
            elif self._blocks[self._next]["state"] == BlockState.FREE:
                self._fill(now_ns)
            else:
                self._counters["blocked_count"] += 1
                await_state(self._blocks, self._next, int(BlockState.FREE), min(until_ns, now_ns + LOOK_NS))

    def count_unanswered(self) -> int:
        self._take_back()
        return self._under_way

    def check_viewers(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        checked, wrong = self.fleet.viewers.check(pixels)
        return checked * len(self._viewers), wrong * len(self._viewers)

    def close(self, now_ns: int) -> None:
        self.fleet.arrays.devices["phase"] = Phase.GONE
        self._counters["connection_count"] = 0
        self._counters["subscriber_count"] = 0

    def _fill(self, now_ns: int) -> None:
        """Fill the next block and give it to the server, if anything is due."""
        fill = self.fleet.fill_block(self._words[self._next], self._segments[self._next], now_ns, self._viewer)
        if not fill["segment_count"]:
            return
        self._counters["sent_count"] += fill["frame_count"]
        self._counters["sent_bytes"] += fill["size"]
        self._counters["write_count"] += fill["segment_count"]
        self._serials[self._next] = int(fill["serial"])
        block = self._blocks[self._next]
        block["segment_count"] = fill["segment_count"]
        block["state"] = BlockState.FULL
        self._next = (self._next + 1) % len(self._blocks)
        self._under_way += 1

    def _take_back(self) -> None:
        """Take the served blocks back, with the ticks that answer their probes."""
        while self._under_way and self._blocks[self._oldest]["state"] == BlockState.FREE:
            serial, tick = self._serials[self._oldest], int(self._blocks[self._oldest]["tick"])
            answer_probes(self.fleet.arrays, self._viewer, serial, tick)
            self._oldest = (self._oldest + 1) % len(self._blocks)
            self._under_way -= 1
        assert (self._next - self._oldest - self._under_way) % len(self._blocks) == 0

    def _read_view(self) -> None:
        """Read the broadcast in the view, if it is new."""
        # The server writes a new view only when the last one was taken, so it cannot change while it is read.
        serial = int(self._link["view_serial"])
        if serial == self._link["view_taken"]:
            return
        frame = self._view[: int(self._link["view_bytes"])].tobytes()
        self._link["view_taken"] = serial
        self._counters["received_bytes"] += len(frame) * len(self._viewers)
        now_ns = clock.now_ns()
        try:
            head = parse_head(frame)
            assert head is not None, "a view holds a whole frame"
            self._receive(frame[head.head_bytes :], now_ns)
        except ProtocolViolation as violation:
            self._counters["protocol_error_count"] += 1
            self.reason = violation.reason

    def _receive(self, payload: bytes, now_ns: int) -> None:
        """Let the viewer that stands for all receive a message, and count it for each."""
        counters, others = self._counters, len(self._viewers) - 1
        names = ("delta_count", "delta_pixel_count", "snapshot_count")
        before = [int(counters[name]) for name in names]
        self.fleet.receive(self._viewer, payload, now_ns)
        for name, count in zip(names, before, strict=True):
            counters[name] += (int(counters[name]) - count) * others
