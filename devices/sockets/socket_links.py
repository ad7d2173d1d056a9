"""A fleet's sockets: opens one, shakes hands, moves its bytes and ends it, for each device by itself.

The only file of the fleet that knows sockets; who is to be connected is decided above it. Python is asked for
handshakes, control frames and ends; plain frames never leave the compiled pass. Invariant: at any time the bytes of a
connection are looked at by exactly one of the compiled decoder (Phase.FAST) and its `Connection` (the phases before).
"""

import errno
import select
import socket
from abc import ABC, abstractmethod

import numpy as np

from devices.client import open_stream, set_reset
from devices.fleet.fleet import Fleet, describe_violation
from devices.kernels import messages, sockets
from devices.kernels.layout import Phase, Verdict
from devices.limits import FleetFailed, raise_open_files
from devices.sockets.poll_state import explain, new_links, widened
from server.protocol.connection import Connection
from server.protocol.events import Closed, Event, Message, Refused, Violated
from server.protocol.http import authority_of
from server.protocol.messages import Hello, decode_server_message
from server.protocol.websocket import CloseCode, ProtocolViolation
from server.system import clock
from server.wire import SUBPROTOCOL, ServerOp

HANDSHAKE_NS = 10_000_000_000


class SocketLinks(ABC):
    """The connections of `fleet` to one server. `descriptors`: the process's open-file limit."""

    def __init__(self, fleet: Fleet, host: str, port: int, path: str, descriptors: int) -> None:
        self.fleet = fleet
        self.reason = ""
        """Why the last connection ended that nobody asked to."""
        self.tick_ms = 0
        """Tick interval of the server, as its last HELLO told; 0 before."""
        self._authority, self._path = authority_of(host, port), path
        self._address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4]
        count = len(fleet.arrays.devices)
        self._sockets: list[socket.socket | None] = [None] * count
        self._connections: list[Connection | None] = [None] * count
        self._pending: set[int] = set()  # Shaking hands.
        self._leaving: set[int] = set()  # We have said why we go, and wait for the end of the stream.
        self._epoll = select.epoll()
        self.links = new_links(fleet, descriptors, self._epoll.fileno())
        self._counters = fleet.arrays.counters[0]

    @abstractmethod
    def _on_open(self, d: int, now_ns: int) -> None:
        """Device `d` was let in."""

    @abstractmethod
    def _on_end_of(self, d: int, reason: str, now_ns: int, *, was_refused: bool) -> None:
        """The connection of device `d` is over; `was_refused`: it was never let in."""

    @property
    def open_count(self) -> int:
        """Connections open now."""
        return int(self._counters["connection_count"])

    def open_devices(self) -> list[int]:
        """The devices that are connected and stay, in their order."""
        phases = self.fleet.arrays.devices["phase"]
        is_open = (phases == Phase.SLOW) | (phases == Phase.FAST)
        return [int(d) for d in np.flatnonzero(is_open) if d not in self._leaving]

    def make_room(self) -> None:
        """As many places as the fleet has devices, and as many descriptors as the process may have."""
        more = len(self.fleet.arrays.devices) - len(self._sockets)
        self._sockets += [None] * more
        self._connections += [None] * more
        self.links = widened(self.links, raise_open_files(len(self._sockets)))

    # Opening.

    def _dial_one(self, d: int, now_ns: int) -> None:
        opened = open_stream(str(self._address[0]))
        self._sockets[d] = opened
        self._connections[d] = Connection.client(
            self._authority,
            self._path,
            now_ns,
            subprotocols=(SUBPROTOCOL,),
            message_bytes_max=int(self.links.cursor["frame_bytes_max"][0]),
            handshake_ns=HANDSHAKE_NS,
        )
        self._pending.add(d)
        descriptor = opened.fileno()
        self.links.device_of_fd[descriptor] = d
        self.fleet.arrays.devices["fd"][d] = descriptor
        self.fleet.set_phase(d, Phase.CONNECTING)
        failure = opened.connect_ex(self._address)
        if failure not in (0, errno.EINPROGRESS):
            self._end(d, explain(failure))
            return
        self._epoll.register(descriptor, select.EPOLLOUT)

    def _on_connected(self, d: int) -> None:
        opened = self._sockets[d]
        assert opened is not None
        failure = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            self._end(d, explain(failure))
            return
        try:
            opened.getpeername()
        except OSError:
            return  # Not yet: the event was for the socket that had this descriptor before.
        self._epoll.modify(opened.fileno(), select.EPOLLIN)
        self.fleet.set_phase(d, Phase.GREETING)
        self._send(d)

    # Driving.

    def drive(self, until_ns: int) -> None:
        """Move bytes until `until_ns`, doing Python's part whenever it is asked for. Raises FleetFailed."""
        arrays, links = self.fleet.arrays, self.links
        while True:
            verdict = sockets.turn(arrays, links, until_ns)
            if verdict == Verdict.DONE:
                return
            self._on_verdict(verdict, clock.now_ns())

    def watch_deadlines(self, now_ns: int) -> None:
        """Give up handshakes and closings that take too long. To be called a few times a second."""
        for d in [*self._pending, *self._leaving]:
            connection = self._connections[d]
            if connection is not None:
                self._on_events(d, connection.on_timer(now_ns), now_ns)

    def _on_verdict(self, verdict: int, now_ns: int) -> None:
        cursor = self.links.cursor[0]
        d = int(cursor["subject"])
        if verdict == Verdict.CONNECTED:
            self._on_connected(d)
        elif verdict == Verdict.HANDOVER:
            self._on_bytes(d, self.links.arena[int(cursor["start"]) : int(cursor["end"])].tobytes(), now_ns)
        elif verdict == Verdict.ENDED:
            self._on_end(d, int(cursor["failure"]), now_ns)
        else:
            d = int(cursor["device"])
            message = int(cursor["message"])
            payload = self.links.arena[message : message + int(cursor["size"])].tobytes()
            try:
                if verdict == Verdict.VIOLATION:
                    raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, describe_violation(payload))
                self.fleet.viewers.learn_transition(d, payload)
            except ProtocolViolation as violation:
                cursor["device"] = -1
                self._accuse(d, violation)

    def _on_end(self, d: int, failure: int, now_ns: int) -> None:
        connection = self._connections[d]
        if failure:
            self._end(d, explain(failure))
        elif connection is None:
            self._end(d, "the stream ended before the handshake")
        else:
            self._on_events(d, connection.receive_eof(now_ns), now_ns)

    def _on_bytes(self, d: int, data: bytes, now_ns: int) -> None:
        connection = self._connections[d]
        assert connection is not None
        self._on_events(d, connection.receive_data(data, now_ns), now_ns)
        if connection.at_frame_boundary and d not in self._pending and self._sockets[d] is not None:
            self.fleet.set_phase(d, Phase.FAST)

    def _on_events(self, d: int, events: list[Event], now_ns: int) -> None:
        for event in events:
            try:
                self._on_event(d, event, now_ns)
            except ProtocolViolation as violation:
                self._accuse(d, violation)
        if self._sockets[d] is not None:
            self._send(d)

    def _on_event(self, d: int, event: Event, now_ns: int) -> None:
        if isinstance(event, Message):
            if event.is_text:
                raise ProtocolViolation(CloseCode.UNSUPPORTED_DATA, "a text message; the canvas speaks binary")
            if d in self._pending:
                self._on_hello(d, event.data)
            else:
                self.fleet.receive(d, event.data, now_ns)
        elif isinstance(event, Violated):
            self._counters["protocol_error_count"] += 1
            self.reason = event.reason
        elif isinstance(event, Refused):
            self.reason = f"{event.status} {event.reason}"
        elif isinstance(event, Closed):
            self._end(d, event.reason or f"closed with {event.code}")

    def _on_hello(self, d: int, payload: bytes) -> None:
        if not payload or payload[0] != ServerOp.HELLO:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "the first message is not a HELLO")
        hello = decode_server_message(payload)
        assert isinstance(hello, Hello)
        if (hello.width, hello.height) != (self.fleet.width, self.fleet.height):
            raise FleetFailed(
                f"the server's canvas is {hello.width} x {hello.height} and the fleet was told "
                f"{self.fleet.width} x {self.fleet.height}: start both with one size"
            )
        self.tick_ms = hello.tick_ms
        self.fleet.arrays.devices["number"][d] = hello.connection
        self._pending.discard(d)
        self._counters["connection_count"] += 1
        now_ns = clock.now_ns()
        self.fleet.set_phase(d, Phase.SLOW)
        self.fleet.begin(d, now_ns)
        if self.fleet.arrays.devices["viewer"][d]:
            messages.subscribe(self.fleet.arrays, self.links, d, 0, False)
        if self.fleet.arrays.devices["slow"][d]:
            sockets.update_interest(self.fleet.arrays, self.links, d)  # From here on it never reads.
        self._on_open(d, now_ns)

    def _accuse(self, d: int, violation: ProtocolViolation) -> None:
        """The server broke the canvas protocol: count it, say so, and leave."""
        self._counters["protocol_error_count"] += 1
        self.reason = violation.reason
        connection = self._connections[d]
        assert connection is not None
        self.fleet.set_phase(d, Phase.SLOW)
        self._leaving.add(d)
        connection.close(violation.close_code, violation.reason)
        self._send(d)

    def _send(self, d: int) -> None:
        """Hand over what the slow path of device `d` has to send."""
        connection, opened = self._connections[d], self._sockets[d]
        assert connection is not None and opened is not None
        data = connection.data_to_send()
        if data:
            sockets.send_bytes(self.fleet.arrays, self.links, d, np.frombuffer(bytearray(data), np.uint8))

    # Ending.

    def _leave(self, d: int, reason: str, now_ns: int) -> None:
        """Begin to close the connection of device `d` in order, or give it up where nobody would hear it."""
        connection, device = self._connections[d], self.fleet.arrays.devices[d]
        assert connection is not None
        if d in self._pending or device["slow"] or device["stalled"]:
            self._end(d, "")
            return
        self.fleet.end(d, now_ns)
        held = int(sockets.take_carry(self.fleet.arrays, self.links, d))
        self.fleet.set_phase(d, Phase.SLOW)
        # What the compiled pass keeps of an unfinished frame comes before what the Connection reads next.
        self._on_events(d, connection.receive_data(self.links.arena[:held].tobytes(), now_ns), now_ns)
        connection.close(CloseCode.GOING_AWAY, reason)
        if self._sockets[d] is not None:
            self._leaving.add(d)
            self._send(d)

    def _reset(self, d: int) -> None:
        """End the connection of device `d` without ceremony."""
        opened = self._sockets[d]
        assert opened is not None
        set_reset(opened)
        self._end(d, "")

    def _end(self, d: int, reason: str) -> None:
        """The connection of device `d` is over: close its socket and give back what it holds."""
        opened = self._sockets[d]
        if opened is None:
            return
        was_refused = d in self._pending
        self._pending.discard(d)
        if not was_refused:
            self._counters["connection_count"] -= 1
            self._counters["subscriber_count"] -= self.fleet.arrays.devices["seen"][d]
        self._leaving.discard(d)
        self.links.device_of_fd[opened.fileno()] = -1
        opened.close()
        self._sockets[d] = self._connections[d] = None
        now_ns = clock.now_ns()
        self.fleet.end(d, now_ns)
        sockets.release(self.fleet.arrays, d)
        self._on_end_of(d, reason, now_ns, was_refused=was_refused)
