"""The panels: a picture that their own process draws into a double buffer, copied when a new one is finished.

It never waits for that process. A picture of another size than the box is scaled until the next one arrives; before the
first, there are four empty frames. A drag moves back in time; a click on a title opens the list of panels.
"""

from collections.abc import Callable

from plots.geometry import TICK_LABEL_WIDTH, panel_widths
from plots.ipc import Picture, Pixels
from server.ipc.page import Page
from workbench.telemetry.view import Part
from workbench.window.panels.panel_choice import PanelChoice
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import ENTER, Action, action_of
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.view import Drawable, Focusable

_FRAME_GAP = 14
# Height of a panel's title and legend, and how far above the middle the lower panels begin: the legends of the upper
# ones have fewer rows.
_HEAD, _HEAD_RAISED = 46, 4
_DRAG_LEAST = 4
_NANOSECONDS = 1_000_000_000
_ARROWS = {pygame.K_LEFT: -1, pygame.K_RIGHT: 1}
_SPANS = {pygame.K_UP: 1, pygame.K_DOWN: -1}


def fitted(size: tuple[int, int], box: pygame.Rect) -> pygame.Rect:
    """The largest rectangle with the aspect ratio of `size` in `box`, centred."""
    factor = min(box.width / size[0], box.height / size[1])
    place = pygame.Rect(0, 0, max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
    place.center = box.center
    return place


class PanelsView(Drawable, Focusable):
    """Draws the newest finished picture, or the one held by a paused view. `choice`: what the panels show."""

    def __init__(self, choice: PanelChoice, on_choose: Callable[[int], None]) -> None:
        self.choice, self._on_choose = choice, on_choose
        self._page: Page | None = None
        # The newest complete picture of that page; None before the first.
        self._newest: pygame.Surface | None = None
        self._serial = 0
        self._pixels: Pixels | None = None
        # The memory of the picture before the last: the next one is read into it, so that none is allocated.
        self._spare: Pixels | None = None
        self._held: pygame.Surface | None = None
        self._focused = self._ringed = False
        # Where the button was pressed, and the time at the right edge then.
        self._pressed: tuple[tuple[int, int], int] | None = None
        self._dragged = False

    def hold(self, scene: Scene) -> None:
        """Keep showing the current picture, if there is one."""
        self._look(scene)
        self._held = self._newest.copy() if self._newest else None

    def release(self) -> None:
        """Follow the newest picture again."""
        self._held = None
        self.forget()

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        self._look(scene)
        picture = self._held or self._newest
        shown = ("held",) if self._held else (self._serial, () if picture else self._notice(scene))
        state: tuple[object, ...] = (*shown, self.choice.live, self._ringed)
        if state == self._drawn:
            return []
        self._drawn = state
        if picture is None:
            self._draw_frames(target, self._notice(scene))
        # The usual case, a plain copy; after a resize the old picture is scaled until the new one is drawn.
        elif picture.size == self._box.size:
            target.blit(picture, self._box)
        else:
            self._draw_fitted(target, picture)
        if not self.choice.live:
            color, width = self._pen.theme.orange, self._pen.px(2)
            pygame.draw.rect(target, color, self._box, width=width, border_radius=self._pen.px(4))
        if self._ringed:
            self._pen.ring(target, self._box)
        return [self._box]

    # --- Events ---

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        match event.type:
            case pygame.MOUSEBUTTONDOWN if event.button == 1:
                self._pressed = (event.pos, self.choice.end_ns or scene.view.now_ns)
                self._dragged, self._focused = False, True
                return True
            case pygame.MOUSEMOTION if self._pressed is not None:
                return self._drag(event.pos, scene, *self._pressed)
            case pygame.MOUSEBUTTONUP if self._pressed is not None:
                return self._release(event.pos)
            case pygame.MOUSEWHEEL:
                return self._wheel(event, scene)
            case pygame.KEYDOWN:
                return self._press_key(event, scene)
        return False

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        if self._title_at(position) is not None:
            return "panel\nClick to choose another panel. Key: V"
        return "panels\nDrag: move in time. Wheel: longer or shorter time range. N: follow the present"

    def step_focus(self, step: int) -> bool:
        self._focused = self._ringed = not self._focused
        return self._focused

    def drop_focus(self) -> None:
        self._focused = self._ringed = False

    def _drag(self, position: tuple[int, int], scene: Scene, start: tuple[int, int], end_ns: int) -> bool:
        across = position[0] - start[0]
        # A small movement is still a click: hands tremble.
        self._dragged = self._dragged or abs(across) > self._pen.px(_DRAG_LEAST)
        if self._dragged:
            # A drag moves time by the width of a plot, so that the line stays under the mouse.
            plot = panel_widths(self._box.width, self._pen.scale, len(self.choice.names))[0]
            plot -= self._pen.px(TICK_LABEL_WIDTH)
            passed_ns = round(across / max(1, plot) * self.choice.span_s * _NANOSECONDS)
            self._release_hold()
            self.choice.travel_to(end_ns - passed_ns, scene.view.now_ns, _begin_ns(scene))
        return True

    def _release(self, position: tuple[int, int]) -> bool:
        self._pressed = None
        place = self._title_at(position)
        if not self._dragged and place is not None:
            self._on_choose(place)
        return True

    def _wheel(self, event: pygame.event.Event, scene: Scene) -> bool:
        """Up and down: a shorter or longer time range. Sideways, or with Shift: move in time."""
        held = pygame.key.get_mods() if pygame.display.get_init() else 0
        # A touchpad reports both axes at once; a sideways part moves in time.
        sideways = event.x or (event.y if held & pygame.KMOD_SHIFT else 0)
        if sideways:
            self._travel(sideways, scene)
        elif event.y:
            self.choice.turn_span(-1 if event.y > 0 else 1)
        return True

    def _press_key(self, event: pygame.event.Event, scene: Scene) -> bool:
        action = action_of(event.key, getattr(event, "mod", 0))
        if action is Action.TRAVEL or (self._focused and event.key in _ARROWS):
            self._travel(1 if event.key in (pygame.K_PERIOD, pygame.K_RIGHT) else -1, scene)
        elif action in (Action.SPAN, Action.SPAN_BACK):
            self.choice.turn_span(1 if action is Action.SPAN else -1)
        elif action is Action.NOW or (self._focused and event.key == pygame.K_END):
            self.choice.go_live()
        elif self._focused and event.key in _SPANS:
            self.choice.turn_span(_SPANS[event.key])
        elif self._focused and event.key in ENTER[:2]:
            self._on_choose(0)
        else:
            return False
        return True

    def _travel(self, steps: float, scene: Scene) -> None:
        self._release_hold()
        self.choice.travel(steps, scene.view.now_ns, _begin_ns(scene))

    def _release_hold(self) -> None:
        """Moving in time ends the hold: the panels then show the past."""
        if self._held is not None:
            self.release()

    def _title_at(self, position: tuple[int, int]) -> int | None:
        """The position of the panel whose title or legend is at a point."""
        box, pen = self._box, self._pen
        # The boxes of the panels are known to their process only; titles are near the top of each half.
        row = int(position[1] >= box.centery - pen.px(_HEAD_RAISED))
        top = box.centery - pen.px(_HEAD_RAISED) if row else box.top
        if not box.collidepoint(position) or position[1] >= top + pen.px(_HEAD):
            return None
        return 2 * row + int(position[0] >= box.centerx)

    # --- Inside ---

    def _look(self, scene: Scene) -> None:
        """Read the newest picture. One that is overwritten meanwhile is skipped until the next redraw."""
        # Another session has another page, whose serials start again.
        if self._page is not scene.picture:
            self._page, self._newest, self._serial = scene.picture, None, 0
        found = Picture(scene.picture).read(self._serial, self._spare)
        if found is not None:
            self._serial, pixels = found
            height, width, _ = pixels.shape
            # pygame draws from this memory without a copy: the next picture must be read into the other one.
            self._spare, self._pixels = self._pixels, pixels.reshape(-1)
            self._newest = pygame.image.frombuffer(self._pixels.data, (width, height), "RGBX")

    def _draw_fitted(self, target: pygame.Surface, picture: pygame.Surface) -> None:
        target.fill(self._pen.theme.background, self._box)
        place = fitted(picture.size, self._box)
        # smoothscale keeps the byte order of its source, which a blit converts: do not scale into the target.
        target.blit(pygame.transform.smoothscale(picture, place.size), place)

    @staticmethod
    def _notice(scene: Scene) -> tuple[str, ...]:
        panels: Part | None = next((part for part in scene.view.parts if part.name == "panels"), None)
        if panels is None:
            return ("panels", "not part of this session")
        return ("panels", "failed" if panels.failure else panels.state)

    def _draw_frames(self, target: pygame.Surface, notice: tuple[str, ...]) -> None:
        """Four empty frames, and a notice."""
        target.fill(self._pen.theme.background, self._box)
        gap, colors = self._pen.px(_FRAME_GAP), self._pen.theme
        width, height = (self._box.width - gap) // 2, (self._box.height - gap) // 2
        for column in range(2):
            for row in range(2):
                corner = (self._box.left + column * (width + gap), self._box.top + row * (height + gap))
                self._pen.card(target, pygame.Rect(corner, (width, height)), colors.header, colors.surface)
        text = " ".join(notice)
        pill = pygame.Rect(0, 0, self._pen.width(text, theme.NOTE) + self._pen.px(36), self._pen.px(36))
        pill.center = self._box.center
        self._pen.card(target, pill, self._pen.theme.raised, self._pen.theme.line)
        self._pen.write(target, text, pill, theme.NOTE, "center")


def _begin_ns(scene: Scene) -> int:
    """When the load began."""
    return scene.view.now_ns - round(scene.view.run_seconds * _NANOSECONDS)
