"""All hostile clients on the sockets of one thread: connected, driven, ended, counted, reconnected.

Time is an argument. Invariant: there are never more sockets than members, and each opened connection is counted once
when it is gone: as left, as dropped, or by the status or code that the server gave.
"""

import errno
import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from numpy.typing import NDArray

from devices.client import open_stream, set_reset
from devices.hostile.client import HostileClient, Leave
from devices.hostile.config import HostileConfig, kinds_of_members
from devices.hostile.counters import count_end
from devices.hostile.scripts import CLASSES
from server.protocol.http import authority_of

# Members connect one after another over this time, not all at once.
START_NS = 2_000_000_000
# How long to wait for the answer to a close frame.
CLOSE_NS = 3_000_000_000
# Pause after a failed connect, and how long a connect may take before the script looks for it again.
RETRY_NS = 1_000_000_000
_CONNECT_CHECK_S = 0.05
_IDLE_S = 1.0
# A prime: members of runs with neighbouring seeds draw different numbers.
_SEED_STEP = 1_000_003
_READ_BYTES = 65_536
_HUNG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL


@dataclass(slots=True)
class _Member:
    kind: int
    random: Random
    # When it connects, or its script is resumed.
    due_ns: int
    turn: int = 0
    link: "_Link | None" = None


@dataclass(slots=True)
class _Link:
    """The present connection of a member."""

    member: _Member
    stream: socket.socket
    client: HostileClient
    script: Iterator[float]
    is_connected: bool = False
    # Of this connection, as counted so far.
    throttled_count: int = 0


