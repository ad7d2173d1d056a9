"""Admit: bounds and token buckets against a textbook bucket in exact fractions, and a loop over a list."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from server.kernels.admit import admit, take_token
from server.kernels.layout import Kind
from support.naive import Bucket
from support.stages import ALL, new_canvas, new_loop, request_of

STARTED_NS = 5_000_000_000
WIDTH, HEIGHT = 70, 45


def ascending(gaps):
    now_ns = STARTED_NS
    for gap in gaps:
        now_ns += gap
        yield now_ns


@given(
    st.integers(1, 65535),
    st.integers(1, 200),
    st.lists(st.one_of(st.just(0), st.integers(0, 40_000_000), st.integers(0, 10**12)), max_size=200),
)
@settings(deadline=None)
def test_token_is_there_exactly_when_the_textbook_has_one(rate_per_s, burst, gaps):
    canvas = new_canvas(rate_per_s=rate_per_s, burst=burst)
    loop = new_loop(canvas)
    rules, connection = canvas.rules[0], loop.connections[1]
    bucket = Bucket(int(rules["token_ns"]), burst)
    for now_ns in ascending(gaps):
        assert bool(take_token(connection, rules, now_ns)) == bucket.take(now_ns), now_ns


def test_edges_of_a_bucket():
    """A full bucket holds `burst`, and the next token comes to the nanosecond."""
    canvas = new_canvas(rate_per_s=60, burst=3)
    connection, rules = new_loop(canvas).connections[0], canvas.rules[0]
    token_ns = int(rules["token_ns"])
    now_ns = STARTED_NS
    assert [bool(take_token(connection, rules, now_ns)) for _ in range(4)] == [True, True, True, False]
    assert not take_token(connection, rules, now_ns + token_ns - 1)
    assert take_token(connection, rules, now_ns + token_ns)
    assert not take_token(connection, rules, now_ns + token_ns)
    assert [bool(take_token(connection, rules, now_ns + 10**12)) for _ in range(4)] == [True, True, True, False]


slots = st.integers(0, 2)
arrivals = st.one_of(
    st.tuples(st.just("place"), slots, st.integers(0, WIDTH + 3), st.integers(0, HEIGHT + 3), st.integers(0, 255)),
    st.tuples(st.just("place"), slots, st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 255)),
    st.tuples(st.just("request"), slots),
)


def put(loop, batch):
    """Queue arrivals as the decoder does; a request is known by its place among the requests."""
    queues = loop.queues[0]
    for arrival in batch:
        message = loop.messages[int(queues["message_end"])]
        queues["message_end"] += 1
        message["slot"] = arrival[1]
        if arrival[0] == "place":
            message["kind"] = Kind.PLACE
            message["x"], message["y"], message["color"] = arrival[2:]
        else:
            index = int(queues["request_end"])
            queues["request_end"] += 1
            message["kind"], message["index"] = Kind.REQUEST, index
            loop.requests[index]["slot"], loop.requests[index]["op"], loop.requests[index]["nonce"] = (
                arrival[1],
                4,
                index,
            )


def take_placements(loop):
    """Empty the placement queue, as apply does."""
    queues = loop.queues[0]
    found = []
    for placement in loop.placements[: int(queues["placement_end"])]:
        if placement["kind"] == Kind.PLACE:
            found.append(tuple(int(placement[name]) for name in ("slot", "pixel", "tile", "color")))
        else:
            found.append(request_of(loop, int(placement["index"])))
    queues["placement_end"] = 0
    return found


class NaiveAdmit:
    """A bucket each, a counter each, and `if`s."""

    def __init__(self, token_ns, burst):
        self.buckets = {slot: Bucket(token_ns, burst) for slot in range(3)}
        self.counts = {slot: dict.fromkeys(COUNTS, 0) for slot in range(3)}
        self.tiles = Counter()
        """Refusals for rate by tile."""
        self.found = []
        self.request_count = 0

    def take(self, arrival, now_ns):
        slot = arrival[1]
        if arrival[0] == "request":
            self.found.append(("ping", slot, self.request_count))
            self.request_count += 1
            return
        _, _, x, y, color = arrival
        if x >= WIDTH or y >= HEIGHT:
            fate = "out_of_bounds_count"
        elif self.buckets[slot].take(now_ns):
            fate = "admitted_count"
            self.found.append((slot, y * WIDTH + x, y // 32 * 3 + x // 32, color))
        else:
            fate = "throttled_count"
            self.tiles[y // 32 * 3 + x // 32] += 1
        self.counts[slot][fate] += 1


COUNTS = ("admitted_count", "throttled_count", "out_of_bounds_count")


@given(
    st.lists(st.tuples(st.integers(0, 30_000_000), st.lists(arrivals, max_size=20)), max_size=8),
    st.integers(1, 6),
    st.integers(1, 30),
)
@settings(deadline=None)
def test_admit_lets_in_what_a_list_would(batches, burst, room):
    """In order, requests among placements, with a placement queue that may be too short for the batch."""
    canvas = new_canvas(WIDTH, HEIGHT, burst=burst)
    loop = new_loop(canvas, placements=room, requests=200)
    naive = NaiveAdmit(int(canvas.rules[0]["token_ns"]), burst)
    found = []
    times = ascending([gap for gap, _ in batches])
    for now_ns, (_, batch) in zip(times, batches, strict=True):
        put(loop, batch)
        for arrival in batch:
            naive.take(arrival, now_ns)
        admit(loop, canvas, now_ns, ALL)
        while loop.queues[0]["placement_end"]:
            assert loop.queues[0]["placement_end"] <= room
            found += take_placements(loop)
            admit(loop, canvas, now_ns, ALL)
        assert (loop.queues[0]["message_head"], loop.queues[0]["message_end"]) == (0, 0)
    assert found == naive.found
    assert {tile: int(n) for tile, n in enumerate(canvas.tiles["throttled_count"]) if n} == naive.tiles
    for slot, counts in naive.counts.items():
        assert {name: int(loop.connections[slot][name]) for name in COUNTS} == counts
    assert {name: int(loop.counts[0][name]) for name in COUNTS} == {
        name: sum(counts[name] for counts in naive.counts.values()) for name in COUNTS
    }


def test_time_over_the_limit_is_noted():
    canvas = new_canvas(burst=1)
    loop = new_loop(canvas)
    for now_ns in (STARTED_NS, STARTED_NS + 1, STARTED_NS + 5):
        put(loop, [("place", 1, 0, 0, 7)])
        admit(loop, canvas, now_ns, ALL)
    connection = loop.connections[1]
    assert (connection["over_since_ns"], connection["over_ns"]) == (STARTED_NS + 1, STARTED_NS + 5)
    assert loop.connections[0]["over_since_ns"] == 0
