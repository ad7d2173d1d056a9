"""One end of a connection, HTTP request and WebSocket, without I/O: bytes and the time in, events and bytes out.

The whole of RFC 6455 for both roles, and of RFC 7692 where wanted. It holds no socket and reads no clock; a shell does

    on bytes      events = connection.receive_data(data, now_ns); with b"" again while `has_more`
    on their end  events = connection.receive_eof(now_ns)
    on the timer  events = connection.on_timer(now_ns), which is next due at connection.next_deadline_ns()
    then          send connection.data_to_send(); when `output_ended`, shut the socket's writing side down after it
    on `Closed`   close the socket

Invariant: any bytes, cut anywhere, give events, the last of which is `Closed`, once; never an exception.
"""

import os
from collections.abc import Callable, Sequence
from enum import IntEnum

from server.protocol.agreement import Agreement
from server.protocol.deflate import Deflater, Inflater
from server.protocol.events import Closed, Event, Message, Pinged, Ponged, Refused, Violated
from server.protocol.frames import FrameReader, Unit
from server.protocol.http import Header, HttpFault, take_head
from server.protocol.opening import Handshake
from server.protocol.state import State
from server.protocol.websocket import (
    CloseCode,
    LocalError,
    ProtocolViolation,
    decode_close,
    encode_close,
    encode_frame,
    new_handshake_key,
)
from server.wire import CONTROL_BYTES_MAX, MESSAGE_BYTES_MAX, RSV1, Opcode

MESSAGE_BYTES_A_CALL = 16 * 1024
"""Where messages are compressed, one call gives no more after so many bytes of them: a few bytes in may be a thousand
times as many out. The rest waits for the next call."""
HANDSHAKE_NS = 5_000_000_000
CLOSE_NS = 5_000_000_000
"""How long the peer may take to answer a close frame, or to end the stream after our last byte."""


class Role(IntEnum):
    """Which end this is."""

    SERVER = 0
    CLIENT = 1


