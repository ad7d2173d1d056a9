"""The knobs of a running session: what can be turned, what each is set to, and how to take it back.

It changes a `Scenario`, and tells whoever carries that out; it sends nothing itself. Invariant: the present settings
are always a whole, valid scenario, so that "copy as scenario" reproduces them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from workbench.scenario import Scenario

MERGE_NS = 1_000_000_000
"""Turns of one knob that follow each other so closely are one step of undo: a drag is taken back whole."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting that can be turned while a session runs."""

    key: str
    """Dotted, as in a scenario: "fleet.rate_per_s"."""
    label: str
    meaning: str
    """One sentence for a tooltip, in the terms of the field."""
    group: str
    """load, devices, limits, server or brakes."""
    unit: str = ""
    least: float = 0.0
    most: float = 1.0
    is_log: bool = False
    """A slider's way is equal for equal ratios."""
    is_whole: bool = False
    choices: tuple[str, ...] = ()
    """One of these, instead of a number."""
    needs_restart: bool = False
    """The design cannot change it while it runs: the session is started anew with it."""


KNOBS: tuple[Knob, ...] = (
    Knob(
        "fleet.rate_per_s",
        "offered rate",
        "Placements a second that each device intends to send.",
        "load",
        "/s each",
        0,
        1000,
        is_log=True,
    ),
)


class Controls:
    """The present settings. `carry_out(scenario)` is called with each change; `mark(kind, text)` notes it."""

    def __init__(
        self, scenario: Scenario, carry_out: Callable[[Scenario], None], mark: Callable[[str, str], None]
    ) -> None:
        self._first = scenario
        self._now = scenario
        self._carry_out, self._mark = carry_out, mark
        self._past: list[tuple[int, str, Scenario]] = []

    @property
    def scenario(self) -> Scenario:
        """The present settings."""
        return self._now

    @property
    def knobs(self) -> Sequence[Knob]:
        """All that can be turned, in the order of their groups."""
        return KNOBS

    def value(self, key: str) -> Any:
        """What a knob is set to: a number, or one of its choices."""
        found: Any = self._now
        for name in key.split("."):
            found = getattr(found, name)
        return found

    def set(self, key: str, value: Any, now_ns: int) -> None:
        """Turn a knob. A value beyond its ends is brought to the nearest."""
        if not self._past or self._past[-1][1] != key or now_ns - self._past[-1][0] > MERGE_NS:
            self._past.append((now_ns, key, self._now))
        self._change(_replaced(self._now, key.split("."), value))

    def undo(self, now_ns: int) -> None:
        """Take the last step back; nothing when there is none."""
        if self._past:
            self._change(self._past.pop()[2])

    def reset(self, now_ns: int) -> None:
        """Back to the scenario as it was started; this too can be undone."""
        self._past.append((now_ns, "", self._now))
        self._change(self._first)

    def _change(self, scenario: Scenario) -> None:
        self._now = scenario
        self._carry_out(scenario)


def _replaced(node: Any, names: list[str], value: Any) -> Any:
    """The same frozen settings with one of them another."""
    inner = value if len(names) == 1 else _replaced(getattr(node, names[0]), names[1:], value)
    return msgspec.structs.replace(node, **{names[0]: inner})
