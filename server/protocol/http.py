"""HTTP/1.1 heads (RFC 9112), as far as an upgrade, a static page and a few GET routes need them. No state.

Requests have no body and a connection carries one request. A head that is not strictly valid is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from urllib.parse import unquote

# A longer request head is answered with 431. Those of browsers are not half as long.
HEAD_BYTES_MAX = 8192

Header = tuple[str, str]

# RFC 9110, 5.6.2.
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rf"({TOKEN}) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_STATUS_LINE = re.compile(r"HTTP/1\.([0-9]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
_HEADER_LINE = re.compile(rf"({TOKEN}):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_HEAD_END = b"\r\n\r\n"
_METHODS = ("GET", "HEAD")


def authority_of(host: str, port: int) -> str:
    """Host and port as in a URL or a Host header: an IPv6 address is put in brackets (RFC 3986, 3.2.2).

    Port 0, which is not chosen yet, is left out.
    """
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port else host


class HttpFault(Exception):
    """A head that is refused. `reason` names the fault; `status` and `headers` are for the response."""

    def __init__(self, status: int, reason: str, headers: Sequence[Header] = ()) -> None:
        super().__init__(f"{int(status)}: {reason}")
        self.status = HTTPStatus(status)
        self.reason = reason
        self.headers = tuple(headers)


@dataclass(frozen=True)
class Headers:
    """The header fields of a head, in order. Names are case-insensitive."""

    fields: tuple[Header, ...]

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        table: dict[str, list[str]] = {}
        for name, value in self.fields:
            table.setdefault(name.lower(), []).append(value)
        return table

    def all(self, name: str) -> list[str]:
        """All values of this name."""
        return self._by_name.get(name.lower(), [])

    def get(self, name: str) -> str | None:
        """The value of this name; several are joined by commas (RFC 9110, 5.3)."""
        values = self.all(name)
        return ", ".join(values) if values else None

    def tokens(self, name: str) -> list[str]:
        """The members of a comma-separated list, over all fields of this name, in their case."""
        members = (member.strip(" \t") for value in self.all(name) for member in value.split(","))
        return [member for member in members if member]

    def has_token(self, name: str, token: str) -> bool:
        """Whether a comma-separated list contains `token`, in any case."""
        return token.lower() in (member.lower() for member in self.tokens(name))


@dataclass(frozen=True)
class RequestHead:
    """A request: `target` as sent, `minor_version` of HTTP/1."""

    method: str
    target: str
    headers: Headers
    minor_version: int = 1

    @cached_property
    def path(self) -> str:
        """The path of the target, percent-decoded, without the query."""
        target = self.target
        # A proxy may send the whole URL as the target (RFC 9112, 3.2.2).
        if not target.startswith("/"):
            target = "/" + target.partition("://")[2].partition("/")[2]
        return unquote(target.partition("?")[0])

    @property
    def is_upgrade(self) -> bool:
        """Whether this asks for a WebSocket."""
        return self.headers.has_token("Upgrade", "websocket")


@dataclass(frozen=True)
class ResponseHead:
    """The head of a response."""

    status: int
    phrase: str
    headers: Headers


def take_head(buffer: bytearray, bytes_max: int = HEAD_BYTES_MAX) -> str | None:
    """Cut a whole head off the front of `buffer`; None while it is incomplete. Raises HttpFault 431.

    `bytes_max` limits the head and its empty line.
    """
    end = buffer.find(_HEAD_END, 0, bytes_max)
    if end >= 0:
        # latin-1 decodes any byte; the patterns below decide what is allowed where.
        head = buffer[:end].decode("latin-1")
        del buffer[: end + len(_HEAD_END)]
        return head
    if len(buffer) >= bytes_max:
        raise HttpFault(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head is longer than the {bytes_max} bytes allowed"
        )
    return None


def _bad(reason: str) -> HttpFault:
    return HttpFault(HTTPStatus.BAD_REQUEST, reason)


def _parse_headers(lines: Sequence[str]) -> Headers:
    fields = []
    for line in lines:
        match = _HEADER_LINE.fullmatch(line)
        if match is None:
            what = "is folded over lines" if line[:1] in (" ", "\t") else "is malformed"
            raise _bad(f"header line {line[:40]!r} {what}")
        fields.append((match[1], match[2].rstrip(" \t")))
    return Headers(tuple(fields))


def parse_request(head: str) -> RequestHead:
    """A request from its head without the empty line. Raises HttpFault 400, 405 or 505."""
    line, *header_lines = head.split("\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _bad(f"request line {line[:40]!r} is malformed")
    method, target, major, minor = match.groups()
    if major != "1":
        raise HttpFault(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"HTTP/{major}.{minor} is not supported; HTTP/1.1 is")
    headers = _parse_headers(header_lines)
    if method not in _METHODS:
        allow = ", ".join(_METHODS)
        fault = f"method {method} is not allowed; {allow} are"
        raise HttpFault(HTTPStatus.METHOD_NOT_ALLOWED, fault, [("Allow", allow)])
    if not target.startswith(("/", "http://", "https://")):
        raise _bad(f"target {target[:40]!r} is neither a path nor an http address")
    # HTTP/1.0 had no Host header yet.
    hosts = len(headers.all("Host"))
    if hosts > 1 or (hosts == 0 and minor != "0"):
        raise _bad(f"{hosts} Host headers; there must be one")
    # Bytes of a body would be taken for the beginning of the first frame.
    if headers.all("Transfer-Encoding") or any(length != "0" for length in headers.all("Content-Length")):
        raise _bad(f"a {method} request with a body; send none")
    return RequestHead(method, target, headers, int(minor))


def parse_response(head: str) -> ResponseHead:
    """A response from its head without the empty line. Raises HttpFault 400."""
    line, *header_lines = head.split("\r\n")
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise _bad(f"status line {line[:40]!r} is malformed")
    return ResponseHead(int(match[2]), match[3] or "", _parse_headers(header_lines))


def encode_request(method: str, target: str, headers: Sequence[Header]) -> bytes:
    """A request's head as bytes. Raises ValueError when a part holds a line end."""
    return _encode_head(f"{method} {target} HTTP/1.1", headers)


