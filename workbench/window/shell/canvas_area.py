"""The canvas area: the canvas or the map of connections, a tool bar under it, and a card above the bar.

It places its parts and dispatches events to them. Invariants: the parts do not overlap, except for the marks on the
canvas; the traced connection is the one that the open card shows.
"""

from typing import Literal

from workbench.window.canvas.canvas_marks import draw_frame, draw_legend, draw_map, draw_pixel_mark, map_box
from workbench.window.canvas.canvas_mouse import CanvasMouse
from workbench.window.canvas.canvas_view import CanvasView
from workbench.window.connections.connection_card import HEIGHT as CARD_HEIGHT
from workbench.window.connections.connection_card import JOURNEYS, ConnectionCard, first_number, place_of
from workbench.window.connections.connections_view import MEASURES, ConnectionsView
from workbench.window.connections.journey_view import CONNECTION, LIVE, JourneyView
from workbench.window.connections.journey_view import HEIGHT as JOURNEY_HEIGHT
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import LIVE_ONLY, Action, action_of
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene, Session
from workbench.window.toolkit.tool_bar import CLOSE, Tool, ToolBar, color_text
from workbench.window.toolkit.view import Drawable, Handler

PAN_UNITS = 64
_GAP = 6
_PAINT, _CONNECTIONS, _JOURNEYS = "paint", "connections", "journeys"

TOOLS = (
    Tool(_PAINT, "Paint by hand, over a connection of your own: drag on the canvas; Alt-click picks a colour"),
    Tool(_CONNECTIONS, "Map of all connections, in place of the canvas"),
    Tool(_JOURNEYS, "Trace one connection's placements from the device to the viewer, step by step"),
)

# The layers of a recorded canvas: a recording does not hold which connection painted a pixel.
RECORDED_LAYERS = ("pixels", "changes", "age", "tiles")

# States to take pictures of; the last three are layers of the canvas.
VIEWS = ("connections", "connection", "journeys", "zoom", "age", "delay", "painters")

Card = Literal["none", "connection", "journeys"]


