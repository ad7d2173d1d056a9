"""The key bindings: one table binds the keys, fills the help card and the hints, and is printed in the README.

A replay has bindings of its own, which take precedence: space and arrows control the playback.
"""

from dataclasses import dataclass
from enum import Enum, auto

from workbench.window.toolkit.display import pygame

ENTER = (pygame.K_RETURN, pygame.K_KP_ENTER, pygame.K_SPACE)
"""The keys that press the item with the focus."""


class Action(Enum):
    """What a key does."""

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
    """An action and its keys."""

    action: Action
    codes: tuple[int, ...]
    keys: str
    """As printed on the keyboard."""
    hint: str
    """One or two words for the bottom line; "" for a key that only the help card lists."""
    meaning: str
    """A line for the help card."""
    with_shift: bool = False
    """Only while shift is held down."""


def _bind(action: Action, *codes: int, keys: str, meaning: str, hint: str = "", with_shift: bool = False) -> Binding:
    return Binding(action, codes, keys, hint, meaning, with_shift)


_ARROWS = (pygame.K_LEFT, pygame.K_RIGHT, pygame.K_UP, pygame.K_DOWN)
_PLUS, _MINUS = (pygame.K_PLUS, pygame.K_EQUALS, pygame.K_KP_PLUS), (pygame.K_MINUS, pygame.K_KP_MINUS)
BINDINGS: tuple[Binding, ...] = (
    _bind(
        Action.SCENARIOS, pygame.K_l, keys="L", meaning="Choose another scenario (or click its name)", hint="scenarios"
    ),
    _bind(
        Action.PAUSE,
        pygame.K_SPACE,
        keys="space",
        meaning="Freeze the display (the server keeps running)",
        hint="pause",
    ),
    _bind(Action.WHY, pygame.K_w, keys="W", meaning="Show or hide how the bottleneck was determined", hint="why"),
    _bind(Action.KNOBS, pygame.K_k, keys="K", meaning="Show or hide the controls", hint="knobs"),
    _bind(Action.UNDO, pygame.K_u, keys="U", meaning="Undo the last change", hint="undo"),
    _bind(Action.REDO, pygame.K_u, keys="Shift U", meaning="Redo", with_shift=True),
    _bind(Action.THEME, pygame.K_t, keys="T", meaning="Dark theme, or light for projectors", hint="theme"),
    _bind(
        Action.CONNECTIONS, pygame.K_c, keys="C", meaning="Map of all connections, or the canvas", hint="connections"
    ),
    _bind(
        Action.JOURNEYS,
        pygame.K_j,
        keys="J",
        meaning="Trace the connection that painted the pixel under the pointer",
        hint="follow",
    ),
    _bind(Action.PAINT, pygame.K_p, keys="P", meaning="Paint mode on or off (Alt-click picks a colour)"),
    _bind(Action.LAYER, pygame.K_o, keys="O", meaning="Next overlay (canvas) or metric (connections)"),
    _bind(Action.LAYER_BACK, pygame.K_o, keys="Shift O", meaning="Previous overlay or metric", with_shift=True),
    _bind(Action.ZOOM_IN, *_PLUS, keys="+ or wheel", meaning="Zoom in"),
    _bind(Action.ZOOM_OUT, *_MINUS, keys="-", meaning="Zoom out"),
    _bind(Action.FIT, pygame.K_0, pygame.K_KP_0, keys="0", meaning="Fit the whole canvas (or double-click)"),
    _bind(Action.PAN, *_ARROWS, keys="arrows", meaning="Pan (or drag). Shift-drag selects tiles to filter the charts"),
    _bind(Action.PANELS, pygame.K_v, keys="V", meaning="Choose the panels (or click a panel's title)", hint="panels"),
    _bind(Action.SPAN, pygame.K_x, keys="X or wheel", meaning="Longer time range"),
    _bind(Action.SPAN_BACK, pygame.K_x, keys="Shift X", meaning="Shorter time range", with_shift=True),
    _bind(
        Action.TRAVEL,
        pygame.K_COMMA,
        pygame.K_PERIOD,
        keys=", .",
        meaning="Move the time range back or forward (or drag a chart)",
    ),
    _bind(Action.NOW, pygame.K_n, keys="N", meaning="Back to live"),
    _bind(Action.TOUR_NEXT, pygame.K_PAGEDOWN, keys="page down", meaning="Tour: next scenario"),
    _bind(Action.TOUR_BACK, pygame.K_PAGEUP, keys="page up", meaning="Tour: previous scenario"),
    _bind(Action.ADDRESS, pygame.K_a, keys="A", meaning="Share: show the web page's address and QR code"),
    _bind(
        Action.SCREENSHOT,
        pygame.K_s,
        keys="S",
        meaning="Save a screenshot (PNG) to the current directory",
        hint="screenshot",
    ),
    _bind(Action.HELP, pygame.K_F1, keys="F1", meaning="Show or hide this help", hint="help"),
    _bind(Action.FULL_SCREEN, pygame.K_F11, keys="F11", meaning="Toggle full screen", hint="full screen"),
    _bind(Action.NEXT, pygame.K_TAB, keys="Tab", meaning="Focus the next view or control", hint="next view"),
    _bind(
        Action.PREVIOUS, pygame.K_TAB, keys="Shift Tab", meaning="Focus the previous view or control", with_shift=True
    ),
    _bind(
        Action.QUIT, pygame.K_ESCAPE, pygame.K_q, keys="Esc or Q", meaning="Close the open card, or quit", hint="quit"
    ),
)

