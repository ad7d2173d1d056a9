"""The library: run a scenario and get its summary, or read a recording, from a program of one's own.

`from workbench import run_scenario, open_recording`; see docs/library.md. Errors are exceptions of `workbench.errors`.
Nothing here prints, ends the process or installs a signal handler, so all of it works in any thread.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import RunError, UserError

if TYPE_CHECKING:
    from workbench.recording.reader import Recording
    from workbench.scenarios.scenario import Scenario

_NANOSECONDS = 1_000_000_000
_WAIT_S = 0.2


class Summary(Mapping[str, Any]):
    """The figures of one run, read-only: a mapping with the keys of `workbench run --summary`, also as attributes.

    Unknown figures are None. The annotated keys are in every summary; docs/measuring.md defines them.
    """

    __slots__ = ("_figures",)

    seconds: float | None
    connections: int | None
    offered_per_s: float | None
    received_per_s: float | None
    admitted_per_s: float | None
    throttled_per_s: float | None
    merged_per_s: float | None
    delivered_per_s: float | None
    broadcast_deltas_per_s: float | None
    broadcast_bytes_per_s: float | None
    tick_ms_p50: float | None
    tick_ms_p99: float | None
    placement_to_view_ms_p50: float | None
    placement_to_view_ms_p99: float | None
    placement_to_view_ms_max: float | None
    bottleneck: str | None
    server_cpu_cores: float | None
    fleet_cpu_cores: float | None
    window_fps: float | None
    connections_lost: int | None
    protocol_errors: int | None
    canvas_checksum: int | None
    failures: list[str]
    machine: Mapping[str, Any]

    def __init__(self, figures: Mapping[str, Any]) -> None:
        self._figures = MappingProxyType(dict(figures))

    def __getitem__(self, key: str) -> Any:
        return self._figures[key]

    def __getattr__(self, name: str) -> Any:
        # Copying and unpickling ask for attributes before there are figures.
        if name.startswith("_") or name not in self._figures:
            raise AttributeError(f"a summary has no figure {name!r}")
        return self._figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    def __repr__(self) -> str:
        return f"Summary({dict(self._figures)!r})"


def run_scenario(
    name_or_path: str | PathLike[str],
    *,
    set: Mapping[str, Any] | None = None,
    seconds: float | None = None,
    record: str | PathLike[str] | None = None,
    stop: threading.Event | None = None,
) -> Summary:
    """Run a scenario without a window and return its summary.

    `name_or_path`: a built-in name or a TOML file. `set`: values by dotted key, such as `{"fleet.connections": 500}`.
    `seconds`: how long to measure, after a warm-up of one second; default: as the scenario says. `record`: a new file
    for a recording. `stop`: set it from another thread to end the run early; figures it has no time for are None.
    Raises UserError before anything is started, RunError when a process fails or the recording cannot be written.
    Checks that failed (wrong viewers, a gap in the ledger, lost connections) raise nothing: they are in `failures`.
    It raises this process's soft limit on open files to the hard one, which child processes inherit.
    """
    from workbench.scenarios.scenario import load_scenario

    # `seconds` wins over `set`, as --seconds wins over --set.
    values = dict(set or {}) | ({} if seconds is None else {"seconds": seconds})
    scenario = load_scenario(str(name_or_path), values=values)
    # It would never return.
    if scenario.seconds is None and stop is None:
        raise UserError(f"scenario {scenario.name} has no end; give seconds, or stop")
    return Summary(_run(scenario, Path(record) if record is not None else None, stop or threading.Event()))


def _run(scenario: "Scenario", record: Path | None, stop: threading.Event) -> dict[str, Any]:
    """Run it to its end, and return the figures. No process is left, whatever happens."""
    from server.system import clock, open_files
    from workbench.recording.facts import facts_of
    from workbench.recording.writer import RecordingWriter
    from workbench.run.show import require_runnable, rest_s, too_short
    from workbench.session.session import Session
    from workbench.session.shutdown import UNASKED_PATIENCE
    from workbench.telemetry.summary import machine, summarise

    # All refusals come before the first process and before the file.
    require_runnable(scenario, record=record)
    open_files.raise_to_hard()
    recording = RecordingWriter(record, facts_of(scenario, machine(), clock.now_ns())) if record is not None else None
    wanted_ns = None if scenario.seconds is None else scenario.seconds * _NANOSECONDS
    try:
        if recording is not None:
            recording.start()
        with closing(Session(scenario, with_panels=False, recording=recording)) as session:
            try:
                session.start(clock.now_ns())
                # A wait of a fifth of a second bounds how late `stop` is noticed.
                while not (stop.is_set() or session.failed or session.is_finished):
                    if wanted_ns is not None and session.steady_ns >= wanted_ns:
                        break
                    session.wait(min(_WAIT_S, rest_s(session)))
                    session.poll(clock.now_ns())
            finally:
                session.end(patience=lambda: 1.0 if stop.is_set() else UNASKED_PATIENCE)
            figures = summarise(session.measured())
            if session.failed:
                raise _failed("; ".join(session.failures), session.tracebacks)
            if figures["seconds"] is None and not stop.is_set():
                raise RunError(too_short(session))
        if recording is not None:
            recording.close(figures)
            if recording.state.failure:
                raise RunError(f"recording {record} stopped: {recording.state.failure}")
    finally:
        if recording is not None:
            recording.close(None)  # Does nothing after the close above.
    return figures


def _failed(line: str, tracebacks: list[str]) -> RunError:
    """The error for a run of which a process failed; the tracebacks of those with a bug are its notes."""
    error = RunError(line)
    for text in tracebacks:
        error.add_note(text)
    return error


def open_recording(path: str | PathLike[str]) -> "RecordedRun":
    """Open a recording, also while it is written. Raises UserError for a file that is none or is damaged."""
    from workbench.recording.reader import Recording

    return RecordedRun(Recording.open(Path(path)))


class RecordedRun:
    """A recorded run, read-only; a context manager that closes the file. Threads may share it.

    All times are seconds since the session began. Each method raises UserError where the file is damaged.
    """

    def __init__(self, recording: "Recording") -> None:
        """Use `open_recording`."""
        self._recording = recording
        self.width, self.height = recording.width, recording.height
        """Of the canvas, in pixels."""

    def __enter__(self) -> "RecordedRun":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._recording.close()

    @property
    def scenario(self) -> "Scenario":
        """The scenario as it was started: `scenario.name`, `scenario.fleet.connections` and so on."""
        return self._recording.scenario

    @property
    def summary(self) -> Summary | None:
        """The run's summary; None while it is still running, or when it was killed."""
        figures = self._recording.summary
        return None if figures is None else Summary(figures)

    @property
    def duration_s(self) -> float:
        """Time of the last sample or tick. It grows while the recording is written."""
        return self._recording.duration_s

    @property
    def colors(self) -> NDArray[np.uint8]:
        """The palette as red, green and blue, shape (256, 3): `colors[canvas]` is a picture."""
        return self._recording.colors

    def figures(self, from_s: float = 0.0, to_s: float | None = None) -> dict[str, NDArray[np.float64]]:
        """All figures over time, ten samples per second, for from_s < time <= to_s; NaN where one is unknown.

        Keys: `time_s`, and the columns of the table `samples` in docs/recording.md. All arrays have the same length.
        """
        from workbench.recording.schema import SAMPLE_COLUMNS

        rows = self._recording.samples(self._ns(from_s), None if to_s is None else self._ns(to_s))
        times = (rows["time_ns"].astype(np.int64) - self._recording.first_ns) / _NANOSECONDS
        return {"time_s": times} | {name: rows[name].astype(np.float64) for name in SAMPLE_COLUMNS}

    def figures_at(self, seconds: float) -> dict[str, float]:
        """The newest sample at or before this time, with the same keys; empty if the last second before has none."""
        # Samples come ten times per second; a gap of a second means that nothing is known.
        rows = self.figures(seconds - 1, seconds)
        return {name: float(values[-1]) for name, values in rows.items() if len(values)}

    def canvas_at(self, seconds: float) -> NDArray[np.uint8]:
        """The canvas at this time: palette indices, shape (height, width), a copy; 0 is an empty pixel."""
        return self._recording.canvas_at(self._ns(seconds))

    def events(self) -> list[tuple[float, str, str]]:
        """(time, kind, text) of each changed setting, fault and note, oldest first."""
        return [(self._seconds(marker.time_ns), marker.kind, marker.text) for marker in self._recording.markers()]

    def bottlenecks(self) -> list[tuple[float, str, str]]:
        """(time, name, sentence) of each bottleneck, oldest first. It applies until the next."""
        found = self._recording.diagnoses()
        return [(self._seconds(row.time_ns), row.bottleneck, row.sentence) for row in found]

    def _ns(self, seconds: float) -> int:
        return self._recording.first_ns + round(seconds * _NANOSECONDS)

    def _seconds(self, time_ns: int) -> float:
        return (time_ns - self._recording.first_ns) / _NANOSECONDS