class HostilePool:
    """`rows`: counters of dtype HOSTILE, one for each kind."""

    def __init__(
        self, config: HostileConfig, address: tuple[str, int], path: str, seed: int, rows: NDArray[Any], now_ns: int
    ) -> None:
        self._address, self._path, self._rows = address, path, rows
        kinds = kinds_of_members(config)
        self._members = [
            _Member(kind, Random(seed * _SEED_STEP + i), now_ns + START_NS * i // len(kinds))
            for i, kind in enumerate(kinds)
        ]
        self._poll = select.poll()
        self._links: dict[int, _Link] = {}

    def drive(self, now_ns: int, wait_ms: int) -> None:
        """Resume all members that are due, then move bytes; wait up to `wait_ms` for a ready socket."""
        for member in self._members:
            if member.due_ns <= now_ns:
                if member.link is None:
                    self._connect(member, now_ns)
                else:
                    self._resume(member.link, now_ns)
        assert len(self._links) <= len(self._members)
        for fd, mask in self._poll.poll(wait_ms):
            self._serve(self._links[fd], mask, now_ns)

    def close(self) -> None:
        """Reset all connections. The pool is empty afterwards."""
        for link in list(self._links.values()):
            self._rows[link.member.kind]["left_count"] += link.is_connected
            self._drop(link, with_reset=True)
        self._members.clear()

    def _connect(self, member: _Member, now_ns: int) -> None:
        host, port = self._address
        kind = CLASSES[member.kind]
        stream = open_stream(host)
        if kind.receive_bytes:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kind.receive_bytes)
        client = kind(authority_of(host, port), self._path, member.random, member.turn)
        link = member.link = self._links[stream.fileno()] = _Link(member, stream, client, client.script())
        member.turn += 1
        member.due_ns = now_ns + RETRY_NS
        self._poll.register(stream, select.POLLOUT)
        # On loopback a refusal may be returned at once, and SO_ERROR is 0 afterwards.
        if stream.connect_ex((host, port)) not in (0, errno.EINPROGRESS):
            self._fail(link, now_ns)

    def _fail(self, link: _Link, now_ns: int) -> None:
        self._rows[link.member.kind]["failed_count"] += 1
        link.member.due_ns = now_ns + RETRY_NS
        self._drop(link, with_reset=False)

    def _resume(self, link: _Link, now_ns: int) -> None:
        client, member = link.client, link.member
        if client.is_closing:
            self._leave(link, now_ns)  # The server has not answered the close frame in time.
            return
        client.now_ns = now_ns
        placed = client.placed_count
        pause_s = next(link.script, _IDLE_S) if link.is_connected else _CONNECT_CHECK_S
        self._rows[member.kind]["placed_count"] += client.placed_count - placed
        member.due_ns = now_ns + (CLOSE_NS if client.is_closing else int(pause_s * 1e9))
        if client.leave is Leave.RESET:
            self._leave(link, now_ns)
        else:
            self._send(link, now_ns)

    def _serve(self, link: _Link, mask: int, now_ns: int) -> None:
        row = self._rows[link.member.kind]
        if not link.is_connected:
            if link.stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._fail(link, now_ns)
                return
            link.is_connected = True
            row["opened_count"] += 1
            row["connection_count"] += 1
            link.member.due_ns = now_ns
            self._update_interest(link)
        elif mask & select.POLLIN and link.client.reads:
            self._receive(link, now_ns)
        elif mask & _HUNG_UP:
            self._on_end(link, now_ns)
        elif mask & select.POLLOUT:
            self._send(link, now_ns)

    def _receive(self, link: _Link, now_ns: int) -> None:
        client, row = link.client, self._rows[link.member.kind]
        try:
            data = link.stream.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        row["received_bytes"] += len(data)
        was_open = client.is_open
        client.receive(data)
        row["upgraded_count"] += client.is_open and not was_open
        # THROTTLED counts since the connection was opened, and a later one for another reason includes earlier ones.
        row["throttled_count"] += client.dropped_count - link.throttled_count
        link.throttled_count = client.dropped_count
        if not data or client.code:
            self._on_end(link, now_ns)

    def _send(self, link: _Link, now_ns: int) -> None:
        client = link.client
        if client.outgoing and link.is_connected:
            try:
                sent = link.stream.send(client.outgoing)
            except BlockingIOError:
                sent = 0
            except OSError:
                if not client.reads:
                    self._on_end(link, now_ns)
                    return
                sent = 0
                client.outgoing.clear()  # The server's last words, with its reason, are still to be read.
            self._rows[link.member.kind]["sent_bytes"] += sent
            del client.outgoing[:sent]
        self._update_interest(link)

    def _update_interest(self, link: _Link) -> None:
        """Poll for what the connection waits for; a hang-up is always reported."""
        if link.is_connected:
            wants = select.POLLIN if link.client.reads else 0
            self._poll.modify(link.stream, wants | (select.POLLOUT if link.client.outgoing else 0))

    def _on_end(self, link: _Link, now_ns: int) -> None:
        """The server ended the connection, or answered our close frame."""
        if link.client.is_closing:
            self._rows[link.member.kind]["left_count"] += 1
        else:
            count_end(self._rows[link.member.kind], link.client.code)
        self._pause(link, now_ns, with_reset=False)

    def _leave(self, link: _Link, now_ns: int) -> None:
        self._rows[link.member.kind]["left_count"] += 1
        self._pause(link, now_ns, with_reset=True)

    def _pause(self, link: _Link, now_ns: int, *, with_reset: bool) -> None:
        """Close the socket, and wait before the next connection."""
        least_s, most_s = CLASSES[link.member.kind].pause_s
        link.member.due_ns = now_ns + int(link.member.random.uniform(least_s, most_s) * 1e9)
        self._drop(link, with_reset=with_reset)

    def _drop(self, link: _Link, *, with_reset: bool) -> None:
        """Close the socket. The caller has counted the end."""
        self._poll.unregister(link.stream)
        del self._links[link.stream.fileno()]
        if with_reset:
            set_reset(link.stream)
        link.stream.close()
        link.member.link = None
        row = self._rows[link.member.kind]
        row["connection_count"] -= link.is_connected
        ended_count = int(row["left_count"] + row["dropped_count"] + row["code_count"].sum())
        assert row["opened_count"] == row["connection_count"] + ended_count, "an end was not counted once"
