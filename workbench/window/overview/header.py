"""The top row: what runs, the figures that matter, whether it is live, and the switch from dark to light.

Each figure has a fixed slot; only slots whose text changed are drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass

from workbench.telemetry.view import Reading, RecordingState
from workbench.window.toolkit import theme
from workbench.window.toolkit.figure import UNKNOWN, format_clock, format_count, format_ms, format_whole
from workbench.window.toolkit.keys import ENTER
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.theme import Lettering
from workbench.window.toolkit.toolkit import pygame


@dataclass(frozen=True, slots=True)
class Figure:
    """One big number: its name, what it means, its colour in the panels, and where it comes from."""

    label: str
    meaning: str
    color: str | None
    """A colour's name in the theme."""
    text: Callable[[Reading], str]


FIGURES: tuple[Figure, ...] = (
    Figure(
        "connections",
        "WebSocket connections open now",
        None,
        lambda r: UNKNOWN if r.connection_count is None else format_whole(r.connection_count),
    ),
    Figure(
        "offered",
        "Placements the devices intend to send, a second",
        "SILVER",
        lambda r: format_count(r.offered_per_s, "/s"),
    ),
    Figure(
        "admitted",
        "Placements let in by the rate limit",
        "GREEN",
        lambda r: format_count(r.admitted_per_s, "/s"),
    ),
    Figure(
        "throttled",
        "Placements refused by the rate limit",
        "PURPLE",
        lambda r: format_count(r.throttled_per_s, "/s"),
    ),
    Figure(
        "merged",
        "Distinct pixel changes broadcast, the newest of each tick",
        "ORANGE",
        lambda r: format_count(r.merged_per_s, "/s"),
    ),
    Figure(
        "delivered",
        "Pixel changes that reached viewers, summed over all of them",
        None,
        lambda r: format_count(r.delivered_per_s, "/s"),
    ),
    Figure(
        "view p99",
        "From intended send to a viewer's receipt; 99 of 100 are faster",
        None,
        lambda r: format_ms(r.latency_ms_p99),
    ),
    Figure(
        "tick", "Interval between two broadcasts; it stretches when one is large", None, lambda r: format_ms(r.tick_ms)
    ),
)

_NAME_WIDTH_MAX, _STATE_WIDTH, _SLOT_WIDTH_MIN, _SLOT_WIDTH_MAX, _MARGIN = 420, 130, 87, 150, 20
_NAME_GAP, _SWITCH_WIDTH = 18, 34
_FIGURE_ROOM_MIN = 112
"""Narrower slots have smaller figures, so that the longest does not touch the next."""


