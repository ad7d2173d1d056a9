"""The layout of the window: places every view, draws them in order, and puts the overlays on top.

It knows which views exist and where; it starts nothing and handles no key. The picture depends on the scene
alone, so a picture in memory and one on a display are equal.
"""

from collections.abc import Callable

from workbench.scenarios.scenario import Scenario
from workbench.telemetry.view import View
from workbench.window.knobs.knobs_column import Callbacks
from workbench.window.knobs.knobs_view import KnobsView
from workbench.window.overview.cards import AddressCard, HelpCard
from workbench.window.overview.diagnosis_line import DiagnosisLine, Explanation
from workbench.window.overview.header import Banner, Header
from workbench.window.overview.overlay import Caption, LoadingCard, PauseMark, Stack, Toast, Tooltip
from workbench.window.overview.pipeline_view import PipelineView
from workbench.window.overview.status_line import HintLine, StatusLine
from workbench.window.panels.panel_choice import PanelChoice
from workbench.window.panels.panel_chooser import PanelBar, PanelChooser
from workbench.window.panels.panels_view import PanelsView
from workbench.window.pickers.picker import Picker, StartPicker
from workbench.window.playback.playback_bar import PlaybackBar
from workbench.window.shell.canvas_area import VIEWS as CANVAS_VIEWS
from workbench.window.shell.canvas_area import CanvasArea
from workbench.window.shell.hover import Hover
from workbench.window.toolkit.arrangement import Arrangement, arrange
from workbench.window.toolkit.display import offscreen, pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.routing import Targets
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.theme import DARK
from workbench.window.toolkit.view import Drawable, Focusable, Handler

# States of the window to take pictures of.
VIEWS = (
    *("overview", "start", "why", "brakes", *CANVAS_VIEWS),
    *("panels", "past", "folded", "light", "scenarios", "address", "help"),
)


