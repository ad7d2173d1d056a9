"""The native loop's compiled half: epoll, recv and send through the C library, and the stages between them.

`run` is one call without the interpreter lock until Python is needed or the tick is due. Linux only.
"""

import numpy as np

from server.kernels import libc
from server.kernels.admit import admit
from server.kernels.apply import apply, pass_request
from server.kernels.brake import held_until, is_resting, rest, settle, step_items, take_up
from server.kernels.decode import decode, waiting_bytes
from server.kernels.due_frames import sweep_rest
from server.kernels.fan_out import end_connection, fan_out, flush, patrol, post
from server.kernels.journey import note_admitted, note_applied, note_decoded, note_reads, note_sent
from server.kernels.kernel import address_of, kernel
from server.kernels.layout import LISTENER, PATROL_NS, READ_BYTES_MAX, SENDS_A_STEP, WAKEUP, Phase, Reason, Stage, Wake
from server.kernels.queues import has_room, make_arena_room, make_message_room, make_placement_room
from server.wire import BINARY_FRAME, PLACE_FRAME_BYTES, PONG, PONG_FRAME_BYTES, ClientOp, ServerOp

# Least time between two looks at the sockets while they are busy: a wake-up for each write would cost more than the
# write. One that comes alone, after a pause, is served at once.
STEP_NS = 500_000
# Longest sleep while something is held back: sockets, tick and wake-up are looked at in between.
NAP_NS = 2_000_000
_EVENTS_MAX = 1000
_PING, _PONG = int(ClientOp.PING), int(ServerOp.PONG)
_PONG_BYTES = PONG.size


@kernel
def _look(stage, depth):
    """Note what waits in front of a stage that can do nothing now."""
    stage.depth = depth
    stage.depth_peak = max(stage.depth_peak, depth)


@kernel
def _note(stage, depth, items, busy_ns):
    """Add one batch to a stage's row of the telemetry page."""
    _look(stage, depth)
    stage.busy_ns += busy_ns
    stage.batch_count += 1
    stage.item_count += items
    stage.depth_sum += depth


@kernel
def _read_socket(loop, slot):
    """Receive what a socket has, behind the connection's carry, as one segment of the arena."""
    queues = loop.queues[0]
    connection = loop.connections[slot]
    start = int(queues.arena_end)
    carry = int(connection.carry_bytes)
    # The bytes are received behind the carry, so that a frame cut in two becomes whole.
    target = address_of(loop.arena) + start + carry
    taken = libc.recv(connection.fd, target, READ_BYTES_MAX, libc.MSG_DONTWAIT)
    if taken <= 0:
        if taken == 0 or not libc.would_block():
            end_connection(loop, slot, Reason.ENDED)
        return
    for i in range(carry):
        loop.arena[start + i] = loop.carry[slot, i]
    connection.carry_bytes = 0
    connection.in_arena = 1
    queues.arena_end = start + carry + taken
    segment = loop.segments[queues.segment_end]
    segment.slot = slot
    segment.start = start
    segment.end = start + carry + taken
    queues.segment_end += 1
    loop.counts[0].read_count += 1
    loop.counts[0].received_bytes += taken
    connection.received_bytes += taken


@kernel
def _has_backlog(loop):
    """True when a stage has left something."""
    queues = loop.queues[0]
    return queues.segment_end > 0 or queues.message_end > 0 or queues.placement_end > 0


@kernel
def _is_readable(loop, slot, bits):
    """True when a ready socket may be read now: it is over, or has bytes and none of it in the arena."""
    connection = loop.connections[slot]
    return bits & ~libc.EPOLLOUT and connection.phase != Phase.DEAD and not connection.in_arena


