"""The pipeline strip: the stages as cards in their real order, and before each its queue as a bar that fills.

It draws what `View.stages` and `View.diagnosis` hold and judges nothing but how busy is busy. Numbers are renewed with
the figures, bars with every view. Invariant: every state has a mark of its own shape, never a colour alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from workbench.telemetry.view import StageReading
from workbench.window.overview.queue_bar import TICK_QUEUES, QueueBar, queue_tip
from workbench.window.toolkit import theme
from workbench.window.toolkit.figure import format_count, format_ms, format_ratio, format_us
from workbench.window.toolkit.glossary import explain
from workbench.window.toolkit.keys import ENTER
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.theme import Color, Lettering
from workbench.window.toolkit.toolkit import pygame

BUSY_RATIO_MIN = 0.7
"""From here on a stage is called busy: its waiting time begins to rise steeply."""
BOTTLENECK, BUSY, OK, UNKNOWN = "bottleneck", "busy", "ok", "unknown"

_GUTTER, _PAD, _NAME_ROW, _BAR_TOP, _BAR_HEIGHT, _ROWS_TOP, _ROW = 25, 7, 20, 27, 5, 36, 15
_MARK_WIDTH = 13
_ROW_TERMS = ("throughput", "service time", "waiting time", "drops", "brake")


@dataclass(frozen=True, slots=True)
class Card:
    """What one card says."""

    stage: StageReading
    state: str
    selected: bool
    focused: bool


class PipelineView:
    """Draws the strip; a click on a card selects its stage."""

    def __init__(self, on_select: Callable[[str], None]) -> None:
        self._on_select = on_select
        self.selected = ""
        """The stage whose brakes are at hand."""
        self._focus: int | None = None
        self._stages: tuple[StageReading, ...] = ()
        self._reading: object = None

    def place(self, box: pygame.Rect, pen: Painter) -> None:
        """Take this box; see `Drawable`."""
        self._box, self._pen = box, pen
        self.forget()

    def forget(self) -> None:
        """Draw all of it next time."""
        self._cards: list[Card] = []
        self._queues: list[QueueBar] = []
        self._slots: list[tuple[pygame.Rect, pygame.Rect]] = []
        self._whole = True

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        """Draw what changed. Returns the rectangles that did."""
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
        """A click or enter selects a stage; arrows move the focus."""
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
        """The term under the mouse, and what it is here."""
        index = self._index_at(position)
        if index is None or index >= len(scene.view.stages):
            return ""
        stage, (_, card) = scene.view.stages[index], self._slots[index]
        if not card.collidepoint(position):
            return queue_tip(stage)
        row = (position[1] - card.top - self._pen.px(_ROWS_TOP)) // self._pen.px(_ROW)
        if row < 0:
            return f"{stage.name}: serves {stage.item_name}\n{explain('utilisation')}\nClick: its brakes"
        term = _ROW_TERMS[min(row, len(_ROW_TERMS) - 1)]
        if term == "drops" and stage.drops_per_s:
            return f"{explain(term)}\n" + "\n".join(f"{name}: {format_count(n, '/s')}" for name, n in stage.drops_per_s)
        if term == "brake" and stage.brake:
            return f"{explain(term)}\nNow: {stage.brake}"
        return explain(term)

    def step_focus(self, step: int) -> bool:
        """The whole strip is one stop of the keyboard; arrows go from card to card."""
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
        worst = scene.view.diagnosis.bottleneck
        return [
            Card(stage, state_of(stage, worst), stage.name == self.selected, index == self._focus)
            for index, stage in enumerate(self._stages)
        ]

    def _draw_whole(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        self._whole = False
        target.fill(theme.BACKGROUND, self._box)
        self._slots = _slots(self._box, len(self._stages), self._pen.px(_GUTTER))
        self._queues = [QueueBar(gutter) for gutter, _ in self._slots]
        self._cards = self._wanted(scene)
        for queue, stage in zip(self._queues, scene.view.stages, strict=True):
            self._draw_queue(target, queue, stage, scene)
        for card, (_, box) in zip(self._cards, self._slots, strict=True):
            self._draw_card(target, card, box)
        if not self._slots:
            self._pen.write(target, "the server's stages show here once it runs", self._box, theme.NOTE, "center")
        return [self._box]

    def _draw_queue(
        self, target: pygame.Surface, queue: QueueBar, stage: StageReading, scene: Scene
    ) -> list[pygame.Rect]:
        state = state_of(stage, scene.view.diagnosis.bottleneck)
        is_well = theme.FAINT if stage.name in TICK_QUEUES else theme.SKY
        color = _color_of(state) if state in (BOTTLENECK, BUSY) else is_well
        return queue.draw(target, stage, color, self._pen)

    def _draw_card(self, target: pygame.Surface, card: Card, box: pygame.Rect) -> pygame.Rect:
        pen, stage = self._pen, card.stage
        color = _color_of(card.state)
        target.fill(theme.BACKGROUND, box)
        pen.card(target, box, theme.RAISED if card.selected else theme.SURFACE, theme.LINE)
        if card.state == BOTTLENECK or card.focused or card.selected:
            edge = theme.SKY if card.focused else theme.VERMILION if card.state == BOTTLENECK else theme.DIM
            pygame.draw.rect(target, edge, box, width=pen.px(2), border_radius=pen.px(6))
        inner = pygame.Rect(box.left + pen.px(_PAD), box.top + pen.px(5), box.width - 2 * pen.px(_PAD), 0)
        row = pygame.Rect(inner.topleft, (inner.width, pen.px(_NAME_ROW)))
        _draw_mark(target, card.state, (row.left + pen.px(4), row.centery), pen)
        ratio = Lettering(12, theme.TEXT, bold=True)
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
        # All cards have the label of the widest number, or none has.
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
    """bottleneck, busy, ok or unknown."""
    if stage.name == bottleneck:
        return BOTTLENECK
    if stage.utilisation_ratio is None:
        return UNKNOWN
    return BUSY if stage.utilisation_ratio >= BUSY_RATIO_MIN else OK


def drops_texts(stage: StageReading) -> tuple[tuple[str, ...], Lettering]:
    """What is dropped, from the longest way to say it to the shortest, and how it is written."""
    if not stage.drops_per_s:
        return ("no drops",), theme.SMALL
    (reason, rate), *others = sorted(stage.drops_per_s, key=lambda drop: -drop[1])
    total = format_count(sum(each for _, each in stage.drops_per_s), "/s")
    more = f", {len(others)} more" if others else ""
    return (f"{format_count(rate, '/s')} {reason}{more}", f"{total} dropped", total), theme.DROPS


def _color_of(state: str) -> Color:
    return {BOTTLENECK: theme.VERMILION, BUSY: theme.ORANGE, OK: theme.GREEN}.get(state, theme.FAINT)


def _slots(box: pygame.Rect, count: int, gutter: int) -> list[tuple[pygame.Rect, pygame.Rect]]:
    """The gutter and the card of each stage, from left to right, without a rest."""
    edges = [box.left + round(index * box.width / max(1, count)) for index in range(count + 1)]
    return [
        (
            pygame.Rect(left, box.top, gutter, box.height),
            pygame.Rect(left + gutter, box.top, right - left - gutter, box.height),
        )
        for left, right in pairwise(edges)
    ]


def _draw_mark(target: pygame.Surface, state: str, center: tuple[int, int], pen: Painter) -> None:
    """A disc for ok, a triangle for busy, a square for the bottleneck, a ring for what is not known."""
    color, radius, (x, y) = _color_of(state), pen.px(4), center
    if state == BOTTLENECK:
        pygame.draw.rect(target, color, (x - radius, y - radius, 2 * radius, 2 * radius))
    elif state == BUSY:
        pygame.draw.polygon(target, color, ((x, y - radius), (x + radius, y + radius), (x - radius, y + radius)))
    elif state == OK:
        pen.dot(target, center, color)
    else:
        pygame.draw.circle(target, color, center, radius, width=pen.px(1))


def _draw_brake(target: pygame.Surface, center: tuple[int, int], pen: Painter) -> None:
    """A shoe against a wheel: a bar and a disc."""
    x, y = center
    pygame.draw.rect(target, theme.ORANGE, (x - pen.px(4), y - pen.px(5), pen.px(2), pen.px(10)))
    pen.dot(target, (x + pen.px(2), y), theme.ORANGE, 3)
