"""What every loop that stands on the compiled stages has in common: its slots, its desk, its life from tick to tick.

A loop owns its sockets, its arrays and its desk; nothing else touches them. Other threads may only `ring` it and leave
sockets in `inbox`. How bytes come in and go out is for the loops that derive from this one. Invariants: what was handed
over is answered before anything more is read, so the arena still holds it; a slot goes to another connection only when
no queue names it any more.
"""

import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

import numpy as np

from server.accept.address_limits import AddressLimits, Refusal, turn_away
from server.accept.listener import NO_FILE_NS, NoFileLeft, accept_next, count_backlog
from server.engine.engine import Engine, use_slot
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

ACCEPTS_A_STEP = 64
"""Sockets taken in before others are served again."""
SNAPSHOT_COMPRESS_BYTES = 32 * 1024
"""Smaller snapshots go as they are: compressing costs more than their bytes do."""
SNAPSHOTS_HELD_MAX = 4
"""Pictures of the whole canvas that one outbox may hold. A single read brings hundreds of SUBSCRIBEs: without a limit
they would hold as many pictures."""
TIMER_NS = 100_000_000
"""How often deadlines of the slow path are looked at."""
INFLATING_NS = 1_000_000
"""How soon a connection that has more already is gone on with. Sockets are looked at in between."""
ENDING_NS = 10_000_000
"""How often those are looked at who wait for their last answers before they are closed."""


