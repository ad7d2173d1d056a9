"""Faults: injected on a click, or at times that a scenario names. A fault is data; the session applies it.

Not every run can have every fault: `FaultButton.unavailable` says why.
"""

from dataclasses import dataclass, replace
from typing import Literal

import msgspec

Kind = Literal["stall devices", "cut links", "kill loop clients", "pause broker"]

# The faults that need devices with their own connections.
LINK_FAULTS = ("cut links", "kill loop clients")
SECONDS_MAX = 3600.0
AT_S_MAX = 7 * 86_400.0
# Shortest interval of a repeated fault: a faster one would be a load, not an event.
EVERY_S_MIN = 0.25


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One fault of a scenario."""

    kind: Kind
    """What happens."""
    at_s: float = 0.0
    """When, in seconds since the load began."""
    every_s: float = 0.0
    """Interval of repetition in seconds. 0: once."""
    share: float = 0.25
    """Share of the devices, 0 to 1, that stall or whose links are cut."""
    seconds: float = 3.0
    """How long devices or the broker stall."""
    loop: int = 0
    """The loop whose clients are reset."""

    def __post_init__(self) -> None:
        limits = (("at_s", 0, AT_S_MAX), ("share", 0, 1), ("seconds", 0, SECONDS_MAX), ("loop", 0, 63))
        for name, least, most in limits:
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; it must be {least:g} to {most:g}")
        # 0 means once, so the least interval applies only to repetitions.
        if self.every_s != 0 and not EVERY_S_MIN <= self.every_s <= AT_S_MAX:
            raise ValueError(f"every_s is {self.every_s}; it must be 0, or {EVERY_S_MIN:g} to {AT_S_MAX:g}")

    @property
    def text(self) -> str:
        """The text of its marker on a time axis."""
        if self.kind == "stall devices":
            return f"stall {100 * self.share:.3g} % of devices for {self.seconds:g} s"
        if self.kind == "cut links":
            return f"cut {100 * self.share:.3g} % of links"
        if self.kind == "pause broker":
            return f"pause broker for {self.seconds:g} s"
        return f"kill clients of loop {self.loop}"


@dataclass(frozen=True, slots=True)
class FaultButton:
    """A fault as a button."""

    kind: str
    label: str
    meaning: str
    """One sentence for a tooltip."""
    unavailable: str = ""
    """Why it is unavailable, one line; "" if it is available."""


FAULTS: tuple[FaultButton, ...] = (
    FaultButton(
        "stall devices",
        "stall devices",
        "A quarter of the devices neither read nor send for 3 s; what they intended to send meanwhile is sent late.",
    ),
    FaultButton(
        "cut links",
        "cut links",
        "The connections of a quarter of the devices are reset at once; they reconnect as the scenario prescribes.",
    ),
    FaultButton(
        "kill loop clients",
        "kill a loop's clients",
        "The server resets every connection of its first loop at once: a reconnect storm follows.",
    ),
    FaultButton(
        "pause broker",
        "pause broker",
        "The broker between MQTT devices and server forwards nothing for 3 s.",
        unavailable="this run has no embedded broker; set server.mqtt to embedded",
    ),
)


def fault_buttons(*, is_linked: bool, is_mqtt: bool, has_server: bool, has_broker: bool) -> tuple[FaultButton, ...]:
    """The buttons for a run. `is_linked`: devices share memory with the server; `has_broker`: an embedded one."""
    buttons = (replace(b, unavailable="") if b.kind == "pause broker" and has_broker else b for b in FAULTS)
    return tuple(_for_run(button, is_linked, is_mqtt, has_server) for button in buttons)


def _for_run(button: FaultButton, is_linked: bool, is_mqtt: bool, has_server: bool) -> FaultButton:
    # The first reason that applies, from the most to the least fundamental.
    reason = button.unavailable
    if not reason and is_linked:
        reason = "devices are linked in memory: there are no connections"
    if not reason and is_mqtt and button.kind in LINK_FAULTS:
        reason = "devices are behind a broker and have no own connections; pause the broker"
    if not reason and not has_server and button.kind in ("kill loop clients", "pause broker"):
        reason = "the server is not part of this run"
    return replace(button, unavailable=reason)
