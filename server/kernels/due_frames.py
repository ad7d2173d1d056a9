"""What each connection is due: the frame that it lacks, a report of its drops, or the end that its conduct requires.

A connection is a cursor: the tick up to which it has everything. A connection at the last broadcast gets the shared
bytes; one that lags, for any reason, gets a frame of its own with the newest colours (conflation). This module decides
and writes frames; the loops send them, so nothing here makes a system call.
"""

from server.kernels.arrays import CONFLATIONS
from server.kernels.decode import hand_over
from server.kernels.encode import encode_region, gather_region
from server.kernels.kernel import kernel
from server.kernels.layout import HEAD_ROOM, Phase, Reason, Source
from server.wire import BINARY_FRAME, FULL_BLOCK_BYTES, THROTTLED, THROTTLED_FRAME_BYTES, DropReason, ServerOp

_THROTTLED = int(ServerOp.THROTTLED)
_THROTTLED_BYTES = THROTTLED.size
_BY_RATE, _BY_OVERLOAD, _BY_BOUNDS = int(DropReason.RATE), int(DropReason.OVERLOAD), int(DropReason.OUT_OF_BOUNDS)
_REPORT_NS = 1_000_000_000
_PAUSE_NS = 1_000_000_000
# Slots between the first of a sweep and of the next. A prime above every slot count: whatever that is, each slot is the
# first in turn. Near the golden ratio of 2**32, so that the first ones of a few sweeps are far apart.
_STRIDE = 2_654_435_761


@kernel
def waiting(connection):
    """Bytes in a connection's outbox."""
    return int(connection.outbox_end) - int(connection.outbox_start)


@kernel
def begin_sweep(loop, tick_ns):
    """Begin a new tick's sweep over all slots, at a different slot than last time, so that none is always first.

    tick_ns: the current tick interval.
    """
    queues = loop.queues[0]
    queues.tick_ns = tick_ns
    queues.fanout_position = 0
    if queues.slot_end > 0:
        queues.fanout_first = (int(queues.fanout_first) + _STRIDE) % int(queues.slot_end)


@kernel
def sweep_rest(loop):
    """Number of slots not visited yet in this sweep."""
    queues = loop.queues[0]
    return int(queues.slot_end) - int(queues.fanout_position)


@kernel
def next_due(loop, broadcast, now_ns):
    """Advance the sweep to the next slot that is due a delta and can take one; -1 when the sweep is done."""
    queues = loop.queues[0]
    newest = broadcast.head[0].tick
    # A delta goes with the nearest sweep, which may be half a tick before it is due.
    until_ns = now_ns + int(queues.tick_ns) // 2
    while queues.fanout_position < queues.slot_end:
        slot = (int(queues.fanout_first) + int(queues.fanout_position)) % int(queues.slot_end)
        queues.fanout_position += 1
        connection = loop.connections[slot]
        if connection.subscribed and connection.cursor < newest and connection.due_ns <= until_ns:
            # A socket with an unfinished frame is full: its changes are conflated when it has room again.
            if waiting(connection) == 0:
                return slot
    return -1


@kernel
def conflation_of(loop, since, until):
    """(index, is_made) of the frame with the changes after `since` up to `until`: its place, and whether it exists."""
    for index in range(CONFLATIONS):
        if loop.conflations[index].since == since and loop.conflations[index].until == until:
            return index, True
    # The oldest one is overwritten. Viewers that still need it have it made again.
    return int(loop.queues[0].conflation_next), False


@kernel
def _conflated(loop, shown, since, until):
    """Frame in `loop.conflated` with the canvas's changes after `since`, made once for all viewers at that cursor."""
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
    """Whether a connection's region is the whole canvas."""
    rules = canvas.rules[0]
    at_origin = connection.tile_x0 == 0 and connection.tile_y0 == 0
    return at_origin and connection.tile_x1 == rules.tiles_across and connection.tile_y1 == rules.tiles_down


