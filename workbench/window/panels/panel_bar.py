"""The row under the panels: which are shown, how far they look back, and the way to the present again.

Invariant: while the panels do not show the present, it says so, and how long ago their right edge is.
"""

from collections.abc import Callable

from workbench.window.panels.panel_choice import SPANS_S, PanelChoice
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.tool_bar import Tool, ToolBar
from workbench.window.toolkit.view import Drawable, Focusable
from workbench.window.toolkit.wording import format_clock

_CHOOSE, _NOW, _GAP = "panels", "now", 10

_TOOLS = (Tool(_CHOOSE, "Choose which four panels are shown; so does a click on a panel's title. Key: V"),)
_CHOICES = (
    *(Tool(text, f"Show {text}. Keys: X and Shift X, or the wheel over the panels") for text in SPANS_S),
    Tool(_NOW, "Follow the present again. Key: N"),
)


class PanelBar(Drawable, Focusable):
    """Draws the row; all it does can be done by keys as well."""

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
        if dirty or said != self._drawn:
            self._drawn = said
            self._say(target, said)
            dirty = [self._box]
        return dirty

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """A click on one of the buttons."""
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
        """What a button does."""
        button = self._bar.button_at(position, with_swatches=False)
        return f"{button.name}\n{button.meaning}" if button else ""

    def step_focus(self, step: int) -> bool:
        """The panels above have the keyboard's focus, with keys for all of this."""
        return False

    def _say(self, target: pygame.Surface, text: str) -> None:
        left = self._bar.right + self._pen.px(_GAP)
        room = pygame.Rect(left, self._box.top, max(0, self._box.right - left), self._box.height)
        target.fill(self._pen.theme.background, room)
        # Where the bar is narrow the words are fewer, and never cut.
        texts = (f"not live: {text} ago", f"{text} ago") if text else ("",)
        self._pen.write(
            target, self._pen.first_that_fits(texts, room.width, theme.WARNING_LINK), room, theme.WARNING_LINK
        )


def _ago(end_ns: int, now_ns: int) -> str:
    return format_clock(max(0, now_ns - end_ns) * 1e-9)
