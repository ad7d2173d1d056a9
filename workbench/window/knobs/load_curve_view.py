"""The load curve: what the offered load is multiplied by over the next minutes, drawn by hand.

The left edge is the current time and moves with the run. A stroke changes the curve only between its ends, except that
one drawn to the right edge applies from there on.
"""

from itertools import pairwise

from workbench.controls.controls import Controls
from workbench.scenarios.load_curve import factor_at
from workbench.window.knobs.widget import Look, Widget
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.wording import explain

SPAN_S = 120.0
# Factor at the upper edge. A scenario can have higher ones.
FACTOR_TOP = 4.0
_KEY_STEP_S, _KEY_STEP_FACTOR, _EDGE_S = 5.0, 0.25, 2.0
_AXIS = 16

Point = tuple[float, float]


def with_stroke(curve: tuple[Point, ...], stroke: list[Point], end_s: float) -> list[Point]:
    """The curve with a stroke laid over it. `end_s`: the time at the right edge."""
    first_s, last_s = min(point[0] for point in stroke), max(point[0] for point in stroke)
    # What the stroke covers is replaced; a step at each of its ends joins it to the rest.
    before = [point for point in curve if point[0] < first_s]
    after = [point for point in curve if point[0] > last_s]
    drawn = [(first_s, factor_at(curve, first_s)), *sorted(stroke, key=lambda point: point[0])]
    # A stroke that ends near the right edge was meant to go on.
    if last_s < end_s - _EDGE_S:
        drawn.append((last_s, factor_at(curve, last_s)))
        return [*before, *drawn, *after]
    return [*before, *drawn]


