"""Choosing panels: the bar under the panels, and the list from which a panel is chosen for a position.

While the panels do not show the present, the bar says so, and how long ago their right edge is.
"""

from collections.abc import Callable

from plots.series import PANELS
from workbench.window.panels.panel_choice import SPANS_S, PanelChoice
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import ENTER
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.tool_bar import Tool, ToolBar
from workbench.window.toolkit.view import Drawable, Focusable, Handler, Overlay
from workbench.window.toolkit.wording import format_clock

_CHOOSE, _NOW, _GAP = "panels", "now", 10

_TOOLS = (Tool(_CHOOSE, "Choose which four panels are shown; so does a click on a panel's title. Key: V"),)
_CHOICES = (
    *(Tool(text, f"Show {text}. Keys: X and Shift X, or the wheel over the panels") for text in SPANS_S),
    Tool(_NOW, "Follow the present again. Key: N"),
)


class PanelBar(Drawable, Focusable):
    """The row of buttons under the panels. Each has a key, too."""

    def __init__(self, choice: PanelChoice, on_choose: Callable[[int], None]) -> None:
        self._choice, self._on_choose = choice, on_choose
        self._bar = ToolBar(_TOOLS, _CHOICES)

    def _lay_out(self) -> None:
        box, pen = self._box, self._pen
        self._bar.place(box, pen)

    def forget(self) -> None:
        self._bar.forget()
        self._drawn: str | None = None

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        choice = self._choice
        pressed = {text for text, span_s in SPANS_S.items() if span_s == choice.span_s} | (
            {_NOW} if choice.live else set()
        )
        dirty = self._bar.draw(target, pressed, None)
        said = "" if choice.live else _ago(choice.end_ns, scene.view.now_ns)
        # The bar fills its whole box when it draws, so the text after it is lost.
        if dirty or said != self._drawn:
            self._drawn = said
            self._say(target, said)
            dirty = [self._box]
        return dirty

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        if event.type != pygame.MOUSEBUTTONDOWN or event.button != 1:
            return False
        button = self._bar.button_at(event.pos, with_swatches=False)
        if button is None:
            return False
        if button.name == _CHOOSE:
            self._on_choose(0)
        elif button.name == _NOW:
            self._choice.go_live()
        else:
            self._choice.span_s = SPANS_S[button.name]
        return True

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        button = self._bar.button_at(position, with_swatches=False)
        return f"{button.name}\n{button.meaning}" if button else ""

    def step_focus(self, step: int) -> bool:
        # The panels above take the focus; they have keys for all of this.
        return False

    def _say(self, target: pygame.Surface, text: str) -> None:
        left = self._bar.right + self._pen.px(_GAP)
        room = pygame.Rect(left, self._box.top, max(0, self._box.right - left), self._box.height)
        target.fill(self._pen.theme.background, room)
        texts = (f"paused at: {text} ago", f"{text} ago") if text else ("",)
        self._pen.write(
            target, self._pen.first_that_fits(texts, room.width, theme.WARNING_LINK), room, theme.WARNING_LINK
        )


def _ago(end_ns: int, now_ns: int) -> str:
    return format_clock(max(0, now_ns - end_ns) * 1e-9)


PLACES = ("upper left", "upper right", "lower left", "lower right")
NAMES = tuple(PANELS)
_WIDTH, _ROW, _HEAD, _FOOT, _PAD, _BADGE, _TITLE = 620, 28, 58, 26, 16, 26, 200
_CLOSING = (pygame.K_ESCAPE, pygame.K_q, pygame.K_v)
_FOOT_TEXT = "arrows and enter choose   1-4: position   Esc closes"


