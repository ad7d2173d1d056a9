"""Brakes: each stage's queue fills to its limit when that is held back, and all is there when it is let go."""

import contextlib
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.config import Brake, Brakes
from server.kernels.arrays import ARENA_BYTES, MESSAGES_MAX
from server.kernels.brake import CATCH_UP_NS, STEP_NS, held_until, is_resting, rest, settle, step_items, take_up
from server.kernels.layout import CARRY_BYTES, READ_BYTES_MAX, Phase, Stage
from server.kernels.queues import has_room, make_arena_room, make_message_room, make_placement_room
from server.protocol.messages import Delta, Ping, Place, Pong, Snapshot, Subscribe
from support.braking import HARD, Painters, fills, many_frames, release_brakes, single_frames, stage_of, wait_until
from support.naive import BrakedStage
from support.serving import Client, Serving
from support.stages import needs_compiler, new_canvas, new_loop

START_NS = 9_000_000_000
MS = 1_000_000

brakes = st.builds(Brake, item_us=st.sampled_from([0.0, 0.5, 10.0, 500.0]), batch_ms=st.sampled_from([0.0, 3.0, 500.0]))


class TestKernels:
    @given(brakes, st.lists(st.tuples(st.integers(0, 30 * MS), st.integers(0, 100_000)), max_size=60))
    @settings(deadline=None)
    def test_a_stage_serves_what_a_worker_would(self, brake, looks):
        canvas = new_canvas(brakes=Brakes(admit=brake))
        loop = new_loop(canvas)
        naive = BrakedStage(round(brake.item_us * 1000), round(brake.batch_ms * MS), STEP_NS, CATCH_UP_NS)
        time_ns = START_NS
        for gap, waiting in looks:
            time_ns += gap
            waiting = max(waiting, naive.taken)
            assert take_up(loop, canvas, Stage.ADMIT, waiting, time_ns) == naive.look(waiting, time_ns)
            assert loop.stages[Stage.ADMIT]["busy_ns"] == naive.busy_ns

    @given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 10_000))
    @settings(deadline=None)
    def test_what_was_served_beside_what_was_taken_is_settled_with_the_next(self, taken, served, waiting):
        canvas = new_canvas(brakes=Brakes(decode=HARD))
        loop = new_loop(canvas)
        settle(loop, canvas, Stage.DECODE, taken, served)
        take_up(loop, canvas, Stage.DECODE, waiting, START_NS)
        cost_ns = max(0, (min(waiting, 40) + served - taken) * 500_000)
        assert loop.holds[Stage.DECODE]["until_ns"] == START_NS + cost_ns

    def test_a_stage_that_pays_afterwards_rests(self):
        canvas = new_canvas(brakes=Brakes(fan_out=Brake(item_us=100.0, batch_ms=2.0)))
        loop = new_loop(canvas)
        assert not is_resting(loop, Stage.FANOUT, START_NS)
        rest(loop, canvas, Stage.FANOUT, 30, 0, START_NS)
        assert is_resting(loop, Stage.FANOUT, START_NS + 5 * MS - 1)
        assert held_until(loop, START_NS) == START_NS + 5 * MS
        assert not is_resting(loop, Stage.FANOUT, START_NS + 5 * MS)
        assert held_until(loop, START_NS + 5 * MS) == 0
        assert loop.stages[Stage.FANOUT]["busy_ns"] == 5 * MS

    def test_without_a_brake_nothing_is_held(self):
        canvas = new_canvas()
        loop = new_loop(canvas)
        rest(loop, canvas, Stage.FANOUT, 1000, 9, START_NS)
        assert take_up(loop, canvas, Stage.APPLY, 1000, START_NS) == 1000
        assert step_items(canvas, Stage.FANOUT, 256) == 256
        assert held_until(loop, START_NS) == 0


