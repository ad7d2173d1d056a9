"""What the keyboard does: one table that binds the keys, writes the hints and fills the help."""

from dataclasses import dataclass
from enum import Enum, auto

from workbench.window.toolkit import pygame


class Action(Enum):
    """What a key asks for."""

    PAUSE = auto()
    SCREENSHOT = auto()
    HELP = auto()
    FULL_SCREEN = auto()
    NEXT = auto()
    PREVIOUS = auto()
    QUIT = auto()


@dataclass(frozen=True, slots=True)
class Binding:
    """One action and the keys that ask for it."""

    action: Action
    codes: tuple[int, ...]
    keys: str
    """As written on the keyboard."""
    hint: str
    """One or two words for the bottom line; "" for a key that only the help tells."""
    meaning: str
    """A sentence for the help."""
    with_shift: bool = False
    """Only while shift is held down."""


BINDINGS: tuple[Binding, ...] = (
    Binding(Action.PAUSE, (pygame.K_SPACE,), "space", "pause", "Hold canvas and panels still; the server goes on"),
    Binding(Action.SCREENSHOT, (pygame.K_s,), "S", "screenshot", "Save this picture as PNG in the current folder"),
    Binding(Action.HELP, (pygame.K_F1,), "F1", "help", "Show or hide this help"),
    Binding(Action.FULL_SCREEN, (pygame.K_F11,), "F11", "full screen", "Take the whole screen, or give it back"),
    Binding(Action.NEXT, (pygame.K_TAB,), "Tab", "next view", "Go to the next view or knob; arrows then work there"),
    Binding(Action.PREVIOUS, (pygame.K_TAB,), "Shift Tab", "", "Go back to the one before", with_shift=True),
    Binding(Action.QUIT, (pygame.K_ESCAPE, pygame.K_q), "Esc or Q", "quit", "Close the help, or end the session"),
)

_BY_KEY = {(code, binding.with_shift): binding.action for binding in BINDINGS for code in binding.codes}

assert {binding.action for binding in BINDINGS} == set(Action)
assert len(_BY_KEY) == sum(len(binding.codes) for binding in BINDINGS)


def action_of(code: int, modifiers: int = 0) -> Action | None:
    """The action of a pygame key code, or None. Shift only matters to keys that have an action with it."""
    with_shift = bool(modifiers & pygame.KMOD_SHIFT)
    return _BY_KEY.get((code, with_shift)) or _BY_KEY.get((code, False))