@kernel
def choose_frame(loop, canvas, broadcast, connection, out):
    """Choose the frame that brings a connection up to the newest tick.

    broadcast, canvas: read. out: uint8, room for HEAD_ROOM and one block per tile of the region, written when the frame
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
    # With a longer interval, a viewer lacks several ticks because it asked for that, and does not lag.
    if connection.interval_ns <= loop.queues[0].tick_ns:
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
    # The due time advances by the interval with each delta, so that the long-run rate is the one asked for. A viewer
    # late by more than half a tick had no changes or no room: it gets no extra deltas for that. So two deltas are never
    # closer than the interval less one tick.
    due_ns = max(int(connection.due_ns), now_ns - int(loop.queues[0].tick_ns) // 2)
    connection.due_ns = due_ns + connection.interval_ns


@kernel
def is_reported_to(connection, now_ns):
    """Whether to send a THROTTLED: placements were dropped since the last one, which is at least a second ago."""
    dropped = connection.throttled_count + connection.shed_count + connection.out_of_bounds_count
    unreported = (dropped & 0xFFFFFFFF) != connection.dropped_reported
    # A report is not queued behind bytes that the peer does not take: its numbers would be old when it arrives.
    if not unreported or connection.closing or waiting(connection) > 0:
        return False
    return now_ns - connection.reported_ns >= _REPORT_NS


@kernel
def write_report(canvas, connection, now_ns, out):
    """Write a THROTTLED: the number of dropped placements since the connection opened, and the latest reason.

    connection: `dropped_reported` and `reported_ns` written. out: uint8, THROTTLED_FRAME_BYTES of it written.
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
    out[0], out[1], out[2], out[3] = BINARY_FRAME, _THROTTLED_BYTES, _THROTTLED, reason
    out[4], out[5] = retry_ms & 0xFF, retry_ms >> 8
    for i in range(4):
        out[6 + i] = (dropped >> (8 * i)) & 0xFF
    connection.dropped_reported = dropped
    connection.reported_ns = now_ns


@kernel
def is_patrolled(connection):
    """Whether a connection speaks the canvas protocol, so that its conduct is checked."""
    return connection.phase != Phase.FREE and connection.phase != Phase.DEAD and connection.opened_ns != 0


@kernel
def check_conduct(loop, canvas, slot, now_ns):
    """Hand a connection to the slow path that takes no bytes for too long or stays over its limit. Writes its times."""
    rules = canvas.rules[0]
    connection = loop.connections[slot]
    # A connection that is owed nothing is not stalled, however long it is silent.
    if not connection.blocked and waiting(connection) == 0:
        connection.progress_ns = now_ns
    elif now_ns - connection.progress_ns > rules.stall_ns:
        hand_over(loop, slot, 0, 0, Reason.STALLED)
        return  # It is reset, whatever its limit says: `handovers` has room for one end per slot.
    if now_ns - connection.over_ns > _PAUSE_NS:
        connection.over_since_ns = 0
    elif rules.evict_ns > 0 and connection.over_since_ns > 0:
        if now_ns - connection.over_since_ns > rules.evict_ns:
            hand_over(loop, slot, 0, 0, Reason.OVER_LIMIT)


@kernel
def take_arrivals(loop, arrivals, count):
    """Turn each arrival into a segment, with the connection's carry in front of it.

    arrivals: ARRIVAL, `count` of them read; CARRY_BYTES of the arena before each are free. loop.segments: appended
    to. loop.connections: carry emptied. Owner: this loop. Cost: O(carried bytes). The caller has made room.
    """
    queues = loop.queues[0]
    counts = loop.counts[0]
    for i in range(count):
        arrival = arrivals[i]
        connection = loop.connections[arrival.slot]
        carry = int(connection.carry_bytes)
        start = int(arrival.start) - carry
        for j in range(carry):
            loop.arena[start + j] = loop.carry[arrival.slot, j]
        connection.carry_bytes = 0
        connection.in_arena = 1
        segment = loop.segments[queues.segment_end]
        segment.slot = arrival.slot
        segment.start = start
        segment.end = arrival.end
        queues.segment_end += 1
        counts.read_count += 1
        counts.received_bytes += arrival.end - arrival.start
        connection.received_bytes += arrival.end - arrival.start


