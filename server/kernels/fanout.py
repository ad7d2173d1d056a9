"""Fan-out: each tick every watching connection is offered all it lacks, once. And the patrol over all connections.

A connection is a cursor: the tick up to which it has everything. One that is at the last broadcast gets the shared
bytes as they are; one that lags, for whatever reason, gets a frame of its own with the newest colours (conflation).
Invariant: nobody waits for a slow consumer, which costs at most the rest of one frame.
"""

from server.kernels.decode import hand_over
from server.kernels.kernel import address_of, kernel
from server.kernels.layout import Phase, Reason
from server.kernels.outbox import post, send_or_hold, send_some, waiting
from server.kernels.tiles import encode_region, gather_region

_THROTTLED = 0x83
_BY_RATE, _BY_OVERLOAD, _BY_BOUNDS = 1, 2, 3
_REPORT_NS = 1_000_000_000
_PAUSE_NS = 1_000_000_000


@kernel
def begin_sweep(loop):
    """Begin a new tick's sweep over all slots, at another slot than the last time, so that none is always first."""
    queues = loop.queues[0]
    queues.fanout_position = 0
    if queues.slot_end > 0:
        queues.fanout_first = (int(queues.fanout_first) + 7919) % int(queues.slot_end)


@kernel
def sweep_rest(loop):
    """Slots that have not had their turn in this sweep."""
    queues = loop.queues[0]
    return int(queues.slot_end) - int(queues.fanout_position)


@kernel
def _conflated(loop, canvas, since, until):
    """The whole canvas's changes after `since` in `loop.conflated`, made once for all laggards at the same cursor."""
    queues = loop.queues[0]
    if queues.conflated_since != since or queues.conflated_until != until:
        rules = canvas.rules[0]
        tiles = (0, 0, int(rules.tiles_across), int(rules.tiles_down))
        start, end, pixels = encode_region(canvas, tiles, since, until, loop.conflated)
        queues.conflated_since = since
        queues.conflated_until = until
        queues.conflated_start = start
        queues.conflated_end = end
        queues.conflated_pixels = pixels
    return int(queues.conflated_start), int(queues.conflated_end), int(queues.conflated_pixels)


@kernel
def _choose_frame(loop, canvas, broadcast, connection):
    """The frame that brings a connection up to the newest tick: (address, bytes, pixels); no bytes when none is due."""
    head = broadcast.head[0]
    rules = canvas.rules[0]
    tiles = (int(connection.tile_x0), int(connection.tile_y0), int(connection.tile_x1), int(connection.tile_y1))
    whole = tiles == (0, 0, int(rules.tiles_across), int(rules.tiles_down))
    if connection.cursor >= head.since:
        if whole:
            start, end = int(head.frame_start), int(head.frame_end)
            return address_of(broadcast.bytes) + start, end - start, int(head.pixel_count)
        start, end, pixels = gather_region(canvas, broadcast, tiles, loop.scratch)
        return address_of(loop.scratch) + start, end - start, pixels
    loop.counts[0].conflated_count += 1
    if whole:
        start, end, pixels = _conflated(loop, canvas, int(connection.cursor), int(head.tick))
        return address_of(loop.conflated) + start, end - start, pixels
    start, end, pixels = encode_region(canvas, tiles, int(connection.cursor), int(head.tick), loop.scratch)
    return address_of(loop.scratch) + start, end - start, pixels


@kernel
def _deliver(loop, canvas, broadcast, epoll_fd, slot, now_ns):
    """Offer one connection what it lacks. Moves its cursor when the socket took the frame or a part of it."""
    connection = loop.connections[slot]
    source, count, pixels = _choose_frame(loop, canvas, broadcast, connection)
    if count > 0:
        taken = send_some(loop, slot, source, count, now_ns)
        if taken < 0:
            return
        if taken == 0:
            connection.blocked = 1
            return
        if taken < count and not send_or_hold(loop, epoll_fd, slot, source + taken, count - taken, now_ns):
            return
        counts = loop.counts[0]
        counts.delta_count += 1
        counts.delta_bytes += count
        counts.delta_pixel_count += pixels
        connection.delta_count += 1
        connection.due_ns = now_ns + connection.interval_ns
    connection.blocked = 0
    connection.cursor = broadcast.head[0].tick


