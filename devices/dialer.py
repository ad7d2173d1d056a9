"""The fleet's sockets: opens them at a pace, shakes hands, and drives the compiled pass that does the rest.

The only file of the fleet that knows sockets. Python is asked for handshakes, control frames and ends; plain frames
never leave the compiled pass. Invariant: at any time the bytes of a connection are looked at by exactly one of the
compiled decoder (Phase.FAST) and its `Connection` (Phase.SLOW).
"""

import errno
import os
import select
import socket

import numpy as np
from numpy.typing import NDArray

from devices.fleet import Fleet, describe_violation
from devices.kernels import layout, sockets
from devices.kernels.drain import send_last_pings
from devices.kernels.frames import WRITE_BYTES_MAX
from devices.kernels.layout import Links, Phase, Verdict
from devices.limits import FleetFailed
from server import clock
from server.kernels.libc import EVENT_BYTES
from server.protocol.connection import Connection
from server.protocol.events import Closed, Event, Message, Refused, Violated
from server.protocol.messages import SUBPROTOCOL, Hello, ServerOp, decode_server_message
from server.protocol.websocket import CloseCode, ProtocolViolation

IN_FLIGHT_MAX = 256
"""Handshakes under way at once: well below the listen backlog of any server, or it would drop some."""
REFUSALS_MAX = 64
"""So many refusals without one connection are answer enough."""
FRAME_HEADROOM_BYTES = 65_536
HANDSHAKE_NS = 10_000_000_000


