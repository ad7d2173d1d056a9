"""The journal's file and its thread: which files are opened, which are refused and why, and what is deleted when."""

import sqlite3
import threading
from contextlib import closing

import numpy as np
import pytest

from server.config import Brake, Brakes
from server.journal import schema
from server.journal.fault import DiskError, JournalError, describe, disk_error_of
from server.journal.journal import QUEUE_MAX, TICKS_RESERVED, open_journal
from server.journal.recovery import TICK_RESERVED, recover
from server.journal.store import Store, TickEntry
from server.kernels.encode import paint_blocks
from server.kernels.layout import Stage
from server.protocol.blocks import Block, encode_blocks
from server.protocol.messages import Place, Subscribe
from server.wire import Encoding
from support.journaled import HEIGHT, NOW_NS, WIDTH, config_of, entry
from support.serving import PATIENCE_S, Serving
from support.stages import new_canvas, picture


@pytest.fixture
def path(tmp_path):
    """A journal in which ticks 1, 2, 3 and 5 set the pixels (tick, 0) to their number."""
    path = tmp_path / "canvas.pxj"
    store = recover(config_of(path), NOW_NS).store
    store.add([entry(tick, (tick, 0, tick)) for tick in (1, 2, 3, 5)], {TICK_RESERVED: "9"})
    store.close()
    return path


def change(path, statement, *values):
    """Harm a journal by SQL."""
    with closing(sqlite3.connect(path)) as file:
        file.execute(statement, values)
        file.commit()


def opened(path, **settings):
    """What is recovered; the file is given back."""
    recovered = recover(config_of(path, **settings), NOW_NS)
    recovered.store.close()
    return recovered


def refusal(path, **settings):
    """Why a journal is refused: one line that names the file."""
    with pytest.raises(JournalError) as caught:
        recover(config_of(path, **settings), NOW_NS)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestOpening:
    def test_a_new_file_is_an_empty_canvas(self, tmp_path):
        recovered = opened(tmp_path / "new.pxj")
        assert (recovered.tick, recovered.notes, recovered.pixels.any()) == (0, [], False)
        assert recovered.pixels.shape == (HEIGHT, WIDTH)

    def test_it_continues_above_every_number_that_clients_saw(self, path):
        recovered = opened(path)
        assert recovered.tick == 9
        assert recovered.pixels[0, :7].tolist() == [0, 1, 2, 3, 0, 5, 0]
        assert opened(path).pixels.tobytes() == recovered.pixels.tobytes()

    def test_an_empty_file_is_new(self, tmp_path):
        (tmp_path / "empty").touch()
        assert opened(tmp_path / "empty").tick == 0

    def test_one_server_at_a_time(self, path):
        store = recover(config_of(path), NOW_NS).store
        assert "in use by another server" in refusal(path)
        store.close()
        opened(path)

    def test_other_files_are_refused(self, path, tmp_path):
        (tmp_path / "text").write_text("hello, I am no journal")
        assert "another kind of file" in refusal(tmp_path / "text")
        change(tmp_path / "other.db", "CREATE TABLE cats (name TEXT)")
        assert "another program's" in refusal(tmp_path / "other.db")
        assert "cannot be opened" in refusal(tmp_path)
        assert f"there is no folder {tmp_path / 'none'}; make it first" in refusal(tmp_path / "none" / "file")
        assert "but the server's is 64x45" in refusal(path, width=64)
        change(path, "UPDATE meta SET value = 'recording' WHERE key = 'kind'")
        assert "is a recording" in refusal(path)
        change(path, "PRAGMA user_version = 4")
        assert "has version 4" in refusal(path)

    def test_a_schema_that_is_not_text_is_refused(self, path):
        path.write_bytes(path.read_bytes().replace(b"CREATE TABLE ticks", b"CREATE TAB\xccE ticks"))
        assert "is damaged: a text in it is no text" in refusal(path)

    def test_a_truncated_file_is_refused(self, path):
        whole = path.read_bytes()
        for size in (50, 3000, 4096, len(whole) - 4096):
            path.write_bytes(whole[:size])
            refusal(path)