class LoadCurveView(Widget):
    """A small plot to draw in. Keys: left and right move a cursor, up and down draw at it, Delete clears the curve."""

    key = "load_curve"
    height = 88

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._base: tuple[Point, ...] = ()
        self._stroke: dict[int, Point] = {}
        self._cursor_s = 0.0
        self._seconds = 0.0

    def content(self, scene: Scene) -> object:
        # Time in steps of half a second: the plot moves slower than a pixel per redraw.
        return self._controls.load_curve, round(2 * scene.view.run_seconds), self._cursor_s

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter, look: Look) -> None:
        plot, now_s = self.plot(box, pen), scene.view.run_seconds
        pen.card(target, plot, pen.theme.background, pen.theme.faint if look.hovered else pen.theme.line, radius=3)
        for factor in (1.0, 2.0, 3.0):
            y = self._y(factor, plot)
            pygame.draw.line(target, pen.theme.line, (plot.left + 1, y), (plot.right - 2, y))
        points = self._points(now_s, plot)
        pygame.draw.lines(target, pen.theme.sky, False, points, width=pen.px(2))
        factor = factor_at(self._controls.load_curve, now_s)
        pen.dot(target, points[0], pen.theme.sky, 3)
        inner = pygame.Rect(plot.left + pen.px(6), plot.top + pen.px(2), plot.width - pen.px(12), pen.px(16))
        pen.write(target, f"x {factor:.2f}" if self._controls.load_curve else "x 1: draw here", inner, theme.SMALL)
        row = pygame.Rect(plot.left, plot.bottom, plot.width, pen.px(_AXIS))
        for text, align in (("now", "left"), ("+1 min", "center"), ("+2 min", "right")):
            pen.write(target, text, row, theme.SMALL, align)  # type: ignore[arg-type]
        if look.focused:
            x = plot.left + round(self._cursor_s / SPAN_S * (plot.width - 1))
            pygame.draw.line(target, pen.theme.sky, (x, plot.top), (x, plot.bottom - 1), width=pen.px(1))
            pen.ring(target, plot)

    def plot(self, box: pygame.Rect, pen: Painter) -> pygame.Rect:
        """Where the curve is drawn."""
        return pygame.Rect(box.left, box.top + pen.px(2), box.width, box.height - pen.px(_AXIS + 4))

    def press(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        # The curve at the press: each move lays the whole stroke over it again, not over its own earlier points.
        self._base, self._stroke = self._controls.load_curve, {}
        self.drag(at, box, scene, pen, now_ns)

    def drag(self, at: tuple[int, int], box: pygame.Rect, scene: Scene, pen: Painter, now_ns: int) -> None:
        plot = self.plot(box, pen)
        x = min(max(at[0], plot.left), plot.right - 1)
        point = self._point((x, at[1]), plot, scene.view.run_seconds)
        if self._stroke:
            self._interpolate(x, point)  # The mouse skips columns when it moves fast.
        self._stroke[x] = point
        self._last_x = x
        self._lay(list(self._stroke.values()), scene.view.run_seconds, now_ns)

    def release(self) -> None:
        self._stroke = {}

    def type(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        now_s = scene.view.run_seconds
        if event.key in (pygame.K_LEFT, pygame.K_RIGHT):
            step = _KEY_STEP_S if event.key == pygame.K_RIGHT else -_KEY_STEP_S
            self._cursor_s = min(max(self._cursor_s + step, 0.0), SPAN_S)
        elif event.key in (pygame.K_UP, pygame.K_DOWN):
            self._base = self._controls.load_curve
            start = now_s + self._cursor_s
            step = _KEY_STEP_FACTOR if event.key == pygame.K_UP else -_KEY_STEP_FACTOR
            # By keys a stroke is one step long, from the cursor on.
            factor = min(max(factor_at(self._base, start) + step, 0.0), FACTOR_TOP)
            self._lay([(start, factor), (start + _KEY_STEP_S, factor)], now_s, now_ns)
        elif event.key in (pygame.K_DELETE, pygame.K_BACKSPACE):
            self._controls.set_load_curve((), now_ns)
        else:
            return False
        return True

    def tip(self) -> str:
        return f"{explain('load curve')}\nBy keys: left and right move along, up and down draw, delete clears."

    def _lay(self, stroke: list[Point], now_s: float, now_ns: int) -> None:
        self._controls.set_load_curve(with_stroke(self._base, stroke, now_s + SPAN_S), now_ns)

    def _interpolate(self, x: int, point: Point) -> None:
        start, first = self._last_x, self._stroke[self._last_x]
        way = 1 if x > start else -1
        for column in range(start + way, x, way):
            share = (column - start) / (x - start)
            self._stroke[column] = tuple(a + share * (b - a) for a, b in zip(first, point, strict=True))  # type: ignore[assignment]

    def _point(self, at: tuple[int, int], plot: pygame.Rect, now_s: float) -> Point:
        seconds = now_s + (at[0] - plot.left) / max(1, plot.width - 1) * SPAN_S
        factor = (plot.bottom - 1 - at[1]) / max(1, plot.height - 1) * FACTOR_TOP
        return seconds, min(max(factor, 0.0), FACTOR_TOP)

    @staticmethod
    def _y(factor: float, plot: pygame.Rect) -> int:
        return plot.bottom - 1 - round(min(factor, FACTOR_TOP) / FACTOR_TOP * (plot.height - 1))

    def _points(self, now_s: float, plot: pygame.Rect) -> list[tuple[int, int]]:
        """The curve from now to the right edge, in pixels."""
        curve = self._controls.load_curve
        inside = [point for point in curve if now_s < point[0] < now_s + SPAN_S]
        ends = [(now_s, factor_at(curve, now_s)), *inside, (now_s + SPAN_S, factor_at(curve, now_s + SPAN_S))]
        width = plot.width - 1
        points = [(plot.left + round((s - now_s) / SPAN_S * width), self._y(factor, plot)) for s, factor in ends]
        # pygame draws no line of one point: a plot one pixel wide gets the same point twice.
        return points if any(a != b for a, b in pairwise(points)) else [points[0], points[0]]
