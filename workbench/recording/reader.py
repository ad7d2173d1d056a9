"""A recording opened for reading: its facts, its figures and its canvas at any moment, also while the run goes on.

Times are nanoseconds of the run's own clock. A span of time excludes its start and includes its end. A file that is not
whole raises a UserError of one line: when it is opened or, for rows deep in it, when they are read.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from plots.history import MarkerKind
from server.wire import CANVAS_SIDE_MAX
from workbench.errors import UserError
from workbench.recording import schema
from workbench.recording.database import Database, FigureTable
from workbench.recording.film import Film, Frame, checksum_of
from workbench.recording.rows import diagnosis_of, reading_of, samples_of, stage_samples_of, ticks_of, turn_of
from workbench.scenarios.scenario import Scenario, scenario_of
from workbench.telemetry.view import Diagnosis, Marker, Reading, Turn

_LAST = 2**63 - 1
# The last version of a file that has changes of settings as markers only.
_WITHOUT_TURNS = 2

_UNKNOWN = Diagnosis("")
_Made = TypeVar("_Made")


def _kind_of(kind: str) -> str:
    """A marker's kind for a view. Other kinds, by which the server marks lost ticks, are notes."""
    return kind if str(kind).upper() in MarkerKind.__members__ else "note"


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """A diagnosis, which holds from this sample on until the next one."""

    number: int
    """Of the sample."""
    time_ns: int
    bottleneck: str
    """A stage's name, "machine", "broker", "viewers", "fleet", "window", "rate limit" or "none"."""
    sentence: str
    whole: Diagnosis = _UNKNOWN
    """All of it; without its explanation in a file of an earlier version."""


