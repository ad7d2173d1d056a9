"""The loading card: what each process is doing until there is something to see, over the place of the canvas."""

from workbench.telemetry.view import Part, Reading
from workbench.window.toolkit import theme
from workbench.window.toolkit.figure import format_whole
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.toolkit import pygame

_WIDTH, _ROW, _MARGIN, _TITLE_ROW = 500, 48, 20, 44


def sentence(part: Part, reading: Reading) -> str:
    """What a part is doing, in words: `compiling kernels 7 of 19, once per machine`."""
    if part.failure:
        return "failed"
    if part.progress and part.progress.done < part.progress.total:
        steps = f"{format_whole(part.progress.done)} of {format_whole(part.progress.total)}"
        if part.state == "compiling":
            return f"compiling kernels {steps}, once per machine"
        return (
            f"{part.state} {steps}"
            if part.progress.what == part.state
            else f"{part.state}: {part.progress.what}, {steps}"
        )
    if part.state == "connecting" and reading.connection_target:
        done, target = format_whole(reading.connection_count or 0), format_whole(reading.connection_target)
        return f"connecting {done} of {target}"
    return part.state


def ratio(part: Part, reading: Reading) -> float:
    """How far a part is, 0..1."""
    if part.state in ("running", "draining", "stopped"):
        return 1.0
    if part.progress and part.progress.total:
        return part.progress.done / part.progress.total
    if part.state == "connecting" and reading.connection_target:
        return (reading.connection_count or 0) / reading.connection_target
    return 0.0


class Loading:
    """A card with a row and a calm bar for each process."""

    def __init__(self) -> None:
        self.canvas = pygame.Rect(0, 0, 0, 0)

    def content(self, scene: Scene) -> object:
        """What each part is doing, or None once there is something to see; see `Overlay`."""
        if not scene.loading:
            return None
        reading = scene.view.reading
        rows = tuple((part.name, sentence(part, reading), ratio(part, reading)) for part in scene.view.parts)
        return rows, self.canvas.topleft

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """In the middle of the canvas's place."""
        height = _TITLE_ROW + len(scene.view.parts) * _ROW + 2 * _MARGIN - 10
        box = pygame.Rect(0, 0, pen.px(_WIDTH), pen.px(height))
        box.center = self.canvas.center
        return box.clamp(screen.inflate(-2 * pen.px(_MARGIN), 0))

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        """Draw all of it."""
        pen.card(target, box, theme.RAISED, theme.LINE, radius=10)
        inner = box.inflate(-2 * pen.px(_MARGIN), -2 * pen.px(_MARGIN))
        title = pygame.Rect(inner.left, inner.top, inner.width, pen.px(_TITLE_ROW - 18))
        name = scene.view.scenario_name
        pen.write(target, f"{name} did not start" if scene.view.failures else f"Starting {name}", title, theme.TITLE)
        for index, part in enumerate(scene.view.parts):
            top = inner.top + pen.px(_TITLE_ROW + index * _ROW)
            row = pygame.Rect(inner.left, top, inner.width, pen.px(_ROW))
            self._draw_row(target, row, part, scene.view.reading, pen)

    @staticmethod
    def _draw_row(target: pygame.Surface, row: pygame.Rect, part: Part, reading: Reading, pen: Painter) -> None:
        line = pygame.Rect(row.left, row.top, row.width, pen.px(22))
        color = theme.VERMILION if part.failure else theme.STATE_COLORS.get(part.state, theme.FAINT)
        name = pen.write(target, f"{part.name}:", line, theme.BODY)
        left = name.right + pen.px(6)
        words = pygame.Rect(left, line.top, line.right - left, line.height)
        pen.write(target, sentence(part, reading), words, theme.NOTE)
        pen.bar(
            target, pygame.Rect(row.left, line.bottom + pen.px(4), row.width, pen.px(4)), ratio(part, reading), color
        )
