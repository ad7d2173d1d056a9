"""Dues: what each connection is owed now: the frame it lacks, a report of its drops, the end that its conduct earns.

A connection is a cursor: the tick up to which it has everything. One that is at the last broadcast gets the shared
bytes as they are; one that lags, for whatever reason, gets a frame of its own with the newest colours (conflation).
This decides and writes frames; how they are sent is the loops' affair, so nothing here needs a system call.
A connection that asked for an interval has a due time, which moves on by that interval with each delta, so that the
rate over time is the one asked for. A delta goes with the sweep that is nearest to its due time: half a tick early at
most. Invariants: a sweep asks each slot once, and a cursor moves only when its socket took the frame or a part of it;
no two deltas of a connection are closer than its interval less one tick.
"""

from server.kernels.conflation import CONFLATIONS
from server.kernels.decode import hand_over
from server.kernels.kernel import kernel
from server.kernels.layout import Phase, Reason, Source
from server.kernels.tiles import encode_region, gather_region

_THROTTLED = 0x83
_BY_RATE, _BY_OVERLOAD, _BY_BOUNDS = 1, 2, 3
_REPORT_NS = 1_000_000_000
_PAUSE_NS = 1_000_000_000
_STRIDE = 2_654_435_761
"""Slots between the first of a sweep and of the next. A prime above every slot count: whatever that is, each slot is
the first in turn. Near the golden ratio of 2**32, so that the first ones of a few sweeps are far apart."""
REPORT_BYTES = 10
"""A THROTTLED with its WebSocket header."""


@kernel
def waiting(connection):
    """Bytes in a connection's outbox."""
    return int(connection.outbox_end) - int(connection.outbox_start)


@kernel
def begin_sweep(loop, tick_ns):
    """Begin a new tick's sweep over all slots, at another slot than the last time, so that none is always first.

    tick_ns: how far apart ticks are at present.
    """
    queues = loop.queues[0]
    queues.tick_ns = tick_ns
    queues.fanout_position = 0
    if queues.slot_end > 0:
        queues.fanout_first = (int(queues.fanout_first) + _STRIDE) % int(queues.slot_end)


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
    until_ns = now_ns + int(queues.tick_ns) // 2
    while queues.fanout_position < queues.slot_end:
        slot = (int(queues.fanout_first) + int(queues.fanout_position)) % int(queues.slot_end)
        queues.fanout_position += 1
        connection = loop.connections[slot]
        if connection.subscribed and connection.cursor < newest and connection.due_ns <= until_ns:
            # A socket that still owes the rest of a frame is full: it is conflated when it has room again.
            if waiting(connection) == 0:
                return slot
    return -1


@kernel
def conflation_of(loop, since, until):
    """(index, is_made) of the frame with the changes after `since` up to `until`: where it is, or is to be made."""
    for index in range(CONFLATIONS):
        if loop.conflations[index].since == since and loop.conflations[index].until == until:
            return index, True
    return int(loop.queues[0].conflation_next), False


@kernel
def _conflated(loop, shown, since, until):
    """The whole canvas's changes after `since` in `loop.conflated`, made once for all at the same cursor."""
    index, is_made = conflation_of(loop, since, until)
    conflation = loop.conflations[index]
    if not is_made:
        rules = shown.rules[0]
        tiles = (0, 0, int(rules.tiles_across), int(rules.tiles_down))
        room = len(loop.conflated) // CONFLATIONS
        base = index * room
        start, end, pixels = encode_region(shown, tiles, since, until, loop.conflated[base : base + room])
        conflation.since = since
        conflation.until = until
        conflation.start = base + start
        conflation.end = base + end
        conflation.pixel_count = pixels
        loop.queues[0].conflation_next = (index + 1) % CONFLATIONS
    return int(conflation.start), int(conflation.end), int(conflation.pixel_count)


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
    if connection.interval_ns <= loop.queues[0].tick_ns:  # Else the interval is why: it need not lag.
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
    # One that is late by more than half a tick, because it had nothing to get or no room, is owed no more for that.
    due_ns = max(int(connection.due_ns), now_ns - int(loop.queues[0].tick_ns) // 2)
    connection.due_ns = due_ns + connection.interval_ns


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
def check_conduct(loop, canvas, slot, now_ns):
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
