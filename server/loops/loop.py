"""What the loops over sockets have in common: slots, accepting, the slow path, and the work from tick to tick.

A loop owns its sockets, its arrays and its slow path; nothing else touches them. Other threads may only `wake` it and
leave sockets in `inbox`. How bytes come in and go out is for the classes that derive from `Loop`.
"""

import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

import numpy as np

from server.accept.address_limits import AddressLimits, Refusal, turn_away
from server.accept.listener import NO_FILE_NS, NoFileLeft, accept_next, count_backlog
from server.engine.canvas import encode_snapshot
from server.engine.engine import Engine, look, note, use_slot
from server.engine.invariants import check_connections
from server.kernels.apply import pass_request
from server.kernels.arrays import CanvasArrays, LoopArrays
from server.kernels.brake import is_resting, rest, step_items
from server.kernels.decode import hand_over
from server.kernels.due_frames import sweep_rest
from server.kernels.kernel import Warm
from server.kernels.layout import CONNECTION, HELD_BYTES_MAX, LISTENER, Phase, Reason, Stage, Wake
from server.loops.slow_path import SlowPath
from server.protocol.websocket import CloseCode, encode_frame
from server.system import checks, clock
from server.web.routes import CANVAS_PATH
from server.wire import Opcode

# Sockets accepted before the others are served again.
ACCEPTS_A_STEP = 64
# Snapshots of the whole canvas that one outbox may hold. A single read can bring hundreds of SUBSCRIBEs, each of which
# is answered by one.
SNAPSHOTS_HELD_MAX = 4
# How often deadlines of the slow path are looked at.
TIMER_NS = 100_000_000
# How soon the next part of compressed messages is taken. Sockets are looked at in between.
INFLATING_NS = 1_000_000
# How often connections are looked at that wait for their last answers before they are closed.
ENDING_NS = 10_000_000


