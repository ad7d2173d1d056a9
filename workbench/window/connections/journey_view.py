"""Follow one placement: its journey as a time line, and how long the last fifty took, beside it.

It shows the newest journey that was seen, or the one whose bar was clicked. Invariant: a span's bar begins where the
one before ends, so that the eye adds up what the figures do.
"""

from collections.abc import Sequence

from workbench.telemetry.view import Journey
from workbench.window.readings.journey_line import (
    STEPS,
    Span,
    drawn_lengths,
    format_span,
    longest,
    newest_complete,
    spans_of,
    total_ns,
)
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.tool_bar import Pane
from workbench.window.toolkit.view import Drawable
from workbench.window.toolkit.wording import format_whole

HEIGHT = 196
LIVE = "newest"
CONNECTION = "connection"
SHOWN_MAX = 50
RENEW_NS = 250_000_000
"""A journey is looked at for longer than it takes: the newest comes four times a second."""
_ROW, _NAME, _TIME, _STRIP, _GAP, _FOOT = 17, 74, 62, 152, 16, 16

NOTICE = (
    "It is followed: one of its placements is sampled now and then, and its way shows here when a viewer has seen it."
)


class JourneyView(Drawable):
    """Draws the journeys of the followed connection."""

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
        """Show the newest journey again, and each that follows."""
        self._kept = None
        self.forget()

    def choose(self, position: tuple[int, int]) -> bool:
        """Keep the journey whose bar is under a point. False: none is."""
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
        """What happens in the span under a point, or how long the journey of the bar under it took."""
        for box, span in self._rows:
            if box.collidepoint(position):
                return f"{span.name}: {format_span(span.length_ns)}\n{span.meaning}"
        for box, journey in self._bars:
            took = total_ns(journey)
            if box.collidepoint(position) and took is not None:
                return f"pixel {journey.x}, {journey.y}: {format_span(took)} in all\nClick to keep it in view"
        return ""

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        """Draw it anew four times a second."""
        now_ns = scene.view.now_ns
        if self._drawn_ns is not None and (scene.paused or 0 <= now_ns - self._drawn_ns < RENEW_NS):
            return []
        if not scene.paused:
            self._journeys = list(scene.session.journeys())[-SHOWN_MAX:]
        self._drawn_ns = now_ns
        self.shown = self._kept or newest_complete(self._journeys)
        spans = spans_of(self.shown) if self.shown else []
        self.pane.draw(target, *self._title(spans), (CONNECTION, *((LIVE,) if self._kept else ())))
        inner, px = self.pane.inner, self._pen.px
        strip = pygame.Rect(inner.right - px(_STRIP), inner.top, px(_STRIP), inner.height)
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
        for index, text in enumerate(self._pen.wrapped(NOTICE, box.width, theme.NOTE, box.height // height)):
            row = pygame.Rect(box.left, box.top + index * height, box.width, height)
            self._pen.write(target, text, row, theme.NOTE)

    def _title(self, spans: Sequence[Span]) -> tuple[str, str]:
        name = "" if self.number is None else format_whole(self.number)
        if self.shown is None:
            return "no journey yet", f"connection {name}"
        whole = format_span(spans[-1].start_ns + spans[-1].length_ns) if spans else ""
        end = "until seen" if self.shown.seen_ns is not None else "so far"
        return f"{whole} {end}", f"connection {name} at {self.shown.x}, {self.shown.y}"

    def _draw_spans(self, target: pygame.Surface, box: pygame.Rect, spans: Sequence[Span]) -> None:
        """A row a span: its name, its bar where its turn was, its time."""
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
            text = f"\N{BULLET} {format_span(span.length_ns)}" if index == slowest else format_span(span.length_ns)
            time = pygame.Rect(row.right - pen.px(_TIME + 8), row.top, pen.px(_TIME + 8), row.height)
            pen.write(target, text, time, theme.STATUS, "right")
            left += length
        if spans:
            foot = pygame.Rect(line.left, box.top + len(STEPS) * pen.px(_ROW), line.width, pen.px(_FOOT))
            pen.write(target, "log scale", foot, theme.LABEL)

    def _draw_strip(self, target: pygame.Surface, box: pygame.Rect) -> None:
        """A bar for each of the last journeys that were seen, on a scale from 0; the one shown stands out."""
        pen = self._pen
        seen = [(journey, took) for journey in self._journeys if (took := total_ns(journey)) is not None]
        self._bars = []
        head = pygame.Rect(box.left, box.top, box.width, pen.px(_ROW))
        most = max((took for _, took in seen), default=0)
        pen.write(target, f"last {len(seen)}, to {format_span(most)}" if seen else "", head, theme.LABEL)
        room = pygame.Rect(box.left, head.bottom, box.width, box.bottom - head.bottom)
        width = max(1, room.width // SHOWN_MAX)
        for index, (journey, took) in enumerate(seen):
            height = max(2, round(room.height * took / max(1, most)))
            bar = pygame.Rect(room.left + index * width, room.bottom - height, max(1, width - (width > 2)), height)
            pygame.draw.rect(target, pen.theme.text if journey == self.shown else pen.theme.faint, bar)
            self._bars.append((pygame.Rect(bar.left, room.top, width, room.height), journey))
        pygame.draw.line(target, pen.theme.line, room.bottomleft, (room.right - 1, room.bottom))
