"""Room in a loop's queues: they are plain arrays, filled from 0, so what waits long is moved to the front now and then.

Without a backlog every queue is emptied whole and nothing is ever moved. Invariant: order and content stay.
"""

from server.kernels.kernel import kernel
from server.kernels.layout import CARRY_BYTES, READ_BYTES_MAX

_SHARE = 8
"""What waits is moved when less than an eighth of the array is free behind it: so each record moves rarely."""


@kernel
def _move_down(records, head, end):
    """Move records[head:end] to the front, wherever they overlap. Returns their new end."""
    for i in range(head, end):
        records[i - head] = records[i]
    return end - head


@kernel
def make_message_room(loop):
    """Free what is behind the message queue. Returns how many messages it can take."""
    queues, size = loop.queues[0], len(loop.messages)
    if queues.message_head > 0 and queues.message_end > size - size // _SHARE:
        queues.message_end = _move_down(loop.messages, int(queues.message_head), int(queues.message_end))
        queues.message_head = 0
    return size - int(queues.message_end)


@kernel
def make_placement_room(loop):
    """Free what is behind the placement queue. Returns how many placements it can take."""
    queues, size = loop.queues[0], len(loop.placements)
    if queues.placement_head > 0 and queues.placement_end > size - size // _SHARE:
        queues.placement_end = _move_down(loop.placements, int(queues.placement_head), int(queues.placement_end))
        queues.placement_head = 0
    return size - int(queues.placement_end)


@kernel
def has_room(loop):
    """True when one more read fits the arena and the segments."""
    queues = loop.queues[0]
    fits = queues.arena_end + CARRY_BYTES + READ_BYTES_MAX <= len(loop.arena)
    return fits and queues.segment_end < len(loop.segments)


@kernel
def make_arena_room(loop):
    """Free the arena before more is read, as far as its bytes are decoded. True when there is room for one more read.

    loop.arena, segments: moved to their fronts. Cost: O(1), or O(bytes waiting) when that frees a whole read. The
    caller has answered what was handed over, for that names places in the arena.
    """
    queues = loop.queues[0]
    head = int(queues.segment_head)
    if queues.segment_end == head:
        queues.segment_head = 0
        queues.segment_end = 0
        queues.arena_end = 0
        return True
    offset = int(loop.segments[head].start)
    if has_room(loop) or (offset < CARRY_BYTES + READ_BYTES_MAX and queues.segment_end < len(loop.segments)):
        return has_room(loop)
    queues.arena_end = _move_down(loop.arena, offset, int(queues.arena_end))
    queues.segment_end = _move_down(loop.segments, head, int(queues.segment_end))
    queues.segment_head = 0
    for i in range(int(queues.segment_end)):
        loop.segments[i].start -= offset
        loop.segments[i].end -= offset
    return has_room(loop)
