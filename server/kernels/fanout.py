"""Fan-out of the native loop: each tick every watching connection is offered all it lacks, once. And the patrol.

`dues` says what a connection is owed; this sends it from the bytes that all share. Invariant: nobody waits for a slow
consumer, which costs at most the rest of one frame.
"""

from server.kernels.dues import (
    REPORT_BYTES,
    check_conduct,
    choose_frame,
    is_patrolled,
    is_reported_to,
    next_due,
    note_delta,
    write_report,
)
from server.kernels.kernel import address_of, kernel
from server.kernels.layout import Source
from server.kernels.outbox import post, send_or_hold, send_some


@kernel
def _deliver(loop, canvas, broadcast, epoll_fd, slot, now_ns):
    """Offer one connection what it lacks. Moves its cursor when the socket took the frame or a part of it."""
    connection = loop.connections[slot]
    source, start, end, pixels = choose_frame(loop, canvas, broadcast, connection, loop.scratch)
    count = end - start
    if count > 0:
        address = start
        if source == Source.SHARED:
            address += address_of(broadcast.bytes)
        elif source == Source.CONFLATED:
            address += address_of(loop.conflated)
        else:
            address += address_of(loop.scratch)
        taken = send_some(loop, slot, address, count, now_ns)
        if taken < 0:
            return
        if taken == 0:
            connection.blocked = 1
            return
        if taken < count and not send_or_hold(loop, epoll_fd, slot, address + taken, count - taken, now_ns):
            return
        note_delta(loop, connection, count, pixels, now_ns)
    connection.blocked = 0
    connection.cursor = broadcast.head[0].tick


@kernel
def fan_out(loop, canvas, broadcast, epoll_fd, now_ns, sends_max):
    """Go on with the sweep until it is done or `sends_max` frames were offered.

    loop.connections: cursor and due time written. broadcast, canvas: read. loop.scratch, conflated: overwritten.
    Cost: O(slots) and a `send` a frame. Returns the number of frames offered.
    """
    offered = 0
    while offered < sends_max:
        slot = next_due(loop, broadcast, now_ns)
        if slot < 0:
            break
        _deliver(loop, canvas, broadcast, epoll_fd, slot, now_ns)
        offered += 1
    return offered


@kernel
def patrol(loop, canvas, epoll_fd, now_ns):
    """Look at every connection: report drops (at most once a second each), hand over who stalls or stays over.

    loop.connections: written in place. Cost: O(slots), a few nanoseconds each, and a `send` a report.
    """
    for slot in range(int(loop.queues[0].slot_end)):
        connection = loop.connections[slot]
        if is_patrolled(connection):
            if is_reported_to(connection, now_ns):
                write_report(canvas, connection, now_ns, loop.scratch)
                post(loop, epoll_fd, slot, loop.scratch[:REPORT_BYTES], now_ns)
            check_conduct(loop, canvas, slot, now_ns)
