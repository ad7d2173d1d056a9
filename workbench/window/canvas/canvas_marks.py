"""What is drawn on top of the canvas: the frame of the brushed tiles, the map of a zoomed canvas, the legend.

All are functions without state. Nothing is drawn outside the canvas's box.
"""

import numpy as np

from server.wire import TILE_SIDE
from workbench.telemetry.view import TileBox
from workbench.window.canvas.layers import Layer, sampled
from workbench.window.canvas.viewport import Viewport
from workbench.window.toolkit import ramp, theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene

_MAP_SIDE, _MARGIN, _CROSS, _BAR = 112, 8, 18, 8
_LEGEND_WIDTH_MIN, _LEGEND_PAD = 150, 9


def frame_of(tiles: TileBox, viewport: Viewport) -> pygame.Rect:
    """These tiles in the window, clipped to the canvas; visible or not."""
    width, height = viewport.size
    x1, y1 = min(tiles.x1 * TILE_SIDE, width), min(tiles.y1 * TILE_SIDE, height)
    return viewport.rect_of(tiles.x0 * TILE_SIDE, tiles.y0 * TILE_SIDE, x1, y1)


def cross_of(tiles: TileBox, viewport: Viewport, pen: Painter) -> pygame.Rect:
    """The close button of the frame: in its upper right corner, always visible."""
    frame, side = frame_of(tiles, viewport), pen.px(_CROSS)
    box = pygame.Rect(frame.right - side, frame.top, side, side)
    return box.clamp(viewport.room)


def draw_frame(target: pygame.Surface, tiles: TileBox, viewport: Viewport, pen: Painter, *, with_cross: bool) -> None:
    """A frame around the brushed tiles. The rest is not dimmed, so that colours can be compared."""
    frame = frame_of(tiles, viewport)
    # Two frames, dark and light: one of them is visible on every colour of the canvas.
    pygame.draw.rect(target, pen.theme.background, frame.inflate(pen.px(2), pen.px(2)), width=pen.px(3))
    pygame.draw.rect(target, pen.theme.sky, frame, width=pen.px(2))
    if with_cross:
        cross = cross_of(tiles, viewport, pen)
        pen.card(target, cross, pen.theme.raised, pen.theme.sky, radius=3)
        arm = cross.inflate(-pen.px(10), -pen.px(10))
        pygame.draw.line(target, pen.theme.text, arm.topleft, arm.bottomright, pen.px(2))
        pygame.draw.line(target, pen.theme.text, arm.bottomleft, arm.topright, pen.px(2))


