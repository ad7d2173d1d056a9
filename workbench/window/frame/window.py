"""The window of a session: opens at once, shows the newest frozen view at 30 or 60 redraws a second, never waits.

Not the session: it starts and ends nothing but itself. Invariant: what is drawn depends only on the views, the panels'
picture and the time it is told, so that a picture in memory and one on a display are the same.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server import palette
from server.ipc.control import ShowPanels
from server.system import clock
from workbench.errors import CommandError, line_of
from workbench.output_file import current_folder, write_atomically
from workbench.scenarios.scenario import Scenario
from workbench.telemetry.view import Reading, View
from workbench.window.frame.layout import VIEWS, Frame
from workbench.window.frame.pace import Pace
from workbench.window.frame.scenario_copy import free_toml_path, put_on_clipboard
from workbench.window.frame.screenshot import free_path, rgb_of, save_png
from workbench.window.knobs.knobs_column import Callbacks
from workbench.window.toolkit import theme, toolkit
from workbench.window.toolkit.arrangement import SIZE_MIN
from workbench.window.toolkit.keys import Action, action_of
from workbench.window.toolkit.routing import BUTTONS, Router
from workbench.window.toolkit.scene import Scene, Session
from workbench.window.toolkit.toolkit import pygame

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
        self._display = None if headless else toolkit.Display(_title(session), size, SIZE_MIN)
        self._screen = self._display.surface if self._display else toolkit.offscreen(size)
        self._closed = self._ending = self._hurried = False
        self._pace = Pace()
        self._deeds = Callbacks(self._copy_scenario, self._want_restart, self._fold, self._complain)
        self._frame, self._router = Frame(self._deeds, self._switch_theme, self._want), Router()
        self.require: Callable[[Scenario], None] = lambda scenario: None
        """Raises UserError for what could not be run after this session; set by what would run it."""
        self.wanted: Scenario | None = None
        """What the person wants to see next; whoever runs the window ends this session and shows one of it."""
        self.caption = ""
        """A line over the picture, such as a guided demo's; "" for none."""
        self.guided = False
        """Whether a guided demo is shown, in which one may go on and back."""
        self.leg_step = 0
        """How many of the demo's scenarios the person wants to go on (1) or back (-1); 0: none."""
        self._reading: Reading | None = None
        self._reading_ns = 0
        self._held_pixels: NDArray[Any] | None = None
        self._panels_asked: tuple[int, int] | None = None
        self._panels_wanted_ns = 0
        self._panels_order = self._frame.choice.order()
        self._begin_choice()
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
    def closed(self) -> bool:
        """Whether the person is done with it."""
        return self._closed

    @property
    def panels_size(self) -> tuple[int, int]:
        """Width and height in pixels that the panels' picture has when it fits."""
        return self._frame.boxes.panels.size

    @property
    def paused(self) -> bool:
        """Whether canvas and panels are held still."""
        return self._held_pixels is not None

    def run(self, until: Callable[[], bool]) -> None:
        """Poll the session and redraw until `until()` is true, the person closes the window or wants another run."""
        while not self._closed and self.wanted is None and not self.leg_step and not until():
            now_ns = clock.now_ns()
            self._pace.count(now_ns, clock.process_cpu_ns())
            self._session.poll(now_ns)
            self.step(now_ns)
            clock.wait_s(self._pace.rest_s(clock.now_ns()))

    def attend(self, caption: str) -> bool:
        """One redraw while the session ends, with this line over it. False once the person will not wait for that."""
        self._ending, self.caption = True, caption
        self.step(clock.now_ns())
        return not self._hurried

    def draw(self) -> pygame.Surface:
        """Bring the picture up to date. Returns it: the window's own surface, changed by the next draw."""
        self._reading = None
        return self.step(clock.now_ns())

    def step(self, now_ns: int) -> pygame.Surface:
        """One redraw: take what the person did, draw what changed, show it. Returns the picture."""
        if self._display:
            self._screen = self._take_events(self._display, now_ns)
        view = self._session.view()
        if self._frame.arrange(self._screen.size, view, is_replay=self._session.replay is not None):
            self._panels_wanted_ns = now_ns
        self._ask_for_panels(now_ns)
        self._order_panels()
        self._frame.toast.advance(now_ns)
        self._frame.caption.text, self._frame.caption.guided = self.caption, self.guided
        self._frame.hover.advance(now_ns)
        scene = self._scene(view, now_ns)
        targets = self._frame.targets()
        tip = self._router.tip(targets, scene, now_ns)
        self._frame.tooltip.show(None if tip is not None and self._frame.hides(tip[1]) else tip)
        self._frame.mark_focus(self._router.focused if self._router.ring_shown else None)
        if self._frame.draw(self._screen, scene) and self._display:
            self._display.show()
        return self._screen

    def show(self, session: Session) -> None:
        """Show another session from now on; what was wanted is had."""
        self._session, self.wanted, self.leg_step = session, None, 0
        self._ending, self._hurried, self.caption = False, False, ""
        self._held_pixels, self._reading = None, None
        self._frame.panels.release()
        self._panels_asked = None
        self._begin_choice()
        self._panels_order = self._frame.choice.order()
        session.show_panels(self._panels_order)
        self._frame.forget()
        if self._display:
            self._display.set_title(_title(session))
        self.draw()

    def ask(self) -> None:
        """Ask the person what to see, beside what runs already."""
        self._frame.start.open(self._scene(self._session.view(), clock.now_ns()))

    def show_panels(self, order: ShowPanels) -> None:
        """Have the panels show this, in the window's colours."""
        self._frame.choice.take(order)
        self._order_panels()

    def views(self) -> tuple[str, ...]:
        """The states that are worth a picture, for `show_view`."""
        return VIEWS

    def show_view(self, name: str) -> None:
        """Bring the window into one of these states, and out of all others. Raises ValueError for a name of none."""
        if name not in VIEWS:
            raise ValueError(f"view is {name!r}; it must be one of {', '.join(VIEWS)}")
        self.use_theme("light" if name == "light" else "dark")
        scene = self._scene(self._session.view(), clock.now_ns())
        self._frame.show_view(name, scene)

    def save(self, path: str | Path) -> None:
        """Write the picture of now as PNG, whatever the suffix. Raises RunError."""
        save_png(self.draw(), Path(path))

    def picture(self) -> NDArray[np.uint8]:
        """What the last step drew: red, green and blue, shape (height, width, 3)."""
        return rgb_of(self._screen)

    def close(self) -> None:
        """Close the window on the display. A headless one has nothing to close."""
        if self._display:
            self._display.close()

    def press(self, action: Action, now_ns: int) -> bool:
        """Do what a key asks for. False when it is not for the window but for one of its views."""
        match action:
            case Action.PAUSE:
                self._toggle_pause(now_ns)
            case Action.SCREENSHOT:
                self._take_screenshot(now_ns)
            case Action.HELP:
                self._frame.help.shown = not self._frame.help.shown
            case Action.FULL_SCREEN:
                self._toggle_full_screen()
            case Action.WHY:
                self._frame.toggle_explanation()
            case Action.KNOBS:
                self._fold(now_ns)
            case Action.SCENARIOS:
                self._frame.picker.open(self._scene(self._session.view(), now_ns))
            case Action.PANELS:
                self._frame.chooser.open(0)
            case Action.UNDO:
                self._session.controls.undo(now_ns)
            case Action.REDO:
                self._session.controls.redo(now_ns)
            case Action.THEME:
                self._switch_theme()
            case Action.TOUR_NEXT | Action.TOUR_BACK if self.guided:
                self.leg_step = 1 if action is Action.TOUR_NEXT else -1
            case Action.NEXT:
                self._router.move_focus(1, self._frame.targets())
            case Action.PREVIOUS:
                self._router.move_focus(-1, self._frame.targets())
            case Action.QUIT if self._frame.help.shown:
                self._frame.help.shown = False
            case Action.ADDRESS:
                self._frame.address.shown = not self._frame.address.shown
            case Action.QUIT if self._frame.address.shown:
                self._frame.address.shown = False
            case Action.QUIT if self._frame.explanation.shown:
                self._frame.explanation.shown = False
            case Action.QUIT:
                self._closed = True
            case _:
                return False
        return True

    def _take_events(self, display: toolkit.Display, now_ns: int) -> pygame.Surface:
        """Do what the person asked for. Returns the surface to draw on, which a change of size replaces."""
        for event in pygame.event.get():
            if event.type in (pygame.QUIT, pygame.WINDOWCLOSE):
                self._closed, self._hurried = True, self._ending
            elif event.type == pygame.WINDOWEXPOSED:
                display.show()  # What the desktop covered is lost; what we drew is still in our surface.
            elif not self._ending:
                self._attempt(event, now_ns)
            elif event.type == pygame.KEYDOWN and action_of(event.key) is Action.QUIT:
                self._hurried = True  # Nothing else can be wanted of a session that ends.
        return display.surface

    def _attempt(self, event: pygame.event.Event, now_ns: int) -> None:
        """Do what an event asks for. If that fails, a message in the window says why, and the run goes on."""
        try:
            self._take(event, now_ns)
        except (CommandError, OSError, pygame.error) as error:
            self._complain(line_of(error), now_ns)

    def _take(self, event: pygame.event.Event, now_ns: int) -> None:
        """An event of mouse or keyboard: to the view it is meant for, or done here."""
        scene, targets = self._scene(self._session.view(), now_ns), self._frame.targets()
        if event.type == pygame.MOUSEMOTION:
            self._frame.hover.move(event.pos, now_ns)
        elif event.type == pygame.WINDOWLEAVE:
            self._frame.hover.move(None, now_ns)
        is_press = event.type == pygame.MOUSEBUTTONDOWN and event.button in BUTTONS
        if is_press and self._frame.page is self._frame.start and self._frame.start.leave(event.pos):
            return
        if event.type == pygame.KEYDOWN and self._frame.page and self._frame.page.handle(event, scene, now_ns):
            return
        if self._router.route(event, targets, scene, now_ns) or event.type != pygame.KEYDOWN:
            return
        if not self._frame.covered and self._frame.transport.handle(event, scene, now_ns):
            return
        action = action_of(event.key, getattr(event, "mod", 0))
        # What a view has open is closed before the window is.
        escapes = event.key == pygame.K_ESCAPE and not self._frame.covered
        if escapes and self._router.offer(event, targets, scene, now_ns):
            return
        if action is None or not self.press(action, now_ns):
            self._router.offer(event, targets, scene, now_ns)

    def _ask_for_panels(self, now_ns: int) -> None:
        """Have the panels drawn at the size of their box, once that stands still."""
        wanted = self._frame.boxes.panels.size
        settled = self._panels_asked is None or now_ns - self._panels_wanted_ns >= RESIZE_SETTLE_NS
        if wanted != self._panels_asked and settled:
            self._session.resize_panels(*wanted, float(self._frame.boxes.scale))
            self._panels_asked = wanted

    def _order_panels(self) -> None:
        """Tell the panels what is wanted of them, when that is something else than before."""
        self._frame.choice.brushed = self._frame.easel.mouse.brushed
        order = self._frame.choice.order()
        if order != self._panels_order:
            self._panels_order = order
            self._session.show_panels(order)

    def _begin_choice(self) -> None:
        self._frame.choice.begin(is_harassed=self._session.controls.scenario.fleet.hostile.connections > 0)

    def _scene(self, view: View, now_ns: int) -> Scene:
        if self._reading is None or now_ns - self._reading_ns >= FIGURES_INTERVAL_NS:
            self._reading, self._reading_ns = view.reading, now_ns
            self._shown_fps, self._shown_cores = self.fps, self.cpu_cores
        pixels = view.pixels if self._held_pixels is None else self._held_pixels
        picture = self._session.picture
        return Scene(
            self._session, view, self._reading, pixels, picture, self.paused, self._shown_fps, self._shown_cores
        )

    def _toggle_pause(self, now_ns: int) -> None:
        if self._held_pixels is not None:
            self._held_pixels = None
            self._frame.panels.release()
            return
        view = self._session.view()
        self._frame.panels.hold(self._scene(view, now_ns))
        self._held_pixels = view.pixels.copy()

    def _take_screenshot(self, now_ns: int) -> None:
        path = free_path(current_folder(), self._session.view().scenario_name)
        save_png(self._screen, path)
        self._frame.toast.show(f"saved {path}", now_ns)

    def use_theme(self, name: theme.Name) -> None:
        """Draw window and panels in this set of colours from now on."""
        theme.use(name)
        self._frame.forget()
        self._order_panels()

    def _switch_theme(self) -> None:
        self.use_theme("light" if theme.name == "dark" else "dark")

    def _fold(self, now_ns: int) -> None:
        self._frame.knobs.folded = not self._frame.knobs.folded

    def _want(self, scenario: Scenario) -> None:
        self.require(scenario)
        self.wanted = scenario

    def _want_restart(self, now_ns: int) -> None:
        self._want(self._session.controls.scenario)

    def _complain(self, text: str, now_ns: int) -> None:
        self._frame.toast.show(text, now_ns, "VERMILION")

    def _copy_scenario(self, now_ns: int) -> None:
        """The settings as a file, and on the clipboard; a toast says where."""
        text = self._session.controls.as_toml()
        path = free_toml_path(current_folder(), self._session.view().scenario_name)
        write_atomically(path, text.encode())
        copied = " and on the clipboard" if self._display and put_on_clipboard(text) else ""
        self._frame.toast.show(f"saved {path}{copied}", now_ns)

    def _toggle_full_screen(self) -> None:
        if self._display:
            self._display.toggle_full_screen()
            self._frame.forget()


def _title(session: Session) -> str:
    return f"Pixel Canvas: {session.view().scenario_title}"


def _icon() -> pygame.Surface:
    """A mark in the heat colours."""
    ramp = bytes(palette.HEAT_FIRST + x + y for y in range(32) for x in range(32))
    icon = pygame.image.frombuffer(ramp, (32, 32), "P")
    icon.set_palette([tuple(color) for color in palette.PALETTE.tolist()])
    return icon
