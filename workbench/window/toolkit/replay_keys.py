"""What the keyboard does beside in a replay, as `keys` tells what it does anywhere: one table, for keys and help.

In a replay, space and arrows wind it, in place of what they do otherwise.
"""

from dataclasses import dataclass
from enum import Enum, auto

from workbench.window.toolkit.keys import Action
from workbench.window.toolkit.toolkit import pygame

LIVE_ONLY = frozenset(
    {Action.PAUSE, Action.UNDO, Action.REDO, Action.CONNECTIONS, Action.JOURNEYS, Action.PAINT, Action.TOUR_NEXT}
)
"""What needs a run that goes on, and is passed over in a replay."""


class ReplayAction(Enum):
    """What a key asks for."""

    PLAY = auto()
    TICK = auto()
    TICK_BEFORE = auto()
    MARK = auto()
    MARK_BEFORE = auto()
    FASTER = auto()
    SLOWER = auto()
    BEGIN = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class ReplayBinding:
    """One row of the help, and what it binds: (action, key code, with shift)."""

    keys: str
    hint: str
    """One or two words for the bottom line."""
    meaning: str
    binds: tuple[tuple[ReplayAction, int, bool], ...]


REPLAY_BINDINGS: tuple[ReplayBinding, ...] = (
    ReplayBinding("space", "play", "Play, or hold", ((ReplayAction.PLAY, pygame.K_SPACE, False),)),
    ReplayBinding(
        "left right",
        "tick",
        "Hold at the tick before, or the next",
        ((ReplayAction.TICK_BEFORE, pygame.K_LEFT, False), (ReplayAction.TICK, pygame.K_RIGHT, False)),
    ),
    ReplayBinding(
        "Shift arrows",
        "mark",
        "To what was done to the run before, or next",
        ((ReplayAction.MARK_BEFORE, pygame.K_LEFT, True), (ReplayAction.MARK, pygame.K_RIGHT, True)),
    ),
    ReplayBinding(
        "up down",
        "speed",
        "Faster, to 100 times; or slower, to a tenth",
        ((ReplayAction.FASTER, pygame.K_UP, False), (ReplayAction.SLOWER, pygame.K_DOWN, False)),
    ),
    ReplayBinding(
        "Home End",
        "ends",
        "To the beginning, or the end",
        ((ReplayAction.BEGIN, pygame.K_HOME, False), (ReplayAction.END, pygame.K_END, False)),
    ),
)

_BY_KEY = {(code, shift): action for binding in REPLAY_BINDINGS for action, code, shift in binding.binds}

assert set(_BY_KEY.values()) == set(ReplayAction)


def replay_action_of(code: int, modifiers: int = 0) -> ReplayAction | None:
    """The action of a pygame key code, or None."""
    return _BY_KEY.get((code, bool(modifiers & pygame.KMOD_SHIFT)))
