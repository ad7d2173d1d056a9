"""The window of a session: opens at once, shows the newest frozen view at 30 redraws a second, and never waits.

Not the session: it starts and ends nothing but itself. Invariant: what is drawn depends only on the views, the panels'
picture and the time it is told, so that a picture in memory and one on a display are the same.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from server import clock, palette
from workbench.view import Reading, View
from workbench.window import theme, toolkit
from workbench.window.arrangement import SIZE_MIN, Arrangement, arrange
from workbench.window.banner import Banner
from workbench.window.canvas_view import CanvasView
from workbench.window.header import HeaderView
from workbench.window.help import Help
from workbench.window.hover import Hover
from workbench.window.keys import Action, action_of
from workbench.window.loading import Loading
from workbench.window.overlay import PauseMark, Toast
from workbench.window.pace import Pace
from workbench.window.panels_view import PanelsView
from workbench.window.pen import Pen
from workbench.window.scene import Drawable, Scene, Session
from workbench.window.screenshot import free_path, save_png
from workbench.window.stack import Stack
from workbench.window.status_line import HintLine, StatusLine
from workbench.window.toolkit import pygame

FIGURES_INTERVAL_NS = 250_000_000
"""Numbers change four times a second: faster ones are not read."""
RESIZE_SETTLE_NS = 150_000_000
"""The panels are drawn anew when the window has kept its size for so long, not at every step of a drag."""


class Window:
    """Shows a session, on a display or in memory.

    Raises NoDisplay (see `toolkit`) when there is none and `headless` is false. A headless window takes no keys and
    asks for panels of its size at once; `draw` or `save` it whenever its picture is wanted.
    """

    def __init__(self, session: Session, *, size: tuple[int, int] = (1600, 900), headless: bool = False) -> None:
        self._session = session
        title = f"Pixel Canvas: {session.view().scenario_title}"
        self._display = None if headless else toolkit.Display(title, size, SIZE_MIN)
        self._screen = self._display.surface if self._display else toolkit.offscreen(size)
        self._closed = False
        self._pace = Pace()
        self._arrangement: Arrangement | None = None
        self._arranged_for: tuple[object, ...] = ()
        self._pen = Pen(1)
        self._picture = toolkit.offscreen(size)
        self._ground_drawn = False
        self._reading: Reading | None = None
        self._reading_ns = 0
        self._held_pixels: NDArray[Any] | None = None
        self._panels_asked: tuple[int, int] | None = None
        self._panels_wanted_ns = 0
        self._canvas, self._panels = CanvasView(), PanelsView()
        self._header, self._banner, self._status, self._hints = HeaderView(), Banner(), StatusLine(), HintLine()
        self._toast, self._help, self._hover = Toast(), Help(), Hover(self._canvas)
        self._loading, self._pause_mark = Loading(), PauseMark()
        self._stack = Stack((self._loading, self._pause_mark, self._hover, self._help, self._toast))
        if self._display:
            self._display.set_icon(_icon())
        self.draw()

    @property
    def fps(self) -> float | None:
        """Redraws a second over the last second of `run`; None before there were enough to tell."""
        return self._pace.fps

    @property
    def cpu_cores(self) -> float | None:
        """Processor time of this process / time over the last second of `run`; None before that can be told."""
        return self._pace.cpu_cores

    @property
    def paused(self) -> bool:
        """Whether canvas and panels are held still."""
        return self._held_pixels is not None

    def run(self, until: Callable[[], bool]) -> None:
        """Poll the session and redraw, 30 times a second, until `until()` is true or the person closes the window."""
        while not self._closed and not until():
            now_ns = clock.now_ns()
            self._pace.count(now_ns, clock.process_cpu_ns())
            self._session.poll(now_ns)
            self.step(now_ns)
            clock.wait_s(self._pace.rest_s(clock.now_ns()))

    def draw(self) -> pygame.Surface:
        """Bring the picture up to date. Returns it: the window's own surface, changed by the next draw."""
        self._reading = None
        return self.step(clock.now_ns())

    def step(self, now_ns: int) -> pygame.Surface:
        """One redraw: take what the person did, draw what changed, show it. Returns the picture."""
        if self._display:
            self._screen = self._take_events(self._display, now_ns)
        view = self._session.view()
        self._arrange(view, now_ns)
        self._toast.advance(now_ns)
        self._hover.advance(now_ns)
        changed = self._draw_changes(self._scene(view, now_ns))
        if changed and self._display:
            self._display.show()
        return self._screen

    def save(self, path: str | Path) -> None:
        """Write the picture of now as PNG, whatever the suffix. Raises OSError."""
        save_png(self.draw(), Path(path))

    def close(self) -> None:
        """Close the window on the display. A headless one has nothing to close."""
        if self._display:
            self._display.close()

    def press(self, action: Action, now_ns: int) -> None:
        """Do what a key asks for."""
        if action is Action.PAUSE:
            self._toggle_pause(now_ns)
        elif action is Action.SCREENSHOT:
            self._take_screenshot(now_ns)
        elif action is Action.HELP:
            self._help.shown = not self._help.shown
        elif action is Action.FULL_SCREEN:
            self._toggle_full_screen()
        elif self._help.shown:
            self._help.shown = False
        else:
            self._closed = True

    def _take_events(self, display: toolkit.Display, now_ns: int) -> pygame.Surface:
        """Do what the person asked for. Returns the surface to draw on, which a change of size replaces."""
        for event in pygame.event.get():
            if event.type in (pygame.QUIT, pygame.WINDOWCLOSE):
                self._closed = True
            elif event.type == pygame.KEYDOWN:
                action = action_of(event.key)
                if action:
                    self.press(action, now_ns)
            elif event.type == pygame.MOUSEMOTION:
                self._hover.move(event.pos, now_ns)
            elif event.type == pygame.WINDOWLEAVE:
                self._hover.move(None, now_ns)
            elif event.type == pygame.WINDOWEXPOSED:
                display.show()  # What the desktop covered is lost; what we drew is still in our surface.
        return display.surface

    def _drawables(self) -> tuple[Drawable, ...]:
        return self._header, self._banner, self._canvas, self._panels, self._status, self._hints

    def _arrange(self, view: View, now_ns: int) -> None:
        """Give every view its box when the window, the canvas's shape or the number of failures changed."""
        height, width = view.pixels.shape
        key = (self._screen.size, (width, height), len(view.failures))
        if key != self._arranged_for:
            self._arranged_for = key
            boxes = self._arrangement = arrange(self._screen.size, (width, height), len(view.failures))
            self._pen = self._pen if self._pen.scale == boxes.scale else Pen(boxes.scale)
            self._picture = toolkit.offscreen(boxes.size)
            self._picture.fill(theme.BACKGROUND)
            places = (boxes.header, boxes.banner, boxes.canvas, boxes.panels, boxes.status, boxes.hints)
            for drawable, box in zip(self._drawables(), places, strict=True):
                drawable.place(box, self._pen)
            self._loading.canvas = self._pause_mark.canvas = boxes.canvas
            self._ground_drawn = False
            self._panels_wanted_ns = now_ns
        self._ask_for_panels(now_ns)

    def _ask_for_panels(self, now_ns: int) -> None:
        """Have the panels drawn at the size of their box, once that stands still."""
        assert self._arrangement is not None
        wanted = self._arrangement.panels.size
        settled = self._panels_asked is None or now_ns - self._panels_wanted_ns >= RESIZE_SETTLE_NS
        if wanted != self._panels_asked and settled:
            self._session.resize_panels(*wanted, float(self._arrangement.scale))
            self._panels_asked = wanted

    def _scene(self, view: View, now_ns: int) -> Scene:
        if self._reading is None or now_ns - self._reading_ns >= FIGURES_INTERVAL_NS:
            self._reading, self._reading_ns = view.reading, now_ns
            self._shown_fps, self._shown_cores = self.fps, self.cpu_cores
        pixels = view.pixels if self._held_pixels is None else self._held_pixels
        picture = self._session.picture
        return Scene(view, self._reading, pixels, picture, self.paused, self._shown_fps, self._shown_cores)

    def _draw_changes(self, scene: Scene) -> list[pygame.Rect]:
        dirty = [rect for drawable in self._drawables() for rect in drawable.draw(self._picture, scene)]
        if not self._ground_drawn:
            self._ground_drawn, dirty = True, [self._picture.get_rect()]
        return self._stack.compose(self._screen, self._picture, dirty, scene, self._pen)

    def _toggle_pause(self, now_ns: int) -> None:
        if self._held_pixels is not None:
            self._held_pixels = None
            self._panels.release()
            return
        view = self._session.view()
        self._panels.hold(self._scene(view, now_ns))
        self._held_pixels = view.pixels.copy()

    def _take_screenshot(self, now_ns: int) -> None:
        path = free_path(Path.cwd(), self._session.view().scenario_name)
        try:
            save_png(self._screen, path)
        except OSError as error:
            self._toast.show(f"no screenshot: {error.strerror}: {path}", now_ns, theme.VERMILION)
        else:
            self._toast.show(f"saved {path}", now_ns)

    def _toggle_full_screen(self) -> None:
        if self._display:
            self._display.toggle_full_screen()
            self._arranged_for = ()


def _icon() -> pygame.Surface:
    """A mark in the heat colours."""
    ramp = bytes(palette.HEAT_FIRST + x + y for y in range(32) for x in range(32))
    icon = pygame.image.frombuffer(ramp, (32, 32), "P")
    icon.set_palette([tuple(color) for color in palette.PALETTE.tolist()])
    return icon
