"""The bridge's loop: serves devices that speak MQTT through a broker. After the decoder, it works like the other loops.

A device is a slot with a bucket and counters, as a connection is. Its publications go into the message queue, many
payloads at a time; DELTAs of the whole canvas and THROTTLED go back through the broker thread. A payload counts as a
whole or not at all. One DELTA at most waits for the broker: later changes are in the next one.
"""

import numpy as np

from server.bridge.broker_thread import INBOX_PLACES_MAX, BrokerThread, Inbox, OnState
from server.engine.canvas import new_hello
from server.engine.engine import Engine, use_slot
from server.kernels.arrays import CanvasArrays, LoopArrays
from server.kernels.brake import is_resting, rest, settle, take_up
from server.kernels.due_frames import patrol_dues
from server.kernels.encode import encode_region
from server.kernels.kernel import Warm
from server.kernels.layout import CONNECTION, OFFER, PATROL_NS, SENDS_A_STEP, Kind, Phase, Stage
from server.kernels.queues import make_message_room
from server.loops.stages import Stages, stage_kernels
from server.mqtt.address import BrokerAddress
from server.mqtt.topics import Topics
from server.protocol.messages import PLACE_DTYPE
from server.protocol.websocket import parse_head
from server.system import clock

DEVICES_MAX = 20_000
# A device that was silent for longer may lose its slot. No bucket of a sensible rate takes longer to fill.
IDLE_NS = 60_000_000_000
# Least time between two searches for idle devices, each of which costs O(devices).
SEARCH_NS = 1_000_000_000
# Placements taken at once: a millisecond or two, short beside a tick.
PLACES_A_STEP = 1 << 14
# Longest wait for publications before the tick is checked again.
LOOK_NS = 10_000_000


class DeviceSlots:
    """Which device has which slot of the loop. A device is known by its ID; it has no connection that could end.

    A device that has been silent for a while gives its slot to a new one, unless its bucket is not full or something of
    it waits in a queue.
    """

    def __init__(self, engine: Engine, arrays: LoopArrays) -> None:
        self.device_of: dict[int, str] = {}  # By slot.
        self._engine, self._arrays = engine, arrays
        self._slot_of: dict[str, int] = {}
        self._free = list(range(len(arrays.connections) - 1, -1, -1))
        self._looked_ns = 0

    def __len__(self) -> int:
        return len(self._slot_of)

    def slot(self, device: str, now_ns: int) -> int:
        """The slot of a device, which gets one if it is new; -1 if there is none left."""
        slot = self._slot_of.get(device, -1)
        if slot < 0:
            if not self._free and now_ns - self._looked_ns >= SEARCH_NS:
                self._looked_ns = now_ns
                self._forget_idle(now_ns)
            if not self._free:
                return -1
            slot = self._enter(device, now_ns)
        # No delta is ever due to a device, so the field holds the time of its last publication.
        self._arrays.connections[slot]["due_ns"] = now_ns
        return slot

    def _enter(self, device: str, now_ns: int) -> int:
        slot = self._free.pop()
        assert slot not in self.device_of, "a slot has one device at a time"
        self._slot_of[device], self.device_of[slot] = slot, device
        row = self._arrays.connections[slot]
        row["fd"], row["phase"] = -1, Phase.FAST
        row["number"] = self._engine.take_numbers(1)
        row["opened_ns"] = row["progress_ns"] = now_ns
        self._arrays.counts[0]["connection_count"] += 1
        use_slot(self._arrays, slot)
        return slot

    def _forget_idle(self, now_ns: int) -> None:
        """Free the slots of devices that are silent, have a full bucket and wait in no queue."""
        arrays, queues = self._arrays, self._arrays.queues[0]
        rows = arrays.connections
        is_idle = (rows["phase"] == Phase.FAST) & (now_ns - rows["due_ns"] > IDLE_NS) & (rows["full_ns"] <= now_ns)
        is_idle[arrays.messages["slot"][queues["message_head"] : queues["message_end"]]] = False
        is_idle[arrays.placements["slot"][queues["placement_head"] : queues["placement_end"]]] = False
        for slot in np.flatnonzero(is_idle).tolist():
            del self._slot_of[self.device_of.pop(slot)]
            rows[slot] = np.zeros((), CONNECTION)
            self._free.append(slot)
            arrays.counts[0]["connection_count"] -= 1


