"""A canvas server made of the `websockets` library and the plain protocol: what the fleet is tested against.

It runs in a thread of the test, keeps a canvas, ticks on request or by its own timer, and can be made to
misbehave. It shares no code with the server but the message tables.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from server.protocol.blocks import Block
from server.protocol.messages import (
    Delta,
    Hello,
    Ping,
    Place,
    Pong,
    Snapshot,
    Subscribe,
    decode_client_message,
)
from server.wire import TILE_SIDE, tile_shape
from support.serving import PATIENCE_S


@dataclass
class Peer:
    width: int = 40
    height: int = 33
    tick_s: float = 0.02
    compress: bool = True
    greeting: bytes | None = None
    fragment: bool = False
    ping_each: bool = False
    is_mute: bool = False
    """Never answers SUBSCRIBE."""
    pixels: np.ndarray = field(init=False)
    placements: list[tuple[int, Place]] = field(default_factory=list)
    closed_codes: list[int | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pixels = np.zeros((self.height, self.width), np.uint8)
        self.tick = 0
        self.port = 0
        self._numbers = 0
        self._on_placed: tuple[Callable[[], bool], Callable[[], None]] | None = None
        self._viewers: set[ServerConnection] = set()
        self._sockets: set[ServerConnection] = set()
        self._dirty: dict[tuple[int, int], int] = {}
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._end: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._main(),))
        self._stopping = threading.Lock()

    def __enter__(self) -> "Peer":
        self._thread.start()
        assert self._listening.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it. May be called from any thread, and again."""
        with self._stopping:
            if self._thread.is_alive():
                assert self._end is not None
                self._loop.call_soon_threadsafe(self._end.set)
                self._thread.join(PATIENCE_S)
            self._loop.close()

    @property
    def senders(self) -> set[int]:
        """The numbers of the connections that have placed something."""
        return {number for number, _ in list(self.placements)}

    def when_placed(self, count: int, act: Callable[[], None]) -> None:
        """Call `act`, once, as soon as there are `count` placements."""
        self.when(lambda: len(self.placements) >= count, act)

    def when(self, condition: Callable[[], bool], act: Callable[[], None]) -> None:
        """Call `act`, once, at the first placement at which the condition holds."""
        self._loop.call_soon_threadsafe(setattr, self, "_on_placed", (condition, act))

    async def _main(self) -> None:
        self._end = asyncio.Event()
        async with serve(self._serve, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=1) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._listening.set()
            ticking = asyncio.create_task(self._tick_on())
            await self._end.wait()
            ticking.cancel()
            for socket in list(self._sockets):
                socket.transport.abort()

    async def _serve(self, socket: ServerConnection) -> None:
        self._sockets.add(socket)
        number = self._numbers
        self._numbers += 1
        hello = Hello(self.width, self.height, TILE_SIDE, round(self.tick_s * 1000), 60, 120, number)
        try:
            await socket.send(self.greeting if self.greeting is not None else hello.encode())
            async for data in socket:
                await self._on_message(socket, number, decode_client_message(data))
        except ConnectionClosed:
            pass
        finally:
            self._sockets.discard(socket)
            self._viewers.discard(socket)
            self.closed_codes.append(socket.close_code)

    async def _on_message(self, socket: ServerConnection, number: int, message) -> None:
        if isinstance(message, Place):
            self.placements.append((number, message))
            self.pixels[message.y, message.x] = message.color
            self._dirty[message.y, message.x] = message.color
            if self._on_placed is not None and self._on_placed[0]():
                self._on_placed[1]()
                self._on_placed = None
        elif isinstance(message, Ping):
            await socket.send(Pong(message.nonce, self.tick).encode())
        elif isinstance(message, Subscribe) and not self.is_mute:
            await self._broadcast()  # So that the snapshot and the deltas join without a gap.
            snapshot = Snapshot(self.tick, 0, 0, self.width, self.height, self.pixels.tobytes())
            await socket.send(snapshot.encode(compress=self.compress))
            self._viewers.add(socket)

    async def _tick_on(self) -> None:
        while True:
            await asyncio.sleep(self.tick_s)
            await self._broadcast()

    async def _broadcast(self) -> None:
        self.tick += 1
        blocks = self._take_blocks()
        if not blocks:
            return
        data = Delta(self.tick, blocks).encode(compress=self.compress)
        for socket in list(self._viewers):
            with contextlib.suppress(ConnectionClosed):
                if self.ping_each:
                    await socket.ping()
                await socket.send([data[:3], data[3:]] if self.fragment else data)

    def _take_blocks(self) -> tuple[Block, ...]:
        across, _ = tile_shape(self.width, self.height)
        tiles: dict[int, dict[int, int]] = {}
        for (y, x), color in self._dirty.items():
            tile = y // TILE_SIDE * across + x // TILE_SIDE
            tiles.setdefault(tile, {})[y % TILE_SIDE * TILE_SIDE + x % TILE_SIDE] = color
        self._dirty.clear()
        return tuple(
            Block(tile, tuple(sorted(cells)), bytes(cells[offset] for offset in sorted(cells)))
            for tile, cells in sorted(tiles.items())
        )