class TestRoom:
    @given(st.integers(0, 64), st.integers(0, 64))
    @settings(deadline=None)
    def test_messages_and_placements_keep_their_order(self, head, count):
        loop = new_loop(new_canvas(), messages=64, placements=64)
        end = min(64, head + count)
        head = min(head, end)
        for records, name, make in (
            (loop.messages, "message", make_message_room),
            (loop.placements, "placement", make_placement_room),
        ):
            records["slot"] = np.arange(64)
            loop.queues[0][f"{name}_head"], loop.queues[0][f"{name}_end"] = head, end
            room = make(loop)
            now_head, now_end = int(loop.queues[0][f"{name}_head"]), int(loop.queues[0][f"{name}_end"])
            assert records["slot"][now_head:now_end].tolist() == list(range(head, end))
            assert room == 64 - now_end
            assert room >= 8 or now_head == 0

    @given(st.lists(st.integers(1, 3000), min_size=1, max_size=60), st.integers(0, 59), st.integers(0, 2000))
    @settings(deadline=None, max_examples=40)
    def test_the_arena_keeps_what_is_not_decoded(self, sizes, decoded, into):
        """Filled to its end; what is decoded makes room, whatever else stays is the same bytes of the same slots."""
        loop = new_loop(new_canvas())
        data = np.random.default_rng(1).integers(0, 256, len(loop.arena), np.uint8)
        loop.arena[:] = data
        start = len(loop.arena) - sum(sizes)
        edges = np.cumsum([start, *sizes])
        for index, size in enumerate(sizes):
            segment = loop.segments[index]
            segment["slot"], segment["start"], segment["end"] = index % 4, edges[index], edges[index] + size
        decoded = min(decoded, len(sizes) - 1)
        loop.segments[decoded]["start"] += min(into, sizes[decoded] - 1)
        loop.queues[0]["segment_head"], loop.queues[0]["segment_end"] = decoded, len(sizes)
        loop.queues[0]["arena_end"] = len(loop.arena)
        rests = self.rests(loop)
        roomy = bool(make_arena_room(loop))
        assert self.rests(loop) == rests
        assert (
            roomy
            == bool(has_room(loop))
            == (len(loop.arena) - loop.queues[0]["arena_end"] >= CARRY_BYTES + READ_BYTES_MAX)
        )
        assert roomy

    def rests(self, loop):
        queues = loop.queues[0]
        segments = loop.segments[int(queues["segment_head"]) : int(queues["segment_end"])]
        return [(int(one["slot"]), loop.arena[one["start"] : one["end"]].tobytes()) for one in segments]


@pytest.fixture(params=["native", "portable"])
def serve(request):
    """`serve(**settings)`: a server on each kind of loop that anybody may paint on as much as a bucket holds."""
    return functools.partial(Serving, loop=request.param, rate_per_s=65_535, burst=65_535)


CLIENTS, EACH = 10, 40_500
BACKLOG = 30_000
"""A quarter of a minute's work for a braked stage."""
assert MESSAGES_MAX < CLIENTS * EACH - ARENA_BYTES // 12


