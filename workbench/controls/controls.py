"""The controls of a running session: the values of its knobs, faults by a click, undo and redo.

They change a `Scenario` and call back with it; they send nothing themselves. The present settings are always a whole,
valid scenario, so that "copy as scenario" reproduces them, with the faults of this run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from workbench.controls.knob import BRAKES_PREFIX, KNOBS, Knob, knobs_of
from workbench.scenarios.fault import AT_S_MAX, Fault, fault_buttons
from workbench.scenarios.load_curve import LoadCurve, drawn
from workbench.scenarios.scenario import Scenario, scenario_text, with_changes

# Changes of one knob within this time of each other are one step of undo: a drag is undone as a whole.
MERGE_NS = 1_000_000_000
# A change gets its marker when the knob has rested for this time: one marker per drag, with the final value.
SETTLE_NS = 300_000_000
UNDO_MAX = 500
# Faults by a click that are kept for the scenario file: the newest.
CLICKS_MAX = 500
_AT_DIGITS = 1
LOAD_CURVE = "load_curve"
# The markers of changes of several knobs at once.
BRAKES_RELEASED, RESET = "all brakes released", "reset"


@dataclass(frozen=True, slots=True)
class _Turn:
    """A change without a marker yet."""

    key: str
    before: Any
    time_ns: int


class Controls:
    """The present settings of one session.

    `carry_out(scenario)` is called with each change, `inflict(fault)` with each fault, `mark(kind, text)` with a marker
    for either (kinds of `history.MarkerKind`). `run_seconds()` is the time since the load began. Without a server of
    our own (`has_server`), only the fleet can be changed. `locked`: why nothing can be changed; "" where it can.
    """

    def __init__(
        self,
        scenario: Scenario,
        carry_out: Callable[[Scenario], None],
        mark: Callable[[str, str], None],
        inflict: Callable[[Fault], None] | None = None,
        *,
        run_seconds: Callable[[], float] = lambda: 0.0,
        has_server: bool = True,
        locked: str = "",
    ) -> None:
        self.locked = locked
        self._first = self.scenario = scenario
        """The present settings."""
        self._carry_out, self._mark, self._inflict, self._run_seconds = carry_out, mark, inflict, run_seconds
        is_linked = scenario.link == "memory"
        is_mqtt = scenario.fleet.transport == "mqtt"
        self._knobs = {knob.key: self._widened(knob) for knob in knobs_of(scenario, has_server=has_server)}
        has_broker = scenario.server.mqtt == "embedded"
        self.faults = fault_buttons(is_linked=is_linked, is_mqtt=is_mqtt, has_server=has_server, has_broker=has_broker)
        """All faults; one that is not available says why."""
        self._past: list[tuple[str, Scenario]] = []
        self._future: list[tuple[str, Scenario]] = []
        self._open_key = ""
        self._turned_ns = 0
        self._turn: _Turn | None = None
        self._inflicted: list[Fault] = []

    # --- Values ---

    @property
    def knobs(self) -> Sequence[Knob]:
        """All knobs of this session, in the order of their groups."""
        return tuple(self._knobs.values())

    @property
    def load_curve(self) -> LoadCurve:
        """What the offered load is multiplied by: (seconds since the load began, factor)."""
        return self.scenario.load_curve

    @property
    def changed(self) -> tuple[str, ...]:
        """Keys whose values differ from those at the start."""
        keys = tuple(key for key in self._knobs if _value(self.scenario, key) != _value(self._first, key))
        return keys if self.scenario.load_curve == self._first.load_curve else (*keys, LOAD_CURVE)

    @property
    def brakes_on(self) -> tuple[Knob, ...]:
        """The brakes that are on."""
        return tuple(knob for knob in self._knobs.values() if knob.is_brake and self.value(knob.key) > 0)

    @property
    def restart_wanted(self) -> bool:
        """Whether a change takes effect only with a restart of the session."""
        return not self.locked and any(self._knobs[key].needs_restart for key in self.changed if key in self._knobs)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is an undone step."""
        return bool(self._future)

    def knob(self, key: str) -> Knob:
        """The knob of a key. Raises KeyError for one that this session does not have."""
        return self._knobs[key]

    def value(self, key: str) -> Any:
        """A knob's value: a number, or one of its choices."""
        return _value(self.scenario, key)

    def text(self, key: str) -> str:
        """A knob's value as text."""
        return self._knobs[key].text(self.value(key))

    def first_value(self, key: str) -> Any:
        """A knob's value at the start."""
        return _value(self._first, key)

    def as_toml(self) -> str:
        """The present settings as a scenario file that reproduces this run: faults by a click have their times."""
        faults = (*self.scenario.faults, *self._inflicted)
        return scenario_text(msgspec.structs.replace(self.scenario, faults=faults))

    def resume(self, earlier: "Controls") -> None:
        """Take over the undo steps of a session that this one restarts."""
        self._past, self._future = list(earlier._past), list(earlier._future)

    def show(self, scenario: Scenario) -> None:
        """Show these settings: those of a recorded run at a moment."""
        self.scenario = scenario

    # --- Changes ---

    def set(self, key: str, value: Any, now_ns: int) -> None:
        """Set a knob. A number is clamped to its range. Raises ValueError for an unknown choice."""
        knob = self._knobs[key]
        if knob.choices and value not in knob.choices:
            raise ValueError(f"{key} is {value!r}; it must be one of {', '.join(knob.choices)}")
        wanted = value if knob.choices else knob.clamped(value)
        if wanted != self.value(key):
            self._step(key, replaced(self.scenario, key, wanted), now_ns)

    def reset_knob(self, key: str, now_ns: int) -> None:
        """Set a knob to its value at the start."""
        self.set(key, self.first_value(key), now_ns)

    def release_brakes(self, now_ns: int) -> None:
        """Turn all brakes off, in one step."""
        if self.brakes_on and not self.locked:
            self._step("", released(self.scenario), now_ns)
            self._mark("brake", BRAKES_RELEASED)

    def set_load_curve(self, points: Sequence[tuple[float, float]], now_ns: int) -> None:
        """Multiply the offered load by this curve from now on; points as they were drawn. None: by 1."""
        curve = drawn(points)
        if curve != self.scenario.load_curve:
            self._step(LOAD_CURVE, msgspec.structs.replace(self.scenario, load_curve=curve), now_ns)

    def undo(self, now_ns: int) -> None:
        """Undo the last step, if there is one."""
        self._go(self._past, self._future, "undone")

    def redo(self, now_ns: int) -> None:
        """Redo the step that was undone last, if there is one."""
        self._go(self._future, self._past, "done again")

    def reset(self, now_ns: int) -> None:
        """Back to the settings at the start; this too can be undone."""
        if self.scenario != self._first and not self.locked:
            self._step("", self._first, now_ns)
            self._mark("knob", RESET)

    def fault(self, kind: str, now_ns: int) -> str:
        """Inject a fault now. Returns the reason why that is not possible, or ""."""
        button = next(button for button in self.faults if button.kind == kind)
        if self.locked or button.unavailable or self._inflict is None:
            return self.locked or button.unavailable or "there is nothing to carry it out"
        at_s = min(round(self._run_seconds(), _AT_DIGITS), AT_S_MAX)
        fault = msgspec.convert({"kind": kind, "at_s": at_s}, Fault)
        self._inflict(fault)
        self._inflicted = [*self._inflicted[1 - CLICKS_MAX :], fault]
        self._mark("fault", fault.text)
        return ""

    def settle(self, now_ns: int) -> None:
        """Mark a change whose knob has come to rest. To be called regularly."""
        if self._turn is not None and now_ns - self._turn.time_ns >= SETTLE_NS:
            self._mark_turn()

    # --- Inside ---

    def _widened(self, knob: Knob) -> Knob:
        """The knob with a range that includes the value that the scenario starts with."""
        first = _value(self._first, knob.key)
        if knob.choices or knob.least <= first <= knob.most:
            return knob
        return replace(knob, least=min(knob.least, first), most=max(knob.most, first))

    def _step(self, key: str, scenario: Scenario, now_ns: int) -> None:
        """One change: a step of undo of its own, unless it continues the last one."""
        if self.locked:
            return
        # A step of several knobs has the key "" and is never continued.
        goes_on = key == self._open_key != "" and now_ns - self._turned_ns <= MERGE_NS
        if not goes_on:
            self._past = [*self._past[1 - UNDO_MAX :], (key, self.scenario)]
        # After a new step, the undone ones no longer follow from these settings.
        self._future.clear()
        self._open_key, self._turned_ns = key, now_ns
        self._note(key, now_ns)
        self._change(scenario)

    def _go(self, source: list[tuple[str, Scenario]], target: list[tuple[str, Scenario]], how: str) -> None:
        if not source:
            return
        self._mark_turn()
        key, scenario = source.pop()
        target.append((key, self.scenario))
        self._open_key = ""  # The next change is a step of its own.
        before, self.scenario = self.scenario, scenario
        self._mark(*self._said(key, before) if key else ("knob", f"last step {how}"))
        self._change(scenario)

    def _note(self, key: str, now_ns: int) -> None:
        """Remember the knob that is being turned, and mark the one that was turned before it."""
        if self._turn is not None and self._turn.key != key:
            self._mark_turn()
        before = self._turn.before if self._turn is not None else self.scenario
        self._turn = _Turn(key, before, now_ns) if key else None

    def _mark_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and turn.before != self.scenario:
            self._mark(*self._said(turn.key, turn.before))

    def _said(self, key: str, before: Scenario) -> tuple[str, str]:
        """Kind and text of the marker for the change of one key since `before`."""
        if key == LOAD_CURVE:
            return "knob", "load curve drawn" if self.scenario.load_curve else "load curve cleared"
        if key not in self._knobs:  # The run before a restart had it, this one does not.
            return "knob", f"{key} as before"
        knob = self._knobs[key]
        return "brake" if knob.is_brake else "knob", knob.change_text(_value(before, key), self.value(key))

    def _change(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._carry_out(scenario)


def _value(scenario: Scenario, key: str) -> Any:
    found: Any = scenario
    for name in key.split("."):
        found = getattr(found, name)
    return found


def released(scenario: Scenario) -> Scenario:
    """The settings with all brakes off."""
    return with_changes(scenario, {knob.key: 0.0 for knob in KNOBS if knob.is_brake}, "brakes")


def replaced(scenario: Scenario, key: str, value: Any) -> Scenario:
    """The settings with one changed, and with it those that would contradict it."""
    changes = {key: value}
    viewers = scenario.fleet.viewers
    if key == "fleet.connections" and isinstance(viewers, int) and viewers > value:
        changes["fleet.viewers"] = value
    elif key == "server.loop" and value == "mailbox":
        # The mailbox server has one loop and no brakes, and a fault of a loop that does not exist is invalid.
        brakes = (knob.key for knob in KNOBS if knob.key.startswith(BRAKES_PREFIX))
        changes |= {"faults": _within(scenario, 1), "server.loops": 1, **dict.fromkeys(brakes, 0.0)}
    elif key == "server.loops" and value > 1 and scenario.server.loop == "mailbox":
        changes["server.loop"] = "native"
    elif key == "server.loops":
        changes["faults"] = _within(scenario, value)
    return with_changes(scenario, changes, key)


def _within(scenario: Scenario, loops: int) -> tuple[Fault, ...]:
    """The scenario's faults, without loops that will not exist."""
    return tuple(msgspec.structs.replace(fault, loop=min(fault.loop, loops - 1)) for fault in scenario.faults)
