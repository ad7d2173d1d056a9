"""A journal on a disk that fails: whatever write, sync or truncation it is, nothing is claimed that is not there."""

import queue
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from conftest import give_up, is_ci
from server.journal import journal as journal_module
from server.journal import store as store_module
from server.journal.fault import DiskError, JournalError
from server.journal.journal import open_journal
from server.journal.recovery import recover
from support.faulty_disk import FULL, IOERR_FSYNC, IOERR_TRUNCATE, IOERR_WRITE, Fault, faulty_disk
from support.journaled import HEIGHT, NOW_NS, WIDTH, config_of, entry
from support.serving import PATIENCE_S

TICKS = 4
FAULTS = {
    "an error": ("write", IOERR_WRITE, False, DiskError.INPUT_OUTPUT),
    "a full disk": ("write", FULL, False, DiskError.FULL),
    "half a write": ("write", FULL, True, DiskError.FULL),
    "no sync": ("sync", IOERR_FSYNC, False, DiskError.INPUT_OUTPUT),
    "no truncation": ("truncate", IOERR_TRUNCATE, False, DiskError.INPUT_OUTPUT),
}


@pytest.fixture
def disk():
    with faulty_disk() as disk:
        if disk is None:
            give_up("libsqlite3", "use a Python whose sqlite3 links to the system's library", in_ci=is_ci())
        yield disk


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Try again at once, and move the log into the file after every commit."""
    monkeypatch.setattr(journal_module, "RETRY_S", 0.0)
    monkeypatch.setattr(store_module, "CHECKPOINT_BYTES", 1)


class Watched:
    """A journal's life on that disk: what it reported, and what its store reported to it."""

    def __init__(self, path):
        self.path = path
        self.shown = []
        self.troubles = []
        self.copies = queue.Queue()
        self.failures = 0
        self.refusal = ""
        self.is_whole = True

    def live(self, folder):
        """Open it, commit some ticks, and look after each at what a kill would leave; then close it."""
        try:
            self.journal = open_journal(config_of(self.path, journal_sync="full"), NOW_NS)
        except JournalError as refused:
            self.refusal = str(refused)
            return
        self.watch(self.journal)
        self.journal.start(lambda: self.ring(folder))
        try:
            self.commit_some(folder)
        finally:
            self.is_whole = self.journal.close()

    def commit_some(self, folder):
        first, canvas = self.journal.committed_tick, np.zeros((HEIGHT, WIDTH), np.uint8)
        for number in range(1, TICKS + 1):
            canvas[1, number] = 10 + number
            pixels = canvas.tobytes() if number == 2 else None
            self.journal.submit(entry(first + number, (number, 1, 10 + number), pixels=pixels))
            tick, copy = self.copies.get(timeout=PATIENCE_S)
            assert tick == first + number
            self.shown.append((tick, number))
            self.require_all(copy)

    def ring(self, folder):
        """Called in the journal's own thread, so that it does not write while its files are copied."""
        self.troubles.append(self.journal.disk_error)
        if self.journal.disk_error is DiskError.NONE:
            self.copies.put((self.journal.committed_tick, killed(self.path, folder)))

    def watch(self, journal):
        add = journal._store.add

        def counted(*arguments):
            try:
                add(*arguments)
            except sqlite3.Error:
                self.failures += 1
                raise

        journal._store.add = counted

    def require_all(self, path):
        """All that was shown is in a file, and in the canvas that a server would begin with."""
        if self.shown:
            with closing(sqlite3.connect(path)) as file:
                ticks = {tick for (tick,) in file.execute("SELECT tick FROM ticks")}
            assert {tick for tick, _ in self.shown} <= ticks
        recovered = recover(config_of(path), NOW_NS)
        recovered.store.close()
        assert recovered.notes == []
        for tick, number in self.shown:
            assert recovered.tick >= tick
            assert recovered.pixels[1, number] == 10 + number


def killed(path, folder):
    """Files as a kill would leave them now."""
    copy = folder / "killed.pxj"
    for name in ("", "-wal", "-shm"):
        copy.with_name(f"{copy.name}{name}").unlink(missing_ok=True)
    for name in ("", "-wal"):
        if path.with_name(f"{path.name}{name}").exists():
            shutil.copy(f"{path}{name}", f"{copy}{name}")
    return copy


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", FAULTS)
def test_nothing_is_claimed_that_is_not_on_disk(tmp_path, disk, kind, count):
    operation, code, is_short, trouble = FAULTS[kind]
    number, refusals, reported = 0, 0, 0
    while True:
        number += 1
        path = tmp_path / f"{number}.pxj"
        disk.fail(path, Fault(operation, code, number, count, is_short))
        watched = Watched(path)
        watched.live(tmp_path)
        failed_count = disk.failed_count
        disk.fail(path, None)
        if failed_count == 0:
            break
        if watched.refusal:
            refusals += 1
            assert str(path) in watched.refusal and "\n" not in watched.refusal
        watched.require_all(path)
        troubles = [found for found in watched.troubles if found is not DiskError.NONE]
        assert set(troubles) <= {trouble}
        reported += len(troubles)
    assert number > 1
    if operation != "truncate":
        assert refusals > 0 and reported > 0
