"""The client for painting by hand: one non-blocking WebSocket client with its own connection.

It connects on the first placement, keeps to the server's rate limit, and reconnects when the connection is lost.
Invariants: each placement is passed to a connection once, in order, or counted as dropped; `poll` never blocks.
"""

from collections import deque

from devices.client import Client, reason_of
from server.protocol.messages import Hello, Place, Throttled, decode_server_message
from server.protocol.websocket import CloseCode, ProtocolViolation
from workbench.address import Address

# Most placements queued: a long stroke at a low rate. Beyond it the oldest are dropped.
WAITING_MAX = 20_000
RETRY_FIRST_NS = 500_000_000
RETRY_MAX_NS = 8_000_000_000
_NANOSECONDS = 1_000_000_000
# Part of the granted rate and burst to use: a margin for the difference between the two clocks.
_SHARE = 0.9


class ManualClient:
    """Places pixels for the user. `address`: the server's, once it is known."""

    def __init__(self) -> None:
        self.address: Address | None = None
        self.sent_count = 0
        """Placements handed to the connection."""
        self.dropped_count = 0
        """Placements dropped because the queue was full."""
        self.throttled_count = 0
        """Placements the server reported as throttled."""
        self.connected_count = 0
        """Connections opened."""
        self.reason = ""
        """Why the last connection ended, one line."""
        self._waiting: deque[Place] = deque()
        self._client: Client | None = None
        self._has_hello = False
        self._reported_dropped = 0
        self._retry_ns = RETRY_FIRST_NS
        self._next_connect_ns = 0
        self._rate_per_s, self._burst = 1.0, 1.0
        self._tokens, self._refilled_ns = 0.0, 0

    @property
    def waiting_count(self) -> int:
        """Placements not sent yet."""
        return len(self._waiting)

    @property
    def is_connected(self) -> bool:
        """Whether the server has sent Hello."""
        return self._has_hello

    def paint(self, x: int, y: int, color: int) -> None:
        """Queue one placement. It is sent when connection and rate limit allow."""
        if len(self._waiting) == WAITING_MAX:
            # The oldest, not the newest: the end of a stroke is where the user looks.
            self._waiting.popleft()
            self.dropped_count += 1
        self._waiting.append(Place(x, y, color))
        assert len(self._waiting) <= WAITING_MAX

    def allow(self, rate_per_s: float, burst: float) -> None:
        """Set the server's rate limit: placements per second and burst."""
        self._rate_per_s, self._burst = _SHARE * rate_per_s, max(1.0, _SHARE * burst)
        # A lowered burst applies at once; tokens above it would be throttled by the server.
        self._tokens = min(self._tokens, self._burst)

    def poll(self, now_ns: int) -> None:
        """Connect if placements are queued, send what the limits allow, and handle what was received."""
        try:
            if self._client is not None:
                self._exchange(self._client, now_ns)
            elif self._waiting and self.address is not None and now_ns >= self._next_connect_ns:
                address = self.address
                self._client = Client(
                    address.reachable_host,
                    address.port,
                    address.target,
                    certificate=address.certificate,
                    timeout_s=0,
                    now_ns=now_ns,
                )
        except OSError as error:
            self._lose(reason_of(error), now_ns)
        except ProtocolViolation as violation:
            self._lose(violation.reason, now_ns)

    def close(self, now_ns: int) -> None:
        """Close the socket at once, after a close frame if the socket has room."""
        if self._client is not None:
            self._client.close(CloseCode.GOING_AWAY, "the workbench stops")
            self._lose("", now_ns)

    # --- Internals ---

    def _exchange(self, client: Client, now_ns: int) -> None:
        """Send and receive until the socket would block. Raises OSError, and ProtocolViolation for a bad message."""
        while True:
            self._send_queued(client, now_ns)
            messages = client.exchange(now_ns)
            for message in messages:
                self._read(message, now_ns)
            if not messages:
                return  # After HELLO once more: only then are queued placements sent.

    def _send_queued(self, client: Client, now_ns: int) -> None:
        """Send queued placements, in order, as the rate limit allows."""
        if not self._has_hello or not client.is_open:
            return
        gained = (now_ns - self._refilled_ns) * self._rate_per_s / _NANOSECONDS
        self._tokens, self._refilled_ns = min(self._burst, self._tokens + max(0.0, gained)), now_ns
        while self._waiting and self._tokens >= 1:
            place = self._waiting.popleft()
            client.place(place.x, place.y, place.color)
            self._tokens -= 1
            self.sent_count += 1

    def _read(self, payload: bytes, now_ns: int) -> None:
        """Handle a message. Raises ProtocolViolation for an invalid one."""
        message = decode_server_message(payload)
        if isinstance(message, Hello):
            self.allow(message.rate_per_s, message.burst)
            self._tokens, self._refilled_ns = self._burst, now_ns
            self._has_hello = True
            self._retry_ns = RETRY_FIRST_NS
            self.connected_count += 1
        elif isinstance(message, Throttled):
            self.throttled_count += message.dropped - self._reported_dropped
            self._reported_dropped = message.dropped

    def _lose(self, reason: str, now_ns: int) -> None:
        """Drop the connection. Each attempt that fails before Hello doubles the pause before the next."""
        if self._client is not None:
            self._client.close()
        self._client = None
        self._has_hello, self._reported_dropped = False, 0
        self.reason = reason
        self._next_connect_ns = now_ns + self._retry_ns
        self._retry_ns = min(2 * self._retry_ns, RETRY_MAX_NS)
