"""The portable loop's compiled half: what it received into segments, and the frames it is to send, many at a time.

The loop itself is Python and calls `recv` and `send`; one call of a kernel here serves hundreds of them. No system
call is made. Invariant: the frames of one batch of offers stay as they are until the next batch is chosen.
"""

from server.kernels.conflation import CONFLATIONS
from server.kernels.dues import (
    REPORT_BYTES,
    check_conduct,
    choose_frame,
    conflation_of,
    is_patrolled,
    is_reported_to,
    next_due,
    note_delta,
    watches_whole,
    write_report,
)
from server.kernels.kernel import kernel
from server.kernels.layout import BLOCK_BYTES_MAX, HEAD_ROOM, Source


@kernel
def take_arrivals(loop, arrivals, count):
    """Make each arrival a segment, with the connection's carry in front of it.

    arrivals: ARRIVAL, `count` of them read; CARRY_BYTES of the arena before each are free. loop.segments: appended
    to. loop.connections: carry emptied. Owner: this loop. Cost: O(carried bytes). The caller has asked for room.
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
    """True when this connection's frame can be made without overwriting one that waits to be sent."""
    if watches_whole(canvas, connection):
        index, is_made = conflation_of(loop, int(connection.cursor), int(broadcast.head[0].tick))
        return is_made or not (conflations_used >> index) & 1
    across = int(connection.tile_x1) - int(connection.tile_x0)
    down = int(connection.tile_y1) - int(connection.tile_y0)
    return scratch_end + HEAD_ROOM + across * down * BLOCK_BYTES_MAX <= len(loop.scratch)


@kernel
def choose_offers(loop, canvas, broadcast, now_ns, offers):
    """Go on with the sweep: the next frames to send, at most len(offers).

    offers: OFFER, filled from 0. loop.scratch, conflated: overwritten from their start. canvas, broadcast: read.
    Cost: O(slots) and a frame for each that is not at the last broadcast. Returns how many; 0 when the sweep is done.
    """
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
    """Move the cursors of those whose sockets took their frame or a part of it; mark those that took nothing.

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
    """Look at every connection: write the reports that are due, hand over who stalls or stays over the limit.

    offers: OFFER, filled from 0 with frames in `loop.scratch`; who finds no room there is reported to at the next
    patrol. loop.connections: written in place. Cost: O(slots). Returns the number of reports.
    """
    written = 0
    for slot in range(int(loop.queues[0].slot_end)):
        connection = loop.connections[slot]
        if is_patrolled(connection):
            start = written * REPORT_BYTES
            has_room = written < len(offers) and start + REPORT_BYTES <= len(loop.scratch)
            if has_room and is_reported_to(connection, now_ns):
                write_report(canvas, connection, now_ns, loop.scratch[start:])
                offer = offers[written]
                offer.slot = slot
                offer.source = Source.OWN
                offer.start = start
                offer.end = start + REPORT_BYTES
                written += 1
            check_conduct(loop, canvas, slot, now_ns)
    return written
