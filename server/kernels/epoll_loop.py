"""The native loop's compiled half: epoll, recv and send through the C library, and the stages between them.

`run` is one call without the interpreter lock until Python is needed or the tick is due. It reads no more than the
queues hold: what does not fit stays in the sockets, and TCP pushes back. Linux only.
"""

import numpy as np

from server.kernels import libc
from server.kernels.buckets import admit
from server.kernels.decode import decode, waiting_bytes
from server.kernels.dues import sweep_rest
from server.kernels.fanout import fan_out, patrol
from server.kernels.kernel import address_of, kernel
from server.kernels.layout import (
    BELL,
    CARRY_BYTES,
    LISTENER,
    PATROL_NS,
    READ_BYTES_MAX,
    SENDS_A_STEP,
    Phase,
    Reason,
    Stage,
    Wake,
)
from server.kernels.outbox import end_connection, flush, post
from server.kernels.pixels import apply, pass_request

STEP_NS = 500_000
"""Least time between two looks at the sockets while they are busy: a wake-up for each write would cost more than the
write. One that comes alone, after a pause, is served at once."""
_EVENTS_MAX = 1000
_PING, _PONG = 4, 0x84


@kernel
def _note(stage, depth, items, busy_ns):
    """Add one batch to a stage's row of the telemetry page."""
    stage.busy_ns += busy_ns
    stage.batch_count += 1
    stage.item_count += items
    stage.depth = depth
    stage.depth_sum += depth
    stage.depth_peak = max(stage.depth_peak, depth)


@kernel
def _read_socket(loop, slot):
    """Receive what a socket has, behind the connection's carry, as one segment of the arena."""
    queues = loop.queues[0]
    connection = loop.connections[slot]
    start = int(queues.arena_end)
    carry = int(connection.carry_bytes)
    target = address_of(loop.arena) + start + carry
    taken = libc.recv(connection.fd, target, READ_BYTES_MAX, libc.MSG_DONTWAIT)
    if taken <= 0:
        if taken == 0 or not libc.would_block():
            end_connection(loop, slot, Reason.ENDED)
        return
    for i in range(carry):
        loop.arena[start + i] = loop.carry[slot, i]
    connection.carry_bytes = 0
    queues.arena_end = start + carry + taken
    segment = loop.segments[queues.segment_end]
    segment.slot = slot
    segment.start = start
    segment.end = start + carry + taken
    queues.segment_end += 1
    loop.counts[0].read_count += 1
    loop.counts[0].received_bytes += taken


@kernel
def _has_room(loop):
    """True when one more read fits the arena and the segments."""
    queues = loop.queues[0]
    fits = queues.arena_end + CARRY_BYTES + READ_BYTES_MAX <= len(loop.arena)
    return fits and queues.segment_end < len(loop.segments)


