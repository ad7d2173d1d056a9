"""The portable loop: `selectors` and the standard library's sockets around the same compiled stages as the native one.

It is for systems without epoll, and a twin to test the native loop against: kernels make the same decisions for both.
The cost in Python is one call per ready socket; all else is done in batches.
"""

import contextlib
import selectors
import socket
from collections.abc import Iterator

import numpy as np

from server.engine.engine import Engine
from server.kernels.arrays import SEGMENTS_MAX, CanvasArrays
from server.kernels.brake import held_until, is_resting, rest, step_items, take_up
from server.kernels.decode import hand_over, waiting_bytes
from server.kernels.due_frames import choose_offers, patrol_dues, settle_offers, take_arrivals
from server.kernels.journey import note_admitted, note_applied, note_decoded, note_reads, note_sent
from server.kernels.kernel import Warm
from server.kernels.layout import (
    ARRIVAL,
    CARRY_BYTES,
    HELD_BYTES_MAX,
    HELD_BYTES_RESUME,
    LISTENER,
    OFFER,
    PATROL_NS,
    READ_BYTES_MAX,
    SENDS_A_STEP,
    WAKEUP,
    Phase,
    Reason,
    Source,
    Stage,
    Wake,
)
from server.kernels.queues import make_arena_room
from server.loops.loop import Loop
from server.loops.stages import Stages, stage_kernels
from server.protocol.messages import Pong
from server.protocol.websocket import encode_frame
from server.system import clock
from server.wire import Opcode

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
NAP_NS = 2_000_000
"""Longest sleep while a stage is held back: sockets, tick and wake-up are looked at in between."""


