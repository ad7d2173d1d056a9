"""The front of a server that speaks TLS: a thread that turns accepted sockets into plain ones for the loops.

It needs epoll, which tells when the other end of a pair is closed, whoever waits for what. Each connection costs two
descriptors beside the one that the loop has. Invariants: the thread waits for nobody; what a client does costs that
client, and none holds a handshake open for longer than allowed.
"""

import os
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.system import clock
from server.tls.tunnel import Broken, TlsStream

DELIVER_NS = 3_000_000_000
"""How long a client may take for what it is still owed when the loop has closed its connection."""
LOOK_S = 0.1
"""How often deadlines are looked at."""
ARRIVALS_A_STEP = 64
"""Sockets that are taken in before others are served again."""
_GONE = select.EPOLLHUP | select.EPOLLERR if hasattr(select, "epoll") else 0


class TlsTerminator:
    """Takes sockets by `take` and gives their plain ends to `hand_out`, in its own thread. In order: `start`, `close`.

    connections_max: more are closed at once. handshake_ns: how long one may take. server: SERVER, shape (1,), of which
    it counts `tls_failed_count`. `on_bug` is called when the thread fails; `close` returns what it failed of.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        hand_out: Callable[[socket.socket], None],
        on_bug: Callable[[], None],
        server: NDArray[np.void],
        *,
        connections_max: int,
        handshake_ns: int,
    ) -> None:
        self._context, self._hand_out, self._on_bug = context, hand_out, on_bug
        self._server: Any = server
        self._connections_max, self._handshake_ns = connections_max, handshake_ns
        self._epoll = select.epoll()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wakeup, select.EPOLLIN)
        self._arrived: deque[socket.socket] = deque()
        self._of_descriptor: dict[int, TlsStream] = {}
        self._tunnels: set[TlsStream] = set()
        self._timed: set[TlsStream] = set()
        self._over: set[TlsStream] = set()
        """To be closed when all events of a step are seen: else one of them could be taken for a successor's."""
        self._is_shut = self._is_ending = False
        self._bug: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="tls")

    def start(self) -> None:
        """Begin to take sockets."""
        self._thread.start()

    def take(self, accepted: socket.socket) -> None:
        """Have a new socket shake hands. May be called from any thread, until `close`."""
        self._arrived.append(accepted)
        os.eventfd_write(self._wakeup, 1)

    def shut(self) -> None:
        """Take no more, and give up handshakes that are not done; who is in stays. May be called from any thread."""
        self._is_shut = True
        os.eventfd_write(self._wakeup, 1)

    def close(self) -> BaseException | None:
        """Let clients have what the loops, which are gone, have sent them; then close all. Returns the thread's bug."""
        self._is_ending = True
        self.shut()
        if self._thread.ident is not None:
            self._thread.join()
        for tunnel in self._tunnels:
            tunnel.close()  # Only a bug leaves any.
        while self._arrived:
            self._arrived.popleft().close()
        self._epoll.close()
        os.close(self._wakeup)
        return self._bug

    # The thread.

    def _live(self) -> None:
        try:
            while not (self._is_ending and not self._tunnels):
                self._step()
        except BaseException as bug:
            self._bug = bug
            self._on_bug()

    def _step(self) -> None:
        events = self._epoll.poll(0 if self._arrived else LOOK_S if self._timed or self._is_ending else None)
        now_ns = clock.now_ns()
        for descriptor, mask in events:
            if descriptor == self._wakeup:
                os.eventfd_read(self._wakeup)
            elif (tunnel := self._of_descriptor[descriptor]) not in self._over:
                self._attend(tunnel, descriptor, mask, now_ns)
        for _ in range(min(ARRIVALS_A_STEP, len(self._arrived))):
            self._welcome(self._arrived.popleft(), now_ns)
        if self._is_shut:
            self._give_up_waiting(now_ns)
        for tunnel in [timed for timed in self._timed if now_ns >= timed.until_ns]:
            self._end(tunnel, is_fault=tunnel.inner is None)
        while self._over:
            self._forget(self._over.pop())

    def _welcome(self, accepted: socket.socket, now_ns: int) -> None:
        if self._is_shut or len(self._tunnels) >= self._connections_max:
            accepted.close()
            return
        tunnel = TlsStream(accepted, self._context, now_ns + self._handshake_ns)
        self._tunnels.add(tunnel)
        self._timed.add(tunnel)
        self._of_descriptor[accepted.fileno()] = tunnel
        self._epoll.register(accepted.fileno(), select.EPOLLIN)
        tunnel.watched = (select.EPOLLIN, 0)

    def _attend(self, tunnel: TlsStream, descriptor: int, mask: int, now_ns: int) -> None:
        """Something happened on one of a connection's sockets."""
        is_outer = descriptor == tunnel.outer.fileno()
        if mask & _GONE and is_outer:
            self._end(tunnel, is_fault=tunnel.inner is None)
            return
        if mask & _GONE:
            tunnel.is_left = True
        try:
            if tunnel.inner is None:
                self._shake_hands(tunnel)
            else:
                tunnel.carry()
        except (Broken, OSError):
            self._end(tunnel, is_fault=tunnel.inner is None)
            return
        if tunnel.is_over:
            self._end(tunnel, is_fault=tunnel.inner is None)
            return
        if tunnel.is_left and not tunnel.until_ns:
            tunnel.until_ns = now_ns + DELIVER_NS
        self._timed.add(tunnel) if tunnel.until_ns else self._timed.discard(tunnel)
        self._watch(tunnel)

    def _shake_hands(self, tunnel: TlsStream) -> None:
        theirs = tunnel.shake_hands()
        if theirs is not None:
            assert tunnel.inner is not None
            self._of_descriptor[tunnel.inner.fileno()] = tunnel
            self._hand_out(theirs)
            tunnel.carry()

    def _watch(self, tunnel: TlsStream) -> None:
        """Wait for what it waits for. The loop's end is watched for its closing too, until that has come."""
        outer, inner = (_mask(*tunnel.wants_outer()), _mask(*tunnel.wants_inner()))
        if tunnel.inner is not None and not tunnel.is_left:
            inner |= select.EPOLLHUP
        before = tunnel.watched
        tunnel.watched = (outer, inner)
        if outer != before[0]:
            self._epoll.modify(tunnel.outer.fileno(), outer)
        if tunnel.inner is not None and inner != before[1]:
            self._watch_inner(tunnel.inner.fileno(), before[1], inner)

    def _watch_inner(self, descriptor: int, before: int, mask: int) -> None:
        if not before:
            self._epoll.register(descriptor, mask)
        elif not mask:
            self._epoll.unregister(descriptor)
        else:
            self._epoll.modify(descriptor, mask)

    def _give_up_waiting(self, now_ns: int) -> None:
        """The server drains: handshakes are given up; where it has ended, those who are owed something get a while."""
        for tunnel in self._tunnels:
            if tunnel.inner is None:
                self._end(tunnel)
            elif self._is_ending and not tunnel.until_ns:
                tunnel.until_ns = now_ns + DELIVER_NS
                self._timed.add(tunnel)

    def _end(self, tunnel: TlsStream, *, is_fault: bool = False) -> None:
        """Close it when this step is done."""
        if tunnel not in self._over:
            self._server["tls_failed_count"] += is_fault
            self._over.add(tunnel)

    def _forget(self, tunnel: TlsStream) -> None:
        self._tunnels.discard(tunnel)
        self._timed.discard(tunnel)
        # To close is not enough: a process that is being started holds a copy for a moment, and epoll watches that too.
        self._epoll.unregister(tunnel.outer.fileno())
        del self._of_descriptor[tunnel.outer.fileno()]
        if tunnel.inner is not None:
            if tunnel.watched[1]:
                self._epoll.unregister(tunnel.inner.fileno())
            del self._of_descriptor[tunnel.inner.fileno()]
        tunnel.close()


def _mask(reads: bool, writes: bool) -> int:
    return (select.EPOLLIN if reads else 0) | (select.EPOLLOUT if writes else 0)
