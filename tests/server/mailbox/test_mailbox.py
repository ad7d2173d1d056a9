"""The mailbox server: what it promises beyond the protocol, which `test_server` and `test_loops` hold it to.

Its parts are plain Python, so they are also held to the compiled ones that do the same: two forms, one meaning.
"""

import asyncio
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.config import Brake, Brakes, ServerConfig
from server.kernels.admit import take_token
from server.kernels.encode import encode_region
from server.kernels.layout import HEAD_ROOM, TICK_ROWS, Phase, Stage
from server.mailbox import canvas as mailbox_canvas
from server.mailbox.canvas import MailboxCanvas, encode_delta
from server.mailbox.client import OUTBOX_MAX, MailboxClient, limits_of
from server.protocol.messages import Delta, Ping, Place, Snapshot, Subscribe, decode_server_message
from server.wire import FULL_BLOCK_BYTES, DropReason, Opcode
from support.feeding import open_server as open_connection
from support.mailbox_parts import HEIGHT, WHOLE, WIDTH, Room
from support.serving import Serving, masked
from support.stages import new_canvas, new_loop, paint


class TestMailbox:
    def test_what_finds_it_full_is_shed_counted_and_reported(self, monkeypatch):
        monkeypatch.setattr(mailbox_canvas, "MAILBOX_MAX", 8)
        room = Room()
        client = room.client()
        for x in range(11):
            room.canvas.admit(client, x, 0, 1, now_ns=0)
        asyncio.run(room.apply_all())
        room.canvas.finish_tick(1)
        counts, stage = room.telemetry["loops"][0], room.telemetry["stages"][0][Stage.APPLY]
        assert (counts["received_count"], counts["admitted_count"], counts["shed_count"]) == (11, 8, 3)
        assert (counts["applied_count"], stage["drop_count"], stage["depth_max"]) == (8, 3, 8)
        assert room.telemetry["ticks"][1 % TICK_ROWS]["depth_peak"][Stage.APPLY] == 8
        assert room.page["pixels"].sum() == 8
        report = client.report(2_000_000_000)
        assert (report.reason, report.dropped) == (DropReason.OVERLOAD, 3)
        assert client.report(4_000_000_000) is None

    def test_placements_are_applied_in_order(self):
        room = Room()
        client = room.client()
        for color in (3, 1, 2):
            room.canvas.admit(client, 5, 5, color, now_ns=0)
        assert room.page["pixels"][5, 5] == 0
        asyncio.run(room.apply_all())
        assert room.page["pixels"][5, 5] == 2


class TestAnswers:
    def test_they_keep_the_order_of_the_requests(self):
        """A WebSocket's own PING too, though the canvas task has no part in that."""
        with Serving(loop="mailbox") as serving, serving.client() as client:
            client.send_raw(masked(b"before", Opcode.PING) + masked(Ping(2)))
            assert [client.frame()[0] for _ in range(2)] == [Opcode.PONG, Opcode.BINARY]