class HeaderView:
    """Draws the top row; the switch of colours and the scenario are pressed by click, the switch by enter too."""

    def __init__(self, on_theme: Callable[[], None], on_scenarios: Callable[[Scene], None]) -> None:
        self._on_theme, self._on_scenarios = on_theme, on_scenarios
        self._focused = False

    def place(self, box: pygame.Rect, pen: Painter) -> None:
        """Take this box; see `Drawable`."""
        self._box, self._pen = box, pen
        inner = box.inflate(-2 * pen.px(_MARGIN), 0)
        self._state = pygame.Rect(inner.right - pen.px(_STATE_WIDTH), inner.top, pen.px(_STATE_WIDTH), inner.height)
        width = pen.px(_SWITCH_WIDTH)
        self._switch = pygame.Rect(self._state.left - width, inner.top, width, inner.height)
        room = self._switch.left - inner.left
        name_width = min(pen.px(_NAME_WIDTH_MAX), room - len(FIGURES) * pen.px(_SLOT_WIDTH_MIN))
        self._name = pygame.Rect(inner.topleft, (name_width, inner.height))
        width = min(pen.px(_SLOT_WIDTH_MAX), (room - name_width) // len(FIGURES))
        left = self._name.right
        self._slots = [pygame.Rect(left + i * width, inner.top, width, inner.height) for i in range(len(FIGURES))]
        self.forget()

    def forget(self) -> None:
        """Draw all of it next time."""
        self._drawn: dict[str, tuple[str, str]] = {}

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        """Draw what changed. Returns the rectangles that did."""
        dirty = []
        if not self._drawn:
            self._clear(target, self._box)
            pygame.draw.rect(target, theme.LINE, (self._box.left, self._box.bottom - 1, self._box.width, 1))
            dirty.append(self._box)
        named = (scene.view.scenario_name, scene.view.scenario_title)
        if self._changed("name", named):
            dirty.append(self._draw_name(target, *named))
        for figure, slot in zip(FIGURES, self._slots, strict=True):
            text = figure.text(scene.reading)
            if self._changed(figure.label, (text, "")):
                dirty.append(self._draw_figure(target, figure, text, slot))
        state = (self._state_word(scene), self._clock_text(scene))
        if self._changed("state", state):
            dirty.append(self._draw_state(target, *state))
        if self._changed("switch", (theme.name, str(self._focused))):
            dirty.append(self._draw_switch(target))
        return dirty

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        """The switch, by click or enter; the scenario's name, by click."""
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
        """What a figure means, or the whole title."""
        if self._switch.collidepoint(position):
            return "colours\nDark, or light for a projector. Key: T."
        if self._name.collidepoint(position):
            return f"{scene.view.scenario_name}\n{scene.view.scenario_title}\nClick: pick another scenario. Key: L"
        if self._state.collidepoint(position):
            return self._recording_tip(scene.view.recording)
        found = (figure for figure, slot in zip(FIGURES, self._slots, strict=True) if slot.collidepoint(position))
        return "\n".join(f"{figure.label}\n{figure.meaning}" for figure in found)

    def step_focus(self, step: int) -> bool:
        """The switch is all there is to press."""
        self._focused = not self._focused
        return self._focused

    def drop_focus(self) -> None:
        """It has the focus no more."""
        self._focused = False

    @staticmethod
    def _state_word(scene: Scene) -> str:
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
        how = f"Stopped: {recording.failure}." if recording.failure else "All that is seen here is kept in this file."
        return f"recording {recording.path}\n{how}"

    @staticmethod
    def _clock_text(scene: Scene) -> str:
        """How long the run goes on, or its recording, and how large that is."""
        recording = scene.view.recording
        if recording is None:
            return format_clock(scene.view.run_seconds)
        if recording.failure:
            return "REC stopped"
        megabytes = recording.bytes / 1e6
        size = f"{megabytes:.0f} MB" if megabytes < 999.5 else f"{megabytes / 1e3:.1f} GB"
        return f"REC {format_clock(recording.seconds)} {size}"

    def _changed(self, name: str, texts: tuple[str, str]) -> bool:
        if self._drawn.get(name) == texts:
            return False
        self._drawn[name] = texts
        return True

    def _clear(self, target: pygame.Surface, slot: pygame.Rect) -> pygame.Rect:
        """Paint a slot's ground, but for the line under the row."""
        inside = slot.copy()
        inside.height -= 1
        target.fill(theme.HEADER, inside)
        return inside

    def _rows(self, slot: pygame.Rect) -> tuple[pygame.Rect, pygame.Rect]:
        """The upper and the lower line of a slot."""
        px, middle = self._pen.px, slot.centery
        upper = pygame.Rect(slot.left, middle - px(24), slot.width, px(20))
        return upper, pygame.Rect(slot.left, middle - px(3), slot.width, px(26))

    def _draw_name(self, target: pygame.Surface, name: str, title: str) -> pygame.Rect:
        inside = self._clear(target, self._name)
        pen, left, width = self._pen, self._name.left, self._name.width - self._pen.px(_NAME_GAP)
        lettering, rows = self._title_rows(title, width)
        row_height, first = pen.px(14), pen.px(20)
        top = self._name.centery - (first + len(rows) * row_height) // 2
        product = pen.write(target, "Pixel Canvas", pygame.Rect(left, top, width, first), theme.PRODUCT)
        self._draw_pick(target, name, pygame.Rect(product.right, top, left + width - product.right, first))
        for index, row in enumerate(rows):
            box = pygame.Rect(left, top + first + index * row_height, width, row_height)
            pen.write(target, row, box, lettering)
        return inside

    def _title_rows(self, title: str, width: int) -> tuple[Lettering, list[str]]:
        """The sentence in two rows: in smaller letters where a narrow window would cut it."""
        pen, rows = self._pen, self._pen.wrapped(title, width, theme.LABEL, rows_max=2)
        if all(pen.width(row, theme.LABEL) <= width for row in rows):
            return theme.LABEL, rows
        return theme.SMALL, pen.wrapped(title, width, theme.SMALL, rows_max=2)

    def _draw_pick(self, target: pygame.Surface, name: str, room: pygame.Rect) -> None:
        """The scenario's name, framed, with a mark that says: there are others."""
        pen, gap, arm = self._pen, self._pen.px(10), self._pen.px(4)
        box = pygame.Rect(room.left + gap, room.top, 0, room.height)
        box.width = min(pen.width(name, theme.VALUE) + pen.px(32), room.width - gap)
        pen.card(target, box, theme.RAISED, theme.LINE, radius=4)
        pen.write(
            target, name, pygame.Rect(box.left + pen.px(8), box.top, box.width - pen.px(30), box.height), theme.VALUE
        )
        x, y = box.right - pen.px(12), box.centery
        pygame.draw.polygon(
            target, theme.DIM, ((x - arm, y - arm // 2), (x + arm, y - arm // 2), (x, y + arm // 2 + 1))
        )

    def _draw_figure(self, target: pygame.Surface, figure: Figure, text: str, slot: pygame.Rect) -> pygame.Rect:
        inside = self._clear(target, slot)
        label, value = self._rows(slot)
        if figure.color:
            pygame.draw.rect(target, theme.color(figure.color), self._swatch(label), border_radius=self._pen.px(1))
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
        """A disc, half of it filled."""
        inside = self._clear(target, self._switch)
        radius, (x, y) = self._pen.px(8), inside.center
        half = {"draw_top_left": True, "draw_bottom_left": True}
        pygame.draw.circle(target, theme.DIM, (x, y), radius, **half)
        pygame.draw.circle(target, theme.DIM, (x, y), radius, width=self._pen.px(2))
        if self._focused:
            ring = pygame.Rect(0, 0, self._pen.px(28), self._pen.px(28))
            ring.center = inside.center
            self._pen.ring(target, ring)
        return inside

    def _draw_state(self, target: pygame.Surface, word: str, run_clock: str) -> pygame.Rect:
        inside = self._clear(target, self._state)
        upper, lower = self._rows(self._state)
        color = theme.color({"live": "GREEN", "failed": "VERMILION", "paused": "ORANGE"}.get(word, "SKY"))
        letters = self._pen.write(target, word, upper, theme.TITLE, "right")
        self._pen.dot(target, (letters.left - self._pen.px(10), letters.centery), color)
        self._pen.write(target, run_clock, lower, theme.NOTE, "right")
        return inside
