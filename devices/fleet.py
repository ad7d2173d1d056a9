"""The fleet without I/O: devices that know when to send, what they paint and what they see.

A shell moves the bytes: `dialer` over sockets. Time is an argument. Invariant: nothing here touches a socket or a
clock, so the same fleet can be joined to an engine in memory.
"""

import numpy as np
from numpy.typing import NDArray

from devices.config import FleetConfig
from devices.kernels import arrivals
from devices.kernels.layout import NEVER_NS, Arrays, Phase, Probe, Verdict
from devices.kernels.viewer import receive_message
from devices.patterns import Life
from devices.viewer import ViewerTable
from devices.workload import new_arrays
from server.page import Page
from server.protocol.messages import Subscribe
from server.protocol.websocket import CloseCode, ProtocolViolation

_BOARD_NONE = (1, 1)
OFFERED_NS_A_DEVICE = 250
"""Least time between two counts of what is offered, which look at every device: they take a percent or two of it."""


class Fleet:
    """The devices of one fleet, on a canvas of `width` x `height`. `page`: one with `fleet_sections`, written here."""

    def __init__(self, config: FleetConfig, width: int, height: int, seed: int, page: Page) -> None:
        self.config = config
        self.width, self.height = width, height
        self._life: Life | None = None
        self._offered_ns = 0
        board = np.zeros(_BOARD_NONE, np.uint8)
        if config.pattern == "life":
            self._life = Life(width, height, seed, config.connections * config.rate_per_s)
            board = self._life.board
        self.arrays: Arrays = new_arrays(config, width, height, seed, page, board)
        self.viewers = ViewerTable(self.arrays, width, height)
        self._counters = page["fleet"][0]
        self._counters["device_count"] = config.connections

    def start(self, now_ns: int) -> None:
        """Lay out the schedule from `now_ns` on. Devices that are open begin to send."""
        arrivals.start_schedule(self.arrays, now_ns)
        self._counters["started_ns"] = now_ns

    def stop_sending(self, now_ns: int) -> None:
        """Intend nothing after `now_ns`. What was intended before is still sent."""
        self.publish_offered(now_ns)
        arrivals.stop_schedule(self.arrays, now_ns)

    def advance(self, now_ns: int) -> None:
        """What Python has to do now and then: move life on, count what is offered."""
        if self._life is not None and self.is_started:
            self._life.advance(now_ns - int(self.arrays.settings["started_ns"][0]))
        if now_ns - self._offered_ns >= OFFERED_NS_A_DEVICE * self.config.connections:
            self.publish_offered(now_ns)

    def publish_offered(self, now_ns: int) -> None:
        """Bring the count of offered placements up to `now_ns`."""
        self._offered_ns = now_ns
        if self.is_started:
            self._counters["offered_count"] += arrivals.count_offered(self.arrays, now_ns)

    @property
    def is_started(self) -> bool:
        """Whether there is a schedule."""
        return bool(self.arrays.settings["started_ns"][0])

    def set_phase(self, d: int, phase: Phase) -> None:
        """Put device `d` into `phase`, which decides whether it sends."""
        self.arrays.devices["phase"][d] = phase
        arrivals.arm(self.arrays, d)

    def subscribe(self, d: int) -> Subscribe:
        """What device `d` asks for when it begins to watch."""
        if self.config.region == "whole":
            return Subscribe()
        x, y, width, height = self.arrays.groups[self.arrays.devices["group"][d]].tolist()
        return Subscribe(x=x, y=y, width=width, height=height)

    def receive(self, d: int, payload: bytes, now_ns: int) -> None:
        """Take one whole canvas message for device `d`. Raises ProtocolViolation."""
        buffer = np.frombuffer(bytearray(payload), np.uint8)
        verdict = receive_message(self.arrays, d, buffer, 0, len(payload), now_ns)
        if verdict == Verdict.UNKNOWN:
            self.viewers.teach(d, payload)
            verdict = receive_message(self.arrays, d, buffer, 0, len(payload), now_ns)
        if verdict != Verdict.DONE:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, describe_violation(payload))

    def backlog_count(self, now_ns: int) -> int:
        """Placements due at `now_ns` that are not in a frame yet, or in one that the socket has not taken."""
        waiting = int(arrivals.count_backlog(self.arrays, now_ns))
        return waiting + int(self.arrays.devices["rest_frames"].sum())

    def waiting_probe_count(self) -> int:
        """Latency probes that are not over."""
        return int(np.count_nonzero(self.arrays.devices["probe"] != Probe.NONE))

    def phase_counts(self) -> NDArray[np.int64]:
        """How many devices are in each Phase. Shape (len(Phase),)."""
        return np.bincount(self.arrays.devices["phase"], minlength=len(Phase))

    def next_write_ns(self) -> int | None:
        """When the next batch is due, or None."""
        earliest = int(self.arrays.due_ns.min(initial=NEVER_NS))
        return None if earliest == NEVER_NS else earliest


def describe_violation(payload: bytes) -> str:
    """What is wrong with a message that the compiled decoder refused."""
    if not payload:
        return "an empty message; its first byte must be an op"
    return f"op 0x{payload[0]:02x} with {len(payload)} bytes; the ops and lengths of a server are others"
