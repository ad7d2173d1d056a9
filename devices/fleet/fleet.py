"""The fleet without I/O: devices that know when to send, what they paint and what they see.

A `FleetLink` moves the bytes. Time is an argument, and nothing here touches a socket or a clock, so tests join the same
fleet to an engine in memory.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.config import FleetConfig
from devices.fleet.patterns import Life
from devices.fleet.viewer import ViewerTable, new_tables
from devices.fleet.workload import clear_probes, grown, new_arrays, new_epoch, write_settings
from devices.kernels import schedule
from devices.kernels.layout import EPOCHS_MAX, FILL, Arrays, Phase, Region, Verdict
from devices.kernels.memory import fill_block
from devices.kernels.viewer import receive_message
from server.ipc.page import Page
from server.protocol.messages import Subscribe
from server.protocol.websocket import CloseCode, ProtocolViolation

_BOARD_NONE = (1, 1)
# Least time between two counts of what is offered, which look at every device: they take 1 or 2 % of it.
OFFERED_NS_A_DEVICE = 250
# Least time between two blocks, for which all devices are looked at: a look at a million takes a millisecond.
STEP_NS = 1_000_000
# Added to it per device.
STEP_NS_A_DEVICE = 10
# Most time between two blocks: a schedule may have been started meanwhile.
IDLE_NS = 20_000_000


class Fleet:
    """The devices of one fleet, on a canvas of `width` x `height`. `page`: one with `fleet_sections`, written here."""

    def __init__(self, config: FleetConfig, width: int, height: int, seed: int, page: Page) -> None:
        self.config = config
        self.rate_factor = 1.0
        self.width, self.height = width, height
        self.seed = seed
        self._life: Life | None = None
        self._offered_ns = 0
        self.resume_ns = 0  # When to fill the next block.
        self._fills = np.zeros(1, FILL)
        self.arrays: Arrays = new_arrays(config, width, height, seed, page, np.zeros(_BOARD_NONE, np.uint8))
        self._set_pattern(0)
        self.viewers = ViewerTable(self.arrays, width, height)
        self._counters = page["fleet"][0]
        self._counters["device_count"] = config.connections

    def start(self, now_ns: int) -> None:
        """Begin the schedule at `now_ns`. Open devices begin to send."""
        schedule.start_schedule(self.arrays, now_ns)
        self._counters["started_ns"] = now_ns

    def begin(self, d: int, now_ns: int) -> None:
        """Schedule placements of device `d`, which has just connected, if the load runs."""
        if self.is_started:
            hop = schedule.scatter_stride(max(self.config.connections, 1))
            schedule.begin_schedule(self.arrays, d, now_ns, hop)

    def end(self, d: int, now_ns: int) -> None:
        """End the schedule of device `d`, which disconnects; what it has not sent is counted as abandoned."""
        schedule.end_schedule(self.arrays, d, now_ns)

    def adjust(self, config: FleetConfig, rate_factor: float, now_ns: int) -> None:
        """Apply these settings from `now_ns` on. After `stop_sending`, the schedules stay ended.

        The link subscribes, because that needs bytes on the wire; but where the region changes, viewers see nothing
        until they have subscribed again. The arrays never shrink: they have `config.connections` devices at least.
        """
        before, before_factor, self.config, self.rate_factor = self.config, self.rate_factor, config, rate_factor
        self.publish_offered(now_ns)  # By the rates that held until now.
        self.arrays = grown(self.arrays, config.connections, config.frames_per_write)
        write_settings(self.arrays.settings, config)
        self._counters["device_count"] = config.connections
        if config.region != before.region:
            self._change_region()
        self.viewers.follow(self.arrays)
        if (config.pattern, config.connections, config.rate_per_s * rate_factor) != (
            before.pattern,
            before.connections,
            before.rate_per_s * before_factor,
        ):
            self._set_pattern(now_ns)
        self._enter_epoch(now_ns)

    def _enter_epoch(self, now_ns: int) -> None:
        """Apply the present settings to schedules from `now_ns` on."""
        settings, epochs = self.arrays.settings, self.arrays.epochs
        epoch = int(settings["epoch"][0])
        # A ring: devices that lag further than EPOCHS_MAX changes resume with the oldest one kept.
        epochs["end_ns"][epoch % EPOCHS_MAX] = now_ns
        settings["epoch"] = epoch + 1
        epochs[(epoch + 1) % EPOCHS_MAX] = new_epoch(self.config, self.rate_factor)
        schedule.change_schedule(self.arrays, now_ns)

    def _change_region(self) -> None:
        devices, settings = self.arrays.devices, self.arrays.settings
        settings["region"] = Region[self.config.region.upper()]
        clear_probes(self.arrays)
        self._counters["subscriber_count"] -= devices["seen"].sum()
        devices["seen"] = 0
        # The tables depend on the region: frames and states of the other kind are of no use.
        self.arrays = self.arrays._replace(**new_tables(settings, devices))
        self.viewers = ViewerTable(self.arrays, self.width, self.height)

    def _set_pattern(self, now_ns: int) -> None:
        """Create the board of the pattern `life` while it is painted from, and set its pace to the load's."""
        if self.config.pattern != "life":
            self._life = None
            return
        per_s = self.config.connections * self.config.rate_per_s * self.rate_factor
        # Life starts with the pattern, not with the load, so its first generation is due from now on.
        if self._life is None:
            begun_ns = now_ns - int(self.arrays.settings["started_ns"][0]) if self.is_started else 0
            self._life = Life(self.width, self.height, self.seed, per_s, begun_ns)
            self.arrays = self.arrays._replace(board=self._life.board)
        self._life.set_pace(per_s)

    def stop_sending(self, now_ns: int) -> None:
        """Schedule nothing after `now_ns`. What was due before is still sent."""
        self.publish_offered(now_ns)
        schedule.stop_schedule(self.arrays, now_ns)

    def follow(self, number: int) -> None:
        """Record the journeys of the device whose connection has this number; -1: of none."""
        self.arrays.settings["followed"] = number

    def brush(self, x0: int, y0: int, x1: int, y1: int) -> None:
        """Count the latency of placements in these tiles, half open, separately from now on; all 0: of none."""
        for name, value in zip(("brush_x0", "brush_y0", "brush_x1", "brush_y1"), (x0, y0, x1, y1), strict=True):
            self.arrays.settings[name] = value
        self.arrays.brushed_latency[:] = 0
        self.arrays.brushed_latency_max_us[:] = 0

    def advance(self, now_ns: int) -> None:
        """Compute the next generation of life, and count what is offered, when either is due."""
        if self._life is not None and self.is_started:
            self._life.advance(now_ns - int(self.arrays.settings["started_ns"][0]))
        if now_ns - self._offered_ns >= OFFERED_NS_A_DEVICE * self.config.connections:
            self.publish_offered(now_ns)

    def publish_offered(self, now_ns: int) -> None:
        """Update the count of offered placements to `now_ns`."""
        assert now_ns >= self._offered_ns, "offers are counted in the order of time"
        self._offered_ns = now_ns
        if self.is_started:
            self._counters["offered_count"] += schedule.count_offered(self.arrays, now_ns)

    @property
    def is_started(self) -> bool:
        """Whether there is a schedule."""
        return bool(self.arrays.settings["started_ns"][0])

    def set_phase(self, d: int, phase: Phase) -> None:
        """Put device `d` into `phase`, which decides whether it sends."""
        self.arrays.devices["phase"][d] = phase
        schedule.arm(self.arrays, d)

    def subscribe(self, d: int) -> Subscribe:
        """The message with which device `d` begins to watch."""
        if self.config.region == "whole":
            return Subscribe(interval_ms=self.config.interval_ms)
        x, y, width, height = self.arrays.groups[self.arrays.devices["group"][d]].tolist()
        return Subscribe(x=x, y=y, width=width, height=height, interval_ms=self.config.interval_ms)

    def receive(self, d: int, payload: bytes, now_ns: int) -> None:
        """Apply one canvas message of device `d`. Raises ProtocolViolation."""
        buffer = np.frombuffer(bytearray(payload), np.uint8)
        verdict = receive_message(self.arrays, d, buffer, 0, len(payload), now_ns)
        # Unknown to this state: Python learns the branch, and the compiled half follows it at once.
        if verdict == Verdict.UNKNOWN:
            self.viewers.learn_transition(d, payload)
            verdict = receive_message(self.arrays, d, buffer, 0, len(payload), now_ns)
        if verdict != Verdict.DONE:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, describe_violation(payload))

    def fill_block(self, words: NDArray[np.uint32], segments: NDArray[Any], now_ns: int, q: int) -> np.void:
        """Write due batches into a block, for a link without sockets, and set `resume_ns`. Returns a FILL.

        Their probes are in the queue of device `q`.
        """
        is_full = fill_block(self.arrays, self._fills, q, words, segments, now_ns)
        least_ns = now_ns + STEP_NS + STEP_NS_A_DEVICE * self.config.connections
        next_ns = min(int(self._fills["next_ns"][0]), now_ns + IDLE_NS)
        self.resume_ns = now_ns if is_full else max(least_ns, next_ns)
        fill: np.void = self._fills[0]
        return fill

    def owed_count(self) -> int:
        """Placements counted as offered that no socket has taken. Its cost grows with them."""
        return int(schedule.count_all_owed(self.arrays))

    def backlog_count(self, now_ns: int) -> int:
        """Placements due at `now_ns` that are in no frame yet, or in one that the socket has not taken."""
        waiting = int(schedule.count_backlog(self.arrays, now_ns))
        return waiting + int(self.arrays.devices["rest_frames"].sum())


def describe_violation(payload: bytes) -> str:
    """What is wrong with a message that the compiled decoder refused."""
    if not payload:
        return "an empty message; its first byte must be an op"
    return f"op 0x{payload[0]:02x} with {len(payload)} bytes; the ops and lengths of a server are others"
