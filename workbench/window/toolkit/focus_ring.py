"""The ring around the view that the keyboard works with, drawn into the gap around the view's box."""

from workbench.window.toolkit import theme
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.toolkit import pygame

_DISTANCE, _THICKNESS = 4, 2


class FocusRing:
    """A line around a box, and the ground again where it was."""

    def __init__(self) -> None:
        self._box: pygame.Rect | None = None
        self._drawn: pygame.Rect | None = None

    def mark(self, box: pygame.Rect | None) -> None:
        """Ring this box from now on; None: nothing."""
        self._box = box

    def forget(self) -> None:
        """What was drawn is gone already."""
        self._drawn = None

    def draw(self, target: pygame.Surface, pen: Painter) -> list[pygame.Rect]:
        """Draw what changed. Returns the rectangles that did: the ring's four sides, not what they enclose."""
        if self._box == self._drawn:
            return []
        sides = []
        for box, color in ((self._drawn, theme.BACKGROUND), (self._box, theme.SKY)):
            if box is not None:
                ring = box.inflate(2 * pen.px(_DISTANCE), 2 * pen.px(_DISTANCE)).clip(target.get_rect())
                pygame.draw.rect(target, color, ring, width=pen.px(_THICKNESS))
                sides += _sides(ring, pen.px(_THICKNESS))
        self._drawn = self._box
        return sides


def _sides(ring: pygame.Rect, thickness: int) -> list[pygame.Rect]:
    return [
        pygame.Rect(ring.left, ring.top, ring.width, thickness),
        pygame.Rect(ring.left, ring.bottom - thickness, ring.width, thickness),
        pygame.Rect(ring.left, ring.top, thickness, ring.height),
        pygame.Rect(ring.right - thickness, ring.top, thickness, ring.height),
    ]
