"""Apply: from placements to pixels. Marks each pixel and tile with the tick that will carry the change."""

from server.kernels.kernel import kernel
from server.kernels.layout import Kind


@kernel
def apply(loop, canvas):
    """Write placements to the canvas, in order, up to the first request, which the caller answers.

    loop.placements: PLACEMENT, consumed from `placement_head`. canvas.pixels, pixel_tick, tile_tick: written in
    place, by all loops at once: single stores, the last one wins. Cost: O(placements). Indices were checked by admit.
    Returns the index into `loop.requests` of the request it stands at, or -1 when the queue is empty.
    """
    queues = loop.queues[0]
    tick = canvas.rules[0].tick_next
    head = int(queues.placement_head)
    while queues.placement_head < queues.placement_end:
        placement = loop.placements[queues.placement_head]
        if placement.kind == Kind.REQUEST:
            loop.counts[0].applied_count += int(queues.placement_head) - head
            return int(placement.index)
        canvas.pixels[placement.pixel] = placement.color
        canvas.pixel_tick[placement.pixel] = tick
        canvas.tile_tick[placement.tile] = tick
        queues.placement_head += 1
    loop.counts[0].applied_count += int(queues.placement_head) - head
    queues.placement_head = 0
    queues.placement_end = 0
    if queues.message_head == queues.message_end:
        queues.request_end = 0
    return -1


@kernel
def pass_request(loop):
    """Step over the answered request at which `apply` stopped."""
    loop.queues[0].placement_head += 1
