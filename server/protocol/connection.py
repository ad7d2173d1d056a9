"""One end of a connection, HTTP request and WebSocket, without I/O: bytes and the time in, events and bytes out.

Both roles of RFC 6455, and optionally the compression of RFC 7692. A `Connection` holds no socket and reads no clock.
Its owner calls

    on bytes          events = connection.receive_data(data, now_ns); again with b"" while `has_more`
    at end of stream  events = connection.receive_eof(now_ns)
    on the timer      events = connection.on_timer(now_ns), next due at connection.next_deadline_ns()
    then              send connection.data_to_send(); if `output_ended`, shut down the socket's writing side after it
    on `Closed`       close the socket

Any bytes, cut anywhere, give events and never an exception. The last event is `Closed`, once.

    STATE          BYTES ARE                 LEFT BY
    HANDSHAKE      a head                    a whole head > ANSWERING or OPEN; a fault, the timer > ENDING
    ANSWERING      kept for later            accept_upgrade > OPEN; respond > ENDING
    OPEN           frames                    close > CLOSING; the peer's close, a fault > CLOSE_PENDING
    CLOSING        frames, only close used   the peer's close > CLOSED or (client) ENDING; a fault > ENDING
                                             the timer > CLOSED
    CLOSE_PENDING  dropped                   data_to_send > ENDING or (the peer's close, server) CLOSED
    ENDING         dropped                   end of stream, the timer > CLOSED
    CLOSED         dropped
"""

import os
from collections.abc import Callable, Sequence
from enum import IntEnum

from server.protocol.deflate import Agreement, Deflater, Inflater
from server.protocol.events import Closed, Event, Message, Pinged, Ponged, Refused, Violated
from server.protocol.frames import FrameReader, Received
from server.protocol.handshake import Handshake, new_handshake_key
from server.protocol.http import Header, HttpFault, take_head
from server.protocol.websocket import CloseCode, LocalError, ProtocolViolation, decode_close, encode_close, encode_frame
from server.wire import CONTROL_BYTES_MAX, MESSAGE_BYTES_MAX, RSV1, Opcode

# With compression, one call returns at most about this many bytes of messages, and the rest waits for the next call:
# input may inflate a thousandfold, and one connection must not occupy a loop.
MESSAGE_BYTES_A_CALL = 16 * 1024
HANDSHAKE_NS = 5_000_000_000
CLOSE_NS = 5_000_000_000
"""Time for the peer to answer a close frame, or to end the stream after our last byte."""


class Role(IntEnum):
    """Which end this is."""

    SERVER = 0
    CLIENT = 1


class State(IntEnum):
    """State of a connection; see the table above. A connection never goes back to an earlier one."""

    HANDSHAKE = 0
    ANSWERING = 1
    OPEN = 2
    CLOSING = 3
    CLOSE_PENDING = 4
    """The application may still answer messages that came before the peer's close; our close frame goes out after."""
    ENDING = 5
    CLOSED = 6


