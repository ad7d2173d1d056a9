"""The scenarios to pick from: the built-in ones, one of them on both kinds of servers. Each has a picture."""

from dataclasses import dataclass
from pathlib import Path

from server.bridge.broker import find_kind
from workbench.machine.facts import connections_that_fit
from workbench.scenarios.scenario import Scenario, builtin_names, load_scenario, portrait_path

_SEED_ENGINE = "Five hundred connections offer 70,000 per second, on a tenth of a core. Compare the next card."
_SEED_MAILBOX = (
    "The same load, one mailbox per connection: it takes a core, and jams at little more. The knob 'loop' switches."
)
# The scenario that has one pick for each kind of server.
_TWICE = "seed"
_ENGINE, _MAILBOX = "server.loop=native", "server.loop=mailbox"


@dataclass(frozen=True, slots=True)
class Pick:
    """One entry of the list: a scenario, possibly with overrides."""

    name: str
    """Name of the scenario."""
    label: str
    text: str
    """What it shows, in a sentence."""
    scenario: Scenario
    """The scenario to run."""
    variant: str = ""
    """Distinguishes picks of the same scenario."""

    @property
    def picture(self) -> Path:
        """The file of its picture."""
        return portrait_path(f"{self.name}_{self.variant}" if self.variant else self.name)

    def refusal(self) -> str:
        """Why it cannot run on this machine, in a few words; "" if it can."""
        scenario, fit = self.scenario, connections_that_fit()
        # Looked for each time: a broker may be installed while the list is open.
        if scenario.server.mqtt == "embedded" and not find_kind():
            return "needs an MQTT broker; install mosquitto"
        if scenario.socket_count <= fit:
            return ""
        return f"needs {scenario.fleet.connections:,} connections; the open-file limit allows {fit:,}"

    def is_of(self, scenario: Scenario) -> bool:
        """Whether a running scenario is this pick, whatever settings changed since, except the kind of server."""
        if scenario.name != self.name:
            return False
        return self.name != _TWICE or scenario.server.loop == self.scenario.server.loop


def all_picks() -> tuple[Pick, ...]:
    """All picks, the default scenario first."""
    return tuple(pick for name in builtin_names() for pick in _picks_of(name))


def _picks_of(name: str) -> tuple[Pick, ...]:
    if name != _TWICE:
        scenario = load_scenario(name)
        return (Pick(name, name, scenario.title, scenario),)
    return (
        Pick(name, "seed, on the engine", _SEED_ENGINE, load_scenario(name, [_ENGINE])),
        Pick(name, "seed, on mailboxes", _SEED_MAILBOX, load_scenario(name, [_MAILBOX]), "mailbox"),
    )
