"""Draws text, marks and bars. All text of the window goes through here, so none is drawn outside its box.

Rendered texts are cached: drawing one again costs a blit. A text too wide for its box ends in an ellipsis.
"""

from collections.abc import Sequence
from typing import Literal

from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.theme import Color, Lettering, Theme

Align = Literal["left", "center", "right"]

# Least recently used texts beyond this are dropped. About 4 MB: several times what one screen shows.
TEXTS_KEPT_MAX = 1024


class Painter:
    """Draws at one scale in one theme. Boxes are in pixels; letterings are sized in units of `scale` pixels."""

    def __init__(self, scale: int, colors: Theme = theme.DARK) -> None:
        # The font module alone: it needs no display, so a headless window can write text.
        pygame.font.init()
        self.scale, self.theme = scale, colors
        self._fonts: dict[tuple[int, bool], pygame.Font] = {}
        self._texts: dict[tuple[str, Lettering], pygame.Surface] = {}

    def px(self, units: int) -> int:
        """Units in pixels."""
        return units * self.scale

    def font(self, lettering: Lettering) -> pygame.Font:
        """The font of a lettering; each is opened once."""
        key = (lettering.size, lettering.bold)
        if key not in self._fonts:
            self._fonts[key] = pygame.font.Font(theme.typeface_path(lettering.bold), self.px(lettering.size))
        return self._fonts[key]

    def width(self, text: str, lettering: Lettering) -> int:
        """Width in pixels of a text on one line."""
        return int(self.font(lettering).size(text)[0])

    def line_height(self, lettering: Lettering) -> int:
        """Distance between lines in pixels."""
        return int(self.font(lettering).get_linesize())

    def elided(self, text: str, width: int, lettering: Lettering) -> str:
        """The text, or the longest prefix that fits into `width` pixels together with an ellipsis."""
        if self.width(text, lettering) <= width:
            return text
        low, high = 0, len(text)
        # Rendered widths only grow with the length of a prefix, so a bisection finds the longest that fits.
        while low < high:  # Bisect for the longest prefix that fits.
            middle = (low + high + 1) // 2
            if self.width(text[:middle].rstrip() + "…", lettering) <= width:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + "…" if low else ""

    def wrapped(self, text: str, width: int, lettering: Lettering, rows_max: int) -> list[str]:
        """The text in at most `rows_max` rows, broken between words. The last row takes the rest, however wide."""
        rows: list[str] = []
        # A word longer than the row is not broken: `write` ends it in an ellipsis.
        for word in text.split():
            longer = f"{rows[-1]} {word}" if rows else word
            if rows and (len(rows) == rows_max or self.width(longer, lettering) <= width):
                rows[-1] = longer
            else:
                rows.append(word)
        return rows

    def first_that_fits(self, texts: Sequence[str], width: int, lettering: Lettering) -> str:
        """The first text that fits into `width` pixels, or the last."""
        return next((text for text in texts if self.width(text, lettering) <= width), texts[-1])

    def lettering_that_fits(self, text: str, width: int, letterings: Sequence[Lettering]) -> Lettering:
        """The first lettering in which the text fits into `width` pixels, or the last."""
        return next((each for each in letterings if self.width(text, each) <= width), letterings[-1])

    def write(
        self, target: pygame.Surface, text: str, box: pygame.Rect, lettering: Lettering, align: Align = "left"
    ) -> pygame.Rect:
        """Write one line into `box`, centred vertically. Returns the rectangle of the text."""
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

    def write_rows(
        self, target: pygame.Surface, rows: Sequence[str], box: pygame.Rect, lettering: Lettering, align: Align = "left"
    ) -> None:
        """Write rows below each other, from the top of `box`, as wide as it is."""
        height = self.line_height(lettering)
        for index, text in enumerate(rows):
            row = pygame.Rect(box.left, box.top + index * height, box.width, height)
            self.write(target, text, row, lettering, align)

    def dot(self, target: pygame.Surface, center: tuple[int, int], color: Color, radius: int = 4) -> None:
        """A small round mark; `radius` in units."""
        pygame.draw.aacircle(target, color, center, self.px(radius))

    def card(self, target: pygame.Surface, box: pygame.Rect, fill: Color, line: Color, radius: int = 6) -> None:
        """A filled rounded box with an outline."""
        pygame.draw.rect(target, fill, box, border_radius=self.px(radius))
        pygame.draw.rect(target, line, box, width=self.scale, border_radius=self.px(radius))

    def ring(self, target: pygame.Surface, box: pygame.Rect) -> None:
        """The ring around the item with the keyboard focus."""
        pygame.draw.rect(target, self.theme.sky, box, width=self.px(2), border_radius=self.px(4))

    def bar(self, target: pygame.Surface, box: pygame.Rect, ratio: float, color: Color) -> None:
        """A bar filled from the left by `ratio`, 0..1."""
        radius = box.height // 2
        pygame.draw.rect(target, self.theme.track, box, border_radius=radius)
        filled = box.copy()
        filled.width = round(box.width * min(1.0, max(0.0, ratio)))
        if filled.width:
            pygame.draw.rect(target, color, filled, border_radius=radius)

    def _text(self, text: str, lettering: Lettering) -> pygame.Surface:
        # The theme is not in the key: a painter has one theme, and a switch of themes creates another painter.
        key = (text, lettering)
        found = self._texts.pop(key, None)  # Popped and inserted again below: the dict's order is the order of use.
        if found is None:
            found = self.font(lettering).render(text, True, self.theme.color(lettering.role))
            # The first key of a dict is the one that was inserted first: here, the least recently used.
            if len(self._texts) >= TEXTS_KEPT_MAX:
                del self._texts[next(iter(self._texts))]
        self._texts[key] = found
        return found
