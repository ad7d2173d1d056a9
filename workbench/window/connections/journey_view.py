"""The journey of one placement as a timeline, and the durations of the last fifty journeys beside it.

It shows the newest complete journey, or the one whose bar was clicked. The spans follow each other without gaps, from
the intended send time to the last known mark, so their lengths add up to the whole.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from workbench.telemetry.view import Journey
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.tool_bar import Pane
from workbench.window.toolkit.view import Drawable
from workbench.window.toolkit.wording import format_us, format_whole

# The marks of a `Journey` in order: field, name, and what happens in the span that ends there.
STEPS: tuple[tuple[str, str, str], ...] = (
    ("sent_ns", "sent", "From the intended send time until its frame was written to the device's socket"),
    ("read_ns", "read", "In the kernel's socket buffers, until the server read it"),
    ("decoded_ns", "decoded", "Waiting in the arena, and decoding its frame"),
    ("admitted_ns", "admitted", "Until it was admitted: bounds and token bucket"),
    ("applied_ns", "applied", "Until it was written to the canvas"),
    ("encoded_ns", "encoded", "Waiting for the tick, and encoding the tick's changes"),
    ("journaled_ns", "journaled", "Until the tick's changes were on disk; they are sent only after that"),
    ("fanned_out_ns", "sent out", "Until the broadcast was written to the viewer's socket"),
    ("seen_ns", "seen", "Until the viewer had received and decoded it"),
)

# Shorter spans are all drawn with almost no length.
LEAST_NS = 1_000


@dataclass(frozen=True, slots=True)
class Span:
    """The time between two marks."""

    name: str
    meaning: str
    start_ns: int
    """Since the intended send time."""
    length_ns: int


def _duration(length_ns: int) -> str:
    return format_us(length_ns / 1000)


def spans_of(journey: Journey) -> list[Span]:
    """The spans up to the last known mark; unknown marks are skipped."""
    spans, at_ns = [], journey.intended_ns
    for field, name, meaning in STEPS:
        mark_ns = getattr(journey, field)
        if mark_ns is not None:
            # All processes read one clock, but a mark is taken a moment after its event: it may lie before the last.
            end_ns = max(at_ns, mark_ns)
            spans.append(Span(name, meaning, at_ns - journey.intended_ns, end_ns - at_ns))
            at_ns = end_ns
    return spans


def total_ns(journey: Journey) -> int | None:
    """From the intended send time to receipt by a viewer; None before that."""
    return None if journey.seen_ns is None else max(0, journey.seen_ns - journey.intended_ns)


def newest_complete(journeys: Sequence[Journey]) -> Journey | None:
    """The last complete journey, or else the last."""
    seen = [journey for journey in journeys if journey.seen_ns is not None]
    # An incomplete journey is shown only until the first complete one.
    candidates = seen or journeys
    return candidates[-1] if candidates else None


def drawn_lengths(spans: Sequence[Span], width: int) -> list[int]:
    """Pixels of each span, which add up to `width`, on a logarithmic scale: microseconds stay visible beside
    hundreds of milliseconds."""
    weights = [math.log10(1 + span.length_ns / LEAST_NS) for span in spans]
    total = sum(weights)
    edges, passed = [0], 0.0
    for weight in weights:
        passed += weight
        # Rounded edges: the lengths add up to the width exactly.
        edges.append(round(width * passed / total) if total else 0)
    return [after - before for before, after in pairwise(edges)]


def longest(spans: Sequence[Span]) -> int | None:
    """The index of the longest span; None if there are none."""
    return max(range(len(spans)), key=lambda index: spans[index].length_ns) if spans else None


HEIGHT = 196
LIVE = "newest"
CONNECTION = "connection"
SHOWN_MAX = 50
# The newest journey changes at most four times per second, so that it can be read.
RENEW_NS = 250_000_000
_ROW, _NAME, _TIME, _STRIP, _GAP, _FOOT = 17, 74, 62, 152, 16, 16

NOTICE = "Following: some of its placements are sampled; the journey of one shows here when a viewer has received it."


class JourneyView(Drawable):
    """Draws the journeys of the followed connection, four times per second."""

    def __init__(self) -> None:
        self.pane = Pane()
        self.number: int | None = None
        self.shown: Journey | None = None
        self._kept: Journey | None = None
        self._journeys: Sequence[Journey] = ()
        self._rows: list[tuple[pygame.Rect, Span]] = []
        self._bars: list[tuple[pygame.Rect, Journey]] = []
        self.forget()

    def open(self, number: int) -> None:
        """Show the journeys of this connection from now on."""
        self.number, self.shown, self._kept, self._journeys = number, None, None, ()
        self.forget()

    def follow_newest(self) -> None:
        """Follow the newest journey again."""
        self._kept = None
        self.forget()

    def choose(self, position: tuple[int, int]) -> bool:
        """Keep showing the journey whose bar is at a point. False if there is none."""
        found = next((journey for box, journey in self._bars if box.collidepoint(position)), None)
        if found is not None:
            self._kept = found
            self.forget()
        return found is not None

    def place(self, box: pygame.Rect, pen: Painter) -> None:
        self._pen = pen
        self.pane.place(box, pen)
        self.forget()

    def forget(self) -> None:
        self._drawn_ns: int | None = None

    def tip(self, position: tuple[int, int]) -> str:
        """The tooltip of the span or the bar at a point."""
        for box, span in self._rows:
            if box.collidepoint(position):
                return f"{span.name}: {_duration(span.length_ns)}\n{span.meaning}"
        for box, journey in self._bars:
            took = total_ns(journey)
            if box.collidepoint(position) and took is not None:
                return f"pixel {journey.x}, {journey.y}: {_duration(took)} in total\nClick to keep showing it"
        return ""

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        now_ns = scene.view.now_ns
        if self._drawn_ns is not None and (scene.paused or 0 <= now_ns - self._drawn_ns < RENEW_NS):
            return []
        # Paused, it shows the journeys of that moment; a click still selects among them.
        if not scene.paused:
            self._journeys = list(scene.session.journeys())[-SHOWN_MAX:]
        self._drawn_ns = now_ns
        self.shown = self._kept or newest_complete(self._journeys)
        spans = spans_of(self.shown) if self.shown else []
        self.pane.draw(target, *self._title(spans), (CONNECTION, *((LIVE,) if self._kept else ())))
        inner, px = self.pane.inner, self._pen.px
        strip = pygame.Rect(inner.right - px(_STRIP), inner.top, px(_STRIP), inner.height)
        # In a narrow card the timeline matters more than the bars.
        strip.width = min(strip.width, inner.width // 3)
        strip.right = inner.right
        if self.shown is None:
            self._draw_notice(target, inner)
            return [self.pane.box]
        self._draw_spans(target, pygame.Rect(inner.topleft, (strip.left - px(_GAP) - inner.left, inner.height)), spans)
        self._draw_strip(target, strip)
        return [self.pane.box]

    def _draw_notice(self, target: pygame.Surface, box: pygame.Rect) -> None:
        self._rows, self._bars, height = [], [], self._pen.line_height(theme.NOTE)
        rows = self._pen.wrapped(NOTICE, box.width, theme.NOTE, box.height // height)
        self._pen.write_rows(target, rows, box, theme.NOTE)

    def _title(self, spans: Sequence[Span]) -> tuple[str, str]:
        name = "" if self.number is None else format_whole(self.number)
        if self.shown is None:
            return "no journey yet", f"connection {name}"
        whole = _duration(spans[-1].start_ns + spans[-1].length_ns) if spans else ""
        end = "until received" if self.shown.seen_ns is not None else "so far"
        return f"{whole} {end}", f"connection {name} at {self.shown.x}, {self.shown.y}"

    def _draw_spans(self, target: pygame.Surface, box: pygame.Rect, spans: Sequence[Span]) -> None:
        """One row per span: name, bar and duration."""
        pen, slowest = self._pen, longest(spans)
        self._rows = []
        line = pygame.Rect(box.left + pen.px(_NAME), box.top, box.width - pen.px(_NAME + _TIME + 8), box.height)
        left = line.left
        for index, (span, length) in enumerate(zip(spans, drawn_lengths(spans, line.width), strict=True)):
            row = pygame.Rect(box.left, box.top + index * pen.px(_ROW), box.width, pen.px(_ROW))
            self._rows.append((row, span))
            color = pen.theme.orange if index == slowest else pen.theme.sky
            pen.write(target, span.name, pygame.Rect(row.left, row.top, pen.px(_NAME), row.height), theme.LABEL)
            pygame.draw.line(target, pen.theme.line, (line.left, row.centery), (line.right - 1, row.centery))
            bar = pygame.Rect(left, row.top + pen.px(3), max(2, length), row.height - pen.px(6))
            pygame.draw.rect(target, color, bar, border_radius=pen.px(2))
            text = f"\N{BULLET} {_duration(span.length_ns)}" if index == slowest else _duration(span.length_ns)
            time = pygame.Rect(row.right - pen.px(_TIME + 8), row.top, pen.px(_TIME + 8), row.height)
            pen.write(target, text, time, theme.STATUS, "right")
            left += length
        if spans:
            foot = pygame.Rect(line.left, box.top + len(STEPS) * pen.px(_ROW), line.width, pen.px(_FOOT))
            pen.write(target, "log scale", foot, theme.LABEL)

    def _draw_strip(self, target: pygame.Surface, box: pygame.Rect) -> None:
        """One bar for each of the last complete journeys; the one shown is highlighted."""
        pen = self._pen
        seen = [(journey, took) for journey in self._journeys if (took := total_ns(journey)) is not None]
        self._bars = []
        head = pygame.Rect(box.left, box.top, box.width, pen.px(_ROW))
        most = max((took for _, took in seen), default=0)
        pen.write(target, f"last {len(seen)}, to {_duration(most)}" if seen else "", head, theme.LABEL)
        room = pygame.Rect(box.left, head.bottom, box.width, box.bottom - head.bottom)
        width = max(1, room.width // SHOWN_MAX)
        for index, (journey, took) in enumerate(seen):
            height = max(2, round(room.height * took / max(1, most)))
            bar = pygame.Rect(room.left + index * width, room.bottom - height, max(1, width - (width > 2)), height)
            pygame.draw.rect(target, pen.theme.text if journey == self.shown else pen.theme.faint, bar)
            # The whole column reacts to a click: short bars would be hard to hit.
            self._bars.append((pygame.Rect(bar.left, room.top, width, room.height), journey))
        pygame.draw.line(target, pen.theme.line, room.bottomleft, (room.right - 1, room.bottom))