class BridgeLoop:
    """One loop for a thread. `on_state` is called, from another thread, when the broker connects or is gone."""

    def __init__(self, engine: Engine, on_state: OnState) -> None:
        self._engine, self._on_state = engine, on_state
        slots = min(DEVICES_MAX, engine.config.connections_max)
        self.arrays: LoopArrays = engine.new_loop(slots, 1)
        self._counts = self.arrays.counts[0]
        self._devices = DeviceSlots(engine, self.arrays)
        self._topics = Topics(engine.config.mqtt_name)
        self._inbox = Inbox()
        self._broker: BrokerThread | None = None
        self._stages = Stages(self.arrays, lambda slot, nonce, now_ns: None)
        canvas = engine.canvas.arrays
        self._unbraked = canvas._replace(brakes=np.zeros_like(canvas.brakes))
        self._offers = np.zeros(SENDS_A_STEP, OFFER)
        self._config = engine.config
        self._cursor, self._connected_count, self._patrol_ns = 0, 0, 0
        depths = {Stage.READ: INBOX_PLACES_MAX, Stage.DECODE: INBOX_PLACES_MAX * PLACE_DTYPE.itemsize, Stage.FANOUT: 1}
        for stage, limit in depths.items():
            self.arrays.stages[stage]["depth_max"] = limit

    @property
    def client_count(self) -> int:
        """What a draining server waits for: publications that the broker does not have yet."""
        broker = self._broker
        return broker.owed_count if broker is not None and broker.is_connected else 0

    def warms(self) -> list[Warm]:
        """The kernels that it calls."""
        loop, canvas, broadcast = self.arrays, self._engine.canvas.arrays, self._engine.broadcast
        return [
            *stage_kernels(loop, canvas, broadcast),
            Warm("patrol", patrol_dues, lambda: (loop, canvas, 0, self._offers)),
        ]

    def dial(self, address: BrokerAddress, name: str) -> None:
        """Use this broker, shown as `name`, from `open` on. Raises ValueError for a CA file that cannot be used."""
        self._broker = BrokerThread(address, name, self._topics, self._inbox, self._on_state)

    def open(self, now_ns: int) -> None:
        """Start to serve."""
        if self._broker is not None:
            self._broker.start(new_hello(self._config, 0).encode())

    def stop_listening(self) -> None:
        """Does nothing: devices are connected to the broker."""

    def close_clients(self, now_ns: int) -> None:
        """Does nothing: devices have no connections here."""

    def reset_clients(self, now_ns: int) -> None:
        """Does nothing: devices have no connections here."""

    def notify(self, message: bytes, now_ns: int) -> None:
        """Does nothing: there is no topic for notices."""

    def wake(self) -> None:
        """Wake the loop, from any thread."""
        self._inbox.arrived.set()

    def release(self) -> None:
        """Publish what is left, and disconnect from the broker."""
        if self._broker is not None:
            self._broker.close()

    def serve(self) -> int:
        """Serve until the tick is due. Returns the time then, in nanoseconds."""
        engine, queues = self._engine, self.arrays.queues[0]
        queues["fanout_position"] = queues["slot_end"]  # Devices get no frames of their own.
        while True:
            # Cleared first: what arrives while the loop looks sets it again.
            self._inbox.arrived.clear()
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
        """Take publications and run the stages, as far as brakes allow. False if there was nothing to do."""
        queues = self.arrays.queues[0]
        before = queues.tobytes()
        taken = self._take(self._engine.canvas.arrays, now_ns)
        self._stages.run(self._engine.canvas.arrays)
        return taken > 0 or queues.tobytes() != before

    def _drain(self, now_ns: int) -> None:
        """Serve everything that has arrived, without brakes."""
        queues = self.arrays.queues[0]
        while self._take(self._unbraked, now_ns) or queues["message_end"] or queues["placement_end"]:
            self._stages.run(self._unbraked)

    # Reading and decoding.

    def _take(self, canvas: CanvasArrays, now_ns: int) -> int:
        """Queue what the message queue has room for and the brakes allow. Returns the number of publications."""
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
        # The inbox and the queue are filled in one pass; its time is split between the two stages.
        self._stages.note(Stage.READ, depth, len(taken), busy_ns // 2)
        self._stages.note(
            Stage.DECODE, count * PLACE_DTYPE.itemsize, count * PLACE_DTYPE.itemsize, busy_ns - busy_ns // 2
        )
        rest(arrays, canvas, Stage.DECODE, count, len(self._inbox), clock.now_ns())
        return len(taken)

    def _queue(self, taken: list[tuple[str, bytes, int]], now_ns: int) -> int:
        """Put placements into the message queue, which has room for them. Returns their number."""
        entered = [(self._devices.slot(device, now_ns), payload, count) for device, payload, count in taken]
        known = [entry for entry in entered if entry[0] >= 0]
        self._counts["protocol_error_count"] += len(entered) - len(known)
        if not known:
            return 0
        slots = np.array([slot for slot, _, _ in known], np.int32)
        counts = np.array([count for _, _, count in known], np.int64)
        # One conversion for all payloads: with one array per payload, numpy's overhead would dominate.
        places = np.frombuffer(b"".join(payload for _, payload, _ in known), PLACE_DTYPE)
        queues, total = self.arrays.queues[0], len(places)
        end = int(queues["message_end"])
        messages = self.arrays.messages[end : end + total]
        for name in ("x", "y", "color"):
            messages[name] = places[name]
        assert total == counts.sum()
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
        """Count what the inbox did not take: faults, ignored publications, and shed placements, which are reported."""
        shed, fault_count, ignored_count = self._inbox.take_refused()
        self._counts["protocol_error_count"] += fault_count
        self._counts["ignored_count"] += ignored_count
        for device, count in shed.items():
            slot = self._devices.slot(device, now_ns)
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
        """Publish the next delta and reports of drops, if they are due."""
        broker = self._broker
        self._counts["subscriber_count"] = broker is not None and broker.is_connected
        if broker is None or not broker.is_connected:
            return
        if self._connected_count != broker.connected_count:
            # What was in flight is lost, and subscribers may be new: the next DELTA has everything.
            self._connected_count, self._cursor = broker.connected_count, 0
        if self._engine.config is not self._config:
            self._config = self._engine.config
            broker.inform(new_hello(self._config, 0).encode())
        if not broker.owed_count:
            self._show(broker, now_ns)
        if now_ns >= self._patrol_ns and broker.owed_count < SENDS_A_STEP:
            self._patrol_ns = now_ns + PATROL_NS
            self._report(broker, now_ns)

    def _show(self, broker: BrokerThread, now_ns: int) -> None:
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
            broker.publish(self._topics.delta, _message(frame[start:end].tobytes()), self._connected_count)
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

    def _report(self, broker: BrokerThread, now_ns: int) -> None:
        """Report dropped placements to devices, at most once per second each."""
        count = patrol_dues(self.arrays, self._engine.canvas.arrays, now_ns, self._offers)
        self.arrays.queues[0]["handover_count"] = 0  # There is no connection to close, whatever a device does.
        for slot, _source, start, end, _pixels, _taken in self._offers[:count].tolist():
            report = _message(self.arrays.scratch[start:end].tobytes())
            broker.publish(self._topics.throttled(self._devices.device_of[slot]), report, self._connected_count)
            self._counts["send_count"] += 1
            self._counts["sent_bytes"] += len(report)


def _message(frame: bytes) -> bytes:
    """The message in a server's frame. MQTT messages need no frame."""
    head = parse_head(frame)
    assert head is not None, "the encoder wrote a frame that cannot be read"
    return frame[head.head_bytes :]
