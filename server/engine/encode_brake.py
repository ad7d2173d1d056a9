"""The brake of the encoder. That works while no stage runs, so it must not be slow there: it puts the tick off instead.

Invariant: while the encoder is "at work" the loops go on, and what changes meanwhile is in the same tick.
"""

from typing import Any


class EncodeBrake:
    """Added service time of one tick at a time."""

    def __init__(self) -> None:
        self._until_ns = 0
        self._due_ns = 0
        self._cost_ns = 0

    def until_ns(self, brake: Any, tile_count: int, due_ns: int, now_ns: int, most_ns: int) -> int:
        """When the encoder will be done with the tick that was due at `due_ns`; 0: it may be finished now.

        brake: a row of dtype BRAKE. tile_count: tiles that have changed so far. It takes at most `most_ns`.
        """
        if self._until_ns == 0:
            cost_ns = min(most_ns, int(brake["batch_ns"]) + tile_count * int(brake["item_ns"]))
            if cost_ns == 0:
                return 0
            self._until_ns, self._due_ns, self._cost_ns = now_ns + cost_ns, due_ns, cost_ns
        return self._until_ns if now_ns < self._until_ns else 0

    def finish(self, due_ns: int) -> tuple[int, int]:
        """The tick is finished: when it was due, `due_ns` without a brake, and the time that was added to it."""
        told = (self._due_ns, self._cost_ns) if self._until_ns else (due_ns, 0)
        self._until_ns = self._cost_ns = 0
        return told

    def release(self, due_ns: int) -> int:
        """Be done at once. Returns when the tick at work was due, or `due_ns` when there is none."""
        if self._until_ns == 0:
            return due_ns
        self._until_ns = 1
        return self._due_ns
