"""Fan-out of the native loop: outboxes of single connections, and each tick's deltas sent from the shared bytes.

An outbox holds bytes that go before any further delta: answers, and the rest of a frame. `outbox_bytes` of the loop is
the sum held. A slow consumer delays no other connection and costs at most the rest of one frame.
"""

from server.kernels import libc
from server.kernels.decode import hand_over
from server.kernels.due_frames import (
    check_conduct,
    choose_frame,
    is_patrolled,
    is_reported_to,
    next_due,
    note_delta,
    waiting,
    write_report,
)
from server.kernels.kernel import address_of, kernel
from server.kernels.layout import HELD_BYTES_MAX, HELD_BYTES_RESUME, Phase, Reason, Source
from server.wire import THROTTLED_FRAME_BYTES


@kernel
def watch_socket(loop, epoll_fd, connection):
    """Register with epoll what the connection waits for: readable unless paused, writable if its outbox holds bytes."""
    interest = libc.EPOLLRDHUP
    if not connection.reading_paused:
        interest |= libc.EPOLLIN
    if connection.writable_armed:
        interest |= libc.EPOLLOUT
    fd = int(connection.fd)
    # The event record is built at the end of `events`, behind what epoll_wait fills.
    at = len(loop.events) - 16
    loop.events[at : at + 16] = 0
    for i in range(4):
        loop.events[at + i] = (interest >> (8 * i)) & 0xFF
        loop.events[at + libc.EVENT_DATA + i] = (fd >> (8 * i)) & 0xFF
    libc.epoll_ctl(epoll_fd, libc.EPOLL_CTL_MOD, fd, address_of(loop.events) + at)


@kernel
def release(loop, connection):
    """Free an outbox with what it holds."""
    loop.counts[0].outbox_bytes -= waiting(connection)
    if connection.outbox_pointer != 0:
        libc.free(connection.outbox_pointer)
    connection.outbox_pointer = 0
    connection.outbox_start = 0
    connection.outbox_end = 0
    connection.outbox_size = 0


@kernel
def hold(loop, connection, source, count):
    """Append `count` bytes at address `source` to the outbox. False when there is no memory; nothing changed then."""
    # From malloc, because kernels cannot allocate arrays; freed when it is empty, so that idle connections hold none.
    held = waiting(connection)
    if connection.outbox_end + count > connection.outbox_size:
        # Doubled, so that many small answers are copied a few times only.
        size = max(held + count, 2 * held, 256)
        pointer = libc.malloc(size)
        if pointer == 0:
            return False
        if held > 0:
            libc.memcpy(pointer, connection.outbox_pointer + connection.outbox_start, held)
        if connection.outbox_pointer != 0:
            libc.free(connection.outbox_pointer)
        connection.outbox_pointer = pointer
        connection.outbox_start = 0
        connection.outbox_end = held
        connection.outbox_size = size
    libc.memcpy(connection.outbox_pointer + connection.outbox_end, source, count)
    connection.outbox_end += count
    loop.counts[0].outbox_bytes += count
    return True


@kernel
def end_connection(loop, slot, reason):
    """End the stream: nothing more is read or sent, and one handover tells Python."""
    connection = loop.connections[slot]
    # Only once: `handovers` has room for one end of each slot.
    if connection.phase != Phase.DEAD and connection.phase != Phase.FREE:
        connection.phase = Phase.DEAD
        loop.counts[0].subscriber_count -= connection.subscribed
        connection.subscribed = 0
        release(loop, connection)
        hand_over(loop, slot, 0, 0, reason)


@kernel
def send_some(loop, slot, source, count, now_ns):
    """Send bytes. Returns how many the socket took; -1 when the connection is over."""
    connection = loop.connections[slot]
    taken = libc.send(connection.fd, source, count, libc.MSG_DONTWAIT | libc.MSG_NOSIGNAL)
    counts = loop.counts[0]
    counts.send_count += 1
    if taken < 0:
        if libc.would_block():
            return 0
        end_connection(loop, slot, Reason.ENDED)
        return -1
    if taken > 0:
        connection.progress_ns = now_ns
        counts.sent_bytes += taken
        connection.sent_bytes += taken
    return taken


