"""One trial: a session with one program as its server, from its start to its figures.

It runs the same session as `workbench run` and reads the same summary, which is of the steady state alone. Nothing
waits without a bound.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from server.system import clock
from workbench.errors import RunError
from workbench.scenarios.scenario import Scenario
from workbench.session.session import Session
from workbench.telemetry.counters import NANOSECONDS, Counters, Span, read_counters
from workbench.telemetry.summary import summarise

# To compile, connect and begin: the slowest peers accept 17,000 connections within a minute.
START_SECONDS_MAX = 180.0

Figures = dict[str, float | None]


class Work(msgspec.Struct, frozen=True):
    """What happened to the messages of a trial, with a checksum."""

    sent: int
    received: int
    admitted: int
    # CRC-32 of the final canvas, 8 hexadecimal digits; of the counts for a program without a canvas.
    checksum: str
    # Connections lost, protocol errors, messages not accounted for: one line each.
    faults: tuple[str, ...] = ()


class Outcome(msgspec.Struct, frozen=True):
    """One trial's figures and its work."""

    figures: Figures
    work: Work


def run_trial(
    scenario: Scenario,
    commands: Mapping[str, Sequence[str]],
    seconds: float,
    is_stopped: Callable[[], bool],
    *,
    overloads: bool = False,
) -> Outcome | None:
    """Run the scenario, measure `seconds` of its steady state, and end it. None when stopped before that.

    A scenario that `overloads` leaves messages unread in the sockets, which is a fault in any other.
    Raises RunError when a process fails or the load does not begin in time.
    """
    session = Session(scenario, with_panels=False, commands=commands)
    connecting: Counters | None = None
    connected: Counters | None = None
    try:
        try:
            session.start(clock.now_ns())
            until_ns = clock.now_ns() + int(START_SECONDS_MAX * NANOSECONDS)
            while not _is_over(session, seconds) and not is_stopped():
                session.wait(0.5)
                session.poll(clock.now_ns())
                # Not earlier: while kernels compile, the server's processor time says nothing about connecting.
                if connecting is None and _is_connecting(session):
                    connecting = read_counters(session.pages, 0, clock.now_ns())
                if connected is None and session.load_started_ns:
                    connected = read_counters(session.pages, 0, clock.now_ns())
                if not session.load_started_ns and clock.now_ns() > until_ns:
                    raise RunError(f"the load did not begin within {START_SECONDS_MAX:g} s")
        finally:
            # A stop waits neither for kernels that are still being compiled nor for figures.
            session.end(
                is_checked=not is_stopped(), attend=lambda step: session.load_started_ns > 0 or not is_stopped()
            )
        if is_stopped():
            return None
        if session.failed:
            raise RunError("; ".join(session.failures))
        return _outcome(session, connecting, connected, overloads=overloads)
    finally:
        session.close()


def _is_connecting(session: Session) -> bool:
    return any(part.name == "fleet" and part.state in ("connecting", "running") for part in session.view().parts)


def _is_over(session: Session, seconds: float) -> bool:
    return session.failed or (session.load_started_ns > 0 and session.steady_ns >= seconds * NANOSECONDS)


def _outcome(session: Session, connecting: Counters | None, connected: Counters | None, *, overloads: bool) -> Outcome:
    summary = summarise(session.measured())
    figures: Figures = {key: value for key, value in summary.items() if isinstance(value, int | float)}
    if connecting is not None and connected is not None and connecting.time_ns < connected.time_ns:
        figures |= _connect_figures(Span(connecting, connected), session.scenario.fleet.connections)
    figures |= _per_core(figures)
    return Outcome(figures, _work(session, summary, overloads=overloads))


def _connect_figures(span: Span, connections: int) -> Figures:
    """How fast all connections were accepted."""
    cores = span.server_cores()
    return {
        "connect_seconds": span.seconds,
        "connects_per_s": connections / span.seconds,
        "connects_per_core_s": connections / (span.seconds * cores) if cores else None,
        "refused": float(span.last.fleet["refused_count"]),
    }


def _per_core(figures: Figures) -> Figures:
    """Figures per second of one core of the server."""
    cores, received = figures.get("server_cpu_cores"), figures.get("received_per_s")
    deltas = figures.get("broadcast_deltas_per_s")
    if not cores:
        return {}
    return {
        "messages_per_core_s": received / cores if received is not None else None,
        "message_ns": NANOSECONDS * cores / received if received else None,
        "deltas_per_s": deltas,
        "deltas_per_core_s": deltas / cores if deltas is not None else None,
    }


def _work(session: Session, summary: dict[str, object], *, overloads: bool) -> Work:
    """The work of a trial, read when all processes have ended and no longer write."""
    last = read_counters(session.pages, 0, clock.now_ns())
    sent, received = int(last.fleet["sent_count"]), last.loop_sum("received_count")
    admitted = last.loop_sum("admitted_count")
    faults = [f"{summary['connections_lost']} connections lost"] if summary["connections_lost"] else []
    faults += [f"{summary['connections_refused']} connections refused"] if summary["connections_refused"] else []
    faults += [f"{summary['protocol_errors']} protocol errors"] if summary["protocol_errors"] else []
    faults += [f"{summary['viewers_wrong']} viewers differ from the canvas"] if summary["viewers_wrong"] else []
    ledger = summary.get("ledger")
    is_sink = session.scenario.server.counts_only  # It applies nothing, so its ledger cannot add up.
    if isinstance(ledger, dict) and ledger["gap"] and not is_sink:
        faults.append(f"the server's ledger does not add up: {ledger['gap']:,} placements")
    # The fleet counts what the kernel took, so unread messages lie in socket buffers.
    if sent > received and not overloads:
        faults.append(f"{sent - received:,} of {sent:,} messages still unread at the end")
    # A program without a canvas leaves it empty: its counts prove the work instead.
    pixels = session.pages.canvas["pixels"]
    proof = zlib.crc32(pixels.tobytes() if pixels.any() else f"{sent} {received}".encode())
    return Work(sent, received, admitted, f"{proof:08x}", tuple(faults))