def encode_response(status: int, headers: Sequence[Header] = (), body: bytes = b"", *, has_body: bool = True) -> bytes:
    """A response as bytes. `has_body=False` is for HEAD: the same head, no body."""
    phrase = HTTPStatus(status).phrase
    # 101 and 304 must not have a Content-Length.
    sized = headers if status in (101, 304) else [*headers, ("Content-Length", str(len(body)))]
    return _encode_head(f"HTTP/1.1 {int(status)} {phrase}", sized) + (body if has_body else b"")


def _encode_head(line: str, headers: Sequence[Header]) -> bytes:
    # A line end inside a value would begin another header, or the body.
    text = "\r\n".join([line, *(f"{name}: {value}" for name, value in headers), "", ""])
    if text.count("\n") != len(headers) + 2 or text.count("\r") != len(headers) + 2:
        raise ValueError(f"a header holds a line end: {line!r}, {list(headers)!r}")
    return text.encode("latin-1")


def is_origin_allowed(request: RequestHead, origins: Sequence[str] = ()) -> bool:
    """Whether a page of this Origin may open a WebSocket here: no Origin, this server's own, or one of `origins`.

    Browsers let any page open a WebSocket to any server and send its Origin, so the server has to check.
    """
    values = request.headers.all("Origin")
    if not values:
        return True
    # Two Origins are a forgery, or the work of a broken proxy.
    if len(values) > 1:
        return False
    origin = values[0].lower()
    if origin in (allowed.lower().rstrip("/") for allowed in origins):
        return True
    scheme, _, authority = origin.partition("://")
    host = (request.headers.get("Host") or "").lower()
    # A browser omits the default port in both headers; other clients may not.
    default_port = {"http": ":80", "https": ":443"}.get(scheme)
    if default_port is None or not authority:
        return False
    return authority.removesuffix(default_port) == host.removesuffix(default_port)
