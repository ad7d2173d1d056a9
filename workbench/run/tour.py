"""The guided tour: five scenarios in three minutes, with captions and changing settings. It runs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.scenarios.scenario import load_scenario

CORES_FOR_MILLION = 2


@dataclass(frozen=True, slots=True)
class Cue:
    """What happens at one time of a leg: the caption, and the settings that change."""

    at_s: float
    """Since the load began."""
    caption: str
    settings: tuple[tuple[str, Any], ...] = ()
    """Keys of knobs, and their values."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One scenario of the tour."""

    scenario: str
    seconds: float
    cues: tuple[Cue, ...]
    overrides: tuple[str, ...] = ()
    """KEY=VALUE, as for --set."""


# The tour sets this brake itself, so the scenario's own brake and curve are overridden.
_APPLY_BRAKE = "server.brakes.apply.item_us"

TOUR: tuple[Leg, ...] = (
    Leg(
        "first_light",
        32,
        (
            Cue(
                0,
                "A thousand simulated devices paint one picture over real connections. At the top: what they offer, "
                "what the server admits, what is left after merging, and what the viewers receive.",
            ),
            Cue(
                11,
                "The cards are the server's stages in order: how busy each is, service and waiting time of an item, "
                "and the queue before it. The line above them names the bottleneck.",
            ),
            Cue(
                21,
                "Now every device sends three times as much, twice the rate limit: half of it is throttled, and "
                "nothing else is affected.",
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
                "The limit is raised to 200 per second: now the greedy devices get all they send, and paint most of "
                "the canvas.",
                (("server.rate_per_s", 200), ("server.burst", 200)),
            ),
            Cue(
                23,
                "And back to 30: within a second all devices have the same share again.",
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
                "50,000 placements per second, and a server that is nearly idle. The line above shows the headroom.",
            ),
            Cue(
                8,
                "A brake on apply: each placement takes 40 microseconds longer, so at most 25,000 per second fit. Its "
                "queue fills, then those before it, and apply is named as the bottleneck.",
                ((_APPLY_BRAKE, 40.0),),
            ),
            Cue(
                20,
                "Read waits, too, but only because the next stages are full: the last full queue shows the bottleneck. "
                "Latency counts from the intended send time.",
            ),
            Cue(
                29,
                "The brake is released: the queues drain, and the bottleneck disappears.",
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
                "A quarter of the viewers never read. Their sockets fill, and the server keeps only the newest colours "
                "for them: a slow viewer costs at most one partial frame and delays no other.",
            ),
            Cue(
                10,
                "Now three in ten of the devices stall for six seconds. Nothing is lost: what they intended to send "
                "meanwhile is sent late, and the tail of the latency shows it.",
            ),
            Cue(
                22,
                "They have caught up, with one merged frame each. The median of the latency did not change.",
            ),
        ),
    ),
    Leg(
        "million",
        40,
        (
            Cue(
                0,
                "17,000 connections, each at its limit of 60 per second: a million pixel changes per second, and each "
                "of the 17,000 receives all of them.",
            ),
            Cue(
                14,
                "Compare admitted and merged: the changes of a tick of 220 ms come down to 17,000 pixels, which are "
                "encoded and compressed once, and sent to all.",
            ),
            Cue(
                28,
                "The tick stretches when a broadcast does not fit, so nothing piles up. Now try it yourself: pick a "
                "scenario, and move a knob.",
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
            "5,000 connections, each at its limit of 60 per second: 300,000 pixel changes per second, and each of the "
            "5,000 receives all of them. On a larger machine this is a million.",
        ),
        Cue(
            20,
            "Compare admitted and merged: what changes within a tick is encoded and compressed once, and sent to all. "
            "Now try it yourself: pick a scenario, and move a knob.",
        ),
    ),
)


def tour_for(connections_that_fit: int, cores: float) -> tuple[Leg, ...]:
    """The tour for a machine: `crowd` instead of `million` if that would not run."""
    # Without a second core, server and fleet would compete, and the last leg would show that instead.
    needed = load_scenario("million").fleet.connections
    if needed <= connections_that_fit and cores >= CORES_FOR_MILLION:
        return TOUR
    return tuple(_CROWD if leg.scenario == "million" else leg for leg in TOUR)


class Guide:
    """Returns the cues of one leg when they are due. `place`, such as "2 of 5", is put before each caption."""

    def __init__(self, leg: Leg, place: str = "") -> None:
        prefix = f"{place}, {leg.scenario}: " if place else ""
        self._cues = [replace(cue, caption=prefix + cue.caption) for cue in leg.cues]

    def due(self, run_seconds: float) -> Sequence[Cue]:
        """The cues that became due since the last call, in order."""
        # Several may be due at once after a slow redraw; the last caption stays.
        due = [cue for cue in self._cues if cue.at_s <= run_seconds]
        self._cues = self._cues[len(due) :]
        return due
