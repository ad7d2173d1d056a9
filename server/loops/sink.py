"""The sink: a loop that lets connections in as the native one does, then only counts what they send.

It is no server: it holds no canvas, answers no SUBSCRIBE and broadcasts nothing. Benchmarks run it beside real loops,
because what it costs is what the sockets cost, and no server can be cheaper. Linux only.
"""

from server.kernels import sink
from server.kernels.kernel import Warm
from server.loops.native import NativeLoop


class SinkLoop(NativeLoop):
    """One counting loop. What it counts, it counts as received and admitted."""

    def turn(self, until_ns: int) -> int:
        """Count until the time or until Python is needed. Returns Wake bits."""
        return int(sink.run(self.arrays, self._epoll.fileno(), until_ns))

    def warms(self) -> list[Warm]:
        """The kernels that a sink and the engine beside it call."""
        return [*super().warms(), Warm("count", sink.run, lambda: (self.arrays, 0, 0))]
