"""Rows of buttons: the tool bar under the canvas or the panels, and the head of a card with its close button.

They only place and draw buttons; the view that owns them acts on a click. Invariant: every button of a tool bar is
entirely inside the bar, in as many rows as needed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from server.palette import HEAT_COUNT, HEAT_FIRST, PAINT_COUNT, PAINT_FIRST, WHITE, hex_colors
from workbench.window.toolkit import ramp, theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.view import Placed

_ROW, _GAP, _PAD, _BREAK = 24, 4, 8, 14
_SWATCH_MAX, _SWATCH_MIN = 20, 8

# The palette indices that the bar offers: 16 paint colours, 32 of the heat ramp, and white.
SWATCHES = (*range(PAINT_FIRST, PAINT_FIRST + PAINT_COUNT), *range(HEAT_FIRST, HEAT_FIRST + HEAT_COUNT, 2), WHITE)
_HEX = hex_colors()


@dataclass(frozen=True, slots=True)
class Tool:
    """One button of a tool bar: its name, in the code and on screen, and what it does."""

    name: str
    meaning: str


def flow(widths: Sequence[int], breaks: Collection[int], width: int, row: int, gap: int) -> list[pygame.Rect]:
    """Boxes in rows of `width`, from the upper left; the gap is wider before the indices in `breaks`."""
    boxes, left, top = [], 0, 0
    for index, wanted in enumerate(widths):
        wanted = min(wanted, width)
        left += gap * 2 if index in breaks and left else 0
        if left and left + wanted > width:
            left, top = 0, top + row + gap
        boxes.append(pygame.Rect(left, top, wanted, row))
        left += wanted + gap
    return boxes


class ToolBar(Placed):
    """Tools, then choices; while painting, colour swatches replace the choices."""

    def __init__(self, tools: Sequence[Tool], choices: Sequence[Tool]) -> None:
        self._tools, self._choices = tools, choices
        self._box = pygame.Rect(0, 0, 0, 0)
        self._boxes: dict[str, pygame.Rect] = {}
        self._swatches: dict[int, pygame.Rect] = {}

    def height(self, width: int, pen: Painter) -> int:
        """Height in pixels of the buttons in a bar of this width."""
        return max(box.bottom for box in self._flow(width, pen))

    def _lay_out(self) -> None:
        box, pen = self._box, self._pen
        buttons = (*self._tools, *self._choices)
        boxes = (found.move(box.topleft) for found in self._flow(box.width, pen))
        self._boxes = {button.name: found for button, found in zip(buttons, boxes, strict=True)}
        self._swatches = self._place_swatches()
        assert all(box.left <= found.left and found.right <= box.right for found in self._boxes.values())

    @property
    def right(self) -> int:
        """Where the last button ends."""
        return max(box.right for box in self._boxes.values())

    def button_at(self, position: tuple[int, int], *, with_swatches: bool) -> Tool | None:
        """The button at a point. With swatches, the choices are hidden."""
        buttons = self._tools if with_swatches else (*self._tools, *self._choices)
        return next((button for button in buttons if self._boxes[button.name].collidepoint(position)), None)

    def color_at(self, position: tuple[int, int]) -> int | None:
        """The palette index of the swatch at a point."""
        return next((color for color, box in self._swatches.items() if box.collidepoint(position)), None)

    def draw(self, target: pygame.Surface, pressed: Collection[str], color: int | None) -> list[pygame.Rect]:
        """Draw it if it changed, with `pressed` buttons lit; with a `color`, swatches instead of the choices.

        Returns the rectangles that changed.
        """
        if not self._changed((tuple(sorted(pressed)), color)):
            return []
        target.fill(self._pen.theme.background, self._box)
        for button in self._tools if color is not None else (*self._tools, *self._choices):
            self._draw_button(target, button, button.name in pressed)
        if color is not None:
            self._draw_swatches(target, color)
        return [self._box]

    def _flow(self, width: int, pen: Painter) -> list[pygame.Rect]:
        # Tools and choices are one flow with a break between them: on a narrow bar choices continue in the next row.
        widths = [pen.width(button.name, theme.LABEL) + 2 * pen.px(_PAD) for button in (*self._tools, *self._choices)]
        return flow(widths, {len(self._tools)}, width, pen.px(_ROW), pen.px(_GAP))

    def _place_swatches(self) -> dict[int, pygame.Rect]:
        """As large as fits into the rows of the bar after the last tool; without tools, none."""
        if not self._tools:
            return {}
        pen = self._pen
        rows = max(1, round((self._box.height + pen.px(_GAP)) / pen.px(_ROW + _GAP)))
        last = self._boxes[self._tools[-1].name]
        first_left, first_row = last.right + pen.px(_BREAK), (last.top - self._box.top) // pen.px(_ROW + _GAP)
        # The largest size that shows all colours; if even the smallest does not, the last colours are left out.
        for side in range(pen.px(_SWATCH_MAX), pen.px(_SWATCH_MIN) - 1, -1):
            places = [
                pygame.Rect(left, self._box.top + row * pen.px(_ROW + _GAP), side, pen.px(_ROW))
                for row in range(first_row, rows)
                for left in range(first_left if row == first_row else self._box.left, self._box.right - side + 1, side)
            ]
            if len(places) >= len(SWATCHES):
                break
        # Not strict: there may be more places than colours, or fewer.
        return dict(zip(SWATCHES, places, strict=False))

    def _draw_button(self, target: pygame.Surface, button: Tool, is_pressed: bool) -> None:
        box, colors = self._boxes[button.name], self._pen.theme
        fill, line = (colors.sky, colors.sky) if is_pressed else (colors.surface, colors.line)
        self._pen.card(target, box, fill, line, radius=5)
        lettering = theme.Lettering(theme.LABEL.size, "background") if is_pressed else theme.LABEL
        self._pen.write(target, button.name, box, lettering, "center")

    def _draw_swatches(self, target: pygame.Surface, color: int) -> None:
        for index, box in self._swatches.items():
            pygame.draw.rect(target, ramp.CANVAS_COLORS[index], box.inflate(-1, -2))
        chosen = self._swatches.get(color)
        if chosen:
            pygame.draw.rect(target, self._pen.theme.background, chosen, width=self._pen.px(3))
            pygame.draw.rect(target, self._pen.theme.text, chosen.inflate(2, 2), width=self._pen.px(2))


def color_text(index: int) -> str:
    """A colour's index and RGB value: `colour 33  #8c2981`."""
    return f"colour {index}  {_HEX[index]}"


