"""Things to press and turn: what every one promises, and button, choice and slider.

A widget knows no window and keeps no value of its own: it shows what it is asked to look at, and tells what was done to
it. Invariant: what can be done with the mouse can be done with the keyboard.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import ENTER
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene


@dataclass(frozen=True, slots=True)
class Look:
    """How a widget is drawn beside what it shows."""

    focused: bool = False
    hovered: bool = False


class Widget(Protocol):
    """One thing to press or turn, in a box that it is told each time."""

    key: str
    """Its name: the same widget made anew has the same."""
    height: int
    """In units."""

    def content(self, scene: Scene) -> object:
        """What it shows: it is drawn again when this changes."""
        ...

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter, look: Look) -> None:
        """Draw all of it."""
        ...

    def press(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        """The left button went down here."""
        ...

    def drag(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        """The mouse is here while the button is held down."""
        ...

    def release(self, now_ns: int) -> None:
        """The button is up again."""
        ...

    def type(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """A key while it has the focus. True when it is one of its own."""
        ...

    def turn(self, step: int, now_ns: int) -> bool:
        """The wheel, away (1) or towards (-1). False when it does not turn."""
        ...

    def leave(self) -> None:
        """The focus is elsewhere: forget what was half typed."""
        ...

    def tip(self) -> str:
        """What it is, in the terms of the field."""
        ...


class _Still:
    """What a widget does that neither drags nor turns nor types."""

    def drag(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        """Nothing moves."""

    def release(self, now_ns: int) -> None:
        """Nothing was held."""

    def turn(self, step: int, now_ns: int) -> bool:
        """It does not turn."""
        return False

    def leave(self) -> None:
        """Nothing is half typed."""


class Caption(_Still):
    """A title between widgets: nothing to press."""

    def __init__(self, text: str, meaning: str = "", *, height: int = 24) -> None:
        self.key, self.height = f"caption {text}", height
        self._text, self._meaning = text, meaning

    def content(self, scene: Scene) -> object:
        """Always the same."""
        return self._text

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter, look: Look) -> None:
        """Draw all of it."""
        line = pygame.Rect(box.left, box.bottom - pen.px(20), box.width, pen.px(18))
        written = pen.write(target, self._text, line, theme.KEY)
        left = written.right + pen.px(8)
        pygame.draw.rect(target, pen.theme.line, (left, line.centery, max(0, box.right - left), pen.px(1)))

    def press(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        """Nothing to press."""

    def type(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """Nothing to type."""
        return False

    def tip(self) -> str:
        """What the section is for."""
        return self._meaning


class Button(_Still):
    """Something done by a click, or enter. With a reason why it cannot be, it is grey and says that."""

    def __init__(
        self,
        key: str,
        label: str,
        meaning: str,
        act: Callable[[int], None],
        *,
        unavailable: Callable[[], str] | None = None,
        mark: str = "",
    ) -> None:
        self.key, self.height = key, 26
        self.label, self._meaning, self._act = label, meaning, act
        self._unavailable = unavailable or (lambda: "")
        self._mark = mark

    def content(self, scene: Scene) -> object:
        """Its words, and whether it can be pressed."""
        return self.label, self._unavailable()

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter, look: Look) -> None:
        """Draw all of it."""
        inner = box.inflate(0, -pen.px(4))
        is_off = bool(self._unavailable())
        fill = pen.theme.line if look.hovered and not is_off else pen.theme.raised
        pen.card(target, inner, pen.theme.background if is_off else fill, pen.theme.line, radius=5)
        room, text = inner.inflate(-pen.px(8), 0), f"{self.label}{self._mark}"
        large, small = (theme.STATUS, theme.SMALL_TEXT)
        if is_off or self._mark:
            large, small = (theme.STATUS_DIM, theme.SMALL) if is_off else (theme.WARNING_LINK, theme.WARNING)
        pen.write(target, text, room, pen.lettering_that_fits(text, room.width, (large, small)), "center")
        if look.focused:
            pen.ring(target, inner)

    def press(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        """Do it."""
        if not self._unavailable():
            self._act(now_ns)

    def type(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """Enter and space do it too."""
        if event.key in ENTER and not self._unavailable():
            self._act(now_ns)
        return event.key in ENTER

    def tip(self) -> str:
        """What it does, or why it cannot."""
        reason = self._unavailable()
        return f"{self.label}\n{self._meaning}" + (f"\nNot now: {reason}" if reason else "")


class Choice(_Still):
    """One of several words. A click at its left end goes back, elsewhere on; arrows and wheel too."""

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
        """The word chosen."""
        return self._value()

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter, look: Look) -> None:
        """The label at the left, the word between two arrows at the right."""
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
        """Back at the left end, on elsewhere."""
        field = self._field(box, pen)
        self._go(-1 if field.left <= at[0] < field.left + field.width // 3 else 1, now_ns)

    def type(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """Arrows, enter, home and end."""
        if event.key in (*ENTER, pygame.K_RIGHT, pygame.K_DOWN):
            self._go(1, now_ns)
        elif event.key in (pygame.K_LEFT, pygame.K_UP):
            self._go(-1, now_ns)
        elif event.key in (pygame.K_HOME, pygame.K_END):
            self._choose(self._choices[0 if event.key == pygame.K_HOME else -1], now_ns)
        else:
            return False
        return True

    def turn(self, step: int, now_ns: int) -> bool:
        """A wheel that scrolls the column must not choose on its way."""
        return False

    def tip(self) -> str:
        """What it decides, and between what."""
        note = f"\nNeeds a {self._note}." if self._note else ""
        return f"{self._label}\n{self._meaning}\nOne of: {', '.join(self._choices)}.{note}"

    def _go(self, step: int, now_ns: int) -> None:
        index = self._choices.index(self._value()) if self._value() in self._choices else 0
        self._choose(self._choices[(index + step) % len(self._choices)], now_ns)

    @staticmethod
    def _field(box: pygame.Rect, pen: Painter) -> pygame.Rect:
        width = round(box.width * 0.56)
        return pygame.Rect(box.right - width, box.top + pen.px(2), width, box.height - pen.px(4))
