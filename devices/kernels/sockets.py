"""The compiled half of the dialer: the pass that writes to and reads from the sockets of a fleet. Linux only.

`turn` writes what is due, reads what arrived, and waits for either, without the interpreter lock, until its time is
over or Python is needed: the verdict says for what, the cursor for which device. The next call resumes there.

Invariants: bytes of a connection are sent and decoded in order, whichever path takes them. While a device has unsent
bytes it is off its schedule, and EPOLLOUT is registered unless it is stalled.
"""

import numpy as np

from devices.kernels.frames import put_batch, put_nonce
from devices.kernels.layout import EVENTS_MAX, NEVER_NS, READ_BYTES_MAX, Phase, Verdict
from devices.kernels.probes import begin_probe, forget_probes, probe_weight
from devices.kernels.regions import read_u32
from devices.kernels.schedule import arm, fill_batch, next_due
from devices.kernels.viewer import move_viewer, receive_message
from server import wire
from server.kernels import libc
from server.kernels.histogram import record
from server.kernels.kernel import address_of, kernel

_SEND_FLAGS = libc.MSG_DONTWAIT | libc.MSG_NOSIGNAL
_CONTROL_EVENT = EVENTS_MAX * libc.EVENT_BYTES


@kernel
def _watch(arrays, links, d, writable):
    """Register device d for EPOLLIN, unless it does not read, and EPOLLOUT if `writable`; for neither while stalled."""
    device, events = arrays.devices[d], links.events
    device.writable_armed = writable
    wanted = (0 if device.slow else libc.EPOLLIN) | (libc.EPOLLOUT if writable else 0)
    # EPOLLERR and EPOLLHUP are always reported, so a stalled device still notices a reset.
    events[_CONTROL_EVENT] = 0 if device.stalled else wanted
    for i in range(1, libc.EVENT_BYTES):
        events[_CONTROL_EVENT + i] = 0
    for i in range(4):
        events[_CONTROL_EVENT + libc.EVENT_DATA + i] = (device.fd >> (8 * i)) & 0xFF
    event = address_of(events) + _CONTROL_EVENT
    libc.epoll_ctl(links.cursor[0].epoll_fd, libc.EPOLL_CTL_MOD, device.fd, event)


@kernel
def update_interest(arrays, links, d):
    """Update epoll and the schedule after the caller has changed `slow` or `stalled` of device d."""
    _watch(arrays, links, d, 1 if arrays.devices[d].rest_end > 0 else 0)
    arm(arrays, d)


@kernel
def keep_rest(arrays, links, d, address, size):
    """Append `size` bytes at `address` to device d's unsent bytes, and register for EPOLLOUT."""
    device = arrays.devices[d]
    held = np.int64(device.rest_end) - np.int64(device.rest_start)
    # malloc, because a structured dtype can hold a pointer, but no array that numba owns.
    grown = libc.malloc(held + size)
    if held:
        libc.memcpy(grown, device.rest_pointer + np.int64(device.rest_start), held)
        libc.free(device.rest_pointer)
    libc.memcpy(grown + held, address, size)
    device.rest_pointer = grown
    device.rest_start = 0
    device.rest_end = held + size
    if not device.writable_armed:
        _watch(arrays, links, d, 1)
    arm(arrays, d)


@kernel
def send_some(arrays, d, address, size):
    """One send call. Returns the bytes taken, 0 when the socket is full or broken: reading detects a broken one."""
    counters = arrays.counters[0]
    taken = libc.send(arrays.devices[d].fd, address, size, _SEND_FLAGS)
    counters.write_count += 1
    if taken > 0:
        counters.sent_bytes += taken
    return max(taken, 0)


@kernel
def send_bytes(arrays, links, d, data):
    """Send bytes of the slow path after all unsent bytes of device d. data: (n,) u1, n > 0, copied if kept."""
    address, taken = address_of(data), 0
    if arrays.devices[d].rest_end == 0:
        taken = send_some(arrays, d, address, len(data))
    if taken < len(data):
        keep_rest(arrays, links, d, address + taken, len(data) - taken)


