"""The window of a session: shows the latest frozen view at 30 or 60 redraws per second, and never blocks.

It does not start or stop the session. The picture depends only on the views, the panels' picture and the
time passed in, so a picture in memory and one on a display are equal.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plots.ipc import ShowPanels
from server import palette
from server.system import clock
from workbench.errors import CommandError, line_of
from workbench.output_file import current_folder, write_atomically
from workbench.scenarios.scenario import Scenario
from workbench.telemetry.view import Reading, View
from workbench.window.knobs.knobs_column import Callbacks
from workbench.window.shell.layout import VIEWS, Layout
from workbench.window.shell.pace import Pace
from workbench.window.shell.saving import free_path, put_on_clipboard, rgb_of, save_png
from workbench.window.toolkit.arrangement import SIZE_MIN
from workbench.window.toolkit.display import Display, offscreen, pygame
from workbench.window.toolkit.keys import Action, action_of
from workbench.window.toolkit.routing import BUTTONS, Router
from workbench.window.toolkit.scene import Scene, Session
from workbench.window.toolkit.theme import THEMES, Name

# Numbers change four times per second; faster ones cannot be read.
FIGURES_INTERVAL_NS = 250_000_000
# The panels are redrawn once the window has kept its size for this long, not at every step of a drag.
RESIZE_SETTLE_NS = 150_000_000


class Window:
    """Shows a session, on a display or in memory.

    Raises NoDisplay when there is no display and `headless` is false. A headless window gets no events; call `draw` or
    `save` for a picture.
    """

    def __init__(self, session: Session, *, size: tuple[int, int] = (1600, 900), headless: bool = False) -> None:
        self._session = session
        self._display = None if headless else Display(_title(session), size, SIZE_MIN)
        self._screen = self._display.surface if self._display else offscreen(size)
        self._closed = self._ending = self._hurried = False
        self._pace, self._picture_count = Pace(), 0
        self._callbacks = Callbacks(self._copy_scenario, self._want_restart, self._fold, self._complain)
        self._layout, self._router = Layout(self._callbacks, self._switch_theme, self._want), Router()
        self.require: Callable[[Scenario], None] = lambda scenario: None
        """Raises UserError for a scenario that cannot run after this session; set by the caller."""
        self.on_picture: Callable[[], None] = lambda: None
        """Called for each picture that differs from the last and is brought to the display; set by the caller."""
        self.wanted: Scenario | None = None
        """The scenario that the user picked; the caller ends this session and starts one of it."""
        self.caption = ""
        """A line over the picture, such as the tour's; "" for none."""
        self.guided = False
        """Whether the tour is running, so that the keys for the next and previous scenario work."""
        self.leg_step = 0
        """The user wants the tour's next (1) or previous (-1) scenario; 0: neither."""
        self._reading: Reading | None = None
        self._reading_ns = 0
        self._held_pixels: NDArray[Any] | None = None
        self._panels_asked: tuple[int, int] | None = None
        self._panels_wanted_ns = 0
        self._panels_order = self._layout.choice.order(self._layout.theme.name)
        self._begin_choice()
        if self._display:
            self._display.set_icon(_icon())
        self.draw()

    @property
    def closed(self) -> bool:
        """Whether the user closed it."""
        return self._closed

    @property
    def panels_size(self) -> tuple[int, int]:
        """Width and height in pixels that the panels' picture should have."""
        return self._layout.boxes.panels.size

    @property
    def paused(self) -> bool:
        """Whether canvas and panels are frozen."""
        return self._held_pixels is not None

    def run(self, until: Callable[[], bool]) -> None:
        """Poll the session and redraw until `until()` is true, or the user closes the window or wants another run."""
        # The window never waits for the session: `poll` and `view` return at once, and sleep is the only wait.
        while not self._closed and self.wanted is None and not self.leg_step and not until():
            now_ns = clock.now_ns()
            self._pace.count(now_ns, clock.process_cpu_ns(), self._picture_count)
            self._session.poll(now_ns)
            self.step(now_ns)
            clock.wait_s(self._pace.rest_s(clock.now_ns()))

    def attend(self, caption: str) -> bool:
        """One redraw while the session ends, with this line over it. False once the user does not want to wait."""
        self._ending, self.caption = True, caption
        self.step(clock.now_ns())
        return not self._hurried

    def draw(self) -> pygame.Surface:
        """Update the picture and return it: the window's own surface, which the next draw changes."""
        # A single picture shows the current figures, not those of the last quarter of a second.
        self._reading = None
        return self.step(clock.now_ns())

    def step(self, now_ns: int) -> pygame.Surface:
        """One redraw: handle events, draw what changed, show it. Returns the picture."""
        if self._display:
            self._screen = self._take_events(self._display, now_ns)
        view = self._session.view()
        if self._layout.arrange(self._screen.size, view, is_replay=self._session.replay is not None):
            self._panels_wanted_ns = now_ns
        # After `arrange`, whose boxes they use, and before drawing: the panels' process works meanwhile.
        self._ask_for_panels(now_ns)
        self._order_panels()
        self._layout.toast.advance(now_ns)
        self._layout.caption.text, self._layout.caption.guided = self.caption, self.guided
        self._layout.hover.advance(now_ns)
        scene = self._scene(view, now_ns)
        targets = self._layout.targets()
        tip = self._router.tip(targets, scene, now_ns)
        self._layout.tooltip.show(None if tip is not None and self._layout.hides(tip[1]) else tip)
        self._layout.mark_focus(self._router.focused if self._router.ring_shown else None)
        if self._layout.draw(self._screen, scene) and self._display:
            self._display.show()
            self._picture_count += 1
            self.on_picture()
        return self._screen

    def show(self, session: Session) -> None:
        """Show another session from now on, and clear `wanted`."""
        self._session, self.wanted, self.leg_step = session, None, 0
        self._ending, self._hurried, self.caption = False, False, ""
        self._held_pixels, self._reading = None, None
        self._layout.panels.release()
        # Another session has another process for its panels, which knows no size yet.
        self._panels_asked = None
        self._begin_choice()
        self._panels_order = self._layout.choice.order(self._layout.theme.name)
        session.show_panels(self._panels_order)
        self._layout.forget()
        if self._display:
            self._display.set_title(_title(session))
        self.draw()

    def ask(self) -> None:
        """Open the start picker beside the running scenario."""
        self._layout.start.open(self._scene(self._session.view(), clock.now_ns()))

    def show_panels(self, order: ShowPanels) -> None:
        """Ask for these panels, in the window's theme."""
        self._layout.choice.take(order)
        self._order_panels()

    def show_view(self, name: str) -> None:
        """Bring the window into one of `VIEWS`, and out of all others. Raises ValueError for another name."""
        if name not in VIEWS:
            raise ValueError(f"view is {name!r}; it must be one of {', '.join(VIEWS)}")
        self.use_theme("light" if name == "light" else "dark")
        scene = self._scene(self._session.view(), clock.now_ns())
        self._layout.show_view(name, scene)

    def save(self, path: str | Path) -> None:
        """Draw, and write the picture as PNG, whatever the suffix. Raises RunError."""
        save_png(self.draw(), Path(path))

    def picture(self) -> NDArray[np.uint8]:
        """The last picture as red, green and blue, shape (height, width, 3)."""
        return rgb_of(self._screen)

    def close(self) -> None:
        """Close the window on the display. No effect when headless."""
        if self._display:
            self._display.close()

    def press(self, action: Action, now_ns: int) -> bool:
        """Perform an action. False when it belongs to one of the views."""
        match action:
            case Action.PAUSE:
                self._toggle_pause(now_ns)
            case Action.SCREENSHOT:
                self._take_screenshot(now_ns)
            case Action.HELP:
                self._layout.help.shown = not self._layout.help.shown
            case Action.FULL_SCREEN:
                self._toggle_full_screen()
            case Action.WHY:
                self._layout.toggle_explanation()
            case Action.KNOBS:
                self._fold(now_ns)
            case Action.SCENARIOS:
                self._layout.picker.open(self._scene(self._session.view(), now_ns))
            case Action.PANELS:
                self._layout.chooser.open(0)
            case Action.UNDO:
                self._session.controls.undo(now_ns)
            case Action.REDO:
                self._session.controls.redo(now_ns)
            case Action.THEME:
                self._switch_theme()
            case Action.TOUR_NEXT | Action.TOUR_BACK if self.guided:
                self.leg_step = 1 if action is Action.TOUR_NEXT else -1
            case Action.NEXT:
                self._router.move_focus(1, self._layout.targets())
            case Action.PREVIOUS:
                self._router.move_focus(-1, self._layout.targets())
            case Action.QUIT if self._layout.help.shown:
                self._layout.help.shown = False
            case Action.ADDRESS:
                self._layout.address.shown = not self._layout.address.shown
            case Action.QUIT if self._layout.address.shown:
                self._layout.address.shown = False
            case Action.QUIT if self._layout.explanation.shown:
                self._layout.explanation.shown = False
            case Action.QUIT:
                self._closed = True
            case _:
                return False
        return True

    def _take_events(self, display: Display, now_ns: int) -> pygame.Surface:
        """Handle the pending events. Returns the surface to draw on, which a resize replaces."""
        for event in pygame.event.get():
            if event.type in (pygame.QUIT, pygame.WINDOWCLOSE):
                self._closed, self._hurried = True, self._ending
            elif event.type == pygame.WINDOWEXPOSED:
                display.show()  # What other windows covered is lost on the display, not in our surface.
            elif not self._ending:
                self._attempt(event, now_ns)
            elif event.type == pygame.KEYDOWN and action_of(event.key) is Action.QUIT:
                self._hurried = True  # While the session ends, no other key has an effect.
        return display.surface

    def _attempt(self, event: pygame.event.Event, now_ns: int) -> None:
        """Handle an event. If that fails, a message in the window says why, and the run continues."""
        try:
            self._take(event, now_ns)
        except (CommandError, OSError, pygame.error) as error:
            self._complain(line_of(error), now_ns)

    def _take(self, event: pygame.event.Event, now_ns: int) -> None:
        """Dispatch a mouse or keyboard event to a view, or perform its action."""
        scene, targets = self._scene(self._session.view(), now_ns), self._layout.targets()
        if event.type == pygame.MOUSEMOTION:
            self._layout.hover.move(event.pos, now_ns)
        elif event.type == pygame.WINDOWLEAVE:
            self._layout.hover.move(None, now_ns)
        is_press = event.type == pygame.MOUSEBUTTONDOWN and event.button in BUTTONS
        # A press beside the start picker closes it, and must not also reach what is below.
        if is_press and self._layout.page is self._layout.start and self._layout.start.leave(event.pos):
            return
        if event.type == pygame.KEYDOWN and self._layout.page and self._layout.page.handle(event, scene, now_ns):
            return
        # Order of a key: the open card, the focused view, the playback bar, Escape for modes, the window, all other
        # views.
        if self._router.route(event, targets, scene, now_ns) or event.type != pygame.KEYDOWN:
            return
        if not self._layout.covered and self._layout.playback.handle(event, scene, now_ns):
            return
        action = action_of(event.key, getattr(event, "mod", 0))
        # Escape leaves a view's mode before it closes the window.
        escapes = event.key == pygame.K_ESCAPE and not self._layout.covered
        if escapes and self._router.offer(event, targets, scene, now_ns):
            return
        if action is None or not self.press(action, now_ns):
            self._router.offer(event, targets, scene, now_ns)

    def _ask_for_panels(self, now_ns: int) -> None:
        """Ask for panels of the size of their box, once it is stable."""
        wanted = self._layout.boxes.panels.size
        # At the start there is no size to be stable: the first one is asked for at once.
        settled = self._panels_asked is None or now_ns - self._panels_wanted_ns >= RESIZE_SETTLE_NS
        if wanted != self._panels_asked and settled:
            self._session.resize_panels(*wanted, float(self._layout.boxes.scale))
            self._panels_asked = wanted

    def _order_panels(self) -> None:
        """Ask for other panels when the choice changed."""
        self._layout.choice.brushed = self._layout.canvas_area.mouse.brushed
        order = self._layout.choice.order(self._layout.theme.name)
        if order != self._panels_order:
            self._panels_order = order
            self._session.show_panels(order)

    def _begin_choice(self) -> None:
        self._layout.choice.begin(has_hostile=self._session.controls.scenario.fleet.hostile.connections > 0)

    def _scene(self, view: View, now_ns: int) -> Scene:
        # One reading for all views: figures next to each other must be of the same moment.
        if self._reading is None or now_ns - self._reading_ns >= FIGURES_INTERVAL_NS:
            self._reading, self._reading_ns = view.reading, now_ns
            self._shown_fps, self._shown_cores = self._pace.fps, self._pace.cpu_cores
        pixels = view.pixels if self._held_pixels is None else self._held_pixels
        picture = self._session.picture
        return Scene(
            self._session, view, self._reading, pixels, picture, self.paused, self._shown_fps, self._shown_cores
        )

    def _toggle_pause(self, now_ns: int) -> None:
        if self._held_pixels is not None:
            self._held_pixels = None
            self._layout.panels.release()
            return
        view = self._session.view()
        self._layout.panels.hold(self._scene(view, now_ns))
        # A copy: the view's pixels are the shared page, which the server keeps changing.
        self._held_pixels = view.pixels.copy()

    def _take_screenshot(self, now_ns: int) -> None:
        path = free_path(current_folder(), self._session.view().scenario_name, "-{:03}.png")
        save_png(self._screen, path)
        self._layout.toast.show(f"saved {path}", now_ns)

    def use_theme(self, name: Name) -> None:
        """Draw window and panels in this theme from now on."""
        self._layout.theme = THEMES[name]
        self._order_panels()

    def _switch_theme(self) -> None:
        self.use_theme(self._layout.theme.other.name)

    def _fold(self, now_ns: int) -> None:
        self._layout.knobs.folded = not self._layout.knobs.folded

    def _want(self, scenario: Scenario) -> None:
        self.require(scenario)
        self.wanted = scenario

    def _want_restart(self, now_ns: int) -> None:
        self._want(self._session.controls.scenario)

    def _complain(self, text: str, now_ns: int) -> None:
        self._layout.toast.show(text, now_ns, "vermilion")

    def _copy_scenario(self, now_ns: int) -> None:
        """Save the settings as a file and to the clipboard; a toast says where."""
        text = self._session.controls.as_toml()
        path = free_path(current_folder(), self._session.view().scenario_name, "-{}.toml")
        write_atomically(path, text.encode())
        copied = " and on the clipboard" if self._display and put_on_clipboard(text) else ""
        self._layout.toast.show(f"saved {path}{copied}", now_ns)

    def _toggle_full_screen(self) -> None:
        if self._display:
            self._display.toggle_full_screen()
            self._layout.forget()


def _title(session: Session) -> str:
    return f"Pixel Canvas: {session.view().scenario_title}"


def _icon() -> pygame.Surface:
    """A square in the heat colours."""
    # 32 x 32 indices into the palette: the heat colours from corner to corner.
    ramp = bytes(palette.HEAT_FIRST + x + y for y in range(32) for x in range(32))
    icon = pygame.image.frombuffer(ramp, (32, 32), "P")
    icon.set_palette([tuple(color) for color in palette.PALETTE.tolist()])
    return icon
