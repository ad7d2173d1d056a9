"""Each kind of loop on real sockets: how bytes arrive, clients that misbehave or are slow, and what others notice."""

import contextlib
import functools
import random

import numpy as np
import pytest

from server.kernels.layout import CARRY_BYTES, HEAD_ROOM, HELD_BYTES_MAX, READ_BYTES_MAX
from server.protocol.messages import (
    PLACE_ITEM_DTYPE,
    Delta,
    Ping,
    Place,
    PlaceMany,
    Pong,
    Snapshot,
    Subscribe,
    Throttled,
)
from server.protocol.websocket import encode_close
from server.wire import FULL_BLOCK_BYTES, PLACE_MANY, TILE_SIDE, Opcode
from support.feeding import random_cuts
from support.serving import Client, Serving, masked


@pytest.fixture(scope="module", params=["native", "portable"])
def serve(request):
    """`serve(**settings)`: a server on each kind of loop; what it promises does not depend on that."""
    return functools.partial(Serving, loop=request.param)


@pytest.fixture(scope="module")
def serving(serve):
    with serve(rate_per_s=65_535, burst=65_535, echo=True, origins=("https://canvas.example",)) as serving:
        yield serving


class TestBytes:
    """However a stream is cut, it says the same."""

    STREAM = b"".join(
        [
            masked(Place(1, 1, 11)),
            masked(PlaceMany(tuple((x, 2, x) for x in range(1, 31)))),
            masked(b"between", Opcode.PING),
            masked(Place(3, 3, 33).encode()[:3], is_final=False),
            masked(b"inside", Opcode.PING),
            masked(Place(3, 3, 33).encode()[3:], Opcode.CONTINUATION),
            masked(Place(4, 4, 44)),
            masked(Ping(77)),
        ]
    )

    def answers(self, client):
        frames = [client.frame() for _ in range(3)]
        assert [payload for opcode, payload in frames if opcode == Opcode.PONG] == [b"between", b"inside"]
        (pong,) = (payload for opcode, payload in frames if opcode == Opcode.BINARY)
        assert pong[4:12] == (77).to_bytes(8, "little")

    def check(self, serving, client):
        self.answers(client)
        assert (serving.pixels[[1, 3, 4], [1, 3, 4]] == [11, 33, 44]).all()
        assert (serving.pixels[2, 1:31] == np.arange(1, 31)).all()
        serving.pixels[:5] = 0

    def test_whole(self, serving):
        with serving.client() as client:
            client.send_raw(self.STREAM)
            self.check(serving, client)

    def test_one_byte_at_a_time(self, serving):
        """The server goes round between each and the next."""
        with serving.client() as client, serving.client() as witness:
            for index in range(len(self.STREAM)):
                client.send_raw(self.STREAM[index : index + 1])
                witness.ping()
            self.check(serving, client)

    @pytest.mark.parametrize("seed", range(8))
    def test_cut_anywhere(self, serving, seed):
        with serving.client() as client, serving.client() as witness:
            for piece in random_cuts(self.STREAM, seed):
                client.send_raw(piece)
                witness.ping()
            self.check(serving, client)

    def test_behind_the_request(self, serving):
        """A client need not wait for the answer to its request."""
        with Client(serving.port) as client:
            client.send_raw(client.request + masked(Place(9, 9, 99)) + masked(Ping(1)))
            assert client.head().startswith("HTTP/1.1 101 ")
            client.frame()
            assert client.message().nonce == 1
            assert serving.pixels[9, 9] == 99


class TestSlowPath:
    def test_a_slot_is_reused_clean(self, serve):
        """What one connection placed and was refused in its last bytes is not reported to the next one in its slot."""
        with serve(rate_per_s=1, burst=2) as strict:
            places = PlaceMany(((1, 1, 1),) * 100).encode()
            with strict.client() as first:
                pieces = masked(places[:50], is_final=False) + masked(places[50:], Opcode.CONTINUATION)
                first.send_raw(pieces + masked(encode_close(1000), Opcode.CLOSE))
                assert first.closed() == (1000, "")
                first.ended()
            with strict.client() as second:
                second.send(PlaceMany(((2, 2, 2),) * 10))
                assert second.until(Throttled).dropped == 8
            assert strict.counted("admitted_count") == 4
            assert strict.counted("throttled_count") == 106

    @pytest.mark.parametrize("order", range(5))
    def test_what_came_before_a_fault_is_answered_before_the_close(self, serving, order):
        """In one write, by either path: SNAPSHOT and PONG, then the close frame, then nothing."""
        subscribe, ping = Subscribe(), Ping(5).encode()
        fragmented = masked(ping[:5], is_final=False) + masked(ping[5:], Opcode.CONTINUATION)
        stream = (
            masked(subscribe) + masked(ping) + masked(b"hello", Opcode.TEXT),
            masked(subscribe) + fragmented + masked(b"hello", Opcode.TEXT),
            fragmented + masked(subscribe) + masked(b"hello", Opcode.TEXT),
            fragmented + masked(subscribe) + masked(encode_close(1003), Opcode.CLOSE),
            fragmented + masked(subscribe) + masked(ping) + b"\x8f\x80abcd",
        )[order]
        with serving.client() as client:
            client.send_raw(stream)
            assert client.closed()[0] in (1002, 1003)
            assert {type(message) for message in client.seen[1:]} == {Snapshot, Pong}
            assert client.ended() == b""

    def test_more_requests_than_the_queue_holds(self, serving):
        with serving.client() as client:
            client.send_raw(b"".join(masked(Ping(nonce)) for nonce in range(10_000)))
            assert [client.message().nonce for _ in range(10_000)] == list(range(10_000))


