"""Two public client libraries against our servers, and our `Connection` against their servers, on real sockets."""

import asyncio
import contextlib
import socket
import threading

import numpy as np
import picows
import pytest
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve as serve_with_websockets

from server.protocol.blocks import apply_blocks
from server.protocol.connection import Connection
from server.protocol.events import Closed, Message, Opened, Ponged
from server.protocol.messages import (
    Delta,
    Hello,
    Ping,
    Place,
    PlaceMany,
    Pong,
    Snapshot,
    Subscribe,
    decode_server_message,
)
from server.system import clock
from server.wire import SUBPROTOCOL
from support.serving import PATIENCE_S, Serving

SIDE = 96


@pytest.fixture(scope="module", params=["native", "portable", "mailbox"])
def serving(request):
    with Serving(loop=request.param, width=SIDE, height=SIDE, rate_per_s=65_535, burst=65_535, echo=True) as serving:
        yield serving


class Viewer:
    """What a client holds of the canvas; which encodings it met."""

    def __init__(self):
        self.pixels = np.zeros((SIDE, SIDE), np.uint8)
        self.encodings = set()

    def take(self, data):
        message = decode_server_message(data)
        if isinstance(message, Snapshot):
            self.pixels[:] = np.frombuffer(message.pixels, np.uint8).reshape(SIDE, SIDE)
        elif isinstance(message, Delta):
            self.encodings.add(data[1])
            apply_blocks(self.pixels, message.blocks)
        return message


async def paint_and_watch(serving, send, receive):
    """The same visit for each library: watch, place, see it, in a plain delta and in a compressed one, ping."""
    viewer = Viewer()
    assert isinstance(viewer.take(await receive()), Hello)
    await send(Subscribe().encode())
    while not isinstance(viewer.take(await receive()), Snapshot):
        pass
    await send(Place(5, 6, 77).encode())
    while viewer.pixels[6, 5] != 77:  # The first DELTA may still be about what came before the SNAPSHOT.
        viewer.take(await receive())
    for top in range(0, SIDE, 32):  # Each message is enough for a compressed delta, whenever the ticks come.
        rows = range(top, top + 32)
        await send(PlaceMany(tuple((x, y, 7 + y % 3) for y in rows for x in range(SIDE))).encode())
    await send(Ping(99).encode())
    while not isinstance(message := viewer.take(await receive()), Pong):
        pass
    assert message.nonce == 99
    while (viewer.pixels != serving.pixels).any():
        viewer.take(await receive())
    assert viewer.encodings == {0, 1}


class TestWebsocketsClient:
    def address(self, serving, path="/canvas"):
        return f"ws://127.0.0.1:{serving.port}{path}"

    def test_it_paints_and_watches(self, serving):
        async def visit():
            async with connect(self.address(serving), subprotocols=[SUBPROTOCOL], compression=None) as client:
                assert client.subprotocol == SUBPROTOCOL
                await paint_and_watch(serving, client.send, client.recv)
                await asyncio.wait_for(await client.ping(b"are you there"), PATIENCE_S)
            assert client.close_code == 1000

        asyncio.run(asyncio.wait_for(visit(), PATIENCE_S))

    def test_it_compresses(self, serving):
        async def visit():
            async with connect(self.address(serving), compression="deflate") as client:
                assert [extension.name for extension in client.protocol.extensions] == ["permessage-deflate"]
                await paint_and_watch(serving, client.send, client.recv)

        asyncio.run(asyncio.wait_for(visit(), PATIENCE_S))

    def test_its_fragments_are_put_together(self, serving):
        async def visit():
            async with connect(self.address(serving)) as client:
                await client.recv()
                data = PlaceMany(tuple((x, 50, 9) for x in range(90))).encode()
                await client.send([data[:3], data[3:200], data[200:]])
                await client.send(Ping(1).encode())
                while not isinstance(decode_server_message(await client.recv()), Pong):
                    pass
                assert (serving.pixels[50, :90] == 9).all()

        asyncio.run(asyncio.wait_for(visit(), PATIENCE_S))

    def test_it_gets_the_reason_when_it_is_closed(self, serving):
        async def visit():
            async with connect(self.address(serving)) as client:
                await client.recv()
                await client.send("text")
                with pytest.raises(websockets.ConnectionClosedError):
                    await client.recv()
                return client.close_code, client.close_reason

        code, reason = asyncio.run(asyncio.wait_for(visit(), PATIENCE_S))
        assert (code, reason) == (1003, "text messages are not supported on /canvas")

    def test_echo(self, serving):
        async def visit():
            async with connect(self.address(serving, "/echo"), max_size=None) as client:
                for message in ("é" * 1000, bytes(100_000), b""):
                    await client.send(message)
                    assert await client.recv() == message

        asyncio.run(asyncio.wait_for(visit(), PATIENCE_S))


