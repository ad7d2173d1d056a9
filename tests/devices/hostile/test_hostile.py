"""Hostile clients at a real server: what each gets, and that a normal client beside them notices nothing.

The clock of the hostile clients is the test's, so no test waits for their pauses.
"""

import contextlib
import re
from random import Random

import msgspec
import numpy as np
import pytest

from devices.hostile.__main__ import is_this_machine
from devices.hostile.client import HostileClient
from devices.hostile.config import CONNECTIONS_MAX, KINDS, HostileConfig, kinds_of_members
from devices.hostile.counters import CODES, by_kind, hostile_sections
from devices.hostile.pool import HostilePool
from server.ipc.page import Page
from server.protocol.handshake import upgrade_response
from server.protocol.messages import Delta, Hello, PlaceMany, Subscribe, Throttled
from server.protocol.websocket import encode_close, encode_frame
from server.system.clock import now_ns
from server.wire import Opcode
from support.serving import PATIENCE_S, Client, Serving

ROUND_NS = 30_000_000
MEMBERS = 4
SETTINGS = {
    "width": 160,
    "height": 128,
    "rate_per_s": 60_000,
    "burst": 65_000,
}
HASTY_S = 0.3
"""A deadline of the server where it is under test. Elsewhere deadlines are long, for busy machines."""


class Beside:
    """A normal client that paints and watches, beside `MEMBERS` of one kind, at one server.

    `count` is how many pixels it places in a round: no more than the server's limit allows in half a tick, which is how
    soon ticks follow each other when they were late.
    """

    def __init__(self, serving, kind, count=200):
        self.count = count
        self.serving, self.kind = serving, kind
        self.page = Page.create(hostile_sections())
        config = only(kind)
        self.at_ns = 0
        self.pool = HostilePool(config, ("127.0.0.1", serving.port), "/canvas", 7, self.page["hostile"], 0)
        self.good = accepted_client(serving)
        self.good.send(Subscribe())
        self.random = np.random.default_rng(5)
        self.placed = 0

    @property
    def row(self):
        return self.page["hostile"][KINDS.index(self.kind)]

    def code(self, code):
        """Connections ended with this status or close code."""
        return int(self.row["code_count"][CODES.index(code)])

    def until(self, condition):
        """Run both sides in rounds until the condition holds."""
        deadline_ns = now_ns() + PATIENCE_S * 1_000_000_000
        while not condition():
            assert now_ns() < deadline_ns, by_kind(self.page["hostile"])
            self.at_ns += ROUND_NS
            self.pool.drive(self.at_ns, 1)
            self.paint()

    def paint(self):
        """Place some pixels: the answer to its PING comes in order, and a delta comes."""
        at = self.random.integers(0, (160, 128, 256), (self.count, 3)).tolist()
        self.good.send(PlaceMany(tuple(map(tuple, at))))
        self.placed += self.count
        seen = len(self.good.seen)
        self.good.ping()
        if not any(isinstance(message, Delta) for message in self.good.seen[seen:]):
            self.good.until(Delta)

    def end(self):
        """All hostile clients are gone: the normal one lost nothing, and sees what the server holds."""
        self.pool.close()
        assert self.row["connection_count"] == 0
        self.good.serve_until(lambda: self.serving.counted("connection_count") == 1)
        self.paint()
        row = self.serving.connection(self.good)
        assert int(row["admitted_count"]) == self.placed
        assert not [message for message in self.good.seen if isinstance(message, Throttled)]
        ticks = [message.tick for message in self.good.seen if isinstance(message, Delta)]
        assert ticks == sorted(set(ticks))
        self.good.serve_until(lambda: (self.good.pixels == self.serving.pixels).all())
        self.good.socket.close()


def accepted_client(serving):
    """A client that has received HELLO. It reconnects where this thread was delayed longer than the server waits."""
    while True:
        client = Client(serving.port)
        with contextlib.suppress(ConnectionError):
            if client.upgrade().startswith("HTTP/1.1 101 "):
                client.welcome()
                return client
        client.socket.close()


