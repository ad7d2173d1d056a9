"""`workbench serve`: the server alone, in this process, until a signal drains it. It starts no other process.

The first line of standard output is `listening on ws://HOST:PORT/canvas` (wss with TLS), printed once clients can
connect.
"""

import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from server.accept.listener import CannotListen
from server.config import ServerConfig
from server.system import clock, open_files
from workbench.address import address_of, files_of, require_certificate, require_free
from workbench.errors import RunError, UserError
from workbench.output_file import require_database, require_outputs, write_json
from workbench.stop_signal import StopSignal
from workbench.telemetry.counters import Counters, Span, read_counters
from workbench.telemetry.pages import SessionPages
from workbench.telemetry.summary import Measured, summarise
from workbench.telemetry.tick_log import TickLog

if TYPE_CHECKING:
    from server.server import Server

_CLEAR = "\r\x1b[K"


def serve(config: ServerConfig, summary: Path | None) -> int:
    """Serve until SIGINT or SIGTERM. Returns the exit code.

    Raises UserError when it cannot listen or resume from its journal, RunError when that lacks the last placements.
    """
    require_database(Path(config.journal) if config.journal else None, "--journal")
    require_outputs({"--summary": summary}, files_of(config))
    # A taken port is refused before the kernels are compiled, which may take a minute.
    require_free(config.host, config.port)
    require_certificate(config)
    open_files.raise_to_hard()
    # Only now: it imports the compiler, and an error on the command line should not wait for that.
    from server.journal.fault import JournalError
    from server.server import Server, open_server

    # The same pages as in a session, so that /metrics and the summary read what a window would.
    pages = SessionPages.create(config)
    try:
        server = open_server(config, pages.telemetry, pages.canvas)
    except JournalError as fault:
        raise UserError(str(fault)) from None
    if isinstance(server, Server):
        server.on_news = _print
        for note in server.journal_notes:
            _print(note)
    loaded: list[Counters] = []  # At the signal: what the drain adds is not part of the measured time.

    def end() -> None:
        loaded.append(read_counters(pages, 0, clock.now_ns()))
        server.stop()

    with StopSignal(end) as stop:
        server.prepare(_show_progress)
        if stop.asked:
            return 0
        try:
            host, port = server.listen()
        except CannotListen as error:
            raise UserError(str(error)) from None
        address = replace(address_of(config), host=host, port=port)
        first = read_counters(pages, 0, clock.now_ns())  # Before a client can connect.
        print(f"listening on {address.url}", flush=True)
        if address.warning:
            _print(address.warning)
        if isinstance(server, Server):
            _print_broker(server)
        try:
            server.run()
        except JournalError as fault:
            raise RunError(str(fault)) from None
        finally:
            # Also after a failing journal: what was served is still worth a summary.
            write_json(summary, serving_summary(pages, first, *loaded[:1]), "the server itself has ended")
    return 0


def _print_broker(server: "Server") -> None:
    """Print the broker's address, if there is one."""
    if server.broker_url:
        topic = f"canvas/{server.config.mqtt_name}/device/ID/place"
        _print(f"MQTT devices publish to {topic} at {server.broker_url}")


def _print(line: str) -> None:
    """Print a line, replacing one that shows progress."""
    print(_CLEAR * sys.stderr.isatty() + line, file=sys.stderr, flush=True)


def _show_progress(done: int, total: int, name: str) -> None:
    """Show progress in one line that is overwritten; only on a terminal."""
    if sys.stderr.isatty():
        text = f"compiling kernels {done} of {total}, once per machine: {name}" if done < total else ""
        print(f"{_CLEAR}{text}", end="", file=sys.stderr, flush=True)


def serving_summary(pages: SessionPages, first: Counters, last: Counters | None = None) -> dict[str, object]:
    """The summary of the time from `first` to `last`, or until now. Figures that only a fleet knows are null."""
    drained = read_counters(pages, 0, clock.now_ns())
    last = last or drained
    ticks = TickLog(pages.telemetry)
    ticks.collect()
    measured = Measured(
        connections=drained.loop_sum("accepted_count"),
        first=first,
        last=last,
        drained=drained,
        tick_intervals_ns=ticks.intervals_ns(first.time_ns, last.time_ns),
        canvas_checksum=zlib.crc32(pages.canvas["pixels"].tobytes()),
        setup_seconds=None,
    )
    # The server is this process: its page may not have the last CPU time yet, the system does.
    return summarise(measured) | {"server_cpu_cores": Span(first, last).own_cores()}
