"""Settings that change while a server runs: buckets, HELLO, the tick; and connections that are reset."""

import functools
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.config import LIVE_SETTINGS, ServerConfig
from server.engine.canvas import refill
from server.kernels.admit import take_token
from server.protocol.messages import Place, PlaceMany, Throttled
from server.system.clock import now_ns
from support.braking import wait_until
from support.serving import Serving
from support.stages import new_canvas, new_loop

START_NS = 3_000_000_000
MS = 1_000_000

rates = st.sampled_from([1, 2, 60, 1000, 65_535])
bursts = st.integers(1, 400)


class TestRefill:
    @given(rates, bursts, rates, bursts, st.integers(0, 500), st.integers(0, 10**10))
    @settings(deadline=None)
    def test_a_bucket_keeps_its_tokens_as_far_as_the_new_one_holds_them(
        self, rate, burst, new_rate, new_burst, taken, gap
    ):
        """Against tokens counted by hand, in exact fractions."""
        before, after = self.rules(rate, burst), self.rules(new_rate, new_burst)
        taken = min(taken, burst)
        full_ns = START_NS + taken * before[0]
        now_ns = START_NS + gap
        level = min(Fraction(burst), burst - taken + Fraction(gap, before[0]))
        kept = min(level, Fraction(new_burst))
        (new_full_ns,) = refill(np.array([full_ns]), before, after, now_ns).tolist()
        assert abs(new_full_ns - now_ns - (new_burst - kept) * after[0]) <= 1 + after[1] * 1e-9
        assert 0 <= new_full_ns - now_ns <= after[1]

    def rules(self, rate, burst):
        row = new_canvas(rate_per_s=rate, burst=burst).rules[0]
        return int(row["token_ns"]), int(row["burst_ns"])

    def test_one_that_was_never_used_is_full(self):
        assert refill(np.array([0]), (10, 100), (5, 500), 77).tolist() == [0]

    @given(rates, bursts, rates, bursts, st.integers(0, 500))
    @settings(deadline=None)
    def test_the_next_token_comes_at_the_new_rate_at_latest(self, rate, burst, new_rate, new_burst, taken):
        canvas = new_canvas(rate_per_s=rate, burst=burst)
        connection = new_loop(canvas).connections[1]
        for _ in range(taken):
            take_token(connection, canvas.rules[0], START_NS)
        after = new_canvas(rate_per_s=new_rate, burst=new_burst).rules[0]
        pair = [(int(row["token_ns"]), int(row["burst_ns"])) for row in (canvas.rules[0], after)]
        connection["full_ns"] = refill(np.array(connection["full_ns"]), *pair, START_NS)
        assert take_token(connection, after, START_NS + pair[1][0])


class TestLive:
    def test_only_live_settings_change(self):
        running, wanted = ServerConfig(width=40, rate_per_s=5), ServerConfig(width=80, port=9, loops=2, rate_per_s=7)
        assert running.adjusted(wanted) == ServerConfig(width=40, rate_per_s=7)
        assert set(LIVE_SETTINGS) < set(ServerConfig.__struct_fields__)


@pytest.fixture(params=["native", "portable", "mailbox"])
def serve(request):
    """`serve(**settings)`: a server on each kind of loop; what it promises does not depend on that."""
    return functools.partial(Serving, loop=request.param)


def adjust(serving, **changed):
    serving.server.adjust(msgspec.structs.replace(serving.config, **changed))


def refilled(since_ns):
    """The most tokens that a bucket of 2 a second can have got since then."""
    return 2 * (now_ns() - since_ns) / 1_000_000_000


class TestServed:
    def test_hello_has_the_new_limits_and_they_apply_to_all(self, serve):
        with serve(rate_per_s=1, burst=5) as serving, serving.client() as first:
            began_ns = now_ns()
            first.send(PlaceMany(((1, 1, 1),) * 4))
            first.ping()
            adjust(serving, rate_per_s=2, burst=50, tick_ms=11)

            def is_in_hello():
                with serving.client() as newcomer:
                    return (newcomer.hello.rate_per_s, newcomer.hello.burst, newcomer.hello.tick_ms) == (2, 50, 11)

            wait_until(is_in_hello)
            first.send(PlaceMany(((1, 1, 1),) * 100))
            dropped = first.until(Throttled).dropped
            assert dropped >= 98 - refilled(began_ns), "a larger bucket is not a full one"
            with serving.client() as second:
                began_ns = now_ns()
                second.send(PlaceMany(((1, 1, 1),) * 60))
                assert 9 - refilled(began_ns) <= second.until(Throttled).dropped <= 10

    def test_a_long_tick_is_cut_short(self, serve):
        with serve(tick_ms=60_000, tick_ms_max=60_000) as serving:
            adjust(serving, tick_ms=5)
            wait_until(lambda: serving.tick > 3)

    def test_connections_are_reset_and_new_ones_come(self, serve):
        with serve() as serving:
            clients = [serving.client() for _ in range(5)]
            serving.server.close_clients(0)
            for client in clients:
                with pytest.raises(ConnectionResetError):
                    client.message()
            wait_until(lambda: serving.counted("closed_count") == 5 and serving.counted("connection_count") == 0)
            with serving.client() as newcomer:
                newcomer.send(Place(1, 1, 9))
                newcomer.ping()
                assert serving.pixels[1, 1] == 9
