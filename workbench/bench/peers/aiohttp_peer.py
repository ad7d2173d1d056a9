"""The peer `aiohttp`: a handler a connection, frames parsed by its C extension, without compression."""

from aiohttp import WSMsgType, web

from server.wire import PLACE, SUBPROTOCOL
from workbench.bench.peers.tally import BACKLOG, HOST, Tally


async def serve(tally: Tally) -> None:
    """Count until the tally is told to stop."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse(compress=False, protocols=[SUBPROTOCOL])
        await connection.prepare(request)
        await connection.send_bytes(tally.hello)
        async for message in connection:
            if message.type != WSMsgType.BINARY:
                break
            if len(message.data) == PLACE.size:
                tally.count += 1
            else:
                await connection.send_bytes(tally.answer(message.data))
        return connection

    application = web.Application()
    application.router.add_get("/canvas", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0, backlog=BACKLOG)
    await site.start()
    await tally.listen(runner.addresses[0][1])
    await runner.cleanup()
