"""The door of a mailbox server: takes sockets from the listener and makes streams of them, with TLS behind its front.

It knows no connection; `welcome` gets each as a pair of streams. Invariant: an address over its limits costs one write.
"""

import asyncio
import socket
from collections.abc import Callable

from server.accept.address_limits import AddressLimits, Refusal, turn_away
from server.accept.listener import NO_FILE_NS, NoFileLeft, accept_next
from server.config import ServerConfig
from server.system import clock
from server.tls.front import TlsTerminator

ACCEPTS_A_TURN = 64
"""Sockets taken in before others have their turn."""

Welcome = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
"""What is done with a connection that has come in."""


class Acceptor:
    """Open between `open` and `close`, in the event loop that runs then.

    counts: by the names of LOOP's fields. read_bytes: what a stream holds unread before its peer has to wait.
    """

    def __init__(
        self,
        listener: socket.socket,
        config: ServerConfig,
        counts: dict[str, int],
        front: TlsTerminator | None,
        read_bytes: int,
    ) -> None:
        self._listener, self._counts, self._front, self._read_bytes = listener, counts, front, read_bytes
        self._has_tls = config.has_tls
        self._sources = AddressLimits(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._entering: set[asyncio.Task[None]] = set()
        self._welcome: Welcome = lambda reader, writer: None

    def open(self, welcome: Welcome) -> None:
        """Let connections in from now on."""
        self._loop, self._welcome = asyncio.get_running_loop(), welcome
        self._watch()
        if self._front is not None:
            self._front.start()

    def close(self) -> None:
        """Let nobody in any more."""
        assert self._loop is not None
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        if self._front is not None:
            self._front.shut()

    def hand_in(self, decrypted: socket.socket) -> None:
        """Let in who has come through the front. May be called from any thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._enter, decrypted)
        except RuntimeError:
            decrypted.close()  # The event loop has ended meanwhile.

    def _watch(self) -> None:
        assert self._loop is not None
        self._loop.add_reader(self._listener, self._accept)

    def _leave_alone(self) -> None:
        """No file is left: accept again after a pause."""
        assert self._loop is not None
        self._loop.remove_reader(self._listener)
        self._rest = self._loop.call_later(NO_FILE_NS * 1e-9, self._watch)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                accepted = accept_next(self._listener)
            except NoFileLeft:
                self._leave_alone()
                return
            if accepted is None:
                return
            taken = self._sources.take_in(*accepted, clock.now_ns())
            if isinstance(taken, Refusal):
                self._counts[taken.counter] += 1
                turn_away(accepted[0], b"" if self._has_tls else taken.answer)
            elif self._front is not None:
                self._front.take(taken)
            else:
                self._enter(taken)

    def _enter(self, plain: socket.socket) -> None:
        assert self._loop is not None
        task = self._loop.create_task(self._make_streams(plain))
        self._entering.add(task)  # The event loop itself holds tasks but loosely.
        task.add_done_callback(self._entering.discard)

    async def _make_streams(self, plain: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=self._read_bytes, loop=loop)
        try:
            await loop.connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader, self._welcome, loop=loop), plain
            )
        except OSError:
            plain.close()  # It was gone before it was let in; whatever counts it is told.
