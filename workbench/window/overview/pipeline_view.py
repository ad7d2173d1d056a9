"""The pipeline strip: a card for each stage in processing order, and before each its queue as a bar.

It shows `View.stages` and `View.diagnosis`. Numbers change with the figures, bars with every view. Every
state has a mark of its own shape, not only a colour; a queue at its limit fills its bar. A queue without a limit is
scaled to the greatest depth it had.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from workbench.telemetry.view import StageReading
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import ENTER
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.theme import Color, Lettering
from workbench.window.toolkit.view import Drawable, Focusable
from workbench.window.toolkit.wording import (
    TERMS,
    explain,
    format_count,
    format_ms,
    format_ratio,
    format_us,
    format_whole,
)

_WIDTH, _LEFT, _LIMIT_WIDTH, _ARROW = 12, 4, 18, 5
# A queue without a limit is scaled to its greatest depth times this, and at least to a few items.
UNBOUNDED_MIN, UNBOUNDED_ROOM = 8.0, 1.25


# What is drawn: heights in pixels of the filling and of the high-water mark, whether there is a limit, and the colour.
_Shape = tuple[int, int, bool, Color]


class QueueBar:
    """The bar of one queue, in the gutter before its stage. It fills from below, with a line at the high-water mark."""

    def __init__(self, gutter: pygame.Rect) -> None:
        self._gutter = gutter
        self._drawn: _Shape | None = None
        self._deepest = UNBOUNDED_MIN

    def inside(self, pen: Painter) -> pygame.Rect:
        """The box that a full queue fills."""
        left = self._gutter.left + pen.px(_LEFT)
        top = self._gutter.top + pen.px(8)
        return pygame.Rect(left, top, pen.px(_WIDTH), self._gutter.height - pen.px(12))

    def draw(self, target: pygame.Surface, stage: StageReading, color: Color, pen: Painter) -> list[pygame.Rect]:
        """Draw what changed, filled with this colour. Returns the rectangles that changed."""
        inside = self.inside(pen)
        # Only grows: without a limit, a shrinking scale would make a draining queue look full.
        self._deepest = max(self._deepest, stage.depth_peak, stage.depth)
        limit = stage.depth_max or self._deepest * UNBOUNDED_ROOM
        filled, peak = (_height(depth / limit, inside.height) for depth in (stage.depth, stage.depth_peak))
        shape = (filled, peak, stage.depth_max > 0, color)
        # Compared in pixels, not in items: most changes of a depth are too small to see.
        if shape == self._drawn:
            return []
        self._drawn = shape
        target.fill(pen.theme.background, self._gutter)
        self._draw_shape(target, shape, inside, pen)
        return [self._gutter]

    def _draw_shape(self, target: pygame.Surface, shape: _Shape, inside: pygame.Rect, pen: Painter) -> None:
        (filled, peak, has_limit, color), line = shape, pen.px(2)
        target.fill(pen.theme.track, inside)
        target.fill(color, (inside.left, inside.bottom - filled, inside.width, filled))
        if peak > filled:
            target.fill(pen.theme.text, (inside.left, max(inside.top, inside.bottom - peak), inside.width, line))
        if has_limit:
            extra = (pen.px(_LIMIT_WIDTH) - inside.width) // 2
            target.fill(pen.theme.dim, (inside.left - extra, inside.top - line, inside.width + 2 * extra, line))
        x, y, size = self._gutter.right - pen.px(_ARROW + 1), inside.centery, pen.px(_ARROW)
        pygame.draw.polygon(target, pen.theme.dim, ((x, y - size), (x + size, y), (x, y + size)))


# Batch queues, which the tick fills and drains: being full is normal.
TICK_QUEUES = ("encode", "fan-out")


def queue_tip(stage: StageReading) -> str:
    """The tooltip of a queue: its depth, trend and high-water mark."""
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
    """Height of a filling in pixels; at least 1 if anything is queued."""
    pixels = round(min(1.0, max(0.0, ratio)) * height)
    return max(1, pixels) if ratio > 0 else 0


# From this utilisation on a stage is called busy: its waiting time begins to rise steeply.
BUSY_RATIO_MIN = 0.7
BOTTLENECK, BUSY, OK, UNKNOWN = "bottleneck", "busy", "ok", "unknown"

_GUTTER, _PAD, _NAME_ROW, _BAR_TOP, _BAR_HEIGHT, _ROWS_TOP, _ROW = 25, 7, 20, 27, 5, 36, 15
_MARK_WIDTH = 13
_ROW_TERMS = ("throughput", "service time", "waiting time", "drops", "brake")


@dataclass(frozen=True, slots=True)
class Card:
    """What one card shows."""

    stage: StageReading
    state: str
    selected: bool
    focused: bool


class PipelineView(Drawable, Focusable):
    """The strip. A click on a card selects its stage; the strip is one item for Tab, and arrows move between cards."""

    def __init__(self, on_select: Callable[[str], None]) -> None:
        self._on_select = on_select
        self.selected = ""
        """The stage whose brakes are shown."""
        self._focus: int | None = None
        self._stages: tuple[StageReading, ...] = ()
        self._reading: object = None

    def forget(self) -> None:
        self._cards: list[Card] = []
        self._queues: list[QueueBar] = []
        self._slots: list[tuple[pygame.Rect, pygame.Rect]] = []
        self._whole = True

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        # Numbers change with the reading, a few times per second; only the bars below follow every view.
        if scene.reading is not self._reading or len(self._stages) != len(scene.view.stages):
            self._stages, self._reading = scene.view.stages, scene.reading
        if self._whole or len(self._slots) != len(self._stages):
            return self._draw_whole(target, scene)
        dirty = []
        for index, card in enumerate(self._wanted(scene)):
            if card != self._cards[index]:
                self._cards[index] = card
                dirty.append(self._draw_card(target, card, self._slots[index][1]))
        for queue, stage in zip(self._queues, scene.view.stages, strict=True):
            dirty += self._draw_queue(target, queue, stage, scene)
        return dirty

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            index = self._index_at(event.pos)
            if index is not None:
                self._select(index)
            return index is not None
        if event.type == pygame.KEYDOWN and self._focus is not None:
            if event.key in ENTER:
                self._select(self._focus)
            elif event.key in (pygame.K_LEFT, pygame.K_RIGHT):
                step = 1 if event.key == pygame.K_RIGHT else -1
                self._focus = min(max(self._focus + step, 0), len(self._slots) - 1)
            else:
                return False
            return True
        return False

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        index = self._index_at(position)
        if index is None or index >= len(scene.view.stages):
            return ""
        stage, (_, card) = scene.view.stages[index], self._slots[index]
        if not card.collidepoint(position):
            return queue_tip(stage)
        row = (position[1] - card.top - self._pen.px(_ROWS_TOP)) // self._pen.px(_ROW)
        # Above the rows: the name and the utilisation.
        if row < 0:
            return f"{stage.name}: serves {stage.item_name}\n{explain('utilisation')}\nClick: show its brakes"
        term = _ROW_TERMS[min(row, len(_ROW_TERMS) - 1)]
        if term == "drops" and stage.drops_per_s:
            return f"{explain(term)}\n" + "\n".join(f"{name}: {format_count(n, '/s')}" for name, n in stage.drops_per_s)
        if term == "brake" and stage.brake:
            return f"{explain(term)}\nNow: {stage.brake}"
        return explain(term)

    def step_focus(self, step: int) -> bool:
        if self._focus is not None or not self._slots:
            self._focus = None
            return False
        self._focus = 0 if step > 0 else len(self._slots) - 1
        return True

    def drop_focus(self) -> None:
        """No card has the focus."""
        self._focus = None

    def _select(self, index: int) -> None:
        self.selected = self._stages[index].name
        self._on_select(self.selected)

    def _index_at(self, position: tuple[int, int]) -> int | None:
        found = (i for i, slot in enumerate(self._slots) if any(box.collidepoint(position) for box in slot))
        return next(found, None)

    def _wanted(self, scene: Scene) -> list[Card]:
        # From the view, not the reading: the mark moves as soon as the diagnosis changes.
        worst = scene.view.diagnosis.bottleneck
        return [
            Card(stage, state_of(stage, worst), stage.name == self.selected, index == self._focus)
            for index, stage in enumerate(self._stages)
        ]

    def _draw_whole(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        self._whole = False
        target.fill(self._pen.theme.background, self._box)
        # The journal is a stage only while there is one, so the number of cards may change during a run.
        self._slots = _slots(self._box, len(self._stages), self._pen.px(_GUTTER))
        self._queues = [QueueBar(gutter) for gutter, _ in self._slots]
        self._cards = self._wanted(scene)
        for queue, stage in zip(self._queues, scene.view.stages, strict=True):
            self._draw_queue(target, queue, stage, scene)
        for card, (_, box) in zip(self._cards, self._slots, strict=True):
            self._draw_card(target, card, box)
        if not self._slots:
            self._pen.write(target, "The pipeline appears here when the server runs.", self._box, theme.NOTE, "center")
        return [self._box]

    def _draw_queue(
        self, target: pygame.Surface, queue: QueueBar, stage: StageReading, scene: Scene
    ) -> list[pygame.Rect]:
        # A full tick queue is normal, so it is drawn fainter than others unless its stage is busy.
        state = state_of(stage, scene.view.diagnosis.bottleneck)
        is_well = self._pen.theme.faint if stage.name in TICK_QUEUES else self._pen.theme.sky
        color = _color_of(state, self._pen) if state in (BOTTLENECK, BUSY) else is_well
        return queue.draw(target, stage, color, self._pen)

    def _draw_card(self, target: pygame.Surface, card: Card, box: pygame.Rect) -> pygame.Rect:
        pen, stage = self._pen, card.stage
        color = _color_of(card.state, pen)
        target.fill(pen.theme.background, box)
        pen.card(target, box, pen.theme.raised if card.selected else pen.theme.surface, pen.theme.line)
        if card.state == BOTTLENECK or card.focused or card.selected:
            edge = pen.theme.sky if card.focused else pen.theme.vermilion if card.state == BOTTLENECK else pen.theme.dim
            pygame.draw.rect(target, edge, box, width=pen.px(2), border_radius=pen.px(6))
        inner = pygame.Rect(box.left + pen.px(_PAD), box.top + pen.px(5), box.width - 2 * pen.px(_PAD), 0)
        row = pygame.Rect(inner.topleft, (inner.width, pen.px(_NAME_ROW)))
        _draw_mark(target, card.state, (row.left + pen.px(4), row.centery), pen)
        ratio = theme.VALUE
        written = pen.write(target, format_ratio(stage.utilisation_ratio), row, ratio, "right")
        left = row.left + pen.px(_MARK_WIDTH)
        name = pygame.Rect(left, row.top, written.left - left - pen.px(3), row.height)
        letterings = (theme.CARD, theme.KEY, theme.SMALL_TEXT)
        pen.write(target, stage.name, name, pen.lettering_that_fits(stage.name, name.width, letterings))
        bar = pygame.Rect(inner.left, box.top + pen.px(_BAR_TOP), inner.width, pen.px(_BAR_HEIGHT))
        pen.bar(target, bar, stage.utilisation_ratio or 0.0, color)
        self._draw_rows(target, stage, inner, box.top + pen.px(_ROWS_TOP))
        return box

    def _draw_rows(self, target: pygame.Surface, stage: StageReading, inner: pygame.Rect, top: int) -> None:
        pen = self._pen
        row = pygame.Rect(inner.left, top, inner.width, pen.px(_ROW))
        waiting = f"{format_count(max(0.0, stage.depth))} waiting"
        # Either all cards have this label or none, whatever their numbers.
        has_room = pen.width("throughput 9.99 M/s", theme.VALUE) <= inner.width
        for labels, value in (
            (("throughput", "") if has_room else ("",), format_count(stage.throughput_per_s, "/s")),
            (("service", ""), format_us(stage.service_us)),
            ((waiting, "waiting", ""), format_ms(stage.waiting_ms)),
        ):
            taken = pen.write(target, value, row, theme.VALUE, "right")
            room = pygame.Rect(row.left, row.top, taken.left - row.left - pen.px(4), row.height)
            label = next(label for label in labels if pen.width(label, theme.SMALL) <= room.width or not label)
            pen.write(target, label, room, theme.SMALL)
            row = row.move(0, pen.px(_ROW))
        texts, lettering = drops_texts(stage)
        pen.write(target, pen.first_that_fits(texts, row.width, lettering), row, lettering)
        row = row.move(0, pen.px(_ROW))
        if stage.brake:
            _draw_brake(target, (row.left + pen.px(4), row.centery), pen)
            rest = pygame.Rect(row.left + pen.px(12), row.top, row.width - pen.px(12), row.height)
            text = pen.first_that_fits((f"brake {stage.brake}", stage.brake, "braked"), rest.width, theme.WARNING)
            pen.write(target, text, rest, theme.WARNING)


def state_of(stage: StageReading, bottleneck: str) -> str:
    """The state of a stage: bottleneck, busy, ok or unknown."""
    if stage.name == bottleneck:
        return BOTTLENECK
    if stage.utilisation_ratio is None:
        return UNKNOWN
    return BUSY if stage.utilisation_ratio >= BUSY_RATIO_MIN else OK


def drops_texts(stage: StageReading) -> tuple[tuple[str, ...], Lettering]:
    """What is dropped, from the longest wording to the shortest, and its lettering."""
    if not stage.drops_per_s:
        return ("no drops",), theme.SMALL
    (reason, rate), *others = sorted(stage.drops_per_s, key=lambda drop: -drop[1])
    total = format_count(sum(each for _, each in stage.drops_per_s), "/s")
    more = f", {len(others)} more" if others else ""
    return (f"{format_count(rate, '/s')} {reason}{more}", f"{total} dropped", total), theme.DROPS


def _color_of(state: str, pen: Painter) -> Color:
    return pen.theme.color({BOTTLENECK: "vermilion", BUSY: "orange", OK: "green"}.get(state, "faint"))


def _slots(box: pygame.Rect, count: int, gutter: int) -> list[tuple[pygame.Rect, pygame.Rect]]:
    """The gutter and the card of each stage, from left to right; they fill the box exactly."""
    # Rounded edges, not rounded widths: the cards fill the box without a rest.
    edges = [box.left + round(index * box.width / max(1, count)) for index in range(count + 1)]
    return [
        (
            pygame.Rect(left, box.top, gutter, box.height),
            pygame.Rect(left + gutter, box.top, right - left - gutter, box.height),
        )
        for left, right in pairwise(edges)
    ]


def _draw_mark(target: pygame.Surface, state: str, center: tuple[int, int], pen: Painter) -> None:
    """A disc for ok, a triangle for busy, a square for the bottleneck, a ring for unknown."""
    color, radius, (x, y) = _color_of(state, pen), pen.px(4), center
    if state == BOTTLENECK:
        pygame.draw.rect(target, color, (x - radius, y - radius, 2 * radius, 2 * radius))
    elif state == BUSY:
        pygame.draw.polygon(target, color, ((x, y - radius), (x + radius, y + radius), (x - radius, y + radius)))
    elif state == OK:
        pen.dot(target, center, color)
    else:
        pygame.draw.circle(target, color, center, radius, width=pen.px(1))


def _draw_brake(target: pygame.Surface, center: tuple[int, int], pen: Painter) -> None:
    """A brake: a bar against a disc."""
    x, y = center
    pygame.draw.rect(target, pen.theme.orange, (x - pen.px(4), y - pen.px(5), pen.px(2), pen.px(10)))
    pen.dot(target, (x + pen.px(2), y), pen.theme.orange, 3)
