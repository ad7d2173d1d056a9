"""What the keyboard does: one table that binds the keys, writes the hints and fills the help."""

from dataclasses import dataclass
from enum import Enum, auto

from workbench.window.toolkit.toolkit import pygame

ENTER = (pygame.K_RETURN, pygame.K_KP_ENTER, pygame.K_SPACE)
"""What presses that which has the focus."""


class Action(Enum):
    """What a key asks for."""

    PAUSE = auto()
    SCREENSHOT = auto()
    HELP = auto()
    FULL_SCREEN = auto()
    THEME = auto()
    KNOBS = auto()
    WHY = auto()
    UNDO = auto()
    REDO = auto()
    PAINT = auto()
    LAYER = auto()
    LAYER_BACK = auto()
    CONNECTIONS = auto()
    JOURNEYS = auto()
    ZOOM_IN = auto()
    ZOOM_OUT = auto()
    FIT = auto()
    PAN = auto()
    SCENARIOS = auto()
    PANELS = auto()
    SPAN = auto()
    SPAN_BACK = auto()
    TRAVEL = auto()
    NOW = auto()
    ADDRESS = auto()
    TOUR_NEXT = auto()
    TOUR_BACK = auto()
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
    Binding(Action.SCENARIOS, (pygame.K_l,), "L", "scenarios", "Pick another scenario; so does a click on its name"),
    Binding(Action.PAUSE, (pygame.K_SPACE,), "space", "pause", "Hold canvas and panels still; the server goes on"),
    Binding(Action.WHY, (pygame.K_w,), "W", "why", "Show or hide why the bottleneck is named, step by step"),
    Binding(Action.KNOBS, (pygame.K_k,), "K", "knobs", "Fold the column of knobs, or open it"),
    Binding(Action.UNDO, (pygame.K_u,), "U", "undo", "Take the last turn of a knob back"),
    Binding(Action.REDO, (pygame.K_u,), "Shift U", "", "Do again what was taken back", with_shift=True),
    Binding(Action.THEME, (pygame.K_t,), "T", "theme", "Dark colours, or light ones for a projector"),
    Binding(Action.CONNECTIONS, (pygame.K_c,), "C", "connections", "All connections as a map, or the canvas again"),
    Binding(Action.JOURNEYS, (pygame.K_j,), "J", "follow", "Follow the placements of who painted under the mouse"),
    Binding(Action.PAINT, (pygame.K_p,), "P", "", "Paint by hand, or put the colour away; alt click takes one up"),
    Binding(Action.LAYER, (pygame.K_o,), "O", "", "Next overlay of the canvas, or measure of the connections"),
    Binding(Action.LAYER_BACK, (pygame.K_o,), "Shift O", "", "The overlay before", with_shift=True),
    Binding(
        Action.ZOOM_IN, (pygame.K_PLUS, pygame.K_EQUALS, pygame.K_KP_PLUS), "+ or wheel", "", "See less, and larger"
    ),
    Binding(Action.ZOOM_OUT, (pygame.K_MINUS, pygame.K_KP_MINUS), "-", "", "See more, and smaller"),
    Binding(Action.FIT, (pygame.K_0, pygame.K_KP_0), "0", "", "See all of the canvas; a double click does too"),
    Binding(
        Action.PAN,
        (pygame.K_LEFT, pygame.K_RIGHT, pygame.K_UP, pygame.K_DOWN),
        "arrows",
        "",
        "Look around; so does a drag. Shift drag brushes tiles",
    ),
    Binding(Action.PANELS, (pygame.K_v,), "V", "panels", "Choose the panels; so does a click on a panel's title"),
    Binding(Action.SPAN, (pygame.K_x,), "X or wheel", "", "Let the panels look back on a longer time"),
    Binding(Action.SPAN_BACK, (pygame.K_x,), "Shift X", "", "On a shorter time", with_shift=True),
    Binding(
        Action.TRAVEL,
        (pygame.K_COMMA, pygame.K_PERIOD),
        ", .",
        "",
        "Panels of earlier or later; so does a drag on them",
    ),
    Binding(Action.NOW, (pygame.K_n,), "N", "", "Panels of the present again"),
    Binding(Action.TOUR_NEXT, (pygame.K_PAGEDOWN,), "page down", "", "Guided demo: on to the next scenario"),
    Binding(Action.TOUR_BACK, (pygame.K_PAGEUP,), "page up", "", "Guided demo: back to the one before"),
    Binding(Action.ADDRESS, (pygame.K_a,), "A", "", "Let others join: the web page's address, and its code for phones"),
    Binding(Action.SCREENSHOT, (pygame.K_s,), "S", "screenshot", "Save this picture as PNG in the current folder"),
    Binding(Action.HELP, (pygame.K_F1,), "F1", "help", "Show or hide this help"),
    Binding(Action.FULL_SCREEN, (pygame.K_F11,), "F11", "full screen", "Take the whole screen, or give it back"),
    Binding(Action.NEXT, (pygame.K_TAB,), "Tab", "next view", "Go to the next view or knob; arrows then work there"),
    Binding(Action.PREVIOUS, (pygame.K_TAB,), "Shift Tab", "", "Go back to the one before", with_shift=True),
    Binding(Action.QUIT, (pygame.K_ESCAPE, pygame.K_q), "Esc or Q", "quit", "Close what is open, or end the session"),
)

_BY_KEY = {(code, binding.with_shift): binding.action for binding in BINDINGS for code in binding.codes}

assert {binding.action for binding in BINDINGS} == set(Action)
assert len(_BY_KEY) == sum(len(binding.codes) for binding in BINDINGS)


def action_of(code: int, modifiers: int = 0) -> Action | None:
    """The action of a pygame key code, or None. Shift only matters to keys that have an action with it."""
    with_shift = bool(modifiers & pygame.KMOD_SHIFT)
    return _BY_KEY.get((code, with_shift)) or _BY_KEY.get((code, False))
