"""The bridge's loop: serves devices that speak MQTT through a broker. Behind the decoder, all is as in the other loops.

A device is a slot with a bucket and counters, as a connection is. What it publishes goes into the message queue, many
payloads at a time; DELTAs of the whole canvas and THROTTLED go back through the carrier. Invariant: a payload counts
whole or not at all, and the broker is owed one DELTA at most: what changes meanwhile is in the next one.
"""

import numpy as np

from server.bridge.carrier import Carrier, Tell
from server.bridge.inbox import INBOX_PLACES_MAX, Inbox
from server.bridge.roster import DEVICES_MAX, Roster
from server.engine.canvas import new_hello
from server.engine.engine import Engine
from server.kernels.arrays import CanvasArrays, LoopArrays
from server.kernels.brake import is_resting, rest, settle, take_up
from server.kernels.due_frames import patrol_dues
from server.kernels.encode import encode_region
from server.kernels.kernel import Warm
from server.kernels.layout import OFFER, PATROL_NS, SENDS_A_STEP, Kind, Stage
from server.kernels.queues import make_message_room
from server.loops.stages import Stages, stage_kernels
from server.mqtt.address import BrokerAddress
from server.mqtt.topics import Topics
from server.protocol.messages import PLACE_DTYPE
from server.protocol.websocket import parse_head
from server.system import clock

PLACES_A_STEP = 1 << 14
"""Placements taken up at once: a millisecond or two, short beside a tick."""
LOOK_NS = 10_000_000
"""How long it waits for publications before it looks at the tick again."""


