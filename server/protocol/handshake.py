"""The opening handshake of RFC 6455, section 4, both sides: heads in, heads out. No state, no socket.

Invariant: a handshake that this module lets through is one that section 4 allows.
"""

from collections.abc import Sequence

from server.protocol import extension
from server.protocol.agreement import Agreement, judge_answer
from server.protocol.http import Header, HttpFault, RequestHead, ResponseHead, encode_request, encode_response
from server.protocol.websocket import accept_key, is_handshake_key

_VERSION = "13"


def check_upgrade(request: RequestHead) -> str:
    """The Sec-WebSocket-Key of a valid upgrade request (RFC 6455, 4.2.1). Raises HttpFault 400 or 426."""
    headers = request.headers
    if request.method != "GET" or request.minor_version < 1:
        raise HttpFault(400, f"an upgrade by {request.method} HTTP/1.{request.minor_version}; it takes GET HTTP/1.1")
    if not headers.has_token("Connection", "Upgrade"):
        raise HttpFault(400, "an upgrade without 'Connection: Upgrade'")
    version = headers.get("Sec-WebSocket-Version")
    if version != _VERSION:
        fault = f"Sec-WebSocket-Version is {version or 'missing'}; only {_VERSION} is spoken"
        raise HttpFault(426, fault, [("Sec-WebSocket-Version", _VERSION), ("Upgrade", "websocket")])
    keys = headers.all("Sec-WebSocket-Key")
    if len(keys) != 1 or not is_handshake_key(keys[0]):
        raise HttpFault(400, "Sec-WebSocket-Key must be given once and be base64 of 16 bytes")
    return keys[0]


def upgrade_response(key: str, subprotocol: str | None, extensions: str = "") -> bytes:
    """The 101 that opens the connection."""
    headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(key))]
    if subprotocol is not None:
        headers.append(("Sec-WebSocket-Protocol", subprotocol))
    if extensions:
        headers.append((extension.HEADER, extensions))
    return encode_response(101, headers)


def upgrade_request(
    host: str, path: str, key: str, subprotocols: Sequence[str] = (), headers: Sequence[Header] = ()
) -> bytes:
    """A client's request. `host` as the Host header has it, with the port unless it is 80; `headers` go last."""
    fields = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", _VERSION),
    ]
    if subprotocols:
        fields.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
    return encode_request("GET", path, [*fields, *headers])


def check_answer(
    response: ResponseHead, key: str, subprotocols: Sequence[str], *, offers_deflate: bool = False
) -> tuple[str | None, Agreement | None]:
    """Sub-protocol and compression that a server's 101 chose (RFC 6455, 4.1). Raises HttpFault with what is wrong."""
    headers = response.headers
    if response.status != 101:
        raise HttpFault(response.status, response.phrase or "the server refused")
    if not headers.has_token("Upgrade", "websocket") or not headers.has_token("Connection", "Upgrade"):
        raise HttpFault(101, "the server's 101 does not upgrade to websocket")
    if headers.get("Sec-WebSocket-Accept") != accept_key(key):
        raise HttpFault(101, "the server's Sec-WebSocket-Accept does not answer our key")
    agreement = judge_answer(extension.parse_extensions(headers.all(extension.HEADER), 101), is_offered=offers_deflate)
    chosen = headers.get("Sec-WebSocket-Protocol")
    if chosen is not None and chosen not in subprotocols:
        raise HttpFault(101, f"the server chose sub-protocol {chosen[:40]!r}, which was not offered")
    return chosen, agreement