class Connection:
    """One end of one connection. `message_bytes_max` limits a received message, all its fragments together."""

    def __init__(
        self,
        role: Role,
        now_ns: int,
        *,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        handshake_ns: int = HANDSHAKE_NS,
        close_ns: int = CLOSE_NS,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.role = role
        self.state = State.HANDSHAKE
        self._now_ns = now_ns
        self._close_ns = close_ns
        # The deadline of the current state; None while the connection is open.
        self._deadline_ns: int | None = now_ns + handshake_ns
        self._is_deadline_certain = True
        self._random_bytes = random_bytes
        self._reader = FrameReader(is_masked=role == Role.SERVER, message_bytes_max=message_bytes_max)
        self._head_buffer = bytearray()
        self._output = bytearray()
        self._opening = Handshake()
        self._deflater: Deflater | None = None
        self.has_more = False
        """Arrived messages wait to be returned: call `receive_data` again, with b"" if there are no new bytes."""
        self._outcome: Closed | None = None
        self._is_outcome_reported = False
        self._close_frame = b""

    @classmethod
    def client(
        cls,
        host: str,
        path: str,
        now_ns: int,
        key: str | None = None,
        *,
        subprotocols: Sequence[str] = (),
        headers: Sequence[Header] = (),
        offers_deflate: bool = False,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        handshake_ns: int = HANDSHAKE_NS,
        close_ns: int = CLOSE_NS,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> "Connection":
        """A client, with its request to `host` (with the port unless 80) in `data_to_send`."""
        connection = cls(
            Role.CLIENT,
            now_ns,
            message_bytes_max=message_bytes_max,
            handshake_ns=handshake_ns,
            close_ns=close_ns,
            random_bytes=random_bytes,
        )
        key = key or new_handshake_key(random_bytes(16))
        connection._output += connection._opening.ask(
            host, path, key, subprotocols, headers, offers_deflate=offers_deflate
        )
        return connection

    # Input: bytes, the end of the stream and the time.

    def receive_data(self, data: bytes, now_ns: int) -> list[Event]:
        """Take bytes from the stream and return what happened. Bytes after the close are dropped."""
        self._now_ns = now_ns
        events: list[Event] = []
        if self.state in (State.OPEN, State.CLOSING):
            self._reader.feed(data)
            self._read_frames(events)
        elif self.state == State.ANSWERING:
            self._keep_for_later(data, events)
        elif self.state == State.HANDSHAKE:
            self._head_buffer += data
            self._read_head(events)
        return events

    def receive_eof(self, now_ns: int) -> list[Event]:
        """Note that the peer ended the stream."""
        self._now_ns = now_ns
        return self._finish("the stream ended without a close frame")

    def next_deadline_ns(self) -> int | None:
        """The time to call `on_timer` at; None when there is nothing to wait for."""
        return self._deadline_ns

    def on_timer(self, now_ns: int) -> list[Event]:
        """End what has taken too long. Does nothing before the deadline."""
        self._now_ns = now_ns
        if self._deadline_ns is None or now_ns < self._deadline_ns:
            return []
        if not self._is_deadline_certain:
            # `close` takes no time as an argument, so its deadline counts from the first call after it that does.
            self._start_deadline()
            return []
        if self.state in (State.HANDSHAKE, State.ANSWERING) and self.role == Role.SERVER:
            events: list[Event] = []
            self._refuse(HttpFault(408, "the opening handshake took too long"), events)
            return events
        return self._finish("the peer did not answer in time")

    # Output: what the application answers and sends.

    def accept_upgrade(
        self, subprotocol: str | None = None, *, message_bytes_max: int | None = None, deflates: bool = False
    ) -> list[Event]:
        """Open the WebSocket that a `Request` asks for. Returns events of bytes that followed the request.

        `deflates`: compress messages if the client offers it. Raises LocalError for a sub-protocol not offered.
        """
        if self.state != State.ANSWERING or not self._opening.is_upgrade:
            raise LocalError("accept_upgrade answers a Request that is an upgrade, once")
        answer, agreed = self._opening.accept(subprotocol, deflates=deflates)
        if message_bytes_max is not None:
            self._reader.message_bytes_max = message_bytes_max
        self._output += answer
        self._open(agreed)
        events: list[Event] = []
        self._read_frames(events)
        return events

    def respond(self, status: int, headers: Sequence[Header] = (), body: bytes = b"") -> None:
        """Answer a `Request` over HTTP. Content-Length and `Connection: close` are added; HEAD gets no body."""
        if self.state != State.ANSWERING:
            raise LocalError("respond answers a Request, once")
        self._output += self._opening.respond(status, headers, body)
        self._end(Closed(CloseCode.NO_STATUS, "", was_clean=True))

    def send_binary(self, data: bytes) -> None:
        """Send a binary message. Raises LocalError unless `can_send`."""
        self._send(Opcode.BINARY, data)

    def send_text(self, text: str) -> None:
        """Send a text message. Raises LocalError unless `can_send`."""
        self._send(Opcode.TEXT, text.encode())

    def send_ping(self, data: bytes = b"") -> None:
        """Send a ping of at most 125 bytes. Raises LocalError unless `can_send`."""
        self._send(Opcode.PING, data)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Start the closing handshake. Messages that still arrive are dropped. Before the upgrade, answers 503.

        May be called again, or after the peer has closed.
        """
        if self.state in (State.HANDSHAKE, State.ANSWERING):
            if self.role == Role.SERVER:
                self._output += self._opening.refuse(HttpFault(503, reason or "the server stops"))
            self._end(Closed(code, reason, was_clean=False))
        elif self.state == State.OPEN:
            self._output += self._frame(Opcode.CLOSE, encode_close(code, reason))
            self._enter(State.CLOSING)
            # Clean only when the peer answers, see `_on_close`.
            self._outcome = Closed(code, reason, was_clean=False)
        else:
            return
        # `_now_ns` may be long ago; see `on_timer`.
        self._deadline_ns, self._is_deadline_certain = self._now_ns, False

    def encode_binary(self, data: bytes) -> bytes:
        """The frame of a binary message, for a caller that sends it itself, before anything that is sent later."""
        return self._frame(Opcode.BINARY, data)

    def data_to_send(self, *, with_close: bool = True) -> bytes:
        """Bytes to send to the peer; each byte is returned once.

        `with_close=False` withholds our answer to the peer's close frame, while earlier messages are unanswered.
        """
        if with_close:
            self._flush_close()
        data = bytes(self._output)
        self._output.clear()
        return data

    @property
    def awaits_answer(self) -> bool:
        """Whether a `Request` came that is not answered yet, by `respond`, `accept_upgrade` or a timeout."""
        return self.state == State.ANSWERING

    @property
    def is_open(self) -> bool:
        """Whether the WebSocket is open: after the opening handshake and before the closing one."""
        return self.state == State.OPEN

    @property
    def can_send(self) -> bool:
        """Whether messages can be sent: while open, and until `data_to_send` has answered the peer's close."""
        return self.state in (State.OPEN, State.CLOSE_PENDING)

    @property
    def output_ended(self) -> bool:
        """Whether nothing follows what `data_to_send` has returned: shut down the writing side once that is sent."""
        return self.state >= State.CLOSE_PENDING

    @property
    def at_frame_boundary(self) -> bool:
        """Whether another reader of frames may take over the stream: open, uncompressed and nothing half read."""
        return self.state == State.OPEN and self._reader.is_idle and self._deflater is None

    @property
    def is_deflated(self) -> bool:
        """Whether messages may be compressed, which costs memory while the connection is open."""
        return self._deflater is not None

    # The opening handshake.

    def _read_head(self, events: list[Event]) -> None:
        try:
            head = take_head(self._head_buffer)
            if head is None:
                return
            # Frames may follow the head at once; a client need not wait for our answer.
            self._reader.feed(bytes(self._head_buffer))
            self._head_buffer.clear()
            if self.role == Role.SERVER:
                events.append(self._opening.read_request(head))
                self._enter(State.ANSWERING)
            else:
                opened, agreed = self._opening.read_response(head)
                self._open(agreed)
                events.append(opened)
                self._read_frames(events)
        except HttpFault as fault:
            self._refuse(fault, events)

    def _keep_for_later(self, data: bytes, events: list[Event]) -> None:
        """Buffer what a client sends before its request is answered, up to the limit of a message."""
        self._reader.feed(data)
        if self._reader.buffered_bytes > self._reader.message_bytes_max:
            self._refuse(HttpFault(400, "too many bytes behind a request that is not answered yet"), events)

    def _refuse(self, fault: HttpFault, events: list[Event]) -> None:
        """End a failed handshake: a server responds and waits for the end of the stream, a client closes."""
        events.append(Refused(int(fault.status), fault.reason))
        if self.role == Role.SERVER:
            self._output += self._opening.refuse(fault)
            self._end(Closed(CloseCode.ABNORMAL, fault.reason, was_clean=False))
        else:
            events.extend(self._finish(fault.reason))

    def _open(self, agreed: Agreement | None) -> None:
        self._enter(State.OPEN)
        self._deadline_ns = None
        if agreed is not None:
            self._deflater = Deflater(agreed.send_window_bits, resets=agreed.send_resets)
            self._reader.inflater = Inflater(agreed.receive_window_bits, resets=agreed.receive_resets)

    # Frames.

    def _read_frames(self, events: list[Event]) -> None:
        bytes_left = MESSAGE_BYTES_A_CALL
        self.has_more = False
        try:
            for received in self._reader.read():
                self._on_received(received, events)
                if self.state >= State.CLOSE_PENDING:
                    return
                # Without compression, the bytes that came in bound the messages: no need to stop early.
                bytes_left -= len(received.payload)
                if self._deflater is not None and bytes_left < 0:
                    self.has_more = True
                    return
        except ProtocolViolation as violation:
            self._on_violation(violation, events)

    def _on_received(self, received: Received, events: list[Event]) -> None:
        opcode, payload = received
        if opcode == Opcode.CLOSE:
            self._on_close(payload, events)
        elif self.state == State.CLOSING:
            return  # Our close frame is sent: only the peer's close frame matters now.
        elif opcode == Opcode.PING:
            self._send(Opcode.PONG, payload)
            events.append(Pinged(payload))
        elif opcode == Opcode.PONG:
            events.append(Ponged(payload))
        else:
            events.append(Message(payload, opcode == Opcode.TEXT))

    def _on_close(self, payload: bytes, events: list[Event]) -> None:
        """Answer the peer's close frame, unless it answers ours. A server then closes, a client waits for that."""
        code, reason = decode_close(payload)
        if self.state == State.OPEN:
            self._begin_close(code, Closed(code, reason, was_clean=True))
        else:
            # The peer answers our close frame: code and reason remain those of the first one.
            assert self._outcome is not None
            self._end(Closed(self._outcome.code, self._outcome.reason, was_clean=True))
        # RFC 6455, 7.1.1: the server closes the TCP connection, the client waits for that.
        if self.role == Role.SERVER:
            events.extend(self._report_outcome())

    def _on_violation(self, violation: ProtocolViolation, events: list[Event]) -> None:
        """Fail the connection (RFC 6455, 7.1.7): send the reason and read no more."""
        code, reason = violation.close_code, violation.reason
        events.append(Violated(code, reason))
        if self.state == State.OPEN:
            self._begin_close(code, Closed(code, reason, was_clean=False), reason)
        else:
            assert self._outcome is not None
            self._end(self._outcome)

    def _frame(self, opcode: Opcode, payload: bytes) -> bytes:
        # A new key for each frame (5.3): a script must not choose the bytes that a proxy sees.
        mask_key = self._random_bytes(4) if self.role == Role.CLIENT else None
        if self._deflater is not None and opcode < Opcode.CLOSE:
            shrunk = self._deflater.shrink(payload)
            if shrunk is not None:
                return encode_frame(opcode, shrunk, mask_key=mask_key, reserved_bits=RSV1)
        return encode_frame(opcode, payload, mask_key=mask_key)

    def _send(self, opcode: Opcode, payload: bytes) -> None:
        if not self.can_send:
            raise LocalError(f"a {opcode.name} frame cannot be sent: the connection is {self.state.name}")
        if opcode >= Opcode.CLOSE and len(payload) > CONTROL_BYTES_MAX:
            raise LocalError(f"a {opcode.name} frame of {len(payload)} bytes; at most {CONTROL_BYTES_MAX}")
        self._output += self._frame(opcode, payload)

    # The end.

    def _enter(self, state: State) -> None:
        assert state >= self.state, f"{self.state.name} cannot become {state.name}"
        self.state = state

    def _begin_close(self, code: int, outcome: Closed, reason: str = "") -> None:
        self._close_frame = self._frame(Opcode.CLOSE, encode_close(code, reason))
        self._end(outcome, State.CLOSE_PENDING)

    def _flush_close(self) -> None:
        """Put our close frame after what the application has sent until now."""
        if self.state == State.CLOSE_PENDING:
            self._output += self._close_frame
            self._enter(State.CLOSED if self._is_outcome_reported else State.ENDING)

    def _end(self, outcome: Closed, state: State = State.ENDING) -> None:
        """Read no more, send no more, and wait for the end of the stream until the deadline."""
        self._enter(state)
        self._outcome = outcome
        self._start_deadline()

    def _start_deadline(self) -> None:
        self._deadline_ns, self._is_deadline_certain = self._now_ns + self._close_ns, True

    def _finish(self, reason: str) -> list[Event]:
        """The stream ended. `reason` is used when no close frame gave one."""
        self._flush_close()
        self._outcome = self._outcome or Closed(CloseCode.ABNORMAL, reason, was_clean=False)
        return self._report_outcome()

    def _report_outcome(self) -> list[Event]:
        """Return `Closed` the first time. Every `Closed` event comes from here."""
        assert self._outcome is not None
        # In CLOSE_PENDING the application may still send: `_flush_close` comes first.
        if self.state != State.CLOSE_PENDING:
            self._enter(State.CLOSED)
        self._deadline_ns = None
        was_reported, self._is_outcome_reported = self._is_outcome_reported, True
        return [] if was_reported else [self._outcome]
