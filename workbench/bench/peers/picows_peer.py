"""The peer `picows`: a callback a frame, from a parser in Cython."""

from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from server.wire import PLACE, SUBPROTOCOL
from workbench.bench.peers.tally import BACKLOG, HOST, Tally


class Counter(WSListener):
    """Counts what one connection sends."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Greet."""
        transport.send(WSMsgType.BINARY, self._tally.hello)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Count a placement, answer a PING, end in order."""
        if frame.payload_size == PLACE.size and frame.msg_type == WSMsgType.BINARY:
            self._tally.count += 1
        elif frame.msg_type == WSMsgType.BINARY:
            transport.send(WSMsgType.BINARY, self._tally.answer(frame.get_payload_as_bytes()))
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


async def serve(tally: Tally) -> None:
    """Count until the tally is told to stop."""

    def greet(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        headers = {"Sec-WebSocket-Protocol": SUBPROTOCOL}
        return WSUpgradeResponseWithListener(
            WSUpgradeResponse.create_101_response(extra_headers=headers), Counter(tally)
        )

    server = await ws_create_server(greet, HOST, 0, backlog=BACKLOG, websocket_handshake_timeout=60)
    await tally.listen(server.sockets[0].getsockname()[1])
    server.close()