class TestOpening:
    def refusal(self, port, stream):
        with Client(port) as client:
            client.send_raw(stream)
            head = client.head()
            client.socket.shutdown(1)
            return int(head.split()[1]), client.ended().decode()

    def test_an_unfinished_handshake_is_ended(self, serve):
        with serve(handshake_s=0.1) as hasty:
            status, reason = self.refusal(hasty.port, b"GET /canvas HTTP/1.1\r\nHost: x\r\n")
        assert (status, "too long" in reason) == (408, True)

    def test_a_long_head_is_refused(self, serving):
        status, reason = self.refusal(serving.port, b"GET /canvas HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 8192)
        assert (status, "8192" in reason) == (431, True)

    def test_what_is_no_http_is_refused(self, serving):
        assert self.refusal(serving.port, b"\x16\x03\x01 hello\r\n\r\n")[0] == 400

    @pytest.mark.parametrize(
        ("origin", "status"),
        [
            ("https://evil.example", 403),
            ("null", 403),
            ("https://canvas.example", 101),
            ("http://127.0.0.1:{port}", 101),
        ],
    )
    def test_pages_of_other_origins_are_rejected(self, serving, origin, status):
        with Client(serving.port, headers=[("Origin", origin.format(port=serving.port))]) as client:
            assert int(client.upgrade().split()[1]) == status

    def test_a_plain_get_is_answered(self, serving):
        with Client(serving.port) as client:
            client.send_raw(b"GET /palette.json HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.head().startswith("HTTP/1.1 200 ")
            assert client.ended().count(b"#") == 256

    def test_more_connections_than_are_held(self, serve):
        with (
            serve(connections_max=2) as small,
            small.client() as first,
            small.client() as second,
            Client(small.port) as third,
        ):
            assert third.ended() == b""
            first.ping()
            second.ping()
            first.reset()
            second.serve_until(lambda: small.counted("connection_count") == 1)
            with small.client() as successor:
                successor.ping()


class TestEcho:
    def echo(self, port):
        client = Client(port, "/echo")
        assert client.upgrade().startswith("HTTP/1.1 101 ")
        return client

    def test_it_is_served_only_when_configured(self, serve):
        with serve() as plain, Client(plain.port, "/echo") as client:
            assert client.upgrade().startswith("HTTP/1.1 404 ")

    def test_messages_come_back_unchanged(self, serving):
        with self.echo(serving.port) as client:
            for opcode, payload in [(Opcode.TEXT, "é".encode()), (Opcode.BINARY, b""), (Opcode.BINARY, bytes(70_000))]:
                client.send_raw(masked(payload, opcode))
                assert client.frame() == (opcode, payload)

    def test_16_mib_in_fragments_and_not_a_byte_more(self, serving):
        piece = random.Random(3).randbytes(1 << 20)
        with self.echo(serving.port) as client:
            for index in range(16):
                opcode = Opcode.CONTINUATION if index else Opcode.BINARY
                client.send_raw(masked(piece, opcode, is_final=index == 15))
            assert client.frame() == (Opcode.BINARY, piece * 16)
            client.send_raw(masked(piece * 16 + b"!")[:14])
            assert client.closed()[0] == 1009


class TestOthers:
    """What one connection does, the others do not notice."""

    def test_malformed_streams_leave_others_alone(self, serving):
        lots = random.Random(11)
        streams = [lots.randbytes(lots.randrange(1, 300)) for _ in range(30)]
        streams += [masked(Place(1, 1, 1))[:7], masked(bytes(70_000))[:20_000], b"\x88\x81abcdx", b"\xff" * 50]
        with serving.client() as viewer, serving.client() as painter:
            viewer.send(Subscribe())
            viewer.until(Snapshot)
            for index, stream in enumerate(streams):
                with serving.client() as bad:
                    bad.send_raw(stream)
                    bad.reset()
                painter.send(Place(index, 40, 1 + index))
                while viewer.pixels[40, index] != 1 + index:
                    viewer.until(Delta)
            painter.serve_until(lambda: serving.counted("connection_count") == 2)

    def test_a_sender_who_never_stops_leaves_room_for_others(self, serving):
        with serving.client() as flood, serving.client() as other:
            flood.send_raw(masked(PlaceMany(((1, 1, 1),) * 4096)) * 40)
            other.send(Place(20, 20, 200))
            other.ping()
            assert serving.pixels[20, 20] == 200
            flood.ping()


SIDE = 512


def noise_streams(seed):
    """Placements for every pixel of a canvas, of colours that no compressor shortens, as streams within one burst."""
    items = np.zeros(SIDE * SIDE, PLACE_ITEM_DTYPE)
    items["x"], items["y"] = np.arange(SIDE * SIDE) % SIDE, np.arange(SIDE * SIDE) // SIDE
    items["color"] = np.random.default_rng(seed).integers(0, 256, SIDE * SIDE)
    frames = [masked(PLACE_MANY.pack(2, 0, 4096) + part.tobytes()) for part in np.split(items, SIDE * SIDE // 4096)]
    return [b"".join(frames[start : start + 15]) for start in range(0, len(frames), 15)]


NOISE = (noise_streams(0), noise_streams(1))


def paint_noise(serving, times=2):
    """Change every pixel, by painters who each bring a full bucket."""
    for index in range(times):
        for stream in NOISE[index & 1]:
            with serving.client() as painter:
                painter.send_raw(stream)
                painter.ping()


class TestSlowConsumers:
    def noisy(self, serve, **settings):
        return serve(width=SIDE, height=SIDE, rate_per_s=65_535, burst=65_535, **settings)

    def test_one_that_lags_is_conflated_and_gets_the_newest(self, serve):
        with self.noisy(serve) as serving, serving.client() as witness, serving.client(receive_bytes=4096) as late:
            late.send(Subscribe())
            late.until(Snapshot)
            while not self.is_stuck(serving, witness):
                paint_noise(serving)
            paint_noise(serving)
            tick = witness.ping()
            witness.serve_until(lambda: serving.tick > tick)
            witness.send(Place(0, 0, 255 - serving.pixels[0, 0]))  # The noise alone may be what it was before.
            witness.ping()
            # It costs the rest of one frame, however long it lags.
            assert serving.counted("outbox_bytes") <= HEAD_ROOM + (SIDE // TILE_SIDE) ** 2 * FULL_BLOCK_BYTES
            while (late.pixels != serving.pixels).any():
                late.until(Delta)
            assert serving.counted("conflated_count") > 0
            witness.serve_until(lambda: serving.counted("outbox_bytes") == 0)

    def is_stuck(self, serving, witness):
        """The same rest of a frame is held over three ticks."""
        held, tick = serving.counted("outbox_bytes"), serving.tick
        witness.serve_until(lambda: serving.tick > tick + 3)
        return 0 < held == serving.counted("outbox_bytes")

    def test_one_that_never_reads_is_closed(self, serve):
        with (
            self.noisy(serve, stall_s=0.2) as serving,
            serving.client() as witness,
            serving.client(receive_bytes=4096) as deaf,
        ):
            deaf.send(Subscribe())
            deaf.until(Snapshot)
            while serving.counted("evicted_count") == 0:
                paint_noise(serving)
            witness.serve_until(lambda: serving.counted("connection_count") == 1)
            witness.serve_until(lambda: serving.counted("outbox_bytes") == 0)
            with pytest.raises((EOFError, ConnectionResetError)):
                deaf.until(Pong)

    def test_one_that_asks_and_never_reads_is_not_read_from(self, serve):
        """Answers cannot pile up: above the high-water mark its bytes stay in its own socket."""
        with self.noisy(serve) as serving, serving.client() as other, serving.client(receive_bytes=4096) as asker:
            asker.socket.setblocking(False)
            frame, answer_bytes, sent = masked(Subscribe(0, 0, 0, 10, 10)), 2 + 14 + 100, 0

            def ask():
                nonlocal sent
                with contextlib.suppress(BlockingIOError):
                    sent += asker.socket.send((frame * 1000)[sent % len(frame) :])
                return serving.counted("outbox_bytes") > HELD_BYTES_MAX

            other.serve_until(ask)
            with pytest.raises(BlockingIOError):
                while True:
                    asker.socket.send(bytes(1000))
                    other.ping()
            read_last = (CARRY_BYTES + READ_BYTES_MAX) // len(frame)
            assert serving.counted("outbox_bytes") <= HELD_BYTES_MAX + read_last * answer_bytes

    def test_one_that_asks_for_more_pictures_than_it_takes_is_closed(self, serve):
        """A read full of SUBSCRIBE would hold a picture for each; a few are held, then it is closed."""
        with self.noisy(serve) as serving, serving.client() as other, serving.client(receive_bytes=4096) as asker:
            paint_noise(serving, 1)
            asker.send_raw(masked(Subscribe()) * 600)
            other.serve_until(lambda: serving.counted("evicted_count") == 1)
            other.serve_until(lambda: serving.counted("outbox_bytes") == 0)
            assert serving.counted("snapshot_count") < 60

    def test_one_that_stays_over_its_limit_is_closed(self, serve):
        with (
            serve(rate_per_s=1, burst=1, evict_after_s=0.2) as serving,
            serving.client() as greedy,
            serving.client() as modest,
        ):

            def offend():
                greedy.send(Place(1, 1, 1), Place(1, 1, 2))
                return serving.counted("evicted_count") == 1

            modest.serve_until(offend)
            assert greedy.closed() == (1008, "over the rate limit for too long")
            modest.ping()
