"""The knobs: every setting that can be changed while a session runs, as a table that the window draws from.

A knob has a range, a scale and texts, but no value. A scenario has its key, and takes every value in that range.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, get_args

from devices.config import Arrivals, PatternName, RegionName
from server.config import BRAKE_BATCH_MS_MAX, BRAKE_ITEM_US_MAX, Brakes, is_live
from workbench.scenarios.scenario import Scenario

GROUPS = ("load", "devices", "limits", "server", "brakes")
CONNECTIONS_MAX = 20_000
LOOPS_MAX = 8
BRAKES_PREFIX = "server.brakes."


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting that can be changed while a session runs."""

    key: str
    """Dotted, as in a scenario: "fleet.rate_per_s"."""
    label: str
    meaning: str
    """One sentence for a tooltip, in the terms of the field."""
    group: str
    """One of `GROUPS`."""
    unit: str = ""
    """Follows the number; "%" shows a ratio in hundredths."""
    least: float = 0.0
    most: float = 1.0
    is_log: bool = False
    """On its slider equal ratios are equal distances, except near 0, where the scale is linear."""
    is_whole: bool = False
    choices: tuple[str, ...] = ()
    """One of these, instead of a number."""

    @property
    def needs_restart(self) -> bool:
        """Whether a change takes effect only when the session is started again."""
        package, _, setting = self.key.partition(".")
        return package == "server" and not is_live(setting.partition(".")[0])

    @property
    def is_brake(self) -> bool:
        """Whether it adds service time to a stage."""
        return self.group == "brakes"

    def position(self, value: float) -> float:
        """The position of a slider, 0 to 1, for this value."""
        # log1p: a logarithmic scale that begins at 0, and is linear below 1.
        way = min(max(value, self.least), self.most) - self.least
        length = self.most - self.least
        return math.log1p(way) / math.log1p(length) if self.is_log else way / length

    def value_at(self, position: float) -> float:
        """The value at a position of the slider, 0 to 1, rounded to two digits."""
        place = min(max(position, 0.0), 1.0)
        length = self.most - self.least
        way = math.expm1(place * math.log1p(length)) if self.is_log else place * length
        return self.clamped(float(f"{self.least + way:.2g}"))

    def clamped(self, value: float) -> float:
        """The nearest value that the knob can be set to."""
        # Comparisons with NaN are false, and min and max would return it.
        if math.isnan(value):
            return self.least
        inside = min(max(value, self.least), self.most)
        return round(inside) if self.is_whole else inside

    def text(self, value: Any) -> str:
        """A value as text: "17,000", "4 %", "20 us an item"."""
        if self.choices:
            return str(value)
        if self.unit == "%":
            return f"{100 * value:.3g} %"
        return f"{value:,.10g} {self.unit}".rstrip()

    def change_text(self, before: Any, after: Any) -> str:
        """The marker text of a change: "rate limit 60 > 30 /s"."""
        name = f"{self.label} brake" if self.is_brake else self.label
        first = self.text(before).removesuffix(f" {self.unit}") if self.unit != "%" else self.text(before)
        return f"{name} {first} > {self.text(after)}"


def _brakes_of(field: str, label: str) -> tuple[Knob, Knob]:
    """The two brakes of one stage."""
    return (
        Knob(f"{BRAKES_PREFIX}{field}.item_us", label,
             f"Service time added to each item of the stage {label}: watch the queue before it.",
             "brakes", "us an item", 0, BRAKE_ITEM_US_MAX, is_log=True),
        Knob(f"{BRAKES_PREFIX}{field}.batch_ms", label,
             f"Service time added to each batch of the stage {label}, however many items it holds.",
             "brakes", "ms a batch", 0, BRAKE_BATCH_MS_MAX, is_log=True),
    )  # fmt: skip


