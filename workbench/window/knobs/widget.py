"""The widgets of the column of knobs: caption, button, choice and slider.

A widget keeps no value: it shows what its callbacks or the controls return, and passes on what the user does. Whatever
the mouse can do, the keyboard can do, too.
"""

from collections.abc import Callable
from dataclasses import dataclass

from workbench.controls.controls import Controls
from workbench.controls.knob import Knob
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import ENTER
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene


@dataclass(frozen=True, slots=True)
class Look:
    """How a widget is drawn, in addition to its content."""

    focused: bool = False
    hovered: bool = False


class Widget:
    """One control. Its box is an argument, since it changes when the column scrolls. As it is, it does nothing."""

    key: str
    """Identifies it: a widget built again for the same purpose has the same key, and keeps the focus."""
    height: int
    """In units."""

    def content(self, scene: Scene) -> object:
        """What it shows. It is drawn again when this changes."""
        raise NotImplementedError

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter, look: Look) -> None:
        """Draw all of it."""
        raise NotImplementedError

    def press(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        """The left button was pressed at this point."""

    def drag(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        """The mouse moved to this point with the button held down."""

    def release(self) -> None:
        """The button was released."""

    def type(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """A key was pressed while it has the focus. True when it used the key."""
        return False

    def turn(self, step: int, now_ns: int) -> bool:
        """The wheel moved away from the user (1) or towards (-1). False: the column scrolls instead."""
        return False

    def leave(self) -> None:
        """It loses the focus: discard half-typed input."""

    def tip(self) -> str:
        """Its tooltip."""
        raise NotImplementedError


class Caption(Widget):
    """A title between widgets. It cannot have the focus."""

    def __init__(self, text: str, meaning: str = "") -> None:
        self.key, self.height = f"caption {text}", 24
        self._text, self._meaning = text, meaning

    def content(self, scene: Scene) -> object:
        return self._text

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter, look: Look) -> None:
        line = pygame.Rect(box.left, box.bottom - pen.px(20), box.width, pen.px(18))
        written = pen.write(target, self._text, line, theme.KEY)
        left = written.right + pen.px(8)
        pygame.draw.rect(target, pen.theme.line, (left, line.centery, max(0, box.right - left), pen.px(1)))

    def tip(self) -> str:
        return self._meaning


class Button(Widget):
    """Calls `act` on a click, Enter or Space. While `unavailable` returns a reason, it is grey and does nothing."""

    def __init__(
        self,
        key: str,
        label: str,
        meaning: str,
        act: Callable[[int], None],
        *,
        unavailable: Callable[[], str] = lambda: "",
        mark: str = "",
    ) -> None:
        self.key, self.height = key, 26
        self.label, self._meaning, self._act = label, meaning, act
        self._unavailable, self._mark = unavailable, mark

    def content(self, scene: Scene) -> object:
        return self.label, self._unavailable()

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter, look: Look) -> None:
        inner = box.inflate(0, -pen.px(4))
        is_off = bool(self._unavailable())
        fill = pen.theme.line if look.hovered and not is_off else pen.theme.raised
        pen.card(target, inner, pen.theme.background if is_off else fill, pen.theme.line, radius=5)
        room, text = inner.inflate(-pen.px(8), 0), f"{self.label}{self._mark}"
        # Off is dim, a mark (restart, an active brake) is orange: what is grey cannot be pressed.
        large, small = (theme.STATUS, theme.SMALL_TEXT)
        if is_off or self._mark:
            large, small = (theme.STATUS_DIM, theme.SMALL) if is_off else (theme.WARNING_LINK, theme.WARNING)
        pen.write(target, text, room, pen.lettering_that_fits(text, room.width, (large, small)), "center")
        if look.focused:
            pen.ring(target, inner)

    def press(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        if not self._unavailable():
            self._act(now_ns)

    def type(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        # A key of an unavailable button is used up all the same: it must not reach another view.
        if event.key in ENTER and not self._unavailable():
            self._act(now_ns)
        return event.key in ENTER

    def tip(self) -> str:
        reason = self._unavailable()
        return f"{self.label}\n{self._meaning}" + (f"\nUnavailable: {reason}" if reason else "")


class Choice(Widget):
    """One of several words. A click on its left end selects the previous one, elsewhere the next.

    The wheel scrolls the column past it: turned over a choice, it would select something by accident.
    """

    def __init__(
        self,
        key: str,
        label: str,
        meaning: str,
        choices: tuple[str, ...],
        value: Callable[[], str],
        choose: Callable[[str, int], None],
        *,
        note: str = "",
    ) -> None:
        self.key, self.height = key, 25
        self._label, self._meaning, self._choices = label, meaning, choices
        self._value, self._choose, self._note = value, choose, note

    def content(self, scene: Scene) -> object:
        return self._value()

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter, look: Look) -> None:
        field = self._field(box, pen)
        pen.card(target, field, pen.theme.raised, pen.theme.faint if look.hovered else pen.theme.line, radius=4)
        label = pygame.Rect(box.left, box.top, field.left - box.left - pen.px(6), box.height)
        texts = (f"{self._label} ({self._note})", self._label) if self._note else (self._label,)
        pen.write(target, pen.first_that_fits(texts, label.width, theme.LABEL), label, theme.LABEL)
        pen.write(target, self._value(), field.inflate(-pen.px(32), 0), theme.STATUS, "center")
        size = pen.px(3)
        for x, way in ((field.left + pen.px(9), -1), (field.right - pen.px(9), 1)):
            tip, y = x + way * size, field.centery
            points = ((x - way * size, y - size), (tip, y), (x - way * size, y + size))
            pygame.draw.polygon(target, pen.theme.dim, points)
        if look.focused:
            pen.ring(target, field)

    def press(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        field = self._field(box, pen)
        self._go(-1 if field.left <= at[0] < field.left + field.width // 3 else 1, now_ns)

    def type(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        if event.key in (*ENTER, pygame.K_RIGHT, pygame.K_DOWN):
            self._go(1, now_ns)
        elif event.key in (pygame.K_LEFT, pygame.K_UP):
            self._go(-1, now_ns)
        elif event.key in (pygame.K_HOME, pygame.K_END):
            self._choose(self._choices[0 if event.key == pygame.K_HOME else -1], now_ns)
        else:
            return False
        return True

    def tip(self) -> str:
        note = f"\nNeeds a {self._note}." if self._note else ""
        return f"{self._label}\n{self._meaning}\nOne of: {', '.join(self._choices)}.{note}"

    def _go(self, step: int, now_ns: int) -> None:
        # The value may be none of the words, for example a number from a scenario file.
        index = self._choices.index(self._value()) if self._value() in self._choices else 0
        self._choose(self._choices[(index + step) % len(self._choices)], now_ns)

    @staticmethod
    def _field(box: pygame.Rect, pen: Painter) -> pygame.Rect:
        width = round(box.width * 0.56)
        return pygame.Rect(box.right - width, box.top + pen.px(2), width, box.height - pen.px(4))


# Shares of a slider's track: one step by arrow key or wheel, and one by page key.
STEP, PAGE = 0.02, 0.1
DOUBLE_CLICK_NS = 400_000_000
TYPED_MAX = 9
_HANDLE, _TRACK, _LINE = 6, 4, 18
_DIGITS = {
    **{getattr(pygame, f"K_{digit}"): str(digit) for digit in range(10)},
    **{getattr(pygame, f"K_KP{digit}"): str(digit) for digit in range(10)},
    **dict.fromkeys((pygame.K_PERIOD, pygame.K_COMMA, pygame.K_KP_PERIOD), "."),
}
_MOVES = {
    **dict.fromkeys((pygame.K_LEFT, pygame.K_DOWN), -STEP),
    **dict.fromkeys((pygame.K_RIGHT, pygame.K_UP), STEP),
    pygame.K_PAGEDOWN: -PAGE,
    pygame.K_PAGEUP: PAGE,
    pygame.K_HOME: -1.0,
    pygame.K_END: 1.0,
}


class Slider(Widget):
    """A knob's name and value over a track with a handle: dragged, moved by wheel and keys, or set by typing a number.

    Enter sets a typed number; Delete or a double click resets the knob to its value at the start of the run.
    """

    height = 34

    def __init__(self, controls: Controls, knob: Knob) -> None:
        self.key = knob.key
        self._controls, self._knob = controls, knob
        self._typed = ""
        self._pressed_ns: int | None = None

    def content(self, scene: Scene) -> object:
        return self._controls.value(self.key), self._typed

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter, look: Look) -> None:
        value, knob = float(self._controls.value(self.key)), self._knob
        line = pygame.Rect(box.left, box.top, box.width, pen.px(_LINE))
        shown = f"{self._typed}|" if self._typed else knob.text(value)
        # The value first: the label gets what remains.
        number = pen.write(target, shown, line, theme.TYPED if self._typed else theme.VALUE, "right")
        room = pygame.Rect(line.left, line.top, number.left - line.left - pen.px(6), line.height)
        texts = (f"{knob.label} (restart)", knob.label) if knob.needs_restart else (knob.label,)
        # A changed knob has a bright label.
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
        if value != first:  # A mark at the initial value, to find the way back.
            x = track.left + round(knob.position(float(first)) * track.width)
            pygame.draw.rect(target, pen.theme.dim, (x, track.top - pen.px(3), pen.px(2), track.height + pen.px(6)))
        center = (track.left + round(knob.position(value) * track.width), track.centery)
        pen.dot(target, center, pen.theme.text if is_on else pen.theme.faint, _HANDLE + 1 if look.hovered else _HANDLE)

    def track(self, box: pygame.Rect, pen: Painter) -> pygame.Rect:
        """Where the centre of the handle can be."""
        edge = pen.px(_HANDLE + 1)
        top = box.top + pen.px(_LINE + 5)
        return pygame.Rect(box.left + edge, top, box.width - 2 * edge, pen.px(_TRACK))

    def press(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        if self._pressed_ns is not None and now_ns - self._pressed_ns <= DOUBLE_CLICK_NS:
            self._controls.reset_knob(self.key, now_ns)
            self._pressed_ns = None
            return
        self._pressed_ns = now_ns
        # On the label a press only takes the focus: typing needs it, and no value should jump.
        if at[1] >= box.top + pen.px(_LINE - 2):
            self._go_to(at[0], box, pen, now_ns)

    def drag(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        self._pressed_ns = None  # A press after a drag is no double click.
        self._go_to(at[0], box, pen, now_ns)

    def turn(self, step: int, now_ns: int) -> bool:
        self._move(step * STEP, now_ns)
        return True

    def type(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        if event.key in _MOVES:
            self._typed = ""
            self._move(_MOVES[event.key], now_ns)
        elif event.key in _DIGITS:
            self._typed = (self._typed + _DIGITS[event.key])[:TYPED_MAX]
        elif event.key == pygame.K_BACKSPACE and self._typed:
            self._typed = self._typed[:-1]
        elif event.key in (pygame.K_RETURN, pygame.K_KP_ENTER) and self._typed:
            self._set_typed(now_ns)
        elif event.key == pygame.K_ESCAPE and self._typed:
            self._typed = ""
        elif event.key in (pygame.K_DELETE, pygame.K_BACKSPACE):
            self._controls.reset_knob(self.key, now_ns)
        else:
            return False
        return True

    def leave(self) -> None:
        self._typed = ""

    def tip(self) -> str:
        knob = self._knob
        restart = "\nTakes effect after a restart." if knob.needs_restart else ""
        ends = f"{knob.text(knob.least)} to {knob.text(knob.most)}"
        return f"{knob.label}: {ends}\n{knob.meaning}{restart}\nType a number, or double click to reset."

    def _set_typed(self, now_ns: int) -> None:
        text, self._typed = self._typed, ""
        try:
            number = float(text)
        except ValueError:  # Only dots, or two of them: the value stays.
            return
        # Percent are typed as they are shown; the controls clamp to the knob's range.
        self._controls.set(self.key, number / 100 if self._knob.unit == "%" else number, now_ns)

    def _go_to(self, x: int, box: pygame.Rect, pen: Painter, now_ns: int) -> None:
        track = self.track(box, pen)
        self._controls.set(self.key, self._knob.value_at((x - track.left) / track.width), now_ns)

    def _move(self, share: float, now_ns: int) -> None:
        """Move by this share of the track; further if rounding would leave the value unchanged."""
        knob, value = self._knob, float(self._controls.value(self.key))
        # Positions are 0..1 along the track, on whatever scale the knob has.
        position = knob.position(value)
        for _ in range(round(1 / STEP)):
            position += share
            wanted = knob.value_at(position)
            # Rounding may also go against the direction; such a step is not taken.
            if wanted != value and (wanted > value) == (share > 0):
                self._controls.set(self.key, wanted, now_ns)
                return
