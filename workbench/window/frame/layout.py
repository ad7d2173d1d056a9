"""The frame: every view in its place, drawn in order, with the overlays on top.

It knows which views there are and where; it starts nothing and takes no key. Invariant: a picture is drawn from the
scene alone, so that one in memory and one on a display are the same.
"""

from collections.abc import Callable

from workbench.scenarios.scenario import Scenario
from workbench.telemetry.view import View
from workbench.window.frame import canvas_area
from workbench.window.frame.hover import Hover
from workbench.window.knobs.knobs_column import Callbacks
from workbench.window.knobs.knobs_view import KnobsView
from workbench.window.overview.address_card import AddressCard
from workbench.window.overview.banner import Banner
from workbench.window.overview.diagnosis_line import DiagnosisLine, Explanation
from workbench.window.overview.header import HeaderView
from workbench.window.overview.help import Help
from workbench.window.overview.loading import Loading
from workbench.window.overview.overlay import Caption, PauseMark, Toast
from workbench.window.overview.pipeline_view import PipelineView
from workbench.window.overview.stack import Stack
from workbench.window.overview.status_line import HintLine, StatusLine
from workbench.window.panels.panel_bar import PanelBar
from workbench.window.panels.panel_choice import PanelChoice
from workbench.window.panels.panel_chooser import PanelChooser
from workbench.window.panels.panels_view import PanelsView
from workbench.window.pickers.picker import Picker
from workbench.window.pickers.start_picker import StartPicker
from workbench.window.playback.playback_bar import TransportView
from workbench.window.toolkit import theme, toolkit
from workbench.window.toolkit.arrangement import Arrangement, arrange
from workbench.window.toolkit.focus_ring import FocusRing
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.routing import Targets
from workbench.window.toolkit.scene import Drawable, Focusable, Handler, Scene
from workbench.window.toolkit.toolkit import pygame
from workbench.window.toolkit.tooltip import Tooltip

VIEWS = (
    *("overview", "start", "why", "brakes", *canvas_area.VIEWS),
    *("panels", "past", "folded", "light", "scenarios", "address", "help"),
)
"""States that are worth a picture."""


