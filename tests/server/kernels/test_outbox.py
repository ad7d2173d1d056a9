"""Outboxes over real socket pairs with small buffers: every byte once and in order, whatever the socket takes."""

import random
import select
import socket

import numpy as np
import pytest

from server.kernels.fan_out import flush, post, release
from server.kernels.layout import HELD_BYTES_MAX, HELD_BYTES_RESUME, Phase, Reason
from support.stages import needs_compiler, new_canvas, new_loop

NOW_NS = 7_000_000_000
SLOT = 1

pytestmark = needs_compiler


class Line:
    """A connection of a loop over a socket pair; `far` is the peer's end."""

    def __init__(self):
        self.near, self.far = socket.socketpair()
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.near, select.EPOLLIN)
        self.loop = new_loop(new_canvas())
        self.row = self.loop.connections[SLOT]
        self.row["fd"], self.row["phase"] = self.near.fileno(), Phase.FAST
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        release(self.loop, self.row)
        self.near.close()
        self.far.close()
        self.epoll.close()

    @property
    def held(self):
        return int(self.row["outbox_end"] - self.row["outbox_start"])

    def post(self, data, now_ns=NOW_NS):
        taken = post(self.loop, self.epoll.fileno(), SLOT, np.frombuffer(data, np.uint8), now_ns)
        self.check()
        return taken

    def flush(self, now_ns=NOW_NS):
        flush(self.loop, self.epoll.fileno(), SLOT, now_ns)
        self.check()

    def read(self, size):
        try:
            self.received += self.far.recv(size)
        except BlockingIOError:
            return False
        return True

    def check(self):
        """What must hold after each step."""
        assert self.loop.counts[0]["outbox_bytes"] == self.held
        assert bool(self.row["writable_armed"]) == (self.held > 0) or self.row["phase"] == Phase.DEAD
        assert (self.row["outbox_pointer"] != 0) == (self.held > 0)

    def watched(self):
        """Whether epoll reports that the socket can be read, and written."""
        bits = sum(bits for _, bits in self.epoll.poll(0))
        return bool(bits & select.EPOLLIN), bool(bits & select.EPOLLOUT)

    def handed_over(self):
        count = int(self.loop.queues[0]["handover_count"])
        return [(int(entry["slot"]), int(entry["reason"])) for entry in self.loop.handovers[:count]]


@pytest.mark.parametrize("seed", range(12))
def test_every_byte_arrives_once_and_in_order(seed):
    lots = random.Random(seed)
    sent = b""
    with Line() as line:
        for _ in range(80):
            step = lots.randrange(3)
            if step == 0:
                data = lots.randbytes(lots.choice([0, 1, 10, 300, 5000, 40_000]))
                assert line.post(data)
                sent += data
            elif step == 1:
                line.read(lots.choice([1, 100, 60_000]))
            else:
                line.flush()
        while line.held or len(line.received) < len(sent):
            line.read(1 << 20)
            line.flush()
        assert line.received == sent
        assert line.loop.counts[0]["sent_bytes"] == len(sent)
        assert line.handed_over() == []


def test_reading_stops_above_the_high_mark_and_resumes_below_the_low_one():
    with Line() as line:
        line.far.send(b"something to read")
        while line.held <= HELD_BYTES_MAX:
            assert not line.row["reading_paused"]
            assert line.watched()[0]
            line.post(bytes(3000))
        assert line.row["reading_paused"]
        assert not line.watched()[0]
        while line.held > HELD_BYTES_RESUME:
            assert line.row["reading_paused"]
            line.read(1000)
            line.flush()
        assert not line.row["reading_paused"]
        assert line.watched()[0]


def test_epoll_tells_when_there_is_room_again():
    with Line() as line:
        while not line.held:
            line.post(bytes(3000))
        assert not line.watched()[1]
        while line.read(1 << 20):
            pass
        assert line.watched()[1]
        while line.held:
            line.flush()
            line.read(1 << 20)
        assert not line.watched()[1]


def test_progress_is_when_the_peer_last_took_bytes():
    with Line() as line:
        while not line.held:
            line.post(bytes(3000), NOW_NS)
        line.flush(NOW_NS + 5)
        assert line.row["progress_ns"] == NOW_NS
        while line.read(1 << 20):
            pass
        line.flush(NOW_NS + 9)
        assert line.row["progress_ns"] == NOW_NS + 9


def test_one_that_is_to_be_closed_is_handed_over_once_its_last_byte_is_out():
    with Line() as line:
        while not line.held:
            line.post(bytes(3000))
        line.row["closing"] = 1
        line.flush()
        assert line.handed_over() == []
        while line.held:
            line.read(1 << 20)
            line.flush()
        line.flush()
        assert line.handed_over() == [(SLOT, Reason.FLUSHED)]
        assert line.row["phase"] == Phase.DEAD


def test_a_broken_socket_is_handed_over_once_and_its_bytes_are_given_up():
    with Line() as line:
        while not line.held:
            line.post(bytes(3000))
        line.row["subscribed"], line.loop.counts[0]["subscriber_count"] = 1, 1
        line.far.close()
        line.flush()
        assert not line.post(b"more")
        assert line.held == 0
        assert line.handed_over() == [(SLOT, Reason.ENDED)]
        assert line.loop.counts[0]["subscriber_count"] == 0