class PortableLoop(Loop):
    """A loop in Python that calls the compiled stages."""

    def __init__(self, engine: Engine, slots: int, descriptors: int) -> None:
        super().__init__(engine, slots, descriptors)
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_sender = socket.socketpair()
        self._wakeup.setblocking(False)
        self._wakeup_sender.setblocking(False)
        self._selector.register(self._wakeup, _READ, WAKEUP)
        self._outboxes: dict[int, bytearray] = {}
        self._stages = Stages(self.arrays, self._pong)
        self._arena = self.arrays.arena.data
        self._arrivals = np.zeros(SEGMENTS_MAX, ARRIVAL)
        self._offers = np.zeros(SENDS_A_STEP, OFFER)
        self._sources = {
            Source.SHARED: engine.broadcast.bytes.data,
            Source.CONFLATED: self.arrays.conflated.data,
            Source.OWN: self.arrays.scratch.data,
        }

    def warms(self) -> list[Warm]:
        loop, canvas, broadcast = self.arrays, self.engine.canvas.arrays, self.engine.broadcast
        return [
            *stage_kernels(loop, canvas, broadcast),
            Warm("waiting bytes", waiting_bytes, lambda: (loop,)),
            Warm("note reads", note_reads, lambda: (loop, canvas, 0, 0)),
            Warm("note decoded", note_decoded, lambda: (loop, 0)),
            Warm("note admitted", note_admitted, lambda: (loop, 0)),
            Warm("note applied", note_applied, lambda: (loop, canvas, 0)),
            Warm("note sent", note_sent, lambda: (loop, canvas, 0)),
            Warm("take arrivals", take_arrivals, lambda: (loop, self._arrivals, 0)),
            Warm("choose offers", choose_offers, lambda: (loop, canvas, broadcast, 0, self._offers)),
            Warm("settle offers", settle_offers, lambda: (loop, broadcast, self._offers, 0, 0)),
            Warm("patrol", patrol_dues, lambda: (loop, canvas, 0, self._offers)),
        ]

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # It is full of wake-ups that are yet to be read.
            self._wakeup_sender.send(b"!")

    def post(self, slot: int, data: bytes, now_ns: int) -> None:
        if data:
            # Never past bytes that wait already.
            taken = 0 if slot in self._outboxes else self._send_some(slot, data, now_ns)
            if 0 <= taken < len(data):
                self._hold(slot, memoryview(data)[taken:])
        if self.arrays.connections[slot]["closing"]:
            self._flush(slot, now_ns)

    def turn(self, until_ns: int) -> int:
        queues = self.arrays.queues[0]
        while True:
            wake = self._run_stages(self.engine.canvas.arrays)
            self._sweep()
            now_ns = clock.now_ns()
            if now_ns >= queues["patrol_ns"]:
                self._patrol(now_ns)
                queues["patrol_ns"] = now_ns + PATROL_NS
            if now_ns >= until_ns:
                wake |= Wake.TICK
            held_ns = held_until(self.arrays, now_ns)
            # Handovers refer to positions in the arena, so nothing is read before they are answered.
            if wake == 0 and queues["handover_count"] == 0 and (held_ns > 0 or not self._has_backlog()):
                wake = self._poll(self._idle_ns(until_ns, now_ns, held_ns))
                if wake:
                    wake |= self._run_stages(self.engine.canvas.arrays)
            if queues["handover_count"]:
                wake |= Wake.HANDOVER
            if wake:
                return wake

    def _has_backlog(self) -> bool:
        """Whether a stage has left something. Unless a brake holds it, that is served before more is read."""
        queues = self.arrays.queues[0]
        return bool(queues["segment_end"] or queues["message_end"] or queues["placement_end"])

    def _idle_ns(self, until_ns: int, now_ns: int, held_ns: int) -> int:
        """How long to wait for sockets, as there is nothing else to do."""
        end_ns = min(until_ns, int(self.arrays.queues[0]["patrol_ns"]))
        if held_ns:
            end_ns = min(end_ns, held_ns)
        if self._sweep_rest() > 0 and not is_resting(self.arrays, Stage.FANOUT, now_ns):
            end_ns = now_ns
        return max(0, end_ns - now_ns)

    # Reading.

    def _poll(self, timeout_ns: int) -> int:
        """Wait for sockets, then read and flush them. Returns Wake bits of the listener and the wake-up."""
        is_roomy = make_arena_room(self.arrays)
        ready = self._select(timeout_ns)
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
        self._read(readers if is_roomy else [], len(ready), begun_ns)
        return wake

    def _select(self, timeout_ns: int) -> list[tuple[selectors.SelectorKey, int]]:
        brake = self.engine.canvas.arrays.brakes[Stage.READ]
        # While a stage is held back, more sockets are ready than may be read, and waiting for them would not wait.
        is_full_up = brake["item_ns"] or brake["batch_ns"] or self._has_backlog()
        if is_full_up and timeout_ns and held_until(self.arrays, clock.now_ns()):
            clock.wait_s(min(timeout_ns, NAP_NS) * 1e-9)
            timeout_ns = 0
        return self._selector.select(timeout_ns * 1e-9)

    def _read(self, readers: list[tuple[int, socket.socket]], depth: int, now_ns: int) -> None:
        """Read as many of the ready sockets as the brake allows."""
        arrays = self.arrays
        allowed = take_up(arrays, self.engine.canvas.arrays, Stage.READ, depth, now_ns) if readers else 0
        if allowed == 0:
            self._stages.look(Stage.READ, depth)
            return
        # To be fair, the first of the ready sockets is another one each time.
        first = int(arrays.queues[0]["read_first"]) % len(readers)
        arrivals = list(self._receive(readers[first:] + readers[:first], allowed))
        self._arrivals[: len(arrivals)] = arrivals
        segment = int(arrays.queues[0]["segment_end"])
        take_arrivals(arrays, self._arrivals, len(arrivals))
        if self.engine.is_following:
            note_reads(arrays, self.engine.canvas.arrays, segment, clock.now_ns())
        if arrivals:
            arrays.queues[0]["arena_end"] = arrivals[-1][2]
        arrays.queues[0]["read_first"] += len(arrivals)
        self._stages.note(Stage.READ, depth, len(arrivals), clock.now_ns() - now_ns)

    def _is_dead(self, slot: int) -> bool:
        return bool(self.arrays.connections[slot]["phase"] == Phase.DEAD)

    def _receive(self, readers: list[tuple[int, socket.socket]], reads_max: int) -> Iterator[tuple[int, int, int]]:
        """Receive what sockets have, into the arena: (slot, start, end) of each that had bytes.

        What does not fit into the arena stays in the sockets, and so does the input of a connection whose earlier bytes
        are still in the arena.
        """
        queues, in_arena = self.arrays.queues[0], self.arrays.connections["in_arena"]
        arena, position = self._arena, int(queues["arena_end"]) + CARRY_BYTES
        last = len(arena) - READ_BYTES_MAX
        segments_left = SEGMENTS_MAX - int(queues["segment_end"])
        for slot, source in readers:
            if position > last or segments_left == 0 or reads_max == 0:
                return
            if in_arena[slot]:
                continue
            reads_max -= 1
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
            position += count + CARRY_BYTES  # The next segment begins with its connection's carry.
            segments_left -= 1

    def _run_stages(self, canvas: CanvasArrays) -> int:
        return self._stages.run(canvas)

    def _pong(self, slot: int, nonce: int, now_ns: int) -> None:
        """Answer a PING, unless its connection is over."""
        if self.arrays.connections[slot]["phase"] in (Phase.FAST, Phase.SLOW):
            pong = Pong(nonce, self.engine.tick_number)
            self.post(slot, encode_frame(Opcode.BINARY, pong.encode()), now_ns)

    # Fan-out.

    def _sweep_rest(self) -> int:
        queues = self.arrays.queues[0]
        return int(queues["slot_end"] - queues["fanout_position"])

    def _sweep(self) -> None:
        depth = min(self._sweep_rest(), int(self.arrays.counts[0]["subscriber_count"]))
        if self._sweep_rest() == 0:
            return
        begun_ns = clock.now_ns()
        if is_resting(self.arrays, Stage.FANOUT, begun_ns):
            self._stages.look(Stage.FANOUT, depth)
            return
        canvas, broadcast = self.engine.canvas.arrays, self.engine.broadcast
        offers = self._offers[: step_items(canvas, Stage.FANOUT, SENDS_A_STEP)]
        count = choose_offers(self.arrays, canvas, broadcast, begun_ns, offers)
        if count == 0:
            return
        self._send_offers(count, begun_ns)
        settle_offers(self.arrays, broadcast, self._offers, count, begun_ns)
        if self.engine.is_following:
            note_sent(self.arrays, canvas, begun_ns)
        now_ns = clock.now_ns()
        self._stages.note(Stage.FANOUT, depth, count, now_ns - begun_ns)
        rest(self.arrays, canvas, Stage.FANOUT, count, self._sweep_rest(), now_ns)

    def _send_offers(self, count: int, now_ns: int) -> None:
        """Offer each frame to its socket, and note how much it took. The rest of a frame that was begun is held."""
        clients, taken = self.slow_path.clients, []
        frame_key, frame = (-1, -1, -1), memoryview(b"")
        for slot, source, start, end, _pixels, _taken in self._offers[:count].tolist():
            if frame_key != (source, start, end):  # Nearly always it is the shared one.
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
            taken = self.slow_path.clients[slot].socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._end(slot, Reason.ENDED)
            return -1
        row["progress_ns"] = now_ns
        row["sent_bytes"] += taken
        counts["sent_bytes"] += taken
        return taken

    def _hold(self, slot: int, rest: memoryview) -> None:
        """Append to the outbox what the socket did not take."""
        outbox = self._outboxes.setdefault(slot, bytearray())
        outbox += rest
        self.arrays.counts[0]["outbox_bytes"] += len(rest)
        self._settle(slot, len(outbox))

    def _flush(self, slot: int, now_ns: int) -> None:
        """Send what the outbox holds, as far as the socket takes it. Then end a connection that is `closing`."""
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
        row["outbox_end"] = held  # So that kernels see what the connection is owed.
        armed = held > 0
        paused = held > HELD_BYTES_MAX or (bool(row["reading_paused"]) and held > HELD_BYTES_RESUME)
        if (armed, paused) != (bool(row["writable_armed"]), bool(row["reading_paused"])):
            row["writable_armed"], row["reading_paused"] = armed, paused
            interest = (0 if paused else _READ) | (_WRITE if armed else 0)
            self._selector.modify(self.slow_path.clients[slot].socket, interest, slot)

    def _end(self, slot: int, reason: Reason) -> None:
        """End the stream: nothing more is read or sent, and one handover tells the slow path."""
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

    def _watch(self, watched: socket.socket, mark: int) -> None:
        self._selector.register(watched, _READ, mark)

    def _unwatch(self, watched: socket.socket) -> None:
        self._selector.unregister(watched)

    def _clear_wakeup(self) -> None:
        self._wakeup.recv(4096)

    def _close(self) -> None:
        self._selector.close()
        self._wakeup.close()
        self._wakeup_sender.close()
