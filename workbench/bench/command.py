"""What `workbench bench` does: the cases asked for, one table each, and one result file.

Trials are interleaved A B C, A B C, so that a noisy minute affects all programs. What can be refused is refused before
a process is started; a program that fails is left out with its reason, and the others continue. SIGINT ends it with the
tables of what was done.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from server.system import open_files
from workbench.bench import program
from workbench.bench.case import QUICK_SECONDS, Case, Step, case_names, case_of
from workbench.bench.result import CaseResult, Row, keep, new_result, require_folder, utc_now
from workbench.bench.table import case_text
from workbench.bench.trial import Outcome, run_trial
from workbench.errors import RunError, UserError
from workbench.machine.facts import require_connections
from workbench.scenarios.scenario import Scenario, scenario_of
from workbench.scenarios.validation import closest
from workbench.stop_signal import StopSignal

TRIALS, TRIALS_QUICK, TRIALS_MAX = 3, 1, 99
_ENGINE_BATCHES, _ENGINE_BATCHES_QUICK = 2000, 50


def list_cases() -> int:
    """Print all cases, one per line."""
    names = case_names()
    for name in names:
        print(f"{name:<{max(map(len, names))}}  {case_of(name, quick=False).title}")
    return 0


def run_bench(case: str | None, *, quick: bool, peers: bool, trials: int | None, out: Path | None) -> int:
    """Run one case, or all. Returns the exit code: 1 when a program failed, or nothing at all could be measured.

    Raises UserError for an unknown case, a number of trials out of range, or a folder that cannot be made.
    """
    names = [_known(case)] if case is not None else case_names()
    count = (TRIALS_QUICK if quick else TRIALS) if trials is None else trials
    if not 1 <= count <= TRIALS_MAX:
        raise UserError(f"--trials is {count}; it must be 1 to {TRIALS_MAX}")
    require_folder(out)
    # Child processes inherit the limit.
    open_files.raise_to_hard()
    begun = utc_now()
    results: list[CaseResult] = []
    with StopSignal() as stop:
        terms = Terms(count, quick, peers, _show_progress, lambda: stop.asked)
        for chosen in (case_of(name, quick=quick) for name in names):
            if not stop.asked:
                results.append(run_case(chosen, terms))
                _show_progress("")
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


def _show_progress(text: str) -> None:
    """Replace the progress line, which is shown only when stderr is a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Terms:
    """How cases are run."""

    trials: int
    quick: bool
    peers: bool
    show_progress: Callable[[str], None]
    is_stopped: Callable[[], bool]


def run_case(case: Case, terms: Terms) -> CaseResult:
    """Run a case. What cannot be run is left out with a note; nothing is raised for it."""
    return _CaseRun(case, terms).run()


class _CaseRun:
    """One case, with its outcomes so far by step and program."""

    def __init__(self, case: Case, terms: Terms) -> None:
        self._case, self._terms = case, terms
        self._seconds = min(case.seconds, QUICK_SECONDS) if terms.quick else case.seconds
        self._place = program.Place()
        self._outcomes: dict[tuple[str, str], list[Outcome]] = {}
        self._notes: list[str] = []
        self._failed: set[tuple[str, str]] = set()

    def run(self) -> CaseResult:
        case, terms = self._case, self._terms
        wanted = [*case.programs, *(program.PEERS if terms.peers and case.with_peers else ())]
        self._notes += [f"left out: {why}" for name in wanted if (why := program.missing(name))]
        scenarios: list[tuple[Step, Scenario]] = []
        try:
            self._place = program.place(slowed=case.slows_server)
            scenarios = [(step, self._scenario(step)) for step in case.steps]
        except (UserError, RunError) as error:
            self._notes.append(f"skipped: {error}")
        if scenarios and any(step.of_capacity for step in case.steps):
            scenarios = self._scaled_to_capacity(scenarios)
        # Programs innermost: neighbours in time are compared, and a noisy minute affects all of them.
        for number in range(terms.trials):
            for step, scenario in scenarios:
                for name in wanted:
                    if not program.missing(name):
                        self._try_one(step, scenario, name, number)
        head = case.name, case.title, case.primary, self._seconds
        place = "one thread, no sockets" if case.in_memory else str(self._place)
        rows = tuple(Row(step, name, tuple(outcomes)) for (step, name), outcomes in self._outcomes.items())
        return CaseResult(*head, place, rows, tuple(self._notes), bool(self._failed))

    def _try_one(self, step: Step, scenario: Scenario, name: str, number: int) -> None:
        """One trial, unless this program has failed in this step before or a stop was asked for."""
        key = (step.label, name)
        if self._terms.is_stopped() or key in self._failed:
            return
        of = f"{number + 1} of {self._terms.trials}"
        self._terms.show_progress(f"{self._case.name}: trial {of}, {step.label}, {name}")
        try:
            outcome = self._outcome(scenario, name)
        except RunError as error:
            self._failed.add(key)
            self._notes.append(f"left out: {name} ({step.label}): {error}")
            return
        if outcome is not None:
            self._outcomes.setdefault(key, []).append(outcome)

    def _outcome(self, scenario: Scenario, name: str) -> Outcome | None:
        is_stopped = self._terms.is_stopped
        if self._case.in_memory:
            from workbench.bench.engine import run_engine  # Imported on demand, because it brings the compiler.

            batches = _ENGINE_BATCHES_QUICK if self._terms.quick else _ENGINE_BATCHES
            fleet = scenario.fleet
            size = fleet.connections, fleet.frames_per_write, batches
            return run_engine(scenario.server, *size, scenario.seed, is_stopped)
        commands, adapted = program.commands(name, self._place), program.adapted(scenario, name)
        return run_trial(adapted, commands, self._seconds, is_stopped, overloads=self._case.slows_server)

    def _scenario(self, step: Step) -> Scenario:
        """A step's scenario. Raises UserError when this machine cannot run it."""
        name = f"bench {self._case.name}"
        scenario = scenario_of({"name": name, "title": self._case.title, **step.tree}, name)
        if not self._case.in_memory:
            require_connections(scenario.fleet.connections, "connections")
        return scenario

    def _scaled_to_capacity(self, scenarios: list[tuple[Step, Scenario]]) -> list[tuple[Step, Scenario]]:
        """Measure the server's capacity under a flood, and scale the load of each step to it.

        Returns no steps where that fails.
        """
        self._terms.show_progress(f"{self._case.name}: the server's capacity")
        commands = program.commands(program.OURS, self._place)
        try:
            found = run_trial(scenarios[0][1], commands, self._seconds, self._terms.is_stopped)
            capacity = found.figures.get("admitted_per_s") if found else None
            if not capacity:
                raise RunError("the server's capacity is not known, so the load cannot be scaled to it")
        except RunError as error:
            self._failed.add((scenarios[0][0].label, program.OURS))
            self._notes.append(f"skipped: {error}")
            return []
        scaled = []
        for step, scenario in scenarios:
            rate = step.of_capacity * capacity / scenario.fleet.connections
            fleet = msgspec.structs.replace(scenario.fleet, rate_per_s=rate)
            scaled.append((step, msgspec.structs.replace(scenario, fleet=fleet)))
        return scaled
