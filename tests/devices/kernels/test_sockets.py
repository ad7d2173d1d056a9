"""The compiled pass over a socket pair: full sockets, frames cut anywhere, and handovers to the slow path."""

import select
import socket

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.config import FleetConfig
from devices.fleet.fleet import Fleet
from devices.kernels import sockets
from devices.kernels.layout import Phase, Verdict
from devices.sockets.socket_links import new_poll_state
from server.ipc.page import Page, fleet_sections
from server.protocol.blocks import Block
from server.protocol.connection import Connection, Role
from server.protocol.events import Message
from server.protocol.messages import Delta, Notice, Snapshot
from server.protocol.websocket import encode_frame
from server.system import clock
from server.wire import Opcode

MS = 1_000_000


class Pair:
    """One device on one end of a socket pair; the test holds the other."""

    def __init__(self, **settings_):
        config = FleetConfig(**{"connections": 1, "rate_per_s": 0, **settings_})
        self.page = Page.create(fleet_sections())
        self.fleet = Fleet(config, 48, 40, 1, self.page)
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.ours, select.EPOLLIN)
        self.poll_state = new_poll_state(self.fleet, self.ours.fileno() + 1, self.epoll.fileno())
        self.poll_state.device_of_fd[self.ours.fileno()] = 0
        self.fleet.arrays.devices["fd"][0] = self.ours.fileno()
        self.fleet.set_phase(0, Phase.FAST)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        sockets.release(self.fleet.arrays, 0)
        self.epoll.close()
        self.ours.close()
        self.theirs.close()

    @property
    def counters(self):
        return self.page["fleet"][0]

    def turn(self, ms=1):
        """Drive for `ms`, learning new frames. Returns the first other verdict, or DONE.

        What was polled is served too, even where a busy machine used up the time before.
        """
        cursor = self.poll_state.cursor[0]
        while True:
            verdict = sockets.turn(self.fleet.arrays, self.poll_state, clock.now_ns() + ms * MS)
            if verdict == Verdict.UNKNOWN:
                message, size = int(cursor["message"]), int(cursor["size"])
                self.fleet.viewers.learn_transition(0, self.poll_state.arena[message : message + size].tobytes())
            elif verdict != Verdict.DONE or ms < 0 or cursor["event_index"] >= cursor["event_count"]:
                return verdict

    def unread(self):
        cursor = self.poll_state.cursor[0]
        return self.poll_state.arena[int(cursor["start"]) : int(cursor["end"])].tobytes()

    def receive(self):
        try:
            return self.theirs.recv(1 << 20)
        except BlockingIOError:
            return b""


def stream_of_deltas(count):
    """A snapshot, deltas and notices as one stream, and the resulting canvas."""
    random = np.random.default_rng(count)
    pixels = random.integers(0, 200, (40, 48), dtype=np.uint8)
    stream = encode_frame(Opcode.BINARY, Snapshot(1, 0, 0, 48, 40, pixels.tobytes()).encode())
    for tick in range(2, count):
        offsets = tuple(range(tick * 3 % 500 + 1))
        colors = random.integers(0, 200, len(offsets), dtype=np.uint8).tobytes()
        stream += encode_frame(Opcode.BINARY, Delta(tick, (Block(0, offsets, colors),)).encode())
        stream += encode_frame(Opcode.BINARY, Notice(1, "n" * (tick % 3)).encode())
        tile = pixels[:32, :32].copy().ravel()
        tile[: len(offsets)] = np.frombuffer(colors, np.uint8)
        pixels[:32, :32] = tile.reshape(32, 32)
    return stream, pixels


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=12))
@settings(deadline=None, max_examples=25)
def test_frames_may_be_cut_anywhere(sizes):
    stream, pixels = stream_of_deltas(9)
    with Pair() as pair:
        at = 0
        for size in [*sizes, len(stream)]:
            pair.theirs.sendall(stream[at : at + size])
            at += size
            assert pair.turn() == Verdict.DONE
        assert (pair.fleet.viewers.canvas(0) == pixels).all()
        assert pair.counters["received_bytes"] == len(stream)
        assert pair.fleet.arrays.devices["carry_bytes"][0] == 0


def test_frames_one_byte_at_a_time():
    stream, pixels = stream_of_deltas(4)
    with Pair() as pair:
        for i in range(len(stream)):
            pair.theirs.sendall(stream[i : i + 1])
            sockets.turn(pair.fleet.arrays, pair.poll_state, 0) if i % 7 else pair.turn()
        pair.turn()
        assert (pair.fleet.viewers.canvas(0) == pixels).all()


