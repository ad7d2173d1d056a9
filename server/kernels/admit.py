"""Admit: bounds and token buckets, from messages to placements. What does not fit is dropped and counted."""

import numpy as np

from server.kernels.kernel import kernel
from server.kernels.layout import Kind
from server.wire import TILE_SHIFT


@kernel
def take_token(connection, rules, now_ns):
    """Take one token from a connection's bucket. Writes `full_ns`. Returns whether there was one."""
    # A bucket is one number: when it will be full again. A token puts that off by `token_ns`, and is there as long as
    # it stays within `burst_ns` from now. That is a bucket of `burst` tokens, exact to the nanosecond, without
    # accumulated rounding and without refills.
    full_ns = max(int(connection.full_ns), now_ns) + rules.token_ns
    if full_ns - now_ns > rules.burst_ns:
        return False
    connection.full_ns = full_ns
    return True


@kernel
def _admit_one(loop, canvas, message, now_ns):
    """Admit one placement, or count the reason for dropping it."""
    rules = canvas.rules[0]
    connection = loop.connections[message.slot]
    counts = loop.counts[0]
    if message.x >= rules.width or message.y >= rules.height:
        connection.out_of_bounds_count += 1
        counts.out_of_bounds_count += 1
        return
    x, y = np.int64(message.x), np.int64(message.y)
    tile = (y >> TILE_SHIFT) * int(rules.tiles_across) + (x >> TILE_SHIFT)
    if not take_token(connection, rules, now_ns):
        canvas.tiles[tile].throttled_count += 1
        connection.throttled_count += 1
        counts.throttled_count += 1
        connection.over_ns = now_ns
        # The patrol sets it back to 0 after a second without a refusal.
        if connection.over_since_ns == 0:
            connection.over_since_ns = now_ns
        return
    connection.admitted_count += 1
    counts.admitted_count += 1
    queues = loop.queues[0]
    placement = loop.placements[queues.placement_end]
    placement.pixel = y * int(rules.width) + x
    placement.tile = tile
    placement.slot = message.slot
    placement.color = message.color
    placement.kind = Kind.PLACE
    queues.placement_end += 1


@kernel
def admit(loop, canvas, now_ns, items_max):
    """Admit messages in order, as far as the placement queue has room and at most `items_max`.

    loop.messages: MESSAGE, consumed from `message_head`. loop.placements: PLACEMENT, appended while there is room.
    loop.connections: bucket and counters written in place. canvas.tiles: refusals counted, as `apply` counts. Owner:
    this loop. Cost: O(messages). Indices are in range because slots come from this loop's own decoder and x, y are
    checked against the canvas here.
    """
    queues = loop.queues[0]
    room = len(loop.placements)
    end = min(int(queues.message_end), int(queues.message_head) + items_max)
    # Requests keep their place among the placements, so that answers come in order.
    while queues.message_head < end and queues.placement_end < room:
        message = loop.messages[queues.message_head]
        if message.kind == Kind.PLACE:
            _admit_one(loop, canvas, message, now_ns)
        else:
            placement = loop.placements[queues.placement_end]
            placement.kind = Kind.REQUEST
            placement.slot = message.slot
            placement.index = message.index
            queues.placement_end += 1
        queues.message_head += 1
    if queues.message_head == queues.message_end:
        queues.message_head = 0
        queues.message_end = 0
