"""Letters, marks and bars. Everything the window writes goes through here, so nothing is written outside its box.

Text surfaces are kept: a figure that comes back costs a blit. A text too wide for its box ends in an ellipsis.
"""

from collections.abc import Sequence
from typing import Literal

from workbench.window.toolkit import theme
from workbench.window.toolkit.theme import Color, Lettering
from workbench.window.toolkit.toolkit import pygame

Align = Literal["left", "center", "right"]

TEXTS_KEPT_MAX = 1024
"""About 4 MB of letters: several times what one screen shows, so only figures of long ago are given up."""


class Painter:
    """Writes at one scale. Boxes are in pixels; sizes of letterings in units of `scale` pixels."""

    def __init__(self, scale: int) -> None:
        pygame.font.init()
        self.scale = scale
        self._fonts: dict[tuple[int, bool], pygame.Font] = {}
        self._texts: dict[tuple[str, Lettering], pygame.Surface] = {}

    def px(self, units: int) -> int:
        """Pixels of a length in units."""
        return units * self.scale

    def font(self, lettering: Lettering) -> pygame.Font:
        """The font of a lettering, opened once."""
        key = (lettering.size, lettering.bold)
        if key not in self._fonts:
            self._fonts[key] = pygame.font.Font(theme.typeface_path(lettering.bold), self.px(lettering.size))
        return self._fonts[key]

    def width(self, text: str, lettering: Lettering) -> int:
        """Pixels across of a text on one line."""
        return int(self.font(lettering).size(text)[0])

    def line_height(self, lettering: Lettering) -> int:
        """Pixels from line to line."""
        return int(self.font(lettering).get_linesize())

    def elided(self, text: str, width: int, lettering: Lettering) -> str:
        """The text, or as much of its beginning as fits into `width` pixels with an ellipsis after it."""
        if self.width(text, lettering) <= width:
            return text
        low, high = 0, len(text)
        while low < high:  # The longest beginning that fits.
            middle = (low + high + 1) // 2
            if self.width(text[:middle].rstrip() + "…", lettering) <= width:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + "…" if low else ""

    def wrapped(self, text: str, width: int, lettering: Lettering, rows_max: int) -> list[str]:
        """The text in at most `rows_max` rows, broken between words. The last holds all the rest, however wide."""
        rows: list[str] = []
        for word in text.split():
            longer = f"{rows[-1]} {word}" if rows else word
            if rows and (len(rows) == rows_max or self.width(longer, lettering) <= width):
                rows[-1] = longer
            else:
                rows.append(word)
        return rows

    def first_that_fits(self, texts: Sequence[str], width: int, lettering: Lettering) -> str:
        """The first of these that is whole in `width` pixels, or the last."""
        return next((text for text in texts if self.width(text, lettering) <= width), texts[-1])

    def lettering_that_fits(self, text: str, width: int, letterings: Sequence[Lettering]) -> Lettering:
        """The first of these in which the text is whole in `width` pixels, or the last."""
        return next((each for each in letterings if self.width(text, each) <= width), letterings[-1])

    def write(
        self, target: pygame.Surface, text: str, box: pygame.Rect, lettering: Lettering, align: Align = "left"
    ) -> pygame.Rect:
        """Write one line into `box`, centred from top to bottom. Returns the rectangle that the letters take."""
        shown = self.elided(text, box.width, lettering)
        if not shown:
            return pygame.Rect(box.topleft, (0, 0))
        letters = self._text(shown, lettering)
        place = letters.get_rect(midleft=box.midleft)
        if align == "center":
            place = letters.get_rect(center=box.center)
        elif align == "right":
            place = letters.get_rect(midright=box.midright)
        target.blit(letters, place)
        return place

    def dot(self, target: pygame.Surface, center: tuple[int, int], color: Color, radius: int = 4) -> None:
        """A small round mark; `radius` in units."""
        pygame.draw.aacircle(target, color, center, self.px(radius))

    def card(self, target: pygame.Surface, box: pygame.Rect, fill: Color, line: Color, radius: int = 6) -> None:
        """A filled rounded box with an outline."""
        pygame.draw.rect(target, fill, box, border_radius=self.px(radius))
        pygame.draw.rect(target, line, box, width=self.scale, border_radius=self.px(radius))

    def ring(self, target: pygame.Surface, box: pygame.Rect) -> None:
        """The line around what the keyboard works with."""
        pygame.draw.rect(target, theme.SKY, box, width=self.px(2), border_radius=self.px(4))

    def bar(self, target: pygame.Surface, box: pygame.Rect, ratio: float, color: Color) -> None:
        """A bar filled from the left by `ratio`, 0..1."""
        radius = box.height // 2
        pygame.draw.rect(target, theme.TRACK, box, border_radius=radius)
        filled = box.copy()
        filled.width = round(box.width * min(1.0, max(0.0, ratio)))
        if filled.width:
            pygame.draw.rect(target, color, filled, border_radius=radius)

    def _text(self, text: str, lettering: Lettering) -> pygame.Surface:
        key = (text, lettering)
        found = self._texts.pop(key, None)
        if found is None:
            found = self.font(lettering).render(text, True, lettering.color)
            if len(self._texts) >= TEXTS_KEPT_MAX:
                del self._texts[next(iter(self._texts))]
        self._texts[key] = found  # Last in, so that the first is the one not used for longest.
        return found
