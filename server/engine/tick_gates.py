"""What a tick may have to wait for: a braked encoder before it is finished, and the journal before it is shown.

The engine asks while no loop runs. Nothing here holds a canvas or calls a loop.
"""

from typing import Any

from server.ipc.page import Page
from server.journal.fault import JournalState
from server.journal.journal import Journal
from server.journal.store import TickEntry
from server.kernels.layout import Stage


class EncodeBrake:
    """Added service time of one tick at a time.

    The encoder works while no stage runs, so it must not be slow there: it puts the tick off instead. While it is "at
    work" the loops go on, and what changes meanwhile is in the same tick.
    """

    def __init__(self) -> None:
        self._until_ns = self._due_ns = self._cost_ns = 0

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
        due_ns, cost_ns = (self._due_ns, self._cost_ns) if self._until_ns else (due_ns, 0)
        self._until_ns = self._cost_ns = 0
        return due_ns, cost_ns

    def release(self, due_ns: int) -> int:
        """Be done at once. Returns when the tick at work was due, or `due_ns` when there is none."""
        if self._until_ns == 0:
            return due_ns
        self._until_ns = 1  # In the past, and not 0: the tick is still to be finished, and was due when it was.
        return self._due_ns


class CommitGate:
    """Holds a tick back until the journal has it on disk, at most one at a time. Without a journal it is always open.

    It also writes the journal's state to the telemetry page.
    """

    def __init__(self, journal: Journal | None, telemetry: Page) -> None:
        self.journal = journal
        # Placements are held up: what is on the canvas already cannot be shown.
        self.is_stuck = False
        self._server = telemetry["server"]
        self._stage = telemetry["stages"][0, Stage.JOURNAL : Stage.JOURNAL + 1]
        self._pending = self._pending_ns = 0  # The tick that is held back, 0 for none, and since when.
        self._is_waited_for = False
        self._server["journal_gates"] = journal is not None and journal.gates

    @property
    def is_gating(self) -> bool:
        """Whether ticks wait here."""
        return self.journal is not None and self.journal.gates

    def lets_finish(self, tick: int) -> bool:
        """Whether `tick`, which is due, may be finished: the one before it is shown."""
        is_free = self.journal is None or (self._pending == 0 and self.journal.is_free(tick))
        self._is_waited_for = not is_free
        return is_free

    def submit(self, entry: TickEntry, now_ns: int) -> None:
        """Hand a tick's changes to the journal, which there is."""
        assert self.journal is not None and self._pending == 0, "a second tick at the gate"
        row = self._stage[0]
        row["depth"] = max(self._is_waited_for, self.journal.waiting_count)
        row["depth_sum"] += row["depth"]
        if self.journal.gates:
            self._pending, self._pending_ns = entry.tick, now_ns
        self.journal.submit(entry)

    def is_holding(self, tick: int) -> bool:
        """Whether `tick` is behind the gate."""
        return self._pending == tick

    def let_through(self) -> int:
        """The tick that was behind the gate and is on disk by now; 0: none."""
        if self.journal is None or not 0 < self._pending <= self.journal.committed_tick:
            return 0
        tick, self._pending = self._pending, 0
        return tick

    def wait(self, timeout_s: float) -> None:
        """Wait until the tick behind the gate is on disk, at most this long."""
        if self.journal is not None and self._pending:
            self.journal.wait_committed(self._pending, timeout_s)

    def look(self, now_ns: int, most_ns: int) -> bool:
        """Publish the journal's state. True when `is_stuck` has changed.

        It is stuck when the disk refuses a tick, or has not taken one for `most_ns`.
        """
        journal = self.journal
        if journal is None:
            return False
        if journal.bug is not None:
            raise journal.bug
        is_waiting = self._pending > 0 and self._is_waited_for
        state = JournalState.WAITING if is_waiting else JournalState.OK
        server, row = self._server[0], self._stage[0]
        server["journal_state"] = JournalState.FAILED if journal.disk_error else state
        server["journal_trouble"], server["journal_tick"] = journal.disk_error, journal.committed_tick
        row["busy_ns"], row["batch_count"] = journal.busy_ns, journal.batch_count
        row["item_count"], row["drop_count"] = journal.item_count, journal.drop_count
        row["depth_max"] = journal.depth_max
        depth = int(is_waiting) if journal.gates else journal.waiting_count
        row["depth_peak"] = max(row["depth_peak"], depth)
        is_late = self._pending > 0 and now_ns - self._pending_ns > most_ns
        was_stuck, self.is_stuck = self.is_stuck, journal.gates and (bool(journal.disk_error) or is_late)
        return self.is_stuck != was_stuck
