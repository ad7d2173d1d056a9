"""The gate between a finished tick and those who are to see it: it opens when the journal has the tick on disk.

It holds no canvas and calls no loop; the engine asks it while the loops stand still. Without a journal it is always
open. Invariant: at most one tick is behind it.
"""

from server.ipc.page import Page
from server.journal.fault import JournalState
from server.journal.journal import Journal
from server.journal.store import TickEntry
from server.kernels.layout import Stage


class CommitGate:
    """What the engine knows of its journal, and what the telemetry page says of it."""

    def __init__(self, journal: Journal | None, telemetry: Page) -> None:
        self.journal = journal
        self.is_stuck = False
        """Nothing more is to be let in: what is on the canvas already cannot be shown."""
        self._server = telemetry["server"]
        self._stage = telemetry["stages"][0, Stage.JOURNAL : Stage.JOURNAL + 1]
        self._pending = 0
        self._pending_ns = 0
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

    def wants_snapshot(self, tick: int) -> bool:
        """Whether the journal is to have the whole canvas after this tick."""
        return self.journal is not None and self.journal.wants_snapshot(tick)

    def submit(self, entry: TickEntry, now_ns: int) -> None:
        """Hand a tick's changes to the journal, which there is."""
        assert self.journal is not None
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
        """Wait until the tick behind the gate is on disk, for so long at most."""
        if self.journal is not None and self._pending:
            self.journal.wait_committed(self._pending, timeout_s)

    def look(self, now_ns: int, most_ns: int) -> bool:
        """See how the journal is doing, and write that down. True when `is_stuck` has changed.

        It is stuck when the disk refuses a tick, or has not taken one for `most_ns`.
        """
        journal = self.journal
        if journal is None:
            return False
        if journal.bug is not None:
            raise journal.bug
        is_waiting = self._pending > 0 and self._is_waited_for
        state = JournalState.WAITING if is_waiting else JournalState.OK
        server = self._server[0]
        server["journal_state"] = JournalState.FAILED if journal.trouble else state
        server["journal_trouble"], server["journal_tick"] = journal.trouble, journal.committed_tick
        self._note_stage(journal, is_waiting)
        is_late = self._pending > 0 and now_ns - self._pending_ns > most_ns
        was_stuck, self.is_stuck = self.is_stuck, journal.gates and (bool(journal.trouble) or is_late)
        return self.is_stuck != was_stuck

    def _note_stage(self, journal: Journal, is_waiting: bool) -> None:
        row = self._stage[0]
        row["busy_ns"], row["batch_count"] = journal.busy_ns, journal.batch_count
        row["item_count"], row["drop_count"] = journal.item_count, journal.drop_count
        row["depth_max"] = journal.depth_max
        depth = int(is_waiting) if journal.gates else journal.waiting_count
        row["depth_peak"] = max(row["depth_peak"], depth)
