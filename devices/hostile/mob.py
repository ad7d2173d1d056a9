"""All clients that misbehave, on sockets of one thread: dialled, driven, ended, counted, dialled again.

Time is an argument. Invariant: there are never more sockets than members, and a socket that is gone is counted once:
as left, as dropped, or with the status or code that the server gave.
"""

import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from numpy.typing import NDArray

from devices.client import open_stream, set_reset
from devices.hostile.config import HostileConfig, kinds_of_members
from devices.hostile.kinds import CLASSES
from devices.hostile.misfit import HostileClient, Leave
from devices.hostile.tally import count_end
from server.protocol.http import authority_of

START_NS = 2_000_000_000
"""They come one after another over this time, not all at once."""
CLOSE_NS = 3_000_000_000
"""Who closed in order waits so long for the answer."""
RETRY_NS = 1_000_000_000
"""After a dial that TCP refused."""
_READ_BYTES = 65_536
_HUNG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL


@dataclass(slots=True)
class _Member:
    kind: int
    random: Random
    due_ns: int
    """When it goes on, or dials."""
    turn: int = 0
    stream: socket.socket | None = None
    is_connected: bool = False
    misfit: HostileClient | None = None
    conduct: Iterator[float] | None = None
    throttled_count: int = 0
    """Of this connection, as counted so far."""


class HostilePool:
    """`rows`: counters of dtype HOSTILE, one for each kind."""

    def __init__(
        self, config: HostileConfig, address: tuple[str, int], path: str, seed: int, rows: NDArray[Any], now_ns: int
    ) -> None:
        self._address, self._path, self._rows = address, path, rows
        kinds = kinds_of_members(config)
        self._members = [
            _Member(kind, Random(seed * 1_000_003 + i), now_ns + START_NS * i // len(kinds))
            for i, kind in enumerate(kinds)
        ]
        self._poll = select.poll()
        self._member_of_fd: dict[int, _Member] = {}

    def drive(self, now_ns: int, wait_ms: int) -> None:
        """Have everybody go on whose time has come, then move bytes, waiting for some for `wait_ms` at most."""
        for member in self._members:
            if member.due_ns <= now_ns:
                self._go_on(member, now_ns)
        for fd, mask in self._poll.poll(wait_ms):
            self._serve(self._member_of_fd[fd], mask, now_ns)

    def close(self) -> None:
        """Reset everybody; nobody comes again."""
        for member in self._members:
            if member.stream is not None:
                self._rows[member.kind]["left_count"] += 1
                self._hang_up(member, with_reset=True)
        self._members.clear()

    def _go_on(self, member: _Member, now_ns: int) -> None:
        if member.stream is None:
            self._dial(member, now_ns)
            return
        misfit = member.misfit
        assert misfit is not None
        assert member.conduct is not None
        if misfit.is_closing:
            self._leave(member, now_ns)  # The server has not answered in time.
            return
        misfit.now_ns = now_ns
        placed = misfit.placed_count
        pause_s = next(member.conduct, None) if member.is_connected else 0.05
        self._rows[member.kind]["placed_count"] += misfit.placed_count - placed
        member.due_ns = now_ns + (CLOSE_NS if misfit.is_closing else int((pause_s or 1.0) * 1e9))
        if misfit.leave is Leave.RESET:
            self._leave(member, now_ns)
        else:
            self._send(member, now_ns)

    def _dial(self, member: _Member, now_ns: int) -> None:
        host, port = self._address
        kind = CLASSES[member.kind]
        stream = open_stream(host)
        if kind.receive_bytes:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kind.receive_bytes)
        stream.connect_ex((host, port))  # What comes of it, the poll tells.
        misfit = kind(authority_of(host, port), self._path, member.random, member.turn)
        member.stream, member.misfit, member.conduct = stream, misfit, misfit.conduct()
        member.is_connected, member.throttled_count = False, 0
        member.turn += 1
        member.due_ns = now_ns + RETRY_NS
        self._member_of_fd[stream.fileno()] = member
        self._poll.register(stream, select.POLLOUT)

    def _serve(self, member: _Member, mask: int, now_ns: int) -> None:
        misfit, row = member.misfit, self._rows[member.kind]
        if member.stream is None or misfit is None:
            return
        if not member.is_connected:
            if member.stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                row["failed_count"] += 1
                self._hang_up(member, with_reset=False)
                member.due_ns = now_ns + RETRY_NS
                return
            member.is_connected = True
            row["opened_count"] += 1
            row["connection_count"] += 1
            member.due_ns = now_ns
            self._watch(member)
            return
        if mask & select.POLLIN and misfit.reads:
            self._receive(member, now_ns)
        elif mask & _HUNG_UP:
            self._ended(member, now_ns)
        elif mask & select.POLLOUT:
            self._send(member, now_ns)

    def _receive(self, member: _Member, now_ns: int) -> None:
        misfit, row = member.misfit, self._rows[member.kind]
        assert member.stream is not None
        assert misfit is not None
        try:
            data = member.stream.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        row["received_bytes"] += len(data)
        was_open = misfit.reply.is_open
        misfit.reply.receive(data)
        row["upgraded_count"] += misfit.reply.is_open and not was_open
        row["throttled_count"] += misfit.reply.dropped_count - member.throttled_count
        member.throttled_count = misfit.reply.dropped_count
        if not data or misfit.reply.code:
            self._ended(member, now_ns)

    def _send(self, member: _Member, now_ns: int) -> None:
        misfit = member.misfit
        assert member.stream is not None
        assert misfit is not None
        if misfit.outgoing and member.is_connected:
            try:
                sent = member.stream.send(misfit.outgoing)
            except BlockingIOError:
                sent = 0
            except OSError:
                if not misfit.reads:
                    self._ended(member, now_ns)
                else:
                    misfit.outgoing.clear()  # What the server said before it went is still to be read.
                    self._watch(member)
                return
            self._rows[member.kind]["sent_bytes"] += sent
            del misfit.outgoing[:sent]
        self._watch(member)

    def _watch(self, member: _Member) -> None:
        """Wait for what the connection waits for; a hang-up is always told."""
        if member.is_connected and member.stream is not None and member.misfit is not None:
            wants = select.POLLIN if member.misfit.reads else 0
            self._poll.modify(member.stream, wants | (select.POLLOUT if member.misfit.outgoing else 0))

    def _ended(self, member: _Member, now_ns: int) -> None:
        """The server ended it, or answered who closed in order."""
        assert member.misfit is not None
        if member.misfit.is_closing:
            self._rows[member.kind]["left_count"] += 1
        else:
            count_end(self._rows[member.kind], member.misfit.reply.code)
        self._pause(member, now_ns)
        self._hang_up(member, with_reset=False)

    def _leave(self, member: _Member, now_ns: int) -> None:
        self._rows[member.kind]["left_count"] += 1
        self._pause(member, now_ns)
        self._hang_up(member, with_reset=True)

    def _pause(self, member: _Member, now_ns: int) -> None:
        least, most = CLASSES[member.kind].pause_s
        member.due_ns = now_ns + int(member.random.uniform(least, most) * 1e9)

    def _hang_up(self, member: _Member, *, with_reset: bool) -> None:
        stream = member.stream
        assert stream is not None
        self._poll.unregister(stream)
        del self._member_of_fd[stream.fileno()]
        if with_reset:
            set_reset(stream)
        stream.close()
        self._rows[member.kind]["connection_count"] -= member.is_connected
        member.stream = member.misfit = member.conduct = None
        member.is_connected = False
