"""What a card under the canvas or the map has in common: a title, a button or two, an x to close it.

Invariant: what is drawn lies inside the card, and each button is where it was last drawn.
"""

from collections.abc import Sequence

from workbench.window.toolkit import theme
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.toolkit import pygame

CLOSE = "close"
_PAD, _HEAD, _CROSS = 12, 26, 20


class Pane:
    """The ground of a card, and its head row."""

    def __init__(self) -> None:
        self.buttons: dict[str, pygame.Rect] = {}

    def place(self, box: pygame.Rect, pen: Painter) -> None:
        """Take this box."""
        self.box, self._pen = box.copy(), pen
        self.buttons.clear()

    @property
    def inner(self) -> pygame.Rect:
        """The room under the head row."""
        pad, head = self._pen.px(_PAD), self._pen.px(_HEAD)
        box = self.box
        return pygame.Rect(box.left + pad, box.top + head, box.width - 2 * pad, box.height - head - pad // 2)

    def button_at(self, position: tuple[int, int]) -> str:
        """The name of the button under a point, or ""."""
        return next((name for name, box in self.buttons.items() if box.collidepoint(position)), "")

    def draw(self, target: pygame.Surface, title: str, note: str, buttons: Sequence[str] = ()) -> None:
        """The ground, the title with a note after it, and the buttons from the right."""
        pen = self._pen
        pen.card(target, self.box, theme.SURFACE, theme.LINE)
        cross = pygame.Rect(0, 0, pen.px(_CROSS), pen.px(_CROSS))
        cross.midright = (self.box.right - pen.px(4), self.box.top + pen.px(_HEAD) // 2)
        self.buttons = {CLOSE: cross}
        arm = cross.inflate(-pen.px(11), -pen.px(11))
        pygame.draw.line(target, theme.DIM, arm.topleft, arm.bottomright, pen.px(2))
        pygame.draw.line(target, theme.DIM, arm.bottomleft, arm.topright, pen.px(2))
        right = cross.left
        for name in buttons:
            box = pygame.Rect(0, 0, pen.width(name, theme.LABEL) + pen.px(16), pen.px(20))
            box.midright = (right - pen.px(6), cross.centery)
            self.buttons[name], right = box, box.left
            pen.card(target, box, theme.RAISED, theme.LINE, radius=4)
            pen.write(target, name, box, theme.LABEL, "center")
        row = pygame.Rect(self.box.left + pen.px(_PAD), self.box.top, 0, pen.px(_HEAD))
        row.width = max(0, right - pen.px(8) - row.left)
        letters = pen.write(target, title, row, theme.TITLE)
        left = letters.right + pen.px(10)
        pen.write(target, note, pygame.Rect(left, row.top, max(0, row.right - left), row.height), theme.LABEL)