class Inbox(picows.WSListener):
    """What a picows connection receives, in a queue: payloads; at the end None."""

    def __init__(self):
        super().__init__()
        self.payloads = asyncio.Queue()
        self.pongs = asyncio.Queue()
        self.closed = None

    def on_ws_frame(self, transport, frame):
        if frame.msg_type == picows.WSMsgType.CLOSE:
            self.closed = int(frame.get_close_code())
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type == picows.WSMsgType.PONG:
            self.pongs.put_nowait(frame.get_payload_as_bytes())
        else:
            self.payloads.put_nowait(frame.get_payload_as_bytes())

    def on_ws_disconnected(self, transport):
        self.payloads.put_nowait(None)


class TestPicowsClient:
    def visit(self, serving, act, path="/canvas"):
        async def go():
            transport, inbox = await picows.ws_connect(Inbox, f"ws://127.0.0.1:{serving.port}{path}")
            try:
                await act(transport, inbox)
            finally:
                transport.disconnect()
                await transport.wait_disconnected()

        asyncio.run(asyncio.wait_for(go(), PATIENCE_S))

    def test_it_paints_and_watches(self, serving):
        async def act(transport, inbox):
            async def send(data):
                transport.send(picows.WSMsgType.BINARY, data)

            await paint_and_watch(serving, send, inbox.payloads.get)
            transport.send_ping(b"are you there")
            assert await inbox.pongs.get() == b"are you there"

        self.visit(serving, act)

    def test_it_closes(self, serving):
        async def act(transport, inbox):
            await inbox.payloads.get()
            transport.send_close(picows.WSCloseCode.OK, b"done")
            assert await inbox.payloads.get() is None
            assert inbox.closed == 1000

        self.visit(serving, act)

    def test_it_gets_the_reason_when_it_is_closed(self, serving):
        async def act(transport, inbox):
            await inbox.payloads.get()
            transport.send(picows.WSMsgType.BINARY, b"\x09")
            assert await inbox.payloads.get() is None
            assert inbox.closed == 1002

        self.visit(serving, act)


class Peer:
    """A public library's server in a thread. `start(host, port)` is a coroutine that returns what has `sockets`."""

    def __init__(self, start):
        self._start = start
        self._loop = asyncio.new_event_loop()
        self._ready, self._end = threading.Event(), None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._main(),))
        self.port = 0

    async def _main(self):
        self._end = asyncio.Event()
        server = await self._start("127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        await server.wait_closed()

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(PATIENCE_S)
        self._loop.close()


def websockets_echo(host, port):
    async def echo(connection):
        async for message in connection:
            await connection.send([message[:2], message[2:]] if len(message) > 4 else message)

    return serve_with_websockets(echo, host, port, subprotocols=[SUBPROTOCOL], compression=None)


class Echo(picows.WSListener):
    def on_ws_frame(self, transport, frame):
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type == picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        else:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())


def picows_echo(host, port):
    return picows.ws_create_server(lambda request: Echo(), host, port)


class OurClient:
    """Our `Connection` over a plain socket."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.connection = Connection.client(f"127.0.0.1:{port}", "/", clock.now_ns(), subprotocols=[SUBPROTOCOL])
        self.events = []

    def until(self, kind):
        """Send what there is, and read until an event of this class comes."""
        while True:
            for index, event in enumerate(self.events):
                if isinstance(event, kind):
                    del self.events[: index + 1]
                    return event
            self.socket.sendall(self.connection.data_to_send())
            with contextlib.suppress(ConnectionResetError):
                data = self.socket.recv(65_536)
            now_ns = clock.now_ns()
            self.events += self.connection.receive_data(data, now_ns) if data else self.connection.receive_eof(now_ns)


@pytest.mark.parametrize("start", [websockets_echo, picows_echo])
def test_our_client_with_their_server(start):
    with Peer(start) as peer:
        client = OurClient(peer.port)
        client.until(Opened)
        for message in (bytes(3), bytes(range(256)) * 250):
            client.connection.send_binary(message)
            assert client.until(Message) == Message(message, is_text=False)
        client.connection.send_text("é")
        assert client.until(Message) == Message("é".encode(), is_text=True)
        client.connection.send_ping(b"are you there")
        assert client.until(Ponged) == Ponged(b"are you there")
        client.connection.close(1000, "done")
        closed = client.until(Closed)
        assert (closed.code, closed.was_clean) == (1000, True)
        client.socket.close()
