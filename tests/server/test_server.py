"""The canvas protocol over real sockets, rule by rule, as an independent program is written from it."""

import functools
import random
import struct
import zlib

import numpy as np
import pytest

from server.protocol.messages import (
    Delta,
    Hello,
    Ping,
    Place,
    PlaceMany,
    Pong,
    Snapshot,
    Subscribe,
    Throttled,
    decode_server_message,
)
from server.wire import CANCEL, Opcode
from support.serving import Client, Serving, masked

TILE = 32


@pytest.fixture(scope="module", params=["native", "portable", "mailbox"])
def serve(request):
    """`serve(**settings)`: a server on each kind of loop; what it promises does not depend on that."""
    return functools.partial(Serving, loop=request.param)


@pytest.fixture(scope="module")
def generous(serve):
    """A server whose limits no test meets by accident."""
    with serve(rate_per_s=65_535, burst=65_535) as serving:
        yield serving


@pytest.fixture
def client(generous):
    with generous.client() as client:
        yield client


class TestHello:
    def test_it_is_the_first_message_and_has_the_settings(self, serve):
        with serve(width=33, height=7, tick_ms=12, rate_per_s=9, burst=3) as serving, serving.client() as first:
            assert first.hello == Hello(33, 7, TILE, 12, 9, 3, first.hello.connection)
            with serving.client() as second:
                assert second.hello.connection != first.hello.connection

    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [
            ((), None),
            (("pixelcanvas.v1",), "pixelcanvas.v1"),
            (("x", "pixelcanvas.v1"), "pixelcanvas.v1"),
            (("x",), None),
        ],
    )
    def test_the_sub_protocol_is_echoed_when_offered(self, generous, offered, chosen):
        with Client(generous.port, subprotocols=offered) as client:
            lines = client.open().split("\r\n")
        found = [line.partition(": ")[2] for line in lines if line.lower().startswith("sec-websocket-protocol:")]
        assert found == ([chosen] if chosen else [])


class TestPlace:
    def test_it_sets_one_pixel(self, generous, client):
        client.send(Place(69, 44, 200))
        client.ping()
        assert generous.pixels[44, 69] == 200

    def test_placements_of_one_connection_are_applied_in_order(self, generous, client):
        client.send(*(Place(5, 5, color) for color in range(1, 200)), PlaceMany(((5, 5, 9), (5, 5, 77))))
        client.ping()
        assert generous.pixels[5, 5] == 77

    @pytest.mark.parametrize("count", [1, 2, 4096])
    def test_many_at_once(self, generous, client, count):
        lots = random.Random(count)
        placements = tuple((lots.randrange(70), lots.randrange(45), lots.randrange(256)) for _ in range(count))
        client.send(PlaceMany(placements))
        client.ping()
        for (x, y), color in {(x, y): color for x, y, color in placements}.items():
            assert generous.pixels[y, x] == color

    @pytest.mark.parametrize("count", [0, 4097])
    def test_too_many_or_none_is_a_wrong_length(self, client, count):
        client.send(struct.pack("<BBH", 2, 0, count) + bytes(5 * count))
        code, reason = client.closed()
        assert code == 1002
        assert f"count {count}" in reason


