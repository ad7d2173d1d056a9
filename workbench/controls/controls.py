"""The controls of a running session: what its knobs are set to, faults by a click, and how to take a turn back.

They change a `Scenario`, and tell whoever carries that out; they send nothing themselves. Invariant: the present
settings are always a whole, valid scenario, so that "copy as scenario" reproduces them, and the faults of this run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from server.config import Brakes
from workbench.controls.knob import Knob, knobs_of
from workbench.scenarios.fault import AT_S_MAX, Fault, FaultButton, fault_buttons
from workbench.scenarios.load_curve import LoadCurve, drawn
from workbench.scenarios.scenario import Scenario
from workbench.scenarios.text import scenario_text

MERGE_NS = 1_000_000_000
"""Turns of one knob that follow each other so closely are one step of undo: a drag is taken back whole."""
SETTLE_NS = 300_000_000
"""A knob that was not turned for so long is marked: one marker a drag, with the value that it came to."""
UNDO_MAX = 500
CLICKS_MAX = 500
"""Faults by a click that are kept for the scenario file: the newest."""
_AT_DIGITS = 1
LOAD_CURVE = "load_curve"
BRAKES_RELEASED, RESET = "all brakes released", "reset"
"""What markers say of turns of several knobs at once."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """A change that is not marked yet."""

    key: str
    before: Any
    time_ns: int


class Controls:
    """The present settings of one session.

    `carry_out(scenario)` is called with each change, `inflict(fault)` with each fault; `mark(kind, text)` notes either,
    in the words of `history.MarkerKind`. `run_seconds()` is the time since the load began, by which a fault is kept.
    Without a server of ours (`has_server`), only the fleet can be turned.
    With a `locked`, a few words that say why, nothing can: what is done to them is passed over.
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
        """Why nothing can be turned here; "" where it can."""
        self._first = scenario
        self._now = scenario
        self._carry_out, self._mark, self._inflict, self._run_seconds = carry_out, mark, inflict, run_seconds
        is_linked = scenario.link == "memory"
        is_mqtt = scenario.fleet.transport == "mqtt"
        self._knobs = {knob.key: self._widened(knob) for knob in knobs_of(scenario, has_server=has_server)}
        has_broker = scenario.server.mqtt == "embedded"
        self._faults = fault_buttons(is_linked=is_linked, is_mqtt=is_mqtt, has_server=has_server, has_broker=has_broker)
        self._past: list[tuple[str, Scenario]] = []
        self._future: list[tuple[str, Scenario]] = []
        self._open_key = ""
        self._turned_ns = 0
        self._turn: _Turn | None = None
        self._inflicted: list[Fault] = []

    # --- What they are set to ---

    @property
    def scenario(self) -> Scenario:
        """The present settings."""
        return self._now

    @property
    def knobs(self) -> Sequence[Knob]:
        """All that can be turned in this session, in the order of their groups."""
        return tuple(self._knobs.values())

    @property
    def faults(self) -> Sequence[FaultButton]:
        """All faults that are offered; each says when it cannot be had, and why."""
        return self._faults

    @property
    def load_curve(self) -> LoadCurve:
        """By what the offered load is multiplied: (seconds since the load began, factor)."""
        return self._now.load_curve

    @property
    def changed(self) -> tuple[str, ...]:
        """Keys that are set to something else than at the start."""
        keys = tuple(key for key in self._knobs if _value(self._now, key) != _value(self._first, key))
        return keys if self._now.load_curve == self._first.load_curve else (*keys, LOAD_CURVE)

    @property
    def brakes_on(self) -> tuple[Knob, ...]:
        """The brakes that add something now."""
        return tuple(knob for knob in self._knobs.values() if knob.is_brake and self.value(knob.key) > 0)

    @property
    def restart_wanted(self) -> bool:
        """Whether something is set that the running session cannot follow: it is to be started anew."""
        return not self.locked and any(self._knobs[key].needs_restart for key in self.changed if key in self._knobs)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether a step was taken back that can be taken again."""
        return bool(self._future)

    def knob(self, key: str) -> Knob:
        """The knob of a key. Raises KeyError for one that this session does not have."""
        return self._knobs[key]

    def value(self, key: str) -> Any:
        """What a knob is set to: a number, or one of its choices."""
        return _value(self._now, key)

    def text(self, key: str) -> str:
        """The same as a person reads it."""
        return self._knobs[key].text(self.value(key))

    def first_value(self, key: str) -> Any:
        """What a knob was set to at the start."""
        return _value(self._first, key)

    def as_toml(self) -> str:
        """The present settings as a scenario file, which reproduces this run: faults by a click come by the clock."""
        faults = (*self._now.faults, *self._inflicted)
        return scenario_text(msgspec.structs.replace(self._now, faults=faults))

    def resume(self, earlier: "Controls") -> None:
        """Have the turns of a session that this one goes on from: they can be taken back here too."""
        self._past, self._future = list(earlier._past), list(earlier._future)

    def show(self, scenario: Scenario) -> None:
        """Be set to this, by nobody's hand: how a recorded run stood at some moment."""
        self._now = scenario

    # --- What is done to them ---

    def set(self, key: str, value: Any, now_ns: int) -> None:
        """Turn a knob. A number beyond its ends is brought to the nearest, or to a whole one where it must be.

        Raises ValueError for a choice that is none.
        """
        knob = self._knobs[key]
        if knob.choices and value not in knob.choices:
            raise ValueError(f"{key} is {value!r}; it must be one of {', '.join(knob.choices)}")
        wanted = value if knob.choices else knob.clamped(value)
        if wanted != self.value(key):
            self._step(key, replaced(self._now, key, wanted), now_ns)

    def reset_knob(self, key: str, now_ns: int) -> None:
        """Turn one knob back to what it was set to at the start."""
        self.set(key, self.first_value(key), now_ns)

    def release_brakes(self, now_ns: int) -> None:
        """Turn every brake off, in one step."""
        scenario = self._now
        for knob in self.brakes_on:
            scenario = replaced(scenario, knob.key, 0.0)
        if scenario != self._now and not self.locked:
            self._step("", scenario, now_ns)
            self._mark("brake", BRAKES_RELEASED)

    def set_load_curve(self, points: Sequence[tuple[float, float]], now_ns: int) -> None:
        """Multiply the offered load by this from now on; points as a hand drew them. None: by 1."""
        curve = drawn(points)
        if curve != self._now.load_curve:
            self._step(LOAD_CURVE, msgspec.structs.replace(self._now, load_curve=curve), now_ns)

    def undo(self, now_ns: int) -> None:
        """Take the last step back; nothing when there is none."""
        self._go(self._past, self._future, "undone")

    def redo(self, now_ns: int) -> None:
        """Take the step again that was taken back last; nothing when there is none."""
        self._go(self._future, self._past, "done again")

    def reset(self, now_ns: int) -> None:
        """Back to the scenario as it was started; this too can be undone."""
        if self._now != self._first and not self.locked:
            self._step("", self._first, now_ns)
            self._mark("knob", RESET)

    def fault(self, kind: str, now_ns: int) -> str:
        """Do this to the run now. Returns why it cannot be done, one line, or "" when it was."""
        button = next(button for button in self._faults if button.kind == kind)
        if self.locked or button.unavailable or self._inflict is None:
            return self.locked or button.unavailable or "nobody is there to carry it out"
        at_s = min(round(self._run_seconds(), _AT_DIGITS), AT_S_MAX)
        fault = msgspec.convert({"kind": kind, "at_s": at_s}, Fault)
        self._inflict(fault)
        self._inflicted = [*self._inflicted[1 - CLICKS_MAX :], fault]
        self._mark("fault", fault.text)
        return ""

    def settle(self, now_ns: int) -> None:
        """Mark the turn that came to rest. To be called every now and then."""
        if self._turn is not None and now_ns - self._turn.time_ns >= SETTLE_NS:
            self._mark_turn()

    # --- Inside ---

    def _widened(self, knob: Knob) -> Knob:
        """The knob with ends that hold what the scenario starts with."""
        first = _value(self._first, knob.key)
        if knob.choices or knob.least <= first <= knob.most:
            return knob
        return replace(knob, least=min(knob.least, first), most=max(knob.most, first))

    def _step(self, key: str, scenario: Scenario, now_ns: int) -> None:
        """One change, which is a step of its own unless it goes on with the last."""
        if self.locked:
            return
        goes_on = key == self._open_key != "" and now_ns - self._turned_ns <= MERGE_NS
        if not goes_on:
            self._past = [*self._past[1 - UNDO_MAX :], (key, self._now)]
        self._future.clear()
        self._open_key, self._turned_ns = key, now_ns
        self._note(key, now_ns)
        self._change(scenario)

    def _go(self, source: list[tuple[str, Scenario]], target: list[tuple[str, Scenario]], how: str) -> None:
        if not source:
            return
        self._mark_turn()
        key, scenario = source.pop()
        target.append((key, self._now))
        self._open_key = ""  # What is turned next is a step of its own.
        before, self._now = self._now, scenario
        self._mark(*self._said(key, before) if key else ("knob", f"last step {how}"))
        self._change(scenario)

    def _note(self, key: str, now_ns: int) -> None:
        """Remember that a knob is being turned, and mark the one that was before."""
        if self._turn is not None and self._turn.key != key:
            self._mark_turn()
        before = self._turn.before if self._turn is not None else self._now
        self._turn = _Turn(key, before, now_ns) if key else None

    def _mark_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and turn.before != self._now:
            self._mark(*self._said(turn.key, turn.before))

    def _said(self, key: str, before: Scenario) -> tuple[str, str]:
        """Kind and text of the marker for a change of one key from how it was to how it is."""
        if key == LOAD_CURVE:
            return "knob", "load curve drawn" if self._now.load_curve else "load curve cleared"
        if key not in self._knobs:  # It was turned before a restart, in a run that had it.
            return "knob", f"{key} as before"
        knob = self._knobs[key]
        return "brake" if knob.is_brake else "knob", knob.change_text(_value(before, key), self.value(key))

    def _change(self, scenario: Scenario) -> None:
        self._now = scenario
        self._carry_out(scenario)


