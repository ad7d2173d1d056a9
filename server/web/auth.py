"""Who may ask for what: the token of a server that has one, wherever in a request a client can put it.

It decides about one request and remembers nothing. Invariant: a token is compared in constant time, and none is ever
repeated, neither in an answer nor in a line of text.
"""

import hmac
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import unquote

from server.config import ServerConfig
from server.protocol.events import Request
from server.web.routes import CANVAS_PATH, PICTURE_PATH, Response, is_public

TOKEN_SUBPROTOCOL = "pixelcanvas.token."
"""What a token is put behind to be offered as a sub-protocol: the only header that a page can send with a WebSocket."""
_REMEDY = (
    "this server wants its token: add ?token=TOKEN to the address, send 'Authorization: Bearer TOKEN', "
    f"or offer the sub-protocol {TOKEN_SUBPROTOCOL}TOKEN\n"
)


def is_let_in(request: Request, token: str) -> bool:
    """Whether a request may have what it asks for: it brings the token, there is none, or anybody may have that."""
    if not token or (not request.is_upgrade and is_public(request.head.path)):
        return True
    wanted = token.encode()
    # Each is compared, whether or not one before it was right: how long that takes tells nothing.
    return sum(hmac.compare_digest(given.encode(), wanted) for given in _given(request)) > 0


def may_look_on(request: Request, config: ServerConfig) -> bool:
    """Whether who is not let in may see the canvas all the same, live or as a picture: who brings no token, not a wrong
    one, where viewers need none."""
    is_without = next(_given(request), None) is None
    return config.viewers_only_without_token and is_without and request.head.path in (CANVAS_PATH, PICTURE_PATH)


def token_wanted() -> Response:
    """401, with each way to bring the token."""
    headers = (("WWW-Authenticate", 'Bearer realm="pixelcanvas"'), ("Content-Type", "text/plain; charset=utf-8"))
    return Response(HTTPStatus.UNAUTHORIZED, (*headers, ("Cache-Control", "no-store")), _REMEDY.encode())


def _given(request: Request) -> Iterator[str]:
    """Every token that a request brings."""
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