class CanvasArea(Drawable, Handler):
    """Everything in the canvas's box."""

    def __init__(self) -> None:
        self.canvas = CanvasView()
        self.mouse = CanvasMouse(self.canvas)
        self.connections = ConnectionsView()
        self.card, self.journeys = ConnectionCard(), JourneyView()
        layers = tuple(Tool(layer.name, layer.meaning) for layer in self.canvas.layers)
        self._bars = {False: ToolBar(TOOLS, layers), True: ToolBar(TOOLS[1:], MEASURES)}
        recorded = tuple(button for button in layers if button.name in RECORDED_LAYERS)
        self._replay_bar = ToolBar((), recorded)
        self._in_replay = False
        self.shows_connections = False
        self.opened: Card = "none"
        self.followed: int | None = None
        """Number of the connection whose placements are traced."""
        self._session: Session | None = None
        self._pointed: tuple[int, int] | None = None
        self._box = pygame.Rect(0, 0, 1, 1)
        self._marks: tuple[object, ...] = ()
        self._cleared = False

    # --- Boxes ---

    def forget(self) -> None:
        self._arrange()

    @property
    def room(self) -> pygame.Rect:
        """The box of the canvas or the map, without bar and card."""
        return self._room.copy()

    def _arrange(self) -> None:
        """Place the visible parts: the bar at the bottom, the card above it, canvas or map in the rest."""
        pen, box, bar = self._pen, self._box, self._bar
        gap = pen.px(_GAP)
        height = bar.height(box.width, pen)
        bar.place(pygame.Rect(box.left, box.bottom - height, box.width, height), pen)
        bottom = box.bottom - height - gap
        if self.opened != "none":
            pane, units = (self.card, CARD_HEIGHT) if self.opened == "connection" else (self.journeys, JOURNEY_HEIGHT)
            # In a low window the card takes two thirds at most: the canvas must stay visible.
            high = min(pen.px(units), (bottom - box.top) * 2 // 3)
            pane.place(pygame.Rect(box.left, bottom - high, box.width, high), pen)
            bottom -= high + gap
        self._room = pygame.Rect(box.left, box.top, box.width, max(1, bottom - box.top))
        (self.connections if self.shows_connections else self.canvas).place(self._room, pen)
        self._cleared = False

    @property
    def _bar(self) -> ToolBar:
        return self._replay_bar if self._in_replay else self._bars[self.shows_connections]

    # --- Drawing ---

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        if scene.session is not self._session:
            self._begin(scene.session)
        dirty = []
        if not self._cleared:
            target.fill(self._pen.theme.background, self._box)
            self._cleared, dirty = True, [self._box]
        dirty += self._bar.draw(target, self._pressed(), self.mouse.color if self._paints else None)
        if self.opened == "connection":
            dirty += self.card.draw(target, scene)
        elif self.opened == "journeys":
            dirty += self.journeys.draw(target, scene)
        if self.shows_connections:
            return dirty + self.connections.draw(target, scene)
        return dirty + self._draw_canvas(target, scene, self._pen)

    def _draw_canvas(self, target: pygame.Surface, scene: Scene, pen: Painter) -> list[pygame.Rect]:
        journey = self.journeys.shown if self.opened == "journeys" else None
        marks = (*self.mouse.state, journey and (journey.x, journey.y))
        if marks != self._marks:
            self._marks = marks
            self.canvas.forget()  # Redrawing the canvas erases the old marks.
        drawn = self.canvas.draw(target, scene)
        if drawn:
            viewport = self.canvas.viewport
            # Marks near the edge would draw over the tools.
            target.set_clip(self._room)
            if journey:
                draw_pixel_mark(target, journey.x, journey.y, viewport, pen)
            tiles = self.mouse.drawn or self.mouse.brushed
            if tiles:
                draw_frame(target, tiles, viewport, pen, with_cross=self.mouse.drawn is None)
            if viewport.zoomed:
                draw_map(target, scene, viewport, pen)
            draw_legend(target, self.canvas.layer, self._room, pen)
            target.set_clip(None)
            drawn = [self._room]
        return drawn

    @property
    def _paints(self) -> bool:
        return self.mouse.painting and not self.shows_connections

    def _pressed(self) -> set[str]:
        pressed = {self.connections.measure, _CONNECTIONS} if self.shows_connections else {self.canvas.layer.name}
        if self._paints:
            pressed.add(_PAINT)
        if self.opened == "journeys":
            pressed.add(_JOURNEYS)
        return pressed

    def _begin(self, session: Session) -> None:
        """Start with another session: drop everything that belongs to the previous one."""
        self._session, self._in_replay = session, session.replay is not None
        self.canvas.begin(RECORDED_LAYERS if self._in_replay else None)
        self.mouse.is_looking_only = self._in_replay
        if self._in_replay:
            self.shows_connections = False
        # Tiles and numbers of the old session mean nothing in the new one; no order is sent, it starts without any.
        self.mouse.brushed, self.followed, self.connections.chosen = None, None, None
        self.opened = "none"
        self._arrange()

    # --- Events ---

    def handle(self, event: pygame.event.Event, scene: Scene, now_ns: int) -> bool:
        if event.type == pygame.KEYDOWN:
            return self._press_key(event, scene)
        if event.type == pygame.MOUSEMOTION:
            self._pointed = event.pos
        elif event.type == pygame.WINDOWLEAVE:
            self._pointed = None
        if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1 and self._press(event.pos, scene):
            return True
        if self.shows_connections:
            return False
        was_painting = self.mouse.painting
        taken = self.mouse.handle(event, scene, now_ns, self._pen)
        if self.mouse.painting and not was_painting:
            self.canvas.choose("pixels")
        return taken

    def show(self, *, connections: bool) -> None:
        """Show the map of connections, or the canvas."""
        self.shows_connections = connections
        self._arrange()

    def show_view(self, name: str, scene: Scene) -> None:
        """Enter one of the states in `VIEWS`, or the initial state for any other name."""
        self.mouse.painting = False
        self.canvas.viewport.fit()
        self.canvas.choose(name if name in VIEWS[4:] else "pixels")
        self.show(connections=name in ("connections", "connection"))
        card: Card = "journeys" if name == "journeys" else "connection" if name == "connection" else "none"
        self.open(card, scene)
        if name == "zoom":
            self.canvas.viewport.zoom(3)

    def open(self, card: Card, scene: Scene, number: int | None = None) -> None:
        """Open a card of this connection; None: the traced one, the one that painted under the mouse, or the first."""
        if card != "none":
            number = self._choice(scene) if number is None else number
            if number is None:
                return
        # Following costs server and fleet a little, so an order goes out only when the connection changes.
        if number != self.followed:
            self.followed = number
            scene.session.follow(number)
            if number is not None:
                self.card.open(number, scene)
                self.journeys.open(number)
        self.connections.chosen = number
        self.opened = card
        assert (card == "none") == (self.followed is None), "an open card shows the traced connection"
        self._arrange()

    def _choice(self, scene: Scene) -> int | None:
        """The connection to trace when none was named."""
        if self.followed is not None:
            return self.followed
        connections = scene.session.connections_page["connections"]
        painter = self._painter(scene)
        if painter is not None and place_of(connections, painter) is not None:
            return painter
        return first_number(connections)

    def _painter(self, scene: Scene) -> int | None:
        """Number of the connection that painted the pixel under the mouse; None: none."""
        pixel = self.canvas.pixel_at(self._pointed) if self._pointed and not self.shows_connections else None
        if pixel is None:
            return None
        # The page counts connections from 1: 0 means that the pixel was never painted.
        number = int(scene.session.canvas_page["pixel_painter"][pixel[1], pixel[0]]) - 1
        return number if number >= 0 else None

    def _press(self, position: tuple[int, int], scene: Scene) -> bool:
        """A click on a button, a card, a cell or the overview map of a zoomed canvas. False: on none of them."""
        button = self._bar.button_at(position, with_swatches=self._paints)
        if button is not None:
            self._use(button.name, scene)
            return True
        if self._paints and (color := self._bar.color_at(position)) is not None:
            self.mouse.color = color
            return True
        # The card lies over canvas and map, so it is asked before them.
        if self._press_card(position, scene):
            return True
        if self.shows_connections:
            number = self.connections.number_at(position)
            if number is not None:
                self.open("connection", scene, number)
            return number is not None
        return self._press_map(position)

    def _press_card(self, position: tuple[int, int], scene: Scene) -> bool:
        pane = {"connection": self.card.pane, "journeys": self.journeys.pane}.get(self.opened)
        if pane is None or not pane.box.collidepoint(position):
            return False
        name = pane.button_at(position)
        if name == CLOSE:
            self.open("none", scene)
        elif name == JOURNEYS:
            self.open("journeys", scene, self.followed)
        elif name == CONNECTION:
            self.open("connection", scene, self.followed)
        elif name == LIVE:
            self.journeys.follow_newest()
        else:
            self.journeys.choose(position)
        return True

    def _press_map(self, position: tuple[int, int]) -> bool:
        viewport = self.canvas.viewport
        box = map_box(viewport, self._pen)
        if not viewport.zoomed or not box.collidepoint(position):
            return False
        (width, height), (x, y) = viewport.size, (position[0] - box.left, position[1] - box.top)
        viewport.centre_on(x * width / box.width, y * height / box.height)
        return True

    def _use(self, name: str, scene: Scene) -> None:
        """Act on a button."""
        if name == _PAINT:
            self.mouse.painting = not self.mouse.painting
            self.canvas.choose("pixels")
        elif name == _CONNECTIONS:
            self.show(connections=not self.shows_connections)
        elif name == _JOURNEYS:
            self.open("none" if self.opened == "journeys" else "journeys", scene)
        elif self.shows_connections:
            self.connections.measure = name
        else:
            self.canvas.choose(name)

    def _press_key(self, event: pygame.event.Event, scene: Scene) -> bool:
        if event.key == pygame.K_ESCAPE:
            return self._leave_mode(scene)
        match action_of(event.key, getattr(event, "mod", 0)):
            case action if self._in_replay and action in LIVE_ONLY:
                return False
            case Action.PAINT if not self.shows_connections:
                self._use(_PAINT, scene)
            case Action.CONNECTIONS:
                self._use(_CONNECTIONS, scene)
            case Action.JOURNEYS:
                self._use(_JOURNEYS, scene)
            case (Action.LAYER | Action.LAYER_BACK) as action:
                self._step_choice(1 if action is Action.LAYER else -1)
            case (Action.ZOOM_IN | Action.ZOOM_OUT) as action if not self.shows_connections:
                self.canvas.viewport.zoom(1 if action is Action.ZOOM_IN else -1, self._pointed)
            case Action.FIT if not self.shows_connections:
                self.canvas.viewport.fit()
            case Action.PAN if not self.shows_connections:
                return self._pan(event.key)
            case _:
                return False
        return True

    def _step_choice(self, step: int) -> None:
        """Choose the next or previous layer of the canvas, or metric of the map."""
        if not self.shows_connections:
            self.mouse.painting = False
            self.canvas.step_layer(step)
            return
        names = [measure.name for measure in MEASURES]
        self.connections.measure = names[(names.index(self.connections.measure) + step) % len(names)]

    def _pan(self, key: int) -> bool:
        # In window pixels: the same distance on the screen at any zoom.
        step = self._pen.px(PAN_UNITS)
        right = {pygame.K_LEFT: -step, pygame.K_RIGHT: step}.get(key, 0)
        down = {pygame.K_UP: -step, pygame.K_DOWN: step}.get(key, 0)
        return self.canvas.viewport.pan(right, down)

    def _leave_mode(self, scene: Scene) -> bool:
        """Leave one mode: close the card, clear the selection, stop painting, or leave the map. False: none is on."""
        if self.opened != "none":
            self.open("none", scene)
        elif self.mouse.brushed:
            self.mouse.clear_brush(scene)
        elif self._paints:
            self.mouse.painting = False
        elif self.shows_connections:
            self.show(connections=False)
        else:
            return False
        return True

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        button = self._bar.button_at(position, with_swatches=self._paints)
        if button is not None:
            return f"{button.name}\n{button.meaning}"
        if self._paints and (color := self._bar.color_at(position)) is not None:
            return color_text(color)
        if self.opened == "connection" and self.card.pane.box.collidepoint(position):
            return self.card.tip(position)
        if self.opened == "journeys" and self.journeys.pane.box.collidepoint(position):
            return self.journeys.tip(position)
        return ""
