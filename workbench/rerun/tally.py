"""What couriers hear from the server, counted on the fleet's page as a fleet counts it.

It sends nothing. Invariant: a placement's latency counts from the time at which the recording wants it placed, however
late it left.
"""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.ipc.page import Page
from server.kernels.layout import HISTOGRAM_BUCKETS
from server.protocol.blocks import changed_cells
from server.protocol.messages import Pong, Throttled, decode_server_message, read_body
from server.wire import BLOCK_BYTES_MAX, DELTA, DropReason, ServerOp
from workbench.telemetry.histogram import bounds_us

_LEAST_US = np.array([bounds_us(bucket)[0] for bucket in range(HISTOGRAM_BUCKETS)], np.int64)
_DROPS = {
    DropReason.RATE: "throttled_count",
    DropReason.OVERLOAD: "shed_count",
    DropReason.OUT_OF_BOUNDS: "out_of_bounds_count",
}


class Tally:
    """Takes messages and writes counters. `page` has `fleet_sections`."""

    def __init__(self, page: Page, courier_count: int, width: int, height: int) -> None:
        self._page = page
        self._counters: NDArray[Any] = page["fleet"][0]
        self._width, self._height = width, height
        self._dropped = [0] * courier_count
        self._asked: list[deque[int]] = [deque() for _ in range(courier_count)]
        self._shown: deque[tuple[int, int]] = deque()
        self.greeted_count = 0

    @property
    def unanswered_count(self) -> int:
        """PINGs without a PONG."""
        return sum(map(len, self._asked))

    def ask(self, index: int, intended_ns: int) -> int:
        """Note a PING of a courier behind placements of that time. Returns its nonce."""
        self._asked[index].append(intended_ns)
        return intended_ns

    def hear(self, index: int, message: bytes, now_ns: int) -> None:
        """Take note of a message to courier `index`; number 0 is the one that watches. Raises ProtocolViolation."""
        op = message[0] if message else -1
        if op == ServerOp.DELTA:
            self._hear_delta(message, now_ns)
        elif op == ServerOp.SNAPSHOT:
            self._counters["snapshot_count"] += 1
        elif op == ServerOp.HELLO:
            self.greeted_count += 1
        else:
            self._hear_other(index, decode_server_message(message))

    # --- Inside ---

    def _hear_other(self, index: int, message: object) -> None:
        if isinstance(message, Pong) and self._asked[index]:
            intended_ns = self._asked[index].popleft()
            if index == 0 and intended_ns:
                self._shown.append((message.tick, intended_ns))
        elif isinstance(message, Throttled):
            self._counters[_DROPS[DropReason(message.reason)]] += message.dropped - self._dropped[index]
            self._dropped[index] = message.dropped

    def _hear_delta(self, message: bytes, now_ns: int) -> None:
        _, encoding, count, tick = DELTA.unpack_from(message)
        raw = read_body("DELTA", encoding, message[DELTA.size :], count * BLOCK_BYTES_MAX)
        pixels, _ = changed_cells(raw, count, self._width, self._height)
        self._counters["delta_count"] += 1
        self._counters["delta_pixel_count"] += len(pixels)
        # A PONG's tick was there before its placements were; the first delta after it shows them.
        while self._shown and self._shown[0][0] < tick:
            self._record("latency", (now_ns - self._shown.popleft()[1]) // 1000)

    def _record(self, section: str, value_us: int) -> None:
        value_us = max(0, value_us)
        bucket = int(np.searchsorted(_LEAST_US, value_us, side="right")) - 1
        self._page[section][bucket] += 1
        self._page[f"{section}_max_us"][0] = max(int(self._page[f"{section}_max_us"][0]), value_us)
