"""The results of a case as text: a row a program and step, medians, spread, and ratios to the sink and to peers.

It computes nothing but ratios, and prints nothing. Invariant: whoever reads a ratio sees what it is a ratio to.
"""

import zlib
from collections.abc import Sequence

from workbench.bench.figure import FIGURES, written
from workbench.bench.program import OURS, PEERS, SINK
from workbench.bench.result import SPREAD_RATIO_MAX, CaseResult, Row


def case_text(result: CaseResult, columns: Sequence[str], *, quick: bool) -> str:
    """The table of one case with its heading, its notes and its warnings."""
    lines = [f"{result.name}: {result.title}", f"  {result.place}; {_duration(result)}"]
    if result.rows:
        lines += ["", *_table(result, columns), "", f"  {_work_line(result)}"]
    lines += [f"  {line}" for line in (*_fault_lines(result), *result.notes, *warnings(result))]
    if quick:
        lines.append("  a quick look shows that it runs; leave out --quick to measure")
    return "\n".join(lines)


def warnings(result: CaseResult) -> list[str]:
    """What makes the figures doubtful, and what to do about it."""
    lines = []
    for row in result.rows:
        spread = row.spread(result.primary)
        if spread is not None and spread > SPREAD_RATIO_MAX:
            trials = 2 * len(row.outcomes) + 1
            lines.append(
                f"warning: {row.program} ({row.step}) spreads over {spread:.0%}: end what else runs on this machine "
                f"and run: workbench bench {result.name} --trials {trials}"
            )
    return lines


def _duration(result: CaseResult) -> str:
    return f"{result.seconds:g} s of steady state a trial" if result.seconds else "a fixed piece of work a trial"


def _table(result: CaseResult, columns: Sequence[str]) -> list[str]:
    """Aligned lines: the heads, then each step by its name and its programs below it."""
    steps = list(dict.fromkeys(row.step for row in result.rows))
    rows = sorted(result.rows, key=lambda row: steps.index(row.step))
    heads, *cells = _aligned([_heads(result, columns), *(_cells(result, columns, row) for row in rows)])
    lines = [heads]
    for index, (row, text) in enumerate(zip(rows, cells, strict=True)):
        if index == 0 or rows[index - 1].step != row.step:
            lines.append(f"  {row.step}")
        lines.append(text)
    return lines


def _heads(result: CaseResult, columns: Sequence[str]) -> list[str]:
    heads = [FIGURES[key].heading for key in (result.primary, *columns)]
    return ["", heads[0], "spread", *_ratio_heads(result), *heads[1:]]


def _cells(result: CaseResult, columns: Sequence[str], row: Row) -> list[str]:
    spread = row.spread(result.primary)
    return [
        f"  {row.program}",
        written(result.primary, row.median(result.primary)),
        "-" if spread is None else f"{spread:.0%}",
        *_ratios(result, row),
        *(written(key, row.median(key)) for key in columns),
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
    """What became of all messages, and one checksum of all that was done."""
    works = [outcome.work for row in result.rows for outcome in row.outcomes]
    proofs = list(dict.fromkeys(work.checksum for work in works))
    proof = proofs[0] if len(proofs) == 1 else f"{zlib.crc32(' '.join(proofs).encode()):08x}"
    read, sent = sum(work.received for work in works), sum(work.sent for work in works)
    return f"work: {read:,} of {sent:,} messages sent were read; checksum {proof}"


def _fault_lines(result: CaseResult) -> list[str]:
    """What was not as it should be, a line each."""
    return [
        f"fault: {row.program} ({row.step}): {fault}"
        for row in result.rows
        for outcome in row.outcomes
        for fault in outcome.work.faults
    ]


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns of text: the first to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            text.ljust(width) if index < 1 else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
