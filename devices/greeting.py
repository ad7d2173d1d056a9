"""Ask a server for its HELLO, or for its canvas: what a fleet has to know before it can lay out its devices, and what
viewers begin with that see nothing but DELTAs.

One blocking connection for either. Invariant: the socket is closed on return.
"""

import socket
from collections.abc import Callable
from typing import TypeVar

from devices.limits import FleetFailed
from server import clock
from server.protocol.connection import Connection
from server.protocol.events import Closed, Message, Opened, Refused
from server.protocol.messages import SUBPROTOCOL, Hello, ServerOp, Subscribe, decode_server_message
from server.protocol.websocket import CloseCode, ProtocolViolation

_PATIENCE_S = 5.0
_READ_BYTES = 65_536
_Found = TypeVar("_Found")


def read_hello(host: str, port: int, path: str) -> Hello:
    """The HELLO of the server at this address. Raises FleetFailed in one line when there is none to be had."""
    return _ask(host, port, path, b"", lambda event: _hello_of(event, f"{host}:{port}", path))


def read_canvas(host: str, port: int, path: str) -> bytes:
    """A SNAPSHOT of the whole canvas of the server at this address, as it came. Raises FleetFailed likewise."""
    return _ask(host, port, path, Subscribe().encode(), _snapshot_of)


def _ask(host: str, port: int, path: str, request: bytes, find: Callable[[Message], _Found | None]) -> _Found:
    """What `find` finds in the first message that has it, after `request` was sent, if there is one."""
    where = _where(f"{host}:{port}", path)
    try:
        with socket.create_connection((host, port), _PATIENCE_S) as stream:
            return _converse(stream, f"{host}:{port}", path, request, find)
    except TimeoutError as error:
        raise FleetFailed(f"{where} said nothing for {_PATIENCE_S:g} s; is it a canvas server?") from error
    except OSError as error:
        raise FleetFailed(f"cannot connect to {where}: {error.strerror or error}; is the server running?") from error
    except ProtocolViolation as violation:
        raise FleetFailed(f"{where} does not speak the canvas protocol: {violation.reason}") from violation


def _where(host: str, path: str) -> str:
    """The address in words, without the query, which may hold a token."""
    return f"ws://{host}{path.partition('?')[0]}"


def _converse(
    stream: socket.socket, host: str, path: str, request: bytes, find: Callable[[Message], _Found | None]
) -> _Found:
    connection = Connection.client(host, path, clock.now_ns(), subprotocols=(SUBPROTOCOL,))
    while True:
        stream.sendall(connection.data_to_send())
        data = stream.recv(_READ_BYTES)
        now_ns = clock.now_ns()
        for event in connection.receive_data(data, now_ns) if data else connection.receive_eof(now_ns):
            if isinstance(event, Message) and (found := find(event)) is not None:
                connection.close(CloseCode.NORMAL)
                stream.sendall(connection.data_to_send())
                return found
            if isinstance(event, Opened) and request:
                connection.send_binary(request)
            if isinstance(event, Refused):
                raise FleetFailed(f"{_where(host, path)} refused the connection: {event.status} {event.reason}")
            if isinstance(event, Closed):
                raise FleetFailed(f"{_where(host, path)} ended the connection: {event.reason or event.code}")


def _hello_of(event: Message, host: str, path: str) -> Hello:
    message = None if event.is_text else decode_server_message(event.data)
    if not isinstance(message, Hello):
        raise FleetFailed(f"{_where(host, path)} is no canvas: its first message is not a HELLO")
    return message


def _snapshot_of(event: Message) -> bytes | None:
    return event.data if not event.is_text and event.data[:1] == bytes([ServerOp.SNAPSHOT]) else None
