"""The opening handshake of RFC 6455, section 4, for both ends: heads of HTTP in, heads out."""

import base64
import binascii
import hashlib
from collections.abc import Sequence

from server.protocol import deflate
from server.protocol.deflate import Agreement, Extension
from server.protocol.events import Opened, Request
from server.protocol.http import (
    Header,
    HttpFault,
    RequestHead,
    encode_request,
    encode_response,
    parse_request,
    parse_response,
)
from server.protocol.websocket import LocalError

_VERSION = "13"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_key(key: str) -> str:
    """The Sec-WebSocket-Accept that answers this Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def new_handshake_key(random: bytes) -> str:
    """A Sec-WebSocket-Key from 16 random bytes."""
    assert len(random) == 16
    return base64.b64encode(random).decode()


def is_handshake_key(key: str) -> bool:
    """Whether this is base64 of 16 bytes, as a Sec-WebSocket-Key must be."""
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def upgrade_request(
    host: str, path: str, key: str, subprotocols: Sequence[str] = (), headers: Sequence[Header] = ()
) -> bytes:
    """A client's request. `host` as in the Host header, with the port unless it is 80; `headers` go last."""
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


def upgrade_response(key: str, subprotocol: str | None, extensions: str = "") -> bytes:
    """The 101 that opens the connection."""
    headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(key))]
    if subprotocol is not None:
        headers.append(("Sec-WebSocket-Protocol", subprotocol))
    if extensions:
        headers.append((deflate.HEADER, extensions))
    return encode_response(101, headers)


class Handshake:
    """Remembers what was asked and offered, until it is answered.

    A server calls `read_request`, then one of `accept`, `respond` and `refuse`; a client `ask`, then `read_response`.
    """

    def __init__(self) -> None:
        self.is_upgrade = False
        self._is_head_request = False
        self._key = ""
        self._subprotocols: tuple[str, ...] = ()
        self._extensions: list[Extension] = []
        self._offers_deflate = False

    def read_request(self, head: str) -> Request:
        """The request in a head. Raises HttpFault; for an upgrade that section 4.2.1 does not allow: 400 or 426."""
        request = parse_request(head)
        self._is_head_request = request.method == "HEAD"
        self.is_upgrade = request.is_upgrade
        if self.is_upgrade:
            self._key = _key_of(request)
            self._subprotocols = tuple(request.headers.tokens("Sec-WebSocket-Protocol"))
            self._extensions = deflate.parse_extensions(request.headers.all(deflate.HEADER))
        return Request(request, self.is_upgrade, self._subprotocols)

    def accept(self, subprotocol: str | None, *, deflates: bool) -> tuple[bytes, Agreement | None]:
        """The 101, and what it agrees on about compression. Raises LocalError for a sub-protocol not offered."""
        if subprotocol is not None and subprotocol not in self._subprotocols:
            raise LocalError(f"sub-protocol {subprotocol!r} was not offered; offered were {list(self._subprotocols)}")
        # Extensions are optional: without an offer that we accept, messages go uncompressed.
        accepted = deflate.answer_offers(self._extensions) if deflates else None
        value, agreed = accepted or ("", None)
        return upgrade_response(self._key, subprotocol, value), agreed

    def respond(self, status: int, headers: Sequence[Header], body: bytes) -> bytes:
        """An HTTP response, after which the connection ends. The response to HEAD has no body."""
        fields = [*headers, ("Connection", "close")]
        return encode_response(status, fields, body, has_body=not self._is_head_request)

    def refuse(self, fault: HttpFault) -> bytes:
        """The HTTP response that names a fault."""
        fields = [*fault.headers, ("Content-Type", "text/plain; charset=utf-8")]
        return self.respond(fault.status, fields, f"{fault.reason}\n".encode())

    def ask(
        self,
        host: str,
        path: str,
        key: str,
        subprotocols: Sequence[str],
        headers: Sequence[Header],
        *,
        offers_deflate: bool,
    ) -> bytes:
        """A client's request."""
        self._key, self._subprotocols, self._offers_deflate = key, tuple(subprotocols), offers_deflate
        offer = [(deflate.HEADER, deflate.OFFER)] if offers_deflate else []
        return upgrade_request(host, path, key, subprotocols, [*headers, *offer])

    def read_response(self, head: str) -> tuple[Opened, Agreement | None]:
        """What a server's response chose (section 4.1). Raises HttpFault when it is not a 101, or not a valid one."""
        response = parse_response(head)
        headers = response.headers
        if response.status != 101:
            raise HttpFault(response.status, response.phrase or "the server refused")
        if not headers.has_token("Upgrade", "websocket") or not headers.has_token("Connection", "Upgrade"):
            raise HttpFault(101, "the server's 101 does not upgrade to websocket")
        # Proves that the server read this very request, and is not a cache or a server of something else.
        if headers.get("Sec-WebSocket-Accept") != accept_key(self._key):
            raise HttpFault(101, "the server's Sec-WebSocket-Accept does not answer our key")
        extensions = deflate.parse_extensions(headers.all(deflate.HEADER), 101)
        agreed = deflate.read_answer(extensions, is_offered=self._offers_deflate)
        # A server need not choose any sub-protocol, but it must not invent one.
        chosen = headers.get("Sec-WebSocket-Protocol")
        if chosen is not None and chosen not in self._subprotocols:
            raise HttpFault(101, f"the server chose sub-protocol {chosen[:40]!r}, which was not offered")
        return Opened(chosen), agreed


def _key_of(request: RequestHead) -> str:
    """The Sec-WebSocket-Key of a valid upgrade request."""
    headers = request.headers
    if request.method != "GET" or request.minor_version < 1:
        raise HttpFault(400, f"an upgrade by {request.method} HTTP/1.{request.minor_version}; it takes GET HTTP/1.1")
    if not headers.has_token("Connection", "Upgrade"):
        raise HttpFault(400, "an upgrade without 'Connection: Upgrade'")
    version = headers.get("Sec-WebSocket-Version")
    if version != _VERSION:
        fault = f"Sec-WebSocket-Version is {version or 'missing'}; only {_VERSION} is supported"
        raise HttpFault(426, fault, [("Sec-WebSocket-Version", _VERSION), ("Upgrade", "websocket")])
    # `get` would join several keys to one value.
    keys = headers.all("Sec-WebSocket-Key")
    if len(keys) != 1 or not is_handshake_key(keys[0]):
        raise HttpFault(400, "Sec-WebSocket-Key must be given once and be base64 of 16 bytes")
    return keys[0]