def test_full_socket_keeps_the_order_and_loses_nothing():
    with Pair(rate_per_s=400_000, frames_per_write=64) as pair:
        pair.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        pair.fleet.start(clock.now_ns())
        while not pair.counters["blocked_count"]:
            assert pair.turn() == Verdict.DONE
        now_ns = clock.now_ns()
        pair.fleet.stop_sending(now_ns)
        assert pair.fleet.backlog_count(now_ns) > 0
        received = b""
        while pair.fleet.backlog_count(clock.now_ns()):
            received += pair.receive()
            pair.turn()
        received += pair.receive()
        assert pair.counters["sent_count"] == pair.counters["offered_count"] == len(received) / 12
        assert pair.counters["sent_bytes"] == len(received)
    server = Connection(Role.SERVER, 0)
    server.receive_data(
        b"GET /canvas HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        0,
    )
    server.accept_upgrade()
    events = server.receive_data(received, 0)
    assert all(isinstance(event, Message) and len(event.data) == 6 for event in events)
    assert len(events) == len(received) / 12


def test_slow_path_bytes_follow_the_rest():
    with Pair() as pair:
        pair.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        chunks = [bytes([i]) * 30_000 for i in range(1, 6)]
        for chunk in chunks:
            data = np.frombuffer(bytearray(chunk), np.uint8)
            sockets.send_bytes(pair.fleet.arrays, pair.poll_state, 0, data)
        received = b""
        while len(received) < 150_000:
            received += pair.receive()
            pair.turn()
        assert received == b"".join(chunks)


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG, Opcode.CLOSE, Opcode.TEXT])
def test_other_frames_are_handed_over_with_everything_behind_them(opcode):
    stream, pixels = stream_of_deltas(3)
    tail = encode_frame(opcode, b"\x03\xe8") + stream
    with Pair() as pair:
        pair.theirs.sendall(stream + tail)
        assert pair.turn() == Verdict.HANDOVER
        assert pair.unread() == tail
        assert pair.fleet.arrays.devices["phase"][0] == Phase.SLOW
        assert (pair.fleet.viewers.canvas(0) == pixels).all()


def test_masked_and_fragmented_frames_are_handed_over():
    for head in (b"\x82\x80", b"\x02\x01", b"\x00\x01"):
        with Pair() as pair:
            pair.theirs.sendall(head + bytes(9))
            assert pair.turn() == Verdict.HANDOVER
            assert pair.unread() == head + bytes(9)


@pytest.mark.parametrize(
    "frame", [b"\x82\x7f" + (1 << 40).to_bytes(8, "big"), b"\x82\x7f" + b"\xff" * 8, b"\x82\x01\x00", b"\x82\x00"]
)
def test_too_long_and_unknown_messages_break_the_protocol(frame):
    with Pair() as pair:
        pair.theirs.sendall(frame)
        assert pair.turn() == Verdict.VIOLATION


def test_end_of_stream():
    with Pair() as pair:
        pair.theirs.close()
        assert pair.turn() == Verdict.ENDED
        assert pair.poll_state.cursor["failure"][0] == 0


def test_carry_is_handed_back():
    with Pair() as pair:
        pair.theirs.sendall(b"\x82\x05\x85abc")
        pair.turn()
        assert sockets.take_carry(pair.fleet.arrays, pair.poll_state, 0) == 6
        assert pair.poll_state.arena[:6].tobytes() == b"\x82\x05\x85abc"
        assert sockets.take_carry(pair.fleet.arrays, pair.poll_state, 0) == 0


def test_sockets_are_read_even_when_writes_are_late():
    stream, pixels = stream_of_deltas(9)
    with Pair(rate_per_s=1000, frames_per_write=1) as pair:
        late_ns = clock.now_ns() - 60_000 * MS
        pair.fleet.start(late_ns)
        pair.theirs.sendall(stream)
        for _ in range(len(stream)):
            assert pair.turn(ms=-1) == Verdict.DONE  # Its time is over before it begins, and writes are due.
            pair.receive()
        assert pair.counters["sent_count"] > 0
        assert pair.fleet.backlog_count(clock.now_ns()) > 0
        assert (pair.fleet.viewers.canvas(0) == pixels).all()