@kernel
def _settle(loop, epoll_fd, connection):
    """After bytes were held or sent: update EPOLLOUT, and pause or resume reading at the water marks."""
    held = waiting(connection)
    armed = held > 0
    paused = held > HELD_BYTES_MAX or (connection.reading_paused and held > HELD_BYTES_RESUME)
    # epoll_ctl is a system call: it is made for changes only.
    if armed != connection.writable_armed or paused != connection.reading_paused:
        connection.writable_armed = armed
        connection.reading_paused = paused
        watch_socket(loop, epoll_fd, connection)


@kernel
def flush(loop, epoll_fd, slot, now_ns):
    """Send what the outbox holds, as far as the socket takes it. Closes a connection that is marked for closing."""
    connection = loop.connections[slot]
    held = waiting(connection)
    if held > 0:
        taken = send_some(loop, slot, connection.outbox_pointer + connection.outbox_start, held, now_ns)
        if taken < 0:
            return
        connection.outbox_start += taken
        loop.counts[0].outbox_bytes -= taken
        if taken == held:
            release(loop, connection)
    _settle(loop, epoll_fd, connection)
    if connection.closing and waiting(connection) == 0:
        end_connection(loop, slot, Reason.FLUSHED)


@kernel
def send_or_hold(loop, epoll_fd, slot, source, count, now_ns):
    """Send `count` bytes at address `source` after the outbox; hold what the socket does not take.

    Returns False when the connection is over.
    """
    connection = loop.connections[slot]
    taken = 0
    if waiting(connection) == 0:
        taken = send_some(loop, slot, source, count, now_ns)
        if taken < 0:
            return False
    if taken < count:
        if not hold(loop, connection, source + taken, count - taken):
            end_connection(loop, slot, Reason.ENDED)
            return False
        _settle(loop, epoll_fd, connection)
    return True


@kernel
def post(loop, epoll_fd, slot, data, now_ns):
    """Send the bytes of a uint8 array, as `send_or_hold`."""
    if len(data) == 0:
        return True
    return send_or_hold(loop, epoll_fd, slot, address_of(data), len(data), now_ns)


@kernel
def _deliver(loop, canvas, broadcast, epoll_fd, slot, now_ns):
    """Send one connection the frame that it lacks. Moves its cursor when the socket took at least a part."""
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
        # Its cursor stays: the next frame brings these changes too, in the newest colours.
        if taken == 0:
            connection.blocked = 1
            return
        # A frame once begun has to be finished before any other bytes.
        if taken < count and not send_or_hold(loop, epoll_fd, slot, address + taken, count - taken, now_ns):
            return
        note_delta(loop, connection, count, pixels, now_ns)
    connection.blocked = 0
    connection.cursor = broadcast.head[0].tick


@kernel
def fan_out(loop, canvas, broadcast, epoll_fd, now_ns, sends_max):
    """Continue the sweep until it is done or `sends_max` frames were offered.

    loop.connections: cursor and due time written. broadcast, canvas: read. loop.scratch, conflated: overwritten.
    Cost: O(slots) and one `send` per frame. Returns the number of frames offered.
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
    """Check every connection: report drops (at most once a second), hand over those that stall or stay over the limit.

    loop.connections: written in place. Cost: O(slots), a few nanoseconds each, and one `send` per report.
    """
    for slot in range(int(loop.queues[0].slot_end)):
        connection = loop.connections[slot]
        if is_patrolled(connection):
            if is_reported_to(connection, now_ns):
                write_report(canvas, connection, now_ns, loop.scratch)
                post(loop, epoll_fd, slot, loop.scratch[:THROTTLED_FRAME_BYTES], now_ns)
            check_conduct(loop, canvas, slot, now_ns)
