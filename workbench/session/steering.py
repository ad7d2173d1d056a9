"""Applies changes to a running session: settings, load curve, faults, the brushed region and the followed connection.

A few times per second it compares the settings each part has with the wanted ones and sends the difference. So dragging
a knob sends few orders, and a part that starts late gets the current settings.
Invariant: no order goes to a part before its start line.
"""

from collections.abc import Callable, Sequence

from devices.config import AdjustFleet, Brush, Cut, FleetConfig, Stall
from server.config import ServerConfig
from server.ipc.control import Adjust, CloseClients, Follow, PauseBroker
from workbench.scenarios.fault import Fault
from workbench.scenarios.load_curve import factor_at
from workbench.scenarios.scenario import Scenario
from workbench.session.processes import Order
from workbench.telemetry.view import TileBox

FACTOR_INTERVAL_S = 0.25
# Smaller differences of the factor are not visible in the load.
_FACTOR_DIGITS = 3


class Schedule:
    """A scenario's faults and load curve by seconds since the load began. It sends nothing and reads no clock.

    Each repetition of a fault is returned at most once, and the load factor changes at most four times per
    second, so that a curve of any shape costs few orders.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._curve = scenario.load_curve
        self._faults = scenario.faults
        self._next_s: list[float | None] = [fault.at_s for fault in scenario.faults]
        self._factor = self._factor_at(0)
        self._changed_s = -FACTOR_INTERVAL_S

    @property
    def load_factor(self) -> float:
        """The current multiplier of the offered load."""
        return self._factor

    def set_curve(self, scenario: Scenario) -> None:
        """Use this scenario's load curve from now on. The faults stay those of the start."""
        self._curve = scenario.load_curve

    def due(self, run_seconds: float) -> Sequence[Fault]:
        """The faults that became due since the last call. Updates the load factor.

        A fault that became due more than once since then is returned once: missed repetitions are skipped.
        """
        factor = self._factor_at(run_seconds)
        # The curve is continuous, the orders are not: a step of the factor four times per second is enough.
        if factor != self._factor and run_seconds - self._changed_s >= FACTOR_INTERVAL_S:
            self._factor, self._changed_s = factor, run_seconds
        return [fault for index, fault in enumerate(self._faults) if self._becomes_due(index, fault, run_seconds)]

    def _factor_at(self, seconds: float) -> float:
        return round(factor_at(self._curve, seconds), _FACTOR_DIGITS)

    def _becomes_due(self, index: int, fault: Fault, run_seconds: float) -> bool:
        next_s = self._next_s[index]
        if next_s is None or run_seconds < next_s:
            return False
        # Computed from the start, not from the last time: repetitions do not drift, and missed ones are skipped.
        turns = int((run_seconds - fault.at_s) / fault.every_s) + 1 if fault.every_s else 0
        self._next_s[index] = fault.at_s + turns * fault.every_s if turns else None
        return True


# Least time between two rounds of orders: the server pauses its loops to apply each.
ORDER_INTERVAL_NS = 100_000_000
NO_CONNECTION = -1


class Steering:
    """Controls one session. `send(name, order)` sends an order to a part, `mark(kind, text)` records a due fault.

    `note` is called with each fault that is applied, due or clicked.
    """

    def __init__(
        self,
        scenario: Scenario,
        send: Callable[[str, Order], None],
        mark: Callable[[str, str], None],
        note: Callable[[Fault], None] = lambda fault: None,
    ) -> None:
        self._wanted = scenario
        self._send, self._mark, self._note = send, mark, note
        self._schedule = Schedule(scenario)
        self._server: ServerConfig | None = None
        self._fleet: tuple[FleetConfig, float] | None = None
        self._sent_ns = -ORDER_INTERVAL_NS
        self._box: TileBox | None = None
        self._number = NO_CONNECTION

    @property
    def scenario(self) -> Scenario:
        """The settings wanted now."""
        return self._wanted

    def set_scenario(self, scenario: Scenario) -> None:
        """Apply these settings from the next poll on."""
        self._wanted = scenario
        self._schedule.set_curve(scenario)

    def server_began(self, config: ServerConfig) -> None:
        """Note that the server listens, started with these settings."""
        self._server = config
        self._send_follow("server")

    def fleet_began(self, config: FleetConfig) -> None:
        """Note that the fleet was given its start line, with these settings."""
        # A fleet starts with the factor 1; the curve's first value is sent with the next poll.
        self._fleet = (config, 1.0)
        if self._box is not None:
            self._send_brush()
        self._send_follow("fleet")

    def poll(self, now_ns: int, run_seconds: float | None) -> None:
        """Send changed settings and scheduled faults. `run_seconds`: since the load began; None before."""
        # Faults count from the start of the load, which begins when all devices are connected.
        if run_seconds is not None:
            for fault in self._schedule.due(run_seconds):
                self.apply_fault(fault)
                self._mark("fault", fault.text)
        # The interval counts from the last change that was sent, so a single change is sent at once.
        if now_ns - self._sent_ns >= ORDER_INTERVAL_NS and self._send_changes():
            self._sent_ns = now_ns

    def apply_fault(self, fault: Fault) -> None:
        """Apply a fault now. Does nothing when the part it targets has not started."""
        self._note(fault)
        if fault.kind == "kill loop clients":
            if self._server is not None:
                self._send("server", CloseClients(fault.loop))
        elif fault.kind == "pause broker":
            if self._server is not None:
                self._send("server", PauseBroker(fault.seconds))
        elif self._fleet is not None:
            order = Cut(fault.share) if fault.kind == "cut links" else Stall(fault.share, fault.seconds)
            self._send("fleet", order)

    def brush(self, tiles: TileBox | None) -> None:
        """Have the fleet measure the latency of placements in these tiles separately; None: no region."""
        self._box = tiles
        if self._fleet is not None:
            self._send_brush()

    def follow(self, number: int | None) -> None:
        """Have server and fleet record the journeys of this connection's placements; None: of no connection."""
        self._number = NO_CONNECTION if number is None else number
        for name, begun in (("server", self._server), ("fleet", self._fleet)):
            if begun is not None:
                self._send(name, Follow(self._number))

    def _send_changes(self) -> bool:
        """Send changed settings to server and fleet. True when there was a change."""
        has_changed = False
        if self._server is not None:
            server = self._server.adjusted(self._wanted.server)
            if server != self._server:
                self._send("server", Adjust(server))
                self._server, has_changed = server, True
        fleet = (self._wanted.fleet, self._schedule.load_factor)
        if self._fleet is not None and fleet != self._fleet:
            self._send("fleet", AdjustFleet(*fleet))
            self._fleet, has_changed = fleet, True
        return has_changed

    def _send_brush(self) -> None:
        box = self._box
        self._send("fleet", Brush(0, 0, 0, 0) if box is None else Brush(box.x0, box.y0, box.x1, box.y1))

    def _send_follow(self, name: str) -> None:
        if self._number != NO_CONNECTION:
            self._send(name, Follow(self._number))
