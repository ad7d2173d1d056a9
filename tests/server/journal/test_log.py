"""The log beside a file in WAL mode: damage in it is reported, and a write that never ended is not damage."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.journal.log import Loss, loss_in
from server.journal.recovery import recover
from support.journaled import NOW_NS, config_of, entry

COMMITS = 12
HEAD_BYTES, FRAME_BYTES = 32, 24 + 4096


def make(folder: Path, commits: int = COMMITS, *, restarts: int = 0) -> Path:
    """A database whose rows are in its log alone, as a killed writer leaves it. Returns its path."""
    folder.mkdir(exist_ok=True)
    made = folder / "made.db"
    path = folder / "a.db"
    with closing(sqlite3.connect(made, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA wal_autocheckpoint = 0")
        file.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)")
        for _ in range(restarts):
            file.executemany("INSERT INTO t (b) VALUES (?)", [(bytes(900),)] * 60)
            file.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        for number in range(commits):
            file.execute("INSERT INTO t (b) VALUES (?)", (bytes([number]) * 100,))
        for end in ("", "-wal"):
            shutil.copy(f"{made}{end}", f"{path}{end}")
    return path


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def rows_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as file:
        (count,) = file.execute("SELECT count(*) FROM t").fetchone()
    return int(count)


def flip(path: Path, at: int, bit: int = 0) -> None:
    data = bytearray(log_of(path).read_bytes())
    data[at] ^= 1 << bit
    log_of(path).write_bytes(data)


def test_no_log_and_an_undamaged_one_are_no_loss(tmp_path: Path) -> None:
    assert loss_in(tmp_path / "none.db") is None
    assert loss_in(make(tmp_path)) is None
    assert loss_in(make(tmp_path / "again", restarts=2)) is None


@pytest.mark.parametrize("restarts", [0, 1, 3])
def test_a_last_write_cut_off_by_a_kill_is_no_loss(tmp_path: Path, restarts: int) -> None:
    path = make(tmp_path, restarts=restarts)
    frames = log_of(path).read_bytes()
    for cut in (1, 100, 4096, FRAME_BYTES):  # The last write never came to its end.
        log_of(path).write_bytes(frames[: len(frames) - cut])
        assert loss_in(path) is None, cut


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_reported_with_the_commits_that_sqlite_drops(tmp_path: Path, data: st.DataObject) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    path = make(tmp_path)
    size = log_of(path).stat().st_size
    at = data.draw(st.integers(HEAD_BYTES, size - 1))
    flip(path, at, data.draw(st.integers(0, 7)))
    loss = loss_in(path)
    left = rows_left(path)
    assert loss is not None
    assert loss.frame_count == (size - HEAD_BYTES) // FRAME_BYTES
    missed = COMMITS - left - loss.commit_count  # The first commit is of the table itself: its loss leaves -1 rows.
    is_of_commit_mark = 4 <= (at - HEAD_BYTES) % FRAME_BYTES < 8
    assert abs(missed) <= 1 if is_of_commit_mark else missed == 0


def rows_left(path: Path) -> int:
    """The rows that SQLite still shows; -1 where not even the table is there."""
    try:
        return rows_in(path)
    except sqlite3.OperationalError:
        return -1


def test_a_broken_head_loses_all(tmp_path: Path) -> None:
    path = make(tmp_path)
    flip(path, 17)
    loss = loss_in(path)
    assert loss is not None
    assert (loss.frame, loss.commit_count) == (0, COMMITS + 1)
    assert str(loss) == f"broken at its head, and {COMMITS + 1} commits from there on are lost"
    assert rows_left(path) == -1


def test_a_broken_last_frame_over_an_earlier_generation_may_be_a_write_in_progress(tmp_path: Path) -> None:
    path = make(tmp_path, restarts=1)
    data = log_of(path).read_bytes()
    salts = [data[at + 8 : at + 16] for at in range(HEAD_BYTES, len(data), FRAME_BYTES)]
    own_count = salts.count(data[16:24])
    assert 3 < own_count < len(salts)
    flip(path, HEAD_BYTES + (own_count - 1) * FRAME_BYTES + 2000)
    assert loss_in(path) is None
    flip(path, HEAD_BYTES + 2 * FRAME_BYTES + 2000)
    loss = loss_in(path)
    assert loss is not None
    assert (loss.frame, loss.frame_count) == (3, len(salts))
    assert rows_in(path) + loss.commit_count == COMMITS + 60


def test_the_text_of_a_loss() -> None:
    assert str(Loss(7, 9, 1)) == "broken at frame 7 of 9, and the last commit is lost"
    assert str(Loss(3, 9, 4)) == "broken at frame 3 of 9, and 4 commits from there on are lost"


def test_a_journal_reports_lost_commits_and_continues(tmp_path: Path) -> None:
    path, killed = tmp_path / "canvas.pxj", tmp_path / "killed.pxj"
    store = recover(config_of(path), NOW_NS).store
    for tick in (11, 12, 13):
        store.add([entry(tick, (tick, 0, tick))], {})
    for end in ("", "-wal"):  # As a kill leaves them.
        shutil.copy(f"{path}{end}", f"{killed}{end}")
    store.close()
    flip(killed, log_of(killed).stat().st_size - 100)
    recovered = recover(config_of(killed), NOW_NS)
    recovered.store.close()
    (note,) = recovered.notes
    assert "its log killed.pxj-wal was broken at frame" in note
    assert recovered.pixels[0, 11:14].tolist() == [11, 12, 0]
