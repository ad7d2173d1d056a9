"""Computes the boxes of all views. Rows are cut off the top and the bottom and the knobs off the right side; canvas and
panels share the rest.

Invariant: the boxes lie inside the window and do not overlap, whatever its size.
"""

from dataclasses import dataclass, fields

from workbench.window.toolkit.display import pygame

# Nothing is clipped from this size on. A smaller window shows the upper left part.
SIZE_MIN = (1280, 720)

_UNITS_WIDE, _UNITS_HIGH = 1920, 1080  # Twice this window size doubles the text size, and so on.
_MARGIN, _GAP = 16, 8
_HEADER, _STATUS, _HINTS, _BANNER_ROW = 54, 22, 26, 26
_BOTTLENECK, _PIPELINE = 32, 118
_PANEL_BAR, _PANEL_GAP = 24, 2
_PLAYBACK = 58
_KNOBS_SHARE, _KNOBS_MIN, _KNOBS_MAX, _KNOBS_FOLDED = 0.19, 244, 320, 26
BANNER_ROWS_MAX = 3
_CANVAS_SHARE_MIN, _CANVAS_SHARE_MAX = 0.35, 0.5
# Canvas pixels of equal size look best. Where that would fill less than this ratio, sizes differ by one pixel.
WHOLE_SCALE_FILL_MIN = 0.8


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Boxes in pixels for one window size."""

    size: tuple[int, int]
    scale: int
    """Pixels per unit: 1, or 2 from 3840 x 2160."""
    header: pygame.Rect
    banner: pygame.Rect
    """Zero height while nothing has failed."""
    bottleneck: pygame.Rect
    pipeline: pygame.Rect
    canvas: pygame.Rect
    panels: pygame.Rect
    panel_bar: pygame.Rect
    """Under the panels, level with the canvas's tools."""
    knobs: pygame.Rect
    """A narrow strip while folded."""
    playback: pygame.Rect
    """Zero height in a live session."""
    status: pygame.Rect
    hints: pygame.Rect


class _Remaining:
    """The part of the window that is not assigned yet."""

    def __init__(self, rect: pygame.Rect, scale: int) -> None:
        self.rect, self.scale = rect, scale

    def top(self, units: int) -> pygame.Rect:
        height = units * self.scale
        row = pygame.Rect(self.rect.left, self.rect.top, self.rect.width, height)
        self.rect = pygame.Rect(self.rect.left, row.bottom, self.rect.width, self.rect.height - height)
        return row

    def right(self, units: int) -> pygame.Rect:
        width = units * self.scale
        self.rect = pygame.Rect(self.rect.topleft, (self.rect.width - width, self.rect.height))
        return pygame.Rect(self.rect.right, self.rect.top, width, self.rect.height)

    def bottom(self, units: int) -> pygame.Rect:
        height = units * self.scale
        self.rect = pygame.Rect(self.rect.topleft, (self.rect.width, self.rect.height - height))
        return pygame.Rect(self.rect.left, self.rect.bottom, self.rect.width, height)


def scale_of(size: tuple[int, int]) -> int:
    """Pixels per unit in a window of this size."""
    return max(1, min(size[0] // _UNITS_WIDE, size[1] // _UNITS_HIGH))


def fit(canvas: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """The largest width and height for a canvas of `canvas` pixels in `room`, keeping its aspect ratio."""
    factor = min(room[0] / canvas[0], room[1] / canvas[1])
    # Below a factor of 1, int() is 0: a canvas larger than its box is always scaled to fit.
    if int(factor) >= WHOLE_SCALE_FILL_MIN * factor:
        factor = int(factor)
    return max(1, round(canvas[0] * factor)), max(1, round(canvas[1] * factor))


def arrange(
    size: tuple[int, int],
    canvas: tuple[int, int],
    failure_count: int,
    knobs_shown: bool = True,
    *,
    is_replay: bool = False,
) -> Arrangement:
    """The boxes for a window of `size` pixels. `canvas` is the canvas's width and height."""
    size = (max(size[0], SIZE_MIN[0]), max(size[1], SIZE_MIN[1]))
    # Whole scales only: letters and lines stay sharp, and boxes need no rounding.
    scale = scale_of(size)
    rest = _Remaining(pygame.Rect((0, 0), size), scale)
    header = rest.top(_HEADER)
    # The header spans the whole width; everything below it has margins.
    rest.rect = rest.rect.inflate(-2 * _MARGIN * scale, 0)
    rest.top(_GAP)
    # From the top down, then from the bottom up: canvas and panels get what remains between.
    rows = min(failure_count, BANNER_ROWS_MAX)
    banner = rest.top(rows * _BANNER_ROW + 12 if rows else 0)
    if rows:
        rest.top(_GAP)
    bottleneck = rest.top(_BOTTLENECK)
    rest.top(_GAP)
    pipeline = rest.top(_PIPELINE)
    rest.top(_GAP + 2)
    hints = rest.bottom(_HINTS)
    status = rest.bottom(_STATUS)
    rest.bottom(_GAP)
    playback = rest.bottom(_PLAYBACK if is_replay else 0)
    rest.bottom(_GAP if is_replay else 0)
    knobs = rest.right(_knobs_width(rest.rect.width // scale) if knobs_shown else _KNOBS_FOLDED)
    rest.right(_GAP + 4)
    canvas_box, panels = _share(rest.rect, canvas, (_GAP + 4) * scale)
    # The bar under the panels is level with the tools under the canvas.
    below = _Remaining(panels, scale)
    panel_bar = below.bottom(_PANEL_BAR)
    below.bottom(_PANEL_GAP)
    arrangement = Arrangement(
        size=size, scale=scale, header=header, banner=banner, bottleneck=bottleneck, pipeline=pipeline,
        canvas=canvas_box, panels=below.rect, panel_bar=panel_bar, knobs=knobs, playback=playback, status=status,
        hints=hints,
    )  # fmt: skip
    assert _is_disjoint(arrangement), arrangement
    return arrangement


def _is_disjoint(arrangement: Arrangement) -> bool:
    """Whether all boxes are inside the window and no two overlap. 11 boxes, computed only when the size changes."""
    boxes = [box for field in fields(Arrangement) if isinstance(box := getattr(arrangement, field.name), pygame.Rect)]
    window = pygame.Rect((0, 0), arrangement.size)
    # A box without height counts as outside for `contains`, and overlaps nothing.
    return all(window.contains(box) for box in boxes if box.height) and all(
        box.collidelist(boxes[:index]) < 0 for index, box in enumerate(boxes)
    )


def _knobs_width(units: int) -> int:
    """Width of the knobs' column in a body of `units` width, in units."""
    return min(_KNOBS_MAX, max(_KNOBS_MIN, round(units * _KNOBS_SHARE)))


def _share(body: pygame.Rect, canvas: tuple[int, int], gap: int) -> tuple[pygame.Rect, pygame.Rect]:
    """The canvas at the left, as wide as it is shown but at most half; the panels in the rest."""
    shown, _ = fit(canvas, (round(body.width * _CANVAS_SHARE_MAX), body.height))
    # A narrow canvas still gets this share: its tools and cards need the width.
    width = max(shown, round(body.width * _CANVAS_SHARE_MIN))
    box = pygame.Rect(body.left, body.top, width, body.height)
    return box, pygame.Rect(box.right + gap, body.top, body.right - box.right - gap, body.height)
