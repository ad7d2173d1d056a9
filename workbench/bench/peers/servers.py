"""The peers: a small server with each library, which accepts, sends HELLO, reads, and counts. Without compression.

Each function serves until the counter's `stopped` is set. Libraries are imported on demand: most are optional.
"""

import asyncio
import base64
import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from server.wire import PLACE, SUBPROTOCOL
from workbench.bench.peers.counter import BACKLOG, HOST, Counter

SCRIPT = Path(__file__).with_name("ws.mjs")
_END_WAIT_S = 2.0


async def serve_websockets(counter: Counter) -> None:
    """One task per connection, one message at a time."""
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed
    from websockets.typing import Subprotocol

    async def handle(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await connection.send(counter.hello)
            async for message in connection:
                if len(message) == PLACE.size:
                    counter.count += 1
                elif isinstance(message, bytes):
                    await connection.send(counter.answer(message))

    protocols = [Subprotocol(SUBPROTOCOL)]
    server = await serve(
        handle, HOST, 0, compression=None, ping_interval=None, subprotocols=protocols, backlog=BACKLOG, open_timeout=60
    )
    await counter.listen(next(iter(server.sockets)).getsockname()[1])
    server.close(close_connections=True)


async def serve_aiohttp(counter: Counter) -> None:
    """One handler per connection; frames are parsed by its C extension."""
    from aiohttp import WSMsgType, web

    async def handle(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse(compress=False, protocols=[SUBPROTOCOL])
        await connection.prepare(request)
        await connection.send_bytes(counter.hello)
        async for message in connection:
            if message.type != WSMsgType.BINARY:
                break
            if len(message.data) == PLACE.size:
                counter.count += 1
            else:
                await connection.send_bytes(counter.answer(message.data))
        return connection

    application = web.Application()
    application.router.add_get("/canvas", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, backlog=BACKLOG).start()
    await counter.listen(runner.addresses[0][1])
    await runner.cleanup()


async def serve_picows(counter: Counter) -> None:
    """One callback per frame, from a parser in Cython."""
    import picows

    binary, close = picows.WSMsgType.BINARY, picows.WSMsgType.CLOSE  # Looked up once, not per frame.

    class Listener(picows.WSListener):
        def on_ws_connected(self, transport: picows.WSTransport) -> None:
            transport.send(binary, counter.hello)

        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.payload_size == PLACE.size and frame.msg_type == binary:
                counter.count += 1
            elif frame.msg_type == binary:
                transport.send(binary, counter.answer(frame.get_payload_as_bytes()))
            elif frame.msg_type == close:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()

    def accept(request: picows.WSUpgradeRequest) -> picows.WSUpgradeResponseWithListener:
        response = picows.WSUpgradeResponse.create_101_response(extra_headers={"Sec-WebSocket-Protocol": SUBPROTOCOL})
        return picows.WSUpgradeResponseWithListener(response, Listener())

    server = await picows.ws_create_server(accept, HOST, 0, backlog=BACKLOG, websocket_handshake_timeout=60)
    await counter.listen(server.sockets[0].getsockname()[1])
    server.close()


class _Line(msgspec.Struct, frozen=True):
    """One line of the Node script."""

    port: int = 0
    count: int = 0
    cpu_us: int = 0
    resident_bytes: int = 0


async def serve_node(counter: Counter) -> None:
    """Node `ws`: a Node process counts; this one publishes what it reports, ten lines per second."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(SCRIPT),
        base64.b64encode(counter.hello).decode(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"NODE_PATH": os.pathsep.join(map(str, module_folders()))},
    )
    assert process.stdin is not None and process.stdout is not None
    first = msgspec.json.decode(await process.stdout.readline(), type=_Line)
    follower = asyncio.create_task(_follow(process.stdout, counter))
    await counter.listen(first.port)
    # The script ends with its input.
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _END_WAIT_S)
    except TimeoutError:
        process.kill()
    await follower


async def _follow(lines: asyncio.StreamReader, counter: Counter) -> None:
    """Take over the count of the Node process, and its cost in place of ours."""
    latest = _Line()
    counter.cost = lambda: (latest.cpu_us * 1000, latest.resident_bytes)
    async for line in lines:
        latest = msgspec.json.decode(line, type=_Line)
        counter.count = latest.count


def module_folders() -> list[Path]:
    """Where Node may find `ws`: here, in NODE_PATH, where Debian keeps modules, and beside the `node` program."""
    folders = [Path.cwd() / "node_modules", *map(Path, filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep)))]
    folders.append(Path("/usr/share/nodejs"))
    if program := shutil.which("node"):
        folders.append(Path(program).resolve().parents[1] / "lib" / "node_modules")
    return folders


SERVERS: dict[str, Callable[[Counter], Awaitable[None]]] = {
    "websockets": serve_websockets,
    "picows": serve_picows,
    "aiohttp": serve_aiohttp,
    "node": serve_node,
}
