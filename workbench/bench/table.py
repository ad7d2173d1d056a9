"""The results of a case as text: one row per program and step, with medians, spread, and ratios to sink and peers.

Keys of figures are those of a run's summary, and a few that only a benchmark has. A figure that is not known is a dash,
never 0.
"""

import zlib
from collections.abc import Sequence

from plots.number import with_prefix
from workbench.bench.program import OURS, PEERS, SINK
from workbench.bench.result import CaseResult, Row

# A wider spread of the primary figure is warned of.
SPREAD_RATIO_MAX = 0.10


def amount(value: float) -> str:
    """A count or rate in three digits and a prefix: 1.02M, 340k, 12.5."""
    scaled, prefix = with_prefix(value)
    return f"{scaled:.3g}{prefix}"


# By key: the heading of its column, and its decimals; None: three digits with a prefix.
FIGURES: dict[str, tuple[str, int | None]] = {
    "messages_per_core_s": ("messages/core-s", None),
    "message_ns": ("ns/message", 0),
    "offered_per_s": ("offered/s", None),
    "received_per_s": ("received/s", None),
    "admitted_per_s": ("admitted/s", None),
    "deltas_per_s": ("deltas/s", None),
    "deltas_per_core_s": ("deltas/core-s", None),
    "deltas_per_viewer_per_s": ("deltas/s per viewer", 1),
    "broadcast_bytes_per_s": ("broadcast B/s", None),
    "placement_to_view_ms_p50": ("view ms p50", 0),
    "placement_to_view_ms_p99": ("view ms p99", 0),
    "tick_ms_p99": ("tick ms p99", 0),
    "server_cpu_cores": ("server cores", 2),
    "fleet_cpu_cores": ("fleet cores", 2),
    "server_resident_bytes": ("server B", None),
    "connects_per_s": ("connects/s", None),
    "connects_per_core_s": ("connects/core-s", None),
    "connect_seconds": ("all in s", 2),
    "refused": ("refused", 0),
    "decode_ns": ("decode ns", 1),
    "admit_ns": ("admit ns", 1),
    "apply_ns": ("apply ns", 1),
    "tick_ms": ("tick ms", 2),
}


def case_text(result: CaseResult, columns: Sequence[str], *, quick: bool) -> str:
    """The table of one case with its heading, its notes and its warnings."""
    lines = [f"{result.name}: {result.title}", f"  {result.place}; {_duration(result)}"]
    if result.rows:
        lines += ["", *_table(result, columns), "", f"  {_work_line(result)}"]
    lines += [f"  {line}" for line in (*_fault_lines(result), *result.notes, *warnings(result))]
    if quick:
        lines.append("  a quick run shows that it works; leave out --quick to measure")
    return "\n".join(lines)


def warnings(result: CaseResult) -> list[str]:
    """Reasons to doubt the figures, each with a remedy."""
    lines = []
    for row in result.rows:
        spread = row.spread(result.primary)
        if spread is not None and spread > SPREAD_RATIO_MAX:
            trials = 2 * len(row.outcomes) + 1
            lines.append(
                f"warning: {row.program} ({row.step}) spreads over {spread:.0%}: end other programs on this machine "
                f"and run: workbench bench {result.name} --trials {trials}"
            )
    return lines


def _duration(result: CaseResult) -> str:
    return f"{result.seconds:g} s of steady state per trial" if result.seconds else "a fixed amount of work per trial"


def _table(result: CaseResult, columns: Sequence[str]) -> list[str]:
    """Aligned lines: the headings, then each step and its programs."""
    steps = list(dict.fromkeys(row.step for row in result.rows))
    rows = sorted(result.rows, key=lambda row: steps.index(row.step))
    heads, *cells = _aligned([_heads(result, columns), *(_cells(result, columns, row) for row in rows)])
    lines = [heads]
    for index, (row, text) in enumerate(zip(rows, cells, strict=True)):
        # The step is a line of its own, because its label is wider than a column.
        if index == 0 or rows[index - 1].step != row.step:
            lines.append(f"  {row.step}")
        lines.append(text)
    return lines


def _heads(result: CaseResult, columns: Sequence[str]) -> list[str]:
    heads = [FIGURES[key][0] for key in (result.primary, *columns)]
    return ["", heads[0], "spread", *_ratio_heads(result), *heads[1:]]


def _cells(result: CaseResult, columns: Sequence[str], row: Row) -> list[str]:
    spread = row.spread(result.primary)
    return [
        f"  {row.program}",
        _written(result.primary, row.median(result.primary)),
        "-" if spread is None else f"{spread:.0%}",
        *_ratios(result, row),
        *(_written(key, row.median(key)) for key in columns),
    ]


def _ratio_heads(result: CaseResult) -> list[str]:
    programs = {row.program for row in result.rows}
    heads = ["of sink"] if SINK in programs else []
    heads += ["workbench is"] if programs.intersection(PEERS) else []
    return heads or (["of first"] if len(result.rows) > 1 else [])


def _ratios(result: CaseResult, row: Row) -> list[str]:
    texts = {
        "of sink": _times(row, _row(result, row.step, SINK), result.primary),
        "workbench is": _times(_row(result, row.step, OURS), row, result.primary) if row.program in PEERS else "",
        "of first": _times(row, result.rows[0], result.primary),
    }
    return [texts[head] for head in _ratio_heads(result)]


def _row(result: CaseResult, step: str, program: str) -> Row | None:
    return next((row for row in result.rows if (row.step, row.program) == (step, program)), None)


def _times(row: Row | None, reference: Row | None, key: str) -> str:
    part = row.median(key) if row is not None else None
    whole = reference.median(key) if reference is not None else None
    return f"{part / whole:.2f}x" if part is not None and whole else "-"


def _work_line(result: CaseResult) -> str:
    """How many messages were read, and one checksum of all trials."""
    works = [outcome.work for row in result.rows for outcome in row.outcomes]
    proofs = list(dict.fromkeys(work.checksum for work in works))
    # Trials with equal work have one checksum, which is shown as it is, to compare it between machines.
    proof = proofs[0] if len(proofs) == 1 else f"{zlib.crc32(' '.join(proofs).encode()):08x}"
    read, sent = sum(work.received for work in works), sum(work.sent for work in works)
    return f"work: {read:,} of {sent:,} messages sent were read; checksum {proof}"


def _fault_lines(result: CaseResult) -> list[str]:
    """Faults of trials, one per line."""
    return [
        f"fault: {row.program} ({row.step}): {fault}"
        for row in result.rows
        for outcome in row.outcomes
        for fault in outcome.work.faults
    ]


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns of text: the first aligned left, figures right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            text.ljust(width) if index < 1 else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _written(key: str, value: float | None) -> str:
    digits = FIGURES[key][1]
    if value is None:
        return "-"
    return amount(value) if digits is None else f"{value:,.{digits}f}"
