"""The followed connection: its reads against a model that follows every single placement, and what is kept of them."""

from collections import deque

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.kernels.admit import admit
from server.kernels.apply import apply, pass_request
from server.kernels.decode import decode
from server.kernels.journey import (
    note_admitted,
    note_applied,
    note_decoded,
    note_encoded,
    note_reads,
    note_sent,
)
from server.kernels.layout import FOLLOWED_MESSAGES, JOURNEY_ROWS, Kind, Phase
from server.protocol.messages import Ping, Place, PlaceMany, Subscribe
from support.braking import wait_until
from support.serving import Serving, masked
from support.stages import needs_compiler, new_canvas, new_loop

WIDTH, HEIGHT = 70, 45
FOLLOWED = 8
SLOT = 1
TIMES = ("read_ns", "decoded_ns", "admitted_ns", "applied_ns", "tick", "encoded_ns", "sent_ns")


class Pipeline:
    """A loop's stages over arrays, stepped one by one; and beside it a model with a queue of single placements."""

    def __init__(self, burst=10_000):
        self.canvas = new_canvas(WIDTH, HEIGHT, burst=burst)
        self.loop = new_loop(self.canvas, slots=3, messages=4096, placements=4096, requests=64)
        self.loop.connections["phase"] = Phase.FAST
        self.loop.connections["number"] = (5, FOLLOWED, 9)
        self.loop.connections["tile_x1"], self.loop.connections["tile_y1"] = 3, 2
        self.canvas.rules[0]["followed"] = FOLLOWED
        self.now_ns = 1000
        self.reads, self.arena = [], deque()
        self.decoded, self.admitted, self.left = deque(), deque(), {}

    def read(self, slot, *placed):
        """A read of PLACE messages, as the loops do it: none while the arena holds some of that connection."""
        queues = self.loop.queues[0]
        if any(model["slot"] == slot for model in self.arena):
            return
        if queues["segment_end"] == 0:
            queues["arena_end"] = 0
        data = b"".join(masked(message) for message in placed)
        start, first = int(queues["arena_end"]), int(queues["segment_end"])
        self.loop.arena[start : start + len(data)] = np.frombuffer(data, np.uint8)
        segment = self.loop.segments[first]
        segment["slot"], segment["start"], segment["end"] = slot, start, start + len(data)
        queues["arena_end"], queues["segment_end"] = start + len(data), first + 1
        self.loop.connections[slot]["in_arena"] = 1
        self.loop.counts[0]["read_count"] += 1
        note_reads(self.loop, self.canvas, first, self.now_ns)
        model = {"slot": slot, "count": len(placed), "read_ns": self.now_ns, "waiting": len(placed)}
        model |= {"judged": 0, "applied": 0, **dict.fromkeys(TIMES[1:], 0)}
        self.reads.append(model)
        self.arena.append(model)

    def decode(self, messages_max):
        if self.arena:
            decode(self.loop, messages_max)
            note_decoded(self.loop, self.now_ns)
        while self.arena and messages_max:
            model = self.arena[0]
            taken = min(messages_max, model["waiting"])
            messages_max -= taken
            model["waiting"] -= taken
            self.decoded.extend([model] * taken)
            if model["waiting"] == 0:
                model["decoded_ns"] = self.now_ns
                self.arena.popleft()

    def admit(self, items_max):
        if self.decoded:
            admit(self.loop, self.canvas, self.now_ns, items_max)
            note_admitted(self.loop, self.now_ns)
        for _ in range(min(items_max, len(self.decoded))):
            model = self.decoded.popleft()
            self.admitted.append(model)
            model["judged"] += 1
            if model["judged"] == model["count"]:
                model["admitted_ns"] = self.now_ns

    def apply(self, items_max):
        if self.admitted:
            assert apply(self.loop, self.canvas, items_max) == -1
            note_applied(self.loop, self.canvas, self.now_ns)
        for _ in range(min(items_max, len(self.admitted))):
            model = self.admitted.popleft()
            model["applied"] += 1
            if model["applied"] == model["count"]:
                model["applied_ns"], model["tick"] = self.now_ns, int(self.canvas.rules[0]["tick_next"])

    def tick(self):
        tick = int(self.canvas.rules[0]["tick_next"])
        note_encoded(self.loop, tick, self.now_ns)
        self.canvas.rules[0]["tick_next"] = tick + 1
        for model in self.reads:
            if model["applied_ns"] and model["tick"] == tick:
                model["encoded_ns"] = self.now_ns

    def send(self, ticks_behind):
        """The followed connection's socket takes all up to some finished tick."""
        cursor = int(self.canvas.rules[0]["tick_next"]) - 1 - ticks_behind
        row = self.loop.connections[SLOT]
        row["cursor"] = max(int(row["cursor"]), cursor)
        note_sent(self.loop, self.canvas, self.now_ns)
        for model in self.reads:
            if model["encoded_ns"] and not model["sent_ns"] and row["cursor"] >= model["tick"]:
                model["sent_ns"] = self.now_ns

    @property
    def rows(self):
        return self.loop.journeys[: int(self.loop.journey_head[0])]