def _value(scenario: Scenario, key: str) -> Any:
    found: Any = scenario
    for name in key.split("."):
        found = getattr(found, name)
    return found


def replaced(scenario: Scenario, key: str, value: Any) -> Scenario:
    """The same settings with one of them another, and with it those that would contradict it."""
    changes = {key: value}
    viewers = scenario.fleet.viewers
    if key == "fleet.connections" and isinstance(viewers, int) and viewers > value:
        changes = {"fleet.viewers": value, key: value}
    elif key == "server.loop" and value == "mailbox":
        changes = {"faults": _within(scenario, 1), "server.loops": 1, "server.brakes": Brakes(), key: value}
    elif key == "server.loops" and value > 1 and scenario.server.loop == "mailbox":
        changes = {"server.loop": "native", key: value}
    elif key == "server.loops":
        changes = {"faults": _within(scenario, value), key: value}
    replaced: Any = scenario
    for name, new in changes.items():
        replaced = _with(replaced, name.split("."), new)
    assert isinstance(replaced, Scenario)
    return replaced


def _within(scenario: Scenario, loops: int) -> tuple[Fault, ...]:
    """The scenario's faults, none of a loop that there will not be."""
    return tuple(msgspec.structs.replace(fault, loop=min(fault.loop, loops - 1)) for fault in scenario.faults)


def _with(node: Any, names: list[str], value: Any) -> Any:
    inner = value if len(names) == 1 else _with(getattr(node, names[0]), names[1:], value)
    return msgspec.structs.replace(node, **{names[0]: inner})
