"""The card about the pixel or connection under the mouse: a pixel and who painted it, or a connection and its state.

Unlike a tooltip it appears at once; it disappears when the mouse rests or leaves.
"""

from dataclasses import dataclass

from server.palette import hex_colors
from workbench.window.connections.connection_card import read_row
from workbench.window.shell.canvas_area import CanvasArea
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.tool_bar import color_text
from workbench.window.toolkit.view import Overlay
from workbench.window.toolkit.wording import format_whole

_HEX = hex_colors()
_OFFSET, _ROW, _PAD, _SWATCH = 16, 19, 6, 30


@dataclass(frozen=True, slots=True)
class _Content:
    position: tuple[int, int]
    lines: tuple[str, ...]
    color: int | None
    """Palette index of the swatch; None: no swatch."""
    bucket_ratio: float | None
    """Fill of the painting connection's token bucket, 0..1."""


class Hover(Overlay):
    """A small card beside the mouse, over canvas and map only."""

    SHOWN_NS = 5_000_000_000
    """The card disappears after the mouse has rested this long."""

    def __init__(self, area: CanvasArea) -> None:
        self._area = area
        self._position: tuple[int, int] | None = None
        self._until_ns = 0
        self._content: _Content | None = None

    def move(self, position: tuple[int, int] | None, now_ns: int) -> None:
        """The mouse is at this position; None: it left the window."""
        self._position, self._until_ns = position, now_ns + self.SHOWN_NS

    def advance(self, now_ns: int) -> None:
        """Hide the card when its time is over."""
        if now_ns >= self._until_ns:
            self._position = None

    def content(self, scene: Scene) -> _Content | None:
        # The shared pages change at any time: `box` and `draw` use what was read here, and do not read again.
        self._content = self._look(scene)
        return self._content

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """Right below the mouse, or on the other side where there is no room."""
        content = self._content
        assert content is not None
        width = max(pen.width(line, theme.BODY) for line in content.lines)
        indent = pen.px(_SWATCH + 20) if content.color is not None else pen.px(10)
        height = len(content.lines) * pen.px(_ROW) + pen.px(2 * _PAD)
        height += pen.px(10) if content.bucket_ratio is not None else 0
        box = pygame.Rect(0, 0, width + indent + pen.px(12), max(height, pen.px(50)))
        offset, (x, y) = pen.px(_OFFSET), content.position
        box.topleft = (x + offset, y + offset)
        # On the other side of the mouse, not only moved: the card must not cover what it describes.
        if box.right > screen.right:
            box.right = x - offset
        if box.bottom > screen.bottom:
            box.bottom = y - offset
        return box.clamp(screen)

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        content = self._content
        assert content is not None
        pen.card(target, box, pen.theme.raised, pen.theme.line)
        left = box.left + pen.px(10)
        if content.color is not None:
            swatch = pygame.Rect(left, box.top + pen.px(10), pen.px(_SWATCH), pen.px(_SWATCH))
            pygame.draw.rect(target, pygame.Color(_HEX[content.color]), swatch, border_radius=pen.px(3))
            pygame.draw.rect(target, pen.theme.faint, swatch, width=pen.scale, border_radius=pen.px(3))
            left = swatch.right + pen.px(10)
        row = pygame.Rect(left, box.top + pen.px(_PAD), box.right - left - pen.px(6), pen.px(_ROW))
        for index, line in enumerate(content.lines):
            pen.write(target, line, row, theme.BODY if index == 0 else theme.LABEL)
            row.top += pen.px(_ROW)
        if content.bucket_ratio is not None:
            bar = pygame.Rect(left, row.top + pen.px(1), box.right - left - pen.px(12), pen.px(6))
            pen.bar(target, bar, content.bucket_ratio, pen.theme.sky)

    def _look(self, scene: Scene) -> _Content | None:
        position = self._position
        if position is None or scene.loading or not self._area.room.collidepoint(position):
            return None
        if self._area.shows_connections:
            lines = self._area.connections.describe(position)
            return _Content(position, tuple(lines), None, None) if lines else None
        pixel = self._area.canvas.pixel_at(position)
        # During a drag the card would cover the tiles that are being selected.
        if pixel is None or self._area.mouse.drawn:
            return None
        return _of_pixel(position, *pixel, scene)


def _of_pixel(position: tuple[int, int], x: int, y: int, scene: Scene) -> _Content:
    """A pixel's position, colour and age, and the counters of the connection that painted it."""
    color, page = int(scene.pixels[y, x]), scene.session.canvas_page
    lines = [f"x {x}  y {y}", color_text(color)]
    changed = int(page["pixel_tick"][y, x])
    if changed:
        age = max(0, scene.view.reading.tick - changed)
        lines.append("changed just now" if age == 0 else f"changed {age:,} tick{'s' if age > 1 else ''} ago")
    painter = int(page["pixel_painter"][y, x]) - 1
    if painter < 0:
        return _Content(position, tuple(lines), color, None)
    limit = scene.session.controls.scenario.server
    row = read_row(
        scene.session.connections_page["connections"], painter, scene.view.now_ns, limit.rate_per_s, limit.burst
    )
    if row is None:
        lines.append(f"by connection {format_whole(painter)}, now closed")
        return _Content(position, tuple(lines), color, None)
    lines += [
        f"by connection {format_whole(painter)}: J traces it",
        f"received {row.received_count:,}  admitted {row.admitted_count:,}",
        f"throttled {row.throttled_count:,}  bucket {row.tokens:.0f} of {limit.burst}",
    ]
    return _Content(position, tuple(lines), color, row.tokens / max(1, limit.burst))