class BridgeLoop:
    """One loop, a thread's whole work. `tell` hears, from another thread, when the broker comes or goes."""

    def __init__(self, engine: Engine, tell: Tell) -> None:
        self._engine, self._tell = engine, tell
        slots = min(DEVICES_MAX, engine.config.connections_max)
        self.arrays: LoopArrays = engine.new_loop(slots, 1)
        self._counts = self.arrays.counts[0]
        self._roster = Roster(engine, self.arrays)
        self._topics = Topics(engine.config.mqtt_name)
        self._inbox = Inbox()
        self._carrier: Carrier | None = None
        self._stages = Stages(self.arrays, lambda slot, nonce, now_ns: None)
        canvas = engine.canvas.arrays
        self._unbraked = canvas._replace(brakes=np.zeros_like(canvas.brakes))
        self._offers = np.zeros(SENDS_A_STEP, OFFER)
        self._config = engine.config
        self._cursor, self._connected_count, self._patrol_ns = 0, 0, 0
        for stage, limit in {Stage.READ: INBOX_PLACES_MAX, Stage.DECODE: INBOX_PLACES_MAX * 6, Stage.FANOUT: 1}.items():
            self.arrays.stages[stage]["depth_max"] = limit

    @property
    def client_count(self) -> int:
        """What is to be waited for when the server drains: publications that the broker does not have yet."""
        carrier = self._carrier
        return carrier.owed_count if carrier is not None and carrier.is_connected else 0

    def warms(self) -> list[Warm]:
        """The kernels that it calls."""
        loop, canvas, broadcast = self.arrays, self._engine.canvas.arrays, self._engine.broadcast
        return [
            *stage_kernels(loop, canvas, broadcast),
            Warm("patrol", patrol_dues, lambda: (loop, canvas, 0, self._offers)),
        ]

    def dial(self, address: BrokerAddress, name: str) -> None:
        """Speak to this broker, which people call `name`, from `open` on. Raises ValueError for a faulty CA file."""
        self._carrier = Carrier(address, name, self._topics, self._inbox, self._tell)

    def open(self, now_ns: int) -> None:
        """Begin to serve."""
        if self._carrier is not None:
            self._carrier.start(new_hello(self._config, 0).encode())

    def stop_listening(self) -> None:
        """Devices may go on to publish; nobody takes it any more once the loop ends."""

    def close_clients(self, now_ns: int) -> None:
        """Nobody has a connection here that could be closed."""

    def reset_clients(self, now_ns: int) -> None:
        """Nothing ends: a device's connection is the broker's."""

    def notify(self, message: bytes, now_ns: int) -> None:
        """Nobody: MQTT has no topic for notices."""

    def wake(self) -> None:
        """Call the loop up from any thread."""
        self._inbox.arrived.set()

    def release(self) -> None:
        """Say good-bye to the broker, which gets what it is owed."""
        if self._carrier is not None:
            self._carrier.close()

    def serve(self) -> int:
        """Serve until the tick is due. Returns the time then, in nanoseconds."""
        engine, queues = self._engine, self.arrays.queues[0]
        queues["fanout_position"] = queues["slot_end"]  # Devices are owed no frames of their own.
        while True:
            self._inbox.arrived.clear()  # Before all that it may be rung for is looked at.
            now_ns = clock.now_ns()
            self._answer(now_ns)
            if engine.is_ending:
                self._drain(now_ns)
            if engine.is_hurried or now_ns >= engine.next_tick_ns:
                self._counts["cpu_ns"] = clock.thread_cpu_ns()
                return now_ns
            if not self.step(now_ns):
                until_ns = min(engine.next_tick_ns, now_ns + LOOK_NS)
                self._inbox.arrived.wait(max(0, until_ns - clock.now_ns()) * 1e-9)

    def step(self, now_ns: int) -> bool:
        """Take what has come, and serve on as far as brakes allow. False when nothing could be done."""
        queues = self.arrays.queues[0]
        before = queues.tobytes()
        taken = self._take(self._engine.canvas.arrays, now_ns)
        self._stages.run(self._engine.canvas.arrays)
        return taken > 0 or queues.tobytes() != before

    def _drain(self, now_ns: int) -> None:
        """Serve all that has come so far, whatever the brakes say."""
        queues = self.arrays.queues[0]
        while self._take(self._unbraked, now_ns) or queues["message_end"] or queues["placement_end"]:
            self._stages.run(self._unbraked)

    # Reading and decoding.

    def _take(self, canvas: CanvasArrays, now_ns: int) -> int:
        """Queue what the message queue has room for and the brakes allow. Returns how many publications that were."""
        arrays, depth = self.arrays, len(self._inbox)
        self._note_refused(now_ns)
        if not depth:
            return 0
        room = min(PLACES_A_STEP, make_message_room(arrays))
        payloads_max = take_up(arrays, canvas, Stage.READ, depth, now_ns) if room else 0
        if not payloads_max:
            self._stages.look(Stage.READ, depth)
            return 0
        taken = self._inbox.take(payloads_max, room)
        settle(arrays, canvas, Stage.READ, payloads_max, len(taken))
        begun_ns = clock.now_ns()
        count = self._queue(taken, now_ns)
        busy_ns = clock.now_ns() - begun_ns
        self._stages.note(Stage.READ, depth, len(taken), busy_ns // 2)
        self._stages.note(
            Stage.DECODE, count * PLACE_DTYPE.itemsize, count * PLACE_DTYPE.itemsize, busy_ns - busy_ns // 2
        )
        rest(arrays, canvas, Stage.DECODE, count, len(self._inbox), clock.now_ns())
        return len(taken)

    def _queue(self, taken: list[tuple[str, bytes, int]], now_ns: int) -> int:
        """Put placements into the message queue, where there is room for them. Returns how many."""
        entered = [(self._roster.slot(device, now_ns), payload, count) for device, payload, count in taken]
        known = [entry for entry in entered if entry[0] >= 0]
        self._counts["protocol_error_count"] += len(entered) - len(known)
        if not known:
            return 0
        slots = np.array([slot for slot, _, _ in known], np.int32)
        counts = np.array([count for _, _, count in known], np.int64)
        places = np.frombuffer(b"".join(payload for _, payload, _ in known), PLACE_DTYPE)
        queues, total = self.arrays.queues[0], len(places)
        end = int(queues["message_end"])
        messages = self.arrays.messages[end : end + total]
        for name in ("x", "y", "color"):
            messages[name] = places[name]
        messages["slot"] = np.repeat(slots, counts)
        messages["kind"] = Kind.PLACE
        queues["message_end"] += total
        connections, loop = self.arrays.connections, self._counts
        np.add.at(connections["received_count"], slots, counts)
        np.add.at(connections["received_bytes"], slots, counts * PLACE_DTYPE.itemsize)
        loop["received_count"] += total
        loop["received_bytes"] += places.nbytes
        loop["read_count"] += len(known)
        return total

    def _note_refused(self, now_ns: int) -> None:
        """Count what the inbox did not take: faults, what is ignored, and what was shed, of which the device hears."""
        self._counts["protocol_error_count"] += self._inbox.take_fault_count()
        self._counts["ignored_count"] += self._inbox.take_ignored_count()
        for device, count in self._inbox.take_shed().items():
            slot = self._roster.slot(device, now_ns)
            if slot < 0:
                self._counts["protocol_error_count"] += 1
                continue
            row = self.arrays.connections[slot]
            for counted in (row, self._counts):
                counted["received_count"] += count
                counted["shed_count"] += count
            self.arrays.stages[Stage.READ]["drop_count"] += count

    # Answering.

    def _answer(self, now_ns: int) -> None:
        """Publish what the broker lacks: the delta, and reports of drops."""
        carrier = self._carrier
        self._counts["subscriber_count"] = carrier is not None and carrier.is_connected
        if carrier is None or not carrier.is_connected:
            return
        if self._connected_count != carrier.connected_count:
            # What was on its way is lost, and who listens may be new: it gets all there is.
            self._connected_count, self._cursor = carrier.connected_count, 0
        if self._engine.config is not self._config:
            self._config = self._engine.config
            carrier.inform(new_hello(self._config, 0).encode())
        if not carrier.owed_count:
            self._show(carrier, now_ns)
        if now_ns >= self._patrol_ns and carrier.owed_count < SENDS_A_STEP:
            self._patrol_ns = now_ns + PATROL_NS
            self._report(carrier, now_ns)

    def _show(self, carrier: Carrier, now_ns: int) -> None:
        """Publish what changed since the last DELTA."""
        broadcast, arrays = self._engine.broadcast, self.arrays
        head = broadcast.head[0]
        newest = int(head["tick"])
        if self._cursor >= newest:
            return
        if is_resting(arrays, Stage.FANOUT, now_ns):
            self._stages.look(Stage.FANOUT, 1)
            return
        if self._cursor >= head["since"]:
            frame, start, end = broadcast.bytes, int(head["frame_start"]), int(head["frame_end"])
            pixels = int(head["pixel_count"])
        else:
            canvas, frame = self._engine.canvas, arrays.conflated
            tiles = (0, 0, canvas.tiles_across, canvas.tiles_down)
            start, end, pixels = encode_region(broadcast.shown, tiles, self._cursor, newest, frame)
            self._counts["conflated_count"] += 1
        self._cursor = newest
        if end > start:
            carrier.publish(self._topics.delta, _message(frame[start:end].tobytes()), self._connected_count)
            self._note_sent(end - start, pixels, now_ns)

    def _note_sent(self, size: int, pixels: int, now_ns: int) -> None:
        counts = self._counts
        counts["delta_count"] += 1
        counts["delta_bytes"] += size
        counts["delta_pixel_count"] += pixels
        counts["sent_bytes"] += size
        counts["send_count"] += 1
        self._stages.note(Stage.FANOUT, 1, 1, clock.now_ns() - now_ns)
        rest(self.arrays, self._engine.canvas.arrays, Stage.FANOUT, 1, 0, clock.now_ns())

    def _report(self, carrier: Carrier, now_ns: int) -> None:
        """Tell devices what of theirs was dropped, each at most once a second."""
        count = patrol_dues(self.arrays, self._engine.canvas.arrays, now_ns, self._offers)
        self.arrays.queues[0]["handover_count"] = 0  # Nobody can be closed, whatever the conduct.
        for slot, _source, start, end, _pixels, _taken in self._offers[:count].tolist():
            report = _message(self.arrays.scratch[start:end].tobytes())
            carrier.publish(self._topics.throttled(self._roster.device_of[slot]), report, self._connected_count)
            self._counts["send_count"] += 1
            self._counts["sent_bytes"] += len(report)


def _message(frame: bytes) -> bytes:
    """The message in a server's frame, which MQTT needs no frame for."""
    head = parse_head(frame)
    assert head is not None, "the encoder wrote a frame that cannot be read"
    return frame[head.head_bytes :]
