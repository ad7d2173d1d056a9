"""The banner: which part of the session failed and why, while the rest lives on. Without failures it has no height."""

from workbench.telemetry.view import Part
from workbench.window.toolkit import theme
from workbench.window.toolkit.arrangement import BANNER_ROWS_MAX
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.toolkit import pygame


def failed_parts(scene: Scene) -> list[Part]:
    """The parts that failed, in their order."""
    return [part for part in scene.view.parts if part.failure]


class Banner:
    """Draws one row a failure, and at the last row how many more there are."""

    def place(self, box: pygame.Rect, pen: Painter) -> None:
        """Take this box; see `Drawable`."""
        self._box, self._pen = box, pen
        self.forget()

    def forget(self) -> None:
        """Draw all of it next time."""
        self._drawn: list[Part] | None = None

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        """Draw what changed. Returns the rectangles that did."""
        parts = failed_parts(scene)
        if parts == self._drawn or not self._box.height:
            return []
        self._drawn = parts
        target.fill(theme.BACKGROUND, self._box)
        self._pen.card(target, self._box, theme.ALARM_SURFACE, theme.VERMILION)
        inner = self._box.inflate(-2 * self._pen.px(14), -2 * self._pen.px(6))
        shown = parts[:BANNER_ROWS_MAX]
        hidden = len(parts) - len(shown)
        height = inner.height // max(1, len(shown))
        for index, part in enumerate(shown):
            more = f"  (and {hidden} more)" if hidden and part is shown[-1] else ""
            row = pygame.Rect(inner.left, inner.top + index * height, inner.width, height)
            self._draw_row(target, part, more, row)
        return [self._box]

    def _draw_row(self, target: pygame.Surface, part: Part, more: str, row: pygame.Rect) -> None:
        name = self._pen.write(target, f"{part.name} failed", row, theme.ALARM_NAME)
        left = name.right + self._pen.px(14)
        note = self._pen.width(more, theme.ALARM)
        reason = pygame.Rect(left, row.top, row.right - left - note, row.height)
        written = self._pen.write(target, part.failure, reason, theme.ALARM)
        self._pen.write(target, more, pygame.Rect(written.right, row.top, note, row.height), theme.ALARM)