@kernel
def _fits(loop, canvas, broadcast, connection, scratch_end, conflations_used):
    """Whether this connection's frame can be made without overwriting one that waits to be sent."""
    if watches_whole(canvas, connection):
        # A frame that an earlier offer of this batch refers to must stay until it is sent.
        index, is_made = conflation_of(loop, int(connection.cursor), int(broadcast.head[0].tick))
        return is_made or not (conflations_used >> index) & 1
    across = int(connection.tile_x1) - int(connection.tile_x0)
    down = int(connection.tile_y1) - int(connection.tile_y0)
    return scratch_end + HEAD_ROOM + across * down * FULL_BLOCK_BYTES <= len(loop.scratch)


@kernel
def choose_offers(loop, canvas, broadcast, now_ns, offers):
    """Continue the sweep: choose the next frames to send, at most len(offers).

    offers: OFFER, filled from 0. loop.scratch, conflated: overwritten from their start. canvas, broadcast: read.
    Cost: O(slots) and one frame per slot that is not at the last broadcast. Returns their number; 0: the sweep is done.
    """
    # The portable loop calls `recv` and `send` in Python; one call here handles hundreds of its connections. The frames
    # of a batch stay valid until the next batch is chosen.
    queues = loop.queues[0]
    chosen = 0
    scratch_end = 0
    conflations_used = 0
    while chosen < len(offers):
        slot = next_due(loop, broadcast, now_ns)
        if slot < 0:
            break
        connection = loop.connections[slot]
        if not _fits(loop, canvas, broadcast, connection, scratch_end, conflations_used):
            queues.fanout_position -= 1  # Its turn comes with the next batch.
            break
        source, start, end, pixels = choose_frame(loop, canvas, broadcast, connection, loop.scratch[scratch_end:])
        if source == Source.OWN:
            start += scratch_end
            end += scratch_end
            scratch_end = end
        elif source == Source.CONFLATED:
            conflations_used |= 1 << (start // (len(loop.conflated) // CONFLATIONS))
        if end == start:
            connection.blocked = 0
            connection.cursor = broadcast.head[0].tick
            continue
        offer = offers[chosen]
        offer.slot = slot
        offer.source = source
        offer.start = start
        offer.end = end
        offer.pixel_count = pixels
        chosen += 1
    return chosen


@kernel
def settle_offers(loop, broadcast, offers, count, now_ns):
    """Move the cursors of connections whose sockets took at least a part of their frame; mark the others.

    offers: OFFER, `count` of them read. loop.connections, counts: written in place. Cost: O(count).
    """
    counts = loop.counts[0]
    for i in range(count):
        offer = offers[i]
        connection = loop.connections[offer.slot]
        counts.send_count += 1
        if offer.taken == 0:
            connection.blocked = 1
        elif offer.taken > 0:
            counts.sent_bytes += offer.taken
            connection.sent_bytes += offer.taken
            connection.progress_ns = now_ns
            connection.blocked = 0
            connection.cursor = broadcast.head[0].tick
            note_delta(loop, connection, offer.end - offer.start, offer.pixel_count, now_ns)


@kernel
def patrol_dues(loop, canvas, now_ns, offers):
    """Check every connection: write due reports, and hand over those that stall or stay over the limit.

    offers: OFFER, filled from 0 with frames in `loop.scratch`; a report that does not fit there is written by the
    next patrol. loop.connections: written in place. Cost: O(slots). Returns the number of reports.
    """
    written = 0
    for slot in range(int(loop.queues[0].slot_end)):
        connection = loop.connections[slot]
        if is_patrolled(connection):
            start = written * THROTTLED_FRAME_BYTES
            has_room = written < len(offers) and start + THROTTLED_FRAME_BYTES <= len(loop.scratch)
            if has_room and is_reported_to(connection, now_ns):
                write_report(canvas, connection, now_ns, loop.scratch[start:])
                offer = offers[written]
                offer.slot = slot
                offer.source = Source.OWN
                offer.start = start
                offer.end = start + THROTTLED_FRAME_BYTES
                written += 1
            check_conduct(loop, canvas, slot, now_ns)
    return written
