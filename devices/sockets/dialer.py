"""Which devices are connected: the fleet grows and shrinks at a pace; devices come and go, reconnect, stall, are cut.

`socket_links` does what is decided here. Each device below the number dialled is open, in its handshake, waiting to
reconnect, or gone for good; each device above it is closed or closing.
"""

from enum import IntEnum

import msgspec
import numpy as np

from devices.config import FleetConfig
from devices.due_queue import DueQueue, draw_share
from devices.fleet.fleet import Fleet
from devices.fleet.workload import watchers
from devices.kernels import messages, sockets
from devices.kernels.layout import NEVER_NS, Phase
from devices.kernels.messages import send_last_pings
from devices.limits import FleetFailed, fit_connections
from devices.sockets.reconnect import Departures, Reconnects
from devices.sockets.socket_links import SocketLinks
from server.system import clock

# Most handshakes at once: well below the listen backlog of any server, which would drop some otherwise.
IN_FLIGHT_MAX = 256
# After this many refusals without one success the fleet gives up.
REFUSALS_MAX = 64
# How long a fleet that has lost all its connections tries to get one back before the server counts as gone.
NO_CONNECTION_NS = 10_000_000_000
# How long viewers may wait, at the start, while none of them receives a SNAPSHOT.
NO_SNAPSHOT_NS = 10_000_000_000
LOOK_NS_MOST = 100_000_000


class CloseCause(IntEnum):
    """Why we end a connection. One that ends without a cause of ours is lost."""

    CHURN = 1  # Its device reconnects at once.
    CUT = 2  # A fault.
    LEAVE = 3  # The fleet has fewer devices now.


