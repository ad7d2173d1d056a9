"""The address of a canvas server, from a URL or from settings; and whether a port is free to listen on."""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from server.accept.listener import CannotListen
from server.config import ServerConfig
from server.protocol.http import authority_of
from server.tls.certificate import context_of
from workbench import errors
from workbench.errors import UserError

DEFAULT_PATH = "/canvas"
_TOKEN_FIELD = "token="
# Hosts that mean all interfaces, and their loopback addresses.
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
# An address of no machine (RFC 5737): the system tells from which of its own addresses it would be reached.
_ELSEWHERE = ("192.0.2.1", 9)


@dataclass(frozen=True, slots=True)
class Address:
    """Everything a client needs to connect to a server."""

    host: str
    port: int
    path: str = DEFAULT_PATH
    token: str = field(default="", repr=False)
    certificate: str = ""
    """The file of the server's certificate; "": no TLS."""

    @property
    def has_tls(self) -> bool:
        """Whether clients must use TLS."""
        return bool(self.certificate)

    @property
    def url(self) -> str:
        """The URL without the token, to be shown and recorded."""
        return f"{'wss' if self.has_tls else 'ws'}://{authority_of(self.host, self.port)}{self.path}"

    @property
    def target(self) -> str:
        """The request target: the path, and the token if there is one."""
        return self.path + (f"{'&' if '?' in self.path else '?'}token={self.token}" if self.token else "")

    @property
    def page_url(self) -> str:
        """The URL for a browser, with the token; of a server on all interfaces, with the machine's network address."""
        host = network_host() if self.host in _WILDCARDS else self.host
        query = f"?token={self.token}" if self.token else ""
        return f"{'https' if self.has_tls else 'http'}://{authority_of(host, self.port)}/{query}"

    @property
    def is_open_to_network(self) -> bool:
        """Whether other machines can connect."""
        return self.host != "localhost" and not self.host.startswith("127.") and self.host != "::1"

    @property
    def warning(self) -> str:
        """The warning for a server that is open to the network without a token or without TLS; "" for any other."""
        if not self.is_open_to_network or (self.token and self.has_tls):
            return ""
        if self.token:
            return (
                f"NOT ENCRYPTED: the token of {self.url} is sent in the clear; "
                "set a certificate (cert and key), or host 127.0.0.1"
            )
        return (
            f"OPEN TO THE NETWORK: anyone who can reach {self.page_url} can view and paint; "
            "set a token, or host 127.0.0.1"
        )

    @property
    def reachable_host(self) -> str:
        """The host to connect to: loopback for a server on all interfaces."""
        return _WILDCARDS.get(self.host, self.host)


def network_host() -> str:
    """This machine's address in its network; loopback if it is in none. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # UDP: connect only chooses a route, nothing is sent.
            probe.connect(_ELSEWHERE)
        except OSError:
            return "127.0.0.1"  # No route leaves this machine, so no other machine can connect.
        return str(probe.getsockname()[0])


def parse_url(url: str) -> Address:
    """The address in `ws://HOST:PORT/PATH`. Raises UserError."""
    remedy, shown = "write it as ws://HOST:PORT/canvas", url.partition("?")[0]  # The query may hold a token.
    # An undecodable byte of the command line could not be sent in a request.
    if errors.shown(url) != url:
        raise UserError(f"{shown} cannot be read as text; {remedy}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UserError(f"{shown!r} is not a URL: {error}; {remedy}") from None
    if parts.scheme == "wss":
        raise UserError(f"{shown!r}: fleets speak no TLS; give a ws:// address")
    if parts.scheme != "ws" or not parts.hostname or not port:
        missing = "the scheme ws" if parts.scheme != "ws" else "a port" if parts.hostname else "a host"
        raise UserError(f"{shown!r} lacks {missing}; {remedy}")
    # By hand, not parse_qs: the rest of the query must reach the server unchanged.
    fields = parts.query.split("&") if parts.query else []
    query = "&".join(field for field in fields if not field.startswith(_TOKEN_FIELD))
    token = next((unquote(field[len(_TOKEN_FIELD) :]) for field in fields if field.startswith(_TOKEN_FIELD)), "")
    return Address(parts.hostname, port, (parts.path or DEFAULT_PATH) + (f"?{query}" if query else ""), token)


def address_of(config: ServerConfig) -> Address:
    """The address of a server with these settings; port 0: any free one."""
    return Address(config.host, config.port, token=config.token, certificate=config.cert)


def files_of(config: ServerConfig) -> list[Path]:
    """The files that a server with these settings reads."""
    return [Path(name) for name in (config.cert, config.key, config.journal) if name]


def require_certificate(config: ServerConfig) -> None:
    """Raise UserError if the certificate or key of `config` is not usable."""
    try:
        context_of(config)
    except CannotListen as fault:
        raise UserError(str(fault)) from None


def require_free(host: str, port: int) -> None:
    """Raise UserError if a server cannot listen there: the port is taken or not allowed, or the host is not ours."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server does: a port in TIME_WAIT counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        where, why = authority_of(host, port), (error.strerror or str(error)).lower()
        if port == 0:
            raise UserError(f"cannot listen on {where}: {why}; choose another host") from None
        raise UserError(f"cannot listen on {where}: {why}; choose another port, or 0 for any that is free") from None
