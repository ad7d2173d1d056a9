"""Counters of a server that is not compiled: plain numbers while it works, written to the telemetry page now and then.

Writing to the page costs three times what adding to a number costs, and the page's readers look ten times a second.
Invariant: after `publish` the page holds what was counted; its one writer is the tally.
"""

from dataclasses import dataclass

from server.ipc.page import Page
from server.kernels.layout import LOOP, STAGE_COUNT, Stage


@dataclass(slots=True)
class StageTally:
    """A STAGE row before it is written."""

    depth_max: int = 0
    busy_ns: int = 0
    batch_count: int = 0
    item_count: int = 0
    depth: int = 0
    depth_peak: int = 0
    depth_sum: int = 0
    drop_count: int = 0


class Tally:
    """The LOOP row and the STAGE rows of one loop. `depths_max`: the limit of the queue in front of each stage."""

    def __init__(self, telemetry: Page, depths_max: dict[Stage, int]) -> None:
        self.counts: dict[str, int] = dict.fromkeys(LOOP.names or (), 0)
        """By the names of LOOP's fields."""
        self._loop = telemetry["loops"][0]
        self._rows = telemetry["stages"][0]
        self._stages = [StageTally(depths_max.get(Stage(index), 1)) for index in range(STAGE_COUNT)]

    def queued(self, stage: Stage, depth: int) -> None:
        """So many items wait in front of a stage as it begins a batch."""
        row = self._stages[stage]
        row.batch_count += 1
        row.depth = depth
        row.depth_sum += depth
        row.depth_peak = max(row.depth_peak, depth)

    def served(self, stage: Stage, items: int, busy_ns: int) -> None:
        """A stage has served so many items."""
        row = self._stages[stage]
        row.item_count += items
        row.busy_ns += busy_ns

    def dropped(self, stage: Stage, items: int) -> None:
        """So many items were given up in front of a stage."""
        self._stages[stage].drop_count += items

    def limit(self, stage: Stage, depth_max: int) -> None:
        """The queue in front of a stage holds so many items at most."""
        self._stages[stage].depth_max = depth_max

    def take_peaks(self) -> list[int]:
        """The most that waited in front of each stage since the last call."""
        peaks = [row.depth_peak for row in self._stages]
        for row in self._stages:
            row.depth_peak = 0
        return peaks

    def publish(self) -> None:
        """Write the rows of the page."""
        for name, value in self.counts.items():
            self._loop[name] = value
        for index, row in enumerate(self._stages):
            fields = (row.busy_ns, row.batch_count, row.item_count, row.depth, row.depth_peak, row.depth_sum)
            self._rows[index] = (*fields, row.depth_max, row.drop_count)
