"""One connection of the mailbox server: its streams, its queue, its token bucket, and what it watches.

It decides about itself alone, and takes the time as an argument.
"""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from server.config import ServerConfig
from server.engine.canvas import new_rules, refill
from server.protocol.connection import Connection
from server.protocol.messages import Throttled
from server.wire import DropReason

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER without a time: closing the socket resets the connection."""
REPORT_NS = PAUSE_NS = 1_000_000_000
READ_BYTES = 4096
"""What one connection's turn is worth: some 340 placements."""
OUTBOX_MAX = 4
"""Deltas that wait for one viewer. With this many, it is left out until it has taken some: its deltas are conflated."""


class Limits(NamedTuple):
    """What connections are held to, in nanoseconds; as RULES."""

    token_ns: int
    burst_ns: int
    stall_ns: int
    evict_ns: int


def limits_of(config: ServerConfig) -> Limits:
    """The limits that `config` asks for."""
    rules = new_rules(config)[0]
    return Limits(*(int(rules[name]) for name in Limits._fields))


class QueuedFrame(NamedTuple):
    """A WebSocket frame in a client's outbox. `pixel_count` and `encoding` are those of a DELTA, else 0."""

    data: bytes
    pixel_count: int = 0
    encoding: int = 0


@dataclass(eq=False, slots=True)
class MailboxClient:
    """The state of one connection. Fields that a row of dtype CONNECTION has too mean the same there."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    connection: Connection
    limits: Limits
    outbox: asyncio.Queue[QueuedFrame] = field(default_factory=asyncio.Queue)
    route: str = ""
    """The path of its request; "" before."""
    number: int = 0
    opened_ns: int = 0
    is_refused: bool = False
    is_half_closed: bool = False
    tiles: tuple[int, int, int, int] | None = None
    """What it watches, half open; None: nothing."""
    cursor: int = 0
    interval_ns: int = 0
    due_ns: int = 0
    full_ns: int = 0
    received_count: int = 0
    admitted_count: int = 0
    throttled_count: int = 0
    shed_count: int = 0
    out_of_bounds_count: int = 0
    over_ns: int = 0
    over_since_ns: int = 0
    reported_ns: int = 0
    reported_count: int = 0
    progress_ns: int = 0
    owed_bytes: int = 0
    delta_count: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0

    def take_token(self, now_ns: int) -> bool:
        """Take one token of the bucket. False when there is none: then the placement is counted as throttled."""
        # The bucket is one number: the time at which it will be full again. Each token taken puts that off.
        full_ns = max(self.full_ns, now_ns) + self.limits.token_ns
        if full_ns - now_ns <= self.limits.burst_ns:
            self.full_ns = full_ns
            return True
        self.throttled_count += 1
        self.over_ns = now_ns
        self.over_since_ns = self.over_since_ns or now_ns
        return False

    def hold_to(self, limits: Limits, now_ns: int) -> None:
        """Apply other limits from now on; the bucket keeps its tokens, as far as the new one holds them."""
        before, after = self.limits[:2], limits[:2]
        if before != after:
            self.full_ns = int(refill(np.array(self.full_ns), before, after, now_ns))
        self.limits = limits

    def flush(self) -> None:
        """Write what the connection itself has to say; after its close frame, end our side of the stream."""
        data = self.connection.data_to_send()
        # The peer may still send, but nothing can be answered.
        if self.is_half_closed or self.writer.is_closing():
            return
        self.writer.write(data)
        if self.connection.output_ended:
            self.is_half_closed = True
            with contextlib.suppress(OSError):  # The peer was quicker: there is no connection left to end.
                self.writer.write_eof()

    def reset(self) -> None:
        """End it at once. After an orderly close, the system would keep what the peer does not take for minutes."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.writer.transport.abort()

    def is_owed_delta(self, tick: int, now_ns: int, tick_ns: int) -> bool:
        """Whether it watches, lacks something of `tick`, has waited its interval, and has room in its outbox."""
        # A delta goes with the tick that is nearest to its due time, so it may be half a tick early.
        if self.tiles is None or self.cursor >= tick or self.due_ns > now_ns + tick_ns // 2:
            return False
        return self.connection.can_send and self.outbox.qsize() < OUTBOX_MAX

    def wait_interval(self, now_ns: int, tick_ns: int) -> None:
        """Set when the next delta is due, after one: as `note_delta` of kernels/due_frames."""
        self.due_ns = max(self.due_ns, now_ns - tick_ns // 2) + self.interval_ns

    def report(self, now_ns: int) -> Throttled | None:
        """How many of its placements were dropped and why; None when there is no news, or a report was just sent."""
        dropped = (self.throttled_count + self.shed_count + self.out_of_bounds_count) & 0xFFFFFFFF
        if dropped == self.reported_count or now_ns - self.reported_ns < REPORT_NS:
            return None
        if not self.connection.can_send or not self.outbox.empty():
            return None
        reason, retry_ms = DropReason.OUT_OF_BOUNDS, 0
        # The reason is that of the newest drops. When to retry is known for the rate only.
        if self.over_ns > self.reported_ns:
            wait_ns = max(0, self.full_ns + self.limits.token_ns - self.limits.burst_ns - now_ns)
            reason, retry_ms = DropReason.RATE, min(-(-wait_ns // 1_000_000), 65535)
        elif self.shed_count:
            reason = DropReason.OVERLOAD
        self.reported_count, self.reported_ns = dropped, now_ns
        return Throttled(reason, retry_ms, dropped)

    def has_stalled(self, now_ns: int) -> bool:
        """Whether it has taken none of the bytes that it is owed for too long."""
        # Fewer bytes than at the last look: the peer has taken some.
        owed_bytes = self.writer.transport.get_write_buffer_size()
        if owed_bytes == 0 or owed_bytes < self.owed_bytes:
            self.progress_ns = now_ns
        self.owed_bytes = owed_bytes
        return now_ns - self.progress_ns > self.limits.stall_ns

    def is_over_limit(self, now_ns: int) -> bool:
        """Whether it has stayed over its rate, without a second's pause, for too long."""
        if now_ns - self.over_ns > PAUSE_NS:
            self.over_since_ns = 0
        is_over = self.limits.evict_ns > 0 and self.over_since_ns > 0
        return is_over and now_ns - self.over_since_ns > self.limits.evict_ns