@needs_compiler
class TestServed:
    @pytest.mark.parametrize("frames", [single_frames, many_frames])
    def test_admit(self, serve, frames):
        """Messages pile up, then bytes, then the sockets hold the senders back; the tick comes all the same."""
        each = EACH if frames is single_frames else 256 * 160
        with serve(brakes=Brakes(admit=HARD)) as serving, Painters(serving, CLIENTS, each, frames) as painters:
            wait_until(lambda: fills(serving, Stage.ADMIT, 0.9))
            tick = serving.tick
            wait_until(lambda: serving.tick >= tick + 5 and fills(serving, Stage.ADMIT, 0.9))
            assert serving.telemetry["server"]["ledger_gap"][0] == 0
            assert stage_of(serving, Stage.ADMIT)["busy_ns"] > 0
            release_brakes(serving)
            painters.finish()

    def test_apply(self, serve):
        with serve(brakes=Brakes(apply=HARD)) as serving, Painters(serving, CLIENTS, EACH) as painters:
            wait_until(lambda: fills(serving, Stage.APPLY) and fills(serving, Stage.ADMIT))
            release_brakes(serving)
            painters.finish()

    def test_decode(self, serve):
        """The arena holds one read of each connection: it takes many to fill it."""
        with serve(brakes=Brakes(decode=HARD)) as serving, Painters(serving, 80, 3000) as painters:
            wait_until(lambda: fills(serving, Stage.DECODE))
            release_brakes(serving)
            painters.finish()

    def test_read(self, serve):
        hard = Brakes(read=Brake(item_us=500.0, batch_ms=50.0))
        with serve(brakes=hard) as serving, Painters(serving, 30, 3000) as painters:
            wait_until(lambda: fills(serving, Stage.READ, 0.9))
            release_brakes(serving)
            painters.finish()

    def test_fan_out(self, serve):
        """Connections owed a delta wait; then all of them get what they lack."""
        with serve(brakes=Brakes(fan_out=HARD)) as serving, contextlib.ExitStack() as stack:
            viewers = [stack.enter_context(serving.client()) for _ in range(60)]
            for viewer in viewers:
                viewer.send(Subscribe())
                viewer.until(Snapshot)
            color = iter(range(1, 1 << 30))

            def paint():
                viewers[0].send(Place(1, 1, next(color) % 250 + 1), Ping(next(color)))
                return fills(serving, Stage.FANOUT, 0.9)

            wait_until(paint)
            release_brakes(serving)
            viewers[0].send(Place(2, 2, 77))
            for viewer in viewers:
                while viewer.pixels[2, 2] != 77:
                    viewer.until(Delta)

    def test_accept(self, serve):
        """The system's own queue of the listener is the one that fills."""
        late = []
        hard = Brakes(accept=Brake(item_us=500.0, batch_ms=500.0))
        with serve(brakes=hard) as serving, contextlib.ExitStack() as stack:

            def come():
                if len(late) < 200:
                    late.append(stack.enter_context(Client(serving.port)))
                return stage_of(serving, Stage.ACCEPT)["depth"] > 2

            wait_until(come)
            release_brakes(serving)
            for client in late:
                client.open()
                client.ping()

    def test_encode(self, serve):
        """The tick is put off by what encoding takes; nothing else is."""
        with serve(brakes=Brakes(encode=Brake(batch_ms=400.0))) as serving, serving.client() as client:
            for color in range(1, 50):
                client.send(Place(1, 1, color))
                client.ping()
            wait_until(lambda: serving.tick >= 2)
            assert stage_of(serving, Stage.ENCODE)["busy_ns"] >= 800 * MS
            release_brakes(serving)

    def test_a_backlog_does_not_keep_the_server_from_ending(self, serve):
        with serve(brakes=Brakes(admit=HARD, decode=HARD)) as serving, Painters(serving, 3, 30_000):
            wait_until(lambda: stage_of(serving, Stage.DECODE)["depth"] > 10_000)
            serving.stop()
        assert serving.counted("received_count") == serving.counted("applied_count") > 0

    def test_a_slot_is_not_handed_on_while_its_placements_wait(self, serve):
        """One leaves with a backlog; who comes next in its place has a bucket and counts of its own."""
        with serve(connections_max=2, brakes=Brakes(admit=HARD)) as serving:
            with serving.client() as first:
                first.send_raw(single_frames(5, BACKLOG)[0])
                wait_until(lambda: serving.counted("received_count") == BACKLOG)
                assert serving.counted("admitted_count") < BACKLOG
                first.reset()
            wait_until(lambda: serving.counted("connection_count") == 0)
            with serving.client() as second:
                row = serving.connection(second)
                assert (row["phase"], row["admitted_count"]) == (Phase.FAST, 0)
                release_brakes(serving)
                second.ping()
                assert serving.connection(second)["admitted_count"] == 0
                assert serving.counted("admitted_count") == BACKLOG

    def test_what_was_asked_is_answered_before_the_close(self, serve):
        """However long that takes: the close frame waits behind the answers."""
        with serve(brakes=Brakes(apply=Brake(batch_ms=20.0))) as serving, serving.client() as client:
            client.send(Place(1, 1, 1), Subscribe(), Ping(9))
            client.send_raw(b"\x81\x85abcd" + bytes(5))
            assert client.closed()[0] == 1003
            assert [type(message) for message in client.seen[1:] if not isinstance(message, Delta)] == [Snapshot, Pong]