class Connection:
    """One end of one connection. `message_bytes_max` bounds a received message, its fragments together."""

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
        self._deadline_ns: int | None = now_ns + handshake_ns
        self._is_deadline_certain = True
        self._random_bytes = random_bytes
        self._reader = FrameReader(is_masked=role == Role.SERVER, message_bytes_max=message_bytes_max)
        self._head_buffer = bytearray()
        self._output = bytearray()
        self._opening = Handshake()
        self._deflater: Deflater | None = None
        self.has_more = False
        """Messages wait that came already: call `receive_data` again, if with no bytes."""
        self._outcome: Closed | None = None
        self._is_outcome_told = False
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
        """A client that has its request to `host` (with the port unless 80) among the bytes to send."""
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

    # Bytes, the end of the stream and the time come in.

    def receive_data(self, data: bytes, now_ns: int) -> list[Event]:
        """What these bytes of the stream mean. Bytes after the close are dropped."""
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
        """The peer ended the stream."""
        self._now_ns = now_ns
        return self._finish("the stream ended without a close frame")

    def next_deadline_ns(self) -> int | None:
        """When `on_timer` is to be called; None when there is nothing to wait for."""
        return self._deadline_ns

    def on_timer(self, now_ns: int) -> list[Event]:
        """The time is `now_ns`. Does nothing before the deadline."""
        self._now_ns = now_ns
        if self._deadline_ns is None or now_ns < self._deadline_ns:
            return []
        if not self._is_deadline_certain:  # `close` was called since the last event, at a time unknown until now.
            self._start_deadline()
            return []
        if self.state in (State.HANDSHAKE, State.ANSWERING) and self.role == Role.SERVER:
            events: list[Event] = []
            self._refuse(HttpFault(408, "the opening handshake took too long"), events)
            return events
        return self._finish("the peer did not answer in time")

    # What the application answers and sends.

    def accept_upgrade(
        self, subprotocol: str | None = None, *, message_bytes_max: int | None = None, deflates: bool = False
    ) -> list[Event]:
        """Open the WebSocket that a `Request` asks for. Returns what came behind the request, mostly nothing.

        `deflates`: messages may be compressed, if the client offers it in a way that RFC 7692 allows.
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
        """Answer a `Request` by HTTP. Content-Length and `Connection: close` are added; HEAD gets no body."""
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
        """Begin to close; from now on messages that still come are dropped. Before it is open: answers 503.

        Closing twice is no fault: both ends may have begun.
        """
        if self.state in (State.HANDSHAKE, State.ANSWERING):
            if self.role == Role.SERVER:
                self._output += self._opening.refuse(HttpFault(503, reason or "the server stops"))
            self._end(Closed(code, reason, was_clean=False))
        elif self.state == State.OPEN:
            self._output += self._frame(Opcode.CLOSE, encode_close(code, reason))
            self.state = State.CLOSING
            self._outcome = Closed(code, reason, was_clean=False)
        else:
            return
        self._deadline_ns, self._is_deadline_certain = self._now_ns, False

    def encode_binary(self, data: bytes) -> bytes:
        """The frame of a binary message, for a shell that sends it itself: before any that is asked for later."""
        return self._frame(Opcode.BINARY, data)

    def data_to_send(self, *, with_close: bool = True) -> bytes:
        """All bytes for the peer since the last call; they are the caller's now.

        `with_close` False keeps a close frame back that answers the peer's, while what came before is unanswered.
        """
        if with_close:
            self._speak_last()
        data = bytes(self._output)
        self._output.clear()
        return data

    @property
    def awaits_answer(self) -> bool:
        """Whether a `Request` came and neither `respond` nor `accept_upgrade` answered it, nor anything else did."""
        return self.state == State.ANSWERING

    @property
    def is_open(self) -> bool:
        """Between the handshakes: messages come and go."""
        return self.state == State.OPEN

    @property
    def can_send(self) -> bool:
        """Whether messages can be sent: open, or about to answer the peer's close, until `data_to_send` does."""
        return self.state in (State.OPEN, State.CLOSE_PENDING)

    @property
    def output_ended(self) -> bool:
        """Nothing will follow what `data_to_send` has given: shut the writing side down when that is sent."""
        return self.state >= State.CLOSE_PENDING

    @property
    def at_frame_boundary(self) -> bool:
        """Open, nothing half read, closing or compressed: another reader of frames may take the stream over here."""
        return self.state == State.OPEN and self._reader.is_idle and self._deflater is None

    @property
    def is_deflated(self) -> bool:
        """Whether messages may be compressed, which costs memory while it is open."""
        return self._deflater is not None

    # The opening handshake.

    def _read_head(self, events: list[Event]) -> None:
        try:
            head = take_head(self._head_buffer)
            if head is None:
                return
            self._reader.feed(bytes(self._head_buffer))
            self._head_buffer.clear()
            if self.role == Role.SERVER:
                events.append(self._opening.read_request(head))
                self.state = State.ANSWERING
            else:
                opened, agreed = self._opening.read_response(head)
                self._open(agreed)
                events.append(opened)
                self._read_frames(events)
        except HttpFault as fault:
            self._refuse(fault, events)

    def _keep_for_later(self, data: bytes, events: list[Event]) -> None:
        """A client need not wait for our answer, but it may not send without end either."""
        self._reader.feed(data)
        if self._reader.buffered_bytes > self._reader.message_bytes_max:
            self._refuse(HttpFault(400, "too many bytes behind a request that is not answered yet"), events)

    def _refuse(self, fault: HttpFault, events: list[Event]) -> None:
        """The handshake failed: a server says so and lingers, a client leaves."""
        events.append(Refused(int(fault.status), fault.reason))
        if self.role == Role.SERVER:
            self._output += self._opening.refuse(fault)
            self._end(Closed(CloseCode.ABNORMAL, fault.reason, was_clean=False))
        else:
            events.extend(self._finish(fault.reason))

    def _open(self, agreed: Agreement | None) -> None:
        self.state = State.OPEN
        self._deadline_ns = None
        if agreed is not None:
            self._deflater = Deflater(agreed.send_window_bits, forgets=agreed.send_forgets)
            self._reader.inflater = Inflater(agreed.receive_window_bits, forgets=agreed.receive_forgets)

    # Frames.

    def _read_frames(self, events: list[Event]) -> None:
        bytes_left = MESSAGE_BYTES_A_CALL
        self.has_more = False
        try:
            for unit in self._reader.read():
                self._on_unit(unit, events)
                if self.state >= State.CLOSE_PENDING:
                    return
                bytes_left -= len(unit.payload)
                if self._deflater is not None and bytes_left < 0:
                    self.has_more = True
                    return
        except ProtocolViolation as violation:
            self._on_violation(violation, events)

    def _on_unit(self, unit: Unit, events: list[Event]) -> None:
        opcode, payload = unit
        if opcode == Opcode.CLOSE:
            self._on_close(payload, events)
        elif self.state == State.CLOSING:
            return  # We have said our last word, and want to hear none but theirs.
        elif opcode == Opcode.PING:
            self._send(Opcode.PONG, payload)
            events.append(Pinged(payload))
        elif opcode == Opcode.PONG:
            events.append(Ponged(payload))
        else:
            events.append(Message(payload, opcode == Opcode.TEXT))

    def _on_close(self, payload: bytes, events: list[Event]) -> None:
        """Close frames go both ways once we have answered. The server then ends the stream, the client waits for it."""
        code, reason = decode_close(payload)
        if self.state == State.OPEN:
            self._begin_last_words(code, Closed(code, reason, was_clean=True))
        else:
            assert self._outcome is not None
            self._end(Closed(self._outcome.code, self._outcome.reason, was_clean=True))
        if self.role == Role.SERVER:
            events.extend(self._tell_outcome())

    def _on_violation(self, violation: ProtocolViolation, events: list[Event]) -> None:
        """RFC 6455, 7.1.7: say why, and read no more."""
        code, reason = violation.close_code, violation.reason
        events.append(Violated(code, reason))
        if self.state == State.OPEN:
            self._begin_last_words(code, Closed(code, reason, was_clean=False), reason)
        else:
            assert self._outcome is not None
            self._end(self._outcome)

    def _frame(self, opcode: Opcode, payload: bytes) -> bytes:
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

    def _begin_last_words(self, code: int, outcome: Closed, reason: str = "") -> None:
        self._close_frame = self._frame(Opcode.CLOSE, encode_close(code, reason))
        self._end(outcome)
        self.state = State.CLOSE_PENDING

    def _speak_last(self) -> None:
        """The application has had its turn: our close frame goes behind what it sent."""
        if self.state == State.CLOSE_PENDING:
            self._output += self._close_frame
            self.state = State.CLOSED if self._is_outcome_told else State.ENDING

    def _end(self, outcome: Closed) -> None:
        """Nothing more is read, and our last byte is known: wait for the end of the stream, but not for ever."""
        self.state = State.ENDING
        self._outcome = outcome
        self._start_deadline()

    def _start_deadline(self) -> None:
        self._deadline_ns, self._is_deadline_certain = self._now_ns + self._close_ns, True

    def _finish(self, reason: str) -> list[Event]:
        """The stream is over. `reason` serves when no close frame gave one."""
        self._speak_last()
        self._outcome = self._outcome or Closed(CloseCode.ABNORMAL, reason, was_clean=False)
        return self._tell_outcome()

    def _tell_outcome(self) -> list[Event]:
        """The one place that gives `Closed`, once."""
        assert self._outcome is not None
        if self.state != State.CLOSE_PENDING:
            self.state = State.CLOSED
        self._deadline_ns = None
        told, self._is_outcome_told = self._is_outcome_told, True
        return [] if told else [self._outcome]