@kernel
def _await(loop, canvas, epoll_fd, timeout_ns):
    """Wait for sockets. Returns how many are ready; while something is held back these are more than can be read."""
    queues = loop.queues[0]
    is_braked = canvas.brakes[Stage.READ].item_ns > 0 or canvas.brakes[Stage.READ].batch_ns > 0
    if is_braked or _has_backlog(loop):
        if timeout_ns > 1000 and held_until(loop, libc.monotonic_ns()) > 0:
            libc.usleep(min(timeout_ns, NAP_NS) // 1000)
            timeout_ns = 0
    elif timeout_ns > 0:
        early_ns = queues.poll_ns + STEP_NS - libc.monotonic_ns()
        if early_ns > 0:
            libc.usleep(early_ns // 1000)
    events_max = _EVENTS_MAX
    if is_braked:
        events_max = len(loop.events) // libc.EVENT_BYTES - 2  # All of them: they are the queue.
    # Rounded up: rounded down, the last millisecond before a tick would be spent polling.
    timeout_ms = (timeout_ns + 999_999) // 1_000_000
    return libc.epoll_wait(epoll_fd, address_of(loop.events), events_max, timeout_ms)


@kernel
def _poll(loop, canvas, epoll_fd, timeout_ns):
    """Wait for sockets, then read and flush them. Returns Wake bits of the listener and the wake-up."""
    queues = loop.queues[0]
    is_roomy = make_arena_room(loop)
    count = _await(loop, canvas, epoll_fd, timeout_ns)
    begun_ns = libc.monotonic_ns()
    queues.poll_ns = begun_ns
    if count <= 0:
        return 0
    wake = 0
    allowed = 0
    if is_roomy:
        allowed = take_up(loop, canvas, Stage.READ, count, begun_ns)
    served, first = 0, int(queues.segment_end)
    for i in range(count):
        # epoll reports ready sockets in the same order each time. To be fair, the first one served moves on.
        at = (queues.read_first + i) % count * libc.EVENT_BYTES
        bits = libc.event_word(loop.events, at)
        slot = loop.slot_of_fd[libc.event_word(loop.events, at + libc.EVENT_DATA)]
        if slot == LISTENER:
            wake |= Wake.ACCEPT
        elif slot == WAKEUP:
            wake |= Wake.SIGNAL
        elif slot >= 0:
            # First, because it may end the connection.
            if bits & libc.EPOLLOUT:
                flush(loop, epoll_fd, slot, begun_ns)
            # What the queues have no room for stays in the sockets, and TCP slows the senders.
            if served < allowed and _is_readable(loop, slot, bits) and has_room(loop):
                _read_socket(loop, slot)
                served += 1
    queues.read_first += served
    if allowed > 0:
        now_ns = libc.monotonic_ns()
        _note(loop.stages[Stage.READ], count, served, now_ns - begun_ns)
        note_reads(loop, canvas, first, now_ns)
    else:
        _look(loop.stages[Stage.READ], count)
    return wake


@kernel
def _answer_ping(loop, canvas, epoll_fd, index, now_ns):
    """Send PONG with the last finished tick: what this connection placed before is in a DELTA after it."""
    request = loop.requests[index]
    frame = loop.scratch
    frame[:PONG_FRAME_BYTES] = 0
    frame[0], frame[1], frame[2] = BINARY_FRAME, _PONG_BYTES, _PONG
    tick = int(canvas.rules[0].tick_next) - 1
    nonce = request.nonce
    for i in range(8):
        frame[6 + i] = (nonce >> np.uint64(8 * i)) & np.uint64(0xFF)
    for i in range(4):
        frame[14 + i] = (tick >> (8 * i)) & 0xFF
    slot = int(request.slot)
    if loop.connections[slot].phase == Phase.FAST or loop.connections[slot].phase == Phase.SLOW:
        post(loop, epoll_fd, slot, frame[:PONG_FRAME_BYTES], now_ns)


@kernel
def _decode_some(loop, canvas, now_ns):
    """Decode what the message queue has room for and the brake allows."""
    depth = waiting_bytes(loop)
    room = make_message_room(loop)
    # A brake counts messages, whose number shows only behind the decoder: it goes by that of the commonest.
    guess = max(1, depth // PLACE_FRAME_BYTES)
    allowed = 0
    if room > 0:
        allowed = take_up(loop, canvas, Stage.DECODE, guess, now_ns)
    if allowed == 0:
        _look(loop.stages[Stage.DECODE], depth)
        return
    before = int(loop.queues[0].message_end)
    if allowed == guess:
        decode(loop, room)
    else:
        decode(loop, allowed)
    settle(loop, canvas, Stage.DECODE, allowed, int(loop.queues[0].message_end) - before)
    done_ns = libc.monotonic_ns()
    _note(loop.stages[Stage.DECODE], depth, depth - waiting_bytes(loop), done_ns - now_ns)
    note_decoded(loop, done_ns)


@kernel
def _admit_some(loop, canvas, now_ns):
    """Admit or refuse what the placement queue has room for and the brake allows."""
    queues = loop.queues[0]
    depth = int(queues.message_end) - int(queues.message_head)
    room = make_placement_room(loop)
    allowed = 0
    if room > 0:
        allowed = take_up(loop, canvas, Stage.ADMIT, min(depth, room), now_ns)
    if allowed == 0:
        _look(loop.stages[Stage.ADMIT], depth)
        return
    admit(loop, canvas, now_ns, allowed)
    left = int(queues.message_end) - int(queues.message_head)
    done_ns = libc.monotonic_ns()
    _note(loop.stages[Stage.ADMIT], depth, depth - left, done_ns - now_ns)
    note_admitted(loop, done_ns)


@kernel
def _apply_up_to(loop, canvas, epoll_fd, items_max, now_ns):
    """Apply up to `items_max` placements, answering each PING in order. True when it stops at a SUBSCRIBE."""
    queues = loop.queues[0]
    # How many stay in the queue: a fixed number, while the head moves with each answered PING.
    last = int(queues.placement_end) - int(queues.placement_head) - items_max
    while True:
        index = apply(loop, canvas, int(queues.placement_end) - int(queues.placement_head) - last)
        if index < 0:
            return False
        if loop.requests[index].op != _PING:
            return True
        _answer_ping(loop, canvas, epoll_fd, index, now_ns)
        pass_request(loop)


@kernel
def _apply_some(loop, canvas, epoll_fd, now_ns):
    """Apply what the brake allows. True when the queue stands at a SUBSCRIBE."""
    queues = loop.queues[0]
    depth = int(queues.placement_end) - int(queues.placement_head)
    allowed = take_up(loop, canvas, Stage.APPLY, depth, now_ns)
    if allowed == 0 and depth > 0:
        _look(loop.stages[Stage.APPLY], depth)
        return False
    is_stopped = _apply_up_to(loop, canvas, epoll_fd, allowed, now_ns)
    served = depth - (int(queues.placement_end) - int(queues.placement_head))
    settle(loop, canvas, Stage.APPLY, allowed, served)
    done_ns = libc.monotonic_ns()
    _note(loop.stages[Stage.APPLY], depth, served, done_ns - now_ns)
    note_applied(loop, canvas, done_ns)
    return is_stopped


@kernel
def run_stages(loop, canvas, epoll_fd):
    """Decode, admit and apply what was read, as far as brakes allow. Returns Wake bits; stops early at a SUBSCRIBE."""
    queues = loop.queues[0]
    now_ns = libc.monotonic_ns()
    if queues.segment_end > queues.segment_head:
        _decode_some(loop, canvas, now_ns)
        now_ns = libc.monotonic_ns()
    if queues.message_end > queues.message_head:
        _admit_some(loop, canvas, now_ns)
        now_ns = libc.monotonic_ns()
    if queues.placement_end > 0 and _apply_some(loop, canvas, epoll_fd, now_ns):
        return 0 | Wake.SUBSCRIBE
    return 0


@kernel
def sweep(loop, canvas, broadcast, epoll_fd):
    """One step of the fan-out."""
    begun_ns = libc.monotonic_ns()
    depth = min(sweep_rest(loop), int(loop.counts[0].subscriber_count))
    if is_resting(loop, Stage.FANOUT, begun_ns):
        _look(loop.stages[Stage.FANOUT], depth)
        return
    offered = fan_out(loop, canvas, broadcast, epoll_fd, begun_ns, step_items(canvas, Stage.FANOUT, SENDS_A_STEP))
    if offered > 0:
        now_ns = libc.monotonic_ns()
        _note(loop.stages[Stage.FANOUT], depth, offered, now_ns - begun_ns)
        note_sent(loop, canvas, begun_ns)
        rest(loop, canvas, Stage.FANOUT, offered, sweep_rest(loop), now_ns)


@kernel
def _idle_ns(loop, until_ns, now_ns, held_ns):
    """How long there is nothing to do but to wait for sockets."""
    end_ns = min(until_ns, int(loop.queues[0].patrol_ns))
    if held_ns > 0:
        end_ns = min(end_ns, held_ns)
    if sweep_rest(loop) > 0 and not is_resting(loop, Stage.FANOUT, now_ns):
        end_ns = now_ns
    return max(0, end_ns - now_ns)


@kernel
def run(loop, canvas, broadcast, epoll_fd, until_ns):
    """Serve until `until_ns` or until Python is needed. Returns Wake bits.

    loop: owned by the calling thread, all written in place. canvas: pixels and ticks written. broadcast: read.
    epoll_fd: level-triggered, with the fd as data; `loop.slot_of_fd` names each. Out of bounds cannot happen: fds are
    below the open-file limit that sized `slot_of_fd`, queues are asked for room before each write.
    """
    queues = loop.queues[0]
    while True:
        wake = run_stages(loop, canvas, epoll_fd)
        if sweep_rest(loop) > 0:
            sweep(loop, canvas, broadcast, epoll_fd)
        now_ns = libc.monotonic_ns()
        if now_ns >= queues.patrol_ns:
            patrol(loop, canvas, epoll_fd, now_ns)
            queues.patrol_ns = now_ns + PATROL_NS
        if now_ns >= until_ns:
            wake |= Wake.TICK
        held_ns = held_until(loop, now_ns)
        # What was handed over names places in the arena, so nothing is read before Python has answered it.
        if wake == 0 and queues.handover_count == 0 and (held_ns > 0 or not _has_backlog(loop)):
            wake = _poll(loop, canvas, epoll_fd, _idle_ns(loop, until_ns, now_ns, held_ns))
            # What was read just now comes before what Python will do.
            if wake != 0 and queues.segment_end > 0:
                wake |= run_stages(loop, canvas, epoll_fd)
        if queues.handover_count > 0:
            wake |= Wake.HANDOVER
        if wake != 0:
            return wake
