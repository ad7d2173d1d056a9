"""The buttons under the canvas: what is worked with, and what it shows, or the colours to paint with.

It knows places and looks; what a button does is whose it is to say. Invariant: every button is whole inside the bar,
in as many rows as that takes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from server.palette import HEAT_COUNT, HEAT_FIRST, PAINT_COUNT, PAINT_FIRST, WHITE, hex_colors
from workbench.window.toolkit import ramp, theme
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.toolkit import pygame

_ROW, _GAP, _PAD, _BREAK = 24, 4, 8, 14
_SWATCH_MAX, _SWATCH_MIN = 20, 8

SWATCHES = (*range(PAINT_FIRST, PAINT_FIRST + PAINT_COUNT), *range(HEAT_FIRST, HEAT_FIRST + HEAT_COUNT, 2), WHITE)
"""The palette indices that can be taken up from the bar: 16 to paint with, 32 of the heat ramp, and white."""
_HEX = hex_colors()


@dataclass(frozen=True, slots=True)
class Button:
    """One button: its name in the code and on screen, and what it does."""

    name: str
    meaning: str


def flow(widths: Sequence[int], breaks: Collection[int], width: int, row: int, gap: int) -> list[pygame.Rect]:
    """Boxes side by side from the upper left, in rows of `width`; wider gaps before the indices in `breaks`."""
    boxes, left, top = [], 0, 0
    for index, wanted in enumerate(widths):
        wanted = min(wanted, width)
        left += gap * 2 if index in breaks and left else 0
        if left and left + wanted > width:
            left, top = 0, top + row + gap
        boxes.append(pygame.Rect(left, top, wanted, row))
        left += wanted + gap
    return boxes


class ToolBar:
    """Draws buttons and swatches, and tells which is where."""

    def __init__(self, tools: Sequence[Button], choices: Sequence[Button]) -> None:
        self._tools, self._choices = tools, choices
        self._box = pygame.Rect(0, 0, 0, 0)
        self._boxes: dict[str, pygame.Rect] = {}
        self._swatches: dict[int, pygame.Rect] = {}
        self.forget()

    def height(self, width: int, pen: Painter) -> int:
        """Pixels that the buttons take in a bar of this width."""
        return max(box.bottom for box in self._flow(width, pen))

    def place(self, box: pygame.Rect, pen: Painter) -> None:
        """Take this box; see `Drawable`."""
        self._box, self._pen = box.copy(), pen
        buttons = (*self._tools, *self._choices)
        boxes = (found.move(box.topleft) for found in self._flow(box.width, pen))
        self._boxes = {button.name: found for button, found in zip(buttons, boxes, strict=True)}
        self._swatches = self._place_swatches()
        self.forget()

    def forget(self) -> None:
        """Draw all of it next time."""
        self._drawn: tuple[object, ...] | None = None

    @property
    def right(self) -> int:
        """Where the last button ends."""
        return max(box.right for box in self._boxes.values())

    def button_at(self, position: tuple[int, int], *, with_swatches: bool) -> Button | None:
        """The button under a point. With swatches, those of the choices are away."""
        buttons = self._tools if with_swatches else (*self._tools, *self._choices)
        return next((button for button in buttons if self._boxes[button.name].collidepoint(position)), None)

    def color_at(self, position: tuple[int, int]) -> int | None:
        """The palette index of the swatch under a point."""
        return next((color for color, box in self._swatches.items() if box.collidepoint(position)), None)

    def draw(self, target: pygame.Surface, pressed: Collection[str], color: int | None) -> list[pygame.Rect]:
        """Draw it when it changed: `pressed` buttons stand out; with a `color`, swatches instead of the choices."""
        state = (tuple(sorted(pressed)), color)
        if state == self._drawn:
            return []
        self._drawn = state
        target.fill(theme.BACKGROUND, self._box)
        for button in self._tools if color is not None else (*self._tools, *self._choices):
            self._draw_button(target, button, button.name in pressed)
        if color is not None:
            self._draw_swatches(target, color)
        return [self._box]

    def _flow(self, width: int, pen: Painter) -> list[pygame.Rect]:
        widths = [pen.width(button.name, theme.LABEL) + 2 * pen.px(_PAD) for button in (*self._tools, *self._choices)]
        return flow(widths, {len(self._tools)}, width, pen.px(_ROW), pen.px(_GAP))

    def _place_swatches(self) -> dict[int, pygame.Rect]:
        """As large as they can be in the rows that there are, after the last tool; without tools, none."""
        if not self._tools:
            return {}
        pen = self._pen
        rows = max(1, round((self._box.height + pen.px(_GAP)) / pen.px(_ROW + _GAP)))
        last = self._boxes[self._tools[-1].name]
        first_left, first_row = last.right + pen.px(_BREAK), (last.top - self._box.top) // pen.px(_ROW + _GAP)
        for side in range(pen.px(_SWATCH_MAX), pen.px(_SWATCH_MIN) - 1, -1):
            places = [
                pygame.Rect(left, self._box.top + row * pen.px(_ROW + _GAP), side, pen.px(_ROW))
                for row in range(first_row, rows)
                for left in range(first_left if row == first_row else self._box.left, self._box.right - side + 1, side)
            ]
            if len(places) >= len(SWATCHES):
                break
        return dict(zip(SWATCHES, places, strict=False))

    def _draw_button(self, target: pygame.Surface, button: Button, is_pressed: bool) -> None:
        box = self._boxes[button.name]
        fill, line = (theme.SKY, theme.SKY) if is_pressed else (theme.SURFACE, theme.LINE)
        self._pen.card(target, box, fill, line, radius=5)
        lettering = theme.Lettering(theme.LABEL.size, theme.BACKGROUND, bold=False) if is_pressed else theme.LABEL
        self._pen.write(target, button.name, box, lettering, "center")

    def _draw_swatches(self, target: pygame.Surface, color: int) -> None:
        for index, box in self._swatches.items():
            pygame.draw.rect(target, ramp.CANVAS_COLORS[index], box.inflate(-1, -2))
        chosen = self._swatches.get(color)
        if chosen:
            pygame.draw.rect(target, theme.BACKGROUND, chosen, width=self._pen.px(3))
            pygame.draw.rect(target, theme.TEXT, chosen.inflate(2, 2), width=self._pen.px(2))


def color_text(index: int) -> str:
    """How a colour is written: `colour 33  #8c2981`."""
    return f"colour {index}  {_HEX[index]}"
