"""A model of a server and its fleet in virtual time: it serves nothing, but its counters are those of one that does.

One thread goes from stage to stage; each has a bounded queue and a service time. A braked stage takes up at most 20 ms
of work and has served it when that time has passed, while the others go on. What a queue has no room for waits in the
one before it, at last in the sockets.
"""

import numpy as np

from server.config import Brakes
from server.kernels.layout import TICK_ROWS, Phase, Stage

MS, US = 1_000_000, 1000
TURN_NS = 20 * MS
SERVICE_NS = {
    Stage.ACCEPT: 20 * US,
    Stage.READ: 4 * US,
    Stage.DECODE: 60,
    Stage.ADMIT: 30,
    Stage.APPLY: 20,
    Stage.ENCODE: 5 * US,
    Stage.FANOUT: 5 * US,
}
LIMITS = {Stage.ACCEPT: 4096, Stage.READ: 20_000, Stage.DECODE: 4000, Stage.ADMIT: 4000, Stage.APPLY: 4000}
TILES = 64


class PipelineModel:
    """Works on the session's pages until it is stopped. What is public may be changed while it runs."""

    def __init__(self, pages, *, messages_per_s=20_000, handshakes_per_s=50, viewers=500, tick_ms=100):
        self.pages = pages
        self.messages_per_s, self.handshakes_per_s, self.viewers = messages_per_s, handshakes_per_s, viewers
        self.brakes = Brakes()
        self.viewer_brake_us = 0.0
        self.messages_a_read = 4
        self.fleet_share = 1.0
        """How much of what is offered the fleet gets round to send."""
        self.tick_ns = self.interval_ns = tick_ms * MS
        self.now_ns = 10**9
        self._next_tick_ns = self.now_ns + self.tick_ns
        self._last_tick_ns = self.now_ns
        self._held_ns = dict.fromkeys(Stage, 0)
        self._encoding_ns = 0
        self._waiting = dict.fromkeys(Stage, 0.0)
        self._delivered = 0.0
        self._owed_at_viewers = 0.0
        self._stages = pages.telemetry["stages"][0]
        for stage, limit in LIMITS.items():
            self._stages[stage]["depth_max"] = limit
        pages.connections["connections"][0, :viewers]["phase"] = Phase.FAST
        pages.connections["connections"][0, :viewers]["subscribed"] = 1
        pages.connections["connections"][0, :viewers]["number"] = np.arange(viewers)

    def run(self, seconds, on_sample):
        """Go on for so long; `on_sample(now_ns)` is called ten times a second."""
        end_ns = self.now_ns + int(seconds * 1e9)
        sample_ns = self.now_ns
        while self.now_ns < end_ns:
            self._turn()
            while sample_ns <= self.now_ns:
                self._write(sample_ns)
                on_sample(sample_ns)
                sample_ns += 100 * MS

    # --- The server ---

    def _turn(self):
        """One turn of the loop, and what arrives meanwhile."""
        begun_ns = self.now_ns
        if self.now_ns >= self._next_tick_ns:
            self._tick()
        self._serve(Stage.APPLY, None)
        self._serve(Stage.ADMIT, Stage.APPLY)
        self._serve(Stage.DECODE, Stage.ADMIT)
        self._serve(Stage.READ, Stage.DECODE, self.messages_a_read)
        self._serve(Stage.ACCEPT, None)
        self._serve(Stage.FANOUT, None)
        self._arrive(max(self.now_ns - begun_ns, MS))
        self.now_ns = max(self.now_ns, begun_ns + MS)

    def _serve(self, stage, after, times=1):
        """Serve what waits, as far as the turn and the queue behind allow."""
        waits = self._waiting[stage]
        depth = int(waits)
        if depth == 0:
            return
        brake = self.brakes.in_order()[stage]
        room = 10**9 if after is None else (LIMITS[after] - self._waiting[after]) // times
        most = TURN_NS // (SERVICE_NS[stage] + brake.item_us * US)
        items = int(max(0, min(depth, room, max(1, most))))
        if items == 0 or (brake.is_on and self.now_ns < self._held_ns[stage]):
            self._look(stage, depth)
            return
        cost_ns = int(items * brake.item_us * US + brake.batch_ms * MS)
        self._held_ns[stage] = self.now_ns + cost_ns
        self._note(stage, depth, items, items * SERVICE_NS[stage], cost_ns)
        self._waiting[stage] = waits - items
        if after is not None:
            self._waiting[after] += items * times
        if stage == Stage.APPLY:
            self.pages.telemetry["loops"][0]["applied_count"] += items
        if stage == Stage.FANOUT:
            self._deliver(items)

    def _look(self, stage, depth):
        row = self._stages[stage]
        row["depth"] = depth
        row["depth_peak"] = max(row["depth_peak"], depth)

    def _note(self, stage, depth, items, busy_ns, braked_ns):
        self._look(stage, depth)
        row = self._stages[stage]
        row["batch_count"] += 1
        row["item_count"] += items
        row["busy_ns"] += busy_ns + braked_ns
        row["depth_sum"] += depth
        self.now_ns += busy_ns

    def _tick(self):
        """The engine's tick: put off while the broadcast before it is under way, as long as it may be."""
        overdue_ns = self.now_ns - self._last_tick_ns
        if self._waiting[Stage.FANOUT] > 0 and overdue_ns < 2000 * MS:
            self.interval_ns = min(2000 * MS, max(self.interval_ns, int(overdue_ns * 1.25)))
            self._next_tick_ns = self.now_ns + self.interval_ns // 16
            return
        brake = self.brakes.encode
        cost_ns = int(TILES * brake.item_us * US + brake.batch_ms * MS)
        if cost_ns and not self._encoding_ns:
            self._encoding_ns = self.now_ns + cost_ns
        if cost_ns and self.now_ns < self._encoding_ns:
            return  # The braked encoder is at work; the loop goes on.
        self._encoding_ns = 0
        began_ns = self.now_ns
        self._note(Stage.ENCODE, TILES, TILES, TILES * SERVICE_NS[Stage.ENCODE], cost_ns)
        self._waiting[Stage.FANOUT] = self.viewers
        self.interval_ns = max(self.tick_ns, self.interval_ns // 2)
        self._next_tick_ns = max(self._next_tick_ns + self.interval_ns, self.now_ns + self.interval_ns // 2)
        server = self.pages.telemetry["server"][0]
        tick = int(server["tick"]) + 1
        row = self.pages.telemetry["ticks"][tick % TICK_ROWS]
        row["tick"], row["pixel_count"] = tick, 100
        row["start_ns"], row["interval_ns"] = began_ns, began_ns - self._last_tick_ns
        row["depth_peak"] = self._stages["depth_peak"]
        self._stages["depth_peak"] = 0
        server["tick"], server["tick_interval_ns"] = tick, self.interval_ns
        self._last_tick_ns = began_ns

    # --- The fleet ---

    def _arrive(self, elapsed_ns):
        """What the fleet sends and takes in so much time."""
        loops, fleet = self.pages.telemetry["loops"][0], self.pages.fleet["fleet"][0]
        seconds = elapsed_ns / 1e9
        offered = self.messages_per_s * seconds
        sent = min(offered * self.fleet_share, (LIMITS[Stage.READ] - self._waiting[Stage.READ]) * self.messages_a_read)
        self._waiting[Stage.READ] += sent / self.messages_a_read
        self._waiting[Stage.ACCEPT] = min(
            LIMITS[Stage.ACCEPT], self._waiting[Stage.ACCEPT] + self.handshakes_per_s * seconds
        )
        for name, count in (("offered_count", offered), ("sent_count", sent)):
            fleet[name] += round(count)
        loops["received_count"] += round(sent)
        capacity = 1e9 if not self.viewer_brake_us else 1e6 / self.viewer_brake_us * seconds
        taken = min(self._owed_at_viewers, capacity)
        self._owed_at_viewers -= taken
        self._delivered += taken
        fleet["delta_count"] = int(self._delivered)

    def _deliver(self, items):
        """Hand deltas to viewers; who has not taken the ones before is passed over, and lags."""
        behind = int(min(self.viewers, self._owed_at_viewers))
        taken = min(items, max(0, 2 * self.viewers - int(self._owed_at_viewers)))
        self._owed_at_viewers += taken
        rows = self.pages.connections["connections"][0, : self.viewers]
        tick = int(self.pages.telemetry["server"]["tick"][0])
        is_slow = np.arange(self.viewers) < (behind if self.viewer_brake_us else 0)
        rows["cursor"] = np.where(is_slow, np.minimum(rows["cursor"], max(0, tick - 5)), tick)
        loops = self.pages.telemetry["loops"][0]
        loops["delta_count"] += taken
        loops["conflated_count"] += items - taken

    def _write(self, now_ns):
        """The heartbeat of both processes."""
        fleet, server = self.pages.fleet["fleet"][0], self.pages.telemetry["server"][0]
        fleet["connection_count"] = fleet["subscriber_count"] = self.viewers
        self.pages.telemetry["loops"][0]["connection_count"] = self.viewers
        for page in (fleet, server):
            page["heartbeat_ns"] = now_ns
            page["cpu_ns"] += 10 * MS
