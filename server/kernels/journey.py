"""Journeys: when each read of the followed connection came through each stage. One row a read, on the connections page.

A loop calls one of these after a batch of each stage. While no connection is followed each call is one comparison. Only
the loop that owns the connection writes.
"""

from server.kernels.kernel import kernel
from server.kernels.layout import FOLLOWED_MESSAGES, JOURNEY_ROWS, Kind
from server.wire import TILE_SIDE


@kernel
def _forget_if_gone(loop):
    """True when there is nothing to note: no journey is under way, or the connection has ended meanwhile."""
    following = loop.following[0]
    if following.first == following.end:
        return True
    # The slot may belong to another connection by now.
    number = loop.journeys[following.first % JOURNEY_ROWS].number
    if loop.connections[following.slot].number == number:
        return False
    following.first = following.end
    return True


@kernel
def _refused_count(connection):
    return int(connection.throttled_count) + int(connection.shed_count) + int(connection.out_of_bounds_count)


@kernel
def _open(loop, slot, read_count, now_ns):
    """Begin a journey: a read of the followed connection, the `read_count`th of this loop. O(1)."""
    # Queues keep their order, so counts tell how far a read has come, and no stage has to look at single placements.
    following = loop.following[0]
    connection = loop.connections[slot]
    end = int(loop.journey_head[0])
    if following.first == following.end:
        following.first = end
        following.read_end = end
        following.received_count = connection.received_count
        following.admitted_count = connection.admitted_count
        following.refused_count = _refused_count(connection)
    # The ring is full of unfinished journeys: the oldest one gives up its row.
    elif end - following.first >= JOURNEY_ROWS:
        following.first = end - JOURNEY_ROWS + 1
        following.read_end = max(following.read_end, following.first)
    following.slot = slot
    loop.marks[end % JOURNEY_ROWS].read_count = read_count
    row = loop.journeys[end % JOURNEY_ROWS]
    row.number = connection.number
    row.read_ns = now_ns
    row.decoded_ns = 0
    row.admitted_ns = 0
    row.applied_ns = 0
    row.tick = 0
    row.journaled_ns = 0
    row.encoded_ns = 0
    row.sent_ns = 0
    row.placement_count = 0
    row.pixel = -1
    loop.marks[end % JOURNEY_ROWS].admitted_count = 0
    following.end = end + 1
    loop.journey_head[0] = end + 1


@kernel
def note_reads(loop, canvas, first, now_ns):
    """Begin a journey for each segment from index `first` on that is the followed connection's.

    loop.segments, connections: read. loop.journeys, marks, following: written. Cost: one comparison, and a look at each
    new segment while a connection is followed.
    """
    followed = canvas.rules[0].followed
    if followed < 0:
        return
    queues = loop.queues[0]
    for i in range(first, int(queues.segment_end)):
        slot = int(loop.segments[i].slot)
        if loop.connections[slot].number == followed:
            behind = int(queues.segment_end) - 1 - i
            _open(loop, slot, int(loop.counts[0].read_count) - behind, now_ns)


@kernel
def _keep_messages(loop, slot, count):
    """Copy the last `count` placements of a connection, and its requests among them, to the ring of messages.

    loop.messages: read back from its end. Cost: O(messages waiting), while a connection is followed.
    """
    queues = loop.queues[0]
    start = int(queues.message_end)
    while count > 0 and start > queues.message_head:
        start -= 1
        message = loop.messages[start]
        count -= message.slot == slot and message.kind == Kind.PLACE
    for i in range(start, int(queues.message_end)):
        message = loop.messages[i]
        if message.slot == slot:
            kept = loop.followed_messages[loop.message_head[0] % FOLLOWED_MESSAGES]
            kept.slot = slot
            kept.x = message.x
            kept.y = message.y
            kept.color = message.color
            kept.kind = message.kind
            kept.index = message.index
            if message.kind == Kind.REQUEST:
                kept.color = loop.requests[message.index].op
            loop.message_head[0] += 1


@kernel
def note_decoded(loop, now_ns):
    """Note the journeys whose reads are decoded by now, and keep what was decoded from them.

    Where one pass decoded several reads of the connection, its placements are shared out evenly among them. Cost: O(1)
    when no connection is followed.
    """
    if _forget_if_gone(loop):
        return
    following, queues = loop.following[0], loop.queues[0]
    connection = loop.connections[following.slot]
    decoded = int(loop.counts[0].read_count) - (int(queues.segment_end) - int(queues.segment_head))
    # Reads are decoded in order, so their count tells which are done.
    end = int(following.read_end)
    while end < following.end and loop.marks[end % JOURNEY_ROWS].read_count <= decoded:
        end += 1
    reads = end - int(following.read_end)
    if reads == 0:
        return
    placements = int(connection.received_count) - int(following.received_count)
    _keep_messages(loop, int(following.slot), placements)
    for n in range(reads):
        at = (int(following.read_end) + n) % JOURNEY_ROWS
        loop.journeys[at].decoded_ns = now_ns
        loop.journeys[at].placement_count = placements * (n + 1) // reads - placements * n // reads
        loop.marks[at].received_count = connection.received_count
    following.read_end = end
    following.received_count = connection.received_count


