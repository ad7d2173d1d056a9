"""The recorded arrivals, placed again at their times: in a session it takes the place of a fleet.

A pixel is always placed by the same connection, so its colours arrive in the order in which they were recorded. The
latency of a placement counts from the time at which it is due, however late it was sent.
"""

import os
import selectors
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.client import Client, reason_of
from devices.config import FleetCommand, StartFleet
from server.ipc.control import CheckViewers, Event, Phase, Progress, Stop, StopSending
from server.ipc.page import Page
from server.kernels.layout import HISTOGRAM_BUCKETS, State
from server.protocol.blocks import changed_cells
from server.protocol.http import authority_of
from server.protocol.messages import Pong, Throttled, decode_server_message, read_body
from server.protocol.websocket import CloseCode
from server.system import clock
from server.wire import BLOCK_BYTES_MAX, DELTA, DropReason, ServerOp
from workbench.errors import RunError
from workbench.recording.film import Frame
from workbench.recording.reader import Recording
from workbench.telemetry.histogram import bounds_us

# Longest wait for a socket; commands and the heartbeat wait no longer.
TURN_S = 0.02
# While this much is unsent, nothing more is read from the recording: then it is the server that is late.
UNSENT_BYTES_MAX = 4 << 20

_LEAST_US = np.array([bounds_us(bucket)[0] for bucket in range(HISTOGRAM_BUCKETS)], np.int64)
_DROPS = {
    DropReason.RATE: "throttled_count",
    DropReason.OVERLOAD: "shed_count",
    DropReason.OUT_OF_BOUNDS: "out_of_bounds_count",
}

Commands = SimpleQueue[FleetCommand]


