"""The slider of one knob: dragged, turned by the wheel, moved by keys, or given a number to go to.

It shows what the controls hold and turns them; it keeps nothing but what is half typed. Invariant: a turn always comes
to another value, unless the knob is at its end.
"""

from workbench.controls.controls import Controls
from workbench.controls.knob import Knob
from workbench.window.knobs.widget import Look
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene

STEP, PAGE = 0.02, 0.1
"""Of a slider's way, by arrows and wheel, and by page keys."""
DOUBLE_CLICK_NS = 400_000_000
_HANDLE, _TRACK, _LINE = 6, 4, 18
_DIGITS = {
    **{getattr(pygame, f"K_{digit}"): str(digit) for digit in range(10)},
    **{getattr(pygame, f"K_KP{digit}"): str(digit) for digit in range(10)},
    pygame.K_PERIOD: ".",
    pygame.K_COMMA: ".",
    pygame.K_KP_PERIOD: ".",
}
_MOVES = {
    pygame.K_LEFT: -STEP,
    pygame.K_DOWN: -STEP,
    pygame.K_RIGHT: STEP,
    pygame.K_UP: STEP,
    pygame.K_PAGEDOWN: -PAGE,
    pygame.K_PAGEUP: PAGE,
    pygame.K_HOME: -1.0,
    pygame.K_END: 1.0,
}
TYPED_MAX = 9


class Slider:
    """A knob's name and value over a track with a handle."""

    height = 34

    def __init__(self, controls: Controls, knob: Knob, label: str = "") -> None:
        self.key = knob.key
        self._controls, self._knob, self._label = controls, knob, label or knob.label
        self._typed = ""
        self._pressed_ns: int | None = None

    def content(self, scene: Scene) -> object:
        """The value, and what is half typed."""
        return self._controls.value(self.key), self._typed

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter, look: Look) -> None:
        """Draw all of it."""
        value, knob = float(self._controls.value(self.key)), self._knob
        line = pygame.Rect(box.left, box.top, box.width, pen.px(_LINE))
        shown = f"{self._typed}|" if self._typed else knob.text(value)
        number = pen.write(target, shown, line, theme.TYPED if self._typed else theme.VALUE, "right")
        room = pygame.Rect(line.left, line.top, number.left - line.left - pen.px(6), line.height)
        texts = (f"{self._label} (restart)", self._label) if knob.needs_restart else (self._label,)
        lettering = theme.STATUS if value != self._controls.first_value(self.key) else theme.LABEL
        pen.write(target, pen.first_that_fits(texts, room.width, lettering), room, lettering)
        self._draw_track(target, box, pen, look, value)
        if look.focused:
            pen.ring(target, box.inflate(pen.px(8), 0))

    def _draw_track(self, target: pygame.Surface, box: pygame.Rect, pen: Painter, look: Look, value: float) -> None:
        track, knob = self.track(box, pen), self._knob
        is_on = not knob.is_brake or value > 0
        color = pen.theme.orange if knob.is_brake else pen.theme.sky
        pen.bar(target, track, knob.position(value), color)
        first = self._controls.first_value(self.key)
        if value != first:  # Where it stood at first, to find the way back.
            x = track.left + round(knob.position(float(first)) * track.width)
            pygame.draw.rect(target, pen.theme.dim, (x, track.top - pen.px(3), pen.px(2), track.height + pen.px(6)))
        center = (track.left + round(knob.position(value) * track.width), track.centery)
        pen.dot(target, center, pen.theme.text if is_on else pen.theme.faint, _HANDLE + 1 if look.hovered else _HANDLE)

    def track(self, box: pygame.Rect, pen: Painter) -> pygame.Rect:
        """The way of the handle's middle."""
        edge = pen.px(_HANDLE + 1)
        top = box.top + pen.px(_LINE + 5)
        return pygame.Rect(box.left + edge, top, box.width - 2 * edge, pen.px(_TRACK))

    def press(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        """On the track: go there. Twice: back to where it was at the start."""
        if self._pressed_ns is not None and now_ns - self._pressed_ns <= DOUBLE_CLICK_NS:
            self._controls.reset_knob(self.key, now_ns)
            self._pressed_ns = None
            return
        self._pressed_ns = now_ns
        if at[1] >= box.top + pen.px(_LINE - 2):
            self._go_to(at[0], box, pen, now_ns)

    def drag(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        """Follow the mouse, wherever it is up or down."""
        self._pressed_ns = None
        self._go_to(at[0], box, pen, now_ns)

    def release(self, now_ns: int) -> None:
        """It stays where it is."""

    def turn(self, step: int, now_ns: int) -> bool:
        """One step by the wheel."""
        self._move(step * STEP, now_ns)
        return True

    def type(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """Arrows and page keys move it, digits and enter set it, delete takes it back to the start."""
        if event.key in _MOVES:
            self._typed = ""
            self._move(_MOVES[event.key], now_ns)
        elif event.key in _DIGITS:
            self._typed = (self._typed + _DIGITS[event.key])[:TYPED_MAX]
        elif event.key == pygame.K_BACKSPACE and self._typed:
            self._typed = self._typed[:-1]
        elif event.key in (pygame.K_RETURN, pygame.K_KP_ENTER) and self._typed:
            self._take_typed(now_ns)
        elif event.key == pygame.K_ESCAPE and self._typed:
            self._typed = ""
        elif event.key in (pygame.K_DELETE, pygame.K_BACKSPACE):
            self._controls.reset_knob(self.key, now_ns)
        else:
            return False
        return True

    def leave(self) -> None:
        """What was half typed is forgotten."""
        self._typed = ""

    def tip(self) -> str:
        """What it is, its ends, and what else can be done with it."""
        knob = self._knob
        restart = "\nThe run has to be started anew for this." if knob.needs_restart else ""
        ends = f"{knob.text(knob.least)} to {knob.text(knob.most)}"
        return f"{self._label}: {ends}\n{knob.meaning}{restart}\nType a number, or double click to reset."

    def _take_typed(self, now_ns: int) -> None:
        text, self._typed = self._typed, ""
        try:
            number = float(text)
        except ValueError:  # Dots alone, or two of them, are no number: the value stays.
            return
        self._controls.set(self.key, number / 100 if self._knob.unit == "%" else number, now_ns)

    def _go_to(self, x: int, box: pygame.Rect, pen: Painter, now_ns: int) -> None:
        track = self.track(box, pen)
        self._controls.set(self.key, self._knob.value_at((x - track.left) / track.width), now_ns)

    def _move(self, way: float, now_ns: int) -> None:
        """By this share of the way, and on until the value, which is rounded, is another."""
        knob, value = self._knob, float(self._controls.value(self.key))
        position = knob.position(value)
        for _ in range(round(1 / STEP)):
            position += way
            wanted = knob.value_at(position)
            if wanted != value and (wanted > value) == (way > 0):
                self._controls.set(self.key, wanted, now_ns)
                return
