"""What a `Connection` returns: what happened, as frozen values, in the order of the bytes that caused it."""

from dataclasses import dataclass

from server.protocol.http import RequestHead


@dataclass(frozen=True, slots=True)
class Request:
    """Server: a request arrived. Answer it with `respond`, or with `accept_upgrade` if `is_upgrade`."""

    head: RequestHead
    is_upgrade: bool
    subprotocols: tuple[str, ...] = ()
    """Offered by the client, preferred ones first."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Client: the server accepted the upgrade."""

    subprotocol: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The opening handshake failed. `status`: the HTTP status that the server answered with.

    For a client, 101 stands for an invalid upgrade, 400 or 431 for a response that is not valid HTTP.
    """

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message. Text is valid UTF-8."""

    data: bytes
    is_text: bool


@dataclass(frozen=True, slots=True)
class Pinged:
    """A ping arrived; its pong is already in `data_to_send`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ponged:
    """A pong arrived, solicited or not."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Violated:
    """The peer broke the protocol. `data_to_send` ends with a close frame that says why; no more is read."""

    close_code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event of every connection, once: send what is left, then close the socket.

    `code` and `reason` come from the first close frame, of either end; ABNORMAL when the stream ended without one.
    `was_clean`: both ends sent a close frame, or an HTTP request was answered.
    """

    code: int
    reason: str
    was_clean: bool


Event = Request | Opened | Refused | Message | Pinged | Ponged | Violated | Closed
