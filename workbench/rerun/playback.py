"""The recorded arrivals, placed again at their times: what stands in a session where a fleet would.

It decides nothing about the run. Invariant: a pixel is always placed by the same courier, so its colours arrive in the
order in which they were recorded.
"""

import os
import selectors
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import numpy as np

from devices.client import Client, reason_of
from devices.config import FleetCommand, StartFleet
from server.ipc.control import CheckViewers, Event, Phase, Progress, Stop, StopSending
from server.ipc.page import Page
from server.kernels.layout import State
from server.protocol.http import authority_of
from server.protocol.websocket import CloseCode
from server.system import clock
from workbench.errors import RunError
from workbench.recording.film import Frame
from workbench.recording.reader import Recording
from workbench.rerun.tally import Tally

TURN_S = 0.02
"""Commands and the heartbeat wait no longer."""
UNSENT_BYTES_MAX = 4 << 20
"""While so much waits for the server, nothing more is taken from the recording: then it is the server that is late."""

Commands = SimpleQueue[FleetCommand]


class Playback:
    """Places what `recording` holds through `start.config.connections` couriers. `page` has `fleet_sections`."""

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
        self._tally = Tally(page, start.config.connections, start.width, start.height)
        self._frames: Iterator[Frame] = recording.frames()
        self._next: Frame | None = next(self._frames, None)
        self._shift_ns = 0
        self._couriers: list[Client] = []
        self._selector = selectors.DefaultSelector()
        self._is_stopped = self._is_ending = False
        self._told: set[str] = set()

    def run(self) -> None:
        """Do all of it. Raises RunError when a connection is lost, UserError where the recording is damaged."""
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
            for courier in self._couriers:
                courier.close(CloseCode.GOING_AWAY, "all is placed")
            self._selector.close()
        self._counters["state"] = State.STOPPED

    # --- Inside ---

    def _connect(self) -> None:
        self._counters["state"] = State.CONNECTING
        count = self._start.config.connections
        for _ in range(count):
            self._couriers.append(Client(self._start.host, self._start.port, self._start.path, timeout_s=0))
            self._selector.register(self._couriers[-1], selectors.EVENT_READ | selectors.EVENT_WRITE)
        while self._tally.greeted_count < count and not self._is_stopped:
            self._turn()
            self._on_event(Progress("connecting", self._tally.greeted_count, count))
        if self._is_stopped:
            return
        self._couriers[0].subscribe()
        self._on_event(Phase("connected"))

    def _place_all(self) -> None:
        self._counters["state"] = State.RUNNING
        self._counters["started_ns"] = now_ns = clock.now_ns()
        self._counters["connection_count"], self._counters["subscriber_count"] = len(self._couriers), 1
        if self._next is not None:
            self._shift_ns = now_ns - self._next.time_ns
        self._on_event(Phase("sending"))
        while not self._is_stopped:
            self._place_due(clock.now_ns())
            self._turn()
            if self._next is None and self._is_all_answered():
                self._tell("finished")
            if self._is_ending and self._is_all_answered():
                self._tell("quiet")

    def _place_due(self, now_ns: int) -> None:
        """Take from the recording what is due, as far as the server comes along."""
        while self._next is not None and not self._is_ending and self._next.time_ns + self._shift_ns <= now_ns:
            if sum(courier.unsent_bytes for courier in self._couriers) > UNSENT_BYTES_MAX:
                return
            self._place(self._next)
            self._next = next(self._frames, None)

    def _place(self, frame: Frame) -> None:
        pixels, colors = frame.changes["pixel"].astype(np.int64), frame.changes["color"]
        y, x = np.divmod(pixels, self._start.width)
        owner = pixels % len(self._couriers)
        for index, courier in enumerate(self._couriers):
            own = owner == index
            if own.any():
                courier.place_many(x[own], y[own], colors[own])
                courier.ping(self._tally.ask(index, frame.time_ns + self._shift_ns))
        self._counters["offered_count"] += len(pixels)

    def _is_all_answered(self) -> bool:
        """Whether all that was placed has been applied, as the PONGs behind it tell."""
        return self._tally.unanswered_count == 0 and not any(courier.unsent_bytes for courier in self._couriers)

    def _turn(self) -> None:
        """Send, receive, count and follow commands. Waits until there is something to do, a turn at most."""
        for index, courier in enumerate(self._couriers):
            writes = selectors.EVENT_WRITE if courier.unsent_bytes else 0
            self._selector.modify(courier, selectors.EVENT_READ | writes, index)
        for key, _ in self._selector.select(self._wait_s()):
            now_ns = clock.now_ns()
            for message in self._couriers[key.data].exchange(now_ns):
                self._tally.hear(key.data, message, now_ns)
        self._beat()
        while not self._commands.empty():
            self._follow(self._commands.get())

    def _wait_s(self) -> float:
        if self._next is None or self._is_ending:
            return TURN_S
        return min(TURN_S, max(0.0, (self._next.time_ns + self._shift_ns - clock.now_ns()) / 1e9))

    def _follow(self, command: FleetCommand) -> None:
        """What is meant for devices says nothing to couriers: they do what was done before."""
        match command:
            case Stop():
                self._is_stopped = True
            case StopSending():
                self._is_ending = True
                self._counters["state"] = State.DRAINING
            case CheckViewers():
                self._tell("checked")

    def _beat(self) -> None:
        for field in ("sent_bytes", "received_bytes", "sent_count"):
            self._counters[field] = sum(getattr(courier, field) for courier in self._couriers)
        self._counters["cpu_ns"] = clock.process_cpu_ns()
        self._counters["resident_bytes"] = clock.resident_bytes()
        self._counters["heartbeat_ns"] = clock.now_ns()

    def _tell(self, phase: str) -> None:
        """Say once that a phase is reached."""
        if phase not in self._told:
            self._told.add(phase)
            self._on_event(Phase(phase))
