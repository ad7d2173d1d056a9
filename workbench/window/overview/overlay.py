"""What lies over the picture for a while: the loading card, the help, a toast, the pixel under the mouse, the pause.

An overlay is opaque and knows its box before it is drawn, so that the window can put back what was under it.
"""

from typing import Protocol

from workbench.window.toolkit import theme
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.toolkit import pygame


class Overlay(Protocol):
    """One thing over the picture."""

    def content(self, scene: Scene) -> object:
        """What it shows, or None when it is not there. The window draws it again when this changes."""
        ...

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """Where it is, inside `screen`."""
        ...

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        """Draw all of it."""
        ...


class Toast:
    """A message for a few seconds, such as where a screenshot went, or why there is none."""

    SHOWN_NS = 4_000_000_000
    LETTER_NS = 40_000_000
    """A long one is shown for as long as it takes to read."""
    ROWS_MAX = 3
    _BESIDE = 52
    """Units of the card's width that are not its letters'."""

    def __init__(self) -> None:
        self._text, self._color, self._until_ns = "", "GREEN", 0

    def show(self, text: str, now_ns: int, color: str = "GREEN") -> None:
        """Show this from now on, in place of what was shown. `color` is a name of the theme."""
        shown_ns = max(self.SHOWN_NS, len(text) * self.LETTER_NS)
        self._text, self._color, self._until_ns = text, color, now_ns + shown_ns

    def advance(self, now_ns: int) -> None:
        """Go away when the time has come."""
        if now_ns >= self._until_ns:
            self._text = ""

    def content(self, scene: Scene) -> object:
        """The message, or None; see `Overlay`."""
        return self._text or None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """At the bottom, centred, above the status line."""
        rows = self._rows(screen.width - pen.px(80 + self._BESIDE), pen)
        width = min(max(pen.width(row, theme.BODY) for row in rows) + pen.px(self._BESIDE), screen.width - pen.px(80))
        box = pygame.Rect(0, 0, width, pen.px(38) + (len(rows) - 1) * pen.line_height(theme.BODY))
        box.midbottom = (screen.centerx, screen.bottom - pen.px(84))
        return box

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        """Draw all of it."""
        color = theme.color(self._color)
        pen.card(target, box, theme.RAISED, color)
        pen.dot(target, (box.left + pen.px(18), box.centery), color)
        height = pen.line_height(theme.BODY)
        width = box.width - pen.px(self._BESIDE)
        rows = self._rows(width, pen)
        row = pygame.Rect(box.left + pen.px(32), box.centery - len(rows) * height // 2, width, height)
        for index, text in enumerate(rows):
            pen.write(target, text, row.move(0, index * height), theme.BODY)

    def _rows(self, width: int, pen: Painter) -> list[str]:
        return pen.wrapped(self._text, width, theme.BODY, self.ROWS_MAX)


class PauseMark:
    """Says over the canvas that the view stands still."""

    TEXT = "paused"
    NOTE = "the server goes on; space resumes"

    def __init__(self) -> None:
        self.canvas = pygame.Rect(0, 0, 0, 0)

    def content(self, scene: Scene) -> object:
        """Whether it is paused; see `Overlay`."""
        return (self.TEXT, self.canvas.topleft) if scene.paused else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """At the top of the canvas, centred."""
        width = pen.width(self.TEXT, theme.TITLE) + pen.width(self.NOTE, theme.NOTE) + pen.px(12 + 2 * 16)
        box = pygame.Rect(0, 0, width, pen.px(36))
        box.midtop = (self.canvas.centerx, self.canvas.top + pen.px(14))
        return box.clamp(screen)

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        """Draw all of it."""
        pen.card(target, box, theme.RAISED, theme.ORANGE)
        inner = box.inflate(-2 * pen.px(16), 0)
        word = pen.write(target, self.TEXT, inner, theme.TITLE)
        left = word.right + pen.px(12)
        pen.write(target, self.NOTE, pygame.Rect(left, box.top, inner.right - left, box.height), theme.NOTE)


class Caption:
    """A sentence for a room: what is seen now, such as a guided demo says it. Its text is set from outside.

    It lies on the two bottom rows and the tools, of which no caption speaks.
    """

    ROWS_MAX = 3
    NOTE = "page down: next   page up: back"

    def __init__(self) -> None:
        self.text = ""
        self.guided = False
        """Whether one may go on and back."""

    def content(self, scene: Scene) -> object:
        """The sentence, or None; see `Overlay`."""
        return (self.text, self.guided, theme.name) if self.text else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """At the bottom, as wide as the window."""
        width = screen.width - pen.px(32)
        height = len(self._rows(width, pen)) * pen.line_height(theme.CAPTION) + pen.px(16) + self._note_height(pen)
        box = pygame.Rect(0, 0, width, height)
        box.midbottom = (screen.centerx, screen.bottom - pen.px(4))
        return box

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        """Draw all of it."""
        pen.card(target, box, theme.RAISED, theme.SKY, radius=8)
        height = pen.line_height(theme.CAPTION)
        row = pygame.Rect(box.left, box.top + pen.px(8), box.width, height)
        for index, text in enumerate(self._rows(box.width, pen)):
            pen.write(target, text, row.move(0, index * height), theme.CAPTION, "center")
        if self.guided:
            note = self._note_height(pen)
            foot = pygame.Rect(box.left, box.bottom - note - pen.px(4), box.width - pen.px(12), note)
            pen.write(target, self.NOTE, foot, theme.LABEL, "right")

    def _note_height(self, pen: Painter) -> int:
        return pen.line_height(theme.LABEL) if self.guided else 0

    def _rows(self, width: int, pen: Painter) -> list[str]:
        """The sentence in rows, in a card so wide."""
        return pen.wrapped(self.text, width - pen.px(40), theme.CAPTION, self.ROWS_MAX)
