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
    QUIT = auto()


@dataclass(frozen=True, slots=True)
class Binding:
    """One action and the keys that ask for it."""

    action: Action
    codes: tuple[int, ...]
    keys: str
    """As written on the keyboard."""
    hint: str
    """One or two words for the bottom line."""
    meaning: str
    """A sentence for the help."""


BINDINGS: tuple[Binding, ...] = (
    Binding(Action.PAUSE, (pygame.K_SPACE,), "space", "pause", "Hold canvas and panels still; the server goes on"),
    Binding(Action.SCREENSHOT, (pygame.K_s,), "S", "screenshot", "Save this picture as PNG in the current folder"),
    Binding(Action.HELP, (pygame.K_F1,), "F1", "help", "Show or hide this help"),
    Binding(Action.FULL_SCREEN, (pygame.K_F11,), "F11", "full screen", "Take the whole screen, or give it back"),
    Binding(Action.QUIT, (pygame.K_ESCAPE, pygame.K_q), "Esc or Q", "quit", "Close the help, or end the session"),
)

_BY_CODE = {code: binding.action for binding in BINDINGS for code in binding.codes}

assert {binding.action for binding in BINDINGS} == set(Action)
assert len(_BY_CODE) == sum(len(binding.codes) for binding in BINDINGS)


def action_of(code: int) -> Action | None:
    """The action of a pygame key code, or None."""
    return _BY_CODE.get(code)
