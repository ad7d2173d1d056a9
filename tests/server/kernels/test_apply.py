"""Apply: placements in order, the last one wins, against a loop over a list; it stops at each request."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.kernels.apply import apply, pass_request
from server.kernels.layout import Kind
from support.stages import ALL, new_canvas, new_loop, picture

WIDTH, HEIGHT = 70, 45
placed = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(0, 255), st.integers(0, 3))
NUMBERS = (0, 7, 2**32 - 2, 2**32 + 5)
"""Of the connections in the four slots. A painter is known by the low 32 bits of its number plus one."""
entries = st.one_of(placed, placed, placed, st.just("request"))


def put(loop, batch):
    queues = loop.queues[0]
    for entry in batch:
        placement = loop.placements[int(queues["placement_end"])]
        queues["placement_end"] += 1
        if entry == "request":
            placement["kind"], placement["index"] = Kind.REQUEST, int(queues["request_end"])
            queues["request_end"] += 1
        else:
            x, y, color, slot = entry
            placement["kind"], placement["color"], placement["slot"] = Kind.PLACE, color, slot
            placement["pixel"], placement["tile"] = y * WIDTH + x, y // 32 * 3 + x // 32


@given(st.lists(st.lists(entries, max_size=30), max_size=5))
@settings(deadline=None)
def test_apply_paints_what_a_list_would(batches):
    canvas = new_canvas(WIDTH, HEIGHT)
    loop = new_loop(canvas, requests=64)
    loop.connections["number"] = NUMBERS
    colors, ticks, tile_ticks, painters, applied = {}, {}, {}, {}, Counter()
    for tick, batch in enumerate(batches, 1):
        canvas.rules[0]["tick_next"] = tick
        put(loop, batch)
        for index, behind in enumerate(stretches(batch)):
            for x, y, color, slot in behind:
                colors[x, y], ticks[x, y], tile_ticks[y // 32 * 3 + x // 32] = color, tick, tick
                painters[y * WIDTH + x] = (NUMBERS[slot] + 1) % 2**32
                applied[y // 32 * 3 + x // 32] += 1
            found = apply(loop, canvas, ALL)
            # What stands behind a request is not painted before the request is passed.
            assert {(x, y): int(picture(canvas)[y, x]) for x, y in colors} == colors
            if index < batch.count("request"):
                assert found == index
                pass_request(loop)
            else:
                assert found == -1
        assert loop.queues[0]["placement_end"] == loop.queues[0]["request_end"] == 0
    assert picture(canvas).astype(bool).sum() == sum(color != 0 for color in colors.values())
    assert {pixel: int(tick) for pixel, tick in enumerate(canvas.pixel_tick) if tick} == {
        y * WIDTH + x: tick for (x, y), tick in ticks.items()
    }
    assert {tile: int(tick) for tile, tick in enumerate(canvas.tile_tick) if tick} == tile_ticks
    assert {pixel: int(canvas.pixel_painter[pixel]) for pixel in painters} == painters
    assert np.count_nonzero(canvas.pixel_painter) == sum(painter > 0 for painter in painters.values())
    assert {tile: int(n) for tile, n in enumerate(canvas.tiles["applied_count"]) if n} == applied
    assert loop.counts[0]["applied_count"] == sum(entry != "request" for batch in batches for entry in batch)


def stretches(batch):
    """The placements before the first request, between it and the next, and so on."""
    found = [[]]
    for entry in batch:
        if entry == "request":
            found.append([])
        else:
            found[-1].append(entry)
    return found


def test_requests_stay_while_messages_refer_to_them():
    """The request array is emptied only when no queue names a request any more."""
    canvas = new_canvas(WIDTH, HEIGHT)
    loop = new_loop(canvas)
    put(loop, [(1, 2, 3, 0), "request"])
    loop.queues[0]["message_end"] = 1
    assert apply(loop, canvas, ALL) == 0
    pass_request(loop)
    assert apply(loop, canvas, ALL) == -1
    assert loop.queues[0]["request_end"] == 1
    loop.queues[0]["message_end"] = 0
    assert apply(loop, canvas, ALL) == -1
    assert loop.queues[0]["request_end"] == 0
