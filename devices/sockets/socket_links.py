"""A fleet's sockets: for each device, opens one, does the handshake, moves its bytes and ends it.

Which devices connect is decided in `dialer`. Python serves handshakes, control frames and ends; plain frames never
leave the compiled pass. At any time the bytes of a connection are read by exactly one of the compiled decoder
(Phase.FAST) and its `Connection` (the phases before).
"""

import errno
import os
import select
import socket
from abc import abstractmethod

import numpy as np

from devices.client import Server, open_stream, set_reset
from devices.fleet.fleet import Fleet, describe_violation
from devices.kernels import layout, messages, sockets
from devices.kernels.frames import WRITE_BYTES_MAX
from devices.kernels.layout import Phase, PollState, Verdict
from devices.limits import FleetFailed, raise_open_files
from devices.link import FleetLink
from server.kernels.libc import EVENT_BYTES
from server.protocol.connection import Connection
from server.protocol.events import Closed, Event, Message, Refused, Violated
from server.protocol.http import authority_of
from server.protocol.messages import Hello, decode_server_message
from server.protocol.websocket import CloseCode, ProtocolViolation
from server.system import clock
from server.wire import SUBPROTOCOL, ServerOp

HANDSHAKE_NS = 10_000_000_000
FRAME_HEADROOM_BYTES = 65_536


