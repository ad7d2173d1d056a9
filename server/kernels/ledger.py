"""The ledger: every placement that was decoded is admitted, refused with a reason, or still waiting. Nothing else.

Counters are written where things happen; this pass looks into the queues instead, so that the two can be held against
each other.
"""

from server.kernels.kernel import kernel
from server.kernels.layout import Kind


@kernel
def waiting_placements(loop):
    """Placements in a loop's queues, counted one by one.

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