steps = st.one_of(
    st.tuples(st.just("read"), st.integers(0, 2), st.integers(1, 6)),
    st.tuples(st.sampled_from(["decode", "admit", "apply"]), st.integers(1, 12)),
    st.just(("tick",)),
    st.tuples(st.just("send"), st.integers(0, 2)),
)


@given(st.lists(steps, max_size=80))
@example([("read", 1, 1), ("decode", 1), ("read", 1, 1), ("decode", 1), ("admit", 2), ("apply", 1)])
@example([("read", 1, 1), ("decode", 1), ("read", 1, 2), ("decode", 2), ("admit", 3)])
@settings(deadline=None)
def test_each_read_is_noted_when_its_last_placement_comes_through(given_steps):
    pipeline = Pipeline()
    for step in given_steps:
        pipeline.now_ns += 10
        if step[0] == "read":
            pipeline.read(step[1], *(Place(color, step[1], color) for color in range(step[2])))
        else:
            getattr(pipeline, step[0])(*step[1:])
    followed = [model for model in pipeline.reads if model["slot"] == SLOT]
    assert len(pipeline.rows) == len(followed)
    for row, model in zip(pipeline.rows, followed, strict=True):
        assert {name: int(row[name]) for name in TIMES} == {name: model[name] for name in TIMES}
        assert row["number"] == FOLLOWED
        assert row["placement_count"] == (model["count"] if model["decoded_ns"] else 0)
        if model["admitted_ns"]:
            assert row["pixel"] == SLOT * WIDTH + model["count"] - 1


def through(pipeline):
    """All stages, one after the other, for what waits."""
    for stage in (pipeline.decode, pipeline.admit, pipeline.apply):
        pipeline.now_ns += 10
        stage(4096)


def test_without_a_followed_connection_nothing_is_noted():
    pipeline = Pipeline()
    pipeline.canvas.rules[0]["followed"] = -1
    pipeline.read(SLOT, Place(1, 2, 3))
    through(pipeline)
    assert pipeline.loop.journey_head[0] == pipeline.loop.message_head[0] == 0


def test_a_read_of_which_nothing_is_admitted_has_no_pixel_and_is_over():
    pipeline = Pipeline(burst=2)
    pipeline.read(SLOT, Place(1, 0, 3), Place(2, 0, 3), Place(3, 0, 3))
    through(pipeline)
    pipeline.read(SLOT, Place(4, 0, 3))
    through(pipeline)
    assert pipeline.rows["pixel"].tolist() == [2, -1]
    pipeline.tick()
    pipeline.send(0)
    assert pipeline.rows["encoded_ns"].astype(bool).tolist() == [True, False]
    assert pipeline.loop.following[0]["first"] == pipeline.loop.following[0]["end"] == 2


def test_what_the_connection_does_not_watch_is_not_sent_to_it():
    pipeline = Pipeline()
    pipeline.loop.connections[SLOT]["tile_x0"] = 1
    for x in (3, 40):
        pipeline.read(SLOT, Place(x, 0, 9))
        through(pipeline)
    pipeline.tick()
    pipeline.send(0)
    assert pipeline.rows["sent_ns"].astype(bool).tolist() == [False, True]


def test_when_the_connection_is_gone_its_journeys_stay_as_they_are():
    pipeline = Pipeline()
    pipeline.read(SLOT, Place(1, 0, 9))
    pipeline.decode(10)
    pipeline.loop.connections[SLOT]["number"] = 77  # Its slot is another's now.
    pipeline.admit(10)
    pipeline.apply(10)
    assert pipeline.rows["decoded_ns"].astype(bool).tolist() == [True]
    assert pipeline.rows["admitted_ns"].tolist() == [0]


def test_more_journeys_under_way_than_rows_drop_the_oldest():
    pipeline = Pipeline()
    for _ in range(JOURNEY_ROWS + 9):
        pipeline.read(SLOT, Place(1, 0, 9))
        through(pipeline)
    pipeline.tick()
    pipeline.send(0)
    following = pipeline.loop.following[0]
    assert following["first"] == following["end"] == JOURNEY_ROWS + 9
    assert np.count_nonzero(pipeline.loop.journeys["sent_ns"]) == JOURNEY_ROWS


