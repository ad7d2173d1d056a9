"""Carries out what is wanted of a running session: knobs, load curve, faults, what is brushed and followed.

It compares what a part was told with what is wanted, and tells the difference, a few times a second; so a drag of a
knob costs few orders, and a part that begins late begins right. Invariant: a part is told nothing before it has begun.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from devices.config import AdjustFleet, Brush, Cut, FleetConfig, Stall
from server.config import ServerConfig
from server.ipc.control import Adjust, CloseClients, Follow, PauseBroker
from workbench.scenarios.fault import Fault
from workbench.scenarios.scenario import Scenario
from workbench.session.process import Order
from workbench.session.schedule import Director
from workbench.telemetry.view import TileBox

TELL_INTERVAL_NS = 100_000_000
"""The orders of a drag follow each other no closer: a server's loops stand still for each."""
NOBODY = -1
_LIVE_SERVER_FIELDS = ("rate_per_s", "burst", "tick_ms", "tick_ms_max", "stall_s", "evict_after_s", "brakes")


class Steering:
    """Of one session. `tell(name, command)` gives an order to a part, `mark(kind, text)` notes a fault that was due."""

    def __init__(
        self, scenario: Scenario, tell: Callable[[str, Order], None], mark: Callable[[str, str], None]
    ) -> None:
        self._wanted = scenario
        self._tell, self._mark = tell, mark
        self._director = Director(scenario)
        self._server: ServerConfig | None = None
        self._fleet: tuple[FleetConfig, float] | None = None
        self._told_ns = -TELL_INTERVAL_NS
        self._box: TileBox | None = None
        self._number = NOBODY

    @property
    def scenario(self) -> Scenario:
        """What is wanted now."""
        return self._wanted

    def want(self, scenario: Scenario) -> None:
        """Have the run follow these settings from the next poll on."""
        self._wanted = scenario
        self._director.adopt(scenario)

    def server_began(self, config: ServerConfig) -> None:
        """The server listens, and was started with these settings."""
        self._server = config
        self._follow_at("server")

    def fleet_began(self, config: FleetConfig) -> None:
        """The fleet has its first line, with these settings."""
        self._fleet = (config, 1.0)
        if self._box is not None:
            self._brush_fleet()
        self._follow_at("fleet")

    def poll(self, now_ns: int, run_seconds: float | None) -> None:
        """Tell what has changed and do what is due; `run_seconds` since the load began, None before."""
        if run_seconds is not None:
            for fault in self._director.due(run_seconds):
                self.inflict(fault)
                self._mark("fault", fault.text)
        if now_ns - self._told_ns >= TELL_INTERVAL_NS and self._tell_changes():
            self._told_ns = now_ns

    def inflict(self, fault: Fault) -> None:
        """Do this to the run now, to whoever has begun."""
        if fault.kind == "kill loop clients":
            if self._server is not None:
                self._tell("server", CloseClients(fault.loop))
        elif fault.kind == "pause broker":
            if self._server is not None:
                self._tell("server", PauseBroker(fault.seconds))
        elif self._fleet is not None:
            order = Cut(fault.share) if fault.kind == "cut links" else Stall(fault.share, fault.seconds)
            self._tell("fleet", order)

    def brush(self, tiles: TileBox | None) -> None:
        """Have the fleet count the latency of what is placed in these tiles apart."""
        self._box = tiles
        if self._fleet is not None:
            self._brush_fleet()

    def follow(self, number: int | None) -> None:
        """Have server and fleet note the journeys of this connection's placements; None: of nobody's."""
        self._number = NOBODY if number is None else number
        for name, begun in (("server", self._server), ("fleet", self._fleet)):
            if begun is not None:
                self._tell(name, Follow(self._number))

    def _tell_changes(self) -> bool:
        """Bring both up to what is wanted. True when there was something to tell."""
        told = False
        if self._server is not None:
            server = live_settings(self._server, self._wanted.server)
            if server != self._server:
                self._tell("server", Adjust(server))
                self._server, told = server, True
        fleet = (self._wanted.fleet, self._director.load_factor)
        if self._fleet is not None and fleet != self._fleet:
            self._tell("fleet", AdjustFleet(*fleet))
            self._fleet, told = fleet, True
        return told

    def _brush_fleet(self) -> None:
        box = self._box
        self._tell("fleet", Brush(0, 0, 0, 0) if box is None else Brush(box.x0, box.y0, box.x1, box.y1))

    def _follow_at(self, name: str) -> None:
        if self._number != NOBODY:
            self._tell(name, Follow(self._number))


def live_settings(running: ServerConfig, wanted: ServerConfig) -> ServerConfig:
    """The running server's settings with all that it can follow as it is wanted."""
    changes: dict[str, Any] = {name: getattr(wanted, name) for name in _LIVE_SERVER_FIELDS}
    return msgspec.structs.replace(running, **changes)