class TestDamage:
    def test_a_damaged_end_is_cut_and_reported(self, path):
        change(path, "UPDATE ticks SET blocks = x'000000' WHERE tick >= 3")
        recovered = opened(path)
        assert recovered.pixels[0, :7].tolist() == [0, 1, 2, 0, 0, 0, 0]
        assert len(recovered.notes) == 1
        assert "ticks 3 to 5 were damaged" in recovered.notes[0]
        assert recovered.tick == 9
        assert opened(path).notes == []

    def test_a_damaged_middle_is_refused_with_a_remedy_that_works(self, path):
        change(path, "UPDATE ticks SET time_ns = time_ns + 1 WHERE tick = 2")
        line = refusal(path)
        assert "damaged at tick 2, with 2 undamaged ticks after it" in line
        assert "continue from 1" in line
        change(path, line.split("'")[1])
        assert opened(path).pixels[0, :7].tolist() == [0, 1, 0, 0, 0, 0, 0]

    def test_a_damaged_snapshot_is_replaced_by_the_previous_one(self, path):
        opened(path)
        change(path, "UPDATE snapshots SET crc = crc + 1 WHERE tick > 0")
        recovered = opened(path)
        assert recovered.pixels[0, :7].tolist() == [0, 1, 2, 3, 0, 5, 0]
        assert "snapshot of tick 9 is damaged" in recovered.notes[0]

    def test_a_file_without_snapshots_is_refused(self, path):
        change(path, "UPDATE snapshots SET pixels = x'00'")
        assert "no undamaged snapshot" in refusal(path)

    @pytest.mark.parametrize("value", ["NULL", "'text'", "x'0102'", "-1", "1e300"])
    @pytest.mark.parametrize("column", ["time_ns", "encoding", "tile_count", "blocks", "crc"])
    def test_damage_of_any_column_is_found(self, path, column, value):
        change(path, f"UPDATE ticks SET {column} = {value} WHERE tick = 5")
        assert "ticks 5 to 5" in opened(path).notes[0]

    def test_no_flipped_bit_gives_a_wrong_canvas_or_a_traceback(self, path):
        """What is flipped outside of our rows may be refused, cut, or be of no consequence."""
        whole, lots = path.read_bytes(), np.random.default_rng(7)
        right = {bytes([0, 1, 2, 3, 0, 5, 0][:count]).ljust(7, b"\0") for count in range(7)}
        outcomes = {"refused": 0, "cut": 0, "whole": 0}
        for bit in lots.integers(0, 8 * len(whole), 300).tolist():
            harmed = bytearray(whole)
            harmed[bit >> 3] ^= 1 << (bit & 7)
            path.write_bytes(harmed)
            for name in ("-wal", "-shm"):
                path.with_name(path.name + name).unlink(missing_ok=True)
            try:
                recovered = opened(path)
            except JournalError as refused:
                assert "\n" not in str(refused)
                outcomes["refused"] += 1
                continue
            assert recovered.pixels[0, :7].tobytes() in right, bit
            outcomes["cut" if recovered.notes else "whole"] += 1
        assert outcomes["whole"] > 0


