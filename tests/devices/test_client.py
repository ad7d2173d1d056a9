"""The WebSocket client, blocking and non-blocking, at a real server and at one that misbehaves."""

import hashlib
import re
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from websockets.sync.server import ServerConnection, serve

from devices.client import Client, ConnectionEnded, Server, read_canvas, read_hello
from devices.limits import FleetFailed
from server.protocol.messages import Delta, Hello, Pong, Snapshot, decode_server_message
from server.system.clock import now_ns
from support.serving import PATIENCE_S, Serving

HELLO = Hello(40, 30, 32, 10, 60, 120, 1)


@pytest.fixture(scope="module")
def serving() -> Iterator[Any]:
    with Serving(width=320, height=300, tick_ms=10, rate_per_s=60_000, burst=60_000) as serving:
        yield serving


@pytest.fixture
def scripted() -> Iterator[Any]:
    """`scripted(act)` starts a server that does `act(connection)` with each connection, and returns its port."""
    servers: list[Any] = []

    def start(act: Any) -> int:
        server = serve(act, "127.0.0.1", 0)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return int(server.socket.getsockname()[1])

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join(PATIENCE_S)


def test_a_blocking_client_places_and_sees_it(serving: Any) -> None:
    with Client("127.0.0.1", serving.port, timeout_s=PATIENCE_S) as client:
        hello = client.receive()
        assert isinstance(hello, Hello) and (hello.width, hello.height) == (320, 300)
        client.subscribe(interval_ms=0)
        snapshot = client.receive()
        assert isinstance(snapshot, Snapshot) and len(snapshot.pixels) == 320 * 300
        client.place(3, 4, 17)
        client.ping(99)
        seen = [client.receive() for _ in range(2)]
        assert any(isinstance(message, Pong) and message.nonce == 99 for message in seen)
        while not any(isinstance(message, Delta) for message in seen):
            seen.append(client.receive())
        assert client.sent_count == 1 and client.unsent_bytes == 0
        assert serving.pixels[4, 3] == 17
    assert not client.is_open
    with pytest.raises(ConnectionEnded, match="closed by this client"):
        client.place(0, 0, 0)
    client.close()


def test_a_non_blocking_client_sends_in_order_and_counts_what_the_kernel_took(serving: Any) -> None:
    client = Client("127.0.0.1", serving.port, timeout_s=0)
    deadline_ns, messages = now_ns() + PATIENCE_S * 1_000_000_000, []

    def exchange_until(count: int) -> None:
        while len(messages) < count:
            assert now_ns() < deadline_ns
            messages.extend(decode_server_message(data) for data in client.exchange(now_ns()))

    exchange_until(1)
    assert client.is_open and isinstance(messages[0], Hello)
    color = np.arange(9000) % 256
    client.place_many(np.arange(9000) % 320, np.arange(9000) // 320, color)
    client.ping(5)
    assert client.sent_count == 0 and client.unsent_bytes > 9000 * 5
    exchange_until(2)
    assert messages[1].nonce == 5
    assert client.sent_count == 9000 and client.unsent_bytes == 0
    assert (serving.pixels.reshape(-1)[:9000] == color).all()
    client.close()


def test_a_snapshot_may_be_longer_than_what_clients_may_send(serving: Any) -> None:
    serving.pixels[:] = np.random.default_rng(1).integers(0, 256, serving.pixels.shape)
    where = Server("127.0.0.1", serving.port, "/canvas")
    assert (read_hello(where).width, read_hello(where).height) == (320, 300)
    snapshot = decode_server_message(read_canvas(where))
    assert isinstance(snapshot, Snapshot) and len(snapshot.pixels) == 320 * 300


def test_messages_before_the_end_are_received_first(scripted: Any) -> None:
    def act(connection: ServerConnection) -> None:
        connection.send(HELLO.encode())
        connection.close(1001, "the server stops")

    client = Client("127.0.0.1", scripted(act), timeout_s=PATIENCE_S)
    assert client.receive() == HELLO
    with pytest.raises(ConnectionEnded, match="the server stops"):
        client.receive()


def test_messages_that_come_with_the_handshake_and_the_end_are_received_first() -> None:
    """All in one segment, as from a server that stops at that moment."""
    listener = socket.create_server(("127.0.0.1", 0))

    def act() -> None:
        with listener, listener.accept()[0] as stream:
            key = re.search(rb"Sec-WebSocket-Key: (\S+)", stream.recv(4096))
            assert key is not None
            accept = b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            hello, reason = HELLO.encode(), (1001).to_bytes(2, "big") + b"the server stops"
            frames = bytes([0x82, len(hello)]) + hello + bytes([0x88, len(reason)]) + reason
            stream.sendall(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + frames)
            stream.recv(4096)

    thread = threading.Thread(target=act)
    thread.start()
    client = Client("127.0.0.1", listener.getsockname()[1], timeout_s=PATIENCE_S)
    assert client.receive() == HELLO
    with pytest.raises(ConnectionEnded, match="the server stops"):
        client.receive()
    client.close()
    thread.join(PATIENCE_S)


def test_a_text_message_ends_the_connection(scripted: Any) -> None:
    codes: list[int | None] = []

    def act(connection: ServerConnection) -> None:
        connection.send("hello")
        for _ in connection:
            pass
        codes.append(connection.close_code)

    port = scripted(act)
    with pytest.raises(FleetFailed, match=rf"^ws://127.0.0.1:{port}/canvas ended the connection: a text message"):
        read_hello(Server("127.0.0.1", port, "/canvas"))


@pytest.mark.parametrize("timeout_s", [PATIENCE_S, 0], ids=["blocking", "non-blocking"])
def test_a_refusal_has_status_and_reason(serving: Any, timeout_s: float) -> None:
    with pytest.raises(ConnectionEnded, match="404") as caught:
        client = Client("127.0.0.1", serving.port, "/nowhere", timeout_s=timeout_s)
        while True:
            client.exchange(now_ns())
    assert caught.value.was_refused


def test_failures_name_the_address_without_its_query() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        where = Server("127.0.0.1", taken.getsockname()[1], "/canvas?token=secret")
        fault = rf"^cannot connect to ws://127.0.0.1:{where.port}/canvas: connection refused; is the server running\?$"
        with pytest.raises(FleetFailed, match=fault):
            read_hello(where)


def test_silence_is_reported_with_its_length(scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.client.TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = Server("127.0.0.1", silent.getsockname()[1], "/canvas")
        with pytest.raises(FleetFailed, match=r"said nothing for 0\.05 s; is it a canvas server\?$"):
            read_hello(where)
