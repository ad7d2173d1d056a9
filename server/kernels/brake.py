"""Brakes: service time that is added to a stage, to show what a bottleneck does.

No thread sleeps. A braked stage takes up what it can serve in a short step, and serves that when the time for it has
passed; meanwhile the items stay in the queue, the other stages go on and the tick comes when it is due. A stage whose
items can be counted only afterwards pays for them with a rest. The added time counts as the stage's `busy_ns`.
"""

from server.kernels.kernel import kernel
from server.kernels.layout import STAGE_COUNT

# Service time of the items that a braked stage takes up at once: short beside a tick, long beside a wake-up. One item
# is always taken, and the time that is added to the batch comes on top.
STEP_NS = 20_000_000
# While there is work, a step begins where the one before ended, however late the loop comes to see it: else a busy
# machine would brake harder than asked. What is later than this was a pause.
CATCH_UP_NS = 500_000_000


@kernel
def step_items(canvas, stage, most):
    """How many items the stage may serve in one step, at most `most`."""
    item_ns = canvas.brakes[stage].item_ns
    if item_ns == 0:
        return most
    return min(most, max(1, STEP_NS // item_ns))


@kernel
def _spend(loop, stage, cost_ns, now_ns):
    """The stage works for so long, from now on or from the end of the step before, when it left something."""
    hold = loop.holds[stage]
    begun_ns = now_ns
    # With work left, the stage has been busy since then: a late wake-up is not a pause.
    if hold.left > 0 and now_ns - hold.until_ns < CATCH_UP_NS:
        begun_ns = int(hold.until_ns)
    hold.until_ns = begun_ns + cost_ns


@kernel
def take_up(loop, canvas, stage, waiting, now_ns):
    """How many of the `waiting` items the stage may serve now: all without a brake, else what it took up before.

    canvas.brakes: read. loop.holds: this stage's row written. loop.stages: `busy_ns` of what is served now. Cost: O(1).
    Returns 0 while the stage still works on what it took up, which then stays where it is.
    """
    # Without a brake, which is the common case, asking costs two comparisons.
    brake = canvas.brakes[stage]
    if brake.item_ns == 0 and brake.batch_ns == 0:
        return waiting
    hold = loop.holds[stage]
    if hold.items == 0:
        if waiting == 0:
            return 0
        hold.items = step_items(canvas, stage, waiting)
        # The debt of the last step is negative when it served less than it had paid for.
        hold.cost_ns = max(0, hold.items * brake.item_ns + brake.batch_ns + hold.debt_ns)
        hold.debt_ns = 0
        _spend(loop, stage, hold.cost_ns, now_ns)
    if now_ns < hold.until_ns:
        return 0
    items = min(waiting, int(hold.items))
    hold.items = 0
    hold.left = waiting - items
    loop.stages[stage].busy_ns += hold.cost_ns
    return items


@kernel
def settle(loop, canvas, stage, taken, served):
    """After a step that served other than it had taken up: the next one pays for what was more, or is given it back."""
    loop.holds[stage].debt_ns += (served - taken) * canvas.brakes[stage].item_ns


@kernel
def rest(loop, canvas, stage, served, left, now_ns):
    """Pause the stage for the added service time of a batch of `served` items; `left` items still wait."""
    brake = canvas.brakes[stage]
    cost_ns = served * brake.item_ns + brake.batch_ns
    if cost_ns > 0:
        _spend(loop, stage, cost_ns, now_ns)
        loop.holds[stage].left = left
        loop.stages[stage].busy_ns += cost_ns


@kernel
def is_resting(loop, stage, now_ns):
    """True while a stage rests."""
    return now_ns < loop.holds[stage].until_ns


@kernel
def held_until(loop, now_ns):
    """When the first of the stages that are held back now may go on; 0 when none is."""
    first_ns = 0
    for stage in range(STAGE_COUNT):
        until_ns = int(loop.holds[stage].until_ns)
        if until_ns > now_ns and (first_ns == 0 or until_ns < first_ns):
            first_ns = until_ns
    return first_ns
