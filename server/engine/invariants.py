"""What holds whenever no stage runs. Asserted at each tick, in a few microseconds per loop; thoroughly in tests."""

import numpy as np

from server.kernels.arrays import BroadcastArrays, CanvasArrays, LoopArrays
from server.kernels.layout import Phase


def check_queues(loop: LoopArrays) -> None:
    """Each queue's head is not beyond its end, and its end not beyond its array."""
    queues = loop.queues[0]
    for name, records in (("segment", loop.segments), ("message", loop.messages), ("placement", loop.placements)):
        head, end = int(queues[f"{name}_head"]), int(queues[f"{name}_end"])
        assert 0 <= head <= end <= len(records), f"{name} queue: {head} to {end} of {len(records)}"
    waiting = int(queues["request_end"]) - int(queues["request_head"])
    assert 0 <= waiting <= len(loop.requests), f"{waiting} requests wait"
    assert 0 <= queues["arena_end"] <= len(loop.arena)
    assert 0 <= queues["handover_count"] <= len(loop.handovers)
    assert 0 <= queues["fanout_position"] <= queues["slot_end"] <= len(loop.connections)


def check_broadcast(broadcast: BroadcastArrays, tick: int) -> None:
    """The frame that loops send lies in its buffer, and is not of a tick that is yet to come."""
    head = broadcast.head[0]
    assert 0 <= head["frame_start"] <= head["frame_end"] <= len(broadcast.bytes)
    assert head["since"] <= head["tick"] <= tick, f"a broadcast of tick {head['tick']} at tick {tick}"


def check_tiles(canvas: CanvasArrays) -> None:
    """No tile has changed in a tick that is yet to come. Cost: O(tiles)."""
    assert canvas.tile_tick.max() <= canvas.rules[0]["tick_next"]


def check_connections(loop: LoopArrays, tick: int) -> None:
    """The counters of a loop are the sums over its sockets' rows, and no cursor is beyond `tick`. Cost: O(slots)."""
    rows, counts = loop.connections[: int(loop.queues[0]["slot_end"])], loop.counts[0]
    subscribed = rows["subscribed"] != 0
    assert np.count_nonzero(subscribed) == counts["subscriber_count"]
    assert (rows["cursor"][subscribed] <= tick).all(), "a viewer has more than the canvas"
    held = rows["outbox_end"] - rows["outbox_start"]
    assert (held >= 0).all() and held.sum() == counts["outbox_bytes"]
    assert (held[rows["phase"] == Phase.FREE] == 0).all(), "a free slot holds bytes"