def only(kind, connections=MEMBERS, **settings):
    weights = {name: float(name == kind) for name in KINDS}
    return HostileConfig(connections=connections, **{**weights, **settings})


@pytest.fixture(params=["native", "portable"])
def loop(request):
    return request.param


@pytest.fixture
def beside(loop):
    """`beside(kind, **settings)`: a pair at a server of its own, checked and stopped at the end of the test."""
    servings, pairs = [], []

    def begin(kind, count=200, **settings):
        servings.append(Serving(**(SETTINGS | {"loop": loop} | settings)).__enter__())
        pairs.append(Beside(servings[0], kind, count))
        return pairs[0]

    yield begin
    try:
        pairs[0].end()
    finally:
        servings[0].stop()


def test_a_stalled_client_is_reset(beside):
    pair = beside("stall", stall_s=HASTY_S)
    pair.until(lambda: pair.row["dropped_count"] >= MEMBERS)
    assert pair.serving.counted("evicted_count") >= MEMBERS
    assert pair.row["placed_count"] >= MEMBERS
    assert pair.row["left_count"] == 0


def test_a_client_that_reads_nothing_is_reset(beside):
    pair = beside("read_nothing", stall_s=HASTY_S)
    pair.until(lambda: pair.row["dropped_count"] >= MEMBERS)
    assert pair.serving.counted("evicted_count") >= MEMBERS


def test_a_byte_at_a_time_is_served(beside):
    pair = beside("byte_at_a_time")
    pair.until(lambda: pair.row["placed_count"] >= 3 * MEMBERS)
    assert pair.row["upgraded_count"] == MEMBERS
    assert_served(pair)


def test_odd_fragments_are_served(beside):
    pair = beside("odd_fragments")
    pair.until(lambda: pair.row["placed_count"] >= 10 * MEMBERS)
    assert_served(pair)


def test_old_masks_are_served(beside):
    pair = beside("old_mask")
    pair.until(lambda: pair.row["placed_count"] >= 10 * MEMBERS)
    assert_served(pair)


def assert_served(pair):
    """Everything placed was admitted, except one placement per member that may still be in flight."""
    placed = int(pair.row["placed_count"])
    pair.good.serve_until(lambda: pair.serving.counted("admitted_count") >= pair.placed + placed - MEMBERS)
    assert pair.row["dropped_count"] == pair.row["code_count"].sum() == 0
    assert pair.serving.counted("protocol_error_count") == 0


def test_an_unfinished_handshake_is_answered_408(beside):
    pair = beside("no_handshake", handshake_s=HASTY_S)
    pair.until(lambda: pair.code(408) >= MEMBERS)
    assert pair.row["upgraded_count"] == 0


def test_half_a_frame_and_a_reset_have_no_effect(beside):
    pair = beside("reset_mid_frame")
    pair.until(lambda: pair.row["left_count"] >= 5 * MEMBERS)
    assert pair.row["code_count"].sum() == pair.serving.counted("protocol_error_count") == 0


def test_churn_is_closed_properly(beside):
    pair = beside("churn")
    pair.until(lambda: pair.row["left_count"] >= 5 * MEMBERS)
    assert pair.row["upgraded_count"] >= 5 * MEMBERS
    assert pair.row["dropped_count"] == 0


def test_simultaneous_reconnects_are_accepted(beside):
    pair = beside("reconnect_together")
    pair.until(lambda: pair.row["upgraded_count"] >= 4 * MEMBERS)
    # They leave together, so all of them have left equally often.
    assert pair.row["left_count"] % MEMBERS == 0
    assert pair.row["dropped_count"] == pair.row["code_count"].sum() == 0


def test_wrong_lengths_are_closed(beside):
    pair = beside("wrong_lengths")
    pair.until(lambda: pair.code(1002) >= 4 * MEMBERS and pair.code(1009) >= 2 * MEMBERS)
    assert pair.code(1002) + pair.code(1009) == pair.row["code_count"].sum()
    assert pair.row["dropped_count"] == 0