class ReplyCounter:
    """Counts what the server answers, on the page of the fleet. `page` has `fleet_sections`."""

    def __init__(self, page: Page, client_count: int, width: int, height: int) -> None:
        self._page = page
        self._counters: NDArray[Any] = page["fleet"][0]
        self._width, self._height = width, height
        self._dropped = [0] * client_count
        self._pinged_ns: list[deque[int]] = [deque() for _ in range(client_count)]
        self._answered: deque[tuple[int, int]] = deque()
        self.hello_count = 0

    @property
    def unanswered_count(self) -> int:
        """PINGs without a PONG."""
        return sum(map(len, self._pinged_ns))

    def on_ping(self, index: int, intended_ns: int) -> int:
        """Note a PING of client `index` behind placements of that time. Returns its nonce."""
        self._pinged_ns[index].append(intended_ns)
        return intended_ns

    def on_message(self, index: int, message: bytes, now_ns: int) -> None:
        """Count a message to client `index`; number 0 is the one that watches. Raises ProtocolViolation."""
        op = message[0] if message else -1
        if op == ServerOp.DELTA:
            self._on_delta(message, now_ns)
        elif op == ServerOp.SNAPSHOT:
            self._counters["snapshot_count"] += 1
        elif op == ServerOp.HELLO:
            self.hello_count += 1
        else:
            self._on_other(index, decode_server_message(message))

    def _on_other(self, index: int, message: object) -> None:
        if isinstance(message, Pong) and self._pinged_ns[index]:
            intended_ns = self._pinged_ns[index].popleft()
            if index == 0 and intended_ns:
                self._answered.append((message.tick, intended_ns))
        elif isinstance(message, Throttled):
            self._counters[_DROPS[DropReason(message.reason)]] += message.dropped - self._dropped[index]
            self._dropped[index] = message.dropped

    def _on_delta(self, message: bytes, now_ns: int) -> None:
        _, encoding, count, tick = DELTA.unpack_from(message)
        raw = read_body("DELTA", encoding, message[DELTA.size :], count * BLOCK_BYTES_MAX)
        pixels, _ = changed_cells(raw, count, self._width, self._height)
        self._counters["delta_count"] += 1
        self._counters["delta_pixel_count"] += len(pixels)
        # A PONG has the tick before its placements; the first delta after that shows them.
        while self._answered and self._answered[0][0] < tick:
            self._record("latency", (now_ns - self._answered.popleft()[1]) // 1000)

    def _record(self, section: str, value_us: int) -> None:
        value_us = max(0, value_us)
        bucket = int(np.searchsorted(_LEAST_US, value_us, side="right")) - 1
        self._page[section][bucket] += 1
        self._page[f"{section}_max_us"][0] = max(int(self._page[f"{section}_max_us"][0]), value_us)


class Playback:
    """Places the changes of `recording` over `start.config.connections` connections. `page` has `fleet_sections`."""

    def __init__(
        self,
        start: StartFleet,
        page: Page,
        recording: Recording,
        on_event: Callable[[Event], None],
        commands: Commands,
    ) -> None:
        self._start, self._on_event, self._commands = start, on_event, commands
        self._counters = page["fleet"][0]
        self._replies = ReplyCounter(page, start.config.connections, start.width, start.height)
        self._frames: Iterator[Frame] = recording.frames()
        self._next: Frame | None = next(self._frames, None)
        # From the recorded times to ours; set when all connections are open.
        self._shift_ns = 0
        self._clients: list[Client] = []
        self._selector = selectors.DefaultSelector()
        self._is_stopped = self._is_ending = False
        self._reported: set[str] = set()

    def run(self) -> None:
        """Run to the end. Raises RunError when a connection is lost, UserError where the recording is damaged."""
        self._counters["process_id"] = os.getpid()
        self._counters["device_count"] = self._start.config.connections
        try:
            self._connect()
            self._place_all()
            self._counters["state"] = State.DRAINING
        except OSError as error:
            where = authority_of(self._start.host, self._start.port)
            raise RunError(f"a connection to {where} ended: {reason_of(error)}") from None
        finally:
            for client in self._clients:
                client.close(CloseCode.GOING_AWAY, "all is placed")
            self._selector.close()
        self._counters["state"] = State.STOPPED

    def _connect(self) -> None:
        self._counters["state"] = State.CONNECTING
        count = self._start.config.connections
        for _ in range(count):
            self._clients.append(Client(self._start.host, self._start.port, self._start.path, timeout_s=0))
            self._selector.register(self._clients[-1], selectors.EVENT_READ | selectors.EVENT_WRITE)
        while self._replies.hello_count < count and not self._is_stopped:
            self._turn()
            self._on_event(Progress("connecting", self._replies.hello_count, count))
        if self._is_stopped:
            return
        self._clients[0].subscribe()
        self._on_event(Phase("connected"))

    def _place_all(self) -> None:
        self._counters["state"] = State.RUNNING
        self._counters["started_ns"] = now_ns = clock.now_ns()
        self._counters["connection_count"], self._counters["subscriber_count"] = len(self._clients), 1
        if self._next is not None:
            self._shift_ns = now_ns - self._next.time_ns
        self._on_event(Phase("sending"))
        while not self._is_stopped:
            self._place_due(clock.now_ns())
            self._turn()
            # `finished` asks the session to end the load; `quiet` answers its StopSending.
            if self._next is None and self._is_all_answered():
                self._report_once("finished")
            if self._is_ending and self._is_all_answered():
                self._report_once("quiet")

    def _place_due(self, now_ns: int) -> None:
        """Place what is due, as fast as the server accepts it."""
        while self._next is not None and not self._is_ending and self._next.time_ns + self._shift_ns <= now_ns:
            # Otherwise a slow server would fill our memory; what is due later is then placed late, and counted so.
            if sum(client.unsent_bytes for client in self._clients) > UNSENT_BYTES_MAX:
                return
            self._place(self._next)
            self._next = next(self._frames, None)

    def _place(self, frame: Frame) -> None:
        pixels, colors = frame.changes["pixel"].astype(np.int64), frame.changes["color"]
        y, x = np.divmod(pixels, self._start.width)
        # By pixel, not in turn: two colours of one pixel over two connections could arrive in either order.
        owner = pixels % len(self._clients)
        for index, client in enumerate(self._clients):
            own = owner == index
            if own.any():
                client.place_many(x[own], y[own], colors[own])
                client.ping(self._replies.on_ping(index, frame.time_ns + self._shift_ns))
        self._counters["offered_count"] += len(pixels)

    def _is_all_answered(self) -> bool:
        """Whether everything placed has been applied: all PINGs behind it are answered."""
        return self._replies.unanswered_count == 0 and not any(client.unsent_bytes for client in self._clients)

    def _turn(self) -> None:
        """Send, receive, count and obey commands. Waits for a ready socket, a turn at most."""
        for index, client in enumerate(self._clients):
            # A socket with room is always writable: ask for that only while something is unsent.
            writes = selectors.EVENT_WRITE if client.unsent_bytes else 0
            self._selector.modify(client, selectors.EVENT_READ | writes, index)
        for key, _ in self._selector.select(self._wait_s()):
            now_ns = clock.now_ns()
            for message in self._clients[key.data].exchange(now_ns):
                self._replies.on_message(key.data, message, now_ns)
        self._beat()
        while not self._commands.empty():
            self._follow(self._commands.get())

    def _wait_s(self) -> float:
        if self._next is None or self._is_ending:
            return TURN_S
        return min(TURN_S, max(0.0, (self._next.time_ns + self._shift_ns - clock.now_ns()) / 1e9))

    def _follow(self, command: FleetCommand) -> None:
        """Obey a command. Those about devices have no effect here."""
        match command:
            case Stop():
                self._is_stopped = True
            case StopSending():
                self._is_ending = True
                self._counters["state"] = State.DRAINING
            case CheckViewers():
                self._report_once("checked")

    def _beat(self) -> None:
        for field in ("sent_bytes", "received_bytes", "sent_count"):
            self._counters[field] = sum(getattr(client, field) for client in self._clients)
        self._counters["cpu_ns"] = clock.process_cpu_ns()
        self._counters["resident_bytes"] = clock.resident_bytes()
        self._counters["heartbeat_ns"] = clock.now_ns()

    def _report_once(self, phase: str) -> None:
        """Report a phase, the first time that it is reached."""
        if phase not in self._reported:
            self._reported.add(phase)
            self._on_event(Phase(phase))