def new_poll_state(fleet: Fleet, descriptors: int, epoll_fd: int) -> PollState:
    """The arrays of the socket pass, for descriptors below `descriptors`."""
    frame_bytes_max = 2 * fleet.width * fleet.height + FRAME_HEADROOM_BYTES  # Tiles at the edges are sent whole.
    words = np.zeros(WRITE_BYTES_MAX // 4, np.uint32)
    cursor = np.zeros(1, layout.CURSOR)
    cursor["device"] = -1
    cursor["epoll_fd"] = epoll_fd
    cursor["frame_bytes_max"] = frame_bytes_max
    return PollState(
        cursor=cursor,
        # Room for the longest frame that may be incomplete, and a read behind it.
        arena=np.zeros(frame_bytes_max + 16 + layout.READ_BYTES_MAX, np.uint8),
        outgoing=words.view(np.uint8),
        words=words,
        events=np.zeros(layout.EVENTS_MAX * EVENT_BYTES + 16, np.uint8),
        device_of_fd=np.full(descriptors, -1, np.int32),
    )


def _explain(failure: int) -> str:
    """The text of an errno, with the remedy where there is one."""
    if failure == errno.EADDRNOTAVAIL:
        return "no local port is left; lower connections, or widen net.ipv4.ip_local_port_range"
    return os.strerror(failure).lower()


class SocketLinks(FleetLink):
    """The connections of `fleet` to one server. `descriptors`: the process's open-file limit."""

    def __init__(self, fleet: Fleet, host: str, port: int, path: str, descriptors: int) -> None:
        super().__init__(fleet)
        self._authority, self._path = authority_of(host, port), path
        self._url = Server(host, port, path).shown
        self._address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4]
        count = len(fleet.arrays.devices)
        self._sockets: list[socket.socket | None] = [None] * count
        self._connections: list[Connection | None] = [None] * count
        self._pending: set[int] = set()  # In the handshake.
        self._leaving: set[int] = set()  # Our close frame is sent; waiting for the end.
        self._epoll = select.epoll()
        self.poll_state = new_poll_state(fleet, descriptors, self._epoll.fileno())

    @abstractmethod
    def _on_open(self, d: int, now_ns: int) -> None:
        """Device `d` has received HELLO."""

    @abstractmethod
    def _on_end_of(self, d: int, reason: str, now_ns: int, *, was_refused: bool) -> None:
        """The connection of device `d` has ended; `was_refused`: before its HELLO."""

    def open_devices(self) -> list[int]:
        """The devices that are connected and stay, in their order."""
        phases = self.fleet.arrays.devices["phase"]
        is_open = (phases == Phase.SLOW) | (phases == Phase.FAST)
        return [int(d) for d in np.flatnonzero(is_open) if d not in self._leaving]

    def make_room(self) -> None:
        """Make room for all devices of the fleet, and for all descriptors of this process."""
        more = len(self.fleet.arrays.devices) - len(self._sockets)
        self._sockets += [None] * more
        self._connections += [None] * more
        descriptors, have = raise_open_files(len(self._sockets)), len(self.poll_state.device_of_fd)
        if descriptors > have:
            device_of_fd = np.append(self.poll_state.device_of_fd, np.full(descriptors - have, -1, np.int32))
            self.poll_state = self.poll_state._replace(device_of_fd=device_of_fd)

    # Connecting.

    def _dial_one(self, d: int, now_ns: int) -> None:
        opened = open_stream(str(self._address[0]))
        self._sockets[d] = opened
        self._connections[d] = Connection.client(
            self._authority,
            self._path,
            now_ns,
            subprotocols=(SUBPROTOCOL,),
            message_bytes_max=int(self.poll_state.cursor["frame_bytes_max"][0]),
            handshake_ns=HANDSHAKE_NS,
        )
        self._pending.add(d)
        descriptor = opened.fileno()
        self.poll_state.device_of_fd[descriptor] = d
        self.fleet.arrays.devices["fd"][d] = descriptor
        self.fleet.set_phase(d, Phase.CONNECTING)
        failure = opened.connect_ex(self._address)
        # On loopback a refusal is often returned at once, and EPOLLOUT would never come.
        if failure not in (0, errno.EINPROGRESS):
            self._end(d, _explain(failure))
            return
        self._epoll.register(descriptor, select.EPOLLOUT)

    def _on_connected(self, d: int) -> None:
        opened = self._sockets[d]
        assert opened is not None
        failure = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            self._end(d, _explain(failure))
            return
        try:
            opened.getpeername()
        except OSError:
            return  # Not yet: the event belongs to the socket that had this descriptor before.
        self._epoll.modify(opened.fileno(), select.EPOLLIN)
        self.fleet.set_phase(d, Phase.GREETING)
        self._send(d)

    # Driving.

    def drive(self, until_ns: int) -> None:
        arrays, poll_state = self.fleet.arrays, self.poll_state
        while True:
            verdict = sockets.turn(arrays, poll_state, until_ns)
            if verdict == Verdict.DONE:
                return
            self._on_verdict(verdict, clock.now_ns())

    def watch_deadlines(self, now_ns: int) -> None:
        for d in [*self._pending, *self._leaving]:
            connection = self._connections[d]
            if connection is not None:
                self._on_events(d, connection.on_timer(now_ns), now_ns)

    def _on_verdict(self, verdict: int, now_ns: int) -> None:
        cursor = self.poll_state.cursor[0]
        d = int(cursor["subject"])
        if verdict == Verdict.CONNECTED:
            self._on_connected(d)
        elif verdict == Verdict.HANDOVER:
            self._on_bytes(d, self.poll_state.arena[int(cursor["start"]) : int(cursor["end"])].tobytes(), now_ns)
        elif verdict == Verdict.ENDED:
            self._on_end(d, int(cursor["failure"]), now_ns)
        else:
            d = int(cursor["device"])
            message = int(cursor["message"])
            payload = self.poll_state.arena[message : message + int(cursor["size"])].tobytes()
            try:
                if verdict == Verdict.VIOLATION:
                    raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, describe_violation(payload))
                self.fleet.viewers.learn_transition(d, payload)
            except ProtocolViolation as violation:
                cursor["device"] = -1
                self._fail_protocol(d, violation)

    def _on_end(self, d: int, failure: int, now_ns: int) -> None:
        connection = self._connections[d]
        if failure:
            self._end(d, _explain(failure))
        elif connection is None:
            self._end(d, "the stream ended before the handshake")
        else:
            self._on_events(d, connection.receive_eof(now_ns), now_ns)

    def _on_bytes(self, d: int, data: bytes, now_ns: int) -> None:
        connection = self._connections[d]
        assert connection is not None
        self._on_events(d, connection.receive_data(data, now_ns), now_ns)
        # From here the compiled decoder reads the stream, until it meets a frame that is not plain.
        if connection.at_frame_boundary and d not in self._pending and self._sockets[d] is not None:
            self.fleet.set_phase(d, Phase.FAST)

    def _on_events(self, d: int, events: list[Event], now_ns: int) -> None:
        for event in events:
            try:
                self._on_event(d, event, now_ns)
            except ProtocolViolation as violation:
                self._fail_protocol(d, violation)
        if self._sockets[d] is not None:
            self._send(d)

    def _on_event(self, d: int, event: Event, now_ns: int) -> None:
        if isinstance(event, Message):
            if event.is_text:
                raise ProtocolViolation(CloseCode.UNSUPPORTED_DATA, "a text message; the canvas speaks binary")
            # The first message must be HELLO; every later one is the fleet's.
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
                f"the server's canvas is {hello.width} x {hello.height} and the fleet's is "
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
            messages.subscribe(self.fleet.arrays, self.poll_state, d, 0, False)
        if self.fleet.arrays.devices["slow"][d]:
            sockets.update_interest(self.fleet.arrays, self.poll_state, d)  # It never reads from now on.
        self._on_open(d, now_ns)

    def _fail_protocol(self, d: int, violation: ProtocolViolation) -> None:
        """The server broke the canvas protocol: count it, and close with the reason."""
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
            sockets.send_bytes(self.fleet.arrays, self.poll_state, d, np.frombuffer(bytearray(data), np.uint8))

    # Ending.

    def _leave(self, d: int, reason: str, now_ns: int) -> None:
        """Begin to close the connection of device `d`; end it at once where a close frame would not be read."""
        connection, device = self._connections[d], self.fleet.arrays.devices[d]
        assert connection is not None
        if d in self._pending or device["slow"] or device["stalled"]:
            self._end(d, "")
            return
        self.fleet.end(d, now_ns)
        held = int(sockets.take_carry(self.fleet.arrays, self.poll_state, d))
        self.fleet.set_phase(d, Phase.SLOW)
        # The incomplete frame that the compiled pass keeps precedes what the Connection reads next.
        self._on_events(d, connection.receive_data(self.poll_state.arena[:held].tobytes(), now_ns), now_ns)
        connection.close(CloseCode.GOING_AWAY, reason)
        if self._sockets[d] is not None:
            self._leaving.add(d)
            self._send(d)

    def _reset(self, d: int) -> None:
        """Reset the connection of device `d`."""
        opened = self._sockets[d]
        assert opened is not None
        set_reset(opened)
        self._end(d, "")

    def _end(self, d: int, reason: str) -> None:
        """The connection of device `d` has ended: close its socket and release its buffers."""
        opened = self._sockets[d]
        if opened is None:
            return
        was_refused = d in self._pending
        self._pending.discard(d)
        if not was_refused:
            self._counters["connection_count"] -= 1
            self._counters["subscriber_count"] -= self.fleet.arrays.devices["seen"][d]
        self._leaving.discard(d)
        # Before the close: the next socket may get the same descriptor, and events of this batch may still name it.
        self.poll_state.device_of_fd[opened.fileno()] = -1
        opened.close()
        self._sockets[d] = self._connections[d] = None
        now_ns = clock.now_ns()
        self.fleet.end(d, now_ns)
        sockets.release(self.fleet.arrays, d)
        self._on_end_of(d, reason, now_ns, was_refused=was_refused)