def test_the_last_messages_are_kept_in_their_order():
    pipeline = Pipeline()
    pipeline.read(0, *[Place(9, 9, 9)] * 3)
    pipeline.read(SLOT, Place(1, 2, 3), Ping(4), PlaceMany(((5, 6, 7), (8, 9, 10))))
    pipeline.decode(4096)
    assert pipeline.loop.message_head[0] == 4
    kept = pipeline.loop.followed_messages[:4]
    assert kept["x"][[0, 2, 3]].tolist() == [1, 5, 8]
    assert kept["color"].tolist() == [3, 4, 7, 10]  # Of a request, its op.
    assert kept["kind"].tolist() == [Kind.PLACE, Kind.REQUEST, Kind.PLACE, Kind.PLACE]
    for stage in (pipeline.admit, pipeline.apply):
        stage_of(stage, pipeline)
    pipeline.read(SLOT, *(Place(x, 0, 1) for x in range(FOLLOWED_MESSAGES)))
    pipeline.decode(4096)
    assert pipeline.loop.message_head[0] == 4 + FOLLOWED_MESSAGES
    assert sorted(pipeline.loop.followed_messages["x"].tolist()) == list(range(FOLLOWED_MESSAGES))


def stage_of(stage, pipeline):
    """Empty the queues behind the decoder, passing the request."""
    if stage == pipeline.admit:
        admit(pipeline.loop, pipeline.canvas, pipeline.now_ns, 4096)
        return
    while apply(pipeline.loop, pipeline.canvas, 4096) >= 0:
        pass_request(pipeline.loop)


@needs_compiler
@pytest.mark.parametrize("loop", ["native", "portable"])
class TestServed:
    def test_a_followed_client_is_seen_on_its_way(self, loop):
        with Serving(loop=loop) as serving, serving.client() as other, serving.client() as client:
            serving.server.follow(client.hello.connection)
            client.send(Subscribe())
            other.send(Subscribe())
            rows, head = serving.connections["journeys"], serving.connections["journey_head"]
            # Until the order is carried out, what it places is not noted.
            client.serve_until(lambda: place(client, other) and head[0] > 0 and rows["sent_ns"].any())
        row = rows[np.flatnonzero(rows["sent_ns"])[-1]]
        assert row["number"] == client.hello.connection
        times = [
            int(row[name]) for name in ("read_ns", "decoded_ns", "admitted_ns", "applied_ns", "encoded_ns", "sent_ns")
        ]
        assert times == sorted(times) and times[0] > 0
        assert row["pixel"] == 3 * 70 + 60 and row["placement_count"] % 2 == 0
        assert 0 < row["tick"] <= serving.tick

    def test_after_that_none_is(self, loop):
        with Serving(loop=loop) as serving, serving.client() as client:
            head = serving.connections["journey_head"]
            serving.server.follow(client.hello.connection)
            client.serve_until(lambda: place(client) and head[0] > 0)
            serving.server.follow(-1)
            client.serve_until(lambda: serving.server._engine.canvas.arrays.rules["followed"][0] == -1)
            noted = int(head[0])
            place(client)
            client.ping()
            assert head[0] == noted

    def test_each_connection_has_its_row_and_counts_its_bytes(self, loop):
        with Serving(loop=loop) as serving, serving.client() as client, serving.client() as other:
            client.send(Place(1, 2, 3), Place(70, 0, 1))
            client.ping()
            row = serving.connection(client)
            assert (row["received_count"], row["admitted_count"], row["out_of_bounds_count"]) == (2, 1, 1)
            assert row["phase"] == Phase.FAST and row["opened_ns"] > 0
            assert serving.canvas["pixel_painter"][2, 1] == client.hello.connection + 1
            assert serving.canvas["tiles"]["applied_count"].tolist() == [[1, 0, 0], [0, 0, 0]]
            other.ping()

            def adds_up(name):
                return serving.connection(client)[name] + serving.connection(other)[name] == serving.counted(name)

            # The answer is here before the loop has noted that it went out.
            wait_until(lambda: adds_up("received_bytes") and adds_up("sent_bytes"))


def place(*clients):
    """Have each place two pixels of its own."""
    for index, client in enumerate(clients):
        client.send(Place(7, index, 9), Place(60, 3, 1 + index))
    return True
