"""Dues: what each connection is owed now: the frame it lacks, a report of its drops, the end that its conduct earns.

A connection is a cursor: the tick up to which it has everything. One that is at the last broadcast gets the shared
bytes as they are; one that lags, for whatever reason, gets a frame of its own with the newest colours (conflation).
This decides and writes frames; how they are sent is the loops' affair, so nothing here needs a system call.
Invariant: a sweep asks each slot once, and a cursor moves only when its socket took the frame or a part of it.
"""

from server.kernels.decode import hand_over
from server.kernels.kernel import kernel
from server.kernels.layout import Phase, Reason, Source
from server.kernels.tiles import encode_region, gather_region

_THROTTLED = 0x83
_BY_RATE, _BY_OVERLOAD, _BY_BOUNDS = 1, 2, 3
_REPORT_NS = 1_000_000_000
_PAUSE_NS = 1_000_000_000
REPORT_BYTES = 10
"""A THROTTLED with its WebSocket header."""


@kernel
def waiting(connection):
    """Bytes in a connection's outbox."""
    return int(connection.outbox_end) - int(connection.outbox_start)


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
def next_due(loop, broadcast, now_ns):
    """Go on with the sweep to the next slot that is owed a delta and can take one; -1 when the sweep is done."""
    queues = loop.queues[0]
    newest = broadcast.head[0].tick
    while queues.fanout_position < queues.slot_end:
        slot = (int(queues.fanout_first) + int(queues.fanout_position)) % int(queues.slot_end)
        queues.fanout_position += 1
        connection = loop.connections[slot]
        if connection.subscribed and connection.cursor < newest and connection.due_ns <= now_ns:
            # A socket that still owes the rest of a frame is full: it is conflated when it has room again.
            if waiting(connection) == 0:
                return slot
    return -1


@kernel
def _conflated(loop, shown, since, until):
    """The whole canvas's changes after `since` in `loop.conflated`, made once for all laggards at the same cursor."""
    queues = loop.queues[0]
    if queues.conflated_since != since or queues.conflated_until != until:
        rules = shown.rules[0]
        tiles = (0, 0, int(rules.tiles_across), int(rules.tiles_down))
        start, end, pixels = encode_region(shown, tiles, since, until, loop.conflated)
        queues.conflated_since = since
        queues.conflated_until = until
        queues.conflated_start = start
        queues.conflated_end = end
        queues.conflated_pixels = pixels
    return int(queues.conflated_start), int(queues.conflated_end), int(queues.conflated_pixels)


@kernel
def watches_whole(canvas, connection):
    """True when a connection's region is the whole canvas."""
    rules = canvas.rules[0]
    at_origin = connection.tile_x0 == 0 and connection.tile_y0 == 0
    return at_origin and connection.tile_x1 == rules.tiles_across and connection.tile_y1 == rules.tiles_down


@kernel
def choose_frame(loop, canvas, broadcast, connection, out):
    """The frame that brings a connection up to the newest tick.

    broadcast, canvas: read. out: uint8, room for HEAD_ROOM and a block a tile of the region, written when the frame
    is this connection's own. Cost: O(1) for the shared frame, else as `gather_region` and `encode_region`.
    Returns (Source, start, end, pixels); an empty frame when nothing changed for it.
    """
    head = broadcast.head[0]
    tiles = (int(connection.tile_x0), int(connection.tile_y0), int(connection.tile_x1), int(connection.tile_y1))
    whole = watches_whole(canvas, connection)
    if connection.cursor >= head.since:
        if whole:
            return Source.SHARED, int(head.frame_start), int(head.frame_end), int(head.pixel_count)
        start, end, pixels = gather_region(canvas, broadcast, tiles, out)
        return Source.OWN, start, end, pixels
    loop.counts[0].conflated_count += 1
    if whole:
        start, end, pixels = _conflated(loop, broadcast.shown, int(connection.cursor), int(head.tick))
        return Source.CONFLATED, start, end, pixels
    start, end, pixels = encode_region(broadcast.shown, tiles, int(connection.cursor), int(head.tick), out)
    return Source.OWN, start, end, pixels


@kernel
def note_delta(loop, connection, count, pixels, now_ns):
    """Count a DELTA of `count` bytes that the socket took, or a part of it, and set when the next is due."""
    counts = loop.counts[0]
    counts.delta_count += 1
    counts.delta_bytes += count
    counts.delta_pixel_count += pixels
    connection.delta_count += 1
    connection.due_ns = now_ns + connection.interval_ns


@kernel
def is_reported_to(connection, now_ns):
    """True when placements were dropped since the last THROTTLED, which was a second ago, and one can be sent now."""
    dropped = connection.throttled_count + connection.shed_count + connection.out_of_bounds_count
    unreported = (dropped & 0xFFFFFFFF) != connection.dropped_reported
    if not unreported or connection.closing or waiting(connection) > 0:
        return False
    return now_ns - connection.reported_ns >= _REPORT_NS


@kernel
def write_report(canvas, connection, now_ns, out):
    """Write THROTTLED: how many placements of this connection were dropped since it connected, and why lately.

    connection: `dropped_reported` and `reported_ns` written. out: uint8, REPORT_BYTES of it written.
    """
    rules = canvas.rules[0]
    dropped = (connection.throttled_count + connection.shed_count + connection.out_of_bounds_count) & 0xFFFFFFFF
    reason = _BY_BOUNDS
    retry_ms = 0
    if connection.over_ns > connection.reported_ns:
        reason = _BY_RATE
        wait_ns = max(connection.full_ns + rules.token_ns - rules.burst_ns - now_ns, 0)
        retry_ms = min((wait_ns + 999_999) // 1_000_000, 65535)
    elif connection.shed_count > 0:
        reason = _BY_OVERLOAD
    out[0], out[1], out[2], out[3] = 0x82, 8, _THROTTLED, reason
    out[4], out[5] = retry_ms & 0xFF, retry_ms >> 8
    for i in range(4):
        out[6 + i] = (dropped >> (8 * i)) & 0xFF
    connection.dropped_reported = dropped
    connection.reported_ns = now_ns


@kernel
def is_patrolled(connection):
    """True for a connection that is open to canvas messages, so that its conduct counts."""
    return connection.phase != Phase.FREE and connection.phase != Phase.DEAD and connection.opened_ns != 0


@kernel
def judge(loop, canvas, slot, now_ns):
    """Hand over a connection that takes no bytes for too long, or stays over its limit. Writes its times in place."""
    rules = canvas.rules[0]
    connection = loop.connections[slot]
    if not connection.blocked and waiting(connection) == 0:
        connection.progress_ns = now_ns
    elif now_ns - connection.progress_ns > rules.stall_ns:
        hand_over(loop, slot, 0, 0, Reason.STALLED)
        return  # It is reset, whatever its limit says: `handovers` has room for one end a slot.
    if now_ns - connection.over_ns > _PAUSE_NS:
        connection.over_since_ns = 0
    elif rules.evict_ns > 0 and connection.over_since_ns > 0:
        if now_ns - connection.over_since_ns > rules.evict_ns:
            hand_over(loop, slot, 0, 0, Reason.OVER_LIMIT)
