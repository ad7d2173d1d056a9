"""The native loop: a thread that stays in the compiled `epoll_loop.run`, and returns to Python for the rest.

Linux only: it needs epoll, and reads and sends through the C library, whose memory its outboxes are. It holds no
interpreter lock while it serves, so loops run side by side.
"""

import os
import select
import socket

import numpy as np

from server.engine.engine import Engine
from server.kernels import epoll_loop, fan_out, sink
from server.kernels.arrays import BroadcastArrays, CanvasArrays, LoopArrays
from server.kernels.fan_out import flush, post, release
from server.kernels.kernel import Warm
from server.kernels.layout import WAKEUP
from server.loops.loop import Loop
from server.loops.stages import stage_kernels


def is_possible() -> bool:
    """Whether this system has what the native loop needs."""
    return hasattr(select, "epoll") and hasattr(os, "eventfd")


def native_kernels(loop: LoopArrays, canvas: CanvasArrays, broadcast: BroadcastArrays) -> list[Warm]:
    """All that a native loop and its engine call."""
    data = np.frombuffer(b"\0", np.uint8)
    return [
        *stage_kernels(loop, canvas, broadcast),
        Warm("release", release, lambda: (loop, loop.connections[0])),
        Warm("flush", flush, lambda: (loop, 0, 0, 0)),
        Warm("post", post, lambda: (loop, 0, 0, data, 0)),
        Warm("fan out", fan_out.fan_out, lambda: (loop, canvas, broadcast, 0, 0, 0)),
        Warm("sweep", epoll_loop.sweep, lambda: (loop, canvas, broadcast, 0)),
        Warm("patrol", fan_out.patrol, lambda: (loop, canvas, 0, 0)),
        Warm("run stages", epoll_loop.run_stages, lambda: (loop, canvas, 0)),
        Warm("run", epoll_loop.run, lambda: (loop, canvas, broadcast, 0, 0)),
    ]


class NativeLoop(Loop):
    """A loop in compiled code."""

    def __init__(self, engine: Engine, slots: int, descriptors: int) -> None:
        super().__init__(engine, slots, descriptors)
        self._epoll = select.epoll()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.arrays.slot_of_fd[self._wakeup] = WAKEUP
        self._epoll.register(self._wakeup, select.EPOLLIN)

    def warms(self) -> list[Warm]:
        return native_kernels(self.arrays, self.engine.canvas.arrays, self.engine.broadcast)

    def wake(self) -> None:
        os.eventfd_write(self._wakeup, 1)

    def post(self, slot: int, data: bytes, now_ns: int) -> None:
        epoll_fd = self._epoll.fileno()
        if data:
            post(self.arrays, epoll_fd, slot, np.frombuffer(data, np.uint8), now_ns)
        if self.arrays.connections[slot]["closing"]:
            flush(self.arrays, epoll_fd, slot, now_ns)

    def turn(self, until_ns: int) -> int:
        canvas = self.engine.canvas.arrays
        return int(epoll_loop.run(self.arrays, canvas, self.engine.broadcast, self._epoll.fileno(), until_ns))

    def _run_stages(self, canvas: CanvasArrays) -> int:
        return int(epoll_loop.run_stages(self.arrays, canvas, self._epoll.fileno()))

    def _sweep(self) -> None:
        epoll_loop.sweep(self.arrays, self.engine.canvas.arrays, self.engine.broadcast, self._epoll.fileno())

    def _watch(self, watched: socket.socket, mark: int) -> None:
        self.arrays.slot_of_fd[watched.fileno()] = mark
        self._epoll.register(watched.fileno(), select.EPOLLIN | select.EPOLLRDHUP)

    def _unwatch(self, watched: socket.socket) -> None:
        self._epoll.unregister(watched.fileno())
        self.arrays.slot_of_fd[watched.fileno()] = -1

    def _forget_outbox(self, slot: int) -> None:
        release(self.arrays, self.arrays.connections[slot])

    def _clear_wakeup(self) -> None:
        os.eventfd_read(self._wakeup)

    def _close(self) -> None:
        self._epoll.close()
        os.close(self._wakeup)


class SinkLoop(NativeLoop):
    """A loop that accepts connections as the native one does, and then only counts what they send.

    It holds no canvas, answers no SUBSCRIBE and broadcasts nothing. Benchmarks run it beside real loops: it costs what
    the sockets cost, and no server can be cheaper. What it counts, it counts as received and admitted.
    """

    def turn(self, until_ns: int) -> int:
        return int(sink.run(self.arrays, self._epoll.fileno(), until_ns))

    def warms(self) -> list[Warm]:
        return [*super().warms(), Warm("count", sink.run, lambda: (self.arrays, 0, 0))]
