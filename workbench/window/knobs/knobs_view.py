"""The column of knobs, brakes and faults: lays out and draws the rows of `knobs_column`, and passes events to them.

Each widget belongs to a zone: head, body or foot. It is drawn only inside its zone, and can be pressed only there, so
that what is scrolled out of the body neither shows nor reacts.
"""

from dataclasses import dataclass

from workbench.scenarios.scenario import Scenario
from workbench.window.knobs.knobs_column import BRAKES_CAPTION, Callbacks, KnobsColumn, Row
from workbench.window.knobs.widget import Caption, Look, Widget
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import ENTER
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.view import Drawable, Focusable

_PAD, _ROW_GAP, _BESIDE, _BAR_WIDTH, _SCROLL_STEP = 12, 4, 6, 3, 40
HEAD, BODY, FOOT = range(3)


@dataclass(slots=True)
class _Placed:
    """A widget, its zone, and its box before scrolling."""

    widget: Widget
    zone: int
    box: pygame.Rect


class KnobsView(Drawable, Focusable):
    """The column. Collapsed, it is a narrow strip that a click expands."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self.folded = False
        self._column: KnobsColumn | None = None
        self._focus = self._held = self._hovered = ""
        self._scroll = 0
        self._placed: list[_Placed] = []
        # Whether there were events since the last draw.
        self._touched = True
        self._seen_at: tuple[Scenario | None, int] = (None, 0)

    def forget(self) -> None:
        self._shape: tuple[object, ...] | None = None
        self._drawn: dict[str, object] = {}
        self._whole = True

    def select_stage(self, stage: str) -> None:
        """Show the brakes of this stage."""
        column = self._column
        if column is not None and stage in column.stages:
            column.stage = stage
            self._lay_out_rows(column)
            caption = next(p for p in self._placed if p.widget.key == f"caption {BRAKES_CAPTION}")
            self._scroll_to(caption.box.top - self._zones[BODY].top)

    def show_top(self) -> None:
        """Scroll to the first knob."""
        if self._placed:
            self._scroll_to(0)

    # --- Drawing ---

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        if self.folded:
            return self._draw_folded(target)
        column = self._column
        # Another session: its widgets are others, and whatever was focused or held is gone.
        if column is None or column.controls is not scene.session.controls:
            column = self._column = KnobsColumn(scene.session.controls, self._callbacks)
            self._focus = self._held = self._hovered = ""
        # Comparing all widgets would cost more than the rest of a redraw in which nothing changes.
        seen = (column.controls.scenario, round(2 * scene.view.run_seconds))
        if not self._touched and not self._whole and seen[1] == self._seen_at[1] and seen[0] is self._seen_at[0]:
            return []
        self._touched, self._seen_at = False, seen
        # Rows are laid out again only when widgets come or go, not when values change.
        if column.shape != self._shape:
            self._lay_out_rows(column)
        dirty = []
        if self._whole:
            self._whole, self._drawn = False, {}
            target.fill(self._pen.theme.background, self._box)
            self._pen.card(target, self._box, self._pen.theme.surface, self._pen.theme.line)
            self._draw_scroll_bar(target)
            dirty.append(self._box)
        for placed in self._placed:
            box = self._seen(placed)
            look = Look(placed.widget.key == self._focus, placed.widget.key == self._hovered)
            wanted = (placed.widget.content(scene), look)
            if box is not None and self._drawn.get(placed.widget.key) != wanted:
                self._drawn[placed.widget.key] = wanted
                dirty.append(self._draw_widget(target, placed, scene, look))
        return dirty

    def _draw_widget(self, target: pygame.Surface, placed: _Placed, scene: Scene, look: Look) -> pygame.Rect:
        """Draw one clipped to its zone, with a margin for the focus ring."""
        box = self._shown(placed)
        edge = self._pen.px(5)
        # Wider than the widget, since the focus ring is; never higher than the zone, or it would draw over the head.
        around = box.inflate(2 * edge, 0).clip(self._zones[placed.zone].inflate(2 * edge, 0))
        target.set_clip(around)
        target.fill(self._pen.theme.surface, around)
        placed.widget.draw(target, box, scene, self._pen, look)
        target.set_clip(None)
        return around

    def _draw_folded(self, target: pygame.Surface) -> list[pygame.Rect]:
        if not self._whole:
            return []
        self._whole = False
        target.fill(self._pen.theme.background, self._box)
        colors = self._pen.theme
        self._pen.card(target, self._box, colors.surface, colors.sky if self._focus else colors.line)
        line = pygame.Rect(0, 0, self._pen.px(120), self._box.width)
        letters = pygame.Surface(line.size, depth=32)
        letters.fill(self._pen.theme.surface)
        self._pen.write(letters, "Knobs  K", line, theme.LABEL, "center")
        # pygame writes only horizontally: the text is drawn aside, and turned.
        upright = pygame.transform.rotate(letters.subsurface(line.inflate(0, -self._pen.px(6))), -90)
        target.blit(upright, upright.get_rect(midtop=(self._box.centerx, self._box.top + self._pen.px(10))))
        return [self._box]

    def _draw_scroll_bar(self, target: pygame.Surface) -> None:
        body, hidden = self._zones[BODY], self._scroll_max()
        if hidden:
            length = max(self._pen.px(20), body.height * body.height // (body.height + hidden))
            top = body.top + (body.height - length) * self._scroll // hidden
            width = self._pen.px(_BAR_WIDTH)
            bar = pygame.Rect(self._box.right - width - self._pen.px(3), top, width, length)
            pygame.draw.rect(target, self._pen.theme.faint, bar, border_radius=width)

    # --- Places ---

    def _lay_out_rows(self, column: KnobsColumn) -> None:
        """Lay out the head from the top, the foot from the bottom, and the body between them."""
        self._shape = column.shape
        pad, gap = self._pen.px(_PAD), self._pen.px(_ROW_GAP)
        inner = self._box.inflate(-2 * pad, -2 * self._pen.px(8))
        head, foot = self._rows_height(column.head()), self._rows_height(column.foot())
        self._zones = [
            pygame.Rect(inner.left, inner.top, inner.width, head),
            pygame.Rect(inner.left, inner.top + head + gap, inner.width, max(0, inner.height - head - foot - 2 * gap)),
            pygame.Rect(inner.left, inner.bottom - foot, inner.width, foot),
        ]
        self._placed = []
        for zone, rows in enumerate((column.head(), column.body(), column.foot())):
            self._place_rows(rows, zone)
        # Fewer rows: the old position may be beyond the end.
        self._scroll = min(self._scroll, self._scroll_max())
        if self._focus not in {placed.widget.key for placed in self._placed}:
            self._focus = ""
        self._whole = True

    def _rows_height(self, rows: list[Row]) -> int:
        gap = self._pen.px(_ROW_GAP)
        return sum(self._pen.px(max(widget.height for widget, _ in row)) + gap for row in rows) - gap

    def _place_rows(self, rows: list[Row], zone: int) -> None:
        room, top = self._zones[zone], self._zones[zone].top
        beside = self._pen.px(_BESIDE)
        for row in rows:
            height = self._pen.px(max(widget.height for widget, _ in row))
            shares, width = sum(share for _, share in row), room.width + beside
            left = 0
            for widget, share in row:
                right = left + share
                # Rounded edges instead of rounded widths, so that the last widget ends at the edge of the column.
                start, end = room.left + width * left // shares, room.left + width * right // shares - beside
                self._placed.append(_Placed(widget, zone, pygame.Rect(start, top, end - start, height)))
                left = right
            top += height + self._pen.px(_ROW_GAP)

    def _shown(self, placed: _Placed) -> pygame.Rect:
        return placed.box.move(0, -self._scroll) if placed.zone == BODY else placed.box

    def _seen(self, placed: _Placed) -> pygame.Rect | None:
        """The visible part of a widget; None if it is scrolled out of its zone."""
        seen = self._shown(placed).clip(self._zones[placed.zone])
        return seen if seen.height else None

    def _scroll_max(self) -> int:
        bottom = max((placed.box.bottom for placed in self._placed if placed.zone == BODY), default=0)
        return max(0, bottom - self._zones[BODY].bottom)

    def _scroll_to(self, wanted: int) -> None:
        wanted = min(max(wanted, 0), self._scroll_max())
        if wanted != self._scroll:
            self._scroll, self._whole = wanted, True

    # --- Events ---

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        self._touched = True
        if self.folded:
            opened = event.type == pygame.MOUSEBUTTONDOWN or (
                event.type == pygame.KEYDOWN and bool(self._focus) and event.key in ENTER
            )
            if opened:
                self._callbacks.fold(now_ns)
            return opened
        match event.type:
            case pygame.MOUSEBUTTONDOWN:
                return self._press(event, scene, now_ns)
            case pygame.MOUSEMOTION:
                return self._move(event, scene, now_ns)
            case pygame.MOUSEBUTTONUP:
                held, self._held = self._find(self._held), ""
                if held is not None:
                    held.widget.release()
                return True
            case pygame.MOUSEWHEEL:
                return self._wheel(event, now_ns)
            case pygame.WINDOWLEAVE:
                self._hovered = ""
                return True
            case pygame.KEYDOWN:
                focused = self._find(self._focus)
                return focused is not None and focused.widget.type(event, scene, now_ns)
        return False

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        if self.folded:
            return "Knobs\nClick, or press K: expand the column."
        placed = self._at(position)
        return placed.widget.tip() if placed else ""

    def step_focus(self, step: int) -> bool:
        if self.folded:
            self._focus, self._whole = "" if self._focus else "folded", True
            return bool(self._focus)
        keys = [placed.widget.key for placed in self._placed if not isinstance(placed.widget, Caption)]
        index = keys.index(self._focus) + step if self._focus in keys else (0 if step > 0 else len(keys) - 1)
        self._set_focus(keys[index] if 0 <= index < len(keys) else "")
        focused = self._find(self._focus)
        if focused is not None and focused.zone == BODY:
            body = self._zones[BODY]
            self._scroll_to(min(max(self._scroll, focused.box.bottom - body.bottom), focused.box.top - body.top))
        return focused is not None

    def drop_focus(self) -> None:
        self._set_focus("")

    def _set_focus(self, key: str) -> None:
        left = self._find(self._focus)
        if left is not None and key != self._focus:
            left.widget.leave()
        self._whole = self._whole or self.folded
        self._focus, self._touched = key, True

    def _find(self, key: str) -> _Placed | None:
        return next((placed for placed in self._placed if placed.widget.key == key), None) if key else None

    def _at(self, position: tuple[int, int]) -> _Placed | None:
        for placed in self._placed:
            seen = self._seen(placed)
            if seen is not None and seen.collidepoint(position):
                return placed
        return None

    def _press(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        placed = self._at(event.pos)
        if placed is None or event.button != 1:
            return True  # Between widgets: no view below the column gets the press.
        if not isinstance(placed.widget, Caption):
            self._set_focus(placed.widget.key)
            self._held = placed.widget.key
        placed.widget.press(event.pos, self._shown(placed), scene, self._pen, now_ns)
        return True

    def _move(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        held = self._find(self._held)
        if held is not None:
            held.widget.drag(event.pos, self._shown(held), scene, self._pen, now_ns)
        else:
            under = self._at(event.pos)
            self._hovered = under.widget.key if under else ""
        return True

    def _wheel(self, event: pygame.event.Event, now_ns: int) -> bool:
        """Turn the slider under the mouse if it has the focus; otherwise scroll, without moving the sliders."""
        placed = self._at(event.pos)
        if placed is None or placed.widget.key != self._focus or not placed.widget.turn(event.y, now_ns):
            self._scroll_to(self._scroll - event.y * self._pen.px(_SCROLL_STEP))
        return True