_BY_KEY = {(code, binding.with_shift): binding.action for binding in BINDINGS for code in binding.codes}

assert {binding.action for binding in BINDINGS} == set(Action)
assert len(_BY_KEY) == sum(len(binding.codes) for binding in BINDINGS)


def action_of(code: int, modifiers: int = 0) -> Action | None:
    """The action of a pygame key code, or None. Shift matters only for keys that have an action with it."""
    with_shift = bool(modifiers & pygame.KMOD_SHIFT)
    return _BY_KEY.get((code, with_shift)) or _BY_KEY.get((code, False))


# --- In a replay ---

LIVE_ONLY = frozenset(
    {Action.PAUSE, Action.UNDO, Action.REDO, Action.CONNECTIONS, Action.JOURNEYS, Action.PAINT, Action.TOUR_NEXT}
)
"""Actions that need a live run; a replay ignores them."""


class ReplayAction(Enum):
    """What a key does in a replay."""

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
    """One row of the help card, and what it binds: (action, key code, with shift)."""

    keys: str
    hint: str
    """One or two words for the bottom line."""
    meaning: str
    binds: tuple[tuple[ReplayAction, int, bool], ...]


REPLAY_BINDINGS: tuple[ReplayBinding, ...] = (
    ReplayBinding("space", "play", "Play / pause", ((ReplayAction.PLAY, pygame.K_SPACE, False),)),
    ReplayBinding(
        "left right",
        "tick",
        "Previous / next tick (pauses)",
        ((ReplayAction.TICK_BEFORE, pygame.K_LEFT, False), (ReplayAction.TICK, pygame.K_RIGHT, False)),
    ),
    ReplayBinding(
        "Shift arrows",
        "event",
        "Previous / next event",
        ((ReplayAction.MARK_BEFORE, pygame.K_LEFT, True), (ReplayAction.MARK, pygame.K_RIGHT, True)),
    ),
    ReplayBinding(
        "up down",
        "speed",
        "Faster / slower (0.1x to 100x)",
        ((ReplayAction.FASTER, pygame.K_UP, False), (ReplayAction.SLOWER, pygame.K_DOWN, False)),
    ),
    ReplayBinding(
        "Home End",
        "ends",
        "Start / end of the recording",
        ((ReplayAction.BEGIN, pygame.K_HOME, False), (ReplayAction.END, pygame.K_END, False)),
    ),
)

_REPLAY_BY_KEY = {(code, shift): action for binding in REPLAY_BINDINGS for action, code, shift in binding.binds}

assert set(_REPLAY_BY_KEY.values()) == set(ReplayAction)


def replay_action_of(code: int, modifiers: int = 0) -> ReplayAction | None:
    """The replay's action of a pygame key code, or None."""
    return _REPLAY_BY_KEY.get((code, bool(modifiers & pygame.KMOD_SHIFT)))
