"""What `workbench bench` does: the cases asked for, a table each, and one result file.

It reads no command line. Everything that can be refused is refused before a process is started.
Invariant: whatever is asked, it ends by itself, and SIGINT ends it in order with the tables of what was done.
"""

import sys
from pathlib import Path

from server.system import open_files
from workbench.bench.case import case_names, case_of
from workbench.bench.result import CaseResult, keep, new_result, require_folder, utc_now
from workbench.bench.runner import Terms, run_case
from workbench.bench.table import case_text
from workbench.errors import UserError
from workbench.scenarios.validation import closest
from workbench.stop_signal import StopSignal

TRIALS, TRIALS_QUICK, TRIALS_MAX = 3, 1, 99


def list_cases() -> int:
    """Print all cases, a line each."""
    names = case_names()
    for name in names:
        print(f"{name:<{max(map(len, names))}}  {case_of(name, quick=False).title}")
    return 0


def run_bench(case: str | None, *, quick: bool, peers: bool, trials: int | None, out: Path | None) -> int:
    """Run one case, or all. Returns the exit code: 1 when a program failed, or nothing at all could be measured.

    Raises UserError for an unknown case, a number of trials that is out of range, or a folder that cannot be.
    """
    names = [_known(case)] if case is not None else case_names()
    count = (TRIALS_QUICK if quick else TRIALS) if trials is None else trials
    if not 1 <= count <= TRIALS_MAX:
        raise UserError(f"--trials is {count}; it must be 1 to {TRIALS_MAX}")
    require_folder(out)
    open_files.raise_to_hard()
    begun = utc_now()
    results: list[CaseResult] = []
    with StopSignal() as stop:
        terms = Terms(count, quick, peers, _tell, lambda: stop.asked)
        for chosen in (case_of(name, quick=quick) for name in names):
            if not stop.asked:
                results.append(run_case(chosen, terms))
                _tell("")
                print(f"{case_text(results[-1], chosen.columns, quick=quick)}\n", flush=True)
    if out is not None:
        print(f"kept in {keep(out, new_result(begun, quick=quick, trials=count, cases=tuple(results)))}")
    has_failed = any(result.has_failed for result in results) or not any(result.rows for result in results)
    return 1 if has_failed and not stop.asked else 0


def _known(name: str) -> str:
    if name in case_names():
        return name
    guess = closest(name, case_names())
    hint = f"did you mean {guess!r}? " if guess else ""
    raise UserError(f"no case {name!r}; {hint}'workbench bench --list' names them")


def _tell(text: str) -> None:
    """One line that renews itself, for a person at a terminal; nobody else waits for it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