class Loop(ABC):
    """One loop, a thread's whole work: `serve` until the tick is due, again and again."""

    def __init__(self, engine: Engine, slots: int, descriptors: int) -> None:
        self.engine = engine
        self.arrays: LoopArrays = engine.new_loop(slots, descriptors)
        self.slow_path = SlowPath(engine, self.arrays, self)
        self.inbox: deque[socket.socket] = deque()
        self._free = list(range(slots - 1, -1, -1))
        self._leaving: list[int] = []  # Slots whose connection is gone, while queues may still name them.
        self._leaving_ns = 0  # When to look at them again.
        canvas = engine.canvas.arrays
        self._unbraked = canvas._replace(brakes=np.zeros_like(canvas.brakes))
        self._accept_rests = False
        self._listener: socket.socket | None = None
        self._hand_out: Callable[[socket.socket], None] = self.inbox.append
        self._addresses = AddressLimits(engine.config)

    @property
    def client_count(self) -> int:
        """Sockets it owns."""
        return len(self.slow_path.clients) + len(self.inbox)

    def listen(self, listener: socket.socket, hand_out: Callable[[socket.socket], None]) -> None:
        """Accept from `listener` from now on; `hand_out` gives each socket to the loop that is to own it."""
        self._listener = listener
        self._hand_out = hand_out
        self._watch(listener, LISTENER)

    def stop_listening(self) -> None:
        """Accept no more."""
        if self._listener is not None and not self._accept_rests:
            self._unwatch(self._listener)
        self._listener, self._accept_rests = None, False

    def serve(self) -> int:
        """Serve until the tick is due. Returns the time then, in nanoseconds."""
        engine = self.engine
        while True:
            now_ns = clock.now_ns()
            until_ns = 0 if engine.is_hurried else engine.next_tick_ns
            if self.slow_path.waiting:
                until_ns = min(until_ns, now_ns + TIMER_NS)
            if self.slow_path.ending or self.slow_path.postponed:
                until_ns = min(until_ns, now_ns + (INFLATING_NS if self.slow_path.can_go_on else ENDING_NS))
            if self._accept_rests:
                until_ns = min(until_ns, int(self.arrays.holds[Stage.ACCEPT]["until_ns"]))
            # A time in the past makes `turn` look once at all its work and return.
            wake = self.turn(until_ns)
            now_ns = clock.now_ns()
            if wake & ~Wake.TICK:
                self._attend(wake, now_ns)
            self._go_on(now_ns)
            if engine.is_ending:
                self.drain_queues(now_ns)  # It may be the last tick: what was read is to be in it.
            if engine.is_hurried or now_ns >= engine.next_tick_ns:
                self._note_limits()
                if checks.ARE_THOROUGH:
                    self._check()
                return now_ns

    def _check(self) -> None:
        """Each slot is free, in use or about to be free, and the counters are those of the rows."""
        slots = [*self._free, *self._leaving, *self.slow_path.clients]
        assert len(slots) == len(set(slots)) == len(self.arrays.connections), "a slot is lost, or named twice"
        check_connections(self.arrays, self.engine.shown.tick)

    def close_clients(self, now_ns: int) -> None:
        """Begin the close handshake of every connection, once it was offered the last broadcast."""
        # The last tick holds all that was accepted, and is to be offered to every viewer.
        while sweep_rest(self.arrays) > 0:
            self._sweep()
        for slot in list(self.slow_path.clients):
            self.slow_path.close(slot, CloseCode.GOING_AWAY, "the server stops", now_ns)

    def reset_clients(self, now_ns: int) -> None:
        """Reset every connection at once, without a close frame, as a network fault would."""
        for slot in list(self.slow_path.clients):
            self.slow_path.reset(slot)

    def notify(self, message: bytes, now_ns: int) -> None:
        """Send a message to all connections of the canvas. Called while no loop runs."""
        for slot, client in list(self.slow_path.clients.items()):
            is_alive = self.arrays.connections[slot]["phase"] in (Phase.FAST, Phase.SLOW)
            if client.route == CANVAS_PATH and is_alive and client.connection.can_send:
                self.post(slot, encode_frame(Opcode.BINARY, message), now_ns)

    def release(self) -> None:
        """Close every socket that is left, and the loop's own descriptors."""
        for slot in list(self.slow_path.clients):
            self.slow_path.drop(slot)
        while self.inbox:
            self.inbox.popleft().close()
        self.slow_path.png_worker.close()
        self._close()

    # What each kind of loop does in its own way.

    @abstractmethod
    def warms(self) -> list[Warm]:
        """The kernels that this loop and its engine call."""

    @abstractmethod
    def wake(self) -> None:
        """Make `turn` return soon. May be called from any thread."""

    @abstractmethod
    def post(self, slot: int, data: bytes, now_ns: int) -> None:
        """Send bytes after all that this connection is owed already; then end it if it is `closing`."""

    @abstractmethod
    def turn(self, until_ns: int) -> int:
        """Read, run the stages and send, until `until_ns` or until Python is needed. Returns Wake bits."""

    @abstractmethod
    def _run_stages(self, canvas: CanvasArrays) -> int:
        """Decode, admit and apply what was read, as far as brakes allow, up to a SUBSCRIBE. Returns Wake bits."""

    @abstractmethod
    def _sweep(self) -> None:
        """One step of the fan-out."""

    @abstractmethod
    def _watch(self, watched: socket.socket, mark: int) -> None:
        """Wait for input there, too. `mark`: its slot, LISTENER or WAKEUP."""

    @abstractmethod
    def _unwatch(self, watched: socket.socket) -> None:
        """No longer wait for input there."""

    @abstractmethod
    def _forget_outbox(self, slot: int) -> None:
        """Drop what a connection is still owed."""

    @abstractmethod
    def _clear_wakeup(self) -> None:
        """Clear the signal that `wake` has set."""

    @abstractmethod
    def _close(self) -> None:
        """Close the loop's own descriptors."""

    # What the slow path asks of its loop, beside `post`.

    def drain_queues(self, now_ns: int) -> None:
        """Serve all that was read, without brakes."""
        queues = self.arrays.queues[0]
        while queues["segment_end"] or queues["message_end"] or queues["placement_end"] or self.slow_path.postponed:
            if self._run_stages(self._unbraked) & Wake.SUBSCRIBE:
                self._subscribe(now_ns)
            self.slow_path.resume(now_ns)

    def owes_answers(self, slot: int) -> bool:
        """Whether requests of this connection still wait in the queues."""
        # Only requests have answers; they are few, so this looks at all of them.
        queues, requests = self.arrays.queues[0], self.arrays.requests
        waiting = np.arange(queues["request_head"], queues["request_end"]) % len(requests)
        return bool((requests["slot"][waiting] == slot).any())

    def discard(self, slot: int, client_socket: socket.socket) -> None:
        """Close the socket, and free its slot once what it sent is served."""
        self._unwatch(client_socket)
        client_socket.close()
        self._forget_outbox(slot)
        self.arrays.connections[slot]["phase"] = Phase.DEAD
        self._leaving.append(slot)  # What it sent would count for the next connection in the slot.

    # What `turn` returned for.

    def _attend(self, wake: int, now_ns: int) -> None:
        if wake & Wake.SIGNAL:
            self._clear_wakeup()
            while self.inbox:
                self._adopt(self.inbox.popleft(), now_ns)
        if wake & Wake.SUBSCRIBE:
            self._subscribe(now_ns)
            self._serve_stages(now_ns)  # Before what was handed over, which came after it.
        if wake & Wake.HANDOVER:
            self._take_handovers(now_ns)
        if wake & Wake.ACCEPT and self._listener is not None:
            self._accept(self._listener, now_ns)
        note(self.arrays.stages[Stage.ACCEPT], self._handshakes_waiting(), 0, clock.now_ns() - now_ns)

    def _go_on(self, now_ns: int) -> None:
        """Work that no socket triggers: pictures, deadlines, last answers, slots, and a listener that rests."""
        self.slow_path.hand_out_pictures(now_ns)
        if self.slow_path.waiting:
            self.slow_path.on_timers(now_ns)
        if self.slow_path.ending or self.slow_path.postponed:
            self._serve_stages(now_ns)
            self.slow_path.resume(now_ns)
            self.slow_path.end_answered(now_ns)
        if self._leaving and now_ns >= self._leaving_ns:
            self._free_slots(now_ns)
        if self._accept_rests and not is_resting(self.arrays, Stage.ACCEPT, now_ns) and self._listener is not None:
            self._accept_rests = False
            self._watch(self._listener, LISTENER)

    def _serve_stages(self, now_ns: int) -> None:
        """Run the stages as far as brakes allow, and answer each SUBSCRIBE in order."""
        while self._run_stages(self.engine.canvas.arrays) & Wake.SUBSCRIBE:
            self._subscribe(now_ns)

    def _free_slots(self, now_ns: int) -> None:
        """Free the slots that no queue names any more."""
        arrays, queues = self.arrays, self.arrays.queues[0]
        is_named = np.zeros(len(arrays.connections), bool)
        is_named[arrays.segments["slot"][queues["segment_head"] : queues["segment_end"]]] = True
        is_named[arrays.messages["slot"][queues["message_head"] : queues["message_end"]]] = True
        is_named[arrays.placements["slot"][queues["placement_head"] : queues["placement_end"]]] = True
        is_named[arrays.handovers["slot"][: queues["handover_count"]]] = True
        kept = []
        for slot in self._leaving:
            if is_named[slot]:
                kept.append(slot)
            else:
                arrays.connections[slot] = np.zeros((), CONNECTION)
                self._free.append(slot)
        self._leaving = kept
        self._leaving_ns = now_ns + ENDING_NS if kept else 0

    def _note_limits(self) -> None:
        """Write what this thread has cost, and the limits of the queues that grow with the number of connections."""
        counts, stages = self.arrays.counts[0], self.arrays.stages
        counts["cpu_ns"] = clock.thread_cpu_ns()
        stages[Stage.READ]["depth_max"] = max(1, len(self.slow_path.clients))
        stages[Stage.FANOUT]["depth_max"] = max(1, counts["subscriber_count"])
        if self._accept_rests:
            look(stages[Stage.ACCEPT], self._handshakes_waiting())

    def _handshakes_waiting(self) -> int:
        """Handshakes under way; while the listener rests, also connections in the system's backlog."""
        unseen = count_backlog(self._listener) if self._accept_rests and self._listener is not None else 0
        return unseen + len(self.slow_path.waiting)

    def _accept(self, listener: socket.socket, now_ns: int) -> None:
        canvas = self.engine.canvas.arrays
        accepted_count, has_files = 0, True
        accepts_max = step_items(canvas, Stage.ACCEPT, ACCEPTS_A_STEP)
        for _ in range(accepts_max):
            try:
                accepted = accept_next(listener)
            except NoFileLeft:
                has_files = False
                break
            if accepted is None:
                break
            accepted_count += 1
            taken = self._addresses.take_in(*accepted, now_ns)
            if isinstance(taken, Refusal):
                self.arrays.counts[0][taken.counter] += 1
                turn_away(accepted[0], b"" if self.engine.config.has_tls else taken.answer)
            else:
                self._hand_out(taken)
        while self.inbox:
            self._adopt(self.inbox.popleft(), now_ns)
        if accepted_count:
            left = int(accepted_count == accepts_max)  # The listener does not say how many more wait.
            rest(self.arrays, canvas, Stage.ACCEPT, accepted_count, left, now_ns)
        if not has_files:
            hold = self.arrays.holds[Stage.ACCEPT]
            hold["until_ns"] = max(int(hold["until_ns"]), now_ns + NO_FILE_NS)
        if is_resting(self.arrays, Stage.ACCEPT, now_ns):
            # While it rests, connections wait in the system's backlog: that is the queue of this stage.
            self._accept_rests = True
            self._unwatch(listener)

    def _adopt(self, accepted: socket.socket, now_ns: int) -> None:
        descriptor = accepted.fileno()
        # Other files of the process may have taken low numbers, so that a descriptor is beyond the table.
        if not self._free or descriptor >= len(self.arrays.slot_of_fd):
            accepted.close()
            self.arrays.counts[0]["closed_count"] += 1
            return
        slot = self._free.pop()
        use_slot(self.arrays, slot)
        self.arrays.connections[slot]["fd"] = descriptor
        self.slow_path.welcome(slot, accepted, now_ns)
        self._watch(accepted, slot)
        self.arrays.counts[0]["accepted_count"] += 1
        self.arrays.stages[Stage.ACCEPT]["item_count"] += 1

    def _take_handovers(self, now_ns: int) -> None:
        """Answer all that was handed over, before anything more is read: the arena holds it until then."""
        queues, slow_path = self.arrays.queues[0], self.slow_path
        position = 0
        while position < queues["handover_count"]:  # An answer may hand over more, behind the rest.
            slot, start, end, reason = self.arrays.handovers[position].tolist()
            position += 1
            if slot not in slow_path.clients:
                continue  # It ended earlier in this batch.
            if reason == Reason.BYTES:
                slow_path.receive(slot, self.arrays.arena[start:end].tobytes(), now_ns)
            elif reason == Reason.ENDED:
                slow_path.ended(slot, now_ns)
            elif reason == Reason.FLUSHED:
                slow_path.flushed(slot)
            elif reason == Reason.STALLED:
                slow_path.evict(slot, CloseCode.TRY_AGAIN_LATER, "takes no bytes", now_ns)
            else:
                slow_path.evict(slot, CloseCode.POLICY_VIOLATION, "over the rate limit for too long", now_ns)
        queues["handover_count"] = 0

    def _subscribe(self, now_ns: int) -> None:
        """Answer the SUBSCRIBE at which the placement queue stands."""
        placement = self.arrays.placements[self.arrays.queues[0]["placement_head"]]
        slot, index = int(placement["slot"]), int(placement["index"])
        is_alive = slot in self.slow_path.clients and self.slow_path.clients[slot].connection.can_send
        if is_alive and not self._holds_enough(slot):
            answer = self.engine.subscribe(self.arrays, index, now_ns)
            if answer is not None:
                frame = self.slow_path.clients[slot].connection.encode_binary(encode_snapshot(answer))
                self.post(slot, frame, now_ns)
        pass_request(self.arrays)

    def _holds_enough(self, slot: int) -> bool:
        """True when a connection is over; it is ended here when it asks for snapshots and takes none of them."""
        row = self.arrays.connections[slot]
        held = int(row["outbox_end"] - row["outbox_start"])
        is_over = bool(row["phase"] == Phase.DEAD)
        if is_over or held <= HELD_BYTES_MAX + SNAPSHOTS_HELD_MAX * len(self.engine.canvas.arrays.pixels):
            return is_over
        # Reset by the slow path as stalled: it would not read a close frame either.
        row["phase"] = Phase.DEAD
        self.arrays.counts[0]["subscriber_count"] -= row["subscribed"]
        row["subscribed"] = 0
        hand_over(self.arrays, slot, 0, 0, Reason.STALLED)
        return True
