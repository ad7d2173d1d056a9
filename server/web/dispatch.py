"""Reception: what becomes of a request, whichever loop read it: a canvas connection, an echo, or a plain answer.

It decides and writes to the `Connection`; it holds no socket. Invariant: a request is answered once.
"""

from server.config import ServerConfig
from server.ipc.page import Page
from server.protocol.connection import Connection
from server.protocol.events import Event, Request
from server.protocol.http import is_origin_allowed
from server.web import auth, routes
from server.wire import SUBPROTOCOL

ECHO_BYTES_MAX = 16 * 1024 * 1024


def receive(
    connection: Connection,
    request: Request,
    config: ServerConfig,
    telemetry: Page,
    now_ns: int,
    deflated_count: int,
) -> tuple[str, bool, list[Event]]:
    """Answer a request. Returns the WebSocket path that it opened, "" for none, whether it is opened only for looking
    on, and what came behind the request.

    PICTURE_PATH instead of a path: the request is let in and not answered yet, for that takes longer than a loop may.
    deflated_count: connections of this loop that may compress already.
    """
    path = request.head.path
    served = (routes.CANVAS_PATH, routes.ECHO_PATH) if config.echo else (routes.CANVAS_PATH,)
    is_viewer = not auth.is_let_in(request, config.token)
    if is_viewer and not auth.may_look_on(request, config):
        page = auth.token_wanted()
        connection.respond(page.status, page.headers, page.body)
        return "", False, []
    if not request.is_upgrade or path not in served:
        if path == routes.PICTURE_PATH and not request.is_upgrade:
            return routes.PICTURE_PATH, is_viewer, []
        page = routes.respond(request.head, telemetry, now_ns)
        connection.respond(page.status, page.headers, page.body)
        return "", False, []
    if not is_origin_allowed(request.head, config.origins):
        page = routes.origin_refused(request.head)
        connection.respond(page.status, page.headers, page.body)
        return "", False, []
    subprotocol = SUBPROTOCOL if SUBPROTOCOL in request.subprotocols else None
    bytes_max = ECHO_BYTES_MAX if path == routes.ECHO_PATH else None
    deflates = config.deflate == "on" and (deflated_count + 1) * config.loops <= config.deflate_connections_max
    behind = connection.accept_upgrade(subprotocol, message_bytes_max=bytes_max, deflates=deflates)
    return path, is_viewer, behind


def echo(connection: Connection, data: bytes, is_text: bool) -> None:
    """Send a message back as it came, while there is somebody to hear it."""
    if connection.can_send and is_text:
        connection.send_text(data.decode())
    elif connection.can_send:
        connection.send_binary(data)
