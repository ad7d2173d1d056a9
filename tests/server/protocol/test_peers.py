"""An independent implementation speaks with both ends of ours, in memory."""

from typing import Any, ClassVar

import pytest
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as PeerRequest
from websockets.http11 import Response as PeerResponse
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from server.protocol.connection import Connection, Role, State
from server.protocol.events import Closed, Event, Message, Opened, Pinged, Ponged, Refused, Request
from support.feeding import NOW, to_server


def pass_bytes(source: Connection, target: ClientProtocol | ServerProtocol) -> None:
    """All that we have to send to the independent peer; the end too, when there is one."""
    data = source.data_to_send()
    if data:
        target.receive_data(data)
    if source.state in (State.ENDING, State.CLOSED):
        target.receive_eof()


def take_bytes(source: ClientProtocol | ServerProtocol, target: Connection) -> list[Event]:
    """All that the independent peer has to send, an empty string standing for its end."""
    events: list[Event] = []
    for data in source.data_to_send():
        events += target.receive_data(data, NOW) if data else target.receive_eof(NOW)
    return events


class TestIndependentClient:
    """Our server with the client of `websockets`."""

    def connect(self) -> tuple[ClientProtocol, Connection]:
        peer = ClientProtocol(parse_uri("ws://canvas.example/canvas"), subprotocols=["pixelcanvas.v1"])  # type: ignore[list-item]
        server = Connection(Role.SERVER, NOW)
        peer.send_request(peer.connect())
        (request,) = take_bytes(peer, server)
        assert isinstance(request, Request)
        server.accept_upgrade(request.subprotocols[0])
        pass_bytes(server, peer)
        (response,) = peer.events_received()
        assert isinstance(response, PeerResponse)
        assert peer.handshake_exc is None
        assert peer.subprotocol == "pixelcanvas.v1"
        return peer, server

    def test_messages_both_ways(self) -> None:
        peer, server = self.connect()
        peer.send_text("é".encode(), fin=False)
        peer.send_ping(b"p")
        peer.send_continuation(b"!", fin=True)
        peer.send_binary(bytes(65536))
        assert take_bytes(peer, server) == [
            Pinged(b"p"),
            Message("é!".encode(), is_text=True),
            Message(bytes(65536), is_text=False),
        ]
        server.send_text("ü")
        server.send_binary(bytes(70000))
        pass_bytes(server, peer)
        assert peer.events_received() == [
            Frame(Opcode.PONG, b"p"),
            Frame(Opcode.TEXT, "ü".encode()),
            Frame(Opcode.BINARY, bytes(70000)),
        ]

    def test_it_closes(self) -> None:
        peer, server = self.connect()
        peer.send_close(4001, "enough")
        assert take_bytes(peer, server) == [Closed(4001, "enough", was_clean=True)]
        pass_bytes(server, peer)
        assert peer.close_code == 4001

    def test_we_close(self) -> None:
        peer, server = self.connect()
        server.close(1001, "the server stops")
        pass_bytes(server, peer)
        assert take_bytes(peer, server) == [Closed(1001, "the server stops", was_clean=True)]
        pass_bytes(server, peer)
        assert (peer.close_code, peer.close_reason) == (1001, "the server stops")

    def test_its_violation_is_reported_to_it(self) -> None:
        peer, server = self.connect()
        server.receive_data(to_server(2, bytes(65537))[:14], NOW)
        pass_bytes(server, peer)
        assert (peer.close_code, peer.close_reason) == (1009, "a message of 65537 bytes or more; at most 65536")


class TestIndependentServer:
    """Our client with the server of `websockets`."""

    def connect(self) -> tuple[ServerProtocol, Connection]:
        peer = ServerProtocol(subprotocols=["pixelcanvas.v1"])  # type: ignore[list-item]
        client = Connection.client("canvas.example", "/canvas", NOW, subprotocols=["pixelcanvas.v1"])
        pass_bytes(client, peer)
        (request,) = peer.events_received()
        assert isinstance(request, PeerRequest)
        peer.send_response(peer.accept(request))
        assert take_bytes(peer, client) == [Opened("pixelcanvas.v1")]
        return peer, client

    def test_messages_both_ways(self) -> None:
        peer, client = self.connect()
        client.send_text("é")
        client.send_binary(bytes(range(256)) * 300)
        client.send_ping(b"p")
        pass_bytes(client, peer)
        assert peer.events_received() == [
            Frame(Opcode.TEXT, "é".encode()),
            Frame(Opcode.BINARY, bytes(range(256)) * 300),
            Frame(Opcode.PING, b"p"),
        ]
        peer.send_binary(b"a", fin=False)
        peer.send_continuation(b"b", fin=True)
        assert take_bytes(peer, client) == [Ponged(b"p"), Message(b"ab", is_text=False)]

    def test_we_close(self) -> None:
        peer, client = self.connect()
        client.close(1000, "done")
        pass_bytes(client, peer)
        assert take_bytes(peer, client) == [Closed(1000, "done", was_clean=True)]
        pass_bytes(client, peer)
        assert (peer.close_code, peer.close_reason) == (1000, "done")

    def test_it_refuses(self) -> None:
        peer = ServerProtocol()
        client = Connection.client("canvas.example", "/canvas", NOW)
        pass_bytes(client, peer)
        peer.events_received()
        peer.send_response(peer.reject(503, "full"))  # type: ignore[arg-type]
        assert take_bytes(peer, client)[0] == Refused(503, "Service Unavailable")


class TestIndependentCompression:
    """Both ends of ours against `websockets`, whatever it offers or answers."""

    PARAMETERS: ClassVar = [
        {"server_no_context_takeover": forgets, "client_no_context_takeover": value}
        | {"server_max_window_bits": bits, "client_max_window_bits": bits}
        for forgets in (False, True)
        for value in (False, True)
        for bits in (None, 9, 12, 15)
    ]
    SAID = ("the same again, " * 40, "", "the same again, " * 9000, "short", "the same again, " * 40)

    @pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
    def test_our_server(self, parameters: dict[str, Any]) -> None:
        offer = ClientPerMessageDeflateFactory(**parameters)
        peer = ClientProtocol(parse_uri("ws://canvas.example/"), extensions=[offer], max_size=None)
        server = Connection(Role.SERVER, NOW, message_bytes_max=2**20)
        peer.send_request(peer.connect())
        take_bytes(peer, server)
        server.accept_upgrade(deflates=True)
        pass_bytes(server, peer)
        assert peer.handshake_exc is None
        assert len(peer.extensions) == 1
        peer.events_received()
        self.converse(peer, server)

    @pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
    def test_our_client(self, parameters: dict[str, Any]) -> None:
        answer = ServerPerMessageDeflateFactory(**parameters)
        peer = ServerProtocol(extensions=[answer], max_size=None)
        client = Connection.client("canvas.example", "/", NOW, offers_deflate=True, message_bytes_max=2**20)
        pass_bytes(client, peer)
        (request,) = peer.events_received()
        assert isinstance(request, PeerRequest)
        peer.send_response(peer.accept(request))
        take_bytes(peer, client)
        assert client.is_deflated
        self.converse(peer, client)

    def converse(self, peer: ClientProtocol | ServerProtocol, ours: Connection) -> None:
        for text in self.SAID:
            peer.send_text(text.encode())
            assert take_bytes(peer, ours) == [Message(text.encode(), is_text=True)]
            ours.receive_data(b"", NOW)
            ours.send_text(text)
            pass_bytes(ours, peer)
            (frame,) = peer.events_received()
            assert isinstance(frame, Frame)
            assert bytes(frame.data) == text.encode()