@kernel
def flush(arrays, links, d):
    """Send unsent bytes; when none are left, the device returns to its schedule."""
    device = arrays.devices[d]
    size = np.int64(device.rest_end) - np.int64(device.rest_start)
    taken = send_some(arrays, d, device.rest_pointer + np.int64(device.rest_start), size)
    device.rest_start += taken
    if device.rest_start < device.rest_end:
        return
    arrays.counters[0].sent_count += device.rest_frames
    libc.free(device.rest_pointer)
    device.rest_pointer = 0
    device.rest_start = 0
    device.rest_end = 0
    device.rest_frames = 0
    _watch(arrays, links, d, 0)
    arm(arrays, d)


# Least time between two polls of the sockets: a broadcast reaches thousands of them one by one, and a wakeup for each
# would cost more than the reading. Adds at most this much to a measured latency.
STEP_NS = 1_000_000

# Batches written before the sockets are read again, a few milliseconds of work, so that a fleet that is behind its
# schedule still reads.
WRITES_A_STEP = 512

# Limit of the viewers' brake per step. Unread data waits in the sockets, and then at the server.
BRAKE_NS_A_STEP = 20_000_000
_SLEEP_NS_LEAST = 1_000_000

_CONNECTING, _SLOW, _FAST = int(Phase.CONNECTING), int(Phase.SLOW), int(Phase.FAST)
_DONE, _UNKNOWN, _VIOLATION = int(Verdict.DONE), int(Verdict.UNKNOWN), int(Verdict.VIOLATION)
_HANDOVER, _CONNECTED, _ENDED = int(Verdict.HANDOVER), int(Verdict.CONNECTED), int(Verdict.ENDED)
_READABLE = libc.EPOLLIN | libc.EPOLLERR | libc.EPOLLHUP | libc.EPOLLRDHUP
_DELTA = int(wire.ServerOp.DELTA)