class Recording:
    """One recording, read-only. Close it, or use it as a context manager. Any thread may read."""

    def __init__(self, database: Database) -> None:
        """Use `open`. Raises UserError for impossible facts."""
        self._database, self.path = database, database.path
        self.meta: Mapping[str, str] = database.facts
        """The facts when the file was opened; see docs/recording.md."""
        self.width, self.height = (self._whole_fact(key, CANVAS_SIDE_MAX) for key in ("width", "height"))
        self.first_ns = self._whole_fact("started_ns", _LAST)
        """The start of the session, on the clock of all times here."""
        self.machine = self._json(self.meta.get("machine")) or {}
        """The machine that it ran on."""
        self.versions = self._json(self.meta.get("versions")) or {}
        """The versions of Python and of the packages of the run."""
        self._film = Film(database, self.width, self.height)
        tables = ("samples", "stage_samples", "hostile_samples", "tick_log", "readings", "markers", "diagnoses")
        self._tables = {name: FigureTable(database, name) for name in tables}
        self._turns = FigureTable(database, "turns") if database.version > _WITHOUT_TURNS else None

    @classmethod
    def open(cls, path: Path | str) -> "Recording":
        """Raises UserError, one line, for a file that is no recording, not whole, or of a newer version."""
        database = Database(Path(path))
        try:
            return cls(database)
        except UserError:
            database.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- Facts ---

    @property
    def scenario(self) -> Scenario:
        """The scenario at the start of the run. Raises UserError for one that this version does not accept."""
        return scenario_of(self.scenario_tree, f"{self.path}: its scenario")

    @property
    def scenario_tree(self) -> dict[str, Any]:
        """The scenario as its TOML file has it, a copy. Raises UserError for invalid TOML."""
        try:
            return tomllib.loads(self.meta.get("scenario", ""))
        except tomllib.TOMLDecodeError as error:
            raise self._database.damaged(f"its scenario is no TOML ({error})") from None

    @property
    def summary(self) -> dict[str, Any] | None:
        """The summary, as `--summary` writes it; None while the run goes on, or if it did not end in order."""
        return self._json(self._database.fact("ended"))

    @property
    def palette(self) -> list[str]:
        """256 colours as "#rrggbb"."""
        with self._database.decoding():
            return msgspec.json.decode(self.meta.get("palette", "[]"), type=list[str])

    @property
    def colors(self) -> NDArray[np.uint8]:
        """The palette as red, green, blue: shape (256, 3). Raises UserError if it is incomplete."""
        try:
            colors = np.array([list(bytes.fromhex(name.removeprefix("#"))) for name in self.palette], np.uint8)
        except ValueError:
            colors = np.zeros((0, 3), np.uint8)
        if colors.shape != (256, 3):
            raise self._database.damaged("it lacks some of its 256 colours")
        return colors

    @property
    def last_ns(self) -> int:
        """The time of its newest row; grows while it is written."""
        newest = (("samples", "number", "time_ns"), ("tick_log", "tick", "start_ns"))
        ends = [self.first_ns, self._film.last_ns or 0]
        for table, key, time in newest:
            ends += [int(row[1]) for row in self._tables[table].rows((key, time), f"ORDER BY {key} DESC LIMIT 1")]
        return max(ends)

    @property
    def first_tick_ns(self) -> int | None:
        """The start of the server's first tick; None before that was written."""
        rows = self._tables["tick_log"].rows(("tick", "start_ns"), "ORDER BY tick LIMIT 1")
        return int(rows[0][1]) if rows else None

    @property
    def duration_s(self) -> float:
        """From the start of the session to the newest row."""
        return (self.last_ns - self.first_ns) / 1e9

    # --- Figures ---

    def samples(self, from_ns: int | None = None, to_ns: int | None = None) -> NDArray[Any]:
        """The samples of (from_ns, to_ns]; None: from the start, to the end. Shape (n,), dtype SAMPLE."""
        span = self._span("samples", "number", from_ns, to_ns)
        rows = self._numbered("samples", ("number", "time_ns", *schema.SAMPLE_COLUMNS, "latency_counts"), span)
        span = (span[0], rows[-1][0] if rows else span[0])
        stages = self._stages(span, dict(row[:2] for row in rows))
        hostile = self._numbered("hostile_samples", ("number", "kind", *schema.HOSTILE_SAMPLE_COLUMNS), span)
        return self._made(samples_of, rows, stages, hostile)

    def stage_samples(self, from_ns: int | None = None, to_ns: int | None = None) -> NDArray[Any]:
        """The stages at the samples of (from_ns, to_ns]. Shape (n,), dtype STAGE_SAMPLE."""
        span = self._span("samples", "number", from_ns, to_ns)
        return self._stages(span, dict(self._numbered("samples", ("number", "time_ns"), span)))

    def tick_log(self, from_ns: int | None = None, to_ns: int | None = None) -> NDArray[Any]:
        """The ticks that started in (from_ns, to_ns]. Shape (n,), dtype layout.TICK."""
        span = self._span("tick_log", "tick", from_ns, to_ns)
        rows = self._tables["tick_log"].rows(
            schema.TICK_LOG_COLUMNS, "WHERE tick > ? AND tick <= ? ORDER BY tick", span
        )
        changed = self._database.rows("SELECT tick, encoding FROM ticks WHERE tick > ? AND tick <= ?", span)
        encodings = dict(changed)
        return self._made(ticks_of, [(*row, encodings.get(row[0], 0)) for row in rows])

    def reading_at(self, time_ns: int) -> Reading | None:
        """The figures at the last sample at or before this time that the sample itself does not have.

        None before the first, and in a file of an earlier version.
        """
        number = self._database.number_at("samples", "number", time_ns)
        columns = (*schema.READING_COLUMNS, "loop_connection_counts")
        rows = self._tables["readings"].rows(columns, "WHERE number = ?", (number,))
        return self._made(reading_of, rows[0]) if rows else None

    def markers(self) -> tuple[Marker, ...]:
        """The events of the run, oldest first."""
        rows = self._tables["markers"].rows(("time_ns", "kind", "text"), "ORDER BY time_ns, id")
        return tuple(Marker(time_ns, _kind_of(kind), text) for time_ns, kind, text in rows)

    def turns(self, after: int = 0) -> tuple[Turn, ...] | None:
        """The changes of the settings but the first `after`, oldest first; None in a file of an earlier version."""
        if self._turns is None:
            return None
        rows = self._turns.rows(("time_ns", "changes"), "ORDER BY id LIMIT -1 OFFSET ?", (after,))
        return tuple(self._made(turn_of, row) for row in rows)

    def diagnoses(self, after: int = 0) -> tuple[Diagnosed, ...]:
        """The diagnoses, oldest first: one for each change. `after`: only those of later samples."""
        found = []
        tail = "WHERE number > ? ORDER BY number"
        for number, *row in self._tables["diagnoses"].rows(schema.DIAGNOSIS_COLUMNS, tail, (after,)):
            whole = self._made(diagnosis_of, row)
            for _, time_ns in self._numbered("samples", ("number", "time_ns"), (number - 1, number)):
                found.append(Diagnosed(number, time_ns, whole.bottleneck, whole.sentence, whole))
        return tuple(found)

    # --- The canvas ---

    def canvas_at(self, time_ns: int) -> NDArray[np.uint8]:
        """The canvas at this time: palette indices, shape (height, width), a copy; all 0 before the run."""
        return self._film.at(time_ns)

    def frames(self, from_ns: int | None = None, to_ns: int | None = None) -> Iterator[Frame]:
        """(tick, time_ns, changes) of the ticks in (from_ns, to_ns] that changed something; see `film.Frame`."""
        return self._film.frames(self.first_ns - 1 if from_ns is None else from_ns, _LAST if to_ns is None else to_ns)

    def checksum(self) -> int:
        """CRC-32 of the last canvas, as a summary's `canvas_checksum`."""
        return checksum_of(self._film.at(_LAST))

    # --- Inside ---

    def _span(self, table: str, key: str, from_ns: int | None, to_ns: int | None) -> tuple[int, int]:
        """The keys of a table after the first and up to the second, for a span of time."""
        low = -1 if from_ns is None else self._database.number_at(table, key, from_ns)
        high = _LAST if to_ns is None else self._database.number_at(table, key, to_ns)
        return (-1 if low is None else low, -1 if high is None else high)

    def _numbered(self, table: str, columns: Sequence[str], span: tuple[int, int]) -> list[tuple[Any, ...]]:
        """Rows of a table that has the sample's number as its key."""
        return self._tables[table].rows(columns, "WHERE number > ? AND number <= ? ORDER BY number", span)

    def _stages(self, span: tuple[int, int], times: Mapping[int, int]) -> NDArray[Any]:
        """The stages at samples. `times`: of the samples, by number."""
        rows = self._numbered("stage_samples", ("number", "stage", *schema.STAGE_SAMPLE_COLUMNS), span)
        timed = [(row[0], times[row[0]], *row[1:]) for row in rows if row[0] in times]
        return self._made(stage_samples_of, timed)

    def _made(self, make: Callable[..., _Made], *parts: Any) -> _Made:
        """What `make` makes of rows. If it rejects them, they are damaged."""
        try:
            return make(*parts)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._database.damaged(f"a row is not what was written ({error})") from None

    def _whole_fact(self, key: str, most: int) -> int:
        text = self.meta[key]
        if not text.isdecimal() or not 0 < int(text) <= most:
            raise self._database.damaged(f"its {key} is {text!r}")
        return int(text)

    def _json(self, text: str | None) -> dict[str, Any] | None:
        if text is None:
            return None
        with self._database.decoding():
            return msgspec.json.decode(text, type=dict[str, Any])
