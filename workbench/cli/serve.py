"""What `workbench serve` does: the server alone, in this process, until a signal drains it.

It starts no other process and draws nothing. Invariant: the first line of standard output is
`listening on ws://HOST:PORT/canvas`, wss with TLS, and it is there as soon as clients are let in.
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

    Raises UserError when it cannot listen or go on from its journal, RunError when that lacks what was painted last.
    """
    require_database(Path(config.journal) if config.journal else None, "--journal")
    require_outputs({"--summary": summary}, files_of(config))
    require_free(config.host, config.port)
    require_certificate(config)
    open_files.raise_to_hard()
    # Only now: it brings the compiler with it, and a mistake on the command line need not wait for that.
    from server.journal.fault import JournalError
    from server.server import Server, open_server

    pages = SessionPages.create(config)
    try:
        server = open_server(config, pages.telemetry, pages.canvas)
    except JournalError as fault:
        raise UserError(str(fault)) from None
    if isinstance(server, Server):
        server.on_news = _tell
        for note in server.journal_notes:
            _tell(note)
    loaded: list[Counters] = []  # As the signal finds them: what the drain adds belongs to no figure of the serving.

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
        first = read_counters(pages, 0, clock.now_ns())  # Before anybody can know that it listens, and end it.
        print(f"listening on {address.url}", flush=True)
        if address.warning:
            _tell(address.warning)
        if isinstance(server, Server):
            _tell_broker(server)
        try:
            server.run()
        except JournalError as fault:
            raise RunError(str(fault)) from None
        finally:
            write_json(summary, serving_summary(pages, first, *loaded[:1]), "the server itself has ended")
    return 0


def _tell_broker(server: "Server") -> None:
    """Say where devices find the broker, if there is one."""
    if server.broker_url:
        topic = f"canvas/{server.config.mqtt_name}/device/ID/place"
        _tell(f"MQTT devices publish to {topic} at {server.broker_url}")


def _tell(line: str) -> None:
    """A whole line, in the place of one that shows progress."""
    print(_CLEAR * sys.stderr.isatty() + line, file=sys.stderr, flush=True)


def _show_progress(done: int, total: int, name: str) -> None:
    """One line that renews itself, for a person at a terminal; nobody else waits for it."""
    if sys.stderr.isatty():
        text = f"compiling kernels {done} of {total}, once per machine: {name}" if done < total else ""
        print(f"{_CLEAR}{text}", end="", file=sys.stderr, flush=True)


def serving_summary(pages: SessionPages, first: Counters, last: Counters | None = None) -> dict[str, object]:
    """The time from when it listened until it was told to stop, or, without `last`, until now.

    What only a fleet knows is null.
    """
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
    # The server is this process, so its processor time needs no page that it has yet to write.
    return summarise(measured) | {"server_cpu_cores": Span(first, last).own_cores()}
