"""Faults: what may be done to a run on purpose, by a click or at times that a scenario names.

A fault is data; whoever holds the processes carries it out. Invariant: a `Fault` that exists can be carried out, in
a run whose parts can suffer it: `unavailable` says why one cannot.
"""

from dataclasses import dataclass, replace
from typing import Literal

import msgspec

Kind = Literal["stall devices", "cut links", "kill loop clients", "pause broker"]

LINK_FAULTS = ("cut links", "kill loop clients")
"""Of these, what only devices with connections of their own can suffer."""
SECONDS_MAX = 3600.0
AT_S_MAX = 7 * 86_400.0
EVERY_S_MIN = 0.25
"""A fault every so often at most: one that repeats faster is no event any more, but a load."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One fault of a scenario."""

    kind: Kind
    """What is done."""
    at_s: float = 0.0
    """When, in seconds since the load began."""
    every_s: float = 0.0
    """Again after so long, and so on. 0: once."""
    share: float = 0.25
    """Of the devices, 0 to 1, that stall or whose links are cut."""
    seconds: float = 3.0
    """How long devices stall, or the broker."""
    loop: int = 0
    """Whose clients are reset."""

    def __post_init__(self) -> None:
        limits = (("at_s", 0, AT_S_MAX), ("share", 0, 1), ("seconds", 0, SECONDS_MAX), ("loop", 0, 63))
        for name, least, most in limits:
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; it must be {least:g} to {most:g}")
        if self.every_s != 0 and not EVERY_S_MIN <= self.every_s <= AT_S_MAX:
            raise ValueError(f"every_s is {self.every_s}; it must be 0, or {EVERY_S_MIN:g} to {AT_S_MAX:g}")

    @property
    def text(self) -> str:
        """As the marker on a time axis says it."""
        if self.kind == "stall devices":
            return f"stall {100 * self.share:.3g} % of devices for {self.seconds:g} s"
        if self.kind == "cut links":
            return f"cut {100 * self.share:.3g} % of links"
        if self.kind == "pause broker":
            return f"pause broker for {self.seconds:g} s"
        return f"kill clients of loop {self.loop}"


@dataclass(frozen=True, slots=True)
class FaultButton:
    """A fault as it is offered to a person."""

    kind: str
    label: str
    meaning: str
    """One sentence for a tooltip."""
    unavailable: str = ""
    """Why it cannot be had, one line; "" when it can."""


FAULTS: tuple[FaultButton, ...] = (
    FaultButton(
        "stall devices",
        "stall devices",
        "A quarter of the devices neither reads nor sends for 3 s; what they intended meanwhile is sent late.",
    ),
    FaultButton(
        "cut links",
        "cut links",
        "The connections of a quarter of the devices are reset at once; they dial anew as the scenario says.",
    ),
    FaultButton(
        "kill loop clients",
        "kill a loop's clients",
        "The server resets every connection of its first loop at once: a reconnect storm follows.",
    ),
    FaultButton(
        "pause broker",
        "pause broker",
        "The broker between MQTT devices and server hands nothing on for 3 s.",
        unavailable="this run has no broker of its own: set server.mqtt to embedded",
    ),
)


def fault_buttons(*, is_linked: bool, is_mqtt: bool, has_server: bool, has_broker: bool) -> tuple[FaultButton, ...]:
    """All that is offered in a run: linked in memory or through a broker, and with a server and a broker of ours."""
    buttons = (replace(b, unavailable="") if b.kind == "pause broker" and has_broker else b for b in FAULTS)
    return tuple(_for_run(button, is_linked, is_mqtt, has_server) for button in buttons)


def _for_run(button: FaultButton, is_linked: bool, is_mqtt: bool, has_server: bool) -> FaultButton:
    reason = button.unavailable
    if not reason and is_linked:
        reason = "devices are linked in memory: there is no connection to harm"
    if not reason and is_mqtt and button.kind in LINK_FAULTS:
        reason = "devices are behind a broker and have no links of their own: pause that"
    if not reason and not has_server and button.kind in ("kill loop clients", "pause broker"):
        reason = "the server is not this workbench's own"
    return replace(button, unavailable=reason)
