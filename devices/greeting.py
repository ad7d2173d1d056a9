"""Ask a server for its HELLO, or for its canvas: what a fleet has to know before it can lay out its devices, and what
viewers begin with that see nothing but DELTAs.

One blocking connection for either. Invariant: the socket is closed on return.
"""

import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from devices.limits import FleetFailed
from server.protocol.connection import Connection
from server.protocol.events import Closed, Message, Opened, Refused
from server.protocol.http import authority_of
from server.protocol.messages import SUBPROTOCOL, Hello, ServerOp, Subscribe, decode_server_message
from server.protocol.websocket import CloseCode, ProtocolViolation
from server.system import clock
from server.tls.trust import trusting

_PATIENCE_S = 5.0
_READ_BYTES = 65_536
_Found = TypeVar("_Found")


class Server(NamedTuple):
    """Whom to ask. `certificate`: the file of what it shows where it speaks TLS; "": it does not."""

    host: str
    port: int
    path: str
    certificate: str = ""

    @property
    def authority(self) -> str:
        """Host and port as a URL has them."""
        return authority_of(self.host, self.port)

    @property
    def shown(self) -> str:
        """The address in words, without the query, which may hold a token."""
        return f"{'wss' if self.certificate else 'ws'}://{self.authority}{self.path.partition('?')[0]}"


def read_hello(server: Server) -> Hello:
    """The HELLO of this server. Raises FleetFailed in one line when there is none to be had."""
    return _ask(server, b"", lambda event: _hello_of(event, server))


def read_canvas(server: Server) -> bytes:
    """A SNAPSHOT of the whole canvas of this server, as it came. Raises FleetFailed likewise."""
    return _ask(server, Subscribe().encode(), _snapshot_of)


def _ask(server: Server, request: bytes, find: Callable[[Message], _Found | None]) -> _Found:
    """What `find` finds in the first message that has it, after `request` was sent, if there is one."""
    try:
        with _connected(server) as stream:
            return _converse(stream, server, request, find)
    except TimeoutError as error:
        raise FleetFailed(f"{server.shown} said nothing for {_PATIENCE_S:g} s; is it a canvas server?") from error
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise FleetFailed(
            f"{server.shown} is not the server of {server.certificate}: {reason}; is another in its place?"
        ) from error
    except OSError as error:
        raise FleetFailed(
            f"cannot connect to {server.shown}: {error.strerror or error}; is the server running?"
        ) from error
    except ProtocolViolation as violation:
        raise FleetFailed(f"{server.shown} does not speak the canvas protocol: {violation.reason}") from violation


def _connected(server: Server) -> socket.socket:
    """A blocking socket that speaks to this server. Raises OSError."""
    stream = socket.create_connection((server.host, server.port), _PATIENCE_S)
    if not server.certificate:
        return stream
    try:
        return trusting(server.certificate).wrap_socket(stream)
    except OSError:
        stream.close()
        raise


def _converse(
    stream: socket.socket, server: Server, request: bytes, find: Callable[[Message], _Found | None]
) -> _Found:
    connection = Connection.client(server.authority, server.path, clock.now_ns(), subprotocols=(SUBPROTOCOL,))
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
                raise FleetFailed(f"{server.shown} refused the connection: {event.status} {event.reason}")
            if isinstance(event, Closed):
                raise FleetFailed(f"{server.shown} ended the connection: {event.reason or event.code}")


def _hello_of(event: Message, server: Server) -> Hello:
    message = None if event.is_text else decode_server_message(event.data)
    if not isinstance(message, Hello):
        raise FleetFailed(f"{server.shown} is no canvas: its first message is not a HELLO")
    return message


def _snapshot_of(event: Message) -> bytes | None:
    return event.data if not event.is_text and event.data[:1] == bytes([ServerOp.SNAPSHOT]) else None