KNOBS: tuple[Knob, ...] = (
    Knob("fleet.rate_per_s", "rate offered", "Offered load: placements per second that each device intends to send.",
         "load", "/s each", 0, 1000, is_log=True),
    Knob("fleet.connections", "connections",
         "Devices, one WebSocket connection each; they come and go at the scenario's connect_per_s.",
         "load", "", 1, CONNECTIONS_MAX, is_log=True, is_whole=True),
    Knob("fleet.arrivals", "arrivals",
         "Arrival process: how intended send times are drawn: evenly, at random, or in bursts.",
         "load", choices=get_args(Arrivals)),
    Knob("fleet.pattern", "pattern",
         "What the devices paint; hotspot and noise decide how many placements merge into one change.",
         "load", choices=get_args(PatternName)),
    Knob("fleet.frames_per_write", "frames a write",
         "Batching: placements that a device collects before it writes; 1: each at once, one system call each.",
         "load", "", 1, 64, is_log=True, is_whole=True),
    Knob("fleet.greedy_ratio", "greedy devices",
         "Share of devices that send several times the rate, and so exceed the rate limit.", "devices", "%"),
    Knob("fleet.slow_ratio", "slow viewers",
         "Share of the viewers that read nothing: slow consumers, whose deltas the server conflates.", "devices", "%"),
    Knob("fleet.churn_ratio", "churning devices",
         "Share of devices that come and go: each stays connected for a while, then reconnects.", "devices", "%"),
    Knob("fleet.region", "region",
         "The part of the canvas that each device watches and paints in: the whole, or four tiles around its pixel.",
         "devices", choices=get_args(RegionName)),
    Knob("server.rate_per_s", "rate limit",
         "Tokens per second of each connection's bucket: what a device sends beyond that is throttled.",
         "limits", "/s", 1, 1000, is_log=True, is_whole=True),
    Knob("server.burst", "burst",
         "Most tokens that a connection's bucket saves up; it must cover what a device sends in one write.",
         "limits", "", 1, 1000, is_log=True, is_whole=True),
    Knob("server.tick_ms", "tick",
         "Tick interval: changes are merged for this time, then broadcast; it stretches when a broadcast does not fit.",
         "server", "ms", 10, 1000, is_log=True, is_whole=True),
    Knob("server.loops", "loops",
         "Loops of the server, one thread each, that share the connections; more than free cores only adds switching.",
         "server", "", 1, LOOPS_MAX, is_whole=True),
    Knob("server.loop", "loop",
         "The implementation of the loop: compiled epoll, portable selectors, or the naive server, one task per "
         "connection.", "server", choices=("native", "portable", "mailbox")),
    *(knob for field in Brakes.__struct_fields__ for knob in _brakes_of(field, field.replace("_", "-"))),
    Knob("fleet.viewer_brake_us", "viewers",
         "Service time that every viewer adds to each delta: slow viewers, whose deltas the server conflates.",
         "brakes", "us a delta", 0, 500, is_log=True),
)  # fmt: skip

_LINKED_FLEET = frozenset({"rate_per_s", "arrivals", "pattern", "frames_per_write"})
# Knobs without effect on devices behind a broker.
_OF_OWN_LINKS = frozenset({"fleet.slow_ratio", "fleet.churn_ratio", "fleet.region", "fleet.viewer_brake_us"})
_LOOPS_WITH_ALL = ("native", "portable")
_JOURNAL_BRAKE = f"{BRAKES_PREFIX}journal."


def knobs_of(scenario: Scenario, *, has_server: bool = True) -> tuple[Knob, ...]:
    """The knobs that have an effect in a run of this scenario, with a server of our own or without."""
    server = scenario.server
    return tuple(
        replace(knob, choices=_LOOPS_WITH_ALL) if server.lacked_by_mailbox and knob.key == "server.loop" else knob
        for knob in KNOBS
        if (has_server or not knob.key.startswith("server."))
        and (server.journal or not knob.key.startswith(_JOURNAL_BRAKE))
        and (scenario.link != "memory" or _turns_when_linked(knob))
        and (scenario.fleet.transport != "mqtt" or knob.key not in _OF_OWN_LINKS)
        and (server.loop != "mailbox" or not knob.key.startswith(BRAKES_PREFIX))
    )


def _turns_when_linked(knob: Knob) -> bool:
    """Devices that are linked in memory are always connected, watch the whole canvas, and need the native loop."""
    owner, _, field = knob.key.partition(".")
    return field in _LINKED_FLEET if owner == "fleet" else knob.key != "server.loop"
