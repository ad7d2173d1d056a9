"""The engine: one canvas, its tick and its broadcast. No sockets, no clock: `tick(now_ns)` is all that moves it.

Loops bring their arrays; stages write to the canvas through them. `tick` runs while no stage does, so a tick's
broadcast holds exactly what was applied before it.
"""

import threading
import zlib

import numpy as np
from numpy.typing import NDArray

from server.config import ServerConfig
from server.engine.canvas import Canvas, VisibleCanvas, new_brakes, new_hello, refill, set_limits, snapshot_of
from server.engine.invariants import check_broadcast, check_queues, check_tiles
from server.engine.tick_gates import CommitGate, EncodeBrake
from server.ipc.page import Page
from server.journal.journal import Journal
from server.journal.store import TickEntry
from server.kernels.arrays import HOLD, LoopArrays, new_loop_arrays
from server.kernels.due_frames import begin_sweep, sweep_rest
from server.kernels.encode import encode_tick, write_frame_head
from server.kernels.journey import note_encoded, note_journaled
from server.kernels.layout import HEAD_ROOM, TICK_ROWS, Stage
from server.kernels.queues import waiting_placements
from server.protocol.messages import Hello, Snapshot
from server.system import checks
from server.wire import CANCEL

COMPRESS_BYTES_MIN = 512
"""Below this a zlib stream saves less than a client pays to open it."""
# Up to here a broadcast is compressed as hard as zlib usually does: a fifth fewer bytes than the fastest way, times
# thousands of receivers, for a fraction of a millisecond once a tick. Above, that would take milliseconds.
COMPRESS_HARD_BYTES_MAX = 64 * 1024
# Ticks to leave the compressor alone after it gained nothing: noise stays noise for a while.
COMPRESS_PAUSE_TICKS = 8
# How soon to look again at a tick that waits for the journal, which wakes the loops as soon as it is done.
COMMIT_LOOK_NS = 50_000_000
# How long the server, before it ends, waits for the last ticks to be on disk.
LAST_COMMIT_S = 3.0
# Service time of a stage that is stopped until its brake is released.
HALT_NS = 3_600_000_000_000
STRETCH_RATIO = 1.25
SHRINK_RATIO = 0.5


def look(row: np.void, depth: int) -> None:
    """Note what waits in front of a stage that can do nothing now. row: its STAGE of the telemetry page."""
    row["depth"] = depth
    row["depth_peak"] = max(row["depth_peak"], depth)


def note(row: np.void, depth: int, items: int, busy_ns: int) -> None:
    """Add one batch to a stage's STAGE row of the telemetry page."""
    look(row, depth)
    row["busy_ns"] += busy_ns
    row["batch_count"] += 1
    row["item_count"] += items
    row["depth_sum"] += depth


def use_slot(loop: LoopArrays, slot: int) -> None:
    """Extend the sweeps and patrols of `loop` to `slot`, which is taken into use."""
    queues = loop.queues[0]
    end = max(int(queues["slot_end"]), slot + 1)
    # A sweep that is done stays done: a new connection is owed nothing of the last tick, and must not delay the next.
    if queues["fanout_position"] == queues["slot_end"]:
        queues["fanout_position"] = end
    queues["slot_end"] = end