@kernel
def _poll(loop, epoll_fd, timeout_ms):
    """Wait for sockets, then read and flush them. Returns Wake bits of the listener and the bell."""
    queues = loop.queues[0]
    queues.arena_end = 0
    early_ns = queues.poll_ns + STEP_NS - libc.monotonic_ns()
    if timeout_ms > 0 and early_ns > 0:
        libc.usleep(early_ns // 1000)
    count = libc.epoll_wait(epoll_fd, address_of(loop.events), _EVENTS_MAX, timeout_ms)
    begun_ns = libc.monotonic_ns()
    queues.poll_ns = begun_ns
    wake = 0
    for i in range(count):
        at = i * libc.EVENT_BYTES
        bits = libc.event_word(loop.events, at)
        slot = loop.slot_of_fd[libc.event_word(loop.events, at + libc.EVENT_DATA)]
        if slot == LISTENER:
            wake |= Wake.ACCEPT
        elif slot == BELL:
            wake |= Wake.SIGNAL
        elif slot >= 0:
            if bits & libc.EPOLLOUT:
                flush(loop, epoll_fd, slot, begun_ns)
            if bits & ~libc.EPOLLOUT and loop.connections[slot].phase != Phase.DEAD and _has_room(loop):
                _read_socket(loop, slot)
    if count > 0:
        _note(loop.stages[Stage.READ], count, count, libc.monotonic_ns() - begun_ns)
    return wake


@kernel
def _answer_ping(loop, canvas, epoll_fd, index, now_ns):
    """Send PONG with the last finished tick: what this connection placed before is in a DELTA after it."""
    request = loop.requests[index]
    frame = loop.scratch
    frame[:18] = 0
    frame[0], frame[1], frame[2] = 0x82, 16, _PONG
    tick = int(canvas.rules[0].tick_next) - 1
    nonce = request.nonce
    for i in range(8):
        frame[6 + i] = (nonce >> np.uint64(8 * i)) & np.uint64(0xFF)
    for i in range(4):
        frame[14 + i] = (tick >> (8 * i)) & 0xFF
    slot = int(request.slot)
    if loop.connections[slot].phase == Phase.FAST or loop.connections[slot].phase == Phase.SLOW:
        post(loop, epoll_fd, slot, frame[:18], now_ns)


@kernel
def _apply_all(loop, canvas, epoll_fd, now_ns):
    """Apply the placement queue, answering each PING in its place. True when it stands at a SUBSCRIBE."""
    while True:
        index = apply(loop, canvas)
        if index < 0:
            return False
        if loop.requests[index].op != _PING:
            return True
        _answer_ping(loop, canvas, epoll_fd, index, now_ns)
        pass_request(loop)


@kernel
def run_stages(loop, canvas, epoll_fd):
    """Decode, admit and apply all that was read. Returns Wake bits; stops early at a SUBSCRIBE."""
    queues = loop.queues[0]
    begun_ns = libc.monotonic_ns()
    if queues.segment_end > queues.segment_head:
        depth = waiting_bytes(loop)
        decode(loop)
        now_ns = libc.monotonic_ns()
        _note(loop.stages[Stage.DECODE], depth, depth - waiting_bytes(loop), now_ns - begun_ns)
        begun_ns = now_ns
    depth = int(queues.message_end) - int(queues.message_head)
    if depth > 0:
        admit(loop, canvas, begun_ns)
        now_ns = libc.monotonic_ns()
        left = int(queues.message_end) - int(queues.message_head)
        _note(loop.stages[Stage.ADMIT], depth, depth - left, now_ns - begun_ns)
        begun_ns = now_ns
    depth = int(queues.placement_end) - int(queues.placement_head)
    if queues.placement_end == 0:
        return 0
    stopped = _apply_all(loop, canvas, epoll_fd, begun_ns)
    left = int(queues.placement_end) - int(queues.placement_head)
    _note(loop.stages[Stage.APPLY], depth, depth - left, libc.monotonic_ns() - begun_ns)
    return Wake.SUBSCRIBE if stopped else 0


@kernel
def sweep(loop, canvas, broadcast, epoll_fd):
    """One step of the fan-out."""
    begun_ns = libc.monotonic_ns()
    depth = sweep_rest(loop)
    offered = fan_out(loop, canvas, broadcast, epoll_fd, begun_ns, SENDS_A_STEP)
    if offered > 0:
        _note(loop.stages[Stage.FANOUT], depth, offered, libc.monotonic_ns() - begun_ns)


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
        if queues.handover_count > 0:
            wake |= Wake.HANDOVER
        idle = queues.segment_end == 0 and queues.message_end == 0 and queues.placement_end == 0
        if wake == 0 and idle:
            timeout_ms = 0
            if sweep_rest(loop) == 0:
                timeout_ms = (min(until_ns, queues.patrol_ns) - now_ns + 999_999) // 1_000_000
            wake = _poll(loop, epoll_fd, timeout_ms)
            if wake != 0 and queues.segment_end > 0:
                wake |= run_stages(loop, canvas, epoll_fd)
        if wake != 0:
            if queues.handover_count > 0:
                wake |= Wake.HANDOVER
            return wake
