"""Runs a case: all its steps and programs in turn, as often as there are trials, so that a noisy minute hits them all.

It measures nothing itself. A program that fails is left out with its reason, and the others go on.
Invariant: trials are interleaved A B C, A B C; never A A A, B B B.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from workbench.bench import program
from workbench.bench.case import QUICK_SECONDS, Case, Step
from workbench.bench.result import CaseResult, Row
from workbench.bench.trial import Outcome, run_trial
from workbench.errors import RunError, UserError
from workbench.machine.facts import require_connections
from workbench.scenarios.scenario import Scenario, scenario_of

_ENGINE_BATCHES, _ENGINE_BATCHES_QUICK = 2000, 50


@dataclass(frozen=True, slots=True)
class Terms:
    """How a case is to be run."""

    trials: int
    quick: bool
    peers: bool
    tell: Callable[[str], None]
    """Called with what is being done, for a person who waits."""
    is_stopped: Callable[[], bool]


@dataclass(slots=True)
class _Progress:
    """The trials so far, by step and program."""

    outcomes: dict[tuple[str, str], list[Outcome]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failed: set[tuple[str, str]] = field(default_factory=set)


def run_case(case: Case, terms: Terms) -> CaseResult:
    """Run a case. What cannot be run is left out with a note; nothing is raised for it."""
    progress = _Progress()
    where = program.Place()
    programs = _programs(case, terms, progress)
    try:
        where = program.place(slowed=case.slows_server)
        scenarios = [(step, _scenario(case, step)) for step in case.steps]
    except (UserError, RunError) as error:
        progress.notes.append(f"skipped: {error}")
        scenarios = []
    if scenarios and any(step.of_capacity for step in case.steps):
        scenarios = _of_capacity(case, scenarios, terms, where, progress)
    for number in range(terms.trials):
        for step, scenario in scenarios:
            for name in programs:
                _try_one(case, step, scenario, name, number, terms, where, progress)
    rows = tuple(Row(step, name, tuple(outcomes)) for (step, name), outcomes in progress.outcomes.items())
    return CaseResult(
        case.name,
        case.title,
        case.primary,
        _seconds(case, terms),
        _place_text(case, where),
        rows,
        tuple(progress.notes),
        bool(progress.failed),
    )


def _try_one(
    case: Case,
    step: Step,
    scenario: Scenario,
    name: str,
    number: int,
    terms: Terms,
    where: program.Place,
    progress: _Progress,
) -> None:
    """One trial, unless this program has failed in this step before or somebody has asked to stop."""
    key = (step.label, name)
    if terms.is_stopped() or key in progress.failed:
        return
    terms.tell(f"{case.name}: trial {number + 1} of {terms.trials}, {step.label}, {name}")
    try:
        outcome = _outcome(case, scenario, name, terms, where)
    except RunError as error:
        progress.failed.add(key)
        progress.notes.append(f"left out: {name} ({step.label}): {error}")
        return
    if outcome is not None:
        progress.outcomes.setdefault(key, []).append(outcome)


def _outcome(case: Case, scenario: Scenario, name: str, terms: Terms, where: program.Place) -> Outcome | None:
    if case.in_memory:
        # Only now: it brings the compiler with it.
        from workbench.bench.engine import run_engine

        batches = _ENGINE_BATCHES_QUICK if terms.quick else _ENGINE_BATCHES
        fleet = scenario.fleet
        size = fleet.connections, fleet.frames_per_write, batches
        return run_engine(scenario.server, *size, scenario.seed, terms.is_stopped)
    commands = program.commands(name, where)
    adapted = program.adapted(scenario, name)
    return run_trial(adapted, commands, _seconds(case, terms), terms.is_stopped, overloads=case.slows_server)


def _scenario(case: Case, step: Step) -> Scenario:
    """A step's scenario. Raises UserError when this machine cannot do it."""
    scenario = scenario_of({"name": f"bench {case.name}", "title": case.title, **step.tree}, f"bench {case.name}")
    if not case.in_memory:
        require_connections(scenario.fleet.connections, "connections")
    return scenario


def _of_capacity(
    case: Case, scenarios: list[tuple[Step, Scenario]], terms: Terms, where: program.Place, progress: _Progress
) -> list[tuple[Step, Scenario]]:
    """Measure what the server can take when it is offered more than enough, and scale each step's load to that.

    Without steps where that fails.
    """
    terms.tell(f"{case.name}: how much the server can take")
    flood = scenarios[0][1]
    try:
        found = run_trial(flood, program.commands(program.OURS, where), _seconds(case, terms), terms.is_stopped)
        capacity = found.figures.get("admitted_per_s") if found else None
        if not capacity:
            raise RunError("what the server can take is not known, so nothing can be a share of it")
    except RunError as error:
        progress.failed.add((scenarios[0][0].label, program.OURS))
        progress.notes.append(f"skipped: {error}")
        return []
    return list(_scaled(scenarios, capacity))


def _scaled(scenarios: list[tuple[Step, Scenario]], capacity: float) -> Iterator[tuple[Step, Scenario]]:
    for step, scenario in scenarios:
        rate = step.of_capacity * capacity / scenario.fleet.connections
        fleet = msgspec.structs.replace(scenario.fleet, rate_per_s=rate)
        yield step, msgspec.structs.replace(scenario, fleet=fleet)


def _programs(case: Case, terms: Terms, progress: _Progress) -> list[str]:
    """The programs of a case that are on this machine; a note for each that is not."""
    wanted = [*case.programs, *(program.PEERS if terms.peers and case.with_peers else ())]
    progress.notes += [f"left out: {why}" for name in wanted if (why := program.missing(name))]
    return [name for name in wanted if not program.missing(name)]


def _seconds(case: Case, terms: Terms) -> float:
    return min(case.seconds, QUICK_SECONDS) if terms.quick else case.seconds


def _place_text(case: Case, where: program.Place) -> str:
    return "one thread, no sockets" if case.in_memory else str(where)