class TestSubscribe:
    def test_it_is_answered_by_a_snapshot_of_the_whole(self, generous, client):
        client.send(Place(3, 4, 5), Subscribe())
        snapshot = client.until(Snapshot)
        assert (snapshot.x, snapshot.y, snapshot.width, snapshot.height) == (0, 0, 70, 45)
        assert (client.pixels == generous.pixels).all()

    @pytest.mark.parametrize(
        ("asked", "given"),
        [
            ((10, 20, 30, 5), (10, 20, 30, 5)),
            ((60, 40, 300, 300), (60, 40, 10, 5)),
            ((0, 0, 65535, 65535), (0, 0, 70, 45)),
            ((65535, 65535, 65535, 65535), (70, 45, 0, 0)),
            ((5, 5, 0, 9), (5, 5, 0, 9)),
        ],
    )
    def test_a_snapshot_is_of_the_part_that_there_is(self, generous, client, asked, given):
        client.send(Subscribe(0, *asked))
        snapshot = client.until(Snapshot)
        assert (snapshot.x, snapshot.y, snapshot.width, snapshot.height) == given
        x, y, width, height = given
        assert snapshot.pixels == generous.pixels[y : y + height, x : x + width].tobytes()

    def test_deltas_bring_what_changes(self, generous, client):
        client.send(Subscribe())
        tick = client.until(Snapshot).tick
        lots = random.Random(1)
        for _ in range(10):
            client.send(*(Place(lots.randrange(70), lots.randrange(45), lots.randrange(256)) for _ in range(50)))
            delta = client.until(Delta)
            assert delta.tick > tick
            tick = delta.tick
        client.ping()
        while (client.pixels != generous.pixels).any():
            client.until(Delta)

    def test_deltas_hold_whole_tiles_of_the_region_only(self, generous, client):
        """A region inside tile 1 of row 1: everything is painted, and tile 4 alone comes."""
        tile = np.s_[32:45, 32:64]
        client.send(Subscribe(0, 40, 34, 3, 3))
        client.until(Snapshot)
        client.send(*(PlaceMany(tuple((x, y, 1 + (x + y) % 7) for x in range(70))) for y in range(45)))
        client.ping()
        while (client.pixels[tile] != generous.pixels[tile]).any():
            client.until(Delta)
        deltas = [message for message in client.seen if isinstance(message, Delta)]
        assert {block.tile for delta in deltas for block in delta.blocks} == {4}

    def test_cancel_ends_the_deltas(self, generous, client):
        with generous.client() as witness:
            witness.send(Subscribe())
            client.send(Subscribe(), Subscribe(CANCEL))
            client.ping()
            client.send(Place(7, 7, 1 + generous.pixels[7, 7] % 200))
            witness.until(Delta)
            client.ping()
        assert [type(message) for message in client.seen] == [Hello, Snapshot, Pong, Pong]

    def test_a_new_one_replaces_the_old(self, generous, client):
        client.send(Subscribe(), Subscribe(0, 0, 0, 1, 1))
        client.ping()
        client.send(Place(69, 44, 1), Place(0, 0, 2))
        delta = client.until(Delta)
        assert [block.tile for block in delta.blocks] == [0]
        assert sum(isinstance(message, Snapshot) for message in client.seen) == 2

    def test_the_interval_holds_deltas_back(self, generous, client):
        """While another viewer has had several, one with a long interval has had none."""
        with generous.client() as witness:
            witness.send(Subscribe())
            client.send(Subscribe(interval_ms=65_535))
            client.until(Snapshot)
            for color in range(1, 4):
                client.send(Place(1, 1, color))
                witness.until(Delta)
            client.ping()
        assert [type(message) for message in client.seen] == [Hello, Snapshot, Pong]

    def test_a_large_snapshot_and_delta_are_compressed(self, serve):
        with serve(width=300, height=300, rate_per_s=65_535, burst=65_535) as serving, serving.client() as client:
            client.send(Subscribe())
            opcode, snapshot = client.frame()
            assert opcode == Opcode.BINARY
            assert (snapshot[:2], len(zlib.decompress(snapshot[14:]))) == (b"\x81\x01", 90_000)
            for y in range(0, 300, 10):
                client.send(PlaceMany(tuple((x, y, 1 + x // 50) for x in range(300))))
            encodings = set()
            while len(encodings) < 2 and not (client.pixels[::10] > 0).all():
                _, payload = client.frame()
                encodings.add(payload[1])
                delta = decode_server_message(payload)
                for tile, offsets, colors in delta.blocks:
                    for offset, color in zip(offsets, colors, strict=True):
                        y, x = tile // 10 * 32 + offset // 32, tile % 10 * 32 + offset % 32
                        if x < 300 and y < 300:
                            client.pixels[y, x] = color
            assert 1 in encodings


class TestPing:
    def test_pong_has_the_nonce_and_comes_in_order(self, client):
        client.send(Ping(2**64 - 1), Subscribe(0, 0, 0, 1, 1), Ping(7), Ping(8))
        messages = [client.message() for _ in range(4)]
        assert [type(message) for message in messages] == [Pong, Snapshot, Pong, Pong]
        assert [message.nonce for message in messages if isinstance(message, Pong)] == [2**64 - 1, 7, 8]

    def test_what_was_placed_before_is_in_a_later_delta(self, client):
        client.send(Subscribe())
        client.until(Snapshot)
        client.send(Place(11, 11, 1), Place(11, 11, 99))
        tick = client.ping()
        while client.pixels[11, 11] != 99:
            assert client.until(Delta).tick > tick


class TestThrottled:
    def test_over_the_rate_placements_are_dropped_and_counted(self, serve):
        with serve(rate_per_s=1, burst=5) as serving, serving.client() as client:
            client.send(PlaceMany(tuple((x, 0, 9) for x in range(50))))
            throttled = client.until(Throttled)
            assert (throttled.reason, throttled.dropped) == (1, 45)
            assert 0 < throttled.retry_ms <= 1000
            assert (serving.pixels[0, :6] == [9, 9, 9, 9, 9, 0]).all()
            assert serving.counted("throttled_count") == 45

    def test_out_of_bounds_is_dropped_and_counted_and_does_not_close(self, generous):
        with generous.client() as client:
            client.send(Place(70, 0, 1), Place(0, 45, 1), Place(65535, 65535, 1), Place(1, 1, 3))
            throttled = client.until(Throttled)
            assert (throttled.reason, throttled.retry_ms, throttled.dropped) == (3, 0, 3)
            client.ping()
            assert generous.pixels[1, 1] == 3

    def test_the_last_one_names_all_drops(self, serve):
        """Two bursts over the limit: the total in the end is of both, whatever the reports between them say."""
        with serve(rate_per_s=1, burst=1) as serving, serving.client() as client:
            client.send(PlaceMany(((1, 1, 1),) * 11))
            assert client.until(Throttled).dropped == 10
            client.send(Place(500, 500, 1), PlaceMany(((1, 1, 1),) * 21))
            while serving.counted("received_count") < 33:
                client.ping()
            last = max(message.dropped for message in client.seen if isinstance(message, Throttled))
            while last < 33 - serving.counted("admitted_count"):
                last = client.until(Throttled).dropped
            assert last == 33 - serving.counted("admitted_count")


VIOLATIONS = {
    "empty message": (b"", 1002, "empty"),
    "unknown op": (b"\x05hello", 1002, "op 0x05"),
    "op of a server": (b"\x80" + bytes(16), 1002, "op 0x80"),
    "short PLACE": (b"\x01" + bytes(4), 1002, "PLACE has 5 bytes"),
    "long PLACE": (b"\x01" + bytes(6), 1002, "PLACE has 7 bytes"),
    "PLACE_MANY without count": (b"\x02\x00", 1002, "PLACE_MANY has 2 bytes"),
    "PLACE_MANY that is short": (b"\x02\x00\x02\x00" + bytes(9), 1002, "PLACE_MANY of 2 has 13 bytes"),
    "short SUBSCRIBE": (b"\x03" + bytes(10), 1002, "SUBSCRIBE has 11 bytes"),
    "long PING": (b"\x04" + bytes(12), 1002, "PING has 13 bytes"),
    "above 64 KiB": (bytes(65_537), 1009, "65537"),
}


class TestViolations:
    @pytest.mark.parametrize("name", VIOLATIONS)
    def test_it_is_closed_with_a_reason_that_names_it(self, generous, client, name):
        payload, code, words = VIOLATIONS[name]
        errors = generous.counted("protocol_error_count")
        client.send(Place(2, 2, 22), payload)
        found = client.closed()
        assert found[0] == code
        assert words in found[1]
        client.ended()
        # What came before it counts, as does the fault.
        assert generous.pixels[2, 2] == 22
        assert generous.counted("protocol_error_count") == errors + 1

    def test_text_is_not_spoken(self, client):
        client.send_raw(masked("é".encode(), Opcode.TEXT))
        assert client.closed()[0] == 1003

    def test_a_frame_that_is_not_masked(self, client):
        client.send_raw(b"\x82\x06\x01\x00\x00\x00\x00\x00")
        assert client.closed() == (1002, "a client's frame is not masked")

    def test_64_kib_are_a_message_still(self, client):
        client.send(b"\x05" + bytes(65_535))
        assert client.closed()[0] == 1002