def test_random_bytes_are_refused_or_closed(beside):
    pair = beside("random_bytes")
    pair.until(lambda: pair.code(400) + pair.code(431) >= MEMBERS and pair.code(1002) >= MEMBERS)


def test_over_the_limit_is_throttled_and_reported(beside):
    pair = beside("over_limit", count=20, burst=2000, rate_per_s=20_000)
    pair.until(lambda: pair.row["throttled_count"] > 0)
    assert pair.serving.counted("out_of_bounds_count") > 0
    assert pair.row["code_count"].sum() == 0


def test_over_the_limit_for_long_is_closed_where_configured():
    with Serving(rate_per_s=60, burst=120, evict_after_s=0.2) as serving:
        page = Page.create(hostile_sections())
        pool = HostilePool(only("over_limit"), ("127.0.0.1", serving.port), "/canvas", 7, page["hostile"], 0)
        codes = page["hostile"]["code_count"][KINDS.index("over_limit")]
        at_ns, deadline_ns = 0, now_ns() + PATIENCE_S * 1_000_000_000
        while codes[CODES.index(1008)] < MEMBERS:
            assert now_ns() < deadline_ns
            at_ns += ROUND_NS
            pool.drive(at_ns, 1)
        pool.close()


# Without a server.


def test_members_are_divided_by_weight():
    counts = np.bincount(kinds_of_members(HostileConfig(connections=120)), minlength=len(KINDS))
    assert counts.tolist() == [10] * len(KINDS)
    some = HostileConfig(connections=10, **dict.fromkeys(KINDS[2:], 0.0), stall=4.0)
    assert kinds_of_members(some) == [0] * 8 + [1] * 2
    assert kinds_of_members(HostileConfig()) == []


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"connections": CONNECTIONS_MAX + 1}, "connections is 501; it must be 0 to 500"),
        ({"seconds": 0}, "seconds is 0"),
        ({"churn": -1}, "churn is -1"),
        ({"connections": 1} | dict.fromkeys(KINDS, 0), "all weights are 0; give one kind a weight"),
    ],
)
def test_invalid_settings(settings, fault):
    with pytest.raises(msgspec.ValidationError, match=fault):
        msgspec.convert(settings, HostileConfig)


def test_only_this_machine():
    assert [is_this_machine(host) for host in ("127.0.0.1", "::1", "127.8.8.8")] == [True] * 3
    assert not any(is_this_machine(host) for host in ("10.0.0.1", "0.0.0.0", "example.org", "localhost", ""))


def plain_client():
    return HostileClient("127.0.0.1", "/canvas", Random(3), 0)


def test_replies_however_they_are_cut():
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", plain_client().request)[1].decode()  # The same seed, the same key.
    stream = upgrade_response(key, None)
    stream += encode_frame(Opcode.BINARY, Hello(70, 45, 32, 10, 60, 120, 9).encode())
    stream += encode_frame(Opcode.BINARY, bytes([0x81]) * 70_000) + encode_frame(
        Opcode.BINARY, Throttled(1, 9, 5).encode()
    )
    stream += encode_frame(Opcode.BINARY, Throttled(3, 9, 7).encode())  # Counts all reasons.
    stream += encode_frame(Opcode.CLOSE, encode_close(1008, "enough"))
    for size in (1, 7, len(stream)):
        client = plain_client()
        for start in range(0, len(stream), size):
            client.receive(stream[start : start + size])
        assert (client.is_open, client.width, client.height) == (True, 70, 45)
        assert (client.dropped_count, client.code) == (7, 1008)


def test_a_stream_that_ends_without_a_code():
    client = plain_client()
    client.receive(b"")
    assert (client.code, client.is_open) == (0, False)


def test_a_refusing_reply():
    client = plain_client()
    client.receive(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    assert (client.code, client.is_open) == (408, False)