@kernel
def _placed(loop, slot, later):
    """A placement of a connection that waits to be applied: the one with `later` of its own behind it.

    Returns (pixel or -1, placements of all connections behind it). Cost: O(placements behind it), while a connection is
    followed.
    """
    queues = loop.queues[0]
    behind = 0
    for i in range(int(queues.placement_end) - 1, int(queues.placement_head) - 1, -1):
        placement = loop.placements[i]
        if placement.kind == Kind.PLACE:
            if placement.slot == slot:
                if later == 0:
                    return int(placement.pixel), behind
                later -= 1
            behind += 1
    return -1, 0


@kernel
def note_admitted(loop, now_ns):
    """Note the journeys whose placements are all admitted or refused by now. Called before they are applied.

    Where one pass judged several reads of the connection and refused some of it, all of them name the last pixel.
    """
    if _forget_if_gone(loop):
        return
    following = loop.following[0]
    connection = loop.connections[following.slot]
    refused = _refused_count(connection)
    judged = int(connection.admitted_count) + refused
    has_new = connection.admitted_count > following.admitted_count
    # Without refusals, as many placements are behind a read's last one as were judged after it.
    is_exact = refused == following.refused_count
    following.admitted_count = connection.admitted_count
    following.refused_count = refused
    for n in range(int(following.first), int(following.end)):
        row, mark = loop.journeys[n % JOURNEY_ROWS], loop.marks[n % JOURNEY_ROWS]
        if row.admitted_ns > 0:
            continue
        is_judged = n < following.read_end and mark.received_count <= judged
        if has_new:
            later = judged - int(mark.received_count) if is_exact and is_judged else 0
            pixel, behind = _placed(loop, following.slot, later)
            if pixel >= 0:
                row.pixel = pixel
                mark.admitted_count = int(loop.counts[0].admitted_count) - behind
        if not is_judged:
            break  # It is judged in part, and what comes later not at all.
        row.admitted_ns = now_ns


@kernel
def note_applied(loop, canvas, now_ns):
    """Note the journeys whose placements are all on the canvas by now, and the tick that will carry them."""
    if _forget_if_gone(loop):
        return
    following = loop.following[0]
    for n in range(int(following.first), int(following.read_end)):
        row, mark = loop.journeys[n % JOURNEY_ROWS], loop.marks[n % JOURNEY_ROWS]
        is_due = row.admitted_ns > 0 and row.applied_ns == 0
        if is_due and mark.admitted_count <= loop.counts[0].applied_count:
            row.applied_ns = now_ns
            row.tick = canvas.rules[0].tick_next


@kernel
def note_encoded(loop, tick, now_ns):
    """Note the journeys that `tick`, which is encoded now, carries. Called while no stage runs."""
    if _forget_if_gone(loop):
        return
    following = loop.following[0]
    for n in range(int(following.first), int(following.read_end)):
        row = loop.journeys[n % JOURNEY_ROWS]
        if row.applied_ns > 0 and row.tick == tick and row.pixel >= 0:
            row.encoded_ns = now_ns


@kernel
def note_journaled(loop, tick, now_ns):
    """Note the journeys whose `tick` was on disk at `now_ns`. Called while no stage runs."""
    if _forget_if_gone(loop):
        return
    following = loop.following[0]
    for n in range(int(following.first), int(following.read_end)):
        row = loop.journeys[n % JOURNEY_ROWS]
        if row.encoded_ns > 0 and row.tick == tick and row.pixel >= 0:
            row.journaled_ns = now_ns


@kernel
def _watches(connection, canvas, pixel):
    """True when a pixel is in the tiles that a connection watches."""
    x, y = pixel % int(canvas.rules[0].width), pixel // int(canvas.rules[0].width)
    tile_x, tile_y = x // TILE_SIDE, y // TILE_SIDE
    within_x = connection.tile_x0 <= tile_x and tile_x < connection.tile_x1
    return within_x and connection.tile_y0 <= tile_y and tile_y < connection.tile_y1


@kernel
def note_sent(loop, canvas, now_ns):
    """Note the journeys whose change the connection's own socket has taken in a step of the fan-out begun at `now_ns`.

    A journey is over then, and when nothing of it will be sent: nothing was admitted, or it watches elsewhere.
    """
    if _forget_if_gone(loop):
        return
    following = loop.following[0]
    connection = loop.connections[following.slot]
    for n in range(int(following.first), int(following.read_end)):
        row = loop.journeys[n % JOURNEY_ROWS]
        if row.encoded_ns > 0 and row.sent_ns == 0 and connection.cursor >= row.tick:
            if _watches(connection, canvas, row.pixel):
                row.sent_ns = now_ns
    # Journeys end in order: one that is over waits for those before it.
    while following.first < following.read_end:
        row = loop.journeys[following.first % JOURNEY_ROWS]
        waits = row.pixel >= 0 and (row.encoded_ns == 0 or connection.cursor < row.tick)
        if row.applied_ns == 0 or waits:
            break
        following.first += 1
