"""Apply: from placements to pixels. Marks each pixel and tile with the tick that will broadcast the change."""

from server.kernels.kernel import kernel
from server.kernels.layout import Kind


@kernel
def apply(loop, canvas, items_max):
    """Write up to `items_max` placements to the canvas, in order, up to the first request, which the caller answers.

    loop.placements: PLACEMENT, consumed from `placement_head`. canvas.pixels, pixel_tick, tile_tick, pixel_painter:
    written in place, by all loops at once: single stores, the last one wins. canvas.tiles: counted in place; two loops
    that count at once may lose one: tile counts are for display, the ledger has its own. Cost:
    O(placements). Indices were checked by admit.
    Returns the index into `loop.requests` of the request that it stopped at, or -1.
    """
    queues = loop.queues[0]
    tick = canvas.rules[0].tick_next
    # In local variables: the compiler must assume that a store to the canvas can change the queue's record.
    head = int(queues.placement_head)
    end = min(int(queues.placement_end), head + items_max)
    position, slot, painter = head, -1, 0
    while position < end:
        placement = loop.placements[position]
        if placement.kind == Kind.REQUEST:
            break
        pixel, place = placement.pixel, placement.tile
        # Placements of one connection mostly follow each other: its number is read once.
        if placement.slot != slot:
            slot = placement.slot
            painter = loop.connections[slot].number + 1
        canvas.pixels[pixel] = placement.color
        canvas.pixel_tick[pixel] = tick
        canvas.pixel_painter[pixel] = painter
        canvas.tile_tick[place] = tick
        canvas.tiles[place].applied_count += 1
        position += 1
    queues.placement_head = position
    loop.counts[0].applied_count += position - head
    if position < end:
        return int(loop.placements[position].index)
    if position == queues.placement_end:
        queues.placement_head = 0
        queues.placement_end = 0
        # Only now does nothing refer to a request: neither a message nor a placement waits.
        if queues.message_head == queues.message_end:
            queues.request_head = 0
            queues.request_end = 0
    return -1


@kernel
def pass_request(loop):
    """Step over the answered request at which `apply` stopped."""
    loop.queues[0].placement_head += 1
    loop.queues[0].request_head += 1