class Layout:
    """All views and overlays, in a window of any size."""

    def __init__(self, callbacks: Callbacks, on_theme: Callable[[], None], on_pick: Callable[[Scenario], None]) -> None:
        self.canvas_area, self.choice = CanvasArea(), PanelChoice()
        self.picker, self.chooser = Picker(on_pick, callbacks.complain), PanelChooser(self.choice)
        self.start = StartPicker(on_pick, callbacks.complain)
        self.panels = PanelsView(self.choice, self.chooser.open)
        self._panel_bar = PanelBar(self.choice, self.chooser.open)
        self.header, self.banner = Header(on_theme, self.picker.open), Banner()
        self.status, self.hints, self.playback = StatusLine(), HintLine(), PlaybackBar()
        self.toast, self.help, self.hover, self.tooltip = Toast(), HelpCard(), Hover(self.canvas_area), Tooltip()
        self.caption, self.address = Caption(), AddressCard()
        self.explanation, self.line = Explanation(), DiagnosisLine(self.toggle_explanation)
        self.knobs, self.pipeline = KnobsView(callbacks), PipelineView(self.open_brakes)
        self._loading, self._pause_mark, self._ring = LoadingCard(), PauseMark(), FocusRing()
        # Lowest first. The toast is on top: it reports failures.
        middle = (self.hover, self.caption, self.explanation, self.chooser, self.picker, self.address, self.help)
        self._stack = Stack((self._loading, self._pause_mark, self.start, *middle, self.tooltip, self.toast))
        self._placed: tuple[tuple[Drawable, pygame.Rect], ...] = ()
        self._handlers: list[tuple[Handler, pygame.Rect]] = []
        self._arranged_for: tuple[object, ...] = ()
        self.theme = DARK
        self._pen = Painter(1, self.theme)
        self._picture = offscreen((1, 1))
        self._background_drawn = False

    @property
    def boxes(self) -> Arrangement:
        """The boxes of all views. Only after `arrange`."""
        return self._boxes

    def arrange(self, size: tuple[int, int], view: View, *, is_replay: bool = False) -> bool:
        """Place every view if the window size, the canvas shape or anything else that matters changed. True then."""
        height, width = view.pixels.shape
        # Everything that a box depends on. Figures are not in it: nothing moves while they change.
        key = (size, (width, height), len(view.failures), self.knobs.folded, is_replay, self.theme)
        if key == self._arranged_for:
            return False
        self._arranged_for = key
        folded, failures = self.knobs.folded, len(view.failures)
        boxes = self._boxes = arrange(size, (width, height), failures, not folded, is_replay=is_replay)
        if (self._pen.scale, self._pen.theme) != (boxes.scale, self.theme):
            self._pen = Painter(boxes.scale, self.theme)
        # Views draw into a picture of their own, never to the screen: it must stay free of overlays.
        self._picture = offscreen(boxes.size)
        self._placed = (
            (self.header, boxes.header),
            (self.banner, boxes.banner),
            (self.line, boxes.bottleneck),
            (self.pipeline, boxes.pipeline),
            (self.canvas_area, boxes.canvas),
            (self.panels, boxes.panels),
            (self._panel_bar, boxes.panel_bar),
            (self.knobs, boxes.knobs),
            *(((self.playback, boxes.playback),) if is_replay else ()),
            (self.status, boxes.status),
            (self.hints, boxes.hints),
        )
        for drawable, box in self._placed:
            drawable.place(box, self._pen)
        self._handlers = [(view, box) for view, box in self._placed if isinstance(view, Handler)]
        self._loading.canvas = self._pause_mark.canvas = boxes.canvas
        self.explanation.above = boxes.pipeline
        self.chooser.panels = boxes.panels
        self.start.room = boxes.panels.union(boxes.knobs)
        # The new picture is empty: without a background, the first redraw would show black gaps.
        self._clear()
        return True

    def forget(self) -> None:
        """Place and draw everything again next time: the surface has lost its content."""
        self._arranged_for = ()

    @property
    def covered(self) -> bool:
        """Whether a card is open, which is closed before anything below it."""
        return self.help.shown or self.address.shown or self.explanation.shown or self.page is not None

    @property
    def page(self) -> Handler | None:
        """The open overlay that takes the keys first; None: none."""
        if self.help.shown:
            return None
        return next((page for page in (self.picker, self.chooser, self.start) if page.shown), None)

    def show_view(self, name: str, scene: Scene) -> None:
        """Bring the window into one of the states in `VIEWS`, and out of all others."""
        self.help.shown, self.explanation.shown = name == "help", name == "why"
        self.address.shown = name == "address"
        self.knobs.folded = name == "folded"
        self.knobs.show_top()
        self.canvas_area.show_view(name, scene)
        self.choice.go_live()
        if name == "past":
            self.choice.travel(-5, scene.view.now_ns, scene.view.now_ns - round(scene.view.run_seconds * 1e9))
        self.chooser.shown = False
        self.picker.close()
        self.start.close()
        if name == "panels":
            self.chooser.open(0)
        if name == "scenarios":
            self.picker.open(scene)
        if name == "start":
            self.start.open(scene)
        self.pipeline.selected = ""
        if name == "brakes" and scene.view.stages:
            worst = scene.view.diagnosis.bottleneck
            named = [stage.name for stage in scene.view.stages if stage.name == worst]
            self.open_brakes((named or [scene.view.stages[-1].name])[0])

    def toggle_explanation(self) -> None:
        """Open or close the card that explains the diagnosis."""
        self.explanation.shown = not self.explanation.shown

    def open_brakes(self, stage: str) -> None:
        """Show the brakes of this stage."""
        self.pipeline.selected = stage
        self.knobs.folded = False
        self.knobs.select_stage(stage)

    def targets(self) -> Targets:
        """The views that handle events: topmost first, those on one level in reading order."""
        # Overlays from the last `compose`: what is on the screen gets the event, not what will be.
        over: list[tuple[Handler, pygame.Rect]] = [
            (overlay, box) for overlay, box in reversed(self._stack.shown) if isinstance(overlay, Handler)
        ]
        return over + self._handlers

    def hides(self, position: tuple[int, int]) -> bool:
        """Whether a card without tooltips covers this position: what is below it gets no tooltip."""
        cards = (self.explanation, self.address, self.help)
        return any(box.collidepoint(position) for overlay, box in self._stack.shown if overlay in cards)

    def mark_focus(self, focused: Handler | None) -> None:
        """Draw the focus ring around this view if it has the focus as a whole; None: no view."""
        is_whole = focused is not None and not isinstance(focused, Focusable)
        self._ring.mark(next((box for view, box in self.targets() if view is focused), None) if is_whole else None)

    def draw(self, screen: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        """Update the screen. Returns the rectangles that changed."""
        dirty = [rect for drawable, _ in self._placed for rect in drawable.draw(self._picture, scene)]
        dirty += self._ring.draw(self._picture, self._pen)
        # The gaps between the views belong to no view, so the first redraw copies the whole picture.
        if not self._background_drawn:
            self._background_drawn, dirty = True, [self._picture.get_rect()]
        return self._stack.compose(screen, self._picture, dirty, scene, self._pen)

    def _clear(self) -> None:
        self._picture.fill(self._pen.theme.background)
        self._background_drawn = False
        self._ring.forget()


_DISTANCE, _THICKNESS = 4, 2


class FocusRing:
    """The ring around the view with the focus, drawn into the gap around its box; it erases itself when it moves."""

    def __init__(self) -> None:
        self._box: pygame.Rect | None = None
        self._drawn: pygame.Rect | None = None

    def mark(self, box: pygame.Rect | None) -> None:
        """Put the ring around this box; None: nowhere."""
        self._box = box

    def forget(self) -> None:
        """Nothing of it is on the picture any more."""
        self._drawn = None

    def draw(self, target: pygame.Surface, pen: Painter) -> list[pygame.Rect]:
        """Draw what changed. Returns the changed rectangles: the ring's four sides, not what they enclose."""
        if self._box == self._drawn:
            return []
        sides = []
        for box, color in ((self._drawn, pen.theme.background), (self._box, pen.theme.sky)):
            if box is not None:
                # In the gaps around the box: no view draws there, so erasing the ring restores the background.
                ring = box.inflate(2 * pen.px(_DISTANCE), 2 * pen.px(_DISTANCE)).clip(target.get_rect())
                pygame.draw.rect(target, color, ring, width=pen.px(_THICKNESS))
                sides += _sides(ring, pen.px(_THICKNESS))
        self._drawn = self._box
        return sides


def _sides(ring: pygame.Rect, thickness: int) -> list[pygame.Rect]:
    return [
        pygame.Rect(ring.left, ring.top, ring.width, thickness),
        pygame.Rect(ring.left, ring.bottom - thickness, ring.width, thickness),
        pygame.Rect(ring.left, ring.top, thickness, ring.height),
        pygame.Rect(ring.right - thickness, ring.top, thickness, ring.height),
    ]
