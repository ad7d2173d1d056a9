"""The key bindings: one table binds the keys, fills the help card and the hints, and is printed in the README.

A replay has bindings of its own, which take precedence: space and arrows control the playback.
"""

from dataclasses import dataclass
from enum import Enum

from workbench.window.toolkit.display import pygame

# The keys that press the item with the focus.
ENTER = (pygame.K_RETURN, pygame.K_KP_ENTER, pygame.K_SPACE)


# What a key does.
Action = Enum(
    "Action",
    "PAUSE SCREENSHOT HELP FULL_SCREEN THEME KNOBS WHY UNDO REDO PAINT LAYER LAYER_BACK CONNECTIONS "
    "JOURNEYS ZOOM_IN ZOOM_OUT FIT PAN SCENARIOS PANELS SPAN SPAN_BACK TRAVEL NOW ADDRESS TOUR_NEXT "
    "TOUR_BACK NEXT PREVIOUS QUIT",
)


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


def _bind(action: Action, keys: str, meaning: str, *codes: int, hint: str = "", with_shift: bool = False) -> Binding:
    return Binding(action, codes, keys, hint, meaning, with_shift)


_ARROWS = (pygame.K_LEFT, pygame.K_RIGHT, pygame.K_UP, pygame.K_DOWN)
_PLUS, _MINUS = (pygame.K_PLUS, pygame.K_EQUALS, pygame.K_KP_PLUS), (pygame.K_MINUS, pygame.K_KP_MINUS)
BINDINGS: tuple[Binding, ...] = (
    _bind(Action.SCENARIOS, "L", "Choose another scenario (or click its name)", pygame.K_l, hint="scenarios"),
    _bind(Action.PAUSE, "space", "Freeze the display (the server keeps running)", pygame.K_SPACE, hint="pause"),
    _bind(Action.WHY, "W", "Show or hide how the bottleneck was found", pygame.K_w, hint="why"),
    _bind(Action.KNOBS, "K", "Show or hide the controls", pygame.K_k, hint="knobs"),
    _bind(Action.UNDO, "U", "Undo the last change", pygame.K_u, hint="undo"),
    _bind(Action.REDO, "Shift U", "Redo", pygame.K_u, with_shift=True),
    _bind(Action.THEME, "T", "Dark theme, or light for projectors", pygame.K_t, hint="theme"),
    _bind(Action.CONNECTIONS, "C", "Map of all connections, or the canvas", pygame.K_c, hint="connections"),
    _bind(
        Action.JOURNEYS, "J", "Trace the connection that painted the pixel under the pointer", pygame.K_j, hint="trace"
    ),
    _bind(Action.PAINT, "P", "Paint mode on or off (Alt-click picks a colour)", pygame.K_p),
    _bind(Action.LAYER, "O", "Next overlay (canvas) or metric (connections)", pygame.K_o),
    _bind(Action.LAYER_BACK, "Shift O", "Previous overlay or metric", pygame.K_o, with_shift=True),
    _bind(Action.ZOOM_IN, "+ or wheel", "Zoom in", *_PLUS),
    _bind(Action.ZOOM_OUT, "-", "Zoom out", *_MINUS),
    _bind(Action.FIT, "0", "Fit the whole canvas (or double-click)", pygame.K_0, pygame.K_KP_0),
    _bind(Action.PAN, "arrows", "Pan (or drag). Shift-drag selects tiles to filter the charts", *_ARROWS),
    _bind(Action.PANELS, "V", "Choose the panels (or click a panel's title)", pygame.K_v, hint="panels"),
    _bind(Action.SPAN, "X or wheel", "Longer time range", pygame.K_x),
    _bind(Action.SPAN_BACK, "Shift X", "Shorter time range", pygame.K_x, with_shift=True),
    _bind(
        Action.TRAVEL, ", .", "Move the time range back or forward (or drag a chart)", pygame.K_COMMA, pygame.K_PERIOD
    ),
    _bind(Action.NOW, "N", "Back to live", pygame.K_n),
    _bind(Action.TOUR_NEXT, "page down", "Tour: next scenario", pygame.K_PAGEDOWN),
    _bind(Action.TOUR_BACK, "page up", "Tour: previous scenario", pygame.K_PAGEUP),
    _bind(Action.ADDRESS, "A", "Share: show the web page's address and QR code", pygame.K_a),
    _bind(Action.SCREENSHOT, "S", "Save a screenshot (PNG) to the current directory", pygame.K_s, hint="screenshot"),
    _bind(Action.HELP, "F1", "Show or hide this help", pygame.K_F1, hint="help"),
    _bind(Action.FULL_SCREEN, "F11", "Toggle full screen", pygame.K_F11, hint="full screen"),
    _bind(Action.NEXT, "Tab", "Focus the next view or control", pygame.K_TAB, hint="next view"),
    _bind(Action.PREVIOUS, "Shift Tab", "Focus the previous view or control", pygame.K_TAB, with_shift=True),
    _bind(Action.QUIT, "Esc or Q", "Close the open card, or quit", pygame.K_ESCAPE, pygame.K_q, hint="quit"),
)

