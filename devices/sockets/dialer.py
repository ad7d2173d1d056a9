"""Who is connected: comes up and shrinks at a pace, comes and goes, dials again, is held still or cut.

What it does to a connection is `wire`'s part. Invariant: each device below the number dialled is open, on its way,
waiting for its next dial, or gone for good; each above it is closed or closing.
"""

from enum import IntEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.config import FleetConfig
from devices.faults import Stalls, draw_share
from devices.fleet.fleet import Fleet
from devices.fleet.workload import watchers
from devices.kernels import messages, sockets
from devices.kernels.layout import NEVER_NS, Phase
from devices.kernels.messages import send_last_pings
from devices.limits import FleetFailed, fit_connections
from devices.sockets.churn import Churn
from devices.sockets.redial import Redials
from devices.sockets.socket_links import SocketLinks
from server.system import clock

IN_FLIGHT_MAX = 256
"""Handshakes under way at once: well below the listen backlog of any server, or it would drop some."""
REFUSALS_MAX = 64
"""So many refusals without one connection are answer enough."""
DARK_NS = 10_000_000_000
"""So long nobody may be let in, when nobody is left, before the server is taken to be gone."""


class CloseCause(IntEnum):
    """Why a connection is to end. One that ends without a farewell is lost."""

    CHURN = 1  # Its device comes back at once.
    CUT = 2  # A fault.
    LEAVE = 3  # There are to be fewer devices.


