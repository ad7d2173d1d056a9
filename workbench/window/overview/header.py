"""The top rows: the header with the scenario, the main figures and the state, and under it the banner of failures.

Each figure has a fixed slot; only slots whose text changed are drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass

from plots.number import UNKNOWN
from workbench.telemetry.view import Part, Reading, RecordingState
from workbench.window.toolkit import theme
from workbench.window.toolkit.arrangement import BANNER_ROWS_MAX
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import ENTER
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.theme import Lettering
from workbench.window.toolkit.view import Drawable, Focusable
from workbench.window.toolkit.wording import format_clock, format_count, format_ms, format_whole

# A log of a few megabytes is most of a short recording while it is written.
_SIZE_MEANING = "Its size is that on disk with its log (-wal), which is merged into the file when the run ends."


@dataclass(frozen=True, slots=True)
class Figure:
    """One large number: its name, its meaning, its colour in the panels, and its source."""

    label: str
    meaning: str
    color: str | None
    """The role of its colour in the theme; None: no swatch."""
    text: Callable[[Reading], str]


def _rate(label: str, meaning: str, color: str | None) -> Figure:
    """The figure of the reading `LABEL_per_s`."""
    return Figure(label, meaning, color, lambda reading: format_count(getattr(reading, f"{label}_per_s"), "/s"))


FIGURES: tuple[Figure, ...] = (
    Figure(
        "connections",
        "Open WebSocket connections",
        None,
        lambda r: UNKNOWN if r.connection_count is None else format_whole(r.connection_count),
    ),
    _rate("offered", "Placements per second that the devices intend to send", "silver"),
    _rate("admitted", "Placements accepted (within bounds and rate limit)", "green"),
    _rate("throttled", "Placements rejected by the rate limit", "purple"),
    _rate("merged", "Distinct pixel changes broadcast, the latest of each tick", "orange"),
    _rate("delivered", "Pixel changes that reached viewers, summed over all viewers", None),
    Figure(
        "view p99",
        "99th percentile latency, from scheduled send to receipt by a viewer",
        None,
        lambda r: format_ms(r.latency_ms_p99),
    ),
    Figure(
        "tick", "Interval between two broadcasts; large broadcasts lengthen it", None, lambda r: format_ms(r.tick_ms)
    ),
)

_NAME_WIDTH_MAX, _STATE_WIDTH, _SLOT_WIDTH_MIN, _SLOT_WIDTH_MAX, _MARGIN = 420, 130, 87, 150, 20
_NAME_GAP, _SWITCH_WIDTH = 18, 34
# Narrower slots get smaller figures, so that neighbours do not touch.
_FIGURE_ROOM_MIN = 112


class Header(Drawable, Focusable):
    """The top row. The theme switch reacts to click and enter, the scenario's name to a click."""

    def __init__(self, on_theme: Callable[[], None], on_scenarios: Callable[[Scene], None]) -> None:
        self._on_theme, self._on_scenarios = on_theme, on_scenarios

    def _lay_out(self) -> None:
        box, pen = self._box, self._pen
        inner = box.inflate(-2 * pen.px(_MARGIN), 0)
        self._state = pygame.Rect(inner.right - pen.px(_STATE_WIDTH), inner.top, pen.px(_STATE_WIDTH), inner.height)
        width = pen.px(_SWITCH_WIDTH)
        self._switch = pygame.Rect(self._state.left - width, inner.top, width, inner.height)
        room = self._switch.left - inner.left
        # The figures come first: a narrow window cuts the name, never a number.
        name_width = min(pen.px(_NAME_WIDTH_MAX), room - len(FIGURES) * pen.px(_SLOT_WIDTH_MIN))
        self._name = pygame.Rect(inner.topleft, (name_width, inner.height))
        width = min(pen.px(_SLOT_WIDTH_MAX), (room - name_width) // len(FIGURES))
        left = self._name.right
        self._slots = [pygame.Rect(left + i * width, inner.top, width, inner.height) for i in range(len(FIGURES))]

    def forget(self) -> None:
        # The texts of each slot.
        self._drawn: dict[str, tuple[str, str]] = {}

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        dirty = []
        if not self._drawn:  # Nothing is drawn yet: the background first, then every slot counts as changed.
            self._clear(target, self._box)
            pygame.draw.rect(target, self._pen.theme.line, (self._box.left, self._box.bottom - 1, self._box.width, 1))
            dirty.append(self._box)
        named = (scene.view.scenario_name, scene.view.scenario_title)
        if self._slot_changed("name", named):
            dirty.append(self._draw_name(target, *named))
        for figure, slot in zip(FIGURES, self._slots, strict=True):
            text = figure.text(scene.reading)
            if self._slot_changed(figure.label, (text, "")):
                dirty.append(self._draw_figure(target, figure, text, slot))
        state = (self._state_word(scene), self._clock_text(scene))
        if self._slot_changed("state", state):
            dirty.append(self._draw_state(target, *state))
        if self._slot_changed("switch", (str(self._focused), "")):
            dirty.append(self._draw_switch(target))
        return dirty

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        pressed = event.type == pygame.MOUSEBUTTONDOWN and event.button == 1 and self._switch.collidepoint(event.pos)
        entered = event.type == pygame.KEYDOWN and self._focused and event.key in ENTER
        if pressed or entered:
            self._on_theme()
            return True
        if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1 and self._name.collidepoint(event.pos):
            self._on_scenarios(scene)
            return True
        return False

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        if self._switch.collidepoint(position):
            return "theme\nDark, or light for projectors. Key: T."
        if self._name.collidepoint(position):
            return f"{scene.view.scenario_name}\n{scene.view.scenario_title}\nClick: choose another scenario. Key: L"
        if self._state.collidepoint(position):
            return self._recording_tip(scene.view.recording)
        found = (figure for figure, slot in zip(FIGURES, self._slots, strict=True) if slot.collidepoint(position))
        return "\n".join(f"{figure.label}\n{figure.meaning}" for figure in found)

    @staticmethod
    def _state_word(scene: Scene) -> str:
        # In order of importance: a failed run may also be paused.
        if scene.view.failures:
            return "failed"
        if scene.paused:
            return "paused"
        if scene.session.replay is not None:
            return "replay" if scene.session.replay.transport.playing else "paused"
        return "starting" if scene.loading else "live"

    @staticmethod
    def _recording_tip(recording: RecordingState | None) -> str:
        if recording is None:
            return ""
        how = f"Stopped: {recording.failure}." if recording.failure else f"Recording to this file. {_SIZE_MEANING}"
        return f"recording {recording.path}\n{how}"

    @staticmethod
    def _clock_text(scene: Scene) -> str:
        """The run time; while recording, the recording's time and size."""
        recording = scene.view.recording
        if recording is None:
            return format_clock(scene.view.run_seconds)
        if recording.failure:
            return "REC stopped"
        megabytes = recording.bytes / 1e6
        size = f"{megabytes:.0f} MB" if megabytes < 999.5 else f"{megabytes / 1e3:.1f} GB"
        return f"REC {format_clock(recording.seconds)} {size}"

    def _slot_changed(self, name: str, texts: tuple[str, str]) -> bool:
        if self._drawn.get(name) == texts:
            return False
        self._drawn[name] = texts
        return True

    def _clear(self, target: pygame.Surface, slot: pygame.Rect) -> pygame.Rect:
        """Paint a slot's background, except the line under the row."""
        inside = slot.copy()
        # The line under the row is drawn once, with the background.
        inside.height -= 1
        target.fill(self._pen.theme.header, inside)
        return inside

    def _rows(self, slot: pygame.Rect) -> tuple[pygame.Rect, pygame.Rect]:
        """The upper and lower line of a slot."""
        px, middle = self._pen.px, slot.centery
        upper = pygame.Rect(slot.left, middle - px(24), slot.width, px(20))
        return upper, pygame.Rect(slot.left, middle - px(3), slot.width, px(26))

    def _draw_name(self, target: pygame.Surface, name: str, title: str) -> pygame.Rect:
        inside = self._clear(target, self._name)
        pen, left, width = self._pen, self._name.left, self._name.width - self._pen.px(_NAME_GAP)
        # Centred as a block, whatever its number of rows.
        lettering, rows = self._title_rows(title, width)
        row_height, first = pen.px(14), pen.px(20)
        top = self._name.centery - (first + len(rows) * row_height) // 2
        product = pen.write(target, "Pixel Canvas", pygame.Rect(left, top, width, first), theme.PRODUCT)
        self._draw_scenario(target, name, pygame.Rect(product.right, top, left + width - product.right, first))
        for index, row in enumerate(rows):
            box = pygame.Rect(left, top + first + index * row_height, width, row_height)
            pen.write(target, row, box, lettering)
        return inside

    def _title_rows(self, title: str, width: int) -> tuple[Lettering, list[str]]:
        """The title in two rows, in a smaller lettering where a narrow window would cut it."""
        pen, rows = self._pen, self._pen.wrapped(title, width, theme.LABEL, rows_max=2)
        if all(pen.width(row, theme.LABEL) <= width for row in rows):
            return theme.LABEL, rows
        return theme.SMALL, pen.wrapped(title, width, theme.SMALL, rows_max=2)

    def _draw_scenario(self, target: pygame.Surface, name: str, room: pygame.Rect) -> None:
        """The scenario's name as a drop-down button."""
        pen, gap, arm = self._pen, self._pen.px(10), self._pen.px(4)
        box = pygame.Rect(room.left + gap, room.top, 0, room.height)
        box.width = min(pen.width(name, theme.VALUE) + pen.px(32), room.width - gap)
        pen.card(target, box, pen.theme.raised, pen.theme.line, radius=4)
        pen.write(
            target, name, pygame.Rect(box.left + pen.px(8), box.top, box.width - pen.px(30), box.height), theme.VALUE
        )
        x, y = box.right - pen.px(12), box.centery
        pygame.draw.polygon(
            target, pen.theme.dim, ((x - arm, y - arm // 2), (x + arm, y - arm // 2), (x, y + arm // 2 + 1))
        )

    def _draw_figure(self, target: pygame.Surface, figure: Figure, text: str, slot: pygame.Rect) -> pygame.Rect:
        inside = self._clear(target, slot)
        label, value = self._rows(slot)
        if figure.color:
            color = self._pen.theme.color(figure.color)
            pygame.draw.rect(target, color, self._swatch(label), border_radius=self._pen.px(1))
            indent = self._pen.px(15)
            label = pygame.Rect(label.left + indent, label.top, label.width - indent, label.height)
        self._pen.write(target, figure.label, label, theme.LABEL)
        is_narrow = slot.width < self._pen.px(_FIGURE_ROOM_MIN)
        self._pen.write(target, text, value, theme.FIGURE_SMALL if is_narrow else theme.FIGURE)
        return inside

    def _swatch(self, label: pygame.Rect) -> pygame.Rect:
        width, height = self._pen.px(10), self._pen.px(3)
        return pygame.Rect(label.left, label.centery - height // 2, width, height)

    def _draw_switch(self, target: pygame.Surface) -> pygame.Rect:
        """A half-filled disc."""
        inside = self._clear(target, self._switch)
        radius, (x, y) = self._pen.px(8), inside.center
        half = {"draw_top_left": True, "draw_bottom_left": True}
        pygame.draw.circle(target, self._pen.theme.dim, (x, y), radius, **half)
        pygame.draw.circle(target, self._pen.theme.dim, (x, y), radius, width=self._pen.px(2))
        if self._focused:
            ring = pygame.Rect(0, 0, self._pen.px(28), self._pen.px(28))
            ring.center = inside.center
            self._pen.ring(target, ring)
        return inside

    def _draw_state(self, target: pygame.Surface, word: str, run_clock: str) -> pygame.Rect:
        inside = self._clear(target, self._state)
        upper, lower = self._rows(self._state)
        color = self._pen.theme.color({"live": "green", "failed": "vermilion", "paused": "orange"}.get(word, "sky"))
        letters = self._pen.write(target, word, upper, theme.TITLE, "right")
        self._pen.dot(target, (letters.left - self._pen.px(10), letters.centery), color)
        self._pen.write(target, run_clock, lower, theme.NOTE, "right")
        return inside


def failed_parts(scene: Scene) -> list[Part]:
    """The processes that failed, in their order."""
    return [part for part in scene.view.parts if part.failure]


class Banner(Drawable):
    """One row per failed process with the reason, and the number of further ones. Zero height without failures."""

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        parts = failed_parts(scene)
        if not self._box.height or not self._changed(parts):
            return []
        target.fill(self._pen.theme.background, self._box)
        self._pen.card(target, self._box, self._pen.theme.alarm_surface, self._pen.theme.vermilion)
        inner = self._box.inflate(-2 * self._pen.px(14), -2 * self._pen.px(6))
        shown = parts[:BANNER_ROWS_MAX]
        # The window must keep space for the rest; the terminal names all failures at the end.
        hidden = len(parts) - len(shown)
        height = inner.height // max(1, len(shown))
        for index, part in enumerate(shown):
            more = f"  (and {hidden} more)" if hidden and part is shown[-1] else ""
            row = pygame.Rect(inner.left, inner.top + index * height, inner.width, height)
            self._draw_row(target, part, more, row)
        return [self._box]

    def _draw_row(self, target: pygame.Surface, part: Part, more: str, row: pygame.Rect) -> None:
        name = self._pen.write(target, f"{part.name} failed", row, theme.ALARM_NAME)
        left = name.right + self._pen.px(14)
        note = self._pen.width(more, theme.ALARM)
        reason = pygame.Rect(left, row.top, row.right - left - note, row.height)
        written = self._pen.write(target, part.failure, reason, theme.ALARM)
        self._pen.write(target, more, pygame.Rect(written.right, row.top, note, row.height), theme.ALARM)
