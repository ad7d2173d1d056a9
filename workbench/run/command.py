"""What `workbench run` and `workbench fleet` do: a scenario and those that are picked after it, or the guided demo.

It reads no command line. Invariant: when it returns or raises, every session is ended and the window closed.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing

import msgspec

from workbench.address import Address
from workbench.machine import file_limit
from workbench.machine.facts import usable_core_count
from workbench.run.show import Outputs, Show
from workbench.run.tour import Guide, Leg, tour_for
from workbench.scenarios.scenario import Scenario, load_scenario
from workbench.session.session import COMMANDS
from workbench.stop_signal import StopSignal


def run_scenario(
    scenario: Scenario,
    outputs: Outputs,
    address: Address | None = None,
    commands: Mapping[str, Sequence[str]] = COMMANDS,
    *,
    asks: bool = False,
) -> int:
    """Run it, and whatever the person at the window wants to see after it. Returns the exit code.

    With an `address`, only the fleet runs, against the server there. `commands` are the programs behind the parts.
    With `asks`, the window asks at first whether one would rather see something else.
    Raises UserError before anything is started, RunError for what could not be left behind.
    """
    with StopSignal() as stop, closing(Show(outputs, stop, address, commands)) as show:
        wanted = show.play(scenario, asks=asks)
        while wanted is not None:
            wanted = show.play(wanted)
        return show.exit_code


def run_tour(outputs: Outputs, overrides: Sequence[str] = (), commands: Mapping[str, Sequence[str]] = COMMANDS) -> int:
    """Walk through the tour; who wants to see something else meanwhile, sees that, and the tour is over.

    `overrides` are laid over every leg's scenario; the leg's own seconds stay when they say none.
    """
    legs = tour_for(file_limit.connections_that_fit(), usable_core_count())
    with StopSignal() as stop, closing(Show(outputs, stop, commands=commands)) as show:
        wanted: Scenario | None = None
        index = 0
        while wanted is None and not show.is_over and index < len(legs):
            guide = Guide(legs[index], f"{index + 1} of {len(legs)}")
            wanted = show.play(scenario_of_leg(legs[index], overrides), guide)
            index = max(0, index + show.leg_step)
        while wanted is not None:
            wanted = show.play(wanted)
        return show.exit_code


def scenario_of_leg(leg: Leg, overrides: Sequence[str] = ()) -> Scenario:
    """What is run for a leg."""
    scenario = load_scenario(leg.scenario, [*leg.overrides, *overrides])
    return scenario if scenario.seconds is not None else msgspec.structs.replace(scenario, seconds=leg.seconds)
