"""The playback bar of a replay: play and pause, speed, time, and a strip of thumbnails to seek on.

It reads no recording: thumbnails and markers come from the session. The tooltip on the strip shows the
moment that a click there seeks to.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.telemetry.view import Marker
from workbench.window.toolkit import ramp, theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import ReplayAction, replay_action_of
from workbench.window.toolkit.scene import Replay, Scene
from workbench.window.toolkit.view import Drawable, Handler
from workbench.window.toolkit.wording import format_clock

# The colours of the panels' event lines.
MARKER_COLORS = {"knob": "orange", "fault": "vermilion", "brake": "purple", "note": "silver"}
_LEFT, _BUTTON, _BUTTON_GAP, _SPEED, _ROW, _GAP = 236, 28, 4, 64, 26, 12
_TRACK, _MARK, _MARK_REACH, _HEAD_WIDTH = 10, 4, 5, 2
_BACK, _STEP_BACK, _PLAY, _STEP, _FORTH = "previous event", "previous tick", "play", "next tick", "next event"
BUTTONS = (_BACK, _STEP_BACK, _PLAY, _STEP, _FORTH)
_TIPS = {
    _BACK: "Go to the previous event. Key: Shift left",
    _STEP_BACK: "Pause at the previous tick. Key: left",
    _PLAY: "Play or pause. Key: space",
    _STEP: "Pause at the next tick. Key: right",
    _FORTH: "Go to the next event. Key: Shift right",
}
_SPEED_TIP = "speed\nClick: faster; right click: slower. Keys: up and down, or the wheel here"


class PlaybackBar(Drawable, Handler):
    """Draws the bar, and controls the replay of the scene's session."""

    def __init__(self) -> None:
        self._box = pygame.Rect(0, 0, 0, 0)
        # While the strip is dragged: whether the replay was playing before; otherwise None.
        self._held: bool | None = None
        self.forget()

    # --- Boxes ---

    def _lay_out(self) -> None:
        box, pen = self._box, self._pen
        button, gap = pen.px(_BUTTON), pen.px(_BUTTON_GAP)
        row = pygame.Rect(box.left, box.top, button, pen.px(_ROW))
        self._buttons = {name: row.move(index * (button + gap), 0) for index, name in enumerate(BUTTONS)}
        left = self._buttons[_FORTH].right + gap
        self._speed = pygame.Rect(left, box.top, pen.px(_SPEED), pen.px(_ROW))
        self._time = pygame.Rect(box.left, row.bottom, pen.px(_LEFT), box.bottom - row.bottom)
        left = box.left + pen.px(_LEFT) + pen.px(_GAP)
        self._strip = pygame.Rect(left, box.top, box.right - left, box.height - pen.px(_TRACK))
        self._track = pygame.Rect(left, self._strip.bottom, self._strip.width, pen.px(_TRACK))

    def forget(self) -> None:
        self._drawn: tuple[object, ...] | None = None
        self._film: pygame.Surface | None = None
        self._film_of: tuple[object, ...] = ()
        self._pointed: tuple[int, int] | None = None

    @property
    def strip(self) -> pygame.Rect:
        """The box of the recording's timeline, from its start at the left to its end."""
        return self._strip.copy()

    def button(self, name: str) -> pygame.Rect:
        """The box of one of `BUTTONS`."""
        return self._buttons[name]

    # --- Drawing ---

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        replay = scene.session.replay
        if replay is None:
            return []
        transport = replay.transport
        clock_text = f"{_clock(transport.position_ns, replay)} / {_clock(transport.last_ns, replay)}"
        # All that the strip depends on: it is drawn again when a thumbnail or an event was added.
        film = (replay, replay.filmstrip.made_count, len(replay.markers), transport.last_ns)
        head = self._x_of(transport.ratio)
        state = (transport.playing, transport.speed, clock_text, film, head, self._pointed)
        if state == self._drawn:
            return []
        self._drawn = state
        # Scaling the thumbnails is expensive, so the strip is kept until one more is ready.
        if self._film is None or film != self._film_of:
            self._film, self._film_of = self._new_film(replay), film
        target.fill(self._pen.theme.background, self._box)
        for name, box in self._buttons.items():
            self._draw_button(target, name, box, playing=transport.playing)
        self._pen.card(target, self._speed, self._pen.theme.surface, self._pen.theme.line, radius=5)
        self._pen.write(target, speed_text(transport.speed), self._speed, theme.VALUE, "center")
        self._pen.write(target, clock_text, self._time, theme.TITLE)
        target.blit(self._film, self._strip)
        self._draw_head(target, head, self._pen.theme.sky)
        if self._pointed is not None:
            self._draw_head(target, self._pointed[0], self._pen.theme.dim, with_knob=False)
        return [self._box]

    def _draw_button(self, target: pygame.Surface, name: str, box: pygame.Rect, *, playing: bool) -> None:
        """Draw a button with a player's symbol: triangles and bars."""
        is_play, colors = name == _PLAY, self._pen.theme
        lit, unlit = (colors.sky, colors.sky, colors.background), (colors.surface, colors.line, colors.text)
        fill, line, color = lit if is_play else unlit
        self._pen.card(target, box, fill, line, radius=5)
        arm = self._pen.px(5)
        x, y, bar = box.centerx, box.centery, max(1, self._pen.px(2))
        if is_play and playing:
            for left in (x - arm, x + arm - 2 * bar):
                pygame.draw.rect(target, color, (left, y - arm, 2 * bar, 2 * arm))
            return
        way = -1 if name in (_BACK, _STEP_BACK) else 1
        points = ((x - way * arm, y - arm), (x - way * arm, y + arm), (x + way * arm, y))
        if name in (_BACK, _FORTH):
            pygame.draw.polygon(target, color, points)
            pygame.draw.rect(target, color, (x + way * arm - bar // 2, y - arm, bar, 2 * arm))
        elif is_play:
            pygame.draw.polygon(target, color, points)
        else:
            pygame.draw.lines(target, color, False, (points[0], points[2], points[1]), bar)

    def _new_film(self, replay: Replay) -> pygame.Surface:
        """The thumbnails side by side, and under them a marker for each event."""
        area = pygame.Rect(0, 0, self._strip.width, self._box.height)
        film = pygame.Surface(area.size, depth=32)
        film.fill(self._pen.theme.background)
        strip = pygame.Rect(0, 0, self._strip.width, self._strip.height)
        film.fill(self._pen.theme.letterbox, strip)
        count = len(replay.filmstrip.times_ns)
        for index in range(replay.filmstrip.made_count):
            picture = replay.filmstrip.picture(index)
            # From rounded edges, so that neighbouring thumbnails have no gap.
            left, right = strip.width * index // count, strip.width * (index + 1) // count
            if picture is not None:
                film.blit(_covering(picture, (right - left, strip.height)), (left, 0))
        pygame.draw.rect(film, self._pen.theme.line, strip, width=1)
        pygame.draw.line(film, self._pen.theme.line, (0, area.bottom - 1), (area.right, area.bottom - 1))
        arm = self._pen.px(_MARK)
        for marker in replay.markers:
            x, y = self._x_of(_ratio(replay, marker.time_ns)) - self._strip.left, strip.bottom
            color = self._pen.theme.color(MARKER_COLORS[marker.kind])
            pygame.draw.polygon(film, color, ((x, y), (x - arm, y + 2 * arm), (x + arm, y + 2 * arm)))
        return film

    def _draw_head(self, target: pygame.Surface, x: int, color: theme.Color, *, with_knob: bool = True) -> None:
        width = self._pen.px(_HEAD_WIDTH)
        line = pygame.Rect(x - width // 2, self._box.top, width, self._box.height).clamp(self._box)
        pygame.draw.rect(target, self._pen.theme.background, line.inflate(2, 0).clip(self._box))
        pygame.draw.rect(target, color, line)
        if with_knob:
            self._pen.dot(target, (line.centerx, self._track.centery), color, 4)

    def _x_of(self, ratio: float) -> int:
        return self._strip.left + round(min(max(ratio, 0.0), 1.0) * (self._strip.width - 1))

    # --- Events ---

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        replay = scene.session.replay
        if replay is None:
            return False
        match event.type:
            case pygame.MOUSEBUTTONDOWN:
                return self._press(event, replay)
            case pygame.MOUSEMOTION:
                self._pointed = event.pos if self._over_strip(event.pos) else None
                if self._held is not None:
                    self._seek(event.pos, replay)
                return True
            case pygame.MOUSEBUTTONUP if self._held is not None:
                replay.transport.playing, self._held = self._held and not replay.transport.at_end, None
                return True
            case pygame.MOUSEWHEEL:
                return self._wheel(event, replay)
            case pygame.WINDOWLEAVE:
                self._pointed = None
                return True
            case pygame.KEYDOWN:
                return perform(replay, replay_action_of(event.key, getattr(event, "mod", 0)))
        return False

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        replay = scene.session.replay
        name = self._button_at(position)
        if name:
            return f"{name}\n{_TIPS[name]}"
        if self._speed.collidepoint(position):
            return _SPEED_TIP
        if replay is None or not self._over_strip(position):
            return ""
        marks = [f"{_clock(mark.time_ns, replay)}  {mark.text}" for mark in self._marks_at(position, replay)]
        moment_ns = replay.transport.first_ns + round(self._ratio_at(position) * replay.transport.duration_ns)
        return "\n".join([_clock(moment_ns, replay), *marks])

    def _press(self, event: pygame.event.Event, replay: Replay) -> bool:
        transport = replay.transport
        if self._speed.collidepoint(event.pos):
            transport.change_speed(1 if event.button == 1 else -1)
            return True
        if event.button != 1:
            return False
        name = self._button_at(event.pos)
        if name:
            perform(replay, _ACTIONS[name])
            return True
        if not self._over_strip(event.pos):
            return False
        # Paused while the strip is dragged: otherwise the position would run away from the mouse.
        self._held, transport.playing = transport.playing, False
        marks = self._marks_at(event.pos, replay) if self._track.collidepoint(event.pos) else []
        if marks:
            transport.seek(marks[0].time_ns)
        else:
            self._seek(event.pos, replay)
        return True

    def _wheel(self, event: pygame.event.Event, replay: Replay) -> bool:
        if self._speed.collidepoint(event.pos):
            replay.transport.change_speed(1 if event.y > 0 else -1)
        elif self._over_strip(event.pos) and (event.y or event.x):
            replay.step_tick(-1 if event.y > 0 or event.x < 0 else 1)
        else:
            return False
        return True

    def _seek(self, position: tuple[int, int], replay: Replay) -> None:
        replay.transport.seek_ratio(self._ratio_at(position))

    def _ratio_at(self, position: tuple[int, int]) -> float:
        across = (position[0] - self._strip.left) / max(1, self._strip.width - 1)
        return min(max(across, 0.0), 1.0)

    def _over_strip(self, position: tuple[int, int]) -> bool:
        return self._strip.union(self._track).collidepoint(position)

    def _button_at(self, position: tuple[int, int]) -> str:
        return next((name for name, box in self._buttons.items() if box.collidepoint(position)), "")

    def _marks_at(self, position: tuple[int, int], replay: Replay) -> list[Marker]:
        """The events near a position, nearest first."""

        def distance(marker: Marker) -> int:
            return abs(self._x_of(_ratio(replay, marker.time_ns)) - position[0])

        reach = self._pen.px(_MARK_REACH)
        return sorted((mark for mark in replay.markers if distance(mark) <= reach), key=distance)[:4]


_ACTIONS = {
    _BACK: ReplayAction.MARK_BEFORE,
    _STEP_BACK: ReplayAction.TICK_BEFORE,
    _PLAY: ReplayAction.PLAY,
    _STEP: ReplayAction.TICK,
    _FORTH: ReplayAction.MARK,
}
_CALLS: dict[ReplayAction, Callable[[Replay], None]] = {
    ReplayAction.PLAY: lambda replay: replay.transport.toggle(),
    ReplayAction.TICK: lambda replay: replay.step_tick(1),
    ReplayAction.TICK_BEFORE: lambda replay: replay.step_tick(-1),
    ReplayAction.MARK: lambda replay: replay.transport.jump(1),
    ReplayAction.MARK_BEFORE: lambda replay: replay.transport.jump(-1),
    ReplayAction.FASTER: lambda replay: replay.transport.change_speed(1),
    ReplayAction.SLOWER: lambda replay: replay.transport.change_speed(-1),
    ReplayAction.BEGIN: lambda replay: replay.transport.seek_ratio(0.0),
    ReplayAction.END: lambda replay: replay.transport.seek_ratio(1.0),
}
# An action without a call would only be noticed when its key is pressed.
assert set(_CALLS) == set(ReplayAction)


def perform(replay: Replay, action: ReplayAction | None) -> bool:
    """Perform an action on a replay. False for None."""
    if action is None:
        return False
    _CALLS[action](replay)
    return True


def speed_text(speed: float) -> str:
    """A speed as text: `0.25 x`, `10 x`."""
    return f"{speed:g} \N{MULTIPLICATION SIGN}"


def _clock(time_ns: int, replay: Replay) -> str:
    """Minutes, seconds and tenths from the recording's start to a moment."""
    tenths = (time_ns - replay.transport.origin_ns) // 100_000_000
    return f"{format_clock(tenths / 10)}.{tenths % 10}"


def _ratio(replay: Replay, time_ns: int) -> float:
    transport = replay.transport
    return (time_ns - transport.first_ns) / max(1, transport.duration_ns)


def _covering(picture: NDArray[Any], size: tuple[int, int]) -> pygame.Surface:
    """The middle of a picture of palette indices, scaled to fill a box of this size."""
    height, width = picture.shape
    across, down = size
    # The larger factor: the box is filled, and what overlaps is cut off on both sides.
    factor = max(across / width, down / height)
    columns, rows = max(1, min(width, round(across / factor))), max(1, min(height, round(down / factor)))
    left, top = (width - columns) // 2, (height - rows) // 2
    # pygame reads the buffer row by row without strides.
    middle = np.ascontiguousarray(picture[top : top + rows, left : left + columns])
    surface = pygame.image.frombuffer(middle.tobytes(), (columns, rows), "P")
    surface.set_palette(ramp.CANVAS_COLORS)
    # smoothscale does not work on 8-bit surfaces.
    whole = pygame.Surface((columns, rows), depth=32)
    whole.blit(surface, (0, 0))
    return pygame.transform.smoothscale(whole, size) if factor < 1 else pygame.transform.scale(whole, size)
