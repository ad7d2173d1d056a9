"""The output of a run without a window: a table that is updated in place in a terminal, or plain lines elsewhere.

An unknown figure is a dash. A line of plain output is complete when it is written.
"""

from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from plots.number import count_digits
from workbench.telemetry.view import Diagnosis, Part, Reading, RecordingState, View

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

INTERVAL_NS = 500_000_000
_UNKNOWN = "-"


class LiveTable:
    """Shows views in `file` while it is entered: a table on a terminal, else lines."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._next_ns = 0
        self._last_line = ""
        self._live = _new_live(file) if file.isatty() else None

    def __enter__(self) -> "LiveTable":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, view: View) -> None:
        """Show the view, at most twice per second."""
        # The caller polls more often than a person can read.
        if view.now_ns < self._next_ns:
            return
        self._next_ns = view.now_ns + INTERVAL_NS
        if self._live is not None:
            # Refreshed here, not by a thread of rich: the table shows one view, and no thread outlives the run.
            self._live.update(table_of(view), refresh=True)
        else:
            self._write(line_of(view))

    def _write(self, line: str) -> None:
        """Write a line, unless it is the same as the last."""
        # While processes start, lines would repeat.
        if line != self._last_line:
            self._last_line = line
            print(line, file=self._file, flush=True)


def _new_live(file: TextIO) -> "Live":
    from rich.console import Console  # Only for a terminal: it takes a while to import.
    from rich.live import Live

    return Live(console=Console(file=file), auto_refresh=False)


def line_of(view: View) -> str:
    """A view as one line of text."""
    if not view.run_seconds:
        return ", ".join(_part_text(part) for part in view.parts)
    cells = [f"{name} {value}" for name, value in _figures(view.reading)]
    # Only in a run with a broker: a column of dashes would raise questions.
    cells += [f"broker {view.broker_text}"] if view.broker_text else []
    return f"{view.run_seconds:.1f} s  " + "  ".join([*cells, *_recording(view.recording), _bottleneck(view.diagnosis)])


def table_of(view: View) -> "Table":
    """A view as a table of parts and figures."""
    from rich.markup import escape
    from rich.table import Table

    # Names come from files: escaped, or rich would read brackets as markup.
    table = Table(title=escape(f"{view.scenario_name}  {view.run_seconds:.0f} s"), title_justify="left", min_width=48)
    table.add_column("figure")
    table.add_column("now", justify="right")
    for part in view.parts:
        table.add_row(part.name, escape(_part_state(part)))
    if view.broker_text:
        table.add_row("broker", escape(view.broker_text))
    table.add_section()
    for name, value in _figures(view.reading):
        table.add_row(name, value)
    table.caption = escape("\n".join([_bottleneck(view.diagnosis), view.url, *_recording(view.recording)]))
    return table


def _part_text(part: Part) -> str:
    return f"{part.name} {_part_state(part)}"


def _part_state(part: Part) -> str:
    """The state of a part in a few words."""
    if part.failure:
        return f"failed: {part.failure}"
    if part.progress is not None and part.progress.total:
        return f"{part.progress.what} {part.progress.done:,} of {part.progress.total:,}"
    return part.state


def _figures(reading: Reading) -> list[tuple[str, str]]:
    return [
        ("connections", _count(reading.connection_count)),
        ("offered", _rate(reading.offered_per_s)),
        ("received", _rate(reading.received_per_s)),
        ("admitted", _rate(reading.admitted_per_s)),
        ("throttled", _rate(reading.throttled_per_s)),
        ("merged", _rate(reading.merged_per_s)),
        ("delivered", _rate(reading.delivered_per_s)),
        ("broadcast", _rate(reading.broadcast_bytes_per_s, "B/s")),
        ("tick", _shown(reading.tick_ms, ".0f", "ms")),
        ("view p50", _shown(reading.latency_ms_p50, ".0f", "ms")),
        ("view p99", _shown(reading.latency_ms_p99, ".0f", "ms")),
        ("server", _shown(reading.server_cpu_cores, ".2f", "core")),
        ("fleet", _shown(reading.fleet_cpu_cores, ".2f", "core")),
        ("lost", _count(reading.lost_count)),
        ("ledger", _ledger(reading.ledger_gap)),
    ]


def _bottleneck(diagnosis: Diagnosis) -> str:
    """The bottleneck as one line."""
    if not diagnosis.bottleneck:
        return f"bottleneck {_UNKNOWN}"
    return f"bottleneck {diagnosis.bottleneck}: {diagnosis.sentence}"


def _recording(state: RecordingState | None) -> list[str]:
    """The state of the recording, if there is one."""
    if state is None:
        return []
    if state.failure:
        return [f"recording stopped: {state.failure}"]
    return [f"recording {state.bytes / 1e6:.1f} MB on disk with its log"]


def _ledger(gap: int | None) -> str:
    if gap is None:
        return _UNKNOWN
    return f"off by {gap:,}" if gap else "adds up"


def _count(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _rate(value: float | None, unit: str = "/s") -> str:
    if value is None:
        return _UNKNOWN
    digits, prefix = count_digits(value)
    return f"{digits} {prefix}{unit}"


def _shown(value: float | None, form: str, unit: str) -> str:
    return _UNKNOWN if value is None else f"{value:{form}} {unit}"
