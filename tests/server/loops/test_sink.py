"""The counting-only loop: what it counts however the bytes are cut, what it answers, and what it hands over."""

import itertools
import select
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.kernels import sink
from server.kernels.layout import Phase, Reason, Wake
from server.protocol.messages import Ping, Place, Pong, Subscribe, decode_server_message
from server.protocol.websocket import encode_frame
from server.system import clock
from server.wire import PING_FRAME_BYTES, PLACE_FRAME_BYTES, Opcode
from support.stages import needs_compiler, new_canvas, new_loop

pytestmark = needs_compiler

# The masks hold the first bytes of PING and close frames, which must not be taken for such.
PLACE = encode_frame(Opcode.BINARY, Place(x=1, y=2, color=3).encode(), mask_key=b"\x82\x8c\x88\x82")
PING = encode_frame(Opcode.BINARY, Ping(nonce=0x0102030405060708).encode(), mask_key=b"\x86\x82\x01\x04")
SUBSCRIBE = encode_frame(Opcode.BINARY, Subscribe(0, 0, 0, 0).encode(), mask_key=b"wxyz")
CLOSE = encode_frame(Opcode.CLOSE, b"\x03\xe8", mask_key=b"abcd")
SLOT = 1

assert (len(PLACE), len(PING)) == (PLACE_FRAME_BYTES, PING_FRAME_BYTES)


class Fed:
    """A loop with one connection, whose other end we hold."""

    def __init__(self) -> None:
        self.loop = new_loop(new_canvas())
        self.peer, self._ours = socket.socketpair()
        self._epoll = select.epoll()
        self._epoll.register(self._ours.fileno(), select.EPOLLIN)
        self.loop.slot_of_fd[self._ours.fileno()] = SLOT
        self.row["fd"], self.row["phase"] = self._ours.fileno(), Phase.FAST
        self.loop.queues[0]["slot_end"] = SLOT + 1

    @property
    def row(self):
        return self.loop.connections[SLOT]

    @property
    def counts(self):
        return self.loop.counts[0]

    def feed(self, data: bytes) -> None:
        """Let the loop count these bytes and no others."""
        count = int(self.counts["received_bytes"]) + len(data)
        self.peer.sendall(data)
        while int(self.counts["received_bytes"]) < count:
            assert self._turn() == Wake.TICK, "this is to be counted, and nothing else"

    def until_python(self) -> int:
        """Let the loop run until it needs Python. Returns its Wake bits."""
        while (wake := self._turn()) == Wake.TICK:
            pass
        return wake

    def _turn(self) -> int:
        return int(sink.run(self.loop, self._epoll.fileno(), clock.now_ns() + 1_000_000))

    def handed_over(self) -> list[tuple[bytes, int]]:
        """What Python is to look at, (bytes, reason) each."""
        entries = self.loop.handovers[: int(self.loop.queues[0]["handover_count"])].tolist()
        return [(self.loop.arena[start:end].tobytes(), reason) for _, start, end, reason in entries]

    def close(self) -> None:
        self._epoll.close()
        self.peer.close()
        self._ours.close()


@pytest.fixture
def fed() -> Iterator[Fed]:
    one = Fed()
    yield one
    one.close()


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 40), cuts=st.lists(st.integers(1, 40 * 12), max_size=6))
def test_frames_are_counted_however_they_are_cut(count: int, cuts: list[int]) -> None:
    fed, data = Fed(), PLACE * count
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    try:
        for start, end in itertools.pairwise(edges):
            fed.feed(data[start:end])
            assert fed.counts["received_count"] == fed.counts["admitted_count"] == end // len(PLACE)
            assert fed.row["carry_bytes"] == end % len(PLACE)
        assert fed.handed_over() == []
    finally:
        fed.close()


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_ping_is_answered_behind_what_came_before_it(fed: Fed, count: int) -> None:
    fed.feed(PLACE * count + PING)
    assert fed.counts["received_count"] == count and fed.row["carry_bytes"] == 0
    answer = fed.peer.recv(100)
    assert answer[:2] == b"\x82\x10"
    assert decode_server_message(answer[2:]) == Pong(nonce=0x0102030405060708, tick=0)
    fed.feed(PLACE)
    assert fed.counts["received_count"] == count + 1


def test_half_a_placement_is_no_ping(fed: Fed) -> None:
    fed.feed(PLACE + PLACE[:6])
    assert (fed.counts["received_count"], fed.row["carry_bytes"]) == (1, 6)
    fed.feed(PLACE[6:])
    assert (fed.counts["received_count"], fed.row["carry_bytes"]) == (2, 0)
    assert fed.counts["sent_bytes"] == 0


def test_a_subscription_is_not_answered(fed: Fed) -> None:
    fed.feed(SUBSCRIBE)
    assert fed.counts["sent_bytes"] == 0


def test_a_close_frame_goes_to_python(fed: Fed) -> None:
    fed.feed(PLACE * 3)
    fed.peer.sendall(CLOSE)
    assert fed.until_python() & Wake.HANDOVER
    assert fed.handed_over() == [(CLOSE, Reason.BYTES)]
    assert fed.row["phase"] == Phase.SLOW and fed.counts["received_count"] == 3


def test_a_handshake_goes_to_python(fed: Fed) -> None:
    fed.row["phase"] = Phase.SLOW
    fed.peer.sendall(b"GET /canvas HTTP/1.1\r\n")
    assert fed.until_python() & Wake.HANDOVER
    assert fed.handed_over() == [(b"GET /canvas HTTP/1.1\r\n", Reason.BYTES)]
    assert fed.counts["received_bytes"] == 0


def test_the_end_of_a_stream_is_handed_over_once(fed: Fed) -> None:
    fed.peer.shutdown(socket.SHUT_WR)
    assert fed.until_python() & Wake.HANDOVER
    assert [reason for _, reason in fed.handed_over()] == [Reason.ENDED]
    assert fed.row["phase"] == Phase.DEAD


def test_nothing_is_ever_owed_to_viewers(fed: Fed) -> None:
    fed.loop.queues[0]["fanout_position"] = 0
    fed.feed(PLACE)
    assert fed.loop.queues[0]["fanout_position"] == fed.loop.queues[0]["slot_end"]
