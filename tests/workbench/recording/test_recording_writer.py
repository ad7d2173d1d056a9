"""A recording's writer: everything taken is in the file, and a failure is reported."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from server.journal.fault import DiskError, describe
from support import recorded
from support.refusal import refusal
from workbench.errors import UserError
from workbench.recording.reader import Recording
from workbench.recording.writer import RecordingWriter
from workbench.telemetry.view import Diagnosis, Marker, Reading, Turn

ROOT = Path(__file__).parents[3]


def test_a_writer_leaves_one_file_with_everything(tmp_path: Path) -> None:
    path = tmp_path / "a.pxr"
    writer = RecordingWriter(path, recorded.facts_of(70, 50))
    writer.start()
    for number in range(1, 31):
        diagnosis = Diagnosis("apply" if number > 20 else "none", f"sample {number}")
        stages, reading = recorded.readings_of(number), recorded.reading_of(number)
        writer.take(recorded.sample_of(number), recorded.tick_of(number), stages, diagnosis, reading)
    writer.mark(Marker(recorded.time_of(2), "fault", "all cut"))
    turn = Turn(recorded.time_of(3), {"load_curve": [[0, 1], [2.5, 1 / 3]]})
    writer.turn(turn)
    with Recording.open(path) as recording:
        assert recording.summary is None  # It can be read while it is written.
    writer.close({"seconds": 3.0})
    assert [found.name for found in tmp_path.iterdir()] == ["a.pxr"]
    with Recording.open(path) as recording:
        assert recording.summary == {"seconds": 3.0}
        assert recording.samples()["time_ns"].tolist() == [recorded.time_of(number) for number in range(1, 31)]
        assert recording.markers() == (Marker(recorded.time_of(2), "fault", "all cut"),)
        assert recording.turns() == (turn,) and recording.turns(1) == ()
        assert [row.number for row in recording.diagnoses()] == [1, 11, 21]
        assert [row.number for row in recording.diagnoses(11)] == [21]
        assert len(recording.tick_log()) == 30
        assert recording.reading_at(recording.last_ns) == recorded.reading_of(30)
    assert writer.state.failure == "" and writer.state.bytes == path.stat().st_size


def test_a_failure_between_two_steps_of_a_commit_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk turns out too slow while the previous commit reads the size of the file."""
    monkeypatch.setattr("workbench.recording.writer.WAITING_MAX", 3)
    writer = RecordingWriter(tmp_path / "a.pxr", recorded.facts_of(70, 50))

    def take(number: int) -> None:
        writer.take(recorded.sample_of(number), recorded.tick_of(number), (), Diagnosis("none"), Reading())

    size, taken = RecordingWriter._bytes, iter([range(2, 6)])

    def size_while_more_comes(self: RecordingWriter) -> int:
        for number in next(taken, ()):
            take(number)
        return size(self)

    monkeypatch.setattr(RecordingWriter, "_bytes", size_while_more_comes)
    take(1)
    writer._commit()
    assert writer.state.failure.startswith("the disk is too slow")
    writer.close({})
    assert writer.state.failure.startswith("the disk is too slow")
    with Recording.open(tmp_path / "a.pxr") as recording:
        assert len(recording.samples()) == 1 and recording.summary is None


def test_turns_that_could_not_be_written_are_reported(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "a.pxr", recorded.facts_of(70, 50))
    writer._file.execute("PRAGMA busy_timeout = 0")
    writer.turn(Turn(1, {"server.rate_per_s": 30}))
    with closing(sqlite3.connect(tmp_path / "a.pxr", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writer.close({})
    assert writer.state.failure == describe(DiskError.LOCKED)


def test_a_recording_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.pxr"
    path.write_bytes(b"kept")
    with pytest.raises(UserError, match="already exists"):
        RecordingWriter(path, recorded.facts_of(8, 8))
    assert path.read_bytes() == b"kept"


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
from support import recorded
from workbench.recording.writer import RecordingWriter
from workbench.telemetry.view import Diagnosis, Reading
writer = RecordingWriter(Path(sys.argv[1]), recorded.facts_of(70, 50))
for number in range(1, 11):
    writer.take(recorded.sample_of(number), recorded.tick_of(number), (), Diagnosis("none"), Reading())
writer._commit()
writer.take(recorded.sample_of(11), recorded.tick_of(11), (), Diagnosis("none"), Reading())
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_committed_rows_survive_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "a.pxr"
    done = subprocess.run([sys.executable, "-c", _KILLED, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    with Recording.open(path) as recording:
        assert len(recording.samples()) == 10
        assert recording.summary is None


def test_a_log_that_lost_commits_is_reported_and_can_be_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.pxr"
    subprocess.run([sys.executable, "-c", _KILLED, str(path)], cwd=ROOT, check=False)
    log = path.with_name("a.pxr-wal")
    data = bytearray(log.read_bytes())
    data[-100] ^= 4
    log.write_bytes(data)
    line = refusal(path)
    assert "its log a.pxr-wal is broken at frame" in line and "and the last commit is lost" in line
    with closing(sqlite3.connect(path)) as file:
        file.execute(line.split("'")[1])
    with Recording.open(path) as recording:
        assert len(recording.samples()) == 0


_FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
from support import recorded
from workbench.recording.writer import RecordingWriter
from workbench.telemetry.view import Diagnosis, Reading
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = RecordingWriter(Path(sys.argv[1]), recorded.facts_of(70, 50))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
number = 0
while not writer.state.failure:
    number += 1
    writer.take(recorded.sample_of(number), recorded.tick_of(number), (), Diagnosis("none"), Reading())
    writer._commit()
writer.close({})
print(writer.state.failure)
"""


def test_a_full_disk_stops_the_recording_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.pxr"
    command = [sys.executable, "-c", _FULL, str(path)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "disk" in done.stdout
    with Recording.open(path) as recording:
        assert len(recording.samples()) > 5