class Dialer(SocketLinks):
    """All connections of `fleet` to one server. `descriptors`: the process's open-file limit."""

    def __init__(self, fleet: Fleet, host: str, port: int, path: str, descriptors: int) -> None:
        super().__init__(fleet, host, port, path, descriptors)
        count = len(fleet.arrays.devices)
        self._asked = np.zeros(count, np.bool_)  # Has sent its last PING.
        self._reopens = np.zeros(count, np.bool_)  # Was open before: the next time is a reconnection.
        self._farewells: dict[int, CloseCause] = {}
        self._random = random = np.random.default_rng(fleet.seed & (2**64 - 1))
        self._redials, self._churn, self._stalls = Redials(random), Churn(random), Stalls()
        self._dialled = 0
        self._budget = 1.0  # Connections that the pace allows now.
        self._paced_ns = clock.now_ns()
        self._is_proven = False  # Somebody was let in.
        self._dark_ns = 0  # Since when nobody is let in, with nobody left; 0: that is not so.
        self._closing = self._is_settled = False

    # Opening.

    @property
    def is_complete(self) -> bool:
        """Every device was dialled, none is still shaking hands, every viewer that reads has its SNAPSHOT."""
        devices = self.fleet.arrays.devices
        is_open = (devices["phase"] == Phase.SLOW) | (devices["phase"] == Phase.FAST)
        waiting = (devices["viewer"] > devices["slow"]) & (devices["seen"] == 0) & is_open
        return not self.is_dialing and not self._pending and not waiting.any()

    @property
    def is_dialing(self) -> bool:
        """There are more devices to open or to close at the pace of `connect_per_s`."""
        return self._dialled != self.fleet.config.connections

    def is_empty(self, now_ns: int) -> bool:
        """There is no connection of those that there should be, and none to come: nobody is let in any more."""
        if self.is_dialing or self.open_count or not self._dialled:
            return False
        if self._dark_ns and (self._is_settled or now_ns - self._dark_ns >= DARK_NS):
            return True  # Who is settled waits no longer for those who knock in vain.
        return not self._pending and not self._redials

    def dial(self, now_ns: int) -> None:
        """Open and close connections: as many as the pace and the handshakes under way allow. Raises FleetFailed.

        To be called many times a second. Who comes back does not wait for the pace: a storm is to be one.
        """
        config = self.fleet.config
        self._budget += (now_ns - self._paced_ns) * config.connect_per_s / 1e9
        self._paced_ns = now_ns
        for d in self._churn.take(now_ns):
            self._bid_farewell(d, CloseCause.CHURN, "the device leaves for a while", now_ns)
        for d in self._redials.take(now_ns, IN_FLIGHT_MAX - len(self._pending)):
            self._dial_one(d, now_ns)
        while self._dialled < config.connections and self._budget >= 1 and len(self._pending) < IN_FLIGHT_MAX:
            if self._sockets[self._dialled] is not None:
                break  # It is still leaving.
            self._budget -= 1
            self._dialled += 1
            self._dial_one(self._dialled - 1, now_ns)
            if self._counters["refused_count"] >= REFUSALS_MAX and not self._is_proven:
                raise FleetFailed(f"ws://{self._authority}{self._path.partition('?')[0]} lets nobody in: {self.reason}")
        while self._dialled > config.connections and self._budget >= 1:
            self._budget -= 1
            self._dialled -= 1
            self._redials.cancel(self._dialled)
            self._bid_farewell(self._dialled, CloseCause.LEAVE, "the fleet grows smaller", now_ns)
        self._budget = min(self._budget, 1.0) if not self.is_dialing else min(self._budget, IN_FLIGHT_MAX)
        self._release_stalled(self._stalls.take(now_ns))

    def count_unanswered(self) -> int:
        """Have every device that has sent all it intends send a last PING. Returns how many wait for its answer."""
        return int(send_last_pings(self.fleet.arrays, self.links, self._asked))

    def check_viewers(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        """How many viewers hold a canvas, and how many of them one that differs from `pixels`, (height, width) u1."""
        return self.fleet.viewers.check(pixels)

    # Knobs and faults.

    def adjust(self, config: FleetConfig, rate_factor: float, now_ns: int) -> str:
        """Go by these settings from now on. Returns what could not be done, for a person; "" mostly."""
        fits, remedy = fit_connections(config.connections)
        note = ""
        if fits < config.connections:
            note = f"{config.connections} connections asked for, {fits} fit: {remedy}"
            viewers = config.viewers if isinstance(config.viewers, str) else min(config.viewers, fits)
            config = msgspec.structs.replace(config, connections=fits, viewers=viewers)
        before = self.fleet.config
        self.fleet.adjust(config, rate_factor, now_ns)
        self.make_room()
        self._change_views(is_anew=(config.region, config.interval_ms) != (before.region, before.interval_ms))
        if self._is_settled:
            return note
        if self.fleet.is_started and (config.churn_ratio, config.churn_s, config.connections) != (
            before.churn_ratio,
            before.churn_s,
            before.connections,
        ):
            self._churn.adjust(config, self.open_devices(), now_ns)
        if config.reconnect != before.reconnect:
            self._revive(now_ns)
        return note

    def stall(self, share: float, seconds: float, now_ns: int) -> str:
        """Hold a share of the open devices still for so long. Returns "", as `adjust` does."""
        chosen = draw_share(self._random, self.open_devices(), share)
        self._stalls.hold(chosen, now_ns + int(seconds * 1e9))
        for d in chosen:
            self.fleet.arrays.devices["stalled"][d] = 1
            sockets.update_interest(self.fleet.arrays, self.links, d)
        self._counters["stalled_count"] = len(self._stalls)
        return ""

    def cut(self, share: float, now_ns: int) -> str:
        """Reset the links of a share of the open devices. Returns "", as `adjust` does."""
        for d in draw_share(self._random, self.open_devices(), share):
            self._farewells[d] = CloseCause.CUT
            self._reset(d)
        return ""

    def start(self, now_ns: int) -> None:
        """Let the load begin."""
        self.fleet.start(now_ns)
        self._churn.adjust(self.fleet.config, self.open_devices(), now_ns)

    def settle(self) -> None:
        """From now on nobody comes, goes or is held still: the load ends, and what there is is to be seen."""
        self._is_settled = True
        self._churn.clear()
        self._redials.clear()
        self._release_stalled(self._stalls.take(NEVER_NS))

    def _release_stalled(self, devices: list[int]) -> None:
        for d in devices:
            self.fleet.arrays.devices["stalled"][d] = 0
            sockets.update_interest(self.fleet.arrays, self.links, d)
        self._counters["stalled_count"] = len(self._stalls)

    def make_room(self) -> None:
        """As `SocketLinks.make_room`, and for what is noted here of each device."""
        super().make_room()
        more = len(self._sockets) - len(self._asked)
        self._asked = np.append(self._asked, np.zeros(more, np.bool_))
        self._reopens = np.append(self._reopens, np.zeros(more, np.bool_))

    def _change_views(self, *, is_anew: bool) -> None:
        """Have those watch that are to; devices that are about to leave stay as they are."""
        devices = self.fleet.arrays.devices
        viewers, slow = devices["viewer"].astype(np.bool_), devices["slow"].astype(np.bool_)
        count = self.fleet.config.connections
        viewers[:count], slow[:count] = watchers(self.fleet.config)
        messages.change_views(self.fleet.arrays, self.links, viewers, slow, is_anew)

    def _revive(self, now_ns: int) -> None:
        """Devices that are gone go by the new policy."""
        for d in range(self._dialled):
            if self._sockets[d] is None:
                self._redials.cancel(d)
                self._redials.after_failure(d, self.fleet.config.reconnect, now_ns, was_refused=False)

    # Ending.

    def close(self, now_ns: int) -> None:
        """Begin to close every connection in order; handshakes under way, and those that never read, are given up."""
        self.settle()
        self._closing = True
        for d in range(len(self._sockets)):
            self._bid_farewell(d, CloseCause.LEAVE, "the fleet stops", now_ns)

    def abandon(self) -> None:
        """Close every socket that is left, at once."""
        self._closing = True
        for d, opened in enumerate(self._sockets):
            if opened is not None:
                self._end(d, "")
        self._epoll.close()

    def _bid_farewell(self, d: int, farewell: CloseCause, reason: str, now_ns: int) -> None:
        """Begin to end the connection of device `d`, for this reason and no other, if there is one."""
        self._churn.cancel(d)
        if self._sockets[d] is not None:
            self._farewells[d] = farewell
            if d not in self._leaving:
                self._leave(d, reason, now_ns)

    def _on_end_of(self, d: int, reason: str, now_ns: int, *, was_refused: bool) -> None:
        farewell = self._farewells.pop(d, None)
        self._churn.cancel(d)
        self._stalls.cancel(d)
        self._counters["stalled_count"] = len(self._stalls)
        if self._closing:
            return
        if farewell is None:
            self.reason = reason
            self._counters["refused_count" if was_refused else "lost_count"] += 1
        elif not was_refused:
            self._counters["churned_count"] += farewell == CloseCause.CHURN
            self._counters["cut_count"] += farewell == CloseCause.CUT
        if farewell == CloseCause.LEAVE:
            self._reopens[d] = False
        self._plan_return(d, farewell, now_ns, was_refused=was_refused)

    def _on_open(self, d: int, now_ns: int) -> None:
        self._is_proven, self._dark_ns = True, 0
        self._counters["reconnected_count"] += self._reopens[d]
        self._reopens[d] = True
        self._redials.opened(d)
        if self.fleet.is_started:
            self._churn.opened(d, now_ns)

    def _plan_return(self, d: int, farewell: CloseCause | None, now_ns: int, *, was_refused: bool) -> None:
        """Whether device `d` dials anew, and when. Who was never let in, while nobody was, does not insist."""
        if self._closing or self._is_settled or d >= self._dialled or farewell == CloseCause.LEAVE:
            return
        if farewell == CloseCause.CHURN:
            self._redials.at(d, now_ns)
        elif self._is_proven:
            self._redials.after_failure(d, self.fleet.config.reconnect, now_ns, was_refused=was_refused)
        if was_refused and not self.open_count and not self._dark_ns:
            self._dark_ns = now_ns
