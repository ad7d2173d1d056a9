"""The sink's compiled loop: it reads, counts what came, and does nothing with it. The least that any server must do.

A bound to compare with, not a server: no frame is unmasked, no placement looked at. What a connection sent is its bytes
divided by the length of a PLACE frame. Every byte of a connection is counted once, or handed to Python.

    BYTES LEFT OVER  WHAT CAME
                  0  whole PLACE frames, 12 bytes each; or, when the read begins with 0x88, a close frame
                  6  a PING frame, 18 bytes, behind whole PLACE frames; or half a PLACE frame
             others  a part of a PLACE frame
"""

from server import wire
from server.kernels import libc
from server.kernels.decode import hand_over
from server.kernels.fan_out import end_connection, flush, post
from server.kernels.kernel import address_of, kernel
from server.kernels.layout import LISTENER, READ_BYTES_MAX, WAKEUP, Phase, Reason, Wake

# Least time between two looks at the sockets: a wake for each write of thousands would cost more than the reading.
LOOK_NS = 1_000_000
_EVENTS_MAX = 1000
_MASKED_PING = wire.MASK | wire.PING.size
_PING, _PONG = int(wire.ClientOp.PING), int(wire.ServerOp.PONG)
_PONG_BYTES = wire.PONG.size


@kernel
def _is_ping(arena, start):
    """Whether the 18 bytes at `start` are a masked PING: a PLACE frame there has another length in its second byte."""
    if arena[start] != wire.BINARY_FRAME or arena[start + 1] != _MASKED_PING:
        return False
    return arena[start + 6] ^ arena[start + 2] == _PING


@kernel
def _answer_ping(loop, epoll_fd, slot, start, now_ns):
    """Send PONG with the nonce of the PING at `start`: all that came before it is counted."""
    arena, frame = loop.arena, loop.scratch
    frame[: wire.PONG_FRAME_BYTES] = 0
    frame[0], frame[1], frame[2] = wire.BINARY_FRAME, _PONG_BYTES, _PONG
    for i in range(8):
        frame[6 + i] = arena[start + 10 + i] ^ arena[start + 2 + (i & 3)]
    post(loop, epoll_fd, slot, frame[: wire.PONG_FRAME_BYTES], now_ns)


@kernel
def _count(loop, epoll_fd, slot, start, taken, now_ns):
    """Count the frames that end in `taken` bytes at `start`; what is left over waits for the rest of its frame."""
    connection = loop.connections[slot]
    counts = loop.counts[0]
    # Only the number of carried bytes is kept: what they are does not matter here.
    left = int(connection.carry_bytes) + taken
    frames = left // wire.PLACE_FRAME_BYTES
    left -= frames * wire.PLACE_FRAME_BYTES
    ping = start + taken - wire.PING_FRAME_BYTES
    if left == wire.PING_FRAME_BYTES - wire.PLACE_FRAME_BYTES and ping >= start and _is_ping(loop.arena, ping):
        frames -= 1
        left = 0
        _answer_ping(loop, epoll_fd, slot, ping, now_ns)
    connection.carry_bytes = left
    counts.received_count += frames
    counts.admitted_count += frames
    counts.read_count += 1
    counts.received_bytes += taken


@kernel
def _read_socket(loop, epoll_fd, slot, now_ns):
    """Receive what a socket has: counted, or handed over where Python has the stream or the peer begins to close."""
    queues = loop.queues[0]
    connection = loop.connections[slot]
    start = int(queues.arena_end)
    taken = libc.recv(connection.fd, address_of(loop.arena) + start, READ_BYTES_MAX, libc.MSG_DONTWAIT)
    if taken <= 0:
        if taken == 0 or not libc.would_block():
            end_connection(loop, slot, Reason.ENDED)
        return
    if connection.phase == Phase.FAST and connection.carry_bytes == 0 and loop.arena[start] == wire.CLOSE_FRAME:
        connection.phase = Phase.SLOW
    if connection.phase == Phase.FAST:
        _count(loop, epoll_fd, slot, start, taken, now_ns)
    else:
        queues.arena_end = start + taken
        hand_over(loop, slot, start, start + taken, Reason.BYTES)


@kernel
def _poll(loop, epoll_fd, timeout_ms):
    """Wait for sockets, then read and flush them. Returns (Wake bits, events)."""
    count = libc.epoll_wait(epoll_fd, address_of(loop.events), _EVENTS_MAX, timeout_ms)
    now_ns = libc.monotonic_ns()
    wake = 0
    for i in range(count):
        at = i * libc.EVENT_BYTES
        bits = libc.event_word(loop.events, at)
        slot = loop.slot_of_fd[libc.event_word(loop.events, at + libc.EVENT_DATA)]
        if slot == LISTENER:
            wake |= Wake.ACCEPT
        elif slot == WAKEUP:
            wake |= Wake.SIGNAL
        elif slot >= 0:
            if bits & libc.EPOLLOUT:
                flush(loop, epoll_fd, slot, now_ns)
            fits = int(loop.queues[0].arena_end) + READ_BYTES_MAX <= len(loop.arena)
            if bits & ~libc.EPOLLOUT and loop.connections[slot].phase != Phase.DEAD and fits:
                _read_socket(loop, epoll_fd, slot, now_ns)
    return wake, max(count, 0)


@kernel
def run(loop, epoll_fd, until_ns):
    """Count until `until_ns` or until Python is needed. Returns Wake bits.

    loop: owned by the calling thread. connections, counts, handovers: written; arena: overwritten. epoll_fd:
    level-triggered, with the fd as data. Cost: one `recv` a ready socket. Out of bounds cannot happen: fds are below
    the limit that sized `slot_of_fd`, and the arena is asked for room before each read.
    """
    queues = loop.queues[0]
    queues.arena_end = 0
    queues.fanout_position = queues.slot_end  # Nothing is broadcast, so no connection is due a frame.
    while True:
        begun_ns = libc.monotonic_ns()
        if begun_ns >= until_ns:
            return 0 | Wake.TICK
        wake, count = _poll(loop, epoll_fd, (until_ns - begun_ns + 999_999) // 1_000_000)
        if queues.handover_count > 0:
            wake |= Wake.HANDOVER
        if wake != 0:
            return wake
        spent_ns = libc.monotonic_ns() - begun_ns
        if count < _EVENTS_MAX and spent_ns < LOOK_NS:
            libc.usleep((LOOK_NS - spent_ns) // 1000)
