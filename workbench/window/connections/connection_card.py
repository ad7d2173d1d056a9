"""The card of one connection: token bucket, bytes, lag, and placements admitted and dropped.

It reads the row of the server's page, which the server keeps writing: without locks, a row may be half old, half new.
After the connection is gone the card says so, and keeps its last figures.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.ipc.page import newest_rows
from server.kernels.layout import Kind, Phase
from workbench.window.toolkit import ramp, theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.tool_bar import Pane
from workbench.window.toolkit.view import Drawable
from workbench.window.toolkit.wording import format_count, format_ms, format_whole

_PHASE_WORDS = {Phase.FREE: "gone", Phase.SLOW: "slow path", Phase.FAST: "fast path", Phase.DEAD: "closing"}


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """One connection as the page shows it. Counts are since it was opened; bytes are those on its socket."""

    number: int
    loop: int
    phase: str
    watches: bool
    cursor: int
    """The last tick whose changes were sent to it."""
    tokens: float
    """Available in its bucket."""
    outbox_bytes: int
    opened_ns: int
    received_count: int
    admitted_count: int
    throttled_count: int
    shed_count: int
    out_of_bounds_count: int
    received_bytes: int
    sent_bytes: int

    @property
    def dropped_count(self) -> int:
        """Placements not admitted, for any reason."""
        return self.throttled_count + self.shed_count + self.out_of_bounds_count


def tokens_left(full_ns: int, now_ns: int, rate_per_s: float, burst: int) -> float:
    """Tokens in a bucket that is full at `full_ns`: 0 to `burst`."""
    return float(min(max(burst - max(full_ns - now_ns, 0) * rate_per_s / 1e9, 0.0), burst))


def place_of(connections: NDArray[Any], number: int) -> tuple[int, int] | None:
    """Loop and slot of a connection; None when it is gone. `connections`: shape (loops, slots)."""
    # A free slot keeps the number of its last connection, or 0, which is a valid number.
    for loop, slot in np.argwhere(connections["number"] == number).tolist():
        if connections[loop, slot]["phase"] != Phase.FREE:
            return loop, slot
    return None


def first_number(connections: NDArray[Any]) -> int | None:
    """The number of the first connection on the fast path, which is followed by default; None if there is none."""
    flat = connections.reshape(-1)
    found = np.flatnonzero((flat["phase"] == Phase.FAST) & (flat["received_count"] > 0))
    return int(flat["number"][found[0]]) if len(found) else None


def read_row(
    connections: NDArray[Any], number: int, now_ns: int, rate_per_s: float, burst: int
) -> ConnectionRow | None:
    """The connection with this number; None when it is gone."""
    place = place_of(connections, number)
    if place is None:
        return None
    row = connections[place]
    counts = ("received_count", "admitted_count", "throttled_count", "shed_count", "out_of_bounds_count")
    found = ConnectionRow(
        number=number,
        loop=place[0],
        phase=_PHASE_WORDS[Phase(int(row["phase"]))],
        watches=bool(row["subscribed"]),
        cursor=int(row["cursor"]),
        tokens=tokens_left(int(row["full_ns"]), now_ns, rate_per_s, burst),
        # Two counters that the server moves apart: between two reads the difference may even be negative.
        outbox_bytes=int(row["outbox_end"]) - int(row["outbox_start"]),
        opened_ns=int(row["opened_ns"]),
        received_bytes=int(row["received_bytes"]),
        sent_bytes=int(row["sent_bytes"]),
        **{name: int(row[name]) for name in counts},
    )
    return found if row["number"] == number else None  # The slot may have been reused while it was read.


HEIGHT = 176
JOURNEYS = "journeys"
RENEW_NS = 100_000_000
SPAN_NS = 1_000_000_000
_ROW, _LABEL, _SWATCH, _MESSAGE_WIDTH = 18, 76, 10, 78
_WIDE_LINE = 2

MEANINGS = {
    "bucket": "Token bucket: each placement takes a token; it refills at the rate limit, up to the burst",
    "received": "Placements decoded from this connection: per second, and in total",
    "admitted": "Placements accepted (within bounds and rate limit): per second, and in total",
    "dropped": "Placements rejected: throttled by the rate limit, shed for overload, out of bounds",
    "lag": "Ticks between the newest broadcast and the last one sent to this connection",
    "outbox": "Bytes that wait in the server because the socket is full",
    "bytes in": "Bytes received from it",
    "bytes out": "Bytes written to its socket",
    "decoded": "The last placements decoded from it, newest first: colour, x and y",
}


class ConnectionCard(Drawable):
    """Draws the card of one connection, ten times per second."""

    def __init__(self) -> None:
        self.pane = Pane()
        self._number: int | None = None
        self._rows: deque[tuple[int, ConnectionRow]] = deque()
        self._first_message = 0
        self._cells: dict[str, pygame.Rect] = {}
        self.forget()

    def open(self, number: int, scene: Scene) -> None:
        """Show this connection from now on."""
        self._number = number
        self._rows.clear()
        # Messages before this belong to the connection that was traced before.
        self._first_message = int(scene.session.connections_page["message_head"][0])
        self.forget()

    def place(self, box: pygame.Rect, pen: Painter) -> None:
        self._pen = pen
        self.pane.place(box, pen)
        self.forget()

    def forget(self) -> None:
        self._drawn_ns: int | None = None

    def tip(self, position: tuple[int, int]) -> str:
        """The meaning of the figure at a point."""
        return next((MEANINGS[name] for name, box in self._cells.items() if box.collidepoint(position)), "")

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        now_ns = scene.view.now_ns
        if self._number is None or (self._drawn_ns is not None and 0 <= now_ns - self._drawn_ns < RENEW_NS):
            return []
        if scene.paused and self._drawn_ns is not None:
            return []
        self._drawn_ns = now_ns
        limit = scene.session.controls.scenario.server
        row = read_row(
            scene.session.connections_page["connections"], self._number, now_ns, limit.rate_per_s, limit.burst
        )
        # Of a connection that is gone the last row stays, so that its end can be read.
        if row is not None:
            self._keep(now_ns, row)
        self._draw_all(target, scene, is_gone=row is None, burst=limit.burst)
        return [self.pane.box]

    def _keep(self, now_ns: int, row: ConnectionRow) -> None:
        self._rows.append((now_ns, row))
        while len(self._rows) > 2 and now_ns - self._rows[1][0] >= SPAN_NS:
            self._rows.popleft()

    def _per_second(self, name: str) -> float | None:
        (first_ns, first), (last_ns, last) = self._rows[0], self._rows[-1]
        if last_ns <= first_ns:
            return None
        return float(max(0, getattr(last, name) - getattr(first, name)) * 1e9 / (last_ns - first_ns))

    def _draw_all(self, target: pygame.Surface, scene: Scene, *, is_gone: bool, burst: int) -> None:
        assert self._number is not None
        title = f"connection {format_whole(self._number)}"
        if not self._rows:
            self.pane.draw(target, title, "is gone")
            return
        now_ns, row = self._rows[-1]
        age = format_ms(max(0, now_ns - row.opened_ns) / 1e6)
        watching = "subscribed" if row.watches else "not subscribed"
        state = f"loop {row.loop}, {row.phase}, {watching}, open {age}"
        note = "is gone; these are its last figures" if is_gone else state
        self.pane.draw(target, title, note, (JOURNEYS,))
        inner, px = self.pane.inner, self._pen.px
        self._draw_bucket(target, pygame.Rect(inner.left, inner.top, inner.width, px(_ROW)), row.tokens, burst)
        half = inner.width // 2
        for (line, side), (name, text) in self._figures(row, scene).items():
            width = inner.width if line == _WIDE_LINE else half - px(6)
            box = pygame.Rect(inner.left + side * half, inner.top + line * px(_ROW), width, px(_ROW))
            self._cells[name] = box
            self._pen.write(target, name, pygame.Rect(box.left, box.top, px(_LABEL), box.height), theme.LABEL)
            left = box.left + px(_LABEL)
            value = pygame.Rect(left, box.top, box.right - left, box.height)
            self._pen.write(target, text, value, theme.STATUS)
        messages = pygame.Rect(inner.left, inner.top + px(5 * _ROW + 4), inner.width, px(2 * _ROW))
        self._draw_messages(target, scene, messages)

    def _figures(self, row: ConnectionRow, scene: Scene) -> dict[tuple[int, int], tuple[str, str]]:
        """(line, side) to (name, text); side 0 is left, 1 right."""
        # The row may be newer than the reading: a lag is never negative.
        lag = max(0, scene.view.reading.tick - row.cursor)

        def both(rate: str, count: int, unit: str) -> str:
            return f"{format_count(self._per_second(rate), unit)}  ({format_count(count)})"

        dropped = f"{format_count(self._per_second('dropped_count'), '/s')}  "
        dropped += f"({row.throttled_count:,} rate, {row.shed_count:,} load, {row.out_of_bounds_count:,} bounds)"
        return {
            (1, 0): ("received", both("received_count", row.received_count, "/s")),
            (1, 1): ("admitted", both("admitted_count", row.admitted_count, "/s")),
            (_WIDE_LINE, 0): ("dropped", dropped),
            (3, 0): ("lag", f"{lag:,} tick{'' if lag == 1 else 's'}" if row.watches else "not subscribed"),
            (3, 1): ("outbox", format_count(max(0, row.outbox_bytes), "B")),
            (4, 0): ("bytes in", both("received_bytes", row.received_bytes, "B/s")),
            (4, 1): ("bytes out", both("sent_bytes", row.sent_bytes, "B/s")),
        }

    def _draw_bucket(self, target: pygame.Surface, box: pygame.Rect, tokens: float, burst: int) -> None:
        pen = self._pen
        self._cells["bucket"] = box
        pen.write(target, "bucket", pygame.Rect(box.left, box.top, pen.px(_LABEL), box.height), theme.LABEL)
        text = f"{tokens:.0f} of {burst} tokens"
        value = pygame.Rect(box.right - pen.px(130), box.top, pen.px(130), box.height)
        pen.write(target, text, value, theme.STATUS, "right")
        left = box.left + pen.px(_LABEL)
        bar = pygame.Rect(left, box.centery - pen.px(4), value.left - left - pen.px(8), pen.px(8))
        pen.bar(target, bar, tokens / max(1, burst), pen.theme.sky if tokens >= 1 else pen.theme.orange)

    def _draw_messages(self, target: pygame.Surface, scene: Scene, box: pygame.Rect) -> None:
        """The last placements decoded from it, newest first, as many as fit."""
        pen, page = self._pen, scene.session.connections_page
        rows = newest_rows(page["messages"], page["message_head"], self._first_message)[::-1]
        self._cells["decoded"] = box
        pen.write(target, "decoded", pygame.Rect(box.left, box.top, pen.px(_LABEL), pen.px(_ROW)), theme.LABEL)
        room = pygame.Rect(box.left + pen.px(_LABEL), box.top, box.width - pen.px(_LABEL), box.height)
        width, height = pen.px(_MESSAGE_WIDTH), pen.px(_ROW)
        places = [
            pygame.Rect(room.left + column * width, room.top + line * height, width, height)
            for line in range(2)
            for column in range(max(1, room.width // width))
        ]
        # The ring also holds other kinds of messages, which have no colour.
        placements = rows[rows["kind"] == Kind.PLACE]
        for row, place in zip(placements, places, strict=False):
            swatch = pygame.Rect(place.left, place.centery - pen.px(_SWATCH) // 2, pen.px(_SWATCH), pen.px(_SWATCH))
            pygame.draw.rect(target, ramp.CANVAS_COLORS[int(row["color"])], swatch)
            pygame.draw.rect(target, pen.theme.faint, swatch, width=1)
            text = pygame.Rect(
                swatch.right + pen.px(5), place.top, place.right - swatch.right - pen.px(9), place.height
            )
            pen.write(target, f"{row['x']}, {row['y']}", text, theme.LABEL)
        if not len(placements):
            line = pygame.Rect(room.topleft, (room.width, height))
            pen.write(target, "nothing since this card was opened", line, theme.LABEL)