class TestViewers:
    def test_one_that_takes_nothing_is_left_out_and_then_gets_the_newest(self):
        room = Room()
        client = room.client()
        client.tiles = WHOLE

        async def live():
            for tick in range(OUTBOX_MAX + 3):
                room.canvas.admit(client, tick, 0, 9, now_ns=0)
                await room.apply_all()
                room.canvas.finish_tick(tick + 1)
            first = room.deltas(client)
            assert len(first) == OUTBOX_MAX
            room.canvas.finish_tick(100)
            return first, room.deltas(client)

        first, rest = asyncio.run(live())
        pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
        for delta in first:
            delta.apply_to(pixels)
        assert pixels.sum() == 9 * OUTBOX_MAX
        (conflated,) = rest
        conflated.apply_to(pixels)
        assert (pixels == room.page["pixels"]).all()
        assert room.tally.counts["conflated_count"] == 1

    def test_an_interval_holds_deltas_back(self):
        room = Room()
        client = room.client()
        client.tiles, client.interval_ns, client.due_ns = WHOLE, 200_000_000, 300_000_000

        async def live():
            for now_ns in (300_000_000, 400_000_000, 500_000_000):
                room.canvas.admit(client, 1, 1, now_ns // 100_000_000, now_ns=0)
                await room.apply_all()
                room.canvas.finish_tick(now_ns)
            return [delta.tick for delta in room.deltas(client)]

        assert asyncio.run(live()) == [1, 3]


class TestTwoForms:
    """Plain and compiled say the same."""

    @settings(deadline=None, max_examples=60)
    @given(st.integers(1, 5000), st.integers(1, 50), st.lists(st.integers(0, 3_000_000), max_size=80))
    def test_buckets(self, rate_per_s, burst, pauses_ns):
        config = ServerConfig(width=WIDTH, height=HEIGHT, rate_per_s=rate_per_s, burst=burst)
        canvas = new_canvas(WIDTH, HEIGHT, rate_per_s=rate_per_s, burst=burst)
        row = new_loop(canvas).connections[0]
        client = MailboxClient(None, None, open_connection(), limits_of(config))
        now_ns = 10**9
        for pause_ns in pauses_ns:
            now_ns += pause_ns
            assert client.take_token(now_ns) == take_token(row, canvas.rules[0], now_ns)

    @settings(deadline=None, max_examples=60)
    @given(st.data())
    def test_deltas(self, data):
        canvas = new_canvas(WIDTH, HEIGHT)
        count, seed = data.draw(st.integers(0, 4000)), data.draw(st.integers(0, 99))
        chance = np.random.default_rng(seed)
        for x, y, color, tick in chance.integers(0, [WIDTH, HEIGHT, 256, 5], (count, 4)).tolist():
            paint(canvas, x, y, color, tick + 1)
        since = data.draw(st.integers(0, 5))
        tiles = data.draw(st.sampled_from([WHOLE, (0, 0, 1, 1), (2, 0, 3, 2), (1, 1, 3, 2), (0, 0, 0, 0)]))
        out = np.zeros(HEAD_ROOM + 6 * FULL_BLOCK_BYTES, np.uint8)
        start, end, pixel_count = encode_region(canvas, tiles, since, 5, out)
        shape = (HEIGHT, WIDTH)
        x0, y0, x1, y1 = tiles
        numbers = [tile_y * 3 + tile_x for tile_y in range(y0, y1) for tile_x in range(x0, x1)]
        plain, plain_count = encode_delta(
            canvas.pixels.reshape(shape), canvas.pixel_tick.reshape(shape), numbers, since, 5
        )
        assert plain_count == pixel_count
        if pixel_count:
            frame = out[start:end].tobytes()
            compiled = decode_server_message(frame[4 if frame[1] == 126 else 2 :])
            assert decode_server_message(plain) == compiled
            assert isinstance(compiled, Delta)


class TestServer:
    def test_loops_are_one_by_nature(self):
        with pytest.raises(ValueError, match="loops is 2; mailbox is one loop: set loops to 1"):
            ServerConfig(loop="mailbox", loops=2)

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"host": "0.0.0.0"}, "host is '0.0.0.0', but a mailbox server listens on this machine's loopback only"),
            ({"host": "example.org"}, "host is 'example.org', but a mailbox server listens"),
            ({"limits_loopback": True}, "limits_loopback is true, but a mailbox server has no limits per address"),
            ({"cert": "a.pem", "key": "b.pem"}, "cert is 'a.pem', but a mailbox server speaks no TLS"),
            ({"journal": "a.journal"}, "journal is 'a.journal', but a mailbox server keeps none"),
            ({"mqtt": "embedded"}, "mqtt is set, but a mailbox server has no bridge"),
            ({"brakes": Brakes(apply=Brake(item_us=1.0))}, "brakes.apply is set, but a mailbox server has no brakes"),
        ],
    )
    def test_what_it_lacks_is_refused(self, settings, words):
        with pytest.raises(ValueError) as refused:
            ServerConfig(loop="mailbox", **settings)
        assert str(refused.value).startswith(words)
        assert str(refused.value).endswith("; leave it out, or set loop to native or portable")

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
    def test_every_loopback_address_is_accepted(self, host):
        assert ServerConfig(loop="mailbox", host=host).host == host

    def test_one_that_takes_nothing_is_reset(self):
        """After an orderly close, the system would offer it the rest for minutes."""
        settings = {"width": 4000, "height": 4000, "stall_s": 0.2}
        with Serving(loop="mailbox", **settings) as serving, serving.client() as witness:
            serving.pixels[:] = np.random.default_rng(1).integers(0, 256, serving.pixels.shape, np.uint8)
            with serving.client(receive_bytes=4096) as deaf:
                deaf.send(Subscribe())
                witness.serve_until(lambda: serving.counted("evicted_count") == 1)
                with pytest.raises(ConnectionResetError):
                    while deaf.socket.recv(1 << 16):
                        pass

    def test_one_that_asks_without_reading_delays_only_itself(self):
        """However many pictures it asks for, one is owed at a time; others go on, and in the end it is closed."""
        settings = {"width": 1000, "height": 1000, "stall_s": 0.5, "rate_per_s": 65_535, "burst": 65_535}
        with Serving(loop="mailbox", **settings) as serving, serving.client() as other:
            serving.pixels[:] = np.random.default_rng(1).integers(0, 256, (1000, 1000))
            with serving.client(receive_bytes=4096) as asker:
                asker.send(*[Subscribe()] * 200)
                other.serve_until(lambda: serving.counted("evicted_count") == 1)
            assert serving.counted("snapshot_count") < 10
            other.send(Place(3, 3, 3), Subscribe(x=3, y=3, width=1, height=1))
            assert other.until(Snapshot).pixels == b"\3"

    def test_a_bug_ends_it_and_is_raised(self, monkeypatch):
        def fail(*_):
            raise AssertionError("a bug")

        serving = Serving(loop="mailbox")
        with pytest.raises(ExceptionGroup) as raised, serving, serving.client() as client:
            monkeypatch.setattr(MailboxCanvas, "finish_tick", fail)
            client.ended()
        assert raised.group_contains(AssertionError, match="a bug")