class Loop(ABC):
    """One loop, a thread's whole work: `serve` until the tick is due, again and again."""

    def __init__(self, engine: Engine, slots: int, descriptors: int) -> None:
        self.engine = engine
        self.arrays: LoopArrays = engine.new_loop(slots, descriptors)
        self.desk = SlowPath(engine, self.arrays, self)
        self.inbox: deque[socket.socket] = deque()
        self._free = list(range(slots - 1, -1, -1))
        self._leaving: list[int] = []
        """Slots whose connection is gone, but perhaps not all that it sent."""
        self._leaving_ns = 0
        """They are not looked at before this."""
        canvas = engine.canvas.arrays
        self._unbraked = canvas._replace(brakes=np.zeros_like(canvas.brakes))
        self._accept_rests = False
        self._listener: socket.socket | None = None
        self._hand_out: Callable[[socket.socket], None] = self.inbox.append
        self._addresses = AddressLimits(engine.config)

    @property
    def client_count(self) -> int:
        """Sockets it owns."""
        return len(self.desk.clients) + len(self.inbox)

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
            if self.desk.waiting:
                until_ns = min(until_ns, now_ns + TIMER_NS)
            if self.desk.ending or self.desk.postponed:
                until_ns = min(until_ns, now_ns + (INFLATING_NS if self.desk.can_go_on else ENDING_NS))
            if self._accept_rests:
                until_ns = min(until_ns, int(self.arrays.holds[Stage.ACCEPT]["until_ns"]))
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
        slots = [*self._free, *self._leaving, *self.desk.clients]
        assert len(slots) == len(set(slots)) == len(self.arrays.connections), "a slot is lost, or named twice"
        check_connections(self.arrays, self.engine.shown.tick)

    def close_clients(self, now_ns: int) -> None:
        """Begin to close every connection, politely, once it was offered the last broadcast."""
        while sweep_rest(self.arrays) > 0:
            self._sweep()
        for slot in list(self.desk.clients):
            self.desk.close(slot, CloseCode.GOING_AWAY, "the server stops", now_ns)

    def reset_clients(self, now_ns: int) -> None:
        """Reset every connection at once, as a fault would: it sends nothing more, not even a goodbye."""
        for slot in list(self.desk.clients):
            self.desk.reset(slot)

    def tell(self, message: bytes, now_ns: int) -> None:
        """Send a message to everybody on the canvas. Called while no loop runs."""
        for slot, client in list(self.desk.clients.items()):
            is_heard = self.arrays.connections[slot]["phase"] in (Phase.FAST, Phase.SLOW)
            if client.route == CANVAS_PATH and is_heard and client.connection.can_send:
                self.post(slot, encode_frame(Opcode.BINARY, message), now_ns)

    def release(self) -> None:
        """Close every socket that is left, and the loop's own descriptors."""
        for slot in list(self.desk.clients):
            self.desk.drop(slot)
        while self.inbox:
            self.inbox.popleft().close()
        self.desk.darkroom.close()
        self._close()

    # What differs from loop to loop.

    @abstractmethod
    def warms(self) -> list[Warm]:
        """The kernels that this loop and its engine call."""

    @abstractmethod
    def ring(self) -> None:
        """Call the loop up from any thread."""

    @abstractmethod
    def post(self, slot: int, data: bytes, now_ns: int) -> None:
        """Send bytes after all that this connection is owed already; end it then when it is `closing`."""

    @abstractmethod
    def turn(self, until_ns: int) -> int:
        """Read, run the stages and send, until `until_ns` or until the rest is needed. Returns Wake bits."""

    @abstractmethod
    def _run_stages(self, canvas: CanvasArrays) -> int:
        """Decode, admit and apply what was read, as far as brakes allow, up to a SUBSCRIBE. Returns Wake bits."""

    @abstractmethod
    def _sweep(self) -> None:
        """One step of the fan-out."""

    @abstractmethod
    def _watch(self, watched: socket.socket, mark: int) -> None:
        """Wake for what comes in there. `mark`: its slot, LISTENER or BELL."""

    @abstractmethod
    def _unwatch(self, watched: socket.socket) -> None:
        """Wake for it no more."""

    @abstractmethod
    def _forget_outbox(self, slot: int) -> None:
        """Give up what a connection is still owed."""

    @abstractmethod
    def _silence(self) -> None:
        """Take note of every ring so far."""

    @abstractmethod
    def _close(self) -> None:
        """Close the loop's own descriptors."""

    # What the slow path asks of its loop, beside `post`.

    def drain_queues(self, now_ns: int) -> None:
        """Serve all that was read, whatever the brakes say."""
        queues = self.arrays.queues[0]
        while queues["segment_end"] or queues["message_end"] or queues["placement_end"] or self.desk.postponed:
            if self._run_stages(self._unbraked) & Wake.SUBSCRIBE:
                self._subscribe(now_ns)
            self.desk.resume(now_ns)

    def owes_answers(self, slot: int) -> bool:
        """Whether requests of this connection still wait in the queues."""
        queues, requests = self.arrays.queues[0], self.arrays.requests
        waiting = np.arange(queues["request_head"], queues["request_end"]) % len(requests)
        return bool((requests["slot"][waiting] == slot).any())

    def discard(self, slot: int, client_socket: socket.socket) -> None:
        """Close the socket. The slot is free once what it sent is served: else that would count for its successor."""
        self._unwatch(client_socket)
        client_socket.close()
        self._forget_outbox(slot)
        self.arrays.connections[slot]["phase"] = Phase.DEAD
        self._leaving.append(slot)

    # What `turn` returns for.

    def _attend(self, wake: int, now_ns: int) -> None:
        if wake & Wake.SIGNAL:
            self._silence()
            while self.inbox:
                self._adopt(self.inbox.popleft(), now_ns)
        if wake & Wake.SUBSCRIBE:
            self._subscribe(now_ns)
            self._serve_stages(now_ns)  # Before what was handed over, which came behind it.
        if wake & Wake.HANDOVER:
            self._take_handovers(now_ns)
        if wake & Wake.ACCEPT and self._listener is not None:
            self._accept(self._listener, now_ns)
        stage, depth = self.arrays.stages[Stage.ACCEPT], self._handshakes_waiting()
        stage["busy_ns"] += clock.now_ns() - now_ns
        stage["batch_count"] += 1
        stage["depth"] = depth
        stage["depth_sum"] += depth
        stage["depth_peak"] = max(stage["depth_peak"], depth)

    def _go_on(self, now_ns: int) -> None:
        """What waits for no socket: pictures, deadlines, last answers, slots, and a listener that was left alone."""
        self.desk.hand_out_pictures(now_ns)
        if self.desk.waiting:
            self.desk.on_timers(now_ns)
        if self.desk.ending or self.desk.postponed:
            self._serve_stages(now_ns)
            self.desk.resume(now_ns)
            self.desk.end_answered(now_ns)
        if self._leaving and now_ns >= self._leaving_ns:
            self._free_slots(now_ns)
        if self._accept_rests and not is_resting(self.arrays, Stage.ACCEPT, now_ns) and self._listener is not None:
            self._accept_rests = False
            self._watch(self._listener, LISTENER)

    def _serve_stages(self, now_ns: int) -> None:
        """Run the stages as far as brakes allow, and answer each SUBSCRIBE in its place."""
        while self._run_stages(self.engine.canvas.arrays) & Wake.SUBSCRIBE:
            self._subscribe(now_ns)

    def _free_slots(self, now_ns: int) -> None:
        """Free the slots that nothing in the queues names any more."""
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
        """At a tick: what this thread has cost, and how many connections there are to wait for reading and sending."""
        counts, stages = self.arrays.counts[0], self.arrays.stages
        counts["cpu_ns"] = clock.thread_cpu_ns()
        stages[Stage.READ]["depth_max"] = max(1, len(self.desk.clients))
        stages[Stage.FANOUT]["depth_max"] = max(1, counts["subscriber_count"])
        if self._accept_rests:
            stage, depth = stages[Stage.ACCEPT], self._handshakes_waiting()
            stage["depth"], stage["depth_peak"] = depth, max(stage["depth_peak"], depth)

    def _handshakes_waiting(self) -> int:
        """Handshakes under way; where a brake is on, those too of which the system alone knows."""
        unseen = count_backlog(self._listener) if self._accept_rests and self._listener is not None else 0
        return unseen + len(self.desk.waiting)

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
            left = int(accepted_count == accepts_max)  # It does not say how many more there are.
            rest(self.arrays, canvas, Stage.ACCEPT, accepted_count, left, now_ns)
        if not has_files:
            hold = self.arrays.holds[Stage.ACCEPT]
            hold["until_ns"] = max(int(hold["until_ns"]), now_ns + NO_FILE_NS)
        if is_resting(self.arrays, Stage.ACCEPT, now_ns):
            self._accept_rests = True
            self._unwatch(listener)

    def _adopt(self, accepted: socket.socket, now_ns: int) -> None:
        descriptor = accepted.fileno()
        if not self._free or descriptor >= len(self.arrays.slot_of_fd):
            accepted.close()
            self.arrays.counts[0]["closed_count"] += 1
            return
        slot = self._free.pop()
        use_slot(self.arrays, slot)
        self.arrays.connections[slot]["fd"] = descriptor
        self.desk.welcome(slot, accepted, now_ns)
        self._watch(accepted, slot)
        self.arrays.counts[0]["accepted_count"] += 1
        self.arrays.stages[Stage.ACCEPT]["item_count"] += 1

    def _take_handovers(self, now_ns: int) -> None:
        """Answer all that was handed over; answering may hand over more, behind the rest."""
        queues, desk = self.arrays.queues[0], self.desk
        position = 0
        while position < queues["handover_count"]:
            slot, start, end, reason = self.arrays.handovers[position].tolist()
            position += 1
            if slot not in desk.clients:
                continue  # It ended earlier in this batch.
            if reason == Reason.BYTES:
                desk.receive(slot, self.arrays.arena[start:end].tobytes(), now_ns)
            elif reason == Reason.ENDED:
                desk.ended(slot, now_ns)
            elif reason == Reason.FLUSHED:
                desk.flushed(slot)
            elif reason == Reason.STALLED:
                desk.evict(slot, CloseCode.TRY_AGAIN_LATER, "takes no bytes", now_ns)
            else:
                desk.evict(slot, CloseCode.POLICY_VIOLATION, "over the rate limit for too long", now_ns)
        queues["handover_count"] = 0

    def _subscribe(self, now_ns: int) -> None:
        """Answer the SUBSCRIBE at which the placement queue stands."""
        placement = self.arrays.placements[self.arrays.queues[0]["placement_head"]]
        slot, index = int(placement["slot"]), int(placement["index"])
        is_heard = slot in self.desk.clients and self.desk.clients[slot].connection.can_send
        if is_heard and not self._holds_enough(slot):
            answer = self.engine.subscribe(self.arrays, index, now_ns)
            if answer is not None:
                payload = answer.encode(compress=len(answer.pixels) >= SNAPSHOT_COMPRESS_BYTES)
                self.post(slot, self.desk.clients[slot].connection.encode_binary(payload), now_ns)
        pass_request(self.arrays)

    def _holds_enough(self, slot: int) -> bool:
        """True when a connection is over; as it is from now on when it asks for pictures and takes none of them."""
        row = self.arrays.connections[slot]
        held = int(row["outbox_end"] - row["outbox_start"])
        is_over = bool(row["phase"] == Phase.DEAD)
        if is_over or held <= HELD_BYTES_MAX + SNAPSHOTS_HELD_MAX * len(self.engine.canvas.arrays.pixels):
            return is_over
        row["phase"] = Phase.DEAD
        self.arrays.counts[0]["subscriber_count"] -= row["subscribed"]
        row["subscribed"] = 0
        hand_over(self.arrays, slot, 0, 0, Reason.STALLED)
        return True
