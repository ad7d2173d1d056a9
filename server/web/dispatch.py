"""What becomes of a request, whichever loop has read it: a canvas connection, an echo, a plain answer, or a refusal.

It decides, and writes to the `Connection`; it holds no socket and remembers nothing. A token is compared in constant
time, and is never repeated in an answer.
"""

import hmac
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import unquote

from server.config import ServerConfig
from server.ipc.page import Page
from server.protocol.connection import Connection
from server.protocol.events import Event, Request
from server.protocol.http import is_origin_allowed
from server.web import routes
from server.web.routes import CANVAS_PATH, ECHO_PATH, PICTURE_PATH, Response
from server.wire import SUBPROTOCOL

ECHO_BYTES_MAX = 16 * 1024 * 1024
# Prefix of a token offered as a sub-protocol, which is the only header that a page can send with a WebSocket.
TOKEN_SUBPROTOCOL = "pixelcanvas.token."
_REMEDY = (
    "this server wants its token: add ?token=TOKEN to the address, send 'Authorization: Bearer TOKEN', "
    f"or offer the sub-protocol {TOKEN_SUBPROTOCOL}TOKEN\n"
)


def receive(
    connection: Connection,
    request: Request,
    config: ServerConfig,
    telemetry: Page,
    now_ns: int,
    deflated_count: int,
) -> tuple[str, bool, list[Event]]:
    """Answer a request. Returns the WebSocket path that it opened ("": none), whether for viewing only, and the events
    that came after the request.

    PICTURE_PATH as the path: the request is accepted and not answered yet, for that takes longer than a loop may.
    deflated_count: connections of this loop that may compress already.
    """
    path = request.head.path
    served = (CANVAS_PATH, ECHO_PATH) if config.echo else (CANVAS_PATH,)
    is_viewer = not is_authorized(request, config.token)
    page: Response | None = None
    if is_viewer and not _may_view(request, config):
        page = _unauthorized()
    elif not request.is_upgrade and path == PICTURE_PATH:
        return PICTURE_PATH, is_viewer, []
    elif not request.is_upgrade or path not in served:
        page = routes.respond(request.head, telemetry, now_ns)
    elif not is_origin_allowed(request.head, config.origins):
        page = routes.origin_refused(request.head)
    if page is not None:
        connection.respond(*page)
        return "", False, []
    subprotocol = SUBPROTOCOL if SUBPROTOCOL in request.subprotocols else None
    bytes_max = ECHO_BYTES_MAX if path == ECHO_PATH else None
    # The limit is for the whole server; each loop has an equal part of it, as it knows its own connections only.
    deflates = config.deflate == "on" and (deflated_count + 1) * config.loops <= config.deflate_connections_max
    behind = connection.accept_upgrade(subprotocol, message_bytes_max=bytes_max, deflates=deflates)
    return path, is_viewer, behind


def echo(connection: Connection, data: bytes, is_text: bool) -> None:
    """Send a message back as it came, while the peer may still read it."""
    if connection.can_send and is_text:
        connection.send_text(data.decode())
    elif connection.can_send:
        connection.send_binary(data)


def is_authorized(request: Request, token: str) -> bool:
    """Whether a request may have what it asks for: it brings the token, there is none, or it asks for public files."""
    if not token or (not request.is_upgrade and routes.is_public(request.head.path)):
        return True
    wanted = token.encode()
    # All are compared, even after a match: the time that this takes tells nothing.
    return sum(hmac.compare_digest(given.encode(), wanted) for given in _tokens_of(request)) > 0


def _may_view(request: Request, config: ServerConfig) -> bool:
    """Whether an unauthorized request may see the canvas all the same. One with a wrong token may not."""
    has_token = next(_tokens_of(request), None) is not None
    return config.viewers_only_without_token and not has_token and request.head.path in (CANVAS_PATH, PICTURE_PATH)


def _unauthorized() -> Response:
    """401, with each way to send the token."""
    headers = (("WWW-Authenticate", 'Bearer realm="pixelcanvas"'), ("Content-Type", "text/plain; charset=utf-8"))
    return Response(HTTPStatus.UNAUTHORIZED, (*headers, ("Cache-Control", "no-store")), _REMEDY.encode())


def _tokens_of(request: Request) -> Iterator[str]:
    for field in request.head.target.partition("?")[2].split("&"):
        name, _, value = field.partition("=")
        if name == "token":
            yield unquote(value)
    for value in request.head.headers.all("Authorization"):
        scheme, _, credentials = value.partition(" ")
        if scheme.lower() == "bearer":
            yield credentials.strip()
    for name in request.subprotocols:
        if name.startswith(TOKEN_SUBPROTOCOL):
            yield name.removeprefix(TOKEN_SUBPROTOCOL)
