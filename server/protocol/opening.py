"""The opening handshake of one connection: what was asked, what was offered, and the bytes of each answer.

It remembers between head and answer what `handshake` judges and writes without a memory; when to do what is the
business of `connection`. Invariant: what is accepted was offered.
"""

from collections.abc import Sequence

from server.protocol import agreement, extension, handshake
from server.protocol.agreement import Agreement
from server.protocol.events import Opened, Request
from server.protocol.extension import Extension
from server.protocol.http import Header, HttpFault, encode_response, parse_request, parse_response
from server.protocol.websocket import LocalError


class Handshake:
    """Either end's. A server calls `read_request`, then one of the answers; a client `ask`, then `read_response`."""

    def __init__(self) -> None:
        self.is_upgrade = False
        self._is_head_request = False
        self._key = ""
        self._subprotocols: tuple[str, ...] = ()
        self._extensions: list[Extension] = []
        self._offers_deflate = False

    # A server's.

    def read_request(self, head: str) -> Request:
        """The request in a head. Raises HttpFault."""
        request = parse_request(head)
        self._is_head_request = request.method == "HEAD"
        self.is_upgrade = request.is_upgrade
        if self.is_upgrade:
            self._key = handshake.check_upgrade(request)
            self._subprotocols = tuple(request.headers.tokens("Sec-WebSocket-Protocol"))
            self._extensions = extension.parse_extensions(request.headers.all(extension.HEADER))
        return Request(request, self.is_upgrade, self._subprotocols)

    def accept(self, subprotocol: str | None, *, deflates: bool) -> tuple[bytes, Agreement | None]:
        """The 101, and what was agreed about compression. Raises LocalError for a sub-protocol that was not offered."""
        if subprotocol is not None and subprotocol not in self._subprotocols:
            raise LocalError(f"sub-protocol {subprotocol!r} was not offered; offered were {list(self._subprotocols)}")
        accepted = agreement.answer_offers(self._extensions) if deflates else None
        value, agreed = accepted or ("", None)
        return handshake.upgrade_response(self._key, subprotocol, value), agreed

    def respond(self, status: int, headers: Sequence[Header], body: bytes) -> bytes:
        """An answer by HTTP, after which the connection ends; HEAD gets no body."""
        fields = [*headers, ("Connection", "close")]
        return encode_response(status, fields, body, has_body=not self._is_head_request)

    def refuse(self, fault: HttpFault) -> bytes:
        """An answer that says what was wrong."""
        fields = [*fault.headers, ("Content-Type", "text/plain; charset=utf-8")]
        return self.respond(fault.status, fields, f"{fault.reason}\n".encode())

    # A client's.

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
        """The request."""
        self._key, self._subprotocols, self._offers_deflate = key, tuple(subprotocols), offers_deflate
        offer = [(extension.HEADER, agreement.OFFER)] if offers_deflate else []
        return handshake.upgrade_request(host, path, key, subprotocols, [*headers, *offer])

    def read_response(self, head: str) -> tuple[Opened, Agreement | None]:
        """What a server's answer chose. Raises HttpFault."""
        answer = parse_response(head)
        chosen, agreed = handshake.check_answer(
            answer, self._key, self._subprotocols, offers_deflate=self._offers_deflate
        )
        return Opened(chosen), agreed
