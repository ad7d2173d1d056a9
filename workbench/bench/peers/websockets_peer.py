"""The peer `websockets`: a task a connection, a message at a time, without compression."""

from contextlib import suppress

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from server.wire import PLACE, SUBPROTOCOL
from workbench.bench.peers.tally import BACKLOG, HOST, Tally


async def serve(tally: Tally) -> None:
    """Count until the tally is told to stop."""

    async def handle(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await connection.send(tally.hello)
            async for message in connection:
                if len(message) == PLACE.size:
                    tally.count += 1
                elif isinstance(message, bytes):
                    await connection.send(tally.answer(message))

    protocols = [Subprotocol(SUBPROTOCOL)]
    server = await listen(
        handle, HOST, 0, compression=None, ping_interval=None, subprotocols=protocols, backlog=BACKLOG, open_timeout=60
    )
    await tally.listen(next(iter(server.sockets)).getsockname()[1])
    server.close(close_connections=True)
