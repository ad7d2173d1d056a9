"""The TLS terminator of a server: a thread that turns accepted sockets into plain ones for the loops.

It needs epoll, which reports that the other end of a socket pair is closed, even to those that wait for nothing. Each
connection costs two descriptors beside the one that the loop has. Nothing blocks the thread, so a slow client delays
only itself; handshakes have a deadline.
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
from server.tls.stream import Broken, TlsStream

# How long a client may take for what it is still owed when the loop has closed its connection.
DELIVER_NS = 3_000_000_000
LOOK_S = 0.1
"""How often deadlines are looked at."""
# Sockets taken before the others are served again.
ARRIVALS_A_STEP = 64
_GONE = select.EPOLLHUP | select.EPOLLERR if hasattr(select, "epoll") else 0


class TlsTerminator:
    """Takes accepted sockets and gives their plain ends to `hand_out`, in its own thread. In order: `start`, `close`.

    connections_max: sockets above it are closed at once. server: SERVER, shape (1,), whose `tls_failed_count` it
    counts. `on_bug` is called when the thread fails; `close` returns the exception.
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
        self._streams: set[TlsStream] = set()
        self._timed: set[TlsStream] = set()
        # Closed at the end of a step: else an event of the step could be taken for that of a new socket with the same
        # descriptor.
        self._over: set[TlsStream] = set()
        self._is_shut = self._is_ending = False
        self._bug: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="tls")

    def start(self) -> None:
        """Begin to take sockets."""
        self._thread.start()

    def take(self, accepted: socket.socket) -> None:
        """Begin the TLS handshake on a new socket. May be called from any thread, until `close`."""
        self._arrived.append(accepted)
        os.eventfd_write(self._wakeup, 1)

    def shut(self) -> None:
        """Take no more sockets, and abort unfinished handshakes. May be called from any thread."""
        self._is_shut = True
        os.eventfd_write(self._wakeup, 1)

    def close(self) -> BaseException | None:
        """After the loops' end: deliver what they have sent, then close all. Returns the thread's bug."""
        self._is_ending = True
        self.shut()
        if self._thread.ident is not None:
            self._thread.join()
        for stream in self._streams:
            stream.close()  # Only a bug leaves any.
        while self._arrived:
            self._arrived.popleft().close()
        self._epoll.close()
        os.close(self._wakeup)
        return self._bug

    # The thread.

    def _live(self) -> None:
        try:
            while not (self._is_ending and not self._streams):
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
            elif (stream := self._of_descriptor[descriptor]) not in self._over:
                self._attend(stream, descriptor, mask, now_ns)
        for _ in range(min(ARRIVALS_A_STEP, len(self._arrived))):
            self._welcome(self._arrived.popleft(), now_ns)
        if self._is_shut:
            self._abort_waiting(now_ns)
        for stream in [timed for timed in self._timed if now_ns >= timed.until_ns]:
            self._end(stream, is_fault=stream.inner is None)
        while self._over:
            self._forget(self._over.pop())

    def _welcome(self, accepted: socket.socket, now_ns: int) -> None:
        if self._is_shut or len(self._streams) >= self._connections_max:
            accepted.close()
            return
        stream = TlsStream(accepted, self._context, now_ns + self._handshake_ns)
        self._streams.add(stream)
        self._timed.add(stream)
        self._of_descriptor[accepted.fileno()] = stream
        self._epoll.register(accepted.fileno(), select.EPOLLIN)
        stream.watched = (select.EPOLLIN, 0)

    def _attend(self, stream: TlsStream, descriptor: int, mask: int, now_ns: int) -> None:
        """Handle an event on one of a connection's two sockets."""
        is_outer = descriptor == stream.outer.fileno()
        if mask & _GONE and is_outer:
            self._end(stream, is_fault=stream.inner is None)
            return
        if mask & _GONE:
            stream.is_left = True
        try:
            if stream.inner is None:
                self._shake_hands(stream)
            else:
                stream.carry()
        except (Broken, OSError):
            self._end(stream, is_fault=stream.inner is None)
            return
        if stream.is_over:
            self._end(stream, is_fault=stream.inner is None)
            return
        if stream.is_left and not stream.until_ns:
            stream.until_ns = now_ns + DELIVER_NS
        self._timed.add(stream) if stream.until_ns else self._timed.discard(stream)
        self._watch(stream)

    def _shake_hands(self, stream: TlsStream) -> None:
        theirs = stream.shake_hands()
        if theirs is not None:
            assert stream.inner is not None
            self._of_descriptor[stream.inner.fileno()] = stream
            self._hand_out(theirs)
            stream.carry()

    def _watch(self, stream: TlsStream) -> None:
        """Update what epoll waits for on both sockets; on the inner one also for its closing, until that has come."""
        outer, inner = (_mask(*stream.wants_outer()), _mask(*stream.wants_inner()))
        if stream.inner is not None and not stream.is_left:
            inner |= select.EPOLLHUP
        before = stream.watched
        stream.watched = (outer, inner)
        if outer != before[0]:
            self._epoll.modify(stream.outer.fileno(), outer)
        if stream.inner is not None and inner != before[1]:
            self._watch_inner(stream.inner.fileno(), before[1], inner)

    def _watch_inner(self, descriptor: int, before: int, mask: int) -> None:
        if not before:
            self._epoll.register(descriptor, mask)
        elif not mask:
            self._epoll.unregister(descriptor)
        else:
            self._epoll.modify(descriptor, mask)

    def _abort_waiting(self, now_ns: int) -> None:
        """The server drains: abort handshakes. Once it has ended, set a deadline for what clients are still owed."""
        for stream in self._streams:
            if stream.inner is None:
                self._end(stream)
            elif self._is_ending and not stream.until_ns:
                stream.until_ns = now_ns + DELIVER_NS
                self._timed.add(stream)

    def _end(self, stream: TlsStream, *, is_fault: bool = False) -> None:
        """Close it at the end of this step."""
        if stream not in self._over:
            self._server["tls_failed_count"] += is_fault
            self._over.add(stream)

    def _forget(self, stream: TlsStream) -> None:
        self._streams.discard(stream)
        self._timed.discard(stream)
        # Closing is not enough: a process being started holds a copy of the descriptor for a moment, and epoll watches
        # that too.
        self._epoll.unregister(stream.outer.fileno())
        del self._of_descriptor[stream.outer.fileno()]
        if stream.inner is not None:
            if stream.watched[1]:
                self._epoll.unregister(stream.inner.fileno())
            del self._of_descriptor[stream.inner.fileno()]
        stream.close()


def _mask(reads: bool, writes: bool) -> int:
    return (select.EPOLLIN if reads else 0) | (select.EPOLLOUT if writes else 0)