def new_links(fleet: Fleet, descriptors: int, epoll_fd: int) -> Links:
    """The arrays of the socket pass, for descriptors below `descriptors`."""
    frame_bytes_max = 2 * fleet.width * fleet.height + FRAME_HEADROOM_BYTES  # Tiles of the full kind may stick out.
    words = np.zeros(WRITE_BYTES_MAX // 4, np.uint32)
    cursor = np.zeros(1, layout.CURSOR)
    cursor["device"] = -1
    cursor["epoll_fd"] = epoll_fd
    cursor["frame_bytes_max"] = frame_bytes_max
    return Links(
        cursor=cursor,
        arena=np.zeros(frame_bytes_max + 16 + layout.READ_BYTES_MAX, np.uint8),
        outgoing=words.view(np.uint8),
        words=words,
        events=np.zeros(layout.EVENTS_MAX * EVENT_BYTES + 16, np.uint8),
        device_of_fd=np.full(descriptors, -1, np.int32),
    )


class Dialer:
    """All connections of `fleet` to one server. `descriptors`: the process's open-file limit."""

    def __init__(self, fleet: Fleet, host: str, port: int, path: str, descriptors: int) -> None:
        self.fleet = fleet
        self.reason = ""
        """Why the last connection ended that nobody asked to."""
        self.tick_ms = 0
        """Tick interval of the server, as its last HELLO told; 0 before."""
        self._host, self._path = f"{host}:{port}", path
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self._family, self._address = found[0][0], found[0][4]
        count = fleet.config.connections
        self._sockets: list[socket.socket | None] = [None] * count
        self._connections: list[Connection | None] = [None] * count
        self._pending: set[int] = set()  # Shaking hands.
        self._leaving: set[int] = set()  # We have said why we go, and wait for the end of the stream.
        self._asked = np.zeros(count, np.bool_)  # Has sent its last PING.
        self._dialled = 0
        self._begun_ns = clock.now_ns()
        self._closing = False
        self._epoll = select.epoll()
        self.links = new_links(fleet, descriptors, self._epoll.fileno())
        self._counters = fleet.arrays.counters[0]

    # Opening.

    @property
    def is_complete(self) -> bool:
        """Every device was dialled, none is still shaking hands, every viewer that reads has its SNAPSHOT."""
        devices = self.fleet.arrays.devices
        waiting = (devices["viewer"] > devices["slow"]) & (devices["seen"] == 0) & (devices["phase"] != Phase.GONE)
        return self._dialled == len(self._sockets) and not self._pending and not waiting.any()

    @property
    def is_empty(self) -> bool:
        """There is no connection, and none to come."""
        return self._dialled == len(self._sockets) and not self._pending and not self.open_count

    @property
    def open_count(self) -> int:
        """Connections open now."""
        return int(self._counters["connection_count"])

    def dial(self, now_ns: int) -> None:
        """Begin as many connections as the pace and the handshakes under way allow. Raises FleetFailed."""
        allowed = (now_ns - self._begun_ns) * self.fleet.config.connect_per_s // 1_000_000_000 + 1
        while self._dialled < min(allowed, len(self._sockets)) and len(self._pending) < IN_FLIGHT_MAX:
            self._dial_one(self._dialled, now_ns)
            self._dialled += 1
            if self._counters["refused_count"] >= REFUSALS_MAX and not self.open_count:
                raise FleetFailed(f"ws://{self._host}{self._path} lets nobody in: {self.reason}")

    def _dial_one(self, d: int, now_ns: int) -> None:
        opened = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._sockets[d] = opened
        self._connections[d] = Connection.client(
            self._host,
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
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        failure = opened.connect_ex(self._address)
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
        self._epoll.modify(opened.fileno(), select.EPOLLIN)
        self.fleet.set_phase(d, Phase.SLOW)
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

    def count_unanswered(self) -> int:
        """Have every device that has sent all it intends send a last PING. Returns how many wait for its answer."""
        return int(send_last_pings(self.fleet.arrays, self.links, self._asked))

    def check_viewers(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        """How many viewers hold a canvas, and how many of them one that differs from `pixels`, (height, width) u1."""
        return self.fleet.viewers.check(pixels)

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
                self.fleet.viewers.teach(d, payload)
            except ProtocolViolation as violation:
                cursor["device"] = -1
                self._accuse(d, violation)

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
        self._pending.discard(d)
        self._counters["connection_count"] += 1
        connection = self._connections[d]
        if connection is not None and self.fleet.arrays.devices["viewer"][d]:
            connection.send_binary(self.fleet.subscribe(d).encode())
            if self.fleet.arrays.devices["slow"][d]:
                self._epoll.modify(int(self.fleet.arrays.devices["fd"][d]), 0)  # From here on it never reads.

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

    def close(self, now_ns: int) -> None:
        """Begin to close every connection in order; handshakes under way, and those that never read, are given up."""
        self._closing = True
        self._dialled = len(self._sockets)
        for d, connection in enumerate(self._connections):
            if connection is None or d in self._pending or self.fleet.arrays.devices["slow"][d]:
                if self._sockets[d] is not None:
                    self._end(d, "")
                continue
            held = int(sockets.take_carry(self.fleet.arrays, self.links, d))
            self.fleet.set_phase(d, Phase.SLOW)
            # What the compiled pass keeps of an unfinished frame comes before what the Connection reads next.
            self._on_events(d, connection.receive_data(self.links.arena[:held].tobytes(), now_ns), now_ns)
            connection.close(CloseCode.GOING_AWAY, "the fleet stops")
            if self._sockets[d] is not None:
                self._send(d)

    def abandon(self) -> None:
        """Close every socket that is left, at once."""
        self._closing = True
        for d, opened in enumerate(self._sockets):
            if opened is not None:
                self._end(d, "")
        self._epoll.close()

    def _end(self, d: int, reason: str) -> None:
        """The connection of device `d` is over: close its socket, give back what it holds, count it."""
        opened = self._sockets[d]
        if opened is None:
            return
        if d in self._pending:
            self._pending.remove(d)
            self._counters["refused_count"] += not self._closing
        else:
            self._counters["connection_count"] -= 1
            self._counters["lost_count"] += not self._closing
            self._counters["subscriber_count"] -= self.fleet.arrays.devices["seen"][d]
        if not self._closing:
            self.reason = reason
        self._leaving.discard(d)
        self.links.device_of_fd[opened.fileno()] = -1
        opened.close()
        self._sockets[d] = self._connections[d] = None
        sockets.release(self.fleet.arrays, d)


def _explain(failure: int) -> str:
    """What an errno of a connection means for a person."""
    if failure == errno.EADDRNOTAVAIL:
        return "no local port is left; lower connections, or widen net.ipv4.ip_local_port_range"
    return os.strerror(failure).lower()