CLOSE = "close"
_CARD_PAD, _HEAD, _CROSS = 12, 26, 20


class Pane:
    """A card under the canvas or the map: its background, and its head with a title, buttons and a close button."""

    def __init__(self) -> None:
        self.buttons: dict[str, pygame.Rect] = {}

    def place(self, box: pygame.Rect, pen: Painter) -> None:
        """Use this box from now on; the buttons have no place until the next draw."""
        self.box, self._pen = box.copy(), pen
        self.buttons.clear()

    @property
    def inner(self) -> pygame.Rect:
        """The space under the head."""
        pad, head = self._pen.px(_CARD_PAD), self._pen.px(_HEAD)
        box = self.box
        return pygame.Rect(box.left + pad, box.top + head, box.width - 2 * pad, box.height - head - pad // 2)

    def button_at(self, position: tuple[int, int]) -> str:
        """The name of the button at a point, or ""."""
        return next((name for name, box in self.buttons.items() if box.collidepoint(position)), "")

    def draw(self, target: pygame.Surface, title: str, note: str, buttons: Sequence[str] = ()) -> None:
        """The background, the title followed by a note, and the buttons from the right."""
        pen = self._pen
        pen.card(target, self.box, pen.theme.surface, pen.theme.line)
        cross = pygame.Rect(0, 0, pen.px(_CROSS), pen.px(_CROSS))
        cross.midright = (self.box.right - pen.px(4), self.box.top + pen.px(_HEAD) // 2)
        # Rebuilt at each draw: the buttons depend on the title, which changes with what is shown.
        self.buttons = {CLOSE: cross}
        arm = cross.inflate(-pen.px(11), -pen.px(11))
        pygame.draw.line(target, pen.theme.dim, arm.topleft, arm.bottomright, pen.px(2))
        pygame.draw.line(target, pen.theme.dim, arm.bottomleft, arm.topright, pen.px(2))
        right = cross.left
        for name in buttons:
            box = pygame.Rect(0, 0, pen.width(name, theme.LABEL) + pen.px(16), pen.px(20))
            box.midright = (right - pen.px(6), cross.centery)
            self.buttons[name], right = box, box.left
            pen.card(target, box, pen.theme.raised, pen.theme.line, radius=4)
            pen.write(target, name, box, theme.LABEL, "center")
        row = pygame.Rect(self.box.left + pen.px(_CARD_PAD), self.box.top, 0, pen.px(_HEAD))
        row.width = max(0, right - pen.px(8) - row.left)
        letters = pen.write(target, title, row, theme.TITLE)
        left = letters.right + pen.px(10)
        pen.write(target, note, pygame.Rect(left, row.top, max(0, row.right - left), row.height), theme.LABEL)