class PanelChooser(Overlay, Handler):
    """A card over the panels, with one row per panel. While it is open, it gets the keys."""

    def __init__(self, choice: PanelChoice) -> None:
        self._choice = choice
        self.shown = False
        self.panels = pygame.Rect(0, 0, 0, 0)
        """The box of the panels."""
        self._place = 0
        self._cursor = 0
        self._box = pygame.Rect(0, 0, 0, 0)
        self._pen: Painter | None = None

    def open(self, place: int) -> None:
        """Open it for this position, counted row by row."""
        self.shown, self._place = True, place
        self._cursor = NAMES.index(self._choice.names[place])

    def content(self, scene: Scene) -> object:
        return (self._choice.names, self._place, self._cursor) if self.shown else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        # Beside the panel that will be replaced, so that it stays visible if there is space.
        height = pen.px(_HEAD + len(NAMES) * _ROW + _FOOT + 2 * _PAD)
        box = pygame.Rect(0, 0, pen.px(_WIDTH), height)
        box.center = self.panels.center
        if self._place < 2:
            box.bottom = min(screen.bottom, self.panels.bottom)
        else:
            box.top = self.panels.top
        self._box, self._pen = box.clamp(screen), pen
        return self._box.copy()

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        pen.card(target, box, pen.theme.raised, pen.theme.faint, radius=10)
        inner = box.inflate(-2 * pen.px(_PAD), -2 * pen.px(_PAD))
        head = pygame.Rect(inner.left, inner.top, inner.width, pen.px(22))
        pen.write(target, "Choose a panel", head, theme.TITLE)
        for place, tab in enumerate(self._tabs(pen)):
            # The chosen tab is inverted: dark letters on the accent colour.
            is_chosen = place == self._place
            pen.card(target, tab, pen.theme.sky if is_chosen else pen.theme.surface, pen.theme.line, radius=4)
            lettering = theme.Lettering(theme.LABEL.size, "background") if is_chosen else theme.LABEL
            pen.write(target, f"{place + 1}  {PLACES[place]}", tab, lettering, "center")
        for index, name in enumerate(NAMES):
            self._draw_row(target, self._row(index, pen), name, index == self._cursor, pen)
        foot = pygame.Rect(inner.left, inner.bottom - pen.px(20), inner.width, pen.px(20))
        pen.write(target, _FOOT_TEXT, foot, theme.LABEL)

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        if event.type == pygame.KEYDOWN:
            return self._press_key(event.key)
        pen = self._pen
        if pen is None or event.type not in (pygame.MOUSEMOTION, pygame.MOUSEBUTTONDOWN):
            return True
        index = next((i for i in range(len(NAMES)) if self._row(i, pen).collidepoint(event.pos)), None)
        if index is not None:
            self._cursor = index
        if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            tab = next((place for place, tab in enumerate(self._tabs(pen)) if tab.collidepoint(event.pos)), None)
            if tab is not None:
                self.open(tab)
            elif index is not None:
                self._choose()
        return True

    def _press_key(self, key: int) -> bool:
        step = {pygame.K_UP: -1, pygame.K_DOWN: 1, pygame.K_TAB: 1}.get(key, 0)
        across = {pygame.K_LEFT: -1, pygame.K_RIGHT: 1}.get(key, 0)
        if step:
            self._cursor = (self._cursor + step) % len(NAMES)
        elif across:
            self.open((self._place + across) % len(PLACES))
        # Digits choose the position; the panel is chosen by cursor, since there are more than nine.
        elif key in range(pygame.K_1, pygame.K_1 + len(PLACES)):
            self.open(key - pygame.K_1)
        elif key in ENTER:
            self._choose()
        elif key in _CLOSING:
            self.shown = False
        else:
            return False
        return True

    def _choose(self) -> None:
        self._choice.put(self._place, NAMES[self._cursor])
        self.shown = False

    def _tabs(self, pen: Painter) -> list[pygame.Rect]:
        """The boxes of the four positions."""
        left, top = self._box.left + pen.px(_PAD), self._box.top + pen.px(_PAD + 26)
        width = (self._box.width - pen.px(2 * _PAD)) // len(PLACES)
        return [pygame.Rect(left + place * width, top, width - pen.px(6), pen.px(22)) for place in range(len(PLACES))]

    def _row(self, index: int, pen: Painter) -> pygame.Rect:
        top = self._box.top + pen.px(_PAD + _HEAD + index * _ROW)
        return pygame.Rect(self._box.left + pen.px(_PAD), top, self._box.width - pen.px(2 * _PAD), pen.px(_ROW))

    def _draw_row(self, target: pygame.Surface, row: pygame.Rect, name: str, is_under: bool, pen: Painter) -> None:
        spec = PANELS[name]
        if is_under:
            pen.card(target, row, pen.theme.line, pen.theme.sky, radius=4)
        inner = row.inflate(-pen.px(12), 0)
        badge = pygame.Rect(inner.left, row.top, pen.px(_BADGE), row.height)
        if name in self._choice.names:
            pen.write(target, str(self._choice.names.index(name) + 1), badge, theme.TYPED)
        title = pygame.Rect(badge.right, row.top, pen.px(_TITLE), row.height)
        pen.write(
            target, spec.title, title, pen.lettering_that_fits(spec.title, title.width, (theme.KEY, theme.SMALL_TEXT))
        )
        meaning = pygame.Rect(title.right, row.top, inner.right - title.right, row.height)
        pen.write(target, spec.meaning, meaning, theme.LABEL)
