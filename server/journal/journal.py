"""The journal: a thread that commits what ticks changed, and notifies the loops when it has.

The engine submits a tick's changes and continues. A gating journal has one tick in progress at a time, which no client
sees before it is committed. A recording does not gate: ticks may queue, and those for which the queue has no room are
dropped, counted and marked. A failed commit is tried again every second, until it succeeds or the server ends.
`committed_tick` names a tick that is on disk with all before it.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

from server.config import Brake, ServerConfig
from server.journal.fault import DiskError, disk_error_of
from server.journal.recovery import TICK_RESERVED, Recovered, cannot_open, open_recording, recover
from server.journal.store import DeltaCompressor, Store, TickEntry
from server.system import clock

# Ticks of a recording that may wait for the disk: some seconds, which no disk takes that is merely slow.
QUEUE_MAX = 64
RETRY_S = 1.0
# A quiet tick has no row, but clients have seen its number. So numbers are reserved in the file, this many at a time;
# after a crash the server continues above the reserved ones.
TICKS_RESERVED = 1000


class Journal:
    """A file and the thread that writes it. Use: `start`, `submit` tick after tick, `close`."""

    def __init__(self, store: Store, config: ServerConfig, recovered: Recovered | None, now_ns: int) -> None:
        """`recovered` is what a gating journal continues from. Raises sqlite3.Error."""
        self.gates = config.journal_gates
        self.depth_max = 1 if self.gates else QUEUE_MAX
        self.recovered = recovered
        self.committed_tick = recovered.tick if recovered else 0
        self.committed_ns = 0
        self.disk_error = DiskError.NONE
        """Why the newest commit failed."""
        self.bug: BaseException | None = None
        self.busy_ns = 0
        self.batch_count = 0
        self.item_count = 0
        self.drop_count = 0
        self._store = store
        self._compressor = None if self.gates else DeltaCompressor(config.width, config.height)
        self._keep_ns = int(config.journal_keep_s * 1e9)
        self._bytes_max = config.journal_bytes_max
        self._snapshot_ticks = config.journal_snapshot_ticks
        self._snapshot_tick = self.committed_tick
        self._snapshot: TickEntry | None = None  # The newest one that is not on disk yet.
        # The clock starts at zero when the machine boots. Times in the file must still ascend.
        self._ahead_ns = max(0, recovered.time_ns + 1 - now_ns) if recovered else 0
        self._brake = config.brakes.journal
        self._queue: deque[TickEntry] = deque()
        self._lost: tuple[int, int] | None = None
        self._last_tick = self.committed_tick
        self._reserved = self._reserve_to = self.committed_tick + TICKS_RESERVED
        if self.gates:
            store.add([], {TICK_RESERVED: str(self._reserved)})
        self._changed = threading.Condition()
        self._is_closing = False
        self._notify: Callable[[], None] = _ignore
        self._thread = threading.Thread(target=self._run, name="journal")

    # For the engine, while the loops are paused.

    @property
    def waiting_count(self) -> int:
        """Ticks that are not committed yet."""
        return len(self._queue)

    def is_free(self, tick: int) -> bool:
        """Whether a tick with this number may be finished now."""
        self._last_tick = max(self._last_tick, tick - 1)
        if not self.gates:
            return True
        if tick > self._reserve_to - TICKS_RESERVED // 2:
            with self._changed:
                self._reserve_to = tick + TICKS_RESERVED
                self._changed.notify_all()
        return tick <= self._reserved and not self._queue

    def wants_snapshot(self, tick: int) -> bool:
        """Whether a snapshot of the canvas is due after this tick."""
        return tick - self._snapshot_tick >= self._snapshot_ticks

    def submit(self, entry: TickEntry) -> None:
        """Commit this tick after those that wait. A recording drops it when too many wait."""
        if len(self._queue) >= self.depth_max:
            assert not self.gates, "a tick was finished before the previous one was committed"
            self._drop(entry.tick)
            return
        if entry.pixels is not None:
            self._snapshot_tick = entry.tick
        lost, self._lost = self._lost, None
        with self._changed:
            self._queue.append(replace(entry, time_ns=entry.time_ns + self._ahead_ns, lost=lost))
            self._changed.notify_all()

    def _drop(self, tick: int) -> None:
        self.drop_count += 1
        self._lost = (self._lost[0] if self._lost else tick, tick)
        # The next tick brings a snapshot: its changes alone would not give the canvas.
        self._snapshot_tick = -self._snapshot_ticks

    def wait_committed(self, tick: int, timeout_s: float) -> bool:
        """Wait until a tick is on disk. False after `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: self.committed_tick >= tick or self.bug is not None, timeout_s)

    def set_brake(self, brake: Brake) -> None:
        """Use this brake from now on. A commit that the old one delays continues at once."""
        with self._changed:
            self._brake = brake
            self._changed.notify_all()

    # Start and end.

    def start(self, notify: Callable[[], None]) -> None:
        """Start to commit. The journal's thread calls `notify` after each commit, and when one fails."""
        self._notify = notify
        self._thread.start()

    def close(self) -> bool:
        """Commit what waits, trying once, and close the file. False if something could not be committed."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        if self.bug is not None:
            raise self.bug
        is_whole = not self._queue
        try:
            if self.gates:
                self._store.add([], {TICK_RESERVED: str(max(self._last_tick, self.committed_tick))})
            self._store.close()
        except sqlite3.Error as error:
            self.disk_error = disk_error_of(error)
            self._store.abandon()
            return is_whole and self._snapshot is None
        return is_whole

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None and self._commit_batch(batch):
                self._maintain()
        except BaseException as bug:
            with self._changed:
                self.bug = bug
                self._changed.notify_all()
            self._notify()

    def _next_batch(self) -> list[TickEntry] | None:
        """Wait for something to commit: ticks, or only numbers to reserve. None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._reserve_to != self._reserved or self._is_closing)
            return list(self._queue) if self._queue or not self._is_closing else None

    def _commit_batch(self, batch: list[TickEntry]) -> bool:
        """Commit a batch, trying again until it succeeds. False if the server ended before."""
        begun_ns = clock.now_ns()
        if self._compressor is not None:
            batch = [self._compressor.compress(entry) for entry in batch]
        if batch:
            self._apply_brake(len(batch))
        while not self._commit(batch):
            self._notify()
            with self._changed:
                if self._changed.wait_for(lambda: self._is_closing, RETRY_S):
                    return False
        now_ns = clock.now_ns()
        if not batch:
            return True
        self.busy_ns += now_ns - begun_ns
        self.batch_count += 1
        self.item_count += len(batch)
        with self._changed:
            for _ in batch:
                self._queue.popleft()
            assert batch[-1].tick > self.committed_tick, "committed ticks ascend"
            self.committed_ns, self.committed_tick = now_ns, batch[-1].tick
            self._changed.notify_all()
        self._notify()
        return True

    def _apply_brake(self, item_count: int) -> None:
        """Add service time to a commit."""
        with self._changed:
            brake = self._brake
            added_s = item_count * brake.item_us * 1e-6 + brake.batch_ms * 1e-3
            if added_s > 0:
                self._changed.wait_for(lambda: self._brake != brake or self._is_closing, added_s)

    def _commit(self, batch: list[TickEntry]) -> bool:
        """Write and commit once. False if that failed; nothing is written then."""
        reserve_to = self._reserve_to
        facts = {TICK_RESERVED: str(reserve_to)} if reserve_to != self._reserved else {}
        try:
            self._store.add(batch, facts)
        except sqlite3.Error as error:
            self.disk_error = disk_error_of(error)
            return False
        assert all(first.tick < second.tick for first, second in pairwise(batch))
        self.disk_error = DiskError.NONE
        self._reserved = reserve_to
        for entry in batch:
            self._snapshot = entry if entry.pixels is not None else self._snapshot
        return True

    def _maintain(self) -> None:
        """Write a snapshot, delete old ticks and move the log: after a commit, as no client waits for these."""
        try:
            if self._snapshot is not None and self._snapshot.pixels is not None:
                self._store.add_snapshot(self._snapshot.tick, self._snapshot.time_ns, self._snapshot.pixels)
                before_ns = self._snapshot.time_ns - self._keep_ns if self._keep_ns else 0
                self._snapshot = None
                if self.gates:
                    self._store.retire(before_ns, self._bytes_max)
            self._store.checkpoint()
        except sqlite3.Error:
            return  # Tried again after the next commit, which will report the error.


def _ignore() -> None:
    """For a journal that no loop waits for."""


@contextmanager
def running(journal: Journal | None) -> Iterator[None]:
    """Start a recording's journal that no loop waits for, and close it at the end. None: there is none."""
    if journal is None:
        yield
        return
    journal.start(_ignore)
    try:
        yield
    finally:
        journal.close()


def open_journal(config: ServerConfig, now_ns: int) -> Journal | None:
    """The journal that `config` names; None if it names none. Raises JournalError."""
    if not config.journal:
        return None
    if not config.journal_gates:
        return Journal(open_recording(config, now_ns), config, None, now_ns)
    recovered = recover(config, now_ns)
    try:
        return Journal(recovered.store, config, recovered, now_ns)
    except sqlite3.Error as error:
        recovered.store.abandon()
        raise cannot_open(recovered.store.path, error) from None
