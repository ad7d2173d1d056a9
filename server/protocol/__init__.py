"""The wire: canvas messages, WebSocket frames and the sans-I/O connection. Bytes and time in, events and bytes out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.protocol.connection import Connection
    from server.protocol.events import Closed, Message, Opened, Refused, Violated
    from server.protocol.messages import SUBPROTOCOL, Delta, Hello, Place, Snapshot, Subscribe, Throttled
    from server.protocol.messages import decode_server_message as decode_server_message

__all__ = [
    "SUBPROTOCOL", "Closed", "Connection", "Delta", "Hello", "Message", "Opened", "Place", "Refused", "Snapshot",
    "Subscribe", "Throttled", "Violated", "decode_server_message",
]  # fmt: skip
_EVENTS = ("Closed", "Message", "Opened", "Refused", "Violated")


def __getattr__(name: str) -> Any:
    # Not imported above: kernels read this package's constants, and `messages` reads the kernels' layout.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "connection" if name == "Connection" else "events" if name in _EVENTS else "messages"
    return getattr(import_module(f"{__name__}.{home}"), name)