class TestWhatItShows:
    @given(
        st.lists(st.lists(st.tuples(st.integers(0, 75), st.integers(0, 50), st.integers(0, 2)), max_size=9), max_size=4)
    )
    @settings(deadline=None, max_examples=40)
    def test_tiles_and_painters_are_those_of_a_list(self, ticks):
        room = Room()
        clients = [room.client() for _ in range(3)]
        for number, client in enumerate(clients, 7):
            client.number, client.limits = number, client.limits._replace(burst_ns=4 * client.limits.token_ns)
        applied, throttled, merged, painters = Counter(), Counter(), Counter(), {}
        left = [4, 4, 4]
        for tick, batch in enumerate(ticks, 1):
            changed = set()
            for x, y, index in batch:
                tile = y // 32 * 3 + x // 32
                room.canvas.admit(clients[index], x, y, 1, now_ns=0)
                if x >= WIDTH or y >= HEIGHT:
                    continue
                if left[index] == 0:
                    throttled[tile] += 1
                    continue
                left[index] -= 1
                applied[tile] += 1
                painters[x, y] = 8 + index
                changed.add((x, y))
            merged += Counter(y // 32 * 3 + x // 32 for x, y in changed)
            asyncio.run(room.apply_all())
            room.canvas.finish_tick(tick)
        for name, counted in (("applied_count", applied), ("throttled_count", throttled), ("merged_count", merged)):
            found = room.page["tiles"][name].reshape(-1)
            assert {tile: int(count) for tile, count in enumerate(found) if count} == counted
        y, x = np.nonzero(room.page["pixel_painter"])
        assert {(int(a), int(b)): int(room.page["pixel_painter"][b, a]) for a, b in zip(x, y, strict=True)} == painters

    def test_each_connection_has_a_row_until_it_ends(self):
        with Serving(loop="mailbox") as serving, serving.client() as client:
            with serving.client() as other:
                other.send(Place(1, 1, 1), Subscribe())
                client.send(Place(1, 2, 3), Place(70, 0, 1))
                rows = serving.connections["connections"][0]
                client.serve_until(lambda: np.count_nonzero(rows["number"]) == 2 and rows["subscribed"].any())
                # A row is written a column at a time, the tiles last.
                client.serve_until(lambda: serving.connection(other)["tile_x1"] == 3)
                names = ["received_count", "admitted_count", "out_of_bounds_count", "phase"]
                client.serve_until(lambda: serving.connection(client)[names].tolist() == (2, 1, 1, Phase.FAST))
                client.serve_until(lambda: serving.connection(client)["received_bytes"] > 0)
                client.serve_until(lambda: serving.connection(client)["sent_bytes"] > 0)
            client.serve_until(lambda: np.count_nonzero(rows["phase"]) == 1)
            assert serving.connection(client)["number"] == client.hello.connection
