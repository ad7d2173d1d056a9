"""The journal: a thread that commits what ticks changed, and tells the loops when it has.

The engine hands it a tick's changes and goes on. Where it gates, one tick at a time is under way and is shown to nobody
before it is committed; where it does not (a recording), ticks may queue, and those for which the queue has no room are
given up, counted and marked. A commit that fails is tried again every second, until it succeeds or the server ends.
Invariant: `committed_tick` names a tick that is on disk, with all before it.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from server.config import Brake, ServerConfig
from server.journal.condenser import DeltaCompressor
from server.journal.fault import DiskError, trouble_of
from server.journal.recovery import TICK_RESERVED, Recovered, cannot_open, open_recording, recover
from server.journal.store import Store, TickEntry
from server.system import clock

QUEUE_MAX = 64
"""Ticks that may wait for a recording's disk: some seconds, longer than any disk is merely slow."""
RETRY_S = 1.0
TICKS_RESERVED = 1000
"""Numbers of ticks that are set aside at once. A crash skips what is left of them, since clients may have seen them."""


class Journal:
    """One file and the thread that writes it. In this order: `start`, `submit` tick after tick, `close`."""

    def __init__(self, store: Store, config: ServerConfig, recovered: Recovered | None, now_ns: int) -> None:
        """`recovered` is what a gating journal goes on from. Raises sqlite3.Error."""
        self.gates = config.journal_gates
        self.depth_max = 1 if self.gates else QUEUE_MAX
        self.recovered = recovered
        self.committed_tick = recovered.tick if recovered else 0
        self.committed_ns = 0
        self.trouble = DiskError.NONE
        """Why the newest commit has not succeeded yet."""
        self.bug: BaseException | None = None
        self.busy_ns = 0
        self.batch_count = 0
        self.item_count = 0
        self.drop_count = 0
        self._store = store
        self._condenser = None if self.gates else DeltaCompressor(config.width, config.height)
        self._keep_ns = int(config.journal_keep_s * 1e9)
        self._bytes_max = config.journal_bytes_max
        self._snapshot_ticks = config.journal_snapshot_ticks
        self._snapshot_tick = self.committed_tick
        self._snapshot: TickEntry | None = None
        """The newest snapshot that is not on disk yet."""
        # Where the machine was started anew, its clock begins again; the file's goes on.
        self._ahead_ns = max(0, recovered.time_ns + 1 - now_ns) if recovered else 0
        self._brake = config.brakes.journal
        self._queue: deque[TickEntry] = deque()
        self._lost: tuple[int, int] | None = None
        self._last_tick = self.committed_tick
        self._reserved = self._reserve_to = self.committed_tick + TICKS_RESERVED
        if self.gates:
            store.add([], {TICK_RESERVED: str(self._reserved)})
        self._changed = threading.Condition()
        self._is_ending = False
        self._ring: Callable[[], None] = _nobody
        self._thread = threading.Thread(target=self._live, name="journal")

    # What the engine asks of it, while the loops stand still.

    @property
    def waiting_count(self) -> int:
        """Ticks that are not committed yet."""
        return len(self._queue)

    def is_free(self, tick: int) -> bool:
        """Whether a tick of this number may be finished now."""
        self._last_tick = max(self._last_tick, tick - 1)
        if not self.gates:
            return True
        if tick > self._reserve_to - TICKS_RESERVED // 2:
            with self._changed:
                self._reserve_to = tick + TICKS_RESERVED
                self._changed.notify_all()
        return tick <= self._reserved and not self._queue

    def wants_snapshot(self, tick: int) -> bool:
        """Whether the canvas after this tick is to be kept as a whole."""
        return tick - self._snapshot_tick >= self._snapshot_ticks

    def submit(self, entry: TickEntry) -> None:
        """Commit this tick, behind those that wait. A recording gives it up when too many do."""
        if len(self._queue) >= self.depth_max:
            assert not self.gates, "a tick was finished before the one before it was shown"
            self._give_up(entry.tick)
            return
        if entry.pixels is not None:
            self._snapshot_tick = entry.tick
        lost, self._lost = self._lost, None
        with self._changed:
            self._queue.append(replace(entry, time_ns=entry.time_ns + self._ahead_ns, lost=lost))
            self._changed.notify_all()

    def _give_up(self, tick: int) -> None:
        self.drop_count += 1
        self._lost = (self._lost[0] if self._lost else tick, tick)
        # The next that is taken brings one: without, its changes would hang in the air.
        self._snapshot_tick = -self._snapshot_ticks

    def wait_committed(self, tick: int, timeout_s: float) -> bool:
        """Wait until a tick is on disk. False when it is not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.committed_tick >= tick or self.bug is not None, timeout_s)

    def set_brake(self, brake: Brake) -> None:
        """Go by this brake from now on; what it holds back is let go."""
        with self._changed:
            self._brake = brake
            self._changed.notify_all()

    # Its life.

    def start(self, ring: Callable[[], None]) -> None:
        """Begin to commit. `ring` is called from the journal's thread after each commit, and when trouble comes."""
        self._ring = ring
        self._thread.start()

    def close(self) -> bool:
        """Commit what waits, trying once, and close the file. False when not all of it could be committed."""
        with self._changed:
            self._is_ending = True
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
            self.trouble = trouble_of(error)
            self._store.abandon()
            return is_whole and self._snapshot is None
        return is_whole

    def _live(self) -> None:
        try:
            while (batch := self._await()) is not None and self._serve(batch):
                self._keep_house()
        except BaseException as bug:
            with self._changed:
                self.bug = bug
                self._changed.notify_all()
            self._ring()

    def _await(self) -> list[TickEntry] | None:
        """Wait for something to commit: ticks, or only numbers that are to be set aside. None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._reserve_to != self._reserved or self._is_ending)
            return list(self._queue) if self._queue or not self._is_ending else None

    def _serve(self, batch: list[TickEntry]) -> bool:
        """Commit a batch, however long that takes; only the end of the server ends it early, with False."""
        begun_ns = clock.now_ns()
        if self._condenser is not None:
            batch = [self._condenser.condense(entry) for entry in batch]
        if batch:
            self._pay(len(batch))
        while not self._commit(batch):
            self._ring()
            with self._changed:
                if self._changed.wait_for(lambda: self._is_ending, RETRY_S):
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
            self.committed_ns, self.committed_tick = now_ns, batch[-1].tick
            self._changed.notify_all()
        self._ring()
        return True

    def _pay(self, item_count: int) -> None:
        """The brake: service time that is added to a commit."""
        with self._changed:
            brake = self._brake
            added_s = item_count * brake.item_us * 1e-6 + brake.batch_ms * 1e-3
            if added_s > 0:
                self._changed.wait_for(lambda: self._brake != brake or self._is_ending, added_s)

    def _commit(self, batch: list[TickEntry]) -> bool:
        """Write and commit once. False when the disk does not take it; nothing is written then."""
        reserve_to = self._reserve_to
        facts = {TICK_RESERVED: str(reserve_to)} if reserve_to != self._reserved else {}
        try:
            self._store.add(batch, facts)
        except sqlite3.Error as error:
            self.trouble = trouble_of(error)
            return False
        self.trouble = DiskError.NONE
        self._reserved = reserve_to
        for entry in batch:
            self._snapshot = entry if entry.pixels is not None else self._snapshot
        return True

    def _keep_house(self) -> None:
        """What can wait until a tick was committed: a snapshot, giving up what is too old, moving the log.

        When the disk does not take it, that is tried again after the next commit, which tells the trouble.
        """
        try:
            if self._snapshot is not None and self._snapshot.pixels is not None:
                self._store.add_snapshot(self._snapshot.tick, self._snapshot.time_ns, self._snapshot.pixels)
                before_ns = self._snapshot.time_ns - self._keep_ns if self._keep_ns else 0
                self._snapshot = None
                if self.gates:
                    self._store.retire(before_ns, self._bytes_max)
            self._store.checkpoint()
        except sqlite3.Error:
            return


def _nobody() -> None:
    """Nobody is to be told."""


@contextmanager
def running(journal: Journal | None) -> Iterator[None]:
    """A recording's journal while it is written to, without anybody who waits for it; None: there is none."""
    if journal is None:
        yield
        return
    journal.start(_nobody)
    try:
        yield
    finally:
        journal.close()


def open_journal(config: ServerConfig, now_ns: int) -> Journal | None:
    """The journal that `config` asks for; None when it asks for none. Raises JournalError."""
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