class TestRetention:
    def fill(self, store, count):
        for tick in range(1, count + 1):
            store.add([entry(tick, (tick % 32, 0, 1), time_ns=tick * 1000)], {})
            if tick % 10 == 0:
                store.add_snapshot(tick, tick * 1000, bytes(WIDTH * HEIGHT))

    def rows(self, store, table):
        return [tick for (tick,) in store.connection.execute(f"SELECT tick FROM {table} ORDER BY tick")]

    def test_by_age(self, tmp_path):
        store = recover(config_of(tmp_path / "j"), 0).store
        self.fill(store, 45)
        store.retire(25_000, 0)
        assert self.rows(store, "snapshots") == [20, 30, 40]
        assert self.rows(store, "ticks") == list(range(21, 46))
        store.retire(1 << 60, 0)
        assert self.rows(store, "snapshots") == [40]
        store.close()
        assert opened(tmp_path / "j").notes == []

    def test_by_size_and_the_file_shrinks(self, tmp_path):
        store = recover(config_of(tmp_path / "j"), 0).store
        lots = np.random.default_rng(1)
        for tick in range(1, 9):
            store.add_snapshot(tick, tick, lots.bytes(WIDTH * HEIGHT))
        before = store.file_bytes()
        store.retire(0, before // 2)
        assert store.file_bytes() <= before // 2
        store.retire(0, 1)
        assert self.rows(store, "snapshots") == [8]
        store.close()


class Rung:
    """Counts how often the journal rang, and lets a test wait for it."""

    def __init__(self):
        self._bell = threading.Semaphore(0)

    def __call__(self):
        self._bell.release()

    def wait(self):
        assert self._bell.acquire(timeout=PATIENCE_S), "the journal does not ring"


class TestThread:
    def test_ticks_are_on_disk_before_it_notifies(self, path):
        journal, rung = open_journal(config_of(path), NOW_NS), Rung()
        journal.start(rung)
        tick = journal.committed_tick + 1
        assert journal.is_free(tick)
        journal.submit(entry(tick, (6, 0, 6)))
        rung.wait()
        assert journal.committed_tick == tick
        assert journal.is_free(tick + 1)
        with closing(sqlite3.connect(path)) as file:
            assert file.execute("SELECT max(tick) FROM ticks").fetchone() == (tick,)
        assert journal.close()
        assert opened(path).pixels[0, 6] == 6
        assert opened(path).tick == tick

    def test_tick_numbers_are_reserved_in_time(self, path):
        journal, rung = open_journal(config_of(path), NOW_NS), Rung()
        first = journal.committed_tick + 1
        assert journal.is_free(first + TICKS_RESERVED - 1)
        assert not journal.is_free(first + TICKS_RESERVED)
        journal.start(rung)
        assert journal.wait_committed(first - 1, PATIENCE_S)
        assert journal.close()

    def test_a_snapshot_is_due_after_the_configured_ticks(self, path):
        journal = open_journal(config_of(path, journal_snapshot_ticks=3), NOW_NS)
        first = journal.committed_tick
        assert [journal.wants_snapshot(first + n) for n in (1, 2, 3)] == [False, False, True]
        journal.start(Rung())
        journal.submit(entry(first + 3, (6, 0, 6), pixels=bytes([9]) * (WIDTH * HEIGHT)))
        assert journal.wait_committed(first + 3, PATIENCE_S)
        assert not journal.wants_snapshot(first + 5)
        assert journal.close()
        assert (opened(path).pixels == 9).all()

    def test_times_in_the_file_ascend_after_a_reboot(self, path):
        journal = open_journal(config_of(path), 77)
        journal.start(Rung())
        journal.submit(entry(10, (6, 0, 6), time_ns=100))
        assert journal.close()
        with closing(sqlite3.connect(path)) as file:
            times = [time_ns for (time_ns,) in file.execute("SELECT time_ns FROM ticks ORDER BY tick")]
        assert times == sorted(times)

    def test_a_brake_delays_a_commit_until_it_is_released(self, path):
        config = config_of(path, brakes=Brakes(journal=Brake(batch_ms=500.0)))
        journal, rung = open_journal(config, NOW_NS), Rung()
        journal.start(rung)
        journal.submit(entry(10, (6, 0, 6)))
        journal.set_brake(Brake())
        rung.wait()
        assert journal.committed_tick == 10
        assert journal.close()


class TestRecording:
    """A journal that does not gate."""

    def test_it_adds_to_a_file_that_another_process_created(self, tmp_path):
        path = tmp_path / "run.pxr"
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            schema.create_tables(file, schema.SERVER_TABLES)
            file.execute(schema.SET_META, ("kind", "recording"))
            file.execute(schema.SET_META, ("seed", "3"))
        journal = open_journal(config_of(path, journal_gates=False), NOW_NS)
        journal.start(Rung())
        journal.submit(entry(1, (1, 1, 1)))
        assert journal.close()
        with closing(sqlite3.connect(path)) as file:
            assert file.execute("SELECT tick FROM ticks").fetchall() == [(1,)]
            assert file.execute("SELECT tick FROM snapshots").fetchall() == [(0,)]
            assert dict(file.execute("SELECT key, value FROM meta"))["seed"] == "3"

    def test_a_run_does_not_overwrite_another(self, tmp_path):
        path = tmp_path / "run.pxr"
        journal = open_journal(config_of(path, journal_gates=False), NOW_NS)
        journal.start(Rung())
        journal.submit(entry(1, (1, 1, 1)))
        assert journal.close()
        with pytest.raises(JournalError, match="holds a run already"):
            open_journal(config_of(path, journal_gates=False), NOW_NS)

    def test_dropped_ticks_are_counted_and_marked_and_a_snapshot_follows(self, tmp_path):
        path = tmp_path / "run.pxr"
        journal = open_journal(config_of(path, journal_gates=False), NOW_NS)
        for tick in range(1, QUEUE_MAX + 4):
            assert journal.is_free(tick)
            journal.submit(entry(tick, (1, 1, 1)))
        assert journal.drop_count == 3
        journal.start(Rung())
        assert journal.wait_committed(QUEUE_MAX, PATIENCE_S)
        tick = QUEUE_MAX + 4
        assert journal.bug is None
        assert journal.wants_snapshot(tick)
        journal.submit(entry(tick, (2, 2, 2), pixels=bytes(WIDTH * HEIGHT)))
        assert not journal.wants_snapshot(tick + 1)
        assert journal.close()
        with closing(sqlite3.connect(path)) as file:
            (text,) = file.execute("SELECT text FROM markers").fetchone()
            assert f"ticks {QUEUE_MAX + 1} to {QUEUE_MAX + 3} are missing" in text
            assert file.execute("SELECT max(tick) FROM snapshots").fetchone() == (tick,)

    @pytest.mark.parametrize("loop", ["native", "mailbox"])
    def test_a_server_writes_what_it_broadcasts(self, tmp_path, loop):
        path = tmp_path / "run.pxr"
        with Serving(journal=str(path), journal_gates=False, loop=loop) as serving, serving.client() as client:
            client.send(Subscribe(), *(Place(x, 7, 3) for x in range(50)))
            while not (client.pixels[7, :50] == 3).all():
                client.message()
            assert serving.telemetry["stages"][0, Stage.JOURNAL]["drop_count"] == 0
        with closing(sqlite3.connect(path)) as file:
            rows = file.execute("SELECT encoding, pixel_count FROM ticks").fetchall()
        assert sum(count for _, count in rows) == 50


class TestPaintBlocks:
    """The kernel against the plain decoder: both paint the same."""

    def test_each_kind_of_block_and_edge_tiles(self):
        canvas = new_canvas(WIDTH, HEIGHT)
        lots = np.random.default_rng(3)
        for tick in range(1, 40):
            expected = picture(canvas)
            blocks = []
            for tile in sorted(lots.choice(6, 3, replace=False).tolist()):
                offsets = sorted(lots.choice(1024, int(lots.choice([1, 60, 300, 1024])), replace=False).tolist())
                colors = lots.bytes(len(offsets))
                blocks.append(Block(tile, tuple(offsets), colors))
                for offset, color in zip(offsets, colors, strict=True):
                    y, x = tile // 3 * 32 + offset // 32, tile % 3 * 32 + offset % 32
                    if y < HEIGHT and x < WIDTH:
                        expected[y, x] = color
            data = np.frombuffer(bytearray(encode_blocks(blocks)), np.uint8)
            assert paint_blocks(data, len(blocks), canvas, tick)
            assert (picture(canvas) == expected).all()
            assert all(canvas.tile_tick[block.tile] == tick for block in blocks)

    def test_malformed_blocks_are_refused(self):
        canvas = new_canvas(WIDTH, HEIGHT)
        whole = encode_blocks([Block(5, (0, 9, 500), b"abc"), Block(2, tuple(range(400)), bytes(400))])
        for end in range(len(whole)):
            assert not paint_blocks(np.frombuffer(bytearray(whole[:end]), np.uint8), 2, canvas, 1)
        assert not paint_blocks(np.frombuffer(bytearray(whole), np.uint8), 1, canvas, 1)
        assert not paint_blocks(np.frombuffer(bytearray(b"\6\0\0\0"), np.uint8), 1, canvas, 1)
        assert not paint_blocks(np.frombuffer(bytearray(b"\0\0\3\0"), np.uint8), 1, canvas, 1)


class TestTrouble:
    def test_each_disk_error_has_a_description(self):
        assert all(describe(trouble) for trouble in DiskError if trouble != DiskError.NONE)

    def test_the_error_of_a_closed_file(self, path):
        store = Store(path, "normal")
        store.connection.execute("PRAGMA query_only = 1")
        with pytest.raises(sqlite3.Error) as caught:
            store.add([], {"a": "b"})
        assert disk_error_of(caught.value) == DiskError.READ_ONLY
        store.abandon()

    def test_a_bug_in_the_thread_is_raised(self, path):
        journal, rung = open_journal(config_of(path), NOW_NS), Rung()
        journal.start(rung)
        journal.submit(TickEntry(10, NOW_NS, 1, 1, Encoding.RAW, None))
        rung.wait()
        with pytest.raises(TypeError):
            journal.close()


def test_a_mailbox_server_has_no_journal(tmp_path):
    with pytest.raises(ValueError, match="mailbox server keeps none"):
        config_of(tmp_path / "j", loop="mailbox")