@kernel
def _add_probe(arrays, links, d, size):
    """Append a PING to a write of `size` bytes if the batch is probed. Returns the new size."""
    weight = probe_weight(arrays, d)
    if weight < 0:
        return size
    nonce = put_nonce(arrays, links.outgoing, size)
    begin_probe(arrays, d, d, weight, nonce, links.words, size // 4, libc.monotonic_ns())
    return size + wire.PING_FRAME_BYTES


@kernel
def _write_batch(arrays, links, d, now_ns):
    """Write the batch of device d, which is due, and draw the next."""
    device, counters = arrays.devices[d], arrays.counters[0]
    late_us = max((now_ns - device.wake_ns) // 1000, 0)
    record(arrays.lateness, late_us, 1)
    arrays.lateness_max_us[0] = max(arrays.lateness_max_us[0], late_us)
    count = np.int64(device.batch_count)
    size = put_batch(arrays, d, links.words, 0)
    size = _add_probe(arrays, links, d, size)
    address = address_of(links.outgoing)
    taken = send_some(arrays, d, address, size)
    frames = min(taken // wire.PLACE_FRAME_BYTES, count)
    counters.sent_count += frames
    fill_batch(arrays, d)
    # A frame that was cut is counted when its rest leaves: `flush` adds `rest_frames`.
    if taken < size:
        counters.blocked_count += 1
        device.rest_frames = count - frames
        keep_rest(arrays, links, d, address + taken, size - taken)
    else:
        arm(arrays, d)


@kernel
def _write_due(arrays, links, now_ns):
    """Write due batches, at most WRITES_A_STEP, from the cursor's position. Returns when to write next.

    That is `now_ns` when some are left until the sockets have been read; NEVER_NS when nothing is scheduled.
    """
    due_ns, cursor = arrays.due_ns, links.cursor[0]
    earliest_ns = NEVER_NS
    # Two laps from where the last call stopped, so that a fleet that is behind serves all devices alike.
    middle, written = np.int64(cursor.write_index), 0
    for lap in range(2):
        d, end = (middle, len(due_ns)) if lap == 0 else (0, middle)
        while True:
            d, passed_ns = next_due(due_ns, d, end, now_ns)
            earliest_ns = min(earliest_ns, passed_ns)
            if d == end:
                break
            if written == WRITES_A_STEP:
                cursor.write_index = d
                return now_ns
            _write_batch(arrays, links, d, now_ns)
            earliest_ns = min(earliest_ns, due_ns[d])
            written += 1
            d += 1
    return earliest_ns


@kernel
def _keep_carry(arrays, links, d):
    """Keep the arena's undecoded bytes until the rest of their frame arrives."""
    device, cursor = arrays.devices[d], links.cursor[0]
    size = cursor.end - cursor.start
    if size > 0:
        device.carry_pointer = libc.malloc(size)
        libc.memcpy(device.carry_pointer, address_of(links.arena) + cursor.start, size)
    device.carry_bytes = size


@kernel
def take_carry(arrays, links, d):
    """Move device d's carry to the start of the arena. Returns its length."""
    device = arrays.devices[d]
    size = np.int64(device.carry_bytes)
    if size > 0:
        libc.memcpy(address_of(links.arena), device.carry_pointer, size)
        libc.free(device.carry_pointer)
        device.carry_pointer = 0
        device.carry_bytes = 0
    return size


@kernel
def _read(arrays, links, d):
    """Receive from the socket of device d, after its carry. Returns DONE (with or without bytes), HANDOVER or ENDED."""
    device, cursor = arrays.devices[d], links.cursor[0]
    held = take_carry(arrays, links, d)
    taken = libc.recv(device.fd, address_of(links.arena) + held, READ_BYTES_MAX, libc.MSG_DONTWAIT)
    cursor.start = 0
    cursor.end = held + max(taken, 0)
    cursor.subject = d
    if taken <= 0:
        cursor.failure = 0 if taken == 0 else libc.error_number()
        # Stale events are possible: epoll may report a descriptor that was closed and opened again.
        if taken == 0 or not libc.would_block():
            return _ENDED
        _keep_carry(arrays, links, d)
        return _DONE
    arrays.counters[0].received_bytes += taken
    if device.phase == _FAST:
        cursor.device = d
        return _DONE
    return _HANDOVER


@kernel
def _frame_size(links, at, available):
    """Head and payload length of the server frame at `at`, or (0, 0) while its head is incomplete."""
    arena = links.arena
    size = np.int64(arena[at + 1])
    if size < wire.LENGTH_16:
        return wire.SERVER_HEAD_BYTES, size
    if size == wire.LENGTH_16:
        if available < wire.SERVER_HEAD_BYTES + 2:
            return 0, 0
        return wire.SERVER_HEAD_BYTES + 2, np.int64(arena[at + 2]) << 8 | np.int64(arena[at + 3])
    if available < wire.SERVER_HEAD_BYTES_MAX:
        return 0, 0
    size = 0
    for i in range(8):
        size = size << 8 | np.int64(arena[at + 2 + i])
    return wire.SERVER_HEAD_BYTES_MAX, size


@kernel
def _decode(arrays, links, now_ns):
    """Decode the complete frames in the arena and keep the rest as carry. Returns a Verdict."""
    cursor = links.cursor[0]
    d = cursor.device
    while cursor.end - cursor.start >= 2:
        at, available = np.int64(cursor.start), np.int64(cursor.end - cursor.start)
        if links.arena[at] != wire.BINARY_FRAME or links.arena[at + 1] & wire.MASK:
            # Control frames, fragments and masked frames go to the Connection, which stays the only judge of RFC 6455.
            arrays.devices[d].phase = _SLOW
            arm(arrays, d)
            cursor.device = -1
            return _HANDOVER
        head, size = _frame_size(links, at, available)
        cursor.message, cursor.size = at + head, size
        if size < 0 or size > cursor.frame_bytes_max:
            return _VIOLATION
        if head == 0 or available < head + size:
            break
        verdict = receive_message(arrays, d, links.arena, at + head, size, now_ns)
        if verdict != _DONE:
            return verdict
        if arrays.settings[0].brake_ns and size > 0 and links.arena[at + head] == _DELTA:
            cursor.braked_ns += arrays.settings[0].brake_ns
        cursor.start = at + head + size
    _keep_carry(arrays, links, d)
    cursor.device = -1
    return _DONE


@kernel
def _brake(cursor):
    """Sleep for the brake time that viewers owe, once it is long enough for a sleep. Returns the time slept, in ns."""
    owed_ns = np.int64(cursor.braked_ns)
    if owed_ns < _SLEEP_NS_LEAST:
        return 0
    cursor.braked_ns = 0
    libc.usleep(owed_ns // 1000)
    return owed_ns


@kernel
def _serve_events(arrays, links):
    """Serve each ready socket in turn, from the cursor's position. Returns a Verdict.

    With a brake on, some may be left to the next step, so that there is time to send.
    """
    cursor, events = links.cursor[0], links.events
    spent_ns = 0
    while True:
        if cursor.device >= 0:
            verdict = _decode(arrays, links, libc.monotonic_ns())
            if verdict != _DONE:
                return verdict
        spent_ns += _brake(cursor)
        if cursor.event_index >= cursor.event_count or spent_ns >= BRAKE_NS_A_STEP:
            return _DONE
        at = np.int64(cursor.event_index) * libc.EVENT_BYTES
        cursor.event_index += 1
        bits, d = read_u32(events, at), links.device_of_fd[read_u32(events, at + libc.EVENT_DATA)]
        # Its device ended earlier in this batch of events.
        if d < 0:
            continue
        if arrays.devices[d].phase == _CONNECTING:
            cursor.subject = d
            return _CONNECTED
        if bits & libc.EPOLLOUT and arrays.devices[d].rest_end > 0:
            flush(arrays, links, d)
        if bits & _READABLE:
            verdict = _read(arrays, links, d)
            if verdict != _DONE:
                return verdict


@kernel
def _is_scan_due(cursor, now_ns):
    """Whether to scan for due devices: at most once per step, at once when the last scan left some."""
    if cursor.next_ns <= cursor.scanned_ns:
        return True
    may_be_due = now_ns >= cursor.next_ns or cursor.event_count > 0
    return may_be_due and now_ns - cursor.scanned_ns >= STEP_NS


@kernel
def turn(arrays, links, until_ns):
    """Drive all sockets until `until_ns`, or until Python is needed. Returns a Verdict; the device is in the cursor.

    Writes both arguments. Cost: a scan of due_ns per step, a system call per write or read. Descriptors in the events
    are the registered ones, so they lie within device_of_fd; recv is bounded by the arena, which exceeds the longest
    carry by READ_BYTES_MAX.
    """
    cursor = links.cursor[0]
    if cursor.next_ns > cursor.scanned_ns:
        cursor.next_ns = cursor.scanned_ns + 1  # Python may have made any device due since the last turn.
    while True:
        begun_ns = libc.monotonic_ns()
        verdict = _serve_events(arrays, links)
        if verdict != _DONE:
            return verdict
        now_ns = libc.monotonic_ns()
        if _is_scan_due(cursor, now_ns):
            cursor.next_ns = _write_due(arrays, links, now_ns)
            cursor.scanned_ns = now_ns
            now_ns = libc.monotonic_ns()
        is_over = now_ns >= until_ns
        if cursor.event_index < cursor.event_count:
            if is_over:
                return _DONE
            continue  # The brake was on: the sockets not served yet come next.
        is_behind = cursor.next_ns <= cursor.scanned_ns
        if not is_over and not is_behind and cursor.event_count < EVENTS_MAX and now_ns - begun_ns < STEP_NS:
            libc.usleep((STEP_NS - (now_ns - begun_ns)) // 1000)
            now_ns = libc.monotonic_ns()
        wait_ms = max((min(cursor.next_ns, until_ns) - now_ns) // 1_000_000, 0)
        count = libc.epoll_wait(cursor.epoll_fd, address_of(links.events), EVENTS_MAX, wait_ms)
        cursor.event_index = 0
        cursor.event_count = max(count, 0)
        if is_over:
            return _DONE  # Only after polling: however long the writes took, the next turn reads.


@kernel
def release(arrays, d):
    """Free the buffers and the view of device d, so that it can be dialed again. Sets its phase to GONE.

    The caller has ended its schedule and closes its socket.
    """
    device = arrays.devices[d]
    arrays.counters[0].abandoned_count += device.rest_frames
    if device.rest_pointer:
        libc.free(device.rest_pointer)
    if device.carry_pointer:
        libc.free(device.carry_pointer)
    device.rest_pointer = 0
    device.carry_pointer = 0
    device.rest_start = 0
    device.rest_end = 0
    device.rest_frames = 0
    device.carry_bytes = 0
    forget_probes(arrays, d)
    device.ping_nonce = 0
    device.fenced = 0
    device.seen = 0
    device.dropped = 0
    device.stalled = 0
    device.writable_armed = 0
    device.phase = Phase.GONE
    device.fd = -1
    move_viewer(arrays, d, -1)
    arm(arrays, d)
