"""What a `Connection` says happened. Frozen values, in the order of the bytes that made them."""

from dataclasses import dataclass

from server.protocol.http import RequestHead


@dataclass(frozen=True, slots=True)
class Request:
    """Server: a request came. Answer it with `accept_upgrade` (only when `is_upgrade`) or `respond`."""

    head: RequestHead
    is_upgrade: bool
    subprotocols: tuple[str, ...] = ()
    """As the client offers them, the best first."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Client: the server accepted the upgrade."""

    subprotocol: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The opening handshake failed: the server answered, or we as the server answered, with `status`.

    A client is also told 101 for an upgrade that does not hold, 400 or 431 for an answer that is not HTTP.
    """

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message, unmasked and put together. Text is UTF-8 and was checked."""

    data: bytes
    is_text: bool


@dataclass(frozen=True, slots=True)
class Pinged:
    """A ping came; its pong is already among the bytes to send."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ponged:
    """A pong came, asked for or not."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Violated:
    """The peer broke the protocol. The bytes to send end with the close frame that says so; nothing more is read."""

    close_code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event, once on every connection: send what is left, then close the socket.

    `code` and `reason` are those of the first close frame, whoever sent it; ABNORMAL when the stream ended without.
    `was_clean`: close frames went both ways, or a request was answered.
    """

    code: int
    reason: str
    was_clean: bool


Event = Request | Opened | Refused | Message | Pinged | Ponged | Violated | Closed
