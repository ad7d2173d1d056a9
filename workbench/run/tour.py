"""The guided demo: five scenarios in three minutes, what is turned in each and when, and what there is to look at.

It runs nothing: it is a table, and a guide that tells what is due. Invariant: every leg of the table is a scenario that
loads, and every turn one that its knobs allow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.scenarios.scenario import load_scenario

CORES_FOR_MILLION = 2


@dataclass(frozen=True, slots=True)
class Cue:
    """At this moment of a leg, in seconds since its load began: what is turned, and what is said."""

    at_s: float
    caption: str
    turns: tuple[tuple[str, Any], ...] = ()
    """Keys of knobs and what they are set to."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One scenario of the tour."""

    scenario: str
    seconds: float
    cues: tuple[Cue, ...]
    overrides: tuple[str, ...] = ()
    """KEY=VALUE, as --set takes them."""


_APPLY_BRAKE = "server.brakes.apply.item_us"

TOUR: tuple[Leg, ...] = (
    Leg(
        "first_light",
        32,
        (
            Cue(
                0,
                "A thousand simulated devices paint one picture over real connections. Above: what they offer, what "
                "the server admits, what is left after merging, and what reaches the viewers.",
            ),
            Cue(
                11,
                "The cards are the server's stages in their real order: how busy each is, how long an item is served "
                "and waits, and the queue before it. The line above them names what limits the run.",
            ),
            Cue(
                21,
                "Now every device sends three times as much, twice what the rate limit lets in: half of it is "
                "throttled, and nothing else suffers.",
                (("fleet.rate_per_s", 60.0),),
            ),
        ),
    ),
    Leg(
        "greedy",
        32,
        (
            Cue(
                0,
                "One device in five is greedy and sends eight times its share. Every connection has a token bucket: "
                "look at the drops, and at how even the rates of the others stay.",
            ),
            Cue(
                12,
                "The limit is raised to 200 a second: now the greedy ones get all they ask for, and most of the canvas "
                "is theirs.",
                (("server.rate_per_s", 200), ("server.burst", 200)),
            ),
            Cue(
                23,
                "And back to 30: within a second everybody has the same share again.",
                (("server.rate_per_s", 30), ("server.burst", 30)),
            ),
        ),
    ),
    Leg(
        "overload",
        40,
        (
            Cue(
                0,
                "50,000 placements a second, and a server that is nearly idle. The line above says how much more would "
                "fit.",
            ),
            Cue(
                8,
                "A brake on apply: each placement now takes 40 microseconds longer, so at most 25,000 a second fit. "
                "Its queue fills, then those before it, and apply is named with the evidence.",
                ((_APPLY_BRAKE, 40.0),),
            ),
            Cue(
                20,
                "Read waits too, but only because what comes behind it is full: the last full queue points at the "
                "culprit. The latency counts from when a placement was intended.",
            ),
            Cue(
                29,
                "The brake is released: the queues empty, what was late is caught up with, and the name goes away.",
                ((_APPLY_BRAKE, 0.0),),
            ),
        ),
        ("load_curve=[]", f"{_APPLY_BRAKE}=0"),
    ),
    Leg(
        "slow_consumers",
        34,
        (
            Cue(
                0,
                "A quarter of the viewers never read. Their sockets fill; the server then owes them only the newest "
                "colours, so a slow viewer costs one unfinished frame and delays nobody.",
            ),
            Cue(
                10,
                "Now three in ten of the devices stall for six seconds. Nothing is lost: what they intended meanwhile "
                "is sent late, and the latency's tail shows it.",
            ),
            Cue(
                22,
                "They have caught up, in one merged frame each. The median of the latency never moved.",
            ),
        ),
    ),
    Leg(
        "million",
        40,
        (
            Cue(
                0,
                "17,000 connections, each at its limit of 60 a second: a million pixel changes a second, and every one "
                "of the 17,000 watches all of it.",
            ),
            Cue(
                14,
                "The two figures to compare: admitted and merged. A million changes in a tick of 220 ms come down to "
                "17,000 pixels, encoded and compressed once, and sent to all.",
            ),
            Cue(
                28,
                "The tick stretches when a broadcast does not fit, so nothing piles up. Everything you saw is yours to "
                "turn: pick a scenario, and move a knob.",
            ),
        ),
    ),
)

_CROWD = Leg(
    "crowd",
    40,
    (
        Cue(
            0,
            "5,000 connections, each at its limit of 60 a second: 300,000 pixel changes a second, and every one of the "
            "5,000 watches all of it. A larger machine would be shown a million here.",
        ),
        Cue(
            20,
            "Compare admitted and merged: what changes within a tick is encoded and compressed once, and sent to all. "
            "Everything you saw is yours to turn: pick a scenario, and move a knob.",
        ),
    ),
)


def tour_for(connections_that_fit: int, cores: float) -> tuple[Leg, ...]:
    """The tour for a machine: the crowd in place of the million where that would not run."""
    needed = load_scenario("million").fleet.connections
    if needed <= connections_that_fit and cores >= CORES_FOR_MILLION:
        return TOUR
    return tuple(_CROWD if leg.scenario == "million" else leg for leg in TOUR)


class Guide:
    """Tells what is due in one leg. `place` is said before each caption: "2 of 5"."""

    def __init__(self, leg: Leg, place: str = "") -> None:
        prefix = f"{place}, {leg.scenario}: " if place else ""
        self._cues = [replace(cue, caption=prefix + cue.caption) for cue in leg.cues]

    def due(self, run_seconds: float) -> Sequence[Cue]:
        """The cues whose moment has come since the last call, in order, with their captions whole."""
        due = [cue for cue in self._cues if cue.at_s <= run_seconds]
        self._cues = self._cues[len(due) :]
        return due
