"""Writes a recording while the run goes on: facts, ticks' figures, samples, markers and what limited the run.

The canvas's ticks come from the server, which writes them to the same file; here is all else, in a thread of its own
that commits about once a second. Invariants: who hands something over never waits for the disk; what is kept for the
disk is bounded; a recording that could not go on says so, and the run does.
"""

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from server.config import ServerConfig
from server.journal import schema
from server.journal.fault import DiskError, trouble_of, words_of
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

COMMIT_S = 1.0
"""So much of the samples may be lost when this process is killed."""
WAITING_MAX = 600
"""Samples that may wait for the disk: a minute of them. Then the disk has failed."""
SNAPSHOT_TICKS = 50
"""Between two whole canvases: few enough that any moment is read in a tenth of a second."""
_BUSY_S = 5.0
_SENTENCE_SAMPLES = 10
"""A bottleneck's sentence is kept at most so often, a second: its figures move with every sample."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A sample and what was known at it."""

    sample: NDArray[Any]
    ticks: NDArray[Any]
    stages: Sequence[StageReading]
    diagnosis: Diagnosis
    reading: Reading


class RecordingWriter:
    """One recording. In this order: `start`, `take`, `mark` and `turn` at will, `close`."""

    def __init__(self, path: Path, facts: Mapping[str, str]) -> None:
        """Make the file. Raises UserError for one that is there or cannot be made."""
        require_new(path, "--record")
        self._path = path
        self._facts = dict(facts)
        self._started_ns = int(facts["started_ns"])
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._taken: list[_Taken] = []
        self._marks: list[Marker] = []
        self._turns: list[Turn] = []
        self._number = 0
        self._told = Diagnosis("")
        self._told_number = 0
        self._is_closing = False
        self._thread = threading.Thread(target=self._live, name="recording", daemon=True)
        self._state = RecordingState(path=str(path))
        try:
            self._file = sqlite3.connect(path, _BUSY_S, isolation_level=None, check_same_thread=False)
            self._file.execute("PRAGMA synchronous = NORMAL")
            schema.create_tables(self._file, RECORDING_TABLES)
            self._set_facts(self._facts)
        except sqlite3.Error as error:
            raise UserError(f"--record {path} cannot be written: {words_of(trouble_of(error))}") from None

    def server_config(self, config: ServerConfig) -> ServerConfig:
        """The settings of a server that adds its ticks to this file, and waits for it with nothing."""
        return msgspec.structs.replace(
            config, journal=str(self._path.absolute()), journal_gates=False, journal_snapshot_ticks=SNAPSHOT_TICKS
        )

    @property
    def state(self) -> RecordingState:
        """How it goes, as of the last commit. Any thread may ask."""
        return self._state

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def take(
        self,
        sample: NDArray[Any],
        ticks: NDArray[Any],
        stages: Sequence[StageReading],
        diagnosis: Diagnosis,
        reading: Reading,
    ) -> None:
        """Keep a sample, dtype SAMPLE, and the ticks since the one before, dtype TICK. The arrays are ours then."""
        if self.state.failure:
            return
        with self._lock:
            has_room = len(self._taken) < WAITING_MAX
            if has_room:
                self._taken.append(_Taken(sample, ticks, stages, diagnosis, reading))
        if not has_room:
            self._note_state("the disk is too slow; record to another one")

    def mark(self, marker: Marker) -> None:
        """Keep what was done to the run."""
        if not self.state.failure:
            with self._lock:
                self._marks.append(marker)

    def turn(self, turn: Turn) -> None:
        """Keep a change of the settings."""
        if not self.state.failure:
            with self._lock:
                self._turns.append(turn)

    def state_at(self, now_ns: int) -> RecordingState:
        """How it goes, for whoever looks."""
        state = self.state
        return state if state.failure else replace(state, seconds=(now_ns - self._started_ns) / 1e9)

    def close(self, summary: Mapping[str, Any] | None) -> None:
        """Write what waits and, where the run ended in order, what it came to; leave one file behind.

        Called when nobody else writes to it any more, and once more does nothing. Raises nothing: what failed is in
        `state`.
        """
        if self._is_closing:
            return
        self._is_closing = True
        self._bell.set()
        if self._thread.ident is not None:
            self._thread.join()
        if not self.state.failure:
            self._end(summary)
        self._file.close()
        self._note_state()

    def discard(self) -> None:
        """Leave nothing behind, of a run that was not begun."""
        self.close(None)
        self._path.unlink(missing_ok=True)

    # --- Inside ---

    def _live(self) -> None:
        """Commit about once a second, until the end or a failure."""
        while not self.state.failure:
            self._bell.wait(COMMIT_S)
            if self._is_closing:
                return  # What is left is written by who closes.
            self._commit()

    def _commit(self) -> None:
        """Write what was handed over. Where another writer holds the file, it waits for the next time."""
        with self._lock:
            taken, marks, turns = self._taken[:], self._marks[:], self._turns[:]
        try:
            self._write(taken, marks, turns)
        except sqlite3.Error as error:
            if trouble_of(error) != DiskError.LOCKED:
                self._note_state(words_of(trouble_of(error)))
            return
        with self._lock:
            del self._taken[: len(taken)], self._marks[: len(marks)], self._turns[: len(turns)]
        self._note_state()

    def _write(self, taken: Sequence[_Taken], marks: Sequence[Marker], turns: Sequence[Turn]) -> None:
        """One transaction: all of it or nothing. The rows are made first, so that it is short."""
        numbered = list(enumerate(taken, self._number + 1))
        samples = [sample_row(number, one.sample) for number, one in numbered]
        stages = [row for number, one in numbered for row in stage_rows(number, one.sample, one.stages)]
        hostile = [row for number, one in numbered for row in hostile_rows(number, one.sample)]
        ticks = [row for one in taken for row in tick_rows(one.ticks)]
        readings = [reading_row(number, one.reading) for number, one in numbered]
        diagnoses, told, told_number = self._news(numbered)
        file = self._file
        file.execute("BEGIN IMMEDIATE")
        try:
            file.executemany(ADD_SAMPLE, samples)
            file.executemany(ADD_STAGE_SAMPLE, stages)
            file.executemany(ADD_HOSTILE_SAMPLE, hostile)
            file.executemany(ADD_TICK_LOG, ticks)
            file.executemany(READINGS.add, readings)
            file.executemany(DIAGNOSES.add, diagnoses)
            file.executemany(schema.MARKERS.add, [marker_row(mark) for mark in marks])
            file.executemany(TURNS.add, [turn_row(turn) for turn in turns])
            file.execute("COMMIT")
        except sqlite3.Error:
            if file.in_transaction:
                file.execute("ROLLBACK")
            raise
        self._number += len(taken)
        self._told, self._told_number = told, told_number

    def _set_facts(self, facts: Mapping[str, str]) -> None:
        """Write facts and their checksums, which a reader sees together or not at all. Raises sqlite3.Error."""
        self._file.execute("BEGIN IMMEDIATE")
        try:
            self._file.executemany(schema.SET_META, checked(facts).items())
            self._file.execute("COMMIT")
        except sqlite3.Error:
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            raise

    def _news(self, numbered: Sequence[tuple[int, _Taken]]) -> tuple[list[tuple[Any, ...]], Diagnosis, int]:
        """Rows of what limits the run from a sample on, where that changed; the last one told, and when."""
        rows, told, told_number = [], self._told, self._told_number
        for number, one in numbered:
            new = one.diagnosis
            is_due = number - told_number >= _SENTENCE_SAMPLES and new.sentence != told.sentence
            if new.bottleneck and (new.bottleneck != told.bottleneck or is_due):
                rows.append(diagnosis_row(number, new))
                told, told_number = new, number
        return rows, told, told_number

    def _end(self, summary: Mapping[str, Any] | None) -> None:
        """The last commit; then the log is moved into the file, and the file is one that a read-only place can hold."""
        self._commit()
        if (self._taken or self._marks or self._turns) and not self.state.failure:
            self._note_state(words_of(DiskError.LOCKED))
        if self.state.failure:
            return
        try:
            if summary is not None:
                self._set_facts(self._facts | {"ended": msgspec.json.encode(summary).decode()})
            self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._file.execute("PRAGMA journal_mode = DELETE").fetchall()
        except sqlite3.Error as error:
            # Somebody who reads it right now keeps its log open, which is then left beside it; nothing is lost.
            if trouble_of(error) != DiskError.LOCKED:
                self._note_state(words_of(trouble_of(error)))

    def _note_state(self, failure: str = "") -> None:
        """Renew the state. Both threads do, each from what the other left; the first failure is kept."""
        size = self._bytes()
        with self._lock:
            self._state = replace(self._state, failure=self._state.failure or failure, bytes=size)

    def _bytes(self) -> int:
        """Of the file and of its log."""
        paths = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        return sum(path.stat().st_size for path in paths if path.exists())
