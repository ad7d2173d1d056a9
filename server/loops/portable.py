"""The portable loop: `selectors` and the standard library's sockets around the same compiled stages as the native one.

For systems without epoll, and the twin that tests the native loop: it decides nothing by itself that a kernel decides
there. What costs in Python is a call a socket; everything else is done for many at a time. Invariant: `outbox_end` of
a connection's row is the number of bytes in its outbox here, so that kernels see what it owes.
"""

import contextlib
import selectors
import socket
from collections.abc import Iterator

import numpy as np

from server import clock
from server.engine import Engine
from server.kernels.arrays import SEGMENTS_MAX
from server.kernels.buckets import admit
from server.kernels.decode import decode, hand_over, waiting_bytes
from server.kernels.kernel import Warm
from server.kernels.layout import (
    ARRIVAL,
    BELL,
    CARRY_BYTES,
    HELD_BYTES_MAX,
    HELD_BYTES_RESUME,
    LISTENER,
    OFFER,
    PATROL_NS,
    READ_BYTES_MAX,
    SENDS_A_STEP,
    Phase,
    Reason,
    Source,
    Stage,
    Wake,
)
from server.kernels.offers import choose_offers, patrol_dues, settle_offers, take_arrivals
from server.kernels.pixels import apply, pass_request
from server.loops.loop import Loop
from server.loops.warm import stage_kernels
from server.protocol.messages import ClientOp, Pong
from server.protocol.websocket import Opcode, encode_frame

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class PortableLoop(Loop):
    """A loop in Python that calls the compiled stages."""

    def __init__(self, engine: Engine, slots: int, descriptors: int) -> None:
        super().__init__(engine, slots, descriptors)
        self._selector = selectors.DefaultSelector()
        self._bell, self._bell_rope = socket.socketpair()
        self._bell.setblocking(False)
        self._bell_rope.setblocking(False)
        self._selector.register(self._bell, _READ, BELL)
        self._outboxes: dict[int, bytearray] = {}
        self._arena = self.arrays.arena.data
        self._arrivals = np.zeros(SEGMENTS_MAX, ARRIVAL)
        self._offers = np.zeros(SENDS_A_STEP, OFFER)
        self._sources = {
            Source.SHARED: engine.broadcast.bytes.data,
            Source.CONFLATED: self.arrays.conflated.data,
            Source.OWN: self.arrays.scratch.data,
        }

    def warms(self) -> list[Warm]:
        """The kernels that this loop and its engine call."""
        loop, canvas, broadcast = self.arrays, self.engine.canvas.arrays, self.engine.broadcast
        return [
            *stage_kernels(loop, canvas, broadcast),
            Warm("waiting bytes", waiting_bytes, lambda: (loop,)),
            Warm("take arrivals", take_arrivals, lambda: (loop, self._arrivals, 0)),
            Warm("choose offers", choose_offers, lambda: (loop, canvas, broadcast, 0, self._offers)),
            Warm("settle offers", settle_offers, lambda: (loop, broadcast, self._offers, 0, 0)),
            Warm("patrol", patrol_dues, lambda: (loop, canvas, 0, self._offers)),
        ]

    def ring(self) -> None:
        """Call the loop up from any thread."""
        with contextlib.suppress(BlockingIOError):  # The bell is full of rings that it has yet to hear.
            self._bell_rope.send(b"!")

    def post(self, slot: int, data: bytes, now_ns: int) -> None:
        """Send bytes after all that this connection is owed already; end it then when it is `closing`."""
        if data:
            taken = 0 if slot in self._outboxes else self._send_some(slot, data, now_ns)
            if 0 <= taken < len(data):
                self._hold(slot, memoryview(data)[taken:])
        if self.arrays.connections[slot]["closing"]:
            self._flush(slot, now_ns)

    def turn(self, until_ns: int) -> int:
        """Serve until the time or until the rest of the loop is needed. Returns Wake bits."""
        queues = self.arrays.queues[0]
        while True:
            wake = self._run_stages()
            self._sweep()
            now_ns = clock.now_ns()
            if now_ns >= queues["patrol_ns"]:
                self._patrol(now_ns)
                queues["patrol_ns"] = now_ns + PATROL_NS
            if now_ns >= until_ns:
                wake |= Wake.TICK
            if wake == 0 and queues["handover_count"] == 0 and not self._has_backlog():
                timeout_ns = 0 if self._sweep_rest() > 0 else min(until_ns, int(queues["patrol_ns"])) - now_ns
                wake = self._poll(max(0, timeout_ns))
                if wake:
                    wake |= self._run_stages()
            if queues["handover_count"]:
                wake |= Wake.HANDOVER
            if wake:
                return wake

    def _has_backlog(self) -> bool:
        """Whether a stage has left something: then it goes on before anything more is read."""
        queues = self.arrays.queues[0]
        return bool(queues["segment_end"] or queues["message_end"] or queues["placement_end"])

    # Reading.

    def _poll(self, timeout_ns: int) -> int:
        """Wait for sockets, then read and flush them. Returns Wake bits of the listener and the bell."""
        ready = self._selector.select(timeout_ns * 1e-9)
        if not ready:
            return 0
        begun_ns = clock.now_ns()
        wake = 0
        readers: list[tuple[int, socket.socket]] = []
        for key, mask in ready:
            slot = key.data
            if slot >= 0:
                if mask & _WRITE:
                    self._flush(slot, begun_ns)
                if mask & _READ and not (mask & _WRITE and self._is_dead(slot)):
                    readers.append((slot, key.fileobj))  # type: ignore[arg-type]
            else:
                wake |= Wake.ACCEPT if slot == LISTENER else Wake.SIGNAL
        arrivals = list(self._receive(readers))
        self._arrivals[: len(arrivals)] = arrivals
        take_arrivals(self.arrays, self._arrivals, len(arrivals))
        self._note(Stage.READ, len(ready), len(ready), clock.now_ns() - begun_ns)
        return wake

    def _is_dead(self, slot: int) -> bool:
        return bool(self.arrays.connections[slot]["phase"] == Phase.DEAD)

    def _receive(self, readers: list[tuple[int, socket.socket]]) -> Iterator[tuple[int, int, int]]:
        """Receive what sockets have, one after the other into the arena: (slot, start, end) of each that had some.

        Room for a carry stays before each. What does not fit into the arena stays in the sockets.
        """
        arena, position = self._arena, CARRY_BYTES
        last = len(arena) - READ_BYTES_MAX
        for slot, source in readers[:SEGMENTS_MAX]:
            if position > last:
                return
            try:
                count = source.recv_into(arena[position : position + READ_BYTES_MAX])
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:
                count = 0
            if count == 0:
                self._end(slot, Reason.ENDED)
                continue
            yield slot, position, position + count
            position += count + CARRY_BYTES

    # The stages.

    def _run_stages(self) -> int:
        arrays, canvas = self.arrays, self.engine.canvas.arrays
        queues = arrays.queues[0]
        begun_ns = clock.now_ns()
        if queues["segment_end"]:
            depth = waiting_bytes(arrays)
            decode(arrays)
            begun_ns = self._note_since(Stage.DECODE, depth, depth - waiting_bytes(arrays), begun_ns)
        depth = int(queues["message_end"] - queues["message_head"])
        if depth > 0:
            admit(arrays, canvas, begun_ns)
            left = int(queues["message_end"] - queues["message_head"])
            begun_ns = self._note_since(Stage.ADMIT, depth, depth - left, begun_ns)
        depth = int(queues["placement_end"] - queues["placement_head"])
        if queues["placement_end"] == 0:
            return 0
        is_stopped = self._apply_all(begun_ns)
        left = int(queues["placement_end"] - queues["placement_head"])
        self._note_since(Stage.APPLY, depth, depth - left, begun_ns)
        return Wake.SUBSCRIBE if is_stopped else 0

    def _apply_all(self, now_ns: int) -> bool:
        """Apply the placement queue, answering each PING in its place. True when it stands at a SUBSCRIBE."""
        arrays, canvas = self.arrays, self.engine.canvas.arrays
        while (index := apply(arrays, canvas)) >= 0:
            request = arrays.requests[index]
            if request["op"] != ClientOp.PING:
                return True
            slot = int(request["slot"])
            if arrays.connections[slot]["phase"] in (Phase.FAST, Phase.SLOW):
                pong = Pong(int(request["nonce"]), self.engine.tick_number)
                self.post(slot, encode_frame(Opcode.BINARY, pong.encode()), now_ns)
            pass_request(arrays)
        return False

    # Fan-out.

    def _sweep_rest(self) -> int:
        queues = self.arrays.queues[0]
        return int(queues["slot_end"] - queues["fanout_position"])

    def _sweep(self) -> None:
        """One step of the fan-out."""
        depth = self._sweep_rest()
        if depth == 0:
            return
        begun_ns = clock.now_ns()
        canvas, broadcast = self.engine.canvas.arrays, self.engine.broadcast
        count = choose_offers(self.arrays, canvas, broadcast, begun_ns, self._offers)
        if count == 0:
            return
        self._send_offers(count, begun_ns)
        settle_offers(self.arrays, broadcast, self._offers, count, begun_ns)
        self._note_since(Stage.FANOUT, depth, count, begun_ns)

    def _send_offers(self, count: int, now_ns: int) -> None:
        """Offer each frame to its socket, noting how much that took; the rest of one once begun is held."""
        clients, taken = self.desk.clients, []
        frame_key, frame = (-1, -1, -1), memoryview(b"")
        for slot, source, start, end, _pixels, _taken in self._offers[:count].tolist():
            if frame_key != (source, start, end):  # Mostly it is the one that all share.
                frame_key, frame = (source, start, end), self._sources[source][start:end]
            try:
                sent = clients[slot].socket.send(frame)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._end(slot, Reason.ENDED)
                sent = -1
            if 0 < sent < end - start:
                self._hold(slot, frame[sent:])
            taken.append(sent)
        self._offers["taken"][:count] = taken

    def _patrol(self, now_ns: int) -> None:
        count = patrol_dues(self.arrays, self.engine.canvas.arrays, now_ns, self._offers)
        for slot, _source, start, end, _pixels, _taken in self._offers[:count].tolist():
            self.post(slot, self._sources[Source.OWN][start:end].tobytes(), now_ns)

    # Sending, and what sockets did not take.

    def _send_some(self, slot: int, data: bytes | bytearray, now_ns: int) -> int:
        """Offer bytes to the socket. Returns how many it took; -1 when the connection is over."""
        row, counts = self.arrays.connections[slot], self.arrays.counts[0]
        if row["phase"] in (Phase.DEAD, Phase.FREE):
            return -1
        counts["send_count"] += 1
        try:
            taken = self.desk.clients[slot].socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._end(slot, Reason.ENDED)
            return -1
        row["progress_ns"] = now_ns
        counts["sent_bytes"] += taken
        return taken

    def _hold(self, slot: int, rest: memoryview) -> None:
        """Append to the outbox what the socket did not take."""
        outbox = self._outboxes.setdefault(slot, bytearray())
        outbox += rest
        self.arrays.counts[0]["outbox_bytes"] += len(rest)
        self._settle(slot, len(outbox))

    def _flush(self, slot: int, now_ns: int) -> None:
        """Send what the outbox holds, as far as the socket takes it. Ends a connection that was to be closed then."""
        outbox = self._outboxes.get(slot)
        if outbox is not None:
            taken = self._send_some(slot, outbox, now_ns)
            if taken < 0:
                return
            del outbox[:taken]
            self.arrays.counts[0]["outbox_bytes"] -= taken
            if not outbox:
                del self._outboxes[slot]
            self._settle(slot, len(outbox))
        if self.arrays.connections[slot]["closing"] and slot not in self._outboxes:
            self._end(slot, Reason.FLUSHED)

    def _settle(self, slot: int, held: int) -> None:
        """Ask for writability, and stop or resume reading, as the water marks say."""
        row = self.arrays.connections[slot]
        row["outbox_end"] = held
        armed = held > 0
        paused = held > HELD_BYTES_MAX or (bool(row["reading_paused"]) and held > HELD_BYTES_RESUME)
        if (armed, paused) != (bool(row["writable_armed"]), bool(row["reading_paused"])):
            row["writable_armed"], row["reading_paused"] = armed, paused
            interest = (0 if paused else _READ) | (_WRITE if armed else 0)
            self._selector.modify(self.desk.clients[slot].socket, interest, slot)

    def _end(self, slot: int, reason: Reason) -> None:
        """The stream is over: nothing more is read or sent, and the desk is told once."""
        row = self.arrays.connections[slot]
        if row["phase"] not in (Phase.DEAD, Phase.FREE):
            row["phase"] = Phase.DEAD
            self.arrays.counts[0]["subscriber_count"] -= row["subscribed"]
            row["subscribed"] = 0
            self._forget_outbox(slot)
            hand_over(self.arrays, slot, 0, 0, reason)

    def _forget_outbox(self, slot: int) -> None:
        self.arrays.counts[0]["outbox_bytes"] -= len(self._outboxes.pop(slot, b""))
        self.arrays.connections[slot]["outbox_end"] = 0

    # What it watches, and what it tells.

    def _watch(self, watched: socket.socket, mark: int) -> None:
        self._selector.register(watched, _READ, mark)

    def _unwatch(self, watched: socket.socket) -> None:
        self._selector.unregister(watched)

    def _silence(self) -> None:
        self._bell.recv(4096)

    def _close(self) -> None:
        self._selector.close()
        self._bell.close()
        self._bell_rope.close()

    def _note_since(self, stage: Stage, depth: int, items: int, begun_ns: int) -> int:
        """Add one batch that ends now to a stage's row. Returns the time."""
        now_ns = clock.now_ns()
        self._note(stage, depth, items, now_ns - begun_ns)
        return now_ns

    def _note(self, stage: Stage, depth: int, items: int, busy_ns: int) -> None:
        """Add one batch to a stage's row of the telemetry page."""
        row = self.arrays.stages[stage]
        row["busy_ns"] += busy_ns
        row["batch_count"] += 1
        row["item_count"] += items
        row["depth"] = depth
        row["depth_sum"] += depth
        row["depth_peak"] = max(row["depth_peak"], depth)
