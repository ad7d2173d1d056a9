"""The queue before a stage, drawn as a bar that fills from below up to its limit, with its high-water mark.

How full it is, is told by height; its colour is that of the stage's state. Invariant: a queue at its limit fills the
bar wholly. One without a limit is drawn against the deepest it was.
"""

from dataclasses import dataclass

from workbench.telemetry.view import StageReading
from workbench.window.toolkit import theme
from workbench.window.toolkit.figure import format_count, format_ms, format_whole
from workbench.window.toolkit.glossary import TERMS
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.theme import Color
from workbench.window.toolkit.toolkit import pygame

_WIDTH, _LEFT, _LIMIT_WIDTH, _ARROW = 12, 4, 18, 5
UNBOUNDED_MIN, UNBOUNDED_ROOM = 8.0, 1.25
"""A queue without a limit is drawn against so much of the deepest it was, and never against less than a few items."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Heights in pixels, from the bottom of the inside."""

    filled: int
    peak: int
    has_limit: bool
    color: Color


class QueueBar:
    """One bar in its gutter."""

    def __init__(self, gutter: pygame.Rect) -> None:
        self._gutter = gutter
        self._drawn: _Shape | None = None
        self._deepest = UNBOUNDED_MIN

    def inside(self, pen: Painter) -> pygame.Rect:
        """What a full queue fills."""
        left = self._gutter.left + pen.px(_LEFT)
        top = self._gutter.top + pen.px(8)
        return pygame.Rect(left, top, pen.px(_WIDTH), self._gutter.height - pen.px(12))

    def draw(self, target: pygame.Surface, stage: StageReading, color: Color, pen: Painter) -> list[pygame.Rect]:
        """Draw what changed, the filling in this colour. Returns the rectangles that did."""
        inside = self.inside(pen)
        self._deepest = max(self._deepest, stage.depth_peak, stage.depth)
        limit = stage.depth_max or self._deepest * UNBOUNDED_ROOM
        shape = _Shape(
            _height(stage.depth / limit, inside.height),
            _height(stage.depth_peak / limit, inside.height),
            stage.depth_max > 0,
            color,
        )
        if shape == self._drawn:
            return []
        self._drawn = shape
        target.fill(theme.BACKGROUND, self._gutter)
        self._draw_shape(target, shape, inside, pen)
        return [self._gutter]

    def _draw_shape(self, target: pygame.Surface, shape: _Shape, inside: pygame.Rect, pen: Painter) -> None:
        target.fill(theme.TRACK, inside)
        target.fill(shape.color, (inside.left, inside.bottom - shape.filled, inside.width, shape.filled))
        line = pen.px(2)
        if shape.peak > shape.filled:
            top = max(inside.top, inside.bottom - shape.peak)
            target.fill(theme.TEXT, (inside.left, top, inside.width, line))
        if shape.has_limit:
            extra = (pen.px(_LIMIT_WIDTH) - inside.width) // 2
            target.fill(theme.DIM, (inside.left - extra, inside.top - line, inside.width + 2 * extra, line))
        x, y, size = self._gutter.right - pen.px(_ARROW + 1), inside.centery, pen.px(_ARROW)
        pygame.draw.polygon(target, theme.DIM, ((x, y - size), (x + size, y), (x, y + size)))


TICK_QUEUES = ("encode", "fan-out")
"""Queues that collect until the tick: it fills them whole, and they are empty after it. Full is not a fault there."""


def queue_tip(stage: StageReading) -> str:
    """What the queue before a stage holds, and what the marks of its bar mean."""
    limit = f" of {format_whole(stage.depth_max)}" if stage.depth_max else ""
    trend = "grows" if stage.growth_per_s > 0 else "shrinks"
    growth = f"\nIt {trend} by {format_count(abs(stage.growth_per_s), '/s')}." if abs(stage.growth_per_s) >= 1 else ""
    return (
        f"queue before {stage.name}: {format_count(max(0.0, stage.depth))}{limit} {stage.item_name}\n"
        f"High-water mark (line across): {format_whole(stage.depth_peak)}. Waiting: {format_ms(stage.waiting_ms)}."
        f"{growth}\n"
        f"{TERMS['tick queue' if stage.name in TICK_QUEUES else 'queue']}"
    )


def _height(ratio: float, height: int) -> int:
    """Pixels of a filling; something that is there shows at least one."""
    pixels = round(min(1.0, max(0.0, ratio)) * height)
    return max(1, pixels) if ratio > 0 else 0
