"""Queues of a loop: freeing space in them, and counting what waits."""

from server.kernels.kernel import kernel
from server.kernels.layout import CARRY_BYTES, READ_BYTES_MAX, Kind

_SHARE = 8
"""Records move when less than an eighth of the array is free behind them, so that each moves rarely."""


@kernel
def _move_down(records, head, end):
    """Move records[head:end] to the front, which may overlap them. Returns their new end."""
    # Queues are plain arrays filled from 0. Without a backlog each is emptied whole, and nothing ever moves.
    for i in range(head, end):
        records[i - head] = records[i]
    return end - head


@kernel
def make_message_room(loop):
    """Free space at the end of the message queue. Returns the number of messages that fit."""
    queues, size = loop.queues[0], len(loop.messages)
    if queues.message_head > 0 and queues.message_end > size - size // _SHARE:
        queues.message_end = _move_down(loop.messages, int(queues.message_head), int(queues.message_end))
        queues.message_head = 0
    return size - int(queues.message_end)


@kernel
def make_placement_room(loop):
    """Free space at the end of the placement queue. Returns the number of placements that fit."""
    queues, size = loop.queues[0], len(loop.placements)
    if queues.placement_head > 0 and queues.placement_end > size - size // _SHARE:
        queues.placement_end = _move_down(loop.placements, int(queues.placement_head), int(queues.placement_end))
        queues.placement_head = 0
    return size - int(queues.placement_end)


@kernel
def has_room(loop):
    """Whether one more read fits into the arena and the segments."""
    queues = loop.queues[0]
    fits = queues.arena_end + CARRY_BYTES + READ_BYTES_MAX <= len(loop.arena)
    return fits and queues.segment_end < len(loop.segments)


@kernel
def make_arena_room(loop):
    """Free decoded bytes of the arena. Returns whether one more read fits.

    loop.arena, segments: moved to their fronts. Cost: O(1), or O(bytes waiting) when that frees a whole read. The
    caller has handled the slow path first, because handovers refer to positions in the arena.
    """
    queues = loop.queues[0]
    head = int(queues.segment_head)
    # The common case: everything is decoded, and nothing has to move.
    if queues.segment_end == head:
        queues.segment_head = 0
        queues.segment_end = 0
        queues.arena_end = 0
        return True
    offset = int(loop.segments[head].start)
    # Moving would not free a whole read, and would be repeated at each call.
    if has_room(loop) or (offset < CARRY_BYTES + READ_BYTES_MAX and queues.segment_end < len(loop.segments)):
        return has_room(loop)
    queues.arena_end = _move_down(loop.arena, offset, int(queues.arena_end))
    queues.segment_end = _move_down(loop.segments, head, int(queues.segment_end))
    queues.segment_head = 0
    for i in range(int(queues.segment_end)):
        loop.segments[i].start -= offset
        loop.segments[i].end -= offset
    return has_room(loop)


@kernel
def waiting_placements(loop):
    """Count the placements in a loop's queues one by one, to check the ledger's counters against.

    loop.messages, loop.placements: read from their heads to their ends. Cost: O(waiting). Returns (before admission,
    before the canvas).
    """
    queues = loop.queues[0]
    decoded, admitted = 0, 0
    for i in range(queues.message_head, queues.message_end):
        decoded += loop.messages[i].kind == Kind.PLACE
    for i in range(queues.placement_head, queues.placement_end):
        admitted += loop.placements[i].kind == Kind.PLACE
    return decoded, admitted
