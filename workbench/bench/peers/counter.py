"""What a peer has counted, reported to the session like a server of our own: on its page, and by its events.

A peer does what the sink does: it sends HELLO, reads, counts PLACE messages, and answers a PING, so that a fleet knows
that everything was read. The count is published ten times per second, which costs nothing per message.
"""

import asyncio
import threading
from collections.abc import Callable

from server.config import ServerConfig
from server.ipc import control
from server.ipc.control import Listening
from server.ipc.page import Page
from server.kernels.layout import State
from server.protocol.messages import Hello, Ping, Pong, decode_client_message
from server.system import clock
from server.wire import TILE_SIDE

HOST = "127.0.0.1"
BACKLOG = 4096
PUBLISH_S = 0.1


class Counter:
    """The count of one peer. Its handlers add to `count`; it serves until `stopped` is set."""

    def __init__(self, telemetry: Page, config: ServerConfig) -> None:
        self.count = 0
        self.stopped = asyncio.Event()
        # Processor time in nanoseconds and memory in bytes. Replaced where another process counts.
        self.cost: Callable[[], tuple[int, int]] = own_cost
        self.hello = Hello(
            width=config.width,
            height=config.height,
            tile=TILE_SIDE,
            tick_ms=config.tick_ms,
            rate_per_s=config.rate_per_s,
            burst=config.burst,
            connection=0,
        ).encode()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._loop_row = telemetry["loops"][0]
        self._server_row = telemetry["server"][0]

    def answer(self, message: bytes) -> bytes:
        """The PONG to a PING. Any other message is a bug of the benchmark: AssertionError."""
        ping = decode_client_message(message)
        assert isinstance(ping, Ping), f"a peer was sent {ping}"
        return Pong(nonce=ping.nonce, tick=0).encode()

    async def listen(self, port: int) -> None:
        """Report the address, and wait for `stopped`."""
        self._server_row["state"] = State.RUNNING
        self.publish()
        threading.Thread(target=self._keep_publishing, name="publisher", daemon=True).start()
        control.say(Listening(HOST, port))
        await self.stopped.wait()
        self._ended.set()

    def _keep_publishing(self) -> None:
        """Runs in a thread of its own, because timers of an overloaded event loop are late."""
        while not self._ended.wait(PUBLISH_S):
            self.publish()

    def publish(self) -> None:
        """Write the count and its cost to the telemetry page. May be called from any thread."""
        with self._lock:  # Or one thread could overwrite a newer count with an older one.
            self._loop_row["received_count"] = self._loop_row["admitted_count"] = self.count
            self._server_row["cpu_ns"], self._server_row["resident_bytes"] = self.cost()
            self._server_row["heartbeat_ns"] = clock.now_ns()


def own_cost() -> tuple[int, int]:
    """Processor time of this process in nanoseconds, and its memory in bytes."""
    return clock.process_cpu_ns(), clock.resident_bytes()