class Frame:
    """All that is drawn, in a window of any size."""

    def __init__(
        self,
        deeds: Callbacks,
        on_theme: Callable[[], None],
        on_pick: Callable[[Scenario], None],
    ) -> None:
        self.easel, self.choice = canvas_area.CanvasArea(), PanelChoice()
        self.picker, self.chooser = Picker(on_pick, deeds.complain), PanelChooser(self.choice)
        self.start = StartPicker(on_pick, deeds.complain)
        self.panels, self._panel_bar = (
            PanelsView(self.choice, self.chooser.open),
            PanelBar(self.choice, self.chooser.open),
        )
        self.header, self.banner = HeaderView(on_theme, self.picker.open), Banner()
        self.status, self.hints, self.transport = StatusLine(), HintLine(), TransportView()
        self.toast, self.help, self.hover, self.tooltip = Toast(), Help(), Hover(self.easel), Tooltip()
        self.caption, self.address = Caption(), AddressCard()
        self.explanation, self.line = Explanation(), DiagnosisLine(self.toggle_explanation)
        self.knobs, self.pipeline = KnobsView(deeds), PipelineView(self.open_brakes)
        self._loading, self._pause_mark, self._ring = Loading(), PauseMark(), FocusRing()
        self._stack = Stack(
            (
                self._loading,
                self._pause_mark,
                self.start,
                self.hover,
                self.caption,
                self.explanation,
                self.chooser,
                self.picker,
                self.address,
                self.help,
                self.tooltip,
                self.toast,
            )
        )
        self._placed: tuple[tuple[Drawable, pygame.Rect], ...] = ()
        self._handlers: list[tuple[Handler, pygame.Rect]] = []
        self._arranged_for: tuple[object, ...] = ()
        self._pen = Painter(1)
        self._picture = toolkit.offscreen((1, 1))
        self._ground_drawn = False

    @property
    def boxes(self) -> Arrangement:
        """Where everything is. Only after `arrange`."""
        return self._boxes

    def arrange(self, size: tuple[int, int], view: View, *, is_replay: bool = False) -> bool:
        """Give every view its box when the window, the canvas's shape or what else decides it changed. True then."""
        height, width = view.pixels.shape
        key = (size, (width, height), len(view.failures), self.knobs.folded, is_replay)
        if key == self._arranged_for:
            return False
        self._arranged_for = key
        folded, failures = self.knobs.folded, len(view.failures)
        boxes = self._boxes = arrange(size, (width, height), failures, not folded, is_replay=is_replay)
        self._pen = self._pen if self._pen.scale == boxes.scale else Painter(boxes.scale)
        self._picture = toolkit.offscreen(boxes.size)
        self._placed = (
            (self.header, boxes.header),
            (self.banner, boxes.banner),
            (self.line, boxes.bottleneck),
            (self.pipeline, boxes.pipeline),
            (self.easel, boxes.canvas),
            (self.panels, boxes.panels),
            (self._panel_bar, boxes.panel_bar),
            (self.knobs, boxes.knobs),
            *(((self.transport, boxes.transport),) if is_replay else ()),
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
        self._clear()
        return True

    def forget(self) -> None:
        """Arrange and draw all anew next time: the surface that was drawn on is lost, or all colours are others."""
        self._arranged_for = ()

    @property
    def covered(self) -> bool:
        """Whether a card lies over the picture that is closed before anything under it."""
        return self.help.shown or self.address.shown or self.explanation.shown or self.page is not None

    @property
    def page(self) -> Handler | None:
        """What is open and takes the keys before all others."""
        if self.help.shown:
            return None
        return next((page for page in (self.picker, self.chooser, self.start) if page.shown), None)

    def show_view(self, name: str, scene: Scene) -> None:
        """Be in one of `VIEWS`, and in nothing of the others."""
        self.help.shown, self.explanation.shown = name == "help", name == "why"
        self.address.shown = name == "address"
        self.knobs.folded = name == "folded"
        self.knobs.show_top()
        self.easel.show_view(name, scene)
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
        """Open the card that says why the bottleneck is named, or close it."""
        self.explanation.shown = not self.explanation.shown

    def open_brakes(self, stage: str) -> None:
        """Have the brakes of this stage at hand."""
        self.pipeline.selected = stage
        self.knobs.folded = False
        self.knobs.select_stage(stage)

    def targets(self) -> Targets:
        """The views that can be worked with: what lies on top first, beside each other in the order of reading."""
        over: list[tuple[Handler, pygame.Rect]] = [
            (overlay, box) for overlay, box in reversed(self._stack.shown) if isinstance(overlay, Handler)
        ]
        return over + self._handlers

    def hides(self, position: tuple[int, int]) -> bool:
        """Whether a card that only tells lies there: what is under it is not to be explained over it."""
        cards = (self.explanation, self.address, self.help)
        return any(box.collidepoint(position) for overlay, box in self._stack.shown if overlay in cards)

    def mark_focus(self, focused: Handler | None) -> None:
        """Ring this view, which has the focus as a whole; None: no view."""
        is_whole = focused is not None and not isinstance(focused, Focusable)
        self._ring.mark(next((box for view, box in self.targets() if view is focused), None) if is_whole else None)

    def draw(self, screen: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        """Bring the screen up to date. Returns what changed."""
        dirty = [rect for drawable, _ in self._placed for rect in drawable.draw(self._picture, scene)]
        dirty += self._ring.draw(self._picture, self._pen)
        if not self._ground_drawn:
            self._ground_drawn, dirty = True, [self._picture.get_rect()]
        return self._stack.compose(screen, self._picture, dirty, scene, self._pen)

    def _clear(self) -> None:
        self._picture.fill(theme.BACKGROUND)
        self._ground_drawn = False
        self._ring.forget()
