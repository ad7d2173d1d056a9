"""The wire: canvas messages, WebSocket frames and the sans-I/O connection. Bytes and time in, events and bytes out."""

from server.protocol.connection import Connection
from server.protocol.events import Closed, Message, Opened, Refused, Violated
from server.protocol.messages import Delta, Hello, Place, Snapshot, Subscribe, Throttled, decode_server_message
from server.wire import SUBPROTOCOL

__all__ = [
    "SUBPROTOCOL", "Closed", "Connection", "Delta", "Hello", "Message", "Opened", "Place", "Refused", "Snapshot",
    "Subscribe", "Throttled", "Violated", "decode_server_message",
]  # fmt: skip
