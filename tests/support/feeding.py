"""What the tests of connections share: an open end of each role, and the ways to feed a stream to it."""

import random
from collections.abc import Callable, Iterable

import pytest

from server.protocol.connection import Connection, Role
from server.protocol.events import Event, Opened
from server.protocol.websocket import encode_frame

NOW = 1_000_000_000
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x37\xfa\x21\x3d"
UPGRADE = (
    b"GET /canvas HTTP/1.1\r\nHost: canvas.example\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: other, pixelcanvas.v1\r\n\r\n"
)
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def four_bytes(count: int) -> bytes:
    """In place of randomness."""
    return (MASK * count)[:count]


def to_server(opcode: int, payload: bytes = b"", *, is_final: bool = True) -> bytes:
    return encode_frame(opcode, payload, is_final=is_final, mask_key=MASK)


def open_server(**limits: int) -> Connection:
    connection = Connection(Role.SERVER, NOW, **limits)
    connection.receive_data(UPGRADE, NOW)
    connection.accept_upgrade("pixelcanvas.v1")
    connection.data_to_send()
    return connection


def open_client() -> Connection:
    connection = Connection.client("canvas.example", "/canvas", NOW, KEY, random_bytes=four_bytes)
    connection.data_to_send()
    assert connection.receive_data(ACCEPTED, NOW) == [Opened(None)]
    return connection


Cut = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> Iterable[bytes]:
    return [data]


def bytewise(data: bytes) -> Iterable[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def with_a_tail(data: bytes) -> Iterable[bytes]:
    return [data[: len(data) // 2], data[len(data) // 2 :]]


three_ways = pytest.mark.parametrize("cut", [whole, bytewise, with_a_tail])
"""The three ways to feed a stream; what comes out must not depend on it."""


def feed(connection: Connection, data: bytes, cut: Cut = whole) -> list[Event]:
    events: list[Event] = []
    for piece in cut(data):
        events += connection.receive_data(piece, NOW)
    return events


def random_cuts(data: bytes, seed: int) -> Iterable[bytes]:
    cuts = sorted(random.Random(seed).randrange(len(data) + 1) for _ in range(5))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
