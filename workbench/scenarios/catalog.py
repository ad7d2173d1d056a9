"""What there is to pick: the built-in scenarios, and the one that shows a server of mailboxes on both of its servers.

It draws and starts nothing. Invariant: each pick loads, and has a picture.
"""

from dataclasses import dataclass
from pathlib import Path

from server.bridge.broker import find_kind
from workbench.machine import file_limit
from workbench.scenarios.scenario import Scenario, builtin_names, load_scenario, portrait_path

_SEED_ENGINE = "Five hundred connections offer 70,000 a second: a tenth of a core carries that. Compare the next card."
_SEED_MAILBOX = (
    "The same load, a mailbox a connection: that takes a core, and a little more jams it. Knob 'loop' changes over."
)
_TWICE = "seed"
"""The scenario with a pick for either of the servers."""
_ENGINE, _MAILBOX = "server.loop=native", "server.loop=mailbox"


@dataclass(frozen=True, slots=True)
class Pick:
    """One thing to pick: a scenario, perhaps with something laid over it."""

    name: str
    """Of the scenario."""
    label: str
    text: str
    """What it teaches, in a sentence."""
    scenario: Scenario
    """What is run when it is picked."""
    variant: str = ""
    """Told apart by this from other picks of the same scenario."""

    @property
    def picture(self) -> Path:
        """Where its picture is kept."""
        return portrait_path(f"{self.name}_{self.variant}" if self.variant else self.name)

    def refusal(self) -> str:
        """Why it cannot run on this machine, in a few words; "" when it can."""
        scenario, fit = self.scenario, file_limit.connections_that_fit()
        if scenario.server.mqtt == "embedded" and not find_kind():
            return "needs an MQTT broker; install mosquitto"
        if scenario.socket_count <= fit:
            return ""
        return f"needs {scenario.fleet.connections:,} connections; the open-file limit allows {fit:,}"

    def is_of(self, scenario: Scenario) -> bool:
        """Whether this is what such a run was picked by, whatever was turned since but for the server's kind."""
        if scenario.name != self.name:
            return False
        return self.name != _TWICE or scenario.server.loop == self.scenario.server.loop


def all_picks() -> tuple[Pick, ...]:
    """Everything that can be picked, the scenario that is run by default first."""
    return tuple(pick for name in builtin_names() for pick in _picks_of(name))


def _picks_of(name: str) -> tuple[Pick, ...]:
    if name != _TWICE:
        scenario = load_scenario(name)
        return (Pick(name, name, scenario.title, scenario),)
    return (
        Pick(name, "seed, on the engine", _SEED_ENGINE, load_scenario(name, [_ENGINE])),
        Pick(name, "seed, on mailboxes", _SEED_MAILBOX, load_scenario(name, [_MAILBOX]), "mailbox"),
    )
