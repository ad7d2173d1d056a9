"""Waiting for a block of a memory link to change hands. Linux only."""

from server.kernels import libc
from server.kernels.kernel import kernel

# Time between two looks: short beside a tick, and a percent of a core while there is nothing.
LOOK_US = 100


@kernel
def await_state(blocks, index, state, until_ns):
    """Wait until blocks[index] is in `state`, a BlockState, or until the time. blocks: (any,) BLOCK. True if it is."""
    # Shared memory wakes no thread: one side writes the state, and the other looks at it now and then, without the
    # interpreter lock. A block is written only by the side that its state names.
    while blocks[index].state != state:
        if libc.monotonic_ns() >= until_ns:
            return False
        libc.usleep(LOOK_US)
    return True


@kernel
def count_bytes(connections, segments, count):
    """Count the bytes of a block's first `count` segments as received from whose they are.

    connections: (any,) CONNECTION, written. segments: (any,) SEGMENT, read; their slots are connections. O(count).
    """
    for i in range(count):
        segment = segments[i]
        connections[segment.slot].received_bytes += int(segment.end) - int(segment.start)