@kernel
def fan_out(loop, canvas, broadcast, epoll_fd, now_ns, sends_max):
    """Go on with the sweep until it is done or `sends_max` frames were offered.

    loop.connections: cursor and due time written. broadcast, canvas: read. loop.scratch, conflated: overwritten.
    Cost: O(slots) and a `send` a frame. Returns the number of frames offered.
    """
    queues = loop.queues[0]
    newest = broadcast.head[0].tick
    offered = 0
    while queues.fanout_position < queues.slot_end and offered < sends_max:
        slot = (int(queues.fanout_first) + int(queues.fanout_position)) % int(queues.slot_end)
        queues.fanout_position += 1
        connection = loop.connections[slot]
        if connection.subscribed and connection.cursor < newest and connection.due_ns <= now_ns:
            # A socket that still owes the rest of a frame is full: it is conflated when it has room again.
            if waiting(connection) == 0:
                _deliver(loop, canvas, broadcast, epoll_fd, slot, now_ns)
                offered += 1
    return offered


@kernel
def _report_drops(loop, canvas, epoll_fd, slot, dropped, now_ns):
    """Send THROTTLED: how many placements of this connection were dropped since it connected, and why lately."""
    connection = loop.connections[slot]
    rules = canvas.rules[0]
    reason = _BY_BOUNDS
    retry_ms = 0
    if connection.over_ns > connection.reported_ns:
        reason = _BY_RATE
        wait_ns = max(connection.full_ns + rules.token_ns - rules.burst_ns - now_ns, 0)
        retry_ms = min((wait_ns + 999_999) // 1_000_000, 65535)
    elif connection.shed_count > 0:
        reason = _BY_OVERLOAD
    frame = loop.scratch
    frame[0], frame[1], frame[2], frame[3] = 0x82, 8, _THROTTLED, reason
    frame[4], frame[5] = retry_ms & 0xFF, retry_ms >> 8
    for i in range(4):
        frame[6 + i] = (dropped >> (8 * i)) & 0xFF
    connection.dropped_reported = dropped
    connection.reported_ns = now_ns
    post(loop, epoll_fd, slot, frame[:10], now_ns)


@kernel
def patrol(loop, canvas, epoll_fd, now_ns):
    """Look at every connection: report drops (at most once a second each), hand over who stalls or stays over.

    loop.connections: written in place. Cost: O(slots), a few nanoseconds each, and a `send` a report.
    """
    rules = canvas.rules[0]
    for slot in range(int(loop.queues[0].slot_end)):
        connection = loop.connections[slot]
        if connection.phase == Phase.FREE or connection.phase == Phase.DEAD or connection.opened_ns == 0:
            continue
        dropped = connection.throttled_count + connection.shed_count + connection.out_of_bounds_count
        unreported = (dropped & 0xFFFFFFFF) != connection.dropped_reported
        if unreported and not connection.closing and waiting(connection) == 0:
            if now_ns - connection.reported_ns >= _REPORT_NS:
                _report_drops(loop, canvas, epoll_fd, slot, dropped & 0xFFFFFFFF, now_ns)
        if not connection.blocked and waiting(connection) == 0:
            connection.progress_ns = now_ns
        elif now_ns - connection.progress_ns > rules.stall_ns:
            hand_over(loop, slot, 0, 0, Reason.STALLED)
        if now_ns - connection.over_ns > _PAUSE_NS:
            connection.over_since_ns = 0
        elif rules.evict_ns > 0 and connection.over_since_ns > 0:
            if now_ns - connection.over_since_ns > rules.evict_ns:
                hand_over(loop, slot, 0, 0, Reason.OVER_LIMIT)