class Dialer(SocketLinks):
    """All connections of `fleet` to one server. `descriptors`: the process's open-file limit."""

    def __init__(self, fleet: Fleet, host: str, port: int, path: str, descriptors: int) -> None:
        super().__init__(fleet, host, port, path, descriptors)
        count = len(fleet.arrays.devices)
        self._asked = np.zeros(count, np.bool_)  # Has sent its last PING.
        self._reopens = np.zeros(count, np.bool_)  # Was open before: the next time counts as reconnected.
        self._causes: dict[int, CloseCause] = {}
        self._random = random = np.random.default_rng(fleet.seed & (2**64 - 1))
        self._reconnects, self._departures, self._stalls = Reconnects(random), Departures(random), DueQueue()
        self._dialled = 0
        self._budget = 1.0  # Connections that the pace allows now.
        self._paced_ns = clock.now_ns()
        self._is_proven = False  # A device was connected at some time.
        self._refused_since_ns = 0  # Since when dials are refused while no connection is left; 0: they are not.
        self._snapshot_count = self._silent_ns = 0  # Snapshots so far, and how long no further one has come.
        self._closing = self._is_settled = False

    # Connecting.

    @property
    def is_complete(self) -> bool:
        return not self.is_dialing and not self._pending and not self._count_waiting()

    def _count_waiting(self) -> int:
        """Connected viewers that read and have no SNAPSHOT yet."""
        devices = self.fleet.arrays.devices
        is_open = (devices["phase"] == Phase.SLOW) | (devices["phase"] == Phase.FAST)
        return int(np.count_nonzero((devices["viewer"] > devices["slow"]) & (devices["seen"] == 0) & is_open))

    @property
    def is_dialing(self) -> bool:
        return self._dialled != self.fleet.config.connections

    def is_empty(self, now_ns: int) -> bool:
        if self.is_dialing or self.open_count or not self._dialled:
            return False
        is_hopeless = self._is_settled or now_ns - self._refused_since_ns >= NO_CONNECTION_NS
        # Before the first connection this does not apply: no device dials twice, so every dial has its own outcome.
        if self._refused_since_ns and self._is_proven and is_hopeless:
            return True
        return not self._pending and not self._reconnects

    def dial(self, now_ns: int) -> None:
        config, elapsed_ns = self.fleet.config, now_ns - self._paced_ns
        assert elapsed_ns >= 0, "time runs backwards"
        self._budget += elapsed_ns * config.connect_per_s / 1e9
        self._paced_ns = now_ns
        self._require_snapshots(elapsed_ns)
        for d in self._departures.take(now_ns):
            self._begin_close(d, CloseCause.CHURN, "the device leaves for a while", now_ns)
        # Reconnects ignore the pace: a reconnect storm arrives all at once.
        for d in self._reconnects.take(now_ns, IN_FLIGHT_MAX - len(self._pending)):
            self._dial_one(d, now_ns)
        while self._dialled < config.connections and self._budget >= 1 and len(self._pending) < IN_FLIGHT_MAX:
            # After the fleet shrank and grew again quickly, the old connection of a device may still be closing.
            if self._sockets[self._dialled] is not None:
                break  # Its last connection is still closing.
            self._budget -= 1
            self._dialled += 1
            self._dial_one(self._dialled - 1, now_ns)
            assert len(self._pending) <= IN_FLIGHT_MAX
            if self._counters["refused_count"] >= REFUSALS_MAX and not self._is_proven:
                raise FleetFailed(f"{self._url} refuses all connections: {self.reason}")
        while self._dialled > config.connections and self._budget >= 1:
            self._budget -= 1
            self._dialled -= 1
            self._reconnects.cancel(self._dialled)
            self._begin_close(self._dialled, CloseCause.LEAVE, "the fleet grows smaller", now_ns)
        # An idle fleet saves up nothing, or its next growth would come as one burst.
        self._budget = min(self._budget, 1.0) if not self.is_dialing else min(self._budget, IN_FLIGHT_MAX)
        self._release_stalled(self._stalls.take(now_ns))

    def _require_snapshots(self, elapsed_ns: int) -> None:
        """Raise FleetFailed where all devices are connected and the server sends no viewer its SNAPSHOT."""
        if self.fleet.is_started or self.is_dialing or self._pending:
            return
        count, waiting = int(self._counters["snapshot_count"]), self._count_waiting()
        is_silent = waiting > 0 and count == self._snapshot_count
        # A process that was stopped for a while has not waited for the server in that time.
        self._silent_ns = self._silent_ns + min(elapsed_ns, LOOK_NS_MOST) if is_silent else 0
        self._snapshot_count = count
        if self._silent_ns >= NO_SNAPSHOT_NS:
            raise FleetFailed(
                f"{self._url} accepted {waiting} viewers and sent none of them a SNAPSHOT "
                f"for {NO_SNAPSHOT_NS / 1e9:g} s; does it answer SUBSCRIBE?"
            )

    def count_unanswered(self) -> int:
        # Each device that has sent everything sends a last PING; its PONG comes behind all that was applied.
        return int(send_last_pings(self.fleet.arrays, self.poll_state, self._asked))

    # Knobs and faults.

    def adjust(self, config: FleetConfig, rate_factor: float, now_ns: int) -> str:
        fits, remedy = fit_connections(config.connections)
        note = ""
        if fits < config.connections:
            note = f"{config.connections} connections asked for, {fits} fit: {remedy}"
            viewers = config.viewers if isinstance(config.viewers, str) else min(config.viewers, fits)
            config = msgspec.structs.replace(config, connections=fits, viewers=viewers)
        before = self.fleet.config
        self.fleet.adjust(config, rate_factor, now_ns)
        # Rows must exist before views of new devices are written, and views before anything subscribes.
        self.make_room()
        self._change_views(is_changed=(config.region, config.interval_ms) != (before.region, before.interval_ms))
        if self._is_settled:
            return note
        if self.fleet.is_started and (config.churn_ratio, config.churn_s, config.connections) != (
            before.churn_ratio,
            before.churn_s,
            before.connections,
        ):
            self._departures.adjust(config, self.open_devices(), now_ns)
        if config.reconnect != before.reconnect:
            self._revive(now_ns)
        return note

    def stall(self, share: float, seconds: float, now_ns: int) -> str:
        chosen = draw_share(self._random, self.open_devices(), share)
        self._stalls.extend(chosen, now_ns + int(seconds * 1e9))
        for d in chosen:
            self.fleet.arrays.devices["stalled"][d] = 1
            sockets.update_interest(self.fleet.arrays, self.poll_state, d)
        self._counters["stalled_count"] = len(self._stalls)
        return ""

    def cut(self, share: float, now_ns: int) -> str:
        for d in draw_share(self._random, self.open_devices(), share):
            self._causes[d] = CloseCause.CUT
            self._reset(d)
        return ""

    def start(self, now_ns: int) -> None:
        self.fleet.start(now_ns)
        self._departures.adjust(self.fleet.config, self.open_devices(), now_ns)

    def settle(self) -> None:
        self._is_settled = True
        # Every viewer is to see the end of the load, so the connections stay as they are from here.
        self._departures.clear()
        self._reconnects.clear()
        self._release_stalled(self._stalls.take(NEVER_NS))

    def _release_stalled(self, devices: list[int]) -> None:
        for d in devices:
            self.fleet.arrays.devices["stalled"][d] = 0
            sockets.update_interest(self.fleet.arrays, self.poll_state, d)
        self._counters["stalled_count"] = len(self._stalls)

    def make_room(self) -> None:
        super().make_room()
        more = len(self._sockets) - len(self._asked)
        self._asked = np.append(self._asked, np.zeros(more, np.bool_))
        self._reopens = np.append(self._reopens, np.zeros(more, np.bool_))

    def _change_views(self, *, is_changed: bool) -> None:
        """Apply which devices watch; those that are about to leave stay as they are."""
        devices = self.fleet.arrays.devices
        viewers, slow = devices["viewer"].astype(np.bool_), devices["slow"].astype(np.bool_)
        count = self.fleet.config.connections
        viewers[:count], slow[:count] = watchers(self.fleet.config)
        messages.change_views(self.fleet.arrays, self.poll_state, viewers, slow, is_changed)

    def _revive(self, now_ns: int) -> None:
        """Apply the new policy to devices without a connection."""
        for d in range(self._dialled):
            if self._sockets[d] is None:
                self._reconnects.cancel(d)
                self._reconnects.after_failure(d, self.fleet.config.reconnect, now_ns, was_refused=False)

    # Ending.

    def close(self, now_ns: int) -> None:
        self.settle()
        # Before the first close, so that the ends below plan no reconnect and count nothing as lost.
        self._closing = True
        for d in range(len(self._sockets)):
            self._begin_close(d, CloseCause.LEAVE, "the fleet stops", now_ns)

    def abandon(self) -> None:
        self._closing = True
        for d, opened in enumerate(self._sockets):
            if opened is not None:
                self._end(d, "")
        self._epoll.close()
        assert not self.open_count and not self._pending, "a connection was not counted when it ended"

    def _begin_close(self, d: int, cause: CloseCause, reason: str, now_ns: int) -> None:
        """Begin to close the connection of device `d`, if there is one, and note why."""
        self._departures.cancel(d)
        if self._sockets[d] is not None:
            self._causes[d] = cause
            if d not in self._leaving:
                self._leave(d, reason, now_ns)

    def _on_end_of(self, d: int, reason: str, now_ns: int, *, was_refused: bool) -> None:
        cause = self._causes.pop(d, None)
        self._departures.cancel(d)
        self._stalls.cancel(d)
        self._counters["stalled_count"] = len(self._stalls)
        if self._closing:
            return  # Ends that we wanted say nothing about the server.
        if cause is None:
            self.reason = reason
            self._counters["refused_count" if was_refused else "lost_count"] += 1
        elif not was_refused:
            self._counters["churned_count"] += cause == CloseCause.CHURN
            self._counters["cut_count"] += cause == CloseCause.CUT
        # A device that left and joins again later is a new one, not a reconnected one.
        if cause == CloseCause.LEAVE:
            self._reopens[d] = False
        self._schedule_reconnect(d, cause, now_ns, was_refused=was_refused)

    def _on_open(self, d: int, now_ns: int) -> None:
        self._is_proven, self._refused_since_ns = True, 0
        self._counters["reconnected_count"] += self._reopens[d]
        self._reopens[d] = True
        self._reconnects.opened(d)
        if self.fleet.is_started:
            self._departures.opened(d, now_ns)

    def _schedule_reconnect(self, d: int, cause: CloseCause | None, now_ns: int, *, was_refused: bool) -> None:
        """Decide whether and when device `d` reconnects. While no device ever was connected, a refused one does not."""
        if self._closing or self._is_settled or d >= self._dialled or cause == CloseCause.LEAVE:
            return
        if cause == CloseCause.CHURN:
            self._reconnects.put(d, now_ns)
        elif self._is_proven:
            self._reconnects.after_failure(d, self.fleet.config.reconnect, now_ns, was_refused=was_refused)
        if was_refused and not self.open_count and not self._refused_since_ns:
            self._refused_since_ns = now_ns