class Engine:
    """The canvas, its tick and its broadcast, for any number of loops."""

    def __init__(
        self,
        config: ServerConfig,
        telemetry: Page,
        canvas_page: Page,
        connections_page: Page | None = None,
        journal: Journal | None = None,
    ) -> None:
        """With a `journal`, the canvas continues from what that has recovered."""
        self.config = config
        self.telemetry = telemetry
        self.canvas_page = canvas_page
        self._connections_page = connections_page
        self.canvas = Canvas(config, canvas_page)
        self.gate = CommitGate(journal, telemetry)
        if journal is not None and journal.recovered is not None:
            self.canvas.pixels[:] = journal.recovered.pixels
            self.canvas.arrays.rules["tick_next"] = journal.recovered.tick + 1
            telemetry["server"]["tick"] = journal.recovered.tick
        self.shown = VisibleCanvas(self.canvas, is_copy=self.gate.is_gating, tick=self.tick_number)
        self.broadcast = self.shown.broadcast
        self.loops: list[LoopArrays] = []
        self.interval_ns = config.tick_ms * 1_000_000
        self.next_tick_ns = 0
        # All loops are to meet at once, whatever `next_tick_ns` says.
        self.is_hurried = False
        # The next tick may be the last: what was read is to be in it, despite the brakes.
        self.is_ending = False
        self._encode_brake = EncodeBrake()
        self._braked_ns = 0  # Service time that the brake has added to the last tick.
        self._last_tick_ns = self._spacing_ns = 0  # The last one's start, and how far apart they are at present.
        self._due_ns = 0  # When the tick was due that waits for the journal; 0: none does.
        self._compress_after = 0
        self._numbers, self._numbers_lock = 0, threading.Lock()

    def new_loop(self, slots: int, descriptors: int) -> LoopArrays:
        """Arrays for one more loop, joined to the canvas, to its row of the telemetry page and of the connections'."""
        index = len(self.loops)
        counts = self.telemetry["loops"][index : index + 1]
        stages = self.telemetry["stages"][index]
        arrays = new_loop_arrays(slots, descriptors, self.canvas.tile_count, counts, stages)
        if self._connections_page is not None:
            arrays = _on_page(arrays, self._connections_page, index)
        self.loops.append(arrays)
        return arrays

    @property
    def tick_number(self) -> int:
        """The last finished tick; 0 before the first."""
        return int(self.canvas.arrays.rules[0]["tick_next"]) - 1

    def hello(self, *, is_viewer: bool = False) -> Hello:
        """The first message to the next connection, with a number of its own."""
        return new_hello(self.config, self.take_numbers(1), is_viewer=is_viewer)

    def take_numbers(self, count: int) -> int:
        """Take numbers for `count` connections. Returns the first; they begin at 1. May be called from any thread."""
        with self._numbers_lock:
            self._numbers += count
            return self._numbers - count + 1

    def start(self, now_ns: int) -> None:
        """Set the first tick's time."""
        self._last_tick_ns = now_ns
        self.next_tick_ns = now_ns + self.interval_ns

    def adjust(self, config: ServerConfig, now_ns: int) -> None:
        """Apply the live settings of `config` from now on. Called while no stage runs."""
        before, rules = self.config, self.canvas.arrays.rules[0]
        old_ns = int(rules["token_ns"]), int(rules["burst_ns"])
        self.config = before.adjusted(config)
        set_limits(rules, self.config)
        new_ns = int(rules["token_ns"]), int(rules["burst_ns"])
        if new_ns != old_ns:
            for loop in self.loops:
                full_ns = loop.connections["full_ns"]
                full_ns[:] = refill(full_ns, old_ns, new_ns, now_ns)
        if self.config.tick_ms != before.tick_ms:
            self.interval_ns = self.config.tick_ms * 1_000_000
            self.next_tick_ns = min(self.next_tick_ns, now_ns + self.interval_ns)
        self._brake()

    def release_brakes(self) -> None:
        """Let all stages go on at once. Called while no stage runs."""
        self._set_brakes(np.zeros_like(self.canvas.arrays.brakes))

    def _brake(self) -> None:
        """Brake all stages as configured, and stop apply while the journal is stuck: no client could see a change."""
        brakes = new_brakes(self.config.brakes)
        if self.gate.is_stuck:
            brakes[Stage.APPLY]["batch_ns"] = HALT_NS
        self._set_brakes(brakes)
        if self.gate.journal is not None:
            self.gate.journal.set_brake(self.config.brakes.journal)

    def _set_brakes(self, brakes: NDArray[np.void]) -> None:
        changed = self.canvas.arrays.brakes != brakes
        self.canvas.arrays.brakes[:] = brakes
        for loop in self.loops:
            loop.holds[changed] = np.zeros((), HOLD)
        if changed[Stage.ENCODE]:
            self.next_tick_ns = self._encode_brake.release(self.next_tick_ns)

    def tick(self, now_ns: int, *, is_last: bool = False) -> bool:
        """Finish a tick: encode what changed, once, and let every loop begin to send it.

        Called while no stage runs. False when the tick is put off: the last broadcast is still under way (then the
        interval grows, so that broadcasts cannot pile up), or a braked encoder is at work, or the journal. The last
        tick before the end is not put off; False when the journal cannot take it.
        """
        if not self._may_finish(now_ns, is_last=is_last):
            return False
        is_behind = any(sweep_rest(loop) > 0 for loop in self.loops)
        if is_behind and not is_last and self._stretch(now_ns):
            return False
        self._check()
        tick = self.tick_number + 1
        if not is_last and self._is_encoding(tick, now_ns):
            return False
        # A late tick makes the distance longer: due times of viewers with an interval go by the real one.
        self._spacing_ns = max(self.interval_ns, now_ns - self._last_tick_ns)
        self.next_tick_ns, self._braked_ns = self._encode_brake.finish(self.next_tick_ns)
        # Where a journal gates, this is beside the broadcast that loops may still be sending.
        merged = encode_tick(self.canvas.arrays, self.shown.encoded, tick)
        if merged:
            blocks_start = self._compress(tick)
            if self.gate.journal is not None:
                self.gate.submit(self._entry(tick, now_ns, blocks_start), now_ns)
        self.canvas.arrays.rules[0]["tick_next"] = tick + 1
        if not self.gate.is_holding(tick):
            self._show(tick)
        elif is_last:
            self._wait_for_journal(now_ns)
        # A tick in time: a stretched interval shrinks back quickly, and grows again if that was too early.
        self.interval_ns = max(self.config.tick_ms * 1_000_000, int(self.interval_ns * SHRINK_RATIO))
        return True

    def _check(self) -> None:
        for loop in self.loops:
            check_queues(loop)
        check_broadcast(self.broadcast, self.shown.tick)
        if checks.ARE_THOROUGH:
            check_tiles(self.canvas.arrays)

    def look_at_journal(self, now_ns: int) -> bool:
        """Show the tick that the journal has. True when it got stuck or recovered. Called while no stage runs."""
        tick = self.gate.let_through()
        if tick:
            self._show(tick)
        has_turned = self.gate.look(now_ns, self.config.tick_ms_max * 1_000_000)
        if has_turned:
            self._brake()
        return has_turned

    def _may_finish(self, now_ns: int, *, is_last: bool) -> bool:
        """Whether the journal has all before this tick; else it is put off."""
        if is_last:
            self._wait_for_journal(now_ns)
        is_free = self.gate.lets_finish(self.tick_number + 1)
        if is_free and self._due_ns:
            self.next_tick_ns, self._due_ns = self._due_ns, 0
        elif not is_free:
            self._due_ns = self._due_ns or self.next_tick_ns
            self.next_tick_ns = now_ns + COMMIT_LOOK_NS
        return is_free

    def _wait_for_journal(self, now_ns: int) -> None:
        self.gate.wait(LAST_COMMIT_S)
        self.look_at_journal(now_ns)

    def _show(self, tick: int) -> None:
        """Let every loop begin to send the broadcast of `tick`."""
        self.shown.show(tick)
        for loop in self.loops:
            begin_sweep(loop, self._spacing_ns)
        if self.is_following and self.gate.journal is not None and self.gate.is_gating:
            for loop in self.loops:
                note_journaled(loop, tick, self.gate.journal.committed_ns)
        if self._due_ns:
            self.next_tick_ns, self._due_ns = self._due_ns, 0

    def _entry(self, tick: int, now_ns: int, blocks_start: int) -> TickEntry:
        """What the journal is to keep of a tick that is encoded."""
        head = self.shown.encoded.head[0]
        journal = self.gate.journal
        pixels = self.canvas.pixels.tobytes() if journal is not None and journal.wants_snapshot(tick) else None
        blocks = self.shown.encoded.bytes[blocks_start : int(head["frame_end"])].tobytes()
        counts = int(head["pixel_count"]), int(head["tile_count"])
        return TickEntry(tick, now_ns, *counts, int(head["encoding"]), blocks, pixels)

    def _is_encoding(self, tick: int, now_ns: int) -> bool:
        """Whether the braked encoder is at work on `tick`: then it is put off until that is done."""
        brake = self.canvas.arrays.brakes[Stage.ENCODE]
        tile_count = int(np.count_nonzero(self.canvas.arrays.tile_tick == tick))
        most_ns = self.config.tick_ms_max * 1_000_000
        until_ns = self._encode_brake.until_ns(brake, tile_count, self.next_tick_ns, now_ns, most_ns)
        self.next_tick_ns = until_ns or self.next_tick_ns
        return until_ns > 0

    @property
    def is_following(self) -> bool:
        """Whether the journeys of a connection are noted."""
        return bool(self.canvas.arrays.rules["followed"][0] >= 0)

    def follow(self, number: int) -> None:
        """Note the journeys of the connection with this number; -1: of none. Called while no stage runs."""
        self.canvas.arrays.rules[0]["followed"] = number
        for loop in self.loops:
            for name in ("first", "end", "read_end"):
                loop.following[name] = loop.journey_head[0]

    def publish(self, now_ns: int, encode_ns: int) -> None:
        """Write the finished tick's row of the telemetry page and set the next tick's time."""
        if self.is_following:
            for loop in self.loops:
                note_encoded(loop, self.tick_number, now_ns + encode_ns)
        encode_ns += self._braked_ns
        tick, head = self.tick_number, self.shown.encoded.head[0]
        tile_count = pixel_count = frame_bytes = encoding = 0
        if head["tick"] == tick:  # Else nothing had changed, and the head is that of an earlier tick.
            tile_count, pixel_count, encoding = (int(head[name]) for name in ("tile_count", "pixel_count", "encoding"))
            frame_bytes = int(head["frame_end"] - head["frame_start"])
        # Encoding is the engine's own stage; its row is the first loop's.
        note(self.telemetry["stages"][0, Stage.ENCODE], tile_count, tile_count, encode_ns)
        lateness_ns, interval_ns = max(0, now_ns - self.next_tick_ns), now_ns - self._last_tick_ns
        admitted_count = sum(int(loop.counts[0]["admitted_count"]) for loop in self.loops)
        server, ticks = self.telemetry["server"][0], self.telemetry["ticks"]
        in_flight_count, server["ledger_gap"] = self.balance()
        ticks["tick"][tick % TICK_ROWS] = tick  # First: readers take the row for unfinished from here on.
        ticks[tick % TICK_ROWS] = (
            tick, now_ns, lateness_ns, interval_ns, encode_ns, tile_count, pixel_count, frame_bytes, encoding,
            admitted_count, in_flight_count, self._take_peaks(),
        )  # fmt: skip
        server["merged_count"] += pixel_count
        server["encoded_bytes"] += frame_bytes
        server["tick_interval_ns"] = self.interval_ns
        server["tick"] = tick  # Last: it says that the row above is whole.
        self._last_tick_ns = now_ns
        pause_ns = 0 if self._braked_ns else self.interval_ns // 2  # An encoder that cannot keep up takes no pause.
        self.next_tick_ns = max(self.next_tick_ns + self.interval_ns, now_ns + pause_ns)

    def balance(self) -> tuple[int, int]:
        """The ledger of all loops: placements in flight, counted in the queues, and those unaccounted for.

        The second is 0 as long as received = admitted + throttled + shed + out of bounds + waiting, and admitted =
        applied + waiting. Called while no stage runs.
        """
        in_flight, gap = 0, 0
        for loop in self.loops:
            row = loop.counts[0]
            decoded, admitted = waiting_placements(loop)
            refused = int(row["throttled_count"] + row["shed_count"] + row["out_of_bounds_count"])
            gap += abs(int(row["received_count"] - row["admitted_count"]) - refused - decoded)
            gap += abs(int(row["admitted_count"] - row["applied_count"]) - admitted)
            in_flight += decoded + admitted
        return in_flight, gap

    def subscribe(self, loop: LoopArrays, index: int, now_ns: int) -> Snapshot | None:
        """Carry out the SUBSCRIBE at `index` of a loop's requests. Returns its answer; a cancellation has none."""
        request = loop.requests[index]
        connection = loop.connections[request["slot"]]
        loop.counts[0]["subscriber_count"] -= int(connection["subscribed"])
        connection["subscribed"] = 0
        if request["flags"] & CANCEL:
            return None
        asked = (int(request[name]) for name in ("x", "y", "width", "height"))
        region = self.canvas.clip(*asked)
        tiles = self.canvas.tiles_of(region)
        for name, value in zip(("tile_x0", "tile_y0", "tile_x1", "tile_y1"), tiles, strict=True):
            connection[name] = value
        connection["interval_ns"] = int(request["interval_ms"]) * 1_000_000
        connection["due_ns"] = now_ns + connection["interval_ns"]
        # The snapshot shows all up to this tick, and some changes since, which come again with the next delta.
        connection["cursor"] = self.shown.tick
        connection["subscribed"] = 1
        loop.counts[0]["subscriber_count"] += 1
        loop.counts[0]["snapshot_count"] += 1
        return snapshot_of(self.shown.pixels, region, self.shown.tick)

    def _stretch(self, now_ns: int) -> bool:
        """Put the tick off by a part of its interval, which grows. False when it has its maximum length."""
        most_ns = self.config.tick_ms_max * 1_000_000
        overdue_ns = now_ns - self._last_tick_ns
        if overdue_ns >= max(most_ns, self.interval_ns):
            return False
        self.interval_ns = min(most_ns, max(self.interval_ns, int(overdue_ns * STRETCH_RATIO)))
        # Looked at again soon, as the broadcast may be done long before the interval is over.
        self.next_tick_ns = now_ns + max(1_000_000, self.interval_ns // 16)
        self.telemetry["server"][0]["tick_stretch_count"] += 1
        return True

    def _compress(self, tick: int) -> int:
        """Put a zlib frame of the same blocks after the plain one, and have that sent, where it is shorter.

        Returns where the blocks start that are sent.
        """
        broadcast = self.shown.encoded
        head = broadcast.head[0]
        head["encoding"] = 0
        end = int(head["frame_end"])
        if end - HEAD_ROOM < COMPRESS_BYTES_MIN or tick < self._compress_after:
            return HEAD_ROOM
        level = 6 if end - HEAD_ROOM <= COMPRESS_HARD_BYTES_MAX else 1
        # Behind the plain frame, which stays: frames for regions are copied from its blocks.
        packed = zlib.compress(broadcast.bytes[HEAD_ROOM:end].data, level)
        if len(packed) >= end - HEAD_ROOM:
            self._compress_after = tick + COMPRESS_PAUSE_TICKS
            return HEAD_ROOM
        start = end + HEAD_ROOM
        broadcast.bytes[start : start + len(packed)] = np.frombuffer(packed, np.uint8)
        head["frame_start"] = write_frame_head(broadcast.bytes, start, len(packed), int(head["tile_count"]), 1, tick)
        head["frame_end"] = start + len(packed)
        head["encoding"] = 1
        return start

    def _take_peaks(self) -> NDArray[np.int64]:
        """The most that waited in front of each stage since the last call, over all loops, shape (STAGE_COUNT,)."""
        stages = self.telemetry["stages"]
        peaks: NDArray[np.int64] = stages["depth_peak"].sum(axis=0)
        stages["depth_peak"] = 0
        return peaks


def _on_page(arrays: LoopArrays, page: Page, index: int) -> LoopArrays:
    """A loop's arrays, with those parts on the connections page that other processes read."""
    rows, slots = page["connections"][index], len(arrays.connections)
    # A memory link may have more devices than the page has slots: then its connections are not on it.
    return arrays._replace(
        connections=rows[:slots] if slots <= len(rows) else arrays.connections,
        journeys=page["journeys"],
        journey_head=page["journey_head"],
        followed_messages=page["messages"],
        message_head=page["message_head"],
    )