# A key that has an action with Shift keeps its plain action without it; the assertion below finds a key bound twice.
_BY_KEY = {(code, binding.with_shift): binding.action for binding in BINDINGS for code in binding.codes}

# Every action has a key, and no key has two actions: checked when the module is loaded.
assert {binding.action for binding in BINDINGS} == set(Action)
assert len(_BY_KEY) == sum(len(binding.codes) for binding in BINDINGS)


def action_of(code: int, modifiers: int = 0) -> Action | None:
    """The action of a pygame key code, or None. Shift matters only for keys that have an action with it."""
    with_shift = bool(modifiers & pygame.KMOD_SHIFT)
    return _BY_KEY.get((code, with_shift)) or _BY_KEY.get((code, False))


# --- In a replay ---

# Actions that need a live run; a replay ignores them.
LIVE_ONLY = frozenset(
    {Action.PAUSE, Action.UNDO, Action.REDO, Action.CONNECTIONS, Action.JOURNEYS, Action.PAINT, Action.TOUR_NEXT}
)


# What a key does in a replay.
ReplayAction = Enum(
    "ReplayAction",
    "PLAY TICK TICK_BEFORE MARK MARK_BEFORE FASTER SLOWER BEGIN END",
)


@dataclass(frozen=True, slots=True)
class ReplayBinding:
    """One row of the help card, and what it binds: (action, key code, with shift)."""

    keys: str
    hint: str
    """One or two words for the bottom line."""
    meaning: str
    binds: tuple[tuple[ReplayAction, int, bool], ...]


def _bind_replay(
    keys: str, hint: str, meaning: str, actions: str, codes: tuple[int, ...], *, with_shift: bool = False
) -> ReplayBinding:
    binds = zip(actions.split(), codes, strict=True)
    return ReplayBinding(keys, hint, meaning, tuple((ReplayAction[name], code, with_shift) for name, code in binds))


REPLAY_BINDINGS: tuple[ReplayBinding, ...] = (
    _bind_replay("space", "play", "Play / pause", "PLAY", (pygame.K_SPACE,)),
    _bind_replay("left right", "tick", "Previous / next tick (pauses)", "TICK_BEFORE TICK", _ARROWS[:2]),
    _bind_replay("Shift arrows", "event", "Previous / next event", "MARK_BEFORE MARK", _ARROWS[:2], with_shift=True),
    _bind_replay("up down", "speed", "Faster / slower (0.1x to 100x)", "FASTER SLOWER", _ARROWS[2:]),
    _bind_replay("Home End", "ends", "Start / end of the recording", "BEGIN END", (pygame.K_HOME, pygame.K_END)),
)

_REPLAY_BY_KEY = {(code, shift): action for binding in REPLAY_BINDINGS for action, code, shift in binding.binds}

assert set(_REPLAY_BY_KEY.values()) == set(ReplayAction)


def replay_action_of(code: int, modifiers: int = 0) -> ReplayAction | None:
    """The replay's action of a pygame key code, or None."""
    return _REPLAY_BY_KEY.get((code, bool(modifiers & pygame.KMOD_SHIFT)))
