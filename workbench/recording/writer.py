"""Writes a recording during a run: facts, figures of ticks, samples, readings, markers, turns and diagnoses.

The server writes the canvas's ticks to the same file; the rest is written here, by a thread that commits about once per
second. Callers never wait for the disk, and what waits for it is bounded. A recording that fails says so in its state,
and the run goes on.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from server.config import ServerConfig
from server.journal import schema
from server.journal.fault import DiskError, describe, disk_error_of
from workbench.errors import UserError
from workbench.output_file import require_new
from workbench.recording.facts import checked
from workbench.recording.rows import (
    ADD_HOSTILE_SAMPLE,
    ADD_SAMPLE,
    ADD_STAGE_SAMPLE,
    ADD_TICK_LOG,
    diagnosis_row,
    hostile_rows,
    marker_row,
    reading_row,
    sample_row,
    stage_rows,
    tick_rows,
    turn_row,
)
from workbench.recording.schema import DIAGNOSES, READINGS, RECORDING_TABLES, TURNS
from workbench.telemetry.view import Diagnosis, Marker, Reading, RecordingState, StageReading, Turn

# The time of samples that may be lost when this process is killed.
COMMIT_S = 1.0
# Samples that may wait for the disk: a minute of them. With more, the disk counts as failed.
WAITING_MAX = 600
# Between two snapshots: few enough that the canvas of any moment is read in a tenth of a second.
SNAPSHOT_TICKS = 50
_BUSY_S = 5.0
# At most one sentence per second of the same bottleneck is kept: its figures change with every sample.
_SENTENCE_SAMPLES = 10


@dataclass(frozen=True, slots=True)
class _Taken:
    """A sample and what a view showed with it."""

    number: int
    sample: NDArray[Any]
    ticks: NDArray[Any]
    stages: Sequence[StageReading]
    reading: Reading


class RecordingWriter:
    """One recording. First `start`, then `take`, `mark` and `turn` in any order, last `close`."""

    def __init__(self, path: Path, facts: Mapping[str, str]) -> None:
        """Create the file. Raises UserError for one that exists or cannot be created."""
        require_new(path, "--record")
        self._path = path
        self._facts = dict(facts)
        self._started_ns = int(facts["started_ns"])
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._taken: list[_Taken] = []
        self._rows: list[tuple[str, tuple[Any, ...]]] = []
        """The other rows that wait, each with the statement that adds it."""
        self._count = 0
        self._diagnosed, self._diagnosed_number = Diagnosis(""), 0
        self._is_closing = False
        self._thread = threading.Thread(target=self._live, name="recording", daemon=True)
        self._state = RecordingState(path=str(path))
        try:
            self._file = sqlite3.connect(path, _BUSY_S, isolation_level=None, check_same_thread=False)
            self._file.execute("PRAGMA synchronous = NORMAL")
            schema.create_tables(self._file, RECORDING_TABLES)
            self._set_facts(self._facts)
        except sqlite3.Error as error:
            raise UserError(f"--record {path} cannot be written: {describe(disk_error_of(error))}") from None

    def server_config(self, config: ServerConfig) -> ServerConfig:
        """The settings of a server that adds its ticks to this file without waiting for the disk."""
        return msgspec.structs.replace(
            config, journal=str(self._path.absolute()), journal_gates=False, journal_snapshot_ticks=SNAPSHOT_TICKS
        )

    @property
    def state(self) -> RecordingState:
        """Its state as of the last commit. Any thread may read it."""
        return self._state

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def take(
        self,
        sample: NDArray[Any],
        ticks: NDArray[Any],
        stages: Sequence[StageReading],
        diagnosis: Diagnosis,
        reading: Reading,
    ) -> None:
        """Add a sample, dtype SAMPLE, and the ticks since the one before, dtype TICK. Do not change the arrays."""
        if self.state.failure:
            return
        with self._lock:
            has_room = len(self._taken) < WAITING_MAX
            if has_room:
                self._count += 1
                self._taken.append(_Taken(self._count, sample, ticks, stages, reading))
                self._add_diagnosis(diagnosis)
        if not has_room:
            self._note_state("the disk is too slow; record to another one")

    def mark(self, marker: Marker) -> None:
        """Add a marker."""
        self._add(schema.MARKERS.add, marker_row(marker))

    def turn(self, turn: Turn) -> None:
        """Add a change of the settings."""
        self._add(TURNS.add, turn_row(turn))

    def state_at(self, now_ns: int) -> RecordingState:
        """Its state at this time, as a view shows it."""
        state = self.state
        return state if state.failure else replace(state, seconds=(now_ns - self._started_ns) / 1e9)

    def close(self, summary: Mapping[str, Any] | None) -> None:
        """Write what waits and, if the run ended in order, its summary; then leave one file behind.

        Call it when no other process writes to the file any more. Raises nothing: a failure is in `state`.
        """
        if self._is_closing:
            return
        # The thread ends without another commit: after it, the last one is made here.
        self._is_closing = True
        self._bell.set()
        if self._thread.ident is not None:
            self._thread.join()
        if not self.state.failure:
            self._end(summary)
        self._file.close()
        self._note_state()

    def discard(self) -> None:
        """Close and remove the file, for a run that did not start."""
        self.close(None)
        self._path.unlink(missing_ok=True)

    # --- Inside ---

    def _add(self, statement: str, row: tuple[Any, ...]) -> None:
        if not self.state.failure:
            with self._lock:
                self._rows.append((statement, row))

    def _add_diagnosis(self, new: Diagnosis) -> None:
        """Add the diagnosis of the newest sample if it differs from the last that has a row."""
        last = self._diagnosed
        is_due = self._count - self._diagnosed_number >= _SENTENCE_SAMPLES and new.sentence != last.sentence
        if new.bottleneck and (new.bottleneck != last.bottleneck or is_due):
            self._rows.append((DIAGNOSES.add, diagnosis_row(self._count, new)))
            self._diagnosed, self._diagnosed_number = new, self._count

    def _live(self) -> None:
        """Commit about once per second, until the end or a failure."""
        while not self.state.failure:
            self._bell.wait(COMMIT_S)
            if self._is_closing:
                return  # `close` writes the rest.
            self._commit()

    def _commit(self) -> None:
        """Write what waits. If the server holds the file's lock, it waits for the next time."""
        with self._lock:
            taken, rows = self._taken[:], self._rows[:]
        try:
            self._write(taken, rows)
        except sqlite3.Error as error:
            if disk_error_of(error) != DiskError.LOCKED:
                self._note_state(describe(disk_error_of(error)))
            return
        with self._lock:
            del self._taken[: len(taken)], self._rows[: len(rows)]
        self._note_state()

    def _write(self, taken: Sequence[_Taken], rows: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """Write everything in one transaction."""
        # The server waits for this transaction, so that it must be short: all rows are made before it.
        tables = (
            (ADD_SAMPLE, [sample_row(one.number, one.sample) for one in taken]),
            (ADD_STAGE_SAMPLE, [row for one in taken for row in stage_rows(one.number, one.sample, one.stages)]),
            (ADD_HOSTILE_SAMPLE, [row for one in taken for row in hostile_rows(one.number, one.sample)]),
            (ADD_TICK_LOG, [row for one in taken for row in tick_rows(one.ticks)]),
            (READINGS.add, [reading_row(one.number, one.reading) for one in taken]),
        )
        with self._transaction():
            for statement, several in tables:
                self._file.executemany(statement, several)
            for statement, row in rows:
                self._file.execute(statement, row)

    def _set_facts(self, facts: Mapping[str, str]) -> None:
        # In one transaction: a reader must not see facts without their checksums.
        with self._transaction():
            self._file.executemany(schema.SET_META, checked(facts).items())

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it or nothing. Raises sqlite3.Error."""
        self._file.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._file.execute("COMMIT")
        except sqlite3.Error:
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            raise

    def _end(self, summary: Mapping[str, Any] | None) -> None:
        """The last commit; then move the write-ahead log into the file, which a read-only folder needs."""
        self._commit()
        if (self._taken or self._rows) and not self.state.failure:
            self._note_state(describe(DiskError.LOCKED))
        if self.state.failure:
            return
        try:
            if summary is not None:
                self._set_facts(self._facts | {"ended": msgspec.json.encode(summary).decode()})
            self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._file.execute("PRAGMA journal_mode = DELETE").fetchall()
        except sqlite3.Error as error:
            # A program that reads the file now keeps its log open. It stays beside the file; nothing is lost.
            if disk_error_of(error) != DiskError.LOCKED:
                self._note_state(describe(disk_error_of(error)))

    def _note_state(self, failure: str = "") -> None:
        """Update the state. The first failure is kept."""
        size = self._bytes()
        with self._lock:  # Both threads come here.
            self._state = replace(self._state, failure=self._state.failure or failure, bytes=size)

    def _bytes(self) -> int:
        """The size of the file and its log."""
        paths = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        return sum(path.stat().st_size for path in paths if path.exists())
