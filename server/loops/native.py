"""The native loop: a thread that lives in the compiled `epoll_loop.run` and comes up to Python for the rest.

It owns its sockets, its arrays and its desk; nothing else touches them. Other threads may only `ring` it and leave
sockets in `inbox`. Linux only.
"""

import errno
import os
import select
import socket
from collections import deque
from collections.abc import Callable

import numpy as np

from server import clock
from server.engine import Engine
from server.handover import Desk
from server.kernels import epoll_loop
from server.kernels.layout import CONNECTION, LoopArrays, Reason, Stage, Wake
from server.kernels.outbox import flush, post, release
from server.kernels.pixels import pass_request
from server.protocol.websocket import CloseCode, Opcode, encode_frame

ACCEPTS_A_STEP = 64
"""Sockets taken in before others are served again."""
SNAPSHOT_COMPRESS_BYTES = 32 * 1024
"""Smaller snapshots go as they are: compressing costs more than their bytes do."""
TIMER_NS = 100_000_000
"""How often deadlines of the slow path are looked at."""
_LISTENER, _BELL = -2, -3


class NativeLoop:
    """One loop. `run` serves until `engine` says stop; `adopt` gives it a socket from another thread."""

    def __init__(self, engine: Engine, slots: int, descriptors: int) -> None:
        self.engine = engine
        self.arrays: LoopArrays = engine.new_loop(slots, descriptors)
        self.desk = Desk(engine, self.arrays, self)
        self.inbox: deque[socket.socket] = deque()
        self._free = list(range(slots - 1, -1, -1))
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._listener: socket.socket | None = None
        self._hand_out: Callable[[socket.socket], None] = self.inbox.append
        self._epoll.register(self._bell, select.EPOLLIN)
        self.arrays.slot_of_fd[self._bell] = _BELL

    @property
    def client_count(self) -> int:
        """Sockets it owns."""
        return len(self.desk.clients) + len(self.inbox)

    def listen(self, listener: socket.socket, hand_out: Callable[[socket.socket], None]) -> None:
        """Accept from `listener` from now on; `hand_out` gives each socket to the loop that is to own it."""
        self._listener = listener
        self._hand_out = hand_out
        self.arrays.slot_of_fd[listener.fileno()] = _LISTENER
        self._epoll.register(listener.fileno(), select.EPOLLIN)

    def stop_listening(self) -> None:
        """Accept no more."""
        if self._listener is not None:
            self._epoll.unregister(self._listener.fileno())
            self.arrays.slot_of_fd[self._listener.fileno()] = -1
            self._listener = None

    def ring(self) -> None:
        """Call the loop up from any thread."""
        os.eventfd_write(self._bell, 1)

    def serve(self) -> int:
        """Serve until the tick is due. Returns the time then, in nanoseconds."""
        engine = self.engine
        while True:
            now_ns = clock.now_ns()
            until_ns = 0 if engine.is_hurried else engine.next_tick_ns
            if self.desk.waiting:
                until_ns = min(until_ns, now_ns + TIMER_NS)
            wake = self.turn(until_ns)
            now_ns = clock.now_ns()
            if wake & ~Wake.TICK:
                self._attend(wake, now_ns)
            if self.desk.waiting:
                self.desk.on_timers(now_ns)
            if engine.is_hurried or now_ns >= engine.next_tick_ns:
                self.arrays.counts[0]["cpu_ns"] = clock.thread_cpu_ns()
                return now_ns

    def turn(self, until_ns: int) -> int:
        """Serve until the time or until Python is needed, without the interpreter lock. Returns Wake bits."""
        engine = self.engine
        return int(epoll_loop.run(self.arrays, engine.canvas.arrays, engine.broadcast, self._epoll.fileno(), until_ns))

    def close_clients(self, now_ns: int) -> None:
        """Begin to close every connection, politely."""
        for slot in list(self.desk.clients):
            self.desk.close(slot, CloseCode.GOING_AWAY, "the server stops", now_ns)

    def release(self) -> None:
        """Close every socket that is left, and the loop's own descriptors."""
        for slot in list(self.desk.clients):
            self.desk.drop(slot)
        while self.inbox:
            self.inbox.popleft().close()
        self._epoll.close()
        os.close(self._bell)

    # What the slow path asks of its loop.

    def post(self, slot: int, data: bytes, now_ns: int) -> None:
        """Send bytes after all that this connection is owed already."""
        epoll_fd = self._epoll.fileno()
        if data:
            post(self.arrays, epoll_fd, slot, np.frombuffer(data, np.uint8), now_ns)
        if self.arrays.connections[slot]["closing"]:
            flush(self.arrays, epoll_fd, slot, now_ns)

    def drain_queues(self, now_ns: int) -> None:
        """Serve what is decoded, so that the message queue has room."""
        queues = self.arrays.queues[0]
        while queues["message_end"] or queues["placement_end"]:
            wake = epoll_loop.run_stages(self.arrays, self.engine.canvas.arrays, self._epoll.fileno())
            if wake & Wake.SUBSCRIBE:
                self._subscribe(now_ns)

    def discard(self, slot: int, client_socket: socket.socket) -> None:
        """Close the socket and free the slot, once what it sent is served: else that would count for its successor."""
        self.drain_queues(clock.now_ns())
        self._epoll.unregister(client_socket.fileno())
        self.arrays.slot_of_fd[client_socket.fileno()] = -1
        client_socket.close()
        release(self.arrays, self.arrays.connections[slot])
        self.arrays.connections[slot] = np.zeros((), CONNECTION)
        self._free.append(slot)

    # What the compiled half returns for.

    def _attend(self, wake: int, now_ns: int) -> None:
        if wake & Wake.SIGNAL:
            os.eventfd_read(self._bell)
            while self.inbox:
                self._adopt(self.inbox.popleft(), now_ns)
        if wake & Wake.SUBSCRIBE:
            self.drain_queues(now_ns)  # Before what was handed over, which came behind it.
        if wake & Wake.HANDOVER:
            self._take_handovers(now_ns)
        if wake & Wake.ACCEPT and self._listener is not None:
            self._accept(self._listener, now_ns)
        stage = self.arrays.stages[Stage.ACCEPT]
        stage["busy_ns"] += clock.now_ns() - now_ns
        stage["batch_count"] += 1
        stage["depth"] = len(self.desk.waiting)
        stage["depth_sum"] += len(self.desk.waiting)
        stage["depth_peak"] = max(stage["depth_peak"], len(self.desk.waiting))

    def _accept(self, listener: socket.socket, now_ns: int) -> None:
        for _ in range(ACCEPTS_A_STEP):
            try:
                accepted, _address = listener.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    break  # The backlog keeps them until a connection ends and gives its file back.
                if error.errno in (errno.ECONNABORTED, errno.EPROTO, errno.EINTR):
                    continue  # That peer is gone already; the next may not be.
                raise
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._hand_out(accepted)
        while self.inbox:
            self._adopt(self.inbox.popleft(), now_ns)

    def _adopt(self, accepted: socket.socket, now_ns: int) -> None:
        descriptor = accepted.fileno()
        if not self._free or descriptor >= len(self.arrays.slot_of_fd):
            accepted.close()
            self.arrays.counts[0]["closed_count"] += 1
            return
        slot = self._free.pop()
        queues = self.arrays.queues[0]
        queues["slot_end"] = max(queues["slot_end"], slot + 1)
        self.arrays.connections[slot]["fd"] = descriptor
        self.arrays.slot_of_fd[descriptor] = slot
        self.desk.welcome(slot, accepted, now_ns)
        self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLRDHUP)
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
        if slot in self.desk.clients and self.desk.clients[slot].connection.can_send:
            answer = self.engine.subscribe(self.arrays, index, now_ns)
            if answer is not None:
                payload = answer.encode(compress=len(answer.pixels) >= SNAPSHOT_COMPRESS_BYTES)
                self.post(slot, encode_frame(Opcode.BINARY, payload), now_ns)
        pass_request(self.arrays)