def map_box(viewport: Viewport, pen: Painter) -> pygame.Rect:
    """The box of the map of a zoomed canvas: in the upper right corner, in the shape of the canvas."""
    width, height = viewport.size
    # At most a third of the box, or the map would cover what it is a map of.
    side = min(pen.px(_MAP_SIDE), viewport.room.width // 3, viewport.room.height // 3)
    factor = side / max(width, height)
    box = pygame.Rect(0, 0, max(4, round(width * factor)), max(4, round(height * factor)))
    box.topright = (viewport.room.right - pen.px(_MARGIN), viewport.room.top + pen.px(_MARGIN))
    return box


def draw_map(target: pygame.Surface, scene: Scene, viewport: Viewport, pen: Painter) -> None:
    """The whole canvas, small, with a frame around the visible part."""
    box = map_box(viewport, pen)
    columns, rows = Viewport(viewport.size, box).samplings()
    picture = pygame.Surface((len(columns.shown), len(rows.shown)), depth=8)
    picture.set_palette(ramp.CANVAS_COLORS)
    shown = pygame.surfarray.pixels2d(picture).T
    shown[...] = sampled(scene.pixels, columns, rows).take(columns.shown, axis=1).take(rows.shown, axis=0)
    del shown  # It keeps the surface locked, which `blit` refuses.
    pygame.draw.rect(target, pen.theme.raised, box.inflate(pen.px(6), pen.px(6)))
    target.blit(picture, picture.get_rect(center=box.center))
    left, top, width, height = viewport.seen
    across, down = box.width / viewport.size[0], box.height / viewport.size[1]
    seen = pygame.Rect(box.left + round(left * across), box.top + round(top * down), 0, 0)
    seen.size = (max(3, round(width * across)), max(3, round(height * down)))
    pygame.draw.rect(target, pen.theme.background, seen.inflate(2, 2), width=1)
    pygame.draw.rect(target, pen.theme.text, seen, width=pen.scale)
    size = f"{viewport.scale:g} x" if viewport.scale >= 1 else f"1/{round(1 / viewport.scale)} x"
    text = f"{size}, 0 fits"
    label = pygame.Rect(0, 0, pen.width(text, theme.LABEL) + pen.px(10), pen.px(18))
    label.topright = (box.right + pen.px(3), box.bottom + pen.px(3))
    target.fill(pen.theme.raised, label)
    pen.write(target, text, label, theme.LABEL, "center")


def legend_box(layer: Layer, room: pygame.Rect, pen: Painter) -> pygame.Rect:
    """The box of the legend: in the lower left corner; empty for a layer without one."""
    legend = layer.legend()
    if legend is None:
        return pygame.Rect(room.bottomleft, (0, 0))
    rows = 1 + bool(legend.most) * 2 + bool(legend.nothing)
    height = pen.px(2 * _LEGEND_PAD + 16 * rows - 4 * bool(legend.most))
    width = max(pen.px(_LEGEND_WIDTH_MIN), pen.width(legend.title, theme.BODY) + 2 * pen.px(_LEGEND_PAD) + 1)
    box = pygame.Rect(0, 0, min(width, room.width - 2 * pen.px(_MARGIN)), height)
    box.bottomleft = (room.left + pen.px(_MARGIN), room.bottom - pen.px(_MARGIN))
    return box


def draw_legend(target: pygame.Surface, layer: Layer, room: pygame.Rect, pen: Painter) -> None:
    """The title of the layer, its scale with both ends, and the colour for no value."""
    legend = layer.legend()
    if legend is None:
        return
    box = legend_box(layer, room, pen)
    pen.card(target, box, pen.theme.raised, pen.theme.line)
    row_height = pen.px(16)
    row = pygame.Rect(box.left + pen.px(_LEGEND_PAD), box.top + pen.px(_LEGEND_PAD - 2), 0, row_height)
    row.width = box.width - 2 * pen.px(_LEGEND_PAD)
    pen.write(target, legend.title, row, theme.BODY)
    row.top += row_height
    if legend.most:
        draw_scale(target, pygame.Rect(row.left, row.top + pen.px(3), row.width, pen.px(_BAR)), layer.colors)
        row.top += pen.px(12)
        pen.write(target, legend.least, row, theme.LABEL)
        pen.write(target, legend.most, row, theme.LABEL, "right")
        row.top += row_height
    if legend.nothing:
        swatch = pygame.Rect(row.left, row.centery - pen.px(4), pen.px(12), pen.px(_BAR))
        pygame.draw.rect(target, layer.colors[ramp.LEVEL_NONE], swatch)
        pygame.draw.rect(target, pen.theme.faint, swatch, width=1)
        left = swatch.right + pen.px(6)
        pen.write(target, legend.nothing, pygame.Rect(left, row.top, row.right - left, row_height), theme.LABEL)


def draw_scale(target: pygame.Surface, bar: pygame.Rect, colors: list[theme.Color]) -> None:
    """The colour ramp, from least to most."""
    # A line per column: the bar may be wider or narrower than the ramp has levels.
    steps = np.linspace(ramp.LEVEL_LEAST, ramp.LEVEL_MOST, max(2, bar.width)).round().astype(int).tolist()
    for column, level in enumerate(steps):
        pygame.draw.line(target, colors[level], (bar.left + column, bar.top), (bar.left + column, bar.bottom - 1))


def draw_pixel_mark(target: pygame.Surface, x: int, y: int, viewport: Viewport, pen: Painter) -> None:
    """A ring around one pixel."""
    pixel = viewport.rect_of(x, y, x + 1, y + 1)
    if viewport.area.collidepoint(pixel.center):
        radius = max(pen.px(6), pixel.width)
        pygame.draw.circle(target, pen.theme.background, pixel.center, radius + pen.scale, width=pen.px(3))
        pygame.draw.circle(target, pen.theme.text, pixel.center, radius, width=pen.scale)
