"""The slow path: all that a compiled loop hands over, one connection at a time, in plain Python.

Handshakes, plain HTTP, fragments, control frames, faults and the close handshake go through the sans-I/O
`Connection`; canvas messages that arrive this way join the same message queue, in order. A connection is in phase FAST
only while its `Connection` is open at a frame boundary, so either path sees whole frames.
"""

import socket
import struct
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from server.engine.canvas import NO_TOKENS_NS
from server.engine.engine import Engine
from server.kernels.arrays import LoopArrays
from server.kernels.decode import DONE, decode_payload
from server.kernels.layout import READ_BYTES_MAX, Phase
from server.protocol.connection import MESSAGE_BYTES_A_CALL, Connection, Role
from server.protocol.events import Closed, Event, Message, Refused, Request, Violated
from server.protocol.messages import decode_client_message
from server.protocol.websocket import CloseCode, ProtocolViolation
from server.web import dispatch, routes
from server.web.png_worker import PngWorker
from server.wire import PING_FRAME_BYTES, PLACE_ITEM, PLACEMENTS_MAX

# Most placements that one read may bring, of five bytes each: the end of the longest message, and, after the request
# that opens a connection, all that was read with it.
MESSAGE_ROOM = PLACEMENTS_MAX + 2 * READ_BYTES_MAX // PLACE_ITEM.size
# Most requests, of 18 bytes each.
REQUEST_ROOM = 2 + 2 * READ_BYTES_MAX // PING_FRAME_BYTES
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER without a time: closing the socket resets the connection."""

# A read of compressed messages is taken in parts, each of which fits where an uncompressed read fits.
assert MESSAGE_BYTES_A_CALL <= READ_BYTES_MAX


class Shell(Protocol):
    """What the slow path needs of the loop that owns the sockets."""

    def post(self, slot: int, data: bytes, now_ns: int) -> None:
        """As `Loop.post`."""

    def owes_answers(self, slot: int) -> bool:
        """Whether requests of this connection still wait in the queues."""

    def discard(self, slot: int, client_socket: socket.socket) -> None:
        """As `Loop.discard`."""

    def wake(self) -> None:
        """As `Loop.wake`."""


@dataclass(slots=True)
class Client:
    """The Python half of one connection."""

    socket: socket.socket
    connection: Connection
    route: str = ""
    """The path once upgraded."""
    is_refused: bool = False
    """We close it for what it sent: what came after that in the same bytes is ignored."""
    verdict: tuple[CloseCode, str] | None = None
    """We close it with this code and reason as soon as its earlier requests are answered."""
    is_over: bool = False
    """The connection said `Closed`: the socket is closed when its last byte is out."""


@dataclass
class SlowPath:
    """The slow path of one loop."""

    engine: Engine
    loop: LoopArrays
    shell: Shell
    clients: dict[int, Client] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    """Slots whose `Connection` has a deadline."""
    ending: set[int] = field(default_factory=set)
    """Slots whose close frame waits for answers that go before it."""
    postponed: dict[int, bytes] = field(default_factory=dict)
    """By slot, bytes that were read while the queues had no room for them; b"" where the `Connection` itself has more
    messages. No more is read from these connections."""
    deflated: set[int] = field(default_factory=set)
    """Slots whose connection may compress."""
    png_worker: PngWorker[tuple[int, Client]] = field(init=False)

    def __post_init__(self) -> None:
        self.png_worker = PngWorker(self.shell.wake)

    def welcome(self, slot: int, accepted: socket.socket, now_ns: int) -> None:
        """Begin to serve a new socket."""
        handshake_ns = int(self.engine.config.handshake_s * 1e9)
        self.clients[slot] = Client(accepted, Connection(Role.SERVER, now_ns, handshake_ns=handshake_ns))
        self.loop.connections[slot]["phase"] = Phase.SLOW
        self.waiting.add(slot)

    def receive(self, slot: int, data: bytes, now_ns: int) -> None:
        """Bytes of a stream that is not on the fast path."""
        if not self._has_room():
            self._postpone(slot, data)
            return
        client = self.clients[slot]
        self._act(slot, client, client.connection.receive_data(data, now_ns), now_ns)
        if client.connection.has_more and slot in self.clients:
            self._postpone(slot, b"")

    def _postpone(self, slot: int, data: bytes) -> None:
        self.postponed[slot] = data
        self.loop.connections[slot]["in_arena"] = 1  # It no longer is, but the mark keeps its loop from reading more.

    def _has_room(self) -> bool:
        """Whether the queues have room for the most that one read may bring."""
        queues, loop = self.loop.queues[0], self.loop
        waiting, requests = queues["message_end"], queues["request_end"] - queues["request_head"]
        return bool(waiting + MESSAGE_ROOM <= len(loop.messages) and requests + REQUEST_ROOM <= len(loop.requests))

    @property
    def can_go_on(self) -> bool:
        """Whether a connection has more messages already, and there is room for them."""
        return b"" in self.postponed.values() and self._has_room()

    def resume(self, now_ns: int) -> None:
        """Take what was postponed, as far as there is room: one part of each connection, in turn."""
        for slot in list(self.postponed):
            if not self._has_room():
                return
            self.loop.connections[slot]["in_arena"] = 0
            self.receive(slot, self.postponed.pop(slot), now_ns)

    def ended(self, slot: int, now_ns: int) -> None:
        """The peer ended the stream or the socket failed."""
        self.clients[slot].connection.receive_eof(now_ns)
        self.drop(slot)

    def flushed(self, slot: int) -> None:
        """The last byte is out: end our side of the stream. The peer ends its side, or the timer does."""
        client = self.clients[slot]
        if client.is_over:
            self.drop(slot)
            return
        row = self.loop.connections[slot]
        row["closing"] = 0
        row["phase"] = Phase.SLOW
        try:
            client.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop(slot)  # The peer was quicker: there is no connection left to end.

    def evict(self, slot: int, code: CloseCode, reason: str, now_ns: int) -> None:
        """Close a connection for its conduct. One that takes no bytes is reset: it would not read a close frame."""
        if code == CloseCode.TRY_AGAIN_LATER:
            self.loop.counts[0]["evicted_count"] += 1
            self.reset(slot)
        elif self.clients[slot].connection.is_open and self.clients[slot].verdict is None:
            self.loop.counts[0]["evicted_count"] += 1
            self.close(slot, code, reason, now_ns)

    def close(self, slot: int, code: CloseCode, reason: str, now_ns: int) -> None:
        """Begin the close handshake, or answer 503 to an unfinished request. What came before is served first."""
        client = self.clients[slot]
        # The first reason stays, as when a protocol error comes while the server stops.
        client.verdict = client.verdict or (code, reason)
        self._settle(slot, client, now_ns)

    def end_answered(self, now_ns: int) -> None:
        """Close the connections whose last answers have been sent."""
        for slot in list(self.ending):
            if not self.shell.owes_answers(slot):
                self._settle(slot, self.clients[slot], now_ns)

    def hand_out_pictures(self, now_ns: int) -> None:
        """Answer requests whose picture is ready, if their connections still wait for it."""
        while (ready := self.png_worker.take()) is not None:
            (slot, client), answer = ready
            if self.clients.get(slot) is client and client.connection.awaits_answer:
                client.connection.respond(answer.status, answer.headers, answer.body)
                self._settle(slot, client, now_ns)

    def on_timers(self, now_ns: int) -> None:
        """Call the connections whose deadline has come."""
        for slot in list(self.waiting):
            client = self.clients[slot]
            deadline_ns = client.connection.next_deadline_ns()
            if deadline_ns is not None and deadline_ns <= now_ns:
                self._act(slot, client, client.connection.on_timer(now_ns), now_ns)
                if client.is_over and slot in self.clients:
                    self.reset(slot)  # Its peer did not take in time what it is still owed.

    # Events.

    def _act(self, slot: int, client: Client, events: list[Event], now_ns: int) -> None:
        """Act on events in order; answering one may bring more."""
        position = 0
        while position < len(events):
            event = events[position]
            position += 1
            if isinstance(event, Request):
                # Bytes that came behind the request are messages already; they are served before later events.
                events[position:position] = self._answer(slot, client, event, now_ns)
            elif isinstance(event, Message):
                self._take_message(slot, client, event)
            elif isinstance(event, Violated | Refused):
                self.loop.counts[0]["protocol_error_count"] += 1
            elif isinstance(event, Closed):
                client.is_over = True
        self._settle(slot, client, now_ns)

    def _answer(self, slot: int, client: Client, request: Request, now_ns: int) -> list[Event]:
        engine = self.engine
        client.route, is_viewer, behind = dispatch.receive(
            client.connection, request, engine.config, engine.telemetry, now_ns, len(self.deflated)
        )
        if client.connection.is_deflated:
            self.deflated.add(slot)
            self.loop.counts[0]["deflated_count"] = len(self.deflated)
        if client.route == routes.CANVAS_PATH:
            self._open_canvas(slot, client, now_ns, is_viewer=is_viewer)
        elif client.route == routes.PICTURE_PATH:
            self.png_worker.ask((slot, client), engine.shown.pixels)
        return behind

    def _open_canvas(self, slot: int, client: Client, now_ns: int, *, is_viewer: bool) -> None:
        hello = self.engine.hello(is_viewer=is_viewer)
        row = self.loop.connections[slot]
        row["full_ns"] = NO_TOKENS_NS if is_viewer else 0
        row["number"] = hello.connection
        row["opened_ns"] = now_ns
        row["progress_ns"] = now_ns
        self.loop.counts[0]["connection_count"] += 1
        if client.connection.can_send:
            client.connection.send_binary(hello.encode())

    def _take_message(self, slot: int, client: Client, message: Message) -> None:
        if client.is_refused:
            return
        if client.route == routes.ECHO_PATH:
            dispatch.echo(client.connection, message.data, message.is_text)
        elif message.is_text:
            violation = ProtocolViolation(CloseCode.UNSUPPORTED_DATA, "text messages are not supported on /canvas")
            self._refuse(client, violation)
        elif not message.data or self._queue(slot, message.data) != DONE:
            try:
                decode_client_message(message.data)
            except ProtocolViolation as violation:
                self._refuse(client, violation)
            else:
                # Both decoders follow one table; and room is not lacking, for it was asked for.
                raise AssertionError(f"the decoders disagree about {message.data[:20]!r}")

    def _queue(self, slot: int, payload: bytes) -> int:
        """Join the message queue as the fast path would."""
        # 0 as the mask: the payload is unmasked already.
        return int(decode_payload(self.loop, slot, np.frombuffer(payload, np.uint8), 0, len(payload), 0))

    def _refuse(self, client: Client, violation: ProtocolViolation) -> None:
        self.loop.counts[0]["protocol_error_count"] += 1
        client.is_refused = True
        client.verdict = violation.close_code, violation.reason

    # After each event.

    def _settle(self, slot: int, client: Client, now_ns: int) -> None:
        """Send what there is, and choose the path for what comes next."""
        row = self.loop.connections[slot]
        connection = client.connection
        if client.verdict is not None or not connection.is_open:
            # Answers to earlier requests go out before its close frame, and none after it.
            if self.shell.owes_answers(slot):
                self.ending.add(slot)
                self._keep_deadline(slot, client)
                if row["phase"] != Phase.DEAD:
                    row["phase"] = Phase.SLOW
                    # What opened the connection also goes before those answers.
                    self.shell.post(slot, connection.data_to_send(with_close=False), now_ns)
                return
            self.ending.discard(slot)
            if client.verdict is not None:
                connection.close(*client.verdict)
            self._unsubscribe(slot)
        is_fast = client.route == routes.CANVAS_PATH and connection.at_frame_boundary
        if row["phase"] != Phase.DEAD:
            row["phase"] = Phase.FAST if is_fast else Phase.SLOW
            # The loop ends the stream behind the last of these bytes, when the socket has taken them.
            if connection.output_ended:
                row["closing"] = 1
            self.shell.post(slot, connection.data_to_send(), now_ns)
        self._keep_deadline(slot, client)

    def _keep_deadline(self, slot: int, client: Client) -> None:
        if client.connection.next_deadline_ns() is None:
            self.waiting.discard(slot)
        else:
            self.waiting.add(slot)

    def _unsubscribe(self, slot: int) -> None:
        row = self.loop.connections[slot]
        self.loop.counts[0]["subscriber_count"] -= int(row["subscribed"])
        row["subscribed"] = 0

    def reset(self, slot: int) -> None:
        """End a connection at once. After an orderly close, the system would keep what it is owed for minutes."""
        self.clients[slot].socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.drop(slot)

    def drop(self, slot: int) -> None:
        """End a connection in any state, and count it."""
        self._unsubscribe(slot)
        if self.loop.connections[slot]["opened_ns"] > 0:
            self.loop.counts[0]["connection_count"] -= 1
        self.loop.counts[0]["closed_count"] += 1
        self.waiting.discard(slot)
        self.ending.discard(slot)
        self.deflated.discard(slot)
        self.loop.counts[0]["deflated_count"] = len(self.deflated)
        self.postponed.pop(slot, None)
        self.shell.discard(slot, self.clients.pop(slot).socket)
